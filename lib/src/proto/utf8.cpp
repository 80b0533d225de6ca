// SPDX-License-Identifier: BSL-1.0
#include "proto/utf8.hpp"

#include <cstring>

namespace wring::proto {
namespace {

// The length of the ASCII prefix of [at, end), rounded down to whole blocks of 32 bytes.
std::byte const* skip_ascii(std::byte const* at, std::byte const* end) noexcept
{
    while (end - at >= 32) {
        std::uint64_t w[4];
        std::memcpy(w, at, sizeof w);
        if (((w[0] | w[1] | w[2] | w[3]) & 0x8080808080808080u) != 0) break;
        at += 32;
    }
    return at;
}

// What may follow a lead byte (RFC 3629 section 4): so many continuation bytes, the first in a range of its own, the
// others in 80..BF. A count of 0 marks a byte that leads nothing.
struct sequence
{
    std::uint8_t pending;
    std::uint8_t low;
    std::uint8_t high;
};

constexpr sequence after(std::uint8_t lead) noexcept
{
    if (lead >= 0xC2 && lead <= 0xDF) return {1, 0x80, 0xBF};
    if (lead == 0xE0) return {2, 0xA0, 0xBF}; // below: overlong
    if (lead == 0xED) return {2, 0x80, 0x9F}; // above: surrogates
    if (lead >= 0xE1 && lead <= 0xEF) return {2, 0x80, 0xBF};
    if (lead == 0xF0) return {3, 0x90, 0xBF}; // below: overlong
    if (lead == 0xF4) return {3, 0x80, 0x8F}; // above: U+10FFFF is the last
    if (lead >= 0xF1 && lead <= 0xF3) return {3, 0x80, 0xBF};
    return {0, 0, 0};
}

} // namespace

bool utf8_validator::feed(std::span<std::byte const> piece) noexcept
{
    auto const* at = piece.data();
    auto const* const end = at + piece.size();
    sequence open{pending_, low_, high_};
    while (at != end) {
        auto const c = std::to_integer<std::uint8_t>(*at);
        if (open.pending != 0) {
            if (c < open.low || c > open.high) return false;
            open = {static_cast<std::uint8_t>(open.pending - 1), 0x80, 0xBF};
            ++at;
        } else if (c < 0x80) {
            auto const* const next = skip_ascii(at, end);
            at = next == at ? at + 1 : next;
        } else {
            open = after(c);
            if (open.pending == 0) return false;
            ++at;
        }
    }
    pending_ = open.pending;
    low_ = open.low;
    high_ = open.high;
    return true;
}

bool valid_utf8(std::span<std::byte const> text) noexcept
{
    utf8_validator v;
    return v.feed(text) && v.complete();
}

} // namespace wring::proto
