// SPDX-License-Identifier: BSL-1.0
#include "proto/url.hpp"

#include "proto/http.hpp"

#include <algorithm>

namespace wring::proto {
namespace {

constexpr bool is_digit(char c) noexcept
{
    return c >= '0' && c <= '9';
}

constexpr bool is_hex(char c) noexcept
{
    return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

constexpr bool is_unreserved(char c) noexcept
{
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           std::string_view{"-._~"}.find(c) != std::string_view::npos;
}

// unreserved, percent escapes, and the characters of `also` (RFC 3986 section 2).
bool consists_of(std::string_view text, std::string_view also) noexcept
{
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (is_unreserved(text[i]) || also.find(text[i]) != also.npos) continue;
        if (text[i] != '%' || text.size() - i < 3 || !is_hex(text[i + 1]) || !is_hex(text[i + 2])) return false;
        i += 2;
    }
    return true;
}

bool take_prefix(std::string_view& text, std::string_view prefix) noexcept
{
    if (!equal_ignoring_case(text.substr(0, prefix.size()), prefix)) return false;
    text.remove_prefix(prefix.size());
    return true;
}

// ws+unix:/path/to.sock:/target, also with an empty authority (ws+unix:///path/to.sock:/target).
errc parse_socket_url(std::string_view rest, url& out) noexcept
{
    if (rest.starts_with("///")) rest.remove_prefix(2);
    auto const colon = std::min(rest.find(':'), rest.size());
    auto const path = rest.substr(0, colon);
    if (path.size() < 2 || path.front() != '/' || path.starts_with("//")) return errc::url_socket_path;
    if (std::any_of(path.begin(), path.end(), [](char c) { return static_cast<unsigned char>(c) < 0x21 || c == 0x7F; }))
        return errc::url_socket_path;
    auto target = rest.substr(std::min(colon + 1, rest.size()));
    if (target.empty()) target = "/";
    if (target.find('#') != target.npos) return errc::url_fragment;
    if ((target.front() != '/' && target.front() != '?') || !valid_url_target(target)) return errc::url_character;
    out = {};
    out.kind = url::scheme::unix_socket;
    out.host = out.authority = "localhost";
    out.target = target;
    out.socket_path = path;
    return errc::ok;
}

} // namespace

bool valid_ipv4(std::string_view text) noexcept
{
    for (int part = 0; part < 4; ++part) {
        auto const end = std::min(text.find('.'), text.size());
        auto const digits = text.substr(0, end);
        if (digits.empty() || digits.size() > 3 || !std::all_of(digits.begin(), digits.end(), is_digit)) return false;
        if (digits.size() > 1 && digits.front() == '0') return false;
        if (digits.size() == 3 && digits > "255") return false;
        if (part == 3) return end == text.size();
        if (end == text.size()) return false;
        text.remove_prefix(end + 1);
    }
    return false;
}

bool valid_ipv6(std::string_view text) noexcept
{
    int groups = 0;
    bool compressed = false;
    if (text.starts_with("::")) {
        compressed = true;
        text.remove_prefix(2);
    }
    while (!text.empty()) {
        auto const end = std::min(text.find(':'), text.size());
        auto const group = text.substr(0, end);
        if (group.find('.') != group.npos) { // the last 32 bits as an IPv4 address
            if (end != text.size() || !valid_ipv4(group)) return false;
            groups += 2;
            break;
        }
        if (group.empty() || group.size() > 4 || !std::all_of(group.begin(), group.end(), is_hex)) return false;
        ++groups;
        if (end == text.size()) break;
        text.remove_prefix(end + 1);
        if (text.empty()) return false; // a single colon at the end
        if (text.front() == ':') {
            if (compressed) return false;
            compressed = true;
            text.remove_prefix(1);
        }
    }
    return compressed ? groups <= 7 : groups == 8;
}

errc parse_authority(std::string_view text, authority& out) noexcept
{
    authority a;
    std::size_t end = 0;
    if (text.starts_with('[')) {
        end = text.find(']');
        if (end == text.npos) return errc::url_host;
        a.host = text.substr(1, end - 1);
        if (!valid_ipv6(a.host)) return errc::url_host;
        ++end;
    } else {
        end = std::min(text.find(':'), text.size());
        a.host = text.substr(0, end);
        if (a.host.empty() || !consists_of(a.host, "")) return errc::url_host;
    }
    a.host_text = text.substr(0, end);
    if (end < text.size()) {
        if (text[end] != ':') return errc::url_host;
        a.port = text.substr(end + 1);
        if (!std::all_of(a.port.begin(), a.port.end(), is_digit)) return errc::url_port;
        if (a.port.size() > 5 || (a.port.size() == 5 && a.port > "65535")) return errc::url_port;
    }
    out = a;
    return errc::ok;
}

bool valid_url_target(std::string_view text) noexcept
{
    return consists_of(text, "!$&'()*+,;=:@/?");
}

errc parse_url(std::string_view text, url& out) noexcept
{
    url u;
    std::uint32_t default_port = 80;
    if (take_prefix(text, "ws+unix:")) return parse_socket_url(text, out);
    if (take_prefix(text, "wss://")) {
        u.kind = url::scheme::wss;
        default_port = 443;
    } else if (!take_prefix(text, "ws://")) {
        return errc::url_scheme;
    }
    if (text.find('#') != text.npos) return errc::url_fragment;

    auto const end = std::min(text.find_first_of("/?"), text.size());
    auto rest = text.substr(0, end);
    u.target = end == text.size() ? std::string_view{"/"} : text.substr(end);
    if (!valid_url_target(u.target)) return errc::url_character;

    if (auto const at = rest.rfind('@'); at != rest.npos) {
        u.userinfo = rest.substr(0, at);
        if (!consists_of(u.userinfo, "!$&'()*+,;=:")) return errc::url_userinfo;
        rest.remove_prefix(at + 1);
    }
    authority a;
    if (auto const e = parse_authority(rest, a); e != errc::ok) return e;
    std::uint32_t port = 0;
    for (char c : a.port)
        port = port * 10 + static_cast<std::uint32_t>(c - '0');
    if (a.port.empty())
        port = default_port;
    else if (port == 0)
        return errc::url_port;
    u.port = static_cast<std::uint16_t>(port);
    u.host = a.host;
    u.authority = port == default_port ? a.host_text : rest;
    out = u;
    return errc::ok;
}

} // namespace wring::proto
