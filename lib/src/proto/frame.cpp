// SPDX-License-Identifier: BSL-1.0
#include "proto/frame.hpp"

#include <cstring>

namespace wring::proto {
namespace {

constexpr bool known(unsigned op) noexcept
{
    return op <= 2 || (op >= 8 && op <= 10);
}

std::uint64_t big_endian(std::byte const* bytes, std::size_t size) noexcept
{
    std::uint64_t n = 0;
    for (std::size_t i = 0; i < size; ++i)
        n = n << 8 | std::to_integer<std::uint64_t>(bytes[i]);
    return n;
}

} // namespace

header_result parse_header(std::span<std::byte const> in, header_rules rules, frame_header& out) noexcept
{
    if (in.empty()) return {};
    std::byte const* const bytes = in.data(); // every small frame passes here: no checked access
    auto const first = std::to_integer<unsigned>(bytes[0]);
    auto const op = first & 0x0F;
    bool const fin = (first & 0x80) != 0;
    bool const rsv1 = (first & 0x40) != 0;
    bool const control = (op & 8) != 0;
    if (!known(op)) return {0, errc::reserved_opcode};
    // RSV1 belongs to the first frame of a message (RFC 7692 section 6).
    if ((first & 0x30) != 0 || (rsv1 && (!rules.rsv1_allowed || control || op == 0))) return {0, errc::reserved_bit};
    if (control && !fin) return {0, errc::control_fragmented};

    if (in.size() < 2) return {};
    auto const second = std::to_integer<unsigned>(bytes[1]);
    bool const masked = (second & 0x80) != 0;
    std::uint64_t length = second & 0x7F;
    if (masked != (rules.self == role::server)) return {0, masked ? errc::mask_unexpected : errc::mask_missing};

    std::uint8_t size = 2;
    if (length >= 126) {
        if (control) return {0, errc::control_too_long};
        std::uint8_t const extended = length == 126 ? 2 : 8;
        if (extended == 8 && in.size() > 2 && std::to_integer<unsigned>(bytes[2]) >= 0x80) return {0, errc::length_msb};
        if (in.size() < std::size_t{2} + extended) return {};
        length = big_endian(bytes + 2, extended);
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

std::size_t write_header(frame_header const& h, std::span<std::byte, max_header_size> out) noexcept
{
    std::byte* at = out.data();
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
    return static_cast<std::size_t>(at - out.data());
}

} // namespace wring::proto
