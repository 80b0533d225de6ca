// SPDX-License-Identifier: BSL-1.0
#include "tls/material.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <new>

namespace wring::detail {

namespace {

// Forward secrecy and authenticated encryption only. A client also takes what older servers have, with forward secrecy.
constexpr char server_ciphers[] = "ECDHE+AESGCM:ECDHE+CHACHA20";
constexpr char client_ciphers[] = "ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM:DHE+CHACHA20:ECDHE+AES";
// Key exchange with finite fields costs a server too much. The hybrid is known from OpenSSL 3.5 on.
constexpr char server_groups[] = "X25519:P-256:P-384:P-521";
constexpr char hybrid_server_groups[] = "X25519MLKEM768:X25519:P-256:P-384:P-521";
constexpr unsigned name_rules = X509_CHECK_FLAG_NEVER_CHECK_SUBJECT | X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS;
constexpr std::size_t most_pem = 16 << 20; // bytes of a file

bool set_groups(SSL_CTX* context, std::string list)
{
    forget_openssl_errors();
    return SSL_CTX_set1_groups_list(context, list.data()) == 1;
}

/// A file's name for messages.
std::string name_of(std::string const& source)
{
    return source.starts_with("-----BEGIN") ? "PEM text" : source;
}

std::string openssl_reason()
{
    auto const error = ERR_peek_error();
    char const* const reason = ERR_reason_error_string(error);
    return reason ? reason : "error " + std::to_string(error) + " of OpenSSL";
}

std::string fault(std::string const& source)
{
    return name_of(source) + ": " + openssl_reason();
}

/// The text of a PEM source, into `bio`; gives what is wrong.
std::string open_source(std::string const& source, std::string& text, bio_ptr& bio)
{
    if (source.starts_with("-----BEGIN")) {
        text = source;
    } else {
        std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(source.c_str(), "re"), std::fclose);
        if (!file)
            return source + ": " + std::strerror(errno);
        char part[8192];
        for (std::size_t n = 0; (n = std::fread(part, 1, sizeof part, file.get())) > 0 && text.size() < most_pem;)
            text.append(part, n);
        if (std::ferror(file.get()))
            return source + ": " + std::strerror(errno);
    }
    forget_openssl_errors();
    bio.reset(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
    return bio ? "" : fault(source);
}

int give_password(char* to, int size, int, void* password) noexcept
{
    // Without this OpenSSL would ask on the terminal.
    auto const& text = *static_cast<std::string const*>(password);
    if (text.empty() || text.size() > static_cast<std::size_t>(size))
        return -1;
    std::memcpy(to, text.data(), text.size());
    return static_cast<int>(text.size());
}

certificate_ptr next_certificate(BIO* from) noexcept
{
    std::string none;
    return certificate_ptr(PEM_read_bio_X509_AUX(from, nullptr, give_password, &none));
}

/// Whether a loop over the certificates of a file has come to its end, not to a broken one.
bool at_end() noexcept
{
    auto const error = ERR_peek_last_error();
    return ERR_GET_LIB(error) == ERR_LIB_PEM && ERR_GET_REASON(error) == PEM_R_NO_START_LINE;
}

std::string load_certificate(SSL_CTX* context, tls_settings::certificate_source const& source,
                             std::string const& password)
{
    std::string text;
    bio_ptr bio;
    if (auto why = open_source(source.certificate, text, bio); !why.empty())
        return why;
    auto const leaf = next_certificate(bio.get());
    if (!leaf || SSL_CTX_use_certificate(context, leaf.get()) != 1)
        return fault(source.certificate);
    while (auto link = next_certificate(bio.get())) {
        if (SSL_CTX_add0_chain_cert(context, link.get()) != 1)
            return fault(source.certificate);
        (void)link.release();
    }
    if (!at_end())
        return fault(source.certificate);

    std::string key_text;
    if (auto why = open_source(source.key, key_text, bio); !why.empty())
        return why;
    private_key_ptr const key(
        PEM_read_bio_PrivateKey(bio.get(), nullptr, give_password, const_cast<std::string*>(&password)));
    OPENSSL_cleanse(key_text.data(), key_text.size());
    if (!key)
        return fault(source.key);
    forget_openssl_errors();
    if (X509_check_private_key(leaf.get(), key.get()) != 1)
        return name_of(source.key) + ": is not the key of the certificate in " + name_of(source.certificate);
    if (SSL_CTX_use_PrivateKey(context, key.get()) != 1)
        return fault(source.key);
    return {};
}

/// Calls each(text) for the parts of a list separated by commas, without white space around them; false ends it.
template <class F>
bool for_each_part(std::string_view list, F each)
{
    while (!list.empty()) {
        auto const end = std::min(list.find(','), list.size());
        auto part = list.substr(0, end);
        list.remove_prefix(std::min(end + 1, list.size()));
        part.remove_prefix(std::min(part.find_first_not_of(" \t\n"), part.size()));
        part = part.substr(0, part.find_last_not_of(" \t\n") + 1);
        if (!each(part))
            return false;
    }
    return true;
}

/// SHA-256 in hex (colons may stand between) or base64.
template <class Digest>
bool read_digest(std::string_view text, Digest& out)
{
    if (text.size() == 44 && text[42] != '=' && text[43] == '=') {
        std::array<unsigned char, 33> bytes{};
        auto const* from = reinterpret_cast<unsigned char const*>(text.data());
        if (EVP_DecodeBlock(bytes.data(), from, 44) != 33)
            return false;
        std::copy_n(bytes.begin(), out.size(), out.begin());
        return true;
    }
    std::size_t digits = 0;
    for (char const c : text) {
        if (c == ':')
            continue;
        int const value = OPENSSL_hexchar2int(static_cast<unsigned char>(c));
        if (value < 0 || digits >= 2 * out.size())
            return false;
        auto& byte = out[digits++ / 2];
        byte = static_cast<unsigned char>(byte << 4 | value);
    }
    return digits == 2 * out.size();
}

} // namespace

tls_material::tls_material(tls_settings const& settings) noexcept :
    is_server_(settings.is_server), tickets_(settings.ticket_lifetime)
{}

result<std::shared_ptr<tls_material>> tls_material::load(tls_settings const& settings)
{
    std::shared_ptr<tls_material> made(new tls_material(settings));
    forget_openssl_errors();
    auto const why = made->build(settings);
    forget_openssl_errors();
    if (!why.empty())
        return tls_error_code(tls_unusable(why));
    return made;
}

std::string tls_material::build(tls_settings const& settings)
{
    if (auto why = set_alpn(settings.alpn); !why.empty())
        return why;
    if (auto why = set_pins(settings.pins); !why.empty())
        return why;
    if (is_server_ && settings.clients != tls::client_certificates::off && settings.ca.empty())
        return "client certificates are asked for, and there is no client_ca to check them with";
    checks_chain_ = settings.skip_verification ? false : pins_.empty() || !settings.ca.empty();
    checks_host_ = !is_server_ && checks_chain_;
    if (settings.certificates.empty())
        return add_context(settings, nullptr);
    for (auto const& source : settings.certificates)
        if (auto why = add_context(settings, &source); !why.empty())
            return why;
    return {};
}

std::string tls_material::add_context(tls_settings const& settings, tls_settings::certificate_source const* source)
{
    ssl_context_ptr made(SSL_CTX_new(is_server_ ? TLS_server_method() : TLS_client_method()));
    SSL_CTX* const context = made.get();
    if (!context)
        return openssl_reason();
    SSL_CTX_set_app_data(context, this);
    int const oldest = settings.min_version == tls::version::v1_3 ? TLS1_3_VERSION : TLS1_2_VERSION;
    if (SSL_CTX_set_min_proto_version(context, oldest) != 1 ||
        SSL_CTX_set_cipher_list(context, is_server_ ? server_ciphers : client_ciphers) != 1)
        return openssl_reason();
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                  SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    if (source)
        if (auto why = load_certificate(context, *source, settings.key_password); !why.empty())
            return why;
    if (auto why = set_trust(context, settings); !why.empty())
        return why;

    if (is_server_) {
        if (!set_groups(context, hybrid_server_groups) && !set_groups(context, server_groups))
            return openssl_reason();
        // A session is in its client's ticket, and nowhere here.
        SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
        if (settings.ticket_lifetime > std::chrono::seconds::zero()) {
            unsigned char const id[] = "wring";
            SSL_CTX_set_session_id_context(context, id, sizeof id - 1);
            SSL_CTX_set_timeout(context, static_cast<long>(settings.ticket_lifetime.count()));
            SSL_CTX_set_num_tickets(context, 1);
            SSL_CTX_set_tlsext_ticket_key_evp_cb(context, ticket_key);
        } else {
            SSL_CTX_set_num_tickets(context, 0);
            SSL_CTX_set_options(context, SSL_OP_NO_TICKET);
        }
        SSL_CTX_set_tlsext_servername_callback(context, choose_certificate);
        SSL_CTX_set_tlsext_servername_arg(context, this);
        if (!alpn_.empty())
            SSL_CTX_set_alpn_select_cb(context, choose_protocol, this);
    } else {
        SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
        SSL_CTX_sess_set_new_cb(context, new_session);
        auto const* names = reinterpret_cast<unsigned char const*>(alpn_.data());
        if (!alpn_.empty() && SSL_CTX_set_alpn_protos(context, names, static_cast<unsigned>(alpn_.size())) != 0)
            return "out of memory";
    }
    contexts_.push_back(std::move(made));
    return {};
}

std::string tls_material::set_trust(SSL_CTX* context, tls_settings const& settings)
{
    int mode = SSL_VERIFY_NONE;
    if (!is_server_)
        mode = settings.skip_verification ? SSL_VERIFY_NONE : SSL_VERIFY_PEER;
    else if (settings.clients != tls::client_certificates::off)
        mode = SSL_VERIFY_PEER |
               (settings.clients == tls::client_certificates::require ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0);
    SSL_CTX_set_verify(context, mode, nullptr);
    SSL_CTX_set_cert_verify_callback(context, verify, this);
    if (mode == SSL_VERIFY_NONE || !checks_chain_)
        return {};
    if (settings.ca.empty())
        return SSL_CTX_set_default_verify_paths(context) == 1 ? "" : "the system's certificates: " + openssl_reason();

    std::string text;
    bio_ptr bio;
    if (auto why = open_source(settings.ca, text, bio); !why.empty())
        return why;
    X509_STORE* const store = SSL_CTX_get_cert_store(context);
    X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN); // what is named is trusted, an authority or not
    std::size_t found = 0;
    while (auto const one = next_certificate(bio.get())) {
        if (X509_STORE_add_cert(store, one.get()) != 1 || (is_server_ && SSL_CTX_add_client_CA(context, one.get()) != 1))
            return fault(settings.ca);
        ++found;
    }
    return found > 0 && at_end() ? "" : fault(settings.ca);
}

