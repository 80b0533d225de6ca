// SPDX-License-Identifier: BSL-1.0
//
// A URL taken apart and put together again.
#include "targets.hpp"

#include "proto/handshake.hpp"
#include "proto/url.hpp"

namespace wring::fuzz {
namespace {

std::string put_together(proto::url const& u)
{
    using scheme = proto::url::scheme;
    if (u.kind == scheme::unix_socket) return "ws+unix:" + std::string(u.socket_path) + ":" + std::string(u.target);
    std::string text = u.kind == scheme::ws ? "ws://" : "wss://";
    if (!u.userinfo.empty()) text.append(u.userinfo).append("@");
    bool const v6 = u.host.find(':') != u.host.npos;
    text.append(v6 ? "[" : "").append(u.host).append(v6 ? "]" : "");
    text.append(":").append(std::to_string(u.port));
    return text.append(u.target);
}

} // namespace

void fuzz_url(input in)
{
    auto const text = as_text(in);
    proto::authority a;
    if (proto::parse_authority(text, a) == proto::errc::ok) {
        require(!a.host.empty() && a.host_text.size() >= a.host.size(), "an authority has a host");
        require(text == std::string(a.host_text) + (text.size() > a.host_text.size() ? ":" : "") + std::string(a.port),
                "an authority is its parts");
    }
    proto::url u;
    if (proto::parse_url(text, u) != proto::errc::ok) return;
    bool const unix_socket = u.kind == proto::url::scheme::unix_socket;
    for (char const c : unix_socket ? u.target : text)
        require(c > ' ' && c < 0x7F && c != '#', "no character that must be escaped");
    proto::url again;
    auto const whole = put_together(u);
    require(proto::parse_url(whole, again) == proto::errc::ok, "what was taken apart is a URL");
    require(again.kind == u.kind && again.port == u.port && again.host == u.host && again.userinfo == u.userinfo &&
                again.target == u.target && again.socket_path == u.socket_path,
            "... with the same parts");
    if (unix_socket) return require(u.socket_path.starts_with('/'), "an absolute path");

    require(u.port != 0 && proto::parse_authority(u.authority, a) == proto::errc::ok, "a Host field");
    std::string request;
    require(proto::write_request(request, {u.authority, u.target, "dGhlIHNhbXBsZSBub25jZQ==", "", "", "", {}}) ==
                proto::errc::ok,
            "a request can be written for it");
    proto::request_head head;
    proto::head_limits limits{1 << 20, 1 << 20, 100};
    require(proto::parse_request(request, head, limits) == proto::errc::ok, "which a server can read");
    require(proto::check_upgrade(head) == proto::errc::ok, "and accepts");
    auto const credentials = proto::basic_authorization(u.userinfo);
    require(proto::is_field_value(credentials) && credentials.starts_with("Basic "), "credentials fit in a field");
}

} // namespace wring::fuzz
