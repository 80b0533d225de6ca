// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "proto/error.hpp"
#include "proto/mask.hpp"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace wring::proto {

// Which side of the connection this endpoint is. A client masks what it sends, a server does not (section 5.1).
enum class role : std::uint8_t
{
    server,
    client
};

enum class opcode : std::uint8_t
{
    continuation = 0,
    text = 1,
    binary = 2,
    close = 8,
    ping = 9,
    pong = 10
};

[[nodiscard]] constexpr bool is_control(opcode op) noexcept
{
    return (static_cast<unsigned>(op) & 8) != 0;
}

// A frame header as it is on the wire (RFC 6455 section 5.2).
struct frame_header
{
    bool fin = true;
    bool rsv1 = false;
    bool masked = false;
    opcode op = opcode::binary;
    mask_key key{};
    std::uint64_t length = 0;
};

inline constexpr std::size_t max_header_size = 14;
inline constexpr std::size_t max_control_payload = 125;
inline constexpr std::size_t max_control_frame = 6 + max_control_payload;

// What a header is held against besides the grammar.
struct header_rules
{
    role self = role::server;  // a server wants masked frames, a client unmasked ones
    bool rsv1_allowed = false; // an extension that uses RSV1 was negotiated
};

// size > 0: a header of so many bytes was read. size == 0 and ok: `in` ends inside the header. Otherwise the violation.
struct header_result
{
    std::uint8_t size = 0;
    errc error = errc::ok;
};

// Reads the header at the start of `in`. A violation is reported as soon as its byte is there, whatever follows; the
// bytes are judged in wire order, so the verdict does not depend on how the input was cut. `out` is set only on
// success. Inline, as write_header(): every frame passes here.
[[nodiscard]] inline header_result parse_header(std::span<std::byte const> in, header_rules rules,
                                                frame_header& out) noexcept
{
    if (in.empty()) return {};
    std::byte const* const bytes = in.data(); // no checked access
    auto const first = std::to_integer<unsigned>(bytes[0]);
    auto const op = first & 0x0F;
    bool const fin = (first & 0x80) != 0;
    bool const rsv1 = (first & 0x40) != 0;
    bool const control = (op & 8) != 0;
    if ((op & 7) > 2) return {0, errc::reserved_opcode};
    // RSV1 belongs to the first frame of a message (RFC 7692 section 6).
    if ((first & 0x30) != 0 || (rsv1 && (!rules.rsv1_allowed || control || op == 0))) return {0, errc::reserved_bit};
    if (control && !fin) return {0, errc::control_fragmented};

    if (in.size() < 2) return {};
    auto const second = std::to_integer<unsigned>(bytes[1]);
    bool const masked = (second & 0x80) != 0;
    std::uint64_t length = second & 0x7F;
    if (masked != (rules.self == role::server)) return {0, masked ? errc::mask_unexpected : errc::mask_missing};

    auto number = [bytes](std::size_t size) {
        std::uint64_t n = 0;
        for (std::size_t i = 0; i < size; ++i)
            n = n << 8 | std::to_integer<std::uint64_t>(bytes[2 + i]);
        return n;
    };
    std::uint8_t size = 2;
    if (length >= 126) {
        if (control) return {0, errc::control_too_long};
        std::uint8_t const extended = length == 126 ? 2 : 8;
        if (extended == 8 && in.size() > 2 && std::to_integer<unsigned>(bytes[2]) >= 0x80) return {0, errc::length_msb};
        if (in.size() < std::size_t{2} + extended) return {};
        length = extended == 2 ? number(2) : number(8);
        if (length < 126 || (extended == 8 && length <= 0xFFFF)) return {0, errc::length_not_minimal};
        size += extended;
    }

    mask_key key{};
    if (masked) {
        if (in.size() < size + key.size()) return {};
        std::memcpy(key.data(), bytes + size, key.size());
        size += key.size();
    }
    out = {fin, rsv1, masked, static_cast<opcode>(op), key, length};
    return {size, errc::ok};
}

// Bytes that write_header() will write.
[[nodiscard]] constexpr std::size_t header_size(std::uint64_t length, bool masked) noexcept
{
    return (length < 126 ? 2u : length <= 0xFFFF ? 4u : 10u) + (masked ? 4u : 0u);
}

// Writes `h` in its shortest form to `out`, which has room for header_size() bytes, and returns their number. h.length
// is below 2^63.
inline std::size_t write_header(frame_header const& h, std::byte* out) noexcept
{
    std::byte* at = out;
    unsigned const mask_bit = h.masked ? 0x80u : 0u;
    *at++ = static_cast<std::byte>((h.fin ? 0x80u : 0u) | (h.rsv1 ? 0x40u : 0u) | static_cast<unsigned>(h.op));
    if (h.length < 126) {
        *at++ = static_cast<std::byte>(mask_bit | static_cast<unsigned>(h.length));
    } else {
        std::size_t const extended = h.length <= 0xFFFF ? 2 : 8;
        *at++ = static_cast<std::byte>(mask_bit | (extended == 2 ? 126u : 127u));
        for (std::size_t i = extended; i-- > 0;)
            *at++ = static_cast<std::byte>(h.length >> 8 * i & 0xFF);
    }
    if (h.masked) {
        std::memcpy(at, h.key.data(), h.key.size());
        at += h.key.size();
    }
    return static_cast<std::size_t>(at - out);
}

} // namespace wring::proto