std::string tls_material::set_alpn(std::string_view names)
{
    bool const good = for_each_part(names, [&](std::string_view name) {
        if (name.empty() || name.size() > 255)
            return false;
        alpn_.push_back(static_cast<char>(name.size()));
        alpn_.append(name);
        return true;
    });
    return good ? "" : "alpn: not a list of names of 1 to 255 bytes: " + std::string(names);
}

std::string tls_material::set_pins(std::string_view pins)
{
    bool const good = for_each_part(pins, [&](std::string_view text) {
        digest pin{};
        bool const read = read_digest(text, pin);
        pins_.push_back(pin);
        return read;
    });
    return good ? "" : "pins: not SHA-256 in hex or base64: " + std::string(pins);
}

bool tls_material::is_pinned(X509* certificate) const noexcept
{
    digest of_certificate{};
    digest of_key{};
    unsigned size = 0;
    if (X509_digest(certificate, EVP_sha256(), of_certificate.data(), &size) != 1)
        return false;
    unsigned char* key = nullptr;
    int const key_size = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &key);
    bool const digested =
        key_size > 0 && EVP_Digest(key, static_cast<std::size_t>(key_size), of_key.data(), &size, EVP_sha256(), nullptr);
    OPENSSL_free(key);
    return digested && std::any_of(pins_.begin(), pins_.end(),
                                   [&](digest const& pin) { return pin == of_certificate || pin == of_key; });
}

