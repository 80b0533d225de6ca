// SPDX-License-Identifier: BSL-1.0
#include "proto/proxy.hpp"

#include "proto/address.hpp"

#include <algorithm>

namespace wring::proto {
namespace {

constexpr std::string_view signature_1 = "PROXY ";
constexpr std::string_view signature_2{"\r\n\r\n\0\r\nQUIT\n", 12};
constexpr std::size_t max_line = 107; // with its CRLF
constexpr std::size_t head_2 = 16;    // signature, version and command, family, length

constexpr proxy_progress bad{0, errc::proxy_header};

unsigned at(std::string_view bytes, std::size_t i) noexcept
{
    return static_cast<unsigned char>(bytes[i]);
}

unsigned word(std::string_view bytes, std::size_t i) noexcept
{
    return at(bytes, i) << 8 | at(bytes, i + 1);
}

// Whether `bytes` is, as far as it goes, the beginning of `whole`, or begins with it.
bool agrees(std::string_view bytes, std::string_view whole) noexcept
{
    auto const n = std::min(bytes.size(), whole.size());
    return bytes.substr(0, n) == whole.substr(0, n);
}

void set_address(proxy_header& h, std::string_view text, unsigned port, bool ipv6) noexcept
{
    std::copy(text.begin(), text.end(), h.text.begin());
    h.size = static_cast<std::uint8_t>(text.size());
    h.port = static_cast<std::uint16_t>(port);
    h.ipv6 = ipv6;
}

// Digits without leading zeros, at most 65535.
bool read_port(std::string_view text, unsigned& out) noexcept
{
    if (text.empty() || text.size() > 5 || (text.size() > 1 && text.front() == '0')) return false;
    out = 0;
    for (char c : text) {
        if (c < '0' || c > '9') return false;
        out = out * 10 + static_cast<unsigned>(c - '0');
    }
    return out <= 65535;
}

// Up to the next space, which is dropped.
std::string_view next_word(std::string_view& line) noexcept
{
    auto const end = std::min(line.find(' '), line.size());
    auto const found = line.substr(0, end);
    line.remove_prefix(std::min(end + 1, line.size()));
    return found;
}

// "PROXY TCP4 192.0.2.1 192.0.2.9 56324 443\r\n"
proxy_progress read_line(std::string_view bytes, proxy_header& out) noexcept
{
    auto const end = bytes.substr(0, max_line).find("\r\n");
    if (end == bytes.npos) return bytes.size() >= max_line ? bad : proxy_progress{};
    proxy_progress const done{end + 2, errc::ok};
    auto line = bytes.substr(signature_1.size(), end - signature_1.size());
    auto const family = next_word(line);
    out = {};
    if (family == "UNKNOWN") return done; // whatever follows
    if (family != "TCP4" && family != "TCP6") return bad;
    bool const v6 = family == "TCP6";
    auto const parse = v6 ? parse_ipv6 : parse_ipv4;
    auto const source = next_word(line);
    auto const target = next_word(line);
    auto const source_port = next_word(line);
    unsigned port = 0;
    unsigned target_port = 0;
    if (parse(source).empty() || parse(target).empty()) return bad;
    if (!read_port(source_port, port) || !read_port(line, target_port)) return bad;
    set_address(out, source, port, v6);
    return done;
}

std::size_t append_number(std::array<char, 46>& text, std::size_t size, unsigned n, unsigned base) noexcept
{
    std::array<char, 5> digits;
    std::size_t count = 0;
    do
        digits[count++] = "0123456789abcdef"[n % base];
    while ((n /= base) != 0);
    while (count > 0)
        text[size++] = digits[--count];
    return size;
}

// Castagnoli's, of `bytes` with four of them, at `hole`, taken for zero.
std::uint32_t crc32c(std::string_view bytes, std::size_t hole) noexcept
{
    std::uint32_t crc = ~0U;
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        crc ^= i - hole < 4 ? 0 : at(bytes, i);
        for (int bit = 0; bit < 8; ++bit)
            crc = crc >> 1 ^ ((crc & 1) != 0 ? 0x82F63B78U : 0);
    }
    return ~crc;
}

// Type, length, value, each as long as it says; and the checksum, where there is one, must be right.
bool sound_extras(std::string_view header, std::size_t from) noexcept
{
    constexpr unsigned type_crc32c = 0x03;
    while (from < header.size()) {
        if (header.size() - from < 3) return false;
        std::size_t const size = word(header, from + 1);
        auto const value = from + 3;
        if (header.size() - value < size) return false;
        if (at(header, from) == type_crc32c) {
            if (size != 4) return false;
            std::uint32_t const said = word(header, value) << 16 | word(header, value + 2);
            if (crc32c(header, value) != said) return false;
        }
        from = value + size;
    }
    return true;
}

proxy_progress read_binary(std::string_view bytes, proxy_header& out) noexcept
{
    if (bytes.size() > 12 && at(bytes, 12) != 0x20 && at(bytes, 12) != 0x21) return bad; // version 2: LOCAL, PROXY
    if (bytes.size() < head_2) return {};
    bool const local = at(bytes, 12) == 0x20;
    auto const family = at(bytes, 13);
    std::size_t const size = head_2 + word(bytes, 14);
    if (size > max_proxy_header) return bad;
    std::size_t addresses = 0;
    switch (family) {
    case 0x00: break;                   // unspecified
    case 0x11: addresses = 12; break;   // TCP over IPv4
    case 0x21: addresses = 36; break;   // TCP over IPv6
    case 0x31: addresses = 216; break;  // a Unix stream
    default:
        if (!local) return bad; // datagrams, or unknown
    }
    if (!local && size < head_2 + addresses) return bad;
    if (bytes.size() < size) return {};
    auto const header = bytes.substr(0, size);
    out = {};
    proxy_progress const done{size, errc::ok};
    if (local) return done; // whatever follows
    if (family != 0x00 && !sound_extras(header, head_2 + addresses)) return bad;
    std::array<char, 46> text;
    std::size_t length = 0;
    if (family == 0x11) {
        for (std::size_t i = 0; i < 4; ++i) {
            if (i > 0) text[length++] = '.';
            length = append_number(text, length, at(header, head_2 + i), 10);
        }
        set_address(out, {text.data(), length}, word(header, head_2 + 8), false);
    } else if (family == 0x21) {
        for (std::size_t i = 0; i < 16; i += 2) {
            if (i > 0) text[length++] = ':';
            length = append_number(text, length, word(header, head_2 + i), 16);
        }
        set_address(out, {text.data(), length}, word(header, head_2 + 32), true);
    }
    return done;
}

} // namespace

proxy_progress read_proxy_header(std::string_view bytes, proxy_header& out) noexcept
{
    if (bytes.empty()) return {};
    if (!agrees(bytes, signature_1) && !agrees(bytes, signature_2)) return bad;
    if (bytes.front() == 'P') return bytes.size() < signature_1.size() ? proxy_progress{} : read_line(bytes, out);
    return read_binary(bytes, out);
}

} // namespace wring::proto
