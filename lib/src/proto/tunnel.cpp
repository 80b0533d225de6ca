// SPDX-License-Identifier: BSL-1.0
#include "proto/tunnel.hpp"

#include "proto/address.hpp"
#include "proto/handshake.hpp"
#include "proto/http.hpp"

#include <algorithm>

namespace wring::proto {
namespace {

std::uint32_t number(std::string_view digits) noexcept
{
    std::uint32_t n = 0;
    for (char c : digits)
        n = n * 10 + static_cast<std::uint32_t>(c - '0');
    return n;
}

// A port that parse_authority() has let through.
bool names_port(std::string_view digits, std::uint16_t port) noexcept
{
    return digits.empty() || number(digits) == port;
}

bool in_network(std::string_view text, ip_address const& host) noexcept
{
    auto const slash = text.find('/');
    auto const digits = text.substr(slash + 1);
    if (digits.empty() || digits.size() > 3 || digits.find_first_not_of("0123456789") != digits.npos) return false;
    return same_network(host, parse_ip(text.substr(0, slash)), number(digits));
}

bool below(std::string_view host, std::string_view domain) noexcept
{
    if (host.size() < domain.size()) return false;
    auto const rest = host.size() - domain.size();
    return equal_ignoring_case(host.substr(rest), domain) && (rest == 0 || host[rest - 1] == '.');
}

bool names(std::string_view entry, url const& where) noexcept
{
    if (entry == "*") return true;
    auto const host = parse_ip(where.host);
    if (entry.find('/') != entry.npos) return in_network(entry, host);
    if (auto const bare = parse_ipv6(entry); !bare.empty()) return bare == host;
    if (entry.starts_with("*.")) entry.remove_prefix(1);
    if (entry.starts_with('.')) entry.remove_prefix(1);
    authority named;
    if (parse_authority(entry, named) != errc::ok || !names_port(named.port, where.port)) return false;
    if (auto const address = parse_ip(named.host); !address.empty()) return address == host;
    auto const plain = [](std::string_view name) {
        return name.ends_with('.') ? name.substr(0, name.size() - 1) : name;
    };
    return host.empty() && below(plain(where.host), plain(named.host));
}

void append_port(std::string& out, std::uint16_t port)
{
    out.push_back(static_cast<char>(port >> 8));
    out.push_back(static_cast<char>(port & 0xFF));
}

} // namespace

errc parse_proxy(std::string_view text, proxy& out) noexcept
{
    proxy p;
    p.port = 80;
    if (auto const mark = text.find("://"); mark != text.npos) {
        auto const scheme = text.substr(0, mark);
        if (equal_ignoring_case(scheme, "socks5") || equal_ignoring_case(scheme, "socks5h")) {
            p.kind = proxy::scheme::socks5;
            p.port = 1080;
        } else if (equal_ignoring_case(scheme, "https")) {
            p.kind = proxy::scheme::https;
            p.port = 443;
        } else if (!equal_ignoring_case(scheme, "http")) {
            return errc::proxy_url;
        }
        text.remove_prefix(mark + 3);
    }
    if (text.ends_with('/')) text.remove_suffix(1);
    if (auto const at = text.rfind('@'); at != text.npos) {
        p.userinfo = text.substr(0, at);
        if (!valid_userinfo(p.userinfo)) return errc::proxy_url;
        text.remove_prefix(at + 1);
    }
    authority a;
    if (parse_authority(text, a) != errc::ok) return errc::proxy_url;
    if (!a.port.empty()) p.port = static_cast<std::uint16_t>(number(a.port));
    if (p.port == 0) return errc::proxy_url;
    p.host = a.host;
    out = p;
    return errc::ok;
}

std::string_view choose_proxy(url const& where, proxy_environment const& environment) noexcept
{
    if (where.kind == url::scheme::unix_socket) return {};
    auto const own = where.kind == url::scheme::wss ? environment.https : environment.http;
    auto const chosen = own.empty() ? environment.all : own;
    return chosen.empty() || bypasses_proxy(environment.none, where) ? std::string_view{} : chosen;
}

bool bypasses_proxy(std::string_view list, url const& where) noexcept
{
    while (!list.empty()) {
        auto const end = std::min(list.find_first_of(", \t"), list.size());
        if (end > 0 && names(list.substr(0, end), where)) return true;
        list.remove_prefix(std::min(end + 1, list.size()));
    }
    return false;
}

void write_connect(std::string& out, url const& where, std::string_view userinfo)
{
    bool const v6 = where.host.find(':') != where.host.npos;
    auto const at = (v6 ? "[" + std::string(where.host) + "]" : std::string(where.host)) + ":" +
                    std::to_string(where.port); // always with its port
    out.append("CONNECT ").append(at).append(" HTTP/1.1\r\nHost: ").append(at).append("\r\n");
    if (!userinfo.empty()) out.append("Proxy-Authorization: ").append(basic_authorization(userinfo)).append("\r\n");
    out.append("\r\n");
}

errc socks5::begin(url const& where, std::string_view userinfo)
{
    if (!userinfo.empty()) {
        auto const colon = std::min(userinfo.find(':'), userinfo.size());
        auto const user = percent_decoded(userinfo.substr(0, colon));
        auto const password = percent_decoded(userinfo.substr(std::min(colon + 1, userinfo.size())));
        if (user.empty() || user.size() > 255 || password.size() > 255) return errc::proxy_credentials;
        credentials_.assign(1, '\x01').push_back(static_cast<char>(user.size()));
        credentials_.append(user).push_back(static_cast<char>(password.size()));
        credentials_.append(password);
    }
    if (where.host.size() > 255) return errc::url_host;
    request_.assign("\x05\x01\x00", 3); // CONNECT
    auto const address = parse_ip(where.host);
    if (address.empty()) {
        request_.push_back('\x03');
        request_.push_back(static_cast<char>(where.host.size()));
        request_.append(where.host);
    } else {
        request_.push_back(address.size == 4 ? '\x01' : '\x04');
        request_.append(reinterpret_cast<char const*>(address.bytes.data()), address.size);
    }
    append_port(request_, where.port);
    output_ = credentials_.empty() ? std::string_view("\x05\x01\x00", 3) : std::string_view("\x05\x02\x00\x02", 4);
    return errc::ok;
}

socks5::progress socks5::feed(std::string_view piece)
{
    progress p;
    while (p.consumed < piece.size() && !p.send && !p.complete && p.refused == 0 && p.error == errc::ok)
        step(static_cast<unsigned char>(piece[p.consumed++]), p);
    return p;
}

void socks5::step(unsigned char c, progress& p)
{
    auto const at = at_++;
    auto const say = [&](std::string& text, state next) {
        output_ = std::move(text);
        p.send = true;
        state_ = next;
        at_ = 0;
    };
    if (at == 0) {
        unsigned const version = state_ == state::password ? 1 : 5; // of RFC 1929, or of SOCKS
        if (c != version) p.error = errc::socks_version;
        return;
    }
    switch (state_) {
    case state::method:
        if (c == 0)
            say(request_, state::reply);
        else if (c == 2 && !credentials_.empty())
            say(credentials_, state::password);
        else if (c == 0xFF)
            p.refused = not_authenticated;
        else
            p.error = errc::socks_method;
        break;
    case state::password:
        if (c == 0)
            say(request_, state::reply);
        else
            p.refused = not_authenticated;
        break;
    case state::reply:
        if (at == 1) {
            if (c > last_reply)
                p.error = errc::socks_reply;
            else
                p.refused = c;
        } else if (at == 2) {
            if (c != 0) p.error = errc::socks_reply;
        } else if (at == 3) { // the address that the proxy uses, of no interest, and a port
            if (c == 1 || c == 4)
                left_ = c == 1 ? 4 + 2 : 16 + 2;
            else if (c != 3)
                p.error = errc::socks_reply;
        } else if (left_ == 0) {
            left_ = c + 2U; // of a name
        } else {
            p.complete = --left_ == 0;
        }
        break;
    }
}

} // namespace wring::proto
