// SPDX-License-Identifier: BSL-1.0
// What a context has made of its options and files: OpenSSL's contexts, and what their callbacks need.
#pragma once

#include "tls/error.hpp"
#include "tls/openssl.hpp"
#include "tls/tickets.hpp"

#include <array>
#include <list>

namespace wring::detail {

/// Options of either role, as a context keeps them to read its files again.
struct tls_settings
{
    struct certificate_source
    {
        std::string certificate;
        std::string key;
    };
    std::vector<certificate_source> certificates; ///< the first is the usual one; of a client at most one
    std::string key_password;
    std::string alpn;
    std::string ca;
    std::string pins;
    std::chrono::seconds ticket_lifetime{0};
    tls::client_certificates clients = tls::client_certificates::off;
    tls::version min_version = tls::version::v1_2;
    bool is_server = false;
    bool skip_verification = false;
};

/// Immutable, but for what has a mutex of its own: the loops share it. A session keeps the one that it was made of.
class tls_material
{
public:
    /// Reads the files. An error of errc::unusable says which can't be used and why.
    [[nodiscard]] static result<std::shared_ptr<tls_material>> load(tls_settings const& settings);

    tls_material(tls_material const&) = delete;
    tls_material& operator=(tls_material const&) = delete;

    /// Null where there is no memory.
    [[nodiscard]] ssl_ptr make_ssl() const noexcept { return ssl_ptr(SSL_new(contexts_.front().get())); }
    [[nodiscard]] bool is_server() const noexcept { return is_server_; }
    /// Whether the name of the host has a part in what is trusted.
    [[nodiscard]] bool checks_host() const noexcept { return checks_host_; }

    /// Sessions that a client may resume, by host; a few, the newest.
    void keep_session(std::string_view host, ssl_session_ptr session) noexcept;
    [[nodiscard]] ssl_session_ptr take_session(std::string_view host) noexcept;

private:
    using digest = std::array<unsigned char, 32>;
    static constexpr std::size_t most_sessions = 32;

    struct kept_session
    {
        std::string host;
        ssl_session_ptr session;
    };

    explicit tls_material(tls_settings const& settings) noexcept;

    // Each gives what is wrong; empty: nothing.
    std::string build(tls_settings const& settings);
    std::string add_context(tls_settings const& settings, tls_settings::certificate_source const* source);
    std::string set_trust(SSL_CTX* context, tls_settings const& settings);
    std::string set_alpn(std::string_view names);
    std::string set_pins(std::string_view pins);

    [[nodiscard]] bool is_pinned(X509* certificate) const noexcept;

    // OpenSSL's callbacks.
    static int choose_certificate(SSL* ssl, int* alert, void* self) noexcept;
    static int choose_protocol(SSL* ssl, unsigned char const** out, unsigned char* out_size, unsigned char const* in,
                               unsigned in_size, void* self) noexcept;
    static int verify(X509_STORE_CTX* chain, void* self) noexcept;
    static int new_session(SSL* ssl, SSL_SESSION* session) noexcept;
    static int ticket_key(SSL* ssl, unsigned char* name, unsigned char* iv, EVP_CIPHER_CTX* cipher, EVP_MAC_CTX* mac,
                          int encrypt) noexcept;

    static tls_material& of(SSL const* ssl) noexcept;

    std::vector<ssl_context_ptr> contexts_; // one per certificate; the first chooses among them
    std::string alpn_;                      // names as on the wire
    std::vector<digest> pins_;
    bool is_server_;
    bool checks_chain_ = false;
    bool checks_host_ = false;
    ticket_keys tickets_;

    std::mutex sessions_mutex_;
    std::list<kept_session> sessions_; // newest first
};

} // namespace wring::detail
