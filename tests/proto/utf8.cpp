// SPDX-License-Identifier: BSL-1.0
#include "proto/utf8.hpp"

#include "bytes.hpp"
#include "catch.hpp"

#include <algorithm>
#include <array>

using wring::proto::utf8_validator;
using wring::proto::valid_utf8;
using namespace wring::test;

namespace {

// Decodes and judges the number, unlike the validator, which judges bytes. 1: valid and complete, 0: the start of
// something valid, -1: neither.
int reference(std::span<unsigned char const> s)
{
    while (!s.empty()) {
        unsigned const lead = s[0];
        std::size_t const size = lead < 0x80 ? 1 : lead >> 5 == 6 ? 2 : lead >> 4 == 14 ? 3 : lead >> 3 == 30 ? 4 : 0;
        if (size == 0) return -1;
        std::size_t const have = std::min(size, s.size());
        for (std::size_t i = 1; i < have; ++i)
            if (s[i] >> 6 != 2) return -1;
        // All characters that begin with the bytes there are: the numbers from first to last.
        unsigned first = size == 1 ? lead : lead & ((1u << (7 - size)) - 1);
        unsigned last = first;
        for (std::size_t i = 1; i < size; ++i) {
            first = first << 6 | (i < have ? s[i] & 63u : 0u);
            last = last << 6 | (i < have ? s[i] & 63u : 63u);
        }
        unsigned const least[] = {0, 0, 0x80, 0x800, 0x10000};
        bool possible = false;
        if (have == size) {
            possible = first >= least[size] && first <= 0x10FFFF && (first < 0xD800 || first > 0xDFFF);
        } else {
            auto const from = std::max(first, least[size]);
            auto const to = std::min(last, 0x10FFFFu);
            possible = from <= to && !(from >= 0xD800 && to <= 0xDFFF);
        }
        if (!possible) return -1;
        if (have < size) return 0;
        s = s.subspan(size);
    }
    return 1;
}

int judged(std::span<unsigned char const> s)
{
    utf8_validator v;
    if (!v.feed(std::as_bytes(s))) return -1;
    return v.complete() ? 1 : 0;
}

} // namespace

TEST_CASE("all sequences of one to three bytes are judged as by decoding them", "[proto][utf8]")
{
    unsigned mismatches = 0;
    for (unsigned n = 0; n < 1u << 24; ++n) {
        unsigned char const s[] = {static_cast<unsigned char>(n >> 16), static_cast<unsigned char>(n >> 8 & 0xFF),
                                   static_cast<unsigned char>(n & 0xFF)};
        mismatches += judged(s) != reference(s) ? 1 : 0;
        if (s[2] == 0) mismatches += judged(std::span{s}.first(2)) != reference(std::span{s}.first(2)) ? 1 : 0;
        if (n % 65536 == 0) mismatches += judged(std::span{s}.first(1)) != reference(std::span{s}.first(1)) ? 1 : 0;
    }
    CHECK(mismatches == 0);
}

TEST_CASE("all four-byte sequences of edge bytes are judged as by decoding them", "[proto][utf8]")
{
    unsigned char const tails[] = {0x00, 0x7F, 0x80, 0x81, 0x8F, 0x90, 0x9F, 0xA0, 0xBE, 0xBF, 0xC0, 0xF4, 0xFF};
    unsigned mismatches = 0;
    for (unsigned lead = 0xC0; lead < 256; ++lead)
        for (unsigned second = 0; second < 256; ++second)
            for (auto third : tails)
                for (auto fourth : tails) {
                    unsigned char const s[] = {static_cast<unsigned char>(lead), static_cast<unsigned char>(second),
                                               third, fourth};
                    mismatches += judged(s) != reference(s) ? 1 : 0;
                }
    CHECK(mismatches == 0);
}

TEST_CASE("the verdict is the same for each way to cut the text, and comes at the earliest byte", "[proto][utf8]")
{
    char const* const texts[] = {
        "plain",
        "κόσμε",
        "\xF0\x9F\x98\x80 smile",
        "\xED\x9F\xBF\xEE\x80\x80",
        "\xF4\x8F\xBF\xBF",
        "\xF4\x90\x80\x80",
        "\xED\xA0\x80",
        "ab\xC0\xAF",
        "abc\xE0\x80\x80",
        "\xF0\x80\x80\x80",
        "\xFF",
        "abc\x80",
        "\xC3",
        "\xE2\x82",
        "\xF5\x80\x80\x80",
        "0123456789012345678901234567890123456789\xC3\xA9 0123456789012345678901234567890123456789\xFE",
    };
    for (auto const* text : texts) {
        auto const b = from_text(text);
        auto const whole = reference({reinterpret_cast<unsigned char const*>(b.data()), b.size()});
        for (std::size_t cut = 0; cut <= b.size(); ++cut) {
            utf8_validator v;
            bool const good = v.feed(std::span{b}.first(cut)) && v.feed(std::span{b}.subspan(cut));
            CHECK((good ? v.complete() ? 1 : 0 : -1) == whole);
        }
        utf8_validator v;
        for (std::size_t i = 0; i < b.size(); ++i) {
            bool const good = v.feed(std::span{b}.subspan(i, 1));
            auto const so_far = reference({reinterpret_cast<unsigned char const*>(b.data()), i + 1});
            CHECK(good == (so_far >= 0));
            if (!good) break;
            CHECK(v.complete() == (so_far == 1));
        }
    }
}

TEST_CASE("a bad byte is found wherever it stands in a long text", "[proto][utf8]")
{
    unsigned wrong = 0;
    for (std::size_t size = 1; size <= 200; ++size)
        for (std::size_t at = 0; at < size; ++at) {
            byte_string b(size, std::byte{'x'});
            b[at] = std::byte{0xFF};
            wrong += valid_utf8(b) ? 1 : 0;
            b[at] = std::byte{'y'};
            wrong += valid_utf8(b) ? 0 : 1;
        }
    CHECK(wrong == 0);
}

TEST_CASE("in a long text every sequence of edge bytes is judged as by decoding it", "[proto][utf8]")
{
    // What is long is looked at in blocks of 32 bytes: in one, over the border of two, and where the last one ends.
    unsigned char const edges[] = {'x',  0x7F, 0x80, 0x81, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1, 0xC2,
                                   0xDF, 0xE0, 0xE1, 0xEC, 0xED, 0xEE, 0xEF, 0xF0, 0xF1, 0xF3, 0xF4, 0xF5};
    constexpr std::size_t size = 128;
    unsigned mismatches = 0;
    for (std::size_t const at : {10, 29, 30, 31, 60, 124}) {
        std::array<unsigned char, size> text;
        text.fill('x');
        for (std::size_t i = 0; i + 2 <= at; i += 2)
            text[i] = 0xC3, text[i + 1] = 0xA9;
        for (auto a : edges)
            for (auto b : edges)
                for (auto c : edges)
                    for (auto d : edges) {
                        unsigned char const s[] = {a, b, c, d, 'x'};
                        std::copy_n(s, 4, text.begin() + static_cast<std::ptrdiff_t>(at));
                        auto const expected = reference(std::span(s).first(at + 4 == size ? 4 : 5));
                        mismatches += judged(text) != expected ? 1 : 0;
                    }
    }
    CHECK(mismatches == 0);
}

TEST_CASE("after a reset the validator begins anew", "[proto][utf8]")
{
    utf8_validator v;
    CHECK(v.feed(from_hex("E2 82")));
    CHECK_FALSE(v.complete());
    v.reset();
    CHECK(v.complete());
    CHECK(v.feed(from_text("a")));
}
