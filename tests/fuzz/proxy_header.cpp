// SPDX-License-Identifier: BSL-1.0
//
// What a proxy says first, against a reader of each version that goes by the words or offsets of the specification and
// leaves addresses to inet_pton. Input: whether a checksum is made right, then the header and what is behind it.
#include "targets.hpp"

#include "proto/address.hpp"
#include "proto/proxy.hpp"

#include <wring/endpoint.hpp>

#include <arpa/inet.h>

#include <array>
#include <vector>

namespace wring::fuzz {
namespace {

using proto::errc;

constexpr std::string_view signature{"\r\n\r\n\0\r\nQUIT\n", 12};

struct verdict
{
    bool bad = false;
    std::size_t size = 0;  // neither: more must come
    std::string address{}; // as inet_pton gives it; empty: none named
    unsigned port = 0;

    bool operator==(verdict const&) const = default;
};

constexpr bool bad = true;

// Empty: no address.
std::string bytes_of(std::string_view address, bool ipv6)
{
    std::array<char, 16> out{};
    bool const sound = address.find('\0') == address.npos &&
                       ::inet_pton(ipv6 ? AF_INET6 : AF_INET, std::string(address).c_str(), out.data()) == 1;
    return sound ? std::string(out.data(), ipv6 ? 16 : 4) : "";
}

bool is_port(std::string const& text)
{
    return !text.empty() && text.size() < 6 && text.find_first_not_of("0123456789") == text.npos &&
           std::stoul(text) < 65536 && std::to_string(std::stoul(text)) == text;
}

// PROXY, TCP4 or TCP6, both addresses, both ports; or PROXY, UNKNOWN and anything.
verdict judge_line(std::string_view text)
{
    std::string_view const known = "PROXY ";
    if (text.substr(0, known.size()) != known.substr(0, text.size())) return {bad};
    auto const end = text.find("\r\n");
    if (text.size() < known.size() || (end == text.npos && text.size() < 107)) return {};
    if (end == text.npos || end > 105) return {bad};
    std::vector<std::string> words(1);
    for (char const c : text.substr(0, end)) {
        if (c == ' ')
            words.emplace_back();
        else
            words.back() += c;
    }
    verdict v{!bad, end + 2};
    if (words[1] == "UNKNOWN") return v;
    bool const ipv6 = words[1] == "TCP6";
    if (words.size() != 6 || (!ipv6 && words[1] != "TCP4")) return {bad};
    if (bytes_of(words[2], ipv6).empty() || bytes_of(words[3], ipv6).empty()) return {bad};
    if (!is_port(words[4]) || !is_port(words[5])) return {bad};
    v.address = bytes_of(words[2], ipv6);
    v.port = static_cast<unsigned>(std::stoul(words[4]));
    return v;
}

// The polynomial as it is printed, on bytes and a sum that are turned round for it.
std::uint32_t checksum(std::string_view bytes)
{
    std::uint32_t sum = 0xFFFFFFFF, turned = 0;
    for (char const c : bytes)
        for (unsigned bit = 0; bit < 8; ++bit) {
            bool const odd = (sum >> 31 != 0) != ((static_cast<unsigned char>(c) >> bit & 1) != 0);
            sum = sum << 1 ^ (odd ? 0x1EDC6F41u : 0);
        }
    for (unsigned bit = 0; bit < 32; ++bit)
        turned |= (sum >> bit & 1) << (31 - bit);
    return ~turned;
}

std::string big_endian(std::uint32_t n, unsigned size)
{
    std::string out;
    while (size-- > 0)
        out += static_cast<char>(n >> 8 * size & 0xFF);
    return out;
}

// Of a header with the checksum at `where`, where there are zeros for it.
std::string right_checksum(std::string header, std::size_t where)
{
    header.replace(where, 4, 4, '\0');
    return big_endian(checksum(header), 4);
}

struct extra
{
    unsigned type = 0;
    std::size_t at = 0, size = 0; // of the value
};

// Behind the addresses of a header; false where one is cut short.
bool extras_of(std::string_view header, std::size_t at, std::vector<extra>& out)
{
    auto const byte = [&](std::size_t i) { return static_cast<std::size_t>(static_cast<unsigned char>(header[i])); };
    while (at < header.size()) {
        if (at + 3 > header.size()) return false;
        out.push_back({static_cast<unsigned>(byte(at)), at + 3, byte(at + 1) * 256 + byte(at + 2)});
        at += 3 + out.back().size;
    }
    return at == header.size();
}

constexpr std::size_t addresses_of(unsigned family) noexcept
{
    return family == 0x11 ? 12 : family == 0x21 ? 36 : family == 0x31 ? 216 : 0;
}

verdict judge_binary(std::string_view text)
{
    auto const byte = [&](std::size_t i) { return static_cast<unsigned>(static_cast<unsigned char>(text[i])); };
    if (text.substr(0, signature.size()) != signature.substr(0, text.size())) return {bad};
    if (text.size() > 12 && byte(12) != 0x20 && byte(12) != 0x21) return {bad};
    if (text.size() < 16) return {};
    bool const local = byte(12) == 0x20;
    unsigned const family = byte(13);
    std::size_t const size = 16 + byte(14) * 256 + byte(15), extras = 16 + addresses_of(family);
    if (size > 4096) return {bad};
    if (!local && ((family != 0 && extras == 16) || size < extras)) return {bad};
    if (text.size() < size) return {};
    verdict v{!bad, size};
    if (local || family == 0) return v;
    std::string const header(text.substr(0, size));
    std::vector<extra> all;
    if (!extras_of(header, extras, all)) return {bad};
    for (auto const& e : all)
        if (e.type == 3 && header.substr(e.at, e.size) != right_checksum(header, e.at)) return {bad};
    if (family != 0x31) v.address = header.substr(16, family == 0x11 ? 4 : 16);
    if (family != 0x31) v.port = byte(family == 0x11 ? 24 : 48) * 256 + byte(family == 0x11 ? 25 : 49);
    return v;
}

verdict judge(std::string_view text)
{
    return text.empty() ? verdict{} : text.front() == 'P' ? judge_line(text) : judge_binary(text);
}

// Makes the first checksum of a version 2 header right: nobody comes across it by chance.
void seal_checksum(std::string& text)
{
    auto const byte = [&](std::size_t i) { return static_cast<unsigned>(static_cast<unsigned char>(text[i])); };
    if (!text.starts_with(signature) || text.size() < 16) return;
    auto const header = text.substr(0, 16 + byte(14) * 256 + byte(15));
    std::vector<extra> all;
    if (!extras_of(header, 16 + addresses_of(byte(13)), all)) return;
    for (auto const& e : all)
        if (e.type == 3 && e.size == 4) return void(text.replace(e.at, 4, right_checksum(header, e.at)));
}

verdict read(std::string_view text)
{
    proto::proxy_header h;
    h.port = 4711;
    auto const p = proto::read_proxy_header(text, h);
    require(p.error == errc::ok || (p.error == errc::proxy_header && p.size == 0), "a size or an error");
    require(p.size <= text.size(), "no more than is there");
    if (p.error != errc::ok) return {bad};
    if (p.size == 0) return require(h.port == 4711 && h.size == 0, "nothing is told before all is there"), verdict{};
    auto const address = h.address();
    if (address.empty()) return require(h.port == 0 && !h.ipv6, "no address, no port"), verdict{!bad, p.size};
    verdict v{!bad, p.size, bytes_of(address, h.ipv6), h.port};
    require(!v.address.empty() && proto::parse_ip(address).size == v.address.size(), "an address, of its family");
    return v;
}

// What names a client can be said again, in either version, and is an endpoint for the server.
void say_again(std::string_view text)
{
    proto::proxy_header h;
    auto const told = read(text);
    require(proto::read_proxy_header(text, h).error == errc::ok, "it is read twice");
    std::string const address(h.address()), port = std::to_string(h.port);
    auto const client = endpoint::parse((h.ipv6 ? "[" + address + "]:" : address + ":") + port);
    require(client && client->port() == h.port, "the client is an endpoint");

    auto const line = "PROXY TCP" + std::string(h.ipv6 ? "6 " : "4 ") + address + (h.ipv6 ? " :: " : " 0.0.0.0 ") +
                      port + " 65535\r\n";
    require(read(line) == verdict{!bad, line.size(), told.address, told.port}, "it can be said in a line");
    auto binary = std::string(signature) + "\x21" + (h.ipv6 ? "\x21" : "\x11");
    binary += big_endian(static_cast<std::uint32_t>(2 * told.address.size() + 11), 2) + told.address + told.address +
              big_endian(told.port, 2) + big_endian(443, 2) + std::string("\x03\0\x04", 3);
    binary += right_checksum(binary + "0000", binary.size());
    require(read(binary) == verdict{!bad, binary.size(), told.address, told.port}, "... and in bytes, with a checksum");
}

} // namespace

void fuzz_proxy_header(input in)
{
    reader r(in);
    bool const seal = r.byte() % 2 != 0;
    std::string all(as_text(r.rest()));
    if (seal) seal_checksum(all);

    // Each beginning, up to the first that has a verdict and a little further: whatever arrives when.
    verdict last;
    std::size_t const none = all.size() + 1;
    for (std::size_t n = 0, decided = none; n <= all.size() && n <= decided + 8; ++n) {
        std::vector<char> const exact(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(n)); // for the sanitizer
        std::string_view const piece(exact.data(), n);
        auto const v = read(piece);
        require(v == judge(piece), "the reader agrees with the specification");
        require(decided == none || v == last, "a verdict is final");
        require(v.size == 0 || v.size == (decided == none ? n : last.size), "a header is read at its last byte");
        if (decided == none && (v.bad || v.size > 0)) decided = n;
        last = v;
    }
    require(read(all) == last, "what is behind a header does not matter");
    if (!last.address.empty()) say_again(all);
}

} // namespace wring::fuzz
