// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

// Byte strings for the tests of the protocol core.
namespace wring::test {

using byte_string = std::vector<std::byte>;

inline byte_string from_text(std::string_view text)
{
    byte_string b(text.size());
    if (!text.empty()) std::memcpy(b.data(), text.data(), text.size());
    return b;
}

inline std::string repeated(std::string_view text, std::size_t times)
{
    std::string all;
    all.reserve(text.size() * times);
    for (std::size_t i = 0; i < times; ++i)
        all += text;
    return all;
}

// "82 FF 00": pairs of digits, spaces ignored.
inline byte_string from_hex(std::string_view hex)
{
    byte_string b;
    unsigned value = 0;
    bool half = false;
    for (char c : hex) {
        if (c == ' ') continue;
        auto const digit = c >= 'a' ? c - 'a' + 10 : c >= 'A' ? c - 'A' + 10 : c - '0';
        value = (value & 15) << 4 | static_cast<unsigned>(digit);
        if (half) b.push_back(static_cast<std::byte>(value));
        half = !half;
    }
    return b;
}

inline std::string to_text(std::span<std::byte const> b)
{
    return {reinterpret_cast<char const*>(b.data()), b.size()};
}

inline byte_string operator+(byte_string a, byte_string const& b)
{
    auto const size = a.size();
    a.resize(size + b.size()); // insert() here is a false alarm of g++ 12's -Warray-bounds
    if (!b.empty()) std::memcpy(a.data() + size, b.data(), b.size());
    return a;
}

// A frame as the tests build it, on purpose without the library's encoder: first byte, payload, key or none.
inline byte_string make_frame(unsigned first, byte_string const& payload, bool masked)
{
    static constexpr std::uint8_t key[4] = {0x37, 0xFA, 0x21, 0x3D};
    byte_string f;
    auto const put = [&f](std::uint64_t n) { f.push_back(static_cast<std::byte>(n & 0xFF)); };
    unsigned const mask_bit = masked ? 0x80 : 0;
    put(first);
    if (payload.size() < 126) {
        put(mask_bit | payload.size());
    } else if (payload.size() < 65536) {
        put(mask_bit | 126);
        put(payload.size() >> 8);
        put(payload.size());
    } else {
        put(mask_bit | 127);
        for (int shift = 56; shift >= 0; shift -= 8)
            put(payload.size() >> shift);
    }
    if (masked)
        for (auto k : key)
            put(k);
    for (std::size_t i = 0; i < payload.size(); ++i)
        f.push_back(masked ? payload[i] ^ static_cast<std::byte>(key[i % 4]) : payload[i]);
    return f;
}

// A small generator with the same sequence everywhere.
struct random_source
{
    std::uint64_t state;

    std::uint64_t operator()()
    {
        state ^= (state & (~0ull >> 13)) << 13; // so written, no sanitizer sees bits lost
        state ^= state >> 7;
        state ^= (state & (~0ull >> 17)) << 17;
        return state;
    }
    std::size_t below(std::size_t n) { return static_cast<std::size_t>((*this)() % n); }
};

} // namespace wring::test
