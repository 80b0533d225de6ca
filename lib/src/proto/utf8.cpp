// SPDX-License-Identifier: BSL-1.0
#include "proto/utf8.hpp"

#include "proto/mask.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

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

#if defined(__x86_64__)

// What two bytes in a row cannot be, one bit each; a pair is refused where the three look-ups by the halves of the first
// and the upper half of the second have a bit in common (Keiser and Lemire, "Validating UTF-8 in less than one instruction
// per byte", 2021).
enum : std::uint8_t
{
    too_short = 1 << 0,      // a lead, and no continuation byte
    too_long = 1 << 1,       // ASCII, and a continuation byte
    overlong_3 = 1 << 2,
    too_large = 1 << 3,
    surrogate = 1 << 4,
    overlong_2 = 1 << 5,
    overlong_4 = 1 << 6,
    too_large_1000 = 1 << 6, // the same for a second byte 1000____
    two_continuations = 1 << 7,
    of_any_low_half = too_short | too_long | two_continuations,
};

// By the upper half of the first byte, by its lower half, and by the upper half of the second.
constexpr std::array<std::array<std::uint8_t, 16>, 3> look_ups = [] {
    std::array<std::uint8_t, 16> first_high{}, first_low{}, second_high{};
    std::fill_n(first_high.begin(), 8, too_long);
    std::fill_n(first_high.begin() + 8, 4, two_continuations);
    first_high[0xC] = too_short | overlong_2;
    first_high[0xD] = too_short;
    first_high[0xE] = too_short | overlong_3 | surrogate;
    first_high[0xF] = too_short | too_large | too_large_1000 | overlong_4;

    first_low.fill(of_any_low_half);
    std::fill(first_low.begin() + 4, first_low.end(), of_any_low_half | too_large | too_large_1000);
    first_low[0x0] |= overlong_2 | overlong_3 | overlong_4;
    first_low[0x1] |= overlong_2;
    first_low[0x4] = of_any_low_half | too_large;
    first_low[0xD] |= surrogate;

    second_high.fill(too_short);
    second_high[0x8] = too_long | two_continuations | overlong_2 | overlong_3 | overlong_4 | too_large_1000;
    second_high[0x9] = too_long | two_continuations | overlong_2 | overlong_3 | too_large;
    second_high[0xA] = second_high[0xB] = too_long | two_continuations | overlong_2 | surrogate | too_large;
    return std::array{first_high, first_low, second_high};
}();

// Looks at text that begins with a character, 32 bytes at a time. Gives where it has stopped, before a character at any
// rate and less than 35 bytes before the end; null where no continuation makes this valid.
__attribute__((target("avx2"))) std::byte const* skip_valid_avx2(std::byte const* at, std::byte const* end) noexcept
{
    auto const* const tables = reinterpret_cast<__m128i const*>(look_ups.data());
    __m256i const first_high = _mm256_broadcastsi128_si256(_mm_loadu_si128(tables));
    __m256i const first_low = _mm256_broadcastsi128_si256(_mm_loadu_si128(tables + 1));
    __m256i const second_high = _mm256_broadcastsi128_si256(_mm_loadu_si128(tables + 2));
    __m256i const low_half = _mm256_set1_epi8(0x0F);
    __m256i const high_bit = _mm256_set1_epi8(static_cast<char>(0x80));
    __m256i const below_three = _mm256_set1_epi8(static_cast<char>(0xE0 - 0x80));
    __m256i const below_four = _mm256_set1_epi8(static_cast<char>(0xF0 - 0x80));
    __m256i before = _mm256_setzero_si256();
    __m256i refused_bits = _mm256_setzero_si256();
    for (; end - at >= 32; at += 32) {
        __m256i const bytes = _mm256_loadu_si256(reinterpret_cast<__m256i const*>(at));
        __m256i const joint = _mm256_permute2x128_si256(before, bytes, 0x21);
        __m256i const back_1 = _mm256_alignr_epi8(bytes, joint, 15);
        __m256i const back_2 = _mm256_alignr_epi8(bytes, joint, 14);
        __m256i const back_3 = _mm256_alignr_epi8(bytes, joint, 13);
        __m256i const of_pair = _mm256_and_si256(
            _mm256_and_si256(
                _mm256_shuffle_epi8(first_high, _mm256_and_si256(_mm256_srli_epi16(back_1, 4), low_half)),
                _mm256_shuffle_epi8(first_low, _mm256_and_si256(back_1, low_half))),
            _mm256_shuffle_epi8(second_high, _mm256_and_si256(_mm256_srli_epi16(bytes, 4), low_half)));
        // Two continuation bytes in a row belong behind a lead of three or four bytes, and only there.
        __m256i const continues =
            _mm256_or_si256(_mm256_subs_epu8(back_2, below_three), _mm256_subs_epu8(back_3, below_four));
        refused_bits =
            _mm256_or_si256(refused_bits, _mm256_xor_si256(_mm256_and_si256(continues, high_bit), of_pair));
        before = bytes;
    }
    if (!_mm256_testz_si256(refused_bits, refused_bits)) return nullptr;
    for (int back = 1; back <= 3; ++back) {
        auto const byte = std::to_integer<unsigned>(at[-back]);
        if (byte < 0x80) break;
        if (byte >= 0xC0) return back < (byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4) ? at - back : at;
    }
    return at;
}

constexpr std::ptrdiff_t worth_vectors = 96; // bytes

#endif

} // namespace

bool utf8_validator::feed(std::span<std::byte const> piece) noexcept
{
    auto const* at = piece.data();
    auto const* const end = at + piece.size();
    std::uint64_t s = state_;
    while (at != end) {
        if (s == complete_position) {
            at = skip_ascii(at, end);
#if defined(__x86_64__)
            if (end - at >= worth_vectors && detail::have_avx2()) {
                at = skip_valid_avx2(at, end);
                if (!at) return false;
            }
#endif
        }
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
