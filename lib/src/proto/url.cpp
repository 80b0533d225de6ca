// SPDX-License-Identifier: BSL-1.0
#include "proto/url.hpp"

#include "proto/address.hpp"
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

// The scheme in front of a reference, without its colon; empty for a relative one (RFC 3986 section 3.1).
std::string_view scheme_of(std::string_view reference) noexcept
{
    auto const end = reference.find_first_of(":/?");
    if (end == reference.npos || reference[end] != ':') return {};
    return reference.substr(0, end);
}

// A path without "." and ".." segments (RFC 3986 section 5.2.4). It begins with '/', as what comes out does.
std::string without_dots(std::string_view path)
{
    std::string out;
    while (!path.empty()) {
        auto const end = std::min(path.find('/', 1), path.size());
        auto const segment = path.substr(0, end);
        path.remove_prefix(end);
        if (segment == "/..") out.resize(std::min(out.rfind('/'), out.size()));
        bool const dots = segment == "/." || segment == "/..";
        if (!dots)
            out.append(segment);
        else if (path.empty())
            out.push_back('/');
    }
    return out;
}

} // namespace

errc redirect_target(url const& base, std::string_view location, std::string& out)
{
    auto reference = location.substr(0, location.find('#'));
    if (reference.empty()) return errc::redirect_location;
    bool secure = base.kind == url::scheme::wss;
    auto const scheme = scheme_of(reference);
    if (!scheme.empty()) {
        secure = equal_ignoring_case(scheme, "wss") || equal_ignoring_case(scheme, "https");
        if (!secure && !equal_ignoring_case(scheme, "ws") && !equal_ignoring_case(scheme, "http"))
            return errc::redirect_location;
        reference.remove_prefix(scheme.size() + 1);
        if (!reference.starts_with("//")) return errc::redirect_location;
    }

    std::string_view authority = base.authority;
    bool const own_authority = reference.starts_with("//");
    if (own_authority) {
        if (scheme.empty() && base.kind == url::scheme::unix_socket) return errc::redirect_location;
        auto const end = std::min(reference.find_first_of("/?", 2), reference.size());
        authority = reference.substr(2, end - 2);
        if (auto const at = authority.rfind('@'); at != authority.npos) authority.remove_prefix(at + 1);
        reference.remove_prefix(end);
    }

    auto const mark = std::min(reference.find('?'), reference.size());
    auto const base_path = base.target.substr(0, base.target.find('?'));
    std::string path(reference.substr(0, mark));
    if (path.empty())
        path = own_authority ? std::string_view{"/"} : base_path;
    else if (!path.starts_with('/'))
        path.insert(0, base_path.substr(0, base_path.rfind('/') + 1));
    if (!path.starts_with('/')) path.insert(0, "/"); // the base has a query only
    auto const target = without_dots(path).append(reference.substr(mark));

    std::string text;
    if (base.kind == url::scheme::unix_socket && !own_authority)
        text.append("ws+unix:").append(base.socket_path).append(":").append(target);
    else
        text.append(secure ? "wss://" : "ws://").append(authority).append(target);
    url parsed;
    if (parse_url(text, parsed) != errc::ok) return errc::redirect_location;
    out = std::move(text);
    return errc::ok;
}

bool same_origin(url const& a, url const& b) noexcept
{
    return a.kind == b.kind && a.port == b.port && equal_ignoring_case(a.host, b.host) &&
           a.socket_path == b.socket_path;
}

errc parse_authority(std::string_view text, authority& out) noexcept
{
    authority a;
    std::size_t end = 0;
    if (text.starts_with('[')) {
        end = text.find(']');
        if (end == text.npos) return errc::url_host;
        a.host = text.substr(1, end - 1);
        if (parse_ipv6(a.host).empty()) return errc::url_host;
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

bool valid_userinfo(std::string_view text) noexcept
{
    return consists_of(text, "!$&'()*+,;=:");
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
        if (!valid_userinfo(u.userinfo)) return errc::url_userinfo;
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
