// SPDX-License-Identifier: BSL-1.0
#include "tls/session.hpp"

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <cstring>
#include <new>

namespace wring::detail {

namespace {

constexpr std::string_view plain_http_answer = "HTTP/1.1 400 Bad Request\r\n"
                                               "Content-Type: text/plain; charset=utf-8\r\n"
                                               "Content-Length: 45\r\n"
                                               "Connection: close\r\n\r\n"
                                               "this port speaks TLS: use https:// or wss://\n";
constexpr std::size_t most_output = 256 * 1024; // the owner's own sends keep far below
constexpr std::size_t least_data = 128; // what little data counts as
constexpr int alert_reasons = SSL_AD_REASON_OFFSET; // OpenSSL's reason for a received alert is this and its number

} // namespace

tls_session::tls_session(std::shared_ptr<tls_material> material, ssl_ptr ssl, engine::block_queue& input,
                         engine::block_pool& pool) noexcept :
    material_(std::move(material)),
    input_(input), pool_(pool), ssl_(std::move(ssl))
{
    SSL_set_msg_callback(ssl_.get(), on_message);
    SSL_set_msg_callback_arg(ssl_.get(), this);
}

result<std::unique_ptr<tls_session>> tls_session::make(std::shared_ptr<tls_material> material,
                                                       engine::block_queue& input, engine::block_pool& pool)
{
    auto const* const method = bio_method();
    auto ssl = material->make_ssl();
    BIO* const bio = method ? BIO_new(method) : nullptr;
    if (!ssl || !bio) {
        BIO_free(bio);
        return std::make_error_code(std::errc::not_enough_memory);
    }
    SSL_set_bio(ssl.get(), bio, bio);
    std::unique_ptr<tls_session> made(new tls_session(std::move(material), std::move(ssl), input, pool));
    BIO_set_data(bio, made.get());
    BIO_set_init(bio, 1);
    return made;
}

result<std::unique_ptr<tls_session>> tls_session::accept(std::shared_ptr<tls_material> material,
                                                         engine::block_queue& input, engine::block_pool& pool)
{
    auto made = make(std::move(material), input, pool);
    if (made)
        SSL_set_accept_state((*made)->ssl_.get());
    return made;
}

result<std::unique_ptr<tls_session>> tls_session::connect(std::shared_ptr<tls_material> material, std::string host,
                                                          engine::block_queue& input, engine::block_pool& pool)
{
    auto made = make(std::move(material), input, pool);
    if (!made)
        return made;
    SSL_set_connect_state((*made)->ssl_.get());
    if (int const error = (*made)->aim_at(host))
        return tls_error_code(error);
    return made;
}

// Whom the certificate must be for, and the session that may go on.
int tls_session::aim_at(std::string const& host) noexcept
{
    SSL* const ssl = ssl_.get();
    X509_VERIFY_PARAM* const rules = SSL_get0_param(ssl);
    X509_VERIFY_PARAM_set_hostflags(rules, X509_CHECK_FLAG_NEVER_CHECK_SUBJECT | X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    auto const refuse = [&] { return tls_unusable("not the name of a host: '" + host + "'"); };
    if (host.empty())
        return material_->checks_host() ? refuse() : 0;
    std::string const address = host.substr(0, host.find('%')); // an IPv6 address may have a zone
    if (X509_VERIFY_PARAM_set1_ip_asc(rules, address.c_str()) == 1)
        return 0;
    std::string const name = host.ends_with('.') ? host.substr(0, host.size() - 1) : host;
    bool const odd = name.empty() || name.find('\0') != name.npos;
    if (odd || SSL_set_tlsext_host_name(ssl, name.c_str()) != 1 ||
        X509_VERIFY_PARAM_set1_host(rules, name.c_str(), name.size()) != 1)
        return refuse();
    if (auto const session = material_->take_session(name))
        SSL_set_session(ssl, session.get());
    return 0;
}

// ---- what the owner calls ------------------------------------------------------------------------------------------

tls_session::state tls_session::handshake() noexcept
{
    if (error_)
        return state::failed;
    if (!looked_ && !input_.empty())
        if (look_at_first_byte() == state::failed)
            return state::failed;
    forget_openssl_errors();
    int const result = SSL_do_handshake(ssl_.get());
    if (result != 1)
        return judge(result);
    established_ = true;
    return state::good;
}

// OpenSSL's own words for a peer that speaks something else are "wrong version number".
tls_session::state tls_session::look_at_first_byte() noexcept
{
    looked_ = true;
    constexpr std::byte handshake_record{0x16};
    constexpr std::byte alert_record{0x15};
    std::byte const first = input_.front()->bytes().front();
    if (first == handshake_record || first == alert_record)
        return state::good;
    if (material_->is_server() && first >= std::byte{'A'} && first <= std::byte{'Z'})
        (void)output_.append(std::as_bytes(std::span(plain_http_answer)), pool_);
    return fail(tls_error(tls::errc::not_tls));
}

tls_session::progress tls_session::read(std::span<std::byte> into) noexcept
{
    if (error_)
        return {0, state::failed};
    forget_openssl_errors();
    std::size_t size = 0;
    int const result = SSL_read_ex(ssl_.get(), into.data(), into.size(), &size);
    if (result != 1)
        return {0, judge(result)};
    assert(size <= into.size());
    data_ += std::max(size, least_data);
    if (data_ >= data_per_allowance) {
        data_ = 0;
        idle_messages_ = 0;
    }
    return {size, state::good};
}

tls_session::progress tls_session::write(std::span<std::byte const> bytes) noexcept
{
    if (error_)
        return {0, state::failed};
    if (bytes.empty())
        return {0, state::good};
    bytes = bytes.first(std::min(bytes.size(), record_size));
    forget_openssl_errors();
    std::size_t size = 0;
    int const result = SSL_write_ex(ssl_.get(), bytes.data(), bytes.size(), &size);
    if (result != 1)
        return {0, judge(result)};
    assert(size > 0 && size <= bytes.size());
    return {size, state::good};
}

void tls_session::close() noexcept
{
    if (error_ || !established_)
        return;
    forget_openssl_errors();
    SSL_shutdown(ssl_.get());
}

tls_session::state tls_session::fail(int error) noexcept
{
    if (!error_)
        error_ = error;
    return state::failed;
}

tls_session::state tls_session::judge(int result) noexcept
{
    int const verdict = SSL_get_error(ssl_.get(), result);
    if (no_memory_)
        return fail(ENOMEM);
    if (idle_messages_ > most_idle_messages)
        return fail(tls_error(tls::errc::flooded));
    if (verdict == SSL_ERROR_WANT_READ)
        return state::wants_input;
    if (verdict == SSL_ERROR_ZERO_RETURN)
        return state::ended;
    auto const why = ERR_peek_error();
    int const reason = ERR_GET_REASON(why);
    ERR_clear_error();
    if (reason == ERR_R_MALLOC_FAILURE)
        return fail(ENOMEM);
    if (ERR_GET_LIB(why) == ERR_LIB_SSL) {
        if (reason == SSL_R_CERTIFICATE_VERIFY_FAILED) {
            auto const distrust = static_cast<int>(SSL_get_verify_result(ssl_.get()));
            bool const pin = distrust == X509_V_ERR_APPLICATION_VERIFICATION;
            return fail(tls_error(tls::errc::untrusted, pin ? not_pinned : distrust));
        }
        if (reason == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE)
            return fail(tls_error(tls::errc::untrusted, no_certificate));
        if (reason >= alert_reasons && reason < alert_reasons + 256)
            return fail(tls_error(tls::errc::refused, reason - alert_reasons));
    }
    return fail(tls_failure(why));
}

// ---- OpenSSL's side ------------------------------------------------------------------------------------------------

BIO_METHOD const* tls_session::bio_method() noexcept
{
    static BIO_METHOD const* const method = [] {
        BIO_METHOD* const m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "wring");
        if (m) {
            BIO_meth_set_read(m, take);
            BIO_meth_set_write(m, give);
            BIO_meth_set_ctrl(m, control);
        }
        return m;
    }();
    return method;
}

int tls_session::take(BIO* bio, char* to, int size) noexcept
{
    BIO_clear_retry_flags(bio);
    auto& self = *static_cast<tls_session*>(BIO_get_data(bio));
    if (self.idle_messages_ > most_idle_messages)
        return -1;
    if (self.input_.empty()) {
        BIO_set_retry_read(bio);
        return -1;
    }
    auto const into = std::as_writable_bytes(std::span(to, static_cast<std::size_t>(size)));
    return static_cast<int>(self.input_.read(into));
}

int tls_session::give(BIO* bio, char const* from, int size) noexcept
{
    BIO_clear_retry_flags(bio);
    auto& self = *static_cast<tls_session*>(BIO_get_data(bio));
    if (self.output_.size() > most_output)
        self.idle_messages_ = most_idle_messages + 1; // the peer asks for answers and does not take them
    if (self.idle_messages_ > most_idle_messages)
        return -1; // there is an answer to each of many
    if (self.output_.append(std::as_bytes(std::span(from, static_cast<std::size_t>(size))), self.pool_))
        return size;
    self.no_memory_ = true;
    return -1;
}

long tls_session::control(BIO*, int command, long, void*) noexcept
{
    return command == BIO_CTRL_FLUSH ? 1 : 0;
}

// Counts what comes from the peer and is no data. OpenSSL handles such messages inside a read, one after the other.
void tls_session::on_message(int is_sent, int, int type, void const* bytes, std::size_t size, SSL*, void* self) noexcept
{
    auto& session = *static_cast<tls_session*>(self);
    if (is_sent || !session.established_)
        return;
    bool const is_record = (type == SSL3_RT_HEADER || type == SSL3_RT_INNER_CONTENT_TYPE) && size > 0;
    bool const no_data = is_record && *static_cast<unsigned char const*>(bytes) != SSL3_RT_APPLICATION_DATA;
    if (no_data || type == SSL3_RT_HANDSHAKE)
        ++session.idle_messages_;
}

} // namespace wring::detail
