// SPDX-License-Identifier: BSL-1.0
#include "ws/tunnel.hpp"

#include "ws/answer.hpp"

#include <cstdlib>

namespace wring::detail {

namespace {

/// What the environment says, small letters first as curl has it. Nothing in a program that runs with others' rights.
std::string variable(char const* small, char const* capital)
{
    char const* value = ::secure_getenv(small);
    if ((!value || !*value) && capital)
        value = ::secure_getenv(capital);
    return value ? value : "";
}

task<result<>> open_http(handshake_io& io, proto::proxy const& proxy, proto::url const& where,
                         ws::connect_options const& options)
{
    std::string text;
    proto::write_connect(text, where, proxy.userinfo);
    auto const sent = co_await io.write(text);
    if (!sent)
        co_return sent.error();
    auto const head = co_await read_answer(io, options, text);
    if (!head)
        co_return head.error();
    if (head->status >= 200 && head->status <= 299)
        co_return {}; // whatever its fields say of a body: there is none
    co_await report_refusal(io, *head, options);
    co_return std::error_code(head->status, ws::proxy_category());
}

task<result<>> open_socks(handshake_io& io, proto::proxy const& proxy, proto::url const& where)
{
    proto::socks5 socks;
    auto const bad = socks.begin(where, proxy.userinfo);
    if (bad != proto::errc::ok)
        co_return std::error_code(static_cast<int>(bad), ws::protocol_category());
    proto::socks5::progress now;
    now.send = true;
    while (!now.complete) {
        if (now.send) {
            auto const sent = co_await io.write_bytes(socks.output()); // it may hold a password
            if (!sent)
                co_return sent.error();
        }
        auto const piece = co_await io.received();
        if (!piece)
            co_return piece.error();
        now = socks.feed(*piece);
        io.consume(now.consumed);
        if (now.error != proto::errc::ok)
            co_return std::error_code(static_cast<int>(now.error), ws::protocol_category());
        if (now.refused != 0)
            co_return std::error_code(static_cast<int>(now.refused), ws::proxy_category());
    }
    co_return {};
}

} // namespace

std::string proxy_for(proto::url const& where, ws::connect_options const& options)
{
    if (where.kind == proto::url::scheme::unix_socket)
        return {};
    if (!options.proxy.empty() || !options.proxy_from_environment)
        return std::string(options.proxy);
    // In a CGI program HTTP_PROXY is what a client wrote into a Proxy field.
    auto const http = variable("http_proxy", std::getenv("REQUEST_METHOD") ? nullptr : "HTTP_PROXY");
    auto const https = variable("https_proxy", "HTTPS_PROXY");
    auto const all = variable("all_proxy", "ALL_PROXY");
    auto const none = variable("no_proxy", "NO_PROXY");
    return std::string(proto::choose_proxy(where, {http, https, all, none}));
}

task<result<>> open_tunnel(handshake_io& io, proto::proxy const& proxy, proto::url const& where,
                           ws::connect_options const& options)
{
    auto opened = proxy.kind == proto::proxy::scheme::socks5 ? open_socks(io, proxy, where)
                                                             : open_http(io, proxy, where, options);
    return opened;
}

} // namespace wring::detail
