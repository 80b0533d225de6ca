// SPDX-License-Identifier: BSL-1.0
// Errors of TLS as numbers: the value of an error code, and what a transport gives in place of an errno.
#pragma once

#include <wring/tls.hpp>

#include <string>

namespace wring::detail {

// The kind is in the bits from 24 on, so that no such number is an errno; below it what more is known.
inline constexpr int tls_error_shift = 24;
inline constexpr int tls_detail_mask = (1 << tls_error_shift) - 1;

[[nodiscard]] constexpr int tls_error(tls::errc kind, int detail = 0) noexcept
{
    return static_cast<int>(kind) << tls_error_shift | (detail & tls_detail_mask);
}
[[nodiscard]] constexpr bool is_tls_error(int error) noexcept
{
    return error >> tls_error_shift > 0;
}

// Details of errc::untrusted beside OpenSSL's X509_V_ERR_..., which are below 1000.
inline constexpr int no_certificate = 1000;
inline constexpr int not_pinned = 1001;

/// errc::failed with OpenSSL's reason: an error of its queue.
[[nodiscard]] int tls_failure(unsigned long openssl_error) noexcept;
/// errc::unusable, with `why` for its message. Texts are kept for good, each once.
[[nodiscard]] int tls_unusable(std::string why) noexcept;

[[nodiscard]] inline std::error_code tls_error_code(int error) noexcept
{
    return {error, tls::error_category()};
}

} // namespace wring::detail