// ---- callbacks: nothing may be thrown through OpenSSL -----------------------------------------------------------------

tls_material& tls_material::of(SSL const* ssl) noexcept
{
    return *static_cast<tls_material*>(SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl))); // which the session keeps alive
}

int tls_material::choose_certificate(SSL* ssl, int*, void* self) noexcept
{
    auto const& contexts = static_cast<tls_material*>(self)->contexts_;
    char const* const name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    if (!name)
        return SSL_TLSEXT_ERR_NOACK;
    for (auto const& context : contexts) {
        X509* const certificate = SSL_CTX_get0_certificate(context.get());
        if (X509_check_host(certificate, name, std::strlen(name), name_rules, nullptr) != 1)
            continue;
        if (context != contexts.front() && !SSL_set_SSL_CTX(ssl, context.get()))
            return SSL_TLSEXT_ERR_ALERT_FATAL;
        break;
    }
    return SSL_TLSEXT_ERR_OK;
}

int tls_material::choose_protocol(SSL*, unsigned char const** out, unsigned char* out_size, unsigned char const* in,
                                  unsigned in_size, void* self) noexcept
{
    auto const& ours = static_cast<tls_material*>(self)->alpn_;
    unsigned char* chosen = nullptr;
    int const found = SSL_select_next_proto(&chosen, out_size, reinterpret_cast<unsigned char const*>(ours.data()),
                                            static_cast<unsigned>(ours.size()), in, in_size);
    *out = chosen;
    return found == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

int tls_material::verify(X509_STORE_CTX* chain, void* self) noexcept
{
    auto const& material = *static_cast<tls_material*>(self);
    if (!material.pins_.empty() && !material.is_pinned(X509_STORE_CTX_get0_cert(chain))) {
        X509_STORE_CTX_set_error(chain, X509_V_ERR_APPLICATION_VERIFICATION);
        return 0;
    }
    if (material.checks_chain_)
        return X509_verify_cert(chain);
    X509_STORE_CTX_set_error(chain, X509_V_OK);
    return 1;
}

int tls_material::new_session(SSL* ssl, SSL_SESSION* session) noexcept
{
    // A copy: OpenSSL spoils the one of a connection that is cut off, and that is when a client comes back.
    if (char const* const host = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name))
        if (ssl_session_ptr copy(SSL_SESSION_dup(session)); copy)
            of(ssl).keep_session(host, std::move(copy));
    return 0; // it remains OpenSSL's
}

