// SPDX-License-Identifier: BSL-1.0
#include "proto/utf8.hpp"

#include <algorithm>
#include <array>
#include <cstring>

namespace wring::proto {
namespace {

// An automaton over bytes. A state is the number of continuation bytes to come, and four more states hold the first of
// them to a narrower range (RFC 3629 section 4).
enum state : unsigned
{
    refused,
    complete,
    one_more,
    two_more,
    three_more,
    after_e0, // A0..BF: below, the form would be overlong
    after_ed, // 80..9F: above are the surrogates
    after_f0, // 90..BF: below, the form would be overlong
    after_f4, // 80..8F: U+10FFFF is the last character
    state_count,
};

constexpr state next(unsigned from, unsigned byte)
{
    auto const within = [byte](unsigned low, unsigned high, state to) {
        return byte >= low && byte <= high ? to : refused;
    };
    switch (from) {
    case complete:
        if (byte < 0x80) return complete;
        if (byte < 0xC2) return refused; // a continuation byte, or the lead of an overlong form
        if (byte < 0xE0) return one_more;
        if (byte < 0xF0) return byte == 0xE0 ? after_e0 : byte == 0xED ? after_ed : two_more;
        return byte == 0xF0 ? after_f0 : byte == 0xF4 ? after_f4 : within(0xF0, 0xF4, three_more);
    case one_more:
        return within(0x80, 0xBF, complete);
    case two_more:
        return within(0x80, 0xBF, one_more);
    case three_more:
        return within(0x80, 0xBF, two_more);
    case after_e0:
        return within(0xA0, 0xBF, one_more);
    case after_ed:
        return within(0x80, 0x9F, one_more);
    case after_f0:
        return within(0x90, 0xBF, two_more);
    case after_f4:
        return within(0x80, 0x8F, two_more);
    default:
        return refused;
    }
}

// A state is kept as the position of its six bits in a row; the row of a byte holds at each state's position the state
// that follows. So a step is one shift, without a branch, and the row can be loaded before the state is known.
constexpr unsigned bits = 6;
constexpr std::uint64_t complete_position = complete * bits;
static_assert(state_count * bits <= 64 && complete_position == utf8_validator::initial && refused == 0);

constexpr std::array<std::uint64_t, 256> rows = [] {
    std::array<std::uint64_t, 256> r{};
    for (unsigned byte = 0; byte < 256; ++byte)
        for (unsigned s = 0; s < state_count; ++s)
            r[byte] |= std::uint64_t{next(s, byte) * bits} << (s * bits);
    return r;
}();

// Skips ASCII in whole words.
std::byte const* skip_ascii(std::byte const* at, std::byte const* end) noexcept
{
    constexpr std::uint64_t high_bits = 0x8080808080808080;
    std::uint64_t w[4];
    for (; end - at >= 32; at += 32) {
        std::memcpy(w, at, 32);
        if (((w[0] | w[1] | w[2] | w[3]) & high_bits) != 0) break;
    }
    for (; end - at >= 8; at += 8) {
        std::memcpy(w, at, 8);
        if ((w[0] & high_bits) != 0) break;
    }
    return at;
}

} // namespace

bool utf8_validator::feed(std::span<std::byte const> piece) noexcept
{
    auto const* at = piece.data();
    auto const* const end = at + piece.size();
    std::uint64_t s = state_;
    while (at != end) {
        if (s == complete_position) at = skip_ascii(at, end);
        // Long enough that looking for ASCII and for a refusal costs little, which once reached stays.
        auto const* const stop = at + std::min<std::ptrdiff_t>(end - at, 24);
        for (; at != stop; ++at)
            s = rows[std::to_integer<unsigned>(*at)] >> (s & 63);
        s &= 63;
        if (s == refused) return false;
    }
    state_ = static_cast<std::uint8_t>(s);
    return true;
}

bool valid_utf8(std::span<std::byte const> text) noexcept
{
    utf8_validator v;
    return v.feed(text) && v.complete();
}

} // namespace wring::proto
