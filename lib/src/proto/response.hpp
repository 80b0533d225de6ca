// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "proto/error.hpp"
#include "proto/http.hpp"

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace wring::proto {

// The reason phrase of a status; empty for one that has no row, as it may be (RFC 9112 section 4).
[[nodiscard]] std::string_view reason_phrase(std::uint16_t status) noexcept;

// Whether a response of this status has no content, so that none may be announced (RFC 9110 section 6.4.1).
[[nodiscard]] constexpr bool has_no_content(std::uint16_t status) noexcept
{
    return status < 200 || status == 204 || status == 304;
}

struct response_start
{
    std::uint16_t status = 200;
    std::string_view content_type;       // empty: none
    std::optional<std::uint64_t> length; // Content-Length
    bool chunked = false;                // Transfer-Encoding
    bool close = false;                  // Connection: close
    std::string_view date;               // empty: none
    std::uint32_t retry_after = 1;       // seconds, for 503
    std::span<field const> extra;        // the application's fields; where they say what would be said here, they win
};

// Appends the head of a response of a status from 200 to 599 to `out`, with what the status calls for: 405 Allow,
// 426 Sec-WebSocket-Version and Upgrade, 503 Retry-After. Neither length nor coding is said where has_no_content().
// On an error (a field that is no valid one, or is the protocol's) `out` is unchanged.
[[nodiscard]] errc write_response(std::string& out, response_start const& start);

// errc::ok, or the first fault of check_field() (handshake.hpp) among them.
[[nodiscard]] errc check_fields(std::span<field const> fields) noexcept;

void append_field(std::string& out, std::string_view name, std::string_view value);
void append_fields(std::string& out, std::span<field const> fields);

} // namespace wring::proto
