// SPDX-License-Identifier: BSL-1.0
#include "proto/frame.hpp"

#include <algorithm>

namespace wring::proto {
namespace {

constexpr bool known(unsigned op) noexcept
{
    return op <= 2 || (op >= 8 && op <= 10);
}

std::uint64_t big_endian(std::span<std::byte const> bytes) noexcept
{
    std::uint64_t n = 0;
    for (auto b : bytes)
        n = n << 8 | std::to_integer<std::uint64_t>(b);
    return n;
}

} // namespace

header_result parse_header(std::span<std::byte const> in, header_rules rules, frame_header& out) noexcept
{
    if (in.empty()) return {};
    auto const first = std::to_integer<unsigned>(in[0]);
    auto const op = first & 0x0F;
    bool const fin = (first & 0x80) != 0;
    bool const rsv1 = (first & 0x40) != 0;
    bool const control = (op & 8) != 0;
    if (!known(op)) return {0, errc::reserved_opcode};
    // RSV1 belongs to the first frame of a message (RFC 7692 section 6).
    if ((first & 0x30) != 0 || (rsv1 && (!rules.rsv1_allowed || control || op == 0))) return {0, errc::reserved_bit};
    if (control && !fin) return {0, errc::control_fragmented};

    if (in.size() < 2) return {};
    auto const second = std::to_integer<unsigned>(in[1]);
    bool const masked = (second & 0x80) != 0;
    std::uint64_t length = second & 0x7F;
    if (masked != (rules.self == role::server)) return {0, masked ? errc::mask_unexpected : errc::mask_missing};
    if (control && length > max_control_payload) return {0, errc::control_too_long};

    std::size_t const extended = length < 126 ? 0 : length == 126 ? 2 : 8;
    if (extended == 8 && in.size() > 2 && std::to_integer<unsigned>(in[2]) >= 0x80) return {0, errc::length_msb};
    if (in.size() < 2 + extended) return {};
    if (extended != 0) {
        length = big_endian(in.subspan(2, extended));
        if (length < 126 || (extended == 8 && length <= 0xFFFF)) return {0, errc::length_not_minimal};
    }

    auto const size = 2 + extended + (masked ? 4u : 0u);
    if (in.size() < size) return {};
    out = {fin, rsv1, masked, static_cast<opcode>(op), {}, length};
    if (masked) {
        auto const key = in.subspan(2 + extended, 4);
        std::transform(key.begin(), key.end(), out.key.begin(),
                       [](auto b) { return std::to_integer<std::uint8_t>(b); });
    }
    return {size, errc::ok};
}

std::size_t write_header(frame_header const& h, std::span<std::byte, max_header_size> out) noexcept
{
    auto const size = header_size(h.length, h.masked);
    auto const key_size = h.masked ? 4u : 0u;
    auto const extended = size - 2 - key_size;
    auto const short_length = extended == 0 ? static_cast<unsigned>(h.length) : extended == 2 ? 126u : 127u;
    out[0] = static_cast<std::byte>((h.fin ? 0x80u : 0u) | (h.rsv1 ? 0x40u : 0u) | static_cast<unsigned>(h.op));
    out[1] = static_cast<std::byte>((h.masked ? 0x80u : 0u) | short_length);
    for (std::size_t i = 0; i < extended; ++i)
        out[2 + i] = static_cast<std::byte>(h.length >> 8 * (extended - 1 - i) & 0xFF);
    for (std::size_t i = 0; i < key_size; ++i)
        out[2 + extended + i] = static_cast<std::byte>(h.key[i]);
    return size;
}

} // namespace wring::proto
