// SPDX-License-Identifier: BSL-1.0
// OpenSSL's objects as C++ owns them.
#pragma once

#include <memory>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

namespace wring::detail {

template <auto Free>
struct openssl_free
{
    template <class T>
    void operator()(T* object) const noexcept
    {
        Free(object);
    }
};

using ssl_ptr = std::unique_ptr<SSL, openssl_free<SSL_free>>;
using ssl_context_ptr = std::unique_ptr<SSL_CTX, openssl_free<SSL_CTX_free>>;
using ssl_session_ptr = std::unique_ptr<SSL_SESSION, openssl_free<SSL_SESSION_free>>;
using certificate_ptr = std::unique_ptr<X509, openssl_free<X509_free>>;
using private_key_ptr = std::unique_ptr<EVP_PKEY, openssl_free<EVP_PKEY_free>>;
using bio_ptr = std::unique_ptr<BIO, openssl_free<BIO_free>>;

/// Before a call whose error is looked at: what an earlier one, or the application's own, has left must not be taken for
/// its reason.
inline void forget_openssl_errors() noexcept
{
    if (ERR_peek_error() != 0)
        ERR_clear_error();
}

} // namespace wring::detail
