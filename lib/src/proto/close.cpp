// SPDX-License-Identifier: BSL-1.0
#include "proto/close.hpp"

#include "proto/utf8.hpp"

#include <cstring>

namespace wring::proto {

bool valid_received_close_code(std::uint16_t code) noexcept
{
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) || (code >= 3000 && code <= 4999);
}

errc parse_close(std::span<std::byte const> payload, close_payload& out) noexcept
{
    if (payload.empty()) {
        out = {};
        return errc::ok;
    }
    if (payload.size() == 1) return errc::close_payload_short;
    auto const code =
        static_cast<std::uint16_t>(std::to_integer<unsigned>(payload[0]) << 8 | std::to_integer<unsigned>(payload[1]));
    if (!valid_received_close_code(code)) return errc::close_code_invalid;
    auto const reason = payload.subspan(2);
    if (!valid_utf8(reason)) return errc::utf8_close_reason;
    out = {code, {reinterpret_cast<char const*>(reason.data()), reason.size()}};
    return errc::ok;
}

close_result write_close(std::uint16_t code, std::string_view reason,
                         std::span<std::byte, max_control_payload> out) noexcept
{
    if ((code == 0 || code == close_no_status) && reason.empty()) return {};
    if (!valid_sent_close_code(code)) return {0, errc::send_close_code};
    if (reason.size() > max_close_reason) return {0, errc::send_control_too_long};
    if (!valid_utf8(std::as_bytes(std::span{reason}))) return {0, errc::send_utf8};
    out[0] = static_cast<std::byte>(code >> 8);
    out[1] = static_cast<std::byte>(code & 0xFF);
    if (!reason.empty()) std::memcpy(out.data() + 2, reason.data(), reason.size());
    return {2 + reason.size(), errc::ok};
}

} // namespace wring::proto
