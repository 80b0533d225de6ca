// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "proto/error.hpp"
#include "proto/frame.hpp"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace wring::proto {

// Codes that describe an ending without ever being sent (RFC 6455 section 7.4.1).
inline constexpr std::uint16_t close_no_status = 1005;
inline constexpr std::uint16_t close_abnormal = 1006;

// The longest reason that fits a close frame besides its code.
inline constexpr std::size_t max_close_reason = max_control_payload - 2;

// 1000-1003 and 1007-1014 (RFC 6455 section 7.4.1 and the IANA registry), 3000-4999 (section 7.4.2).
[[nodiscard]] bool valid_received_close_code(std::uint16_t code) noexcept;

// The same set: what may be received may be sent, so that a code can always be echoed.
[[nodiscard]] inline bool valid_sent_close_code(std::uint16_t code) noexcept
{
    return valid_received_close_code(code);
}

struct close_payload
{
    std::uint16_t code = close_no_status; // close_no_status: the payload was empty
    std::string_view reason;              // view of the parsed payload
};

// Reads the unmasked payload of a close frame (section 5.5.1). `out` is set only on ok.
[[nodiscard]] errc parse_close(std::span<std::byte const> payload, close_payload& out) noexcept;

struct close_result
{
    std::size_t size = 0;
    errc error = errc::ok;
};

// Writes a payload: nothing for code 0 or close_no_status with an empty reason. Refuses codes that may not be sent,
// reasons that are not UTF-8 and reasons over max_close_reason bytes.
[[nodiscard]] close_result write_close(std::uint16_t code, std::string_view reason,
                                       std::span<std::byte, max_control_payload> out) noexcept;

} // namespace wring::proto