int tls_material::ticket_key(SSL* ssl, unsigned char* name, unsigned char* iv, EVP_CIPHER_CTX* cipher, EVP_MAC_CTX* mac,
                             int encrypt) noexcept
{
    int const done = of(ssl).tickets_.set_up(name, iv, cipher, mac, encrypt != 0, ticket_keys::clock::now());
    // With TLS 1.3 a ticket is for one use (RFC 8446 appendix C.4): the client is to have another.
    return done == 1 && !encrypt && SSL_version(ssl) == TLS1_3_VERSION ? 2 : done;
}

// ---- sessions of clients ---------------------------------------------------------------------------------------------

void tls_material::keep_session(std::string_view host, ssl_session_ptr session) noexcept
{
    try {
        std::lock_guard lock(sessions_mutex_);
        sessions_.push_front({std::string(host), std::move(session)});
        if (sessions_.size() > most_sessions)
            sessions_.pop_back();
    } catch (std::bad_alloc const&) { // a full handshake will do
    }
}

ssl_session_ptr tls_material::take_session(std::string_view host) noexcept
{
    std::lock_guard lock(sessions_mutex_);
    auto const found =
        std::find_if(sessions_.begin(), sessions_.end(), [&](kept_session const& s) { return s.host == host; });
    if (found == sessions_.end())
        return nullptr;
    if (SSL_SESSION_get_protocol_version(found->session.get()) < TLS1_3_VERSION) { // may be used again
        SSL_SESSION_up_ref(found->session.get());
        return ssl_session_ptr(found->session.get());
    }
    auto session = std::move(found->session);
    sessions_.erase(found);
    return session;
}

} // namespace wring::detail
