// SPDX-License-Identifier: BSL-1.0
// The other side of TLS, by OpenSSL alone: it can be asked for what wring's own never does.
#pragma once

#include "tls/certificates.hpp"

#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include <openssl/err.h>
#include <openssl/ssl.h>

namespace tls_test {

/// Bytes in, bytes out. Trusts nobody and everybody.
class raw_peer
{
public:
    enum class role { client, server };

    explicit raw_peer(role r, int version = TLS1_3_VERSION) :
        context_(SSL_CTX_new(r == role::client ? TLS_client_method() : TLS_server_method()))
    {
        SSL_CTX_set_min_proto_version(context_, version);
        SSL_CTX_set_max_proto_version(context_, version);
        if (r == role::server)
            show(pki().server);
        role_ = r;
    }
    raw_peer(raw_peer&& other) noexcept :
        context_(std::exchange(other.context_, nullptr)), ssl_(std::exchange(other.ssl_, nullptr)), in_(other.in_),
        out_(other.out_), role_(other.role_), error_(other.error_), reason_(other.reason_)
    {}
    raw_peer& operator=(raw_peer&&) = delete;
    ~raw_peer()
    {
        SSL_free(ssl_);
        SSL_CTX_free(context_);
    }

    /// A certificate to show; before the handshake.
    void show(identity const& i)
    {
        BIO* bio = BIO_new_mem_buf(i.certificate.data(), static_cast<int>(i.certificate.size()));
        X509* const certificate = PEM_read_bio_X509(bio, nullptr, nullptr, nullptr);
        BIO_free(bio);
        bio = BIO_new_mem_buf(i.key.data(), static_cast<int>(i.key.size()));
        EVP_PKEY* const key = PEM_read_bio_PrivateKey(bio, nullptr, nullptr, nullptr);
        BIO_free(bio);
        inside::check(SSL_CTX_use_certificate(context_, certificate) == 1, "certificate");
        inside::check(SSL_CTX_use_PrivateKey(context_, key) == 1, "key");
        X509_free(certificate);
        EVP_PKEY_free(key);
    }

    [[nodiscard]] SSL_CTX* context() const noexcept { return context_; }
    [[nodiscard]] SSL* ssl()
    {
        if (!ssl_) {
            ssl_ = SSL_new(context_);
            in_ = BIO_new(BIO_s_mem());
            out_ = BIO_new(BIO_s_mem());
            BIO_set_mem_eof_return(in_, -1);
            SSL_set_bio(ssl_, in_, out_);
            role_ == role::client ? SSL_set_connect_state(ssl_) : SSL_set_accept_state(ssl_);
        }
        return ssl_;
    }

    void feed(std::span<std::byte const> bytes)
    {
        (void)ssl();
        if (!bytes.empty())
            BIO_write(in_, bytes.data(), static_cast<int>(bytes.size()));
    }
    /// What it wants to have sent.
    std::vector<std::byte> drain()
    {
        (void)ssl();
        std::vector<std::byte> bytes(BIO_ctrl_pending(out_));
        if (!bytes.empty())
            BIO_read(out_, bytes.data(), static_cast<int>(bytes.size()));
        return bytes;
    }

    /// Goes on with the handshake; true when it is done.
    bool handshake()
    {
        ERR_clear_error();
        int const done = SSL_do_handshake(ssl());
        note(done);
        return done == 1;
    }
    bool write(std::string_view text)
    {
        ERR_clear_error();
        int const done = SSL_write(ssl(), text.data(), static_cast<int>(text.size()));
        note(done);
        return done == static_cast<int>(text.size());
    }
    /// All data that is there.
    std::string read()
    {
        std::string text;
        char part[4096];
        for (int n = 0;; text.append(part, static_cast<std::size_t>(n))) {
            ERR_clear_error();
            n = SSL_read(ssl(), part, sizeof part);
            if (n <= 0) {
                note(n);
                return text;
            }
        }
    }
    void close_notify() { SSL_shutdown(ssl()); }
    /// KeyUpdate, to be answered in kind.
    bool key_update()
    {
        bool const asked = SSL_key_update(ssl(), SSL_KEY_UPDATE_REQUESTED) == 1;
        return asked && SSL_do_handshake(ssl_) == 1;
    }
    /// TLS 1.2: a client's ClientHello or a server's HelloRequest.
    void renegotiate()
    {
        SSL_renegotiate(ssl());
        ERR_clear_error();
        note(SSL_do_handshake(ssl_));
    }

    /// SSL_ERROR_... of the last call, and its reason.
    [[nodiscard]] int last_error() const noexcept { return error_; }
    [[nodiscard]] int last_reason() const noexcept { return reason_; }

private:
    void note(int result)
    {
        error_ = SSL_get_error(ssl_, result);
        reason_ = ERR_GET_REASON(ERR_peek_error());
    }

    SSL_CTX* context_;
    SSL* ssl_ = nullptr;
    BIO* in_ = nullptr;
    BIO* out_ = nullptr;
    role role_;
    int error_ = 0;
    int reason_ = 0;
};

} // namespace tls_test
