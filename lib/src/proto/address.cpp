// SPDX-License-Identifier: BSL-1.0
#include "proto/address.hpp"

#include <algorithm>

namespace wring::proto {
namespace {

constexpr bool is_digit(char c) noexcept
{
    return c >= '0' && c <= '9';
}

// -1 where it is no hexadecimal digit.
constexpr int hex_digit(char c) noexcept
{
    if (is_digit(c)) return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

// Writes four bytes; false where `text` is no address.
bool read_ipv4(std::string_view text, std::uint8_t* to) noexcept
{
    for (int part = 0; part < 4; ++part) {
        auto const end = std::min(text.find('.'), text.size());
        auto const digits = text.substr(0, end);
        if (digits.empty() || digits.size() > 3 || !std::all_of(digits.begin(), digits.end(), is_digit)) return false;
        if (digits.size() > 1 && digits.front() == '0') return false;
        unsigned value = 0;
        for (char c : digits)
            value = value * 10 + static_cast<unsigned>(c - '0');
        if (value > 255) return false;
        to[part] = static_cast<std::uint8_t>(value);
        if (part == 3) return end == text.size();
        if (end == text.size()) return false;
        text.remove_prefix(end + 1);
    }
    return false;
}

} // namespace

ip_address parse_ipv4(std::string_view text) noexcept
{
    ip_address a;
    if (read_ipv4(text, a.bytes.data())) a.size = 4;
    return a.empty() ? ip_address{} : a;
}

ip_address parse_ipv6(std::string_view text) noexcept
{
    ip_address a;
    std::size_t n = 0; // bytes so far
    std::size_t gap = 0;
    bool compressed = false; // there is a "::", at `gap`
    if (text.starts_with("::")) {
        compressed = true;
        text.remove_prefix(2);
    }
    while (!text.empty()) {
        auto const end = std::min(text.find(':'), text.size());
        auto const group = text.substr(0, end);
        if (group.find('.') != group.npos) { // the last 32 bits as an IPv4 address
            if (end != text.size() || n > 12 || !read_ipv4(group, a.bytes.data() + n)) return {};
            n += 4;
            break;
        }
        if (group.empty() || group.size() > 4 || n == 16) return {};
        unsigned value = 0;
        for (char c : group) {
            if (hex_digit(c) < 0) return {};
            value = value * 16 + static_cast<unsigned>(hex_digit(c));
        }
        a.bytes[n++] = static_cast<std::uint8_t>(value >> 8);
        a.bytes[n++] = static_cast<std::uint8_t>(value & 0xFF);
        if (end == text.size()) break;
        text.remove_prefix(end + 1);
        if (text.empty()) return {}; // a single colon at the end
        if (text.front() == ':') {
            if (compressed) return {};
            compressed = true;
            gap = n;
            text.remove_prefix(1);
        }
    }
    if (compressed ? n > 14 : n != 16) return {};
    if (compressed) {
        auto const from = a.bytes.begin() + static_cast<std::ptrdiff_t>(gap);
        auto const until = a.bytes.begin() + static_cast<std::ptrdiff_t>(n);
        std::copy_backward(from, until, a.bytes.end());
        std::fill_n(from, 16 - n, std::uint8_t{0});
    }
    a.size = 16;
    return a;
}

ip_address parse_ip(std::string_view text) noexcept
{
    auto const v4 = parse_ipv4(text);
    return v4.empty() ? parse_ipv6(text) : v4;
}

bool same_network(ip_address const& a, ip_address const& b, unsigned bits) noexcept
{
    if (a.empty() || a.size != b.size || bits > a.size * 8U) return false;
    for (unsigned i = 0; i < a.size && i * 8 < bits; ++i) {
        auto const left = std::min(bits - i * 8, 8U);
        auto const mask = static_cast<std::uint8_t>(0xFF << (8 - left));
        if (((a.bytes[i] ^ b.bytes[i]) & mask) != 0) return false;
    }
    return true;
}

} // namespace wring::proto
