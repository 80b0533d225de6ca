// SPDX-License-Identifier: BSL-1.0
// The client's part of the opening handshake.
#include "net/tls_transport.hpp"
#include "proto/handshake.hpp"
#include "proto/url.hpp"
#include "tls/context.hpp"
#include "ws/answer.hpp"
#include "ws/connection_core.hpp"
#include "ws/random.hpp"
#include "ws/tunnel.hpp"

#include <algorithm>
#include <vector>

namespace wring {

namespace detail {

namespace {

std::error_code protocol_error(proto::errc e) noexcept
{
    return {static_cast<int>(e), ws::protocol_category()};
}

/// In the form that connect_stream() reads.
std::string endpoint_of(std::string_view host, std::uint16_t port)
{
    bool const v6 = host.find(':') != host.npos;
    return (v6 ? "[" + std::string(host) + "]" : std::string(host)) + ":" + std::to_string(port);
}

/// One connect() under way: what its steps share.
struct client_attempt
{
    ws::connect_options const& options;
    std::string basic;       // the Authorization of the URL's user and password; empty without
    bool own_origin = true;  // no redirect has led away from the URL's
    unsigned redirects = 0;  // that may still be followed
    std::string location{};  // of an answer that is to be followed
};

constexpr bool is_redirect(int status) noexcept
{
    return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

/// The application's fields, without what another origin than the URL's must not see.
std::vector<proto::field> fields_of(client_attempt const& attempt)
{
    auto const& options = attempt.options;
    std::vector<proto::field> fields;
    auto const has = [&](std::string_view name) {
        return std::any_of(options.headers.begin(), options.headers.end(),
                           [&](header const& h) { return proto::equal_ignoring_case(h.name, name); });
    };
    for (auto const& h : options.headers) {
        bool const secret = proto::equal_ignoring_case(h.name, "Authorization") ||
                            proto::equal_ignoring_case(h.name, "Cookie") ||
                            proto::equal_ignoring_case(h.name, "Proxy-Authorization");
        if (!secret || attempt.own_origin)
            fields.push_back({h.name, h.value});
    }
    if (attempt.own_origin && !attempt.basic.empty() && !has("Authorization"))
        fields.push_back({"Authorization", attempt.basic});
    if (attempt.own_origin && !options.cookies.empty() && !has("Cookie"))
        fields.push_back({"Cookie", options.cookies});
    return fields;
}

task<result<ws::connection>> shake_hands(transport_ptr transport, proto::url const& where, client_attempt& attempt)
{
    auto const& options = attempt.options;
    handshake_io io(std::move(transport));
    std::array<std::byte, 16> nonce;
    random_bytes(nonce);
    auto const key = proto::encode_key(nonce);
    auto const fields = fields_of(attempt);

    if (options.deflate.on && !valid(options.deflate))
        co_return protocol_error(proto::errc::deflate_argument);
    std::string offer;
    if (options.deflate.on)
        offer = proto::deflate_offer(parameters_of(options.deflate));

    proto::client_request request;
    request.host = where.kind == proto::url::scheme::unix_socket ? "localhost" : where.authority;
    request.target = where.target;
    request.key = {key.data(), key.size()};
    request.subprotocols = options.subprotocols;
    request.extensions = offer;
    request.origin = options.origin;
    request.extra = fields;
    std::string text;
    auto const bad = proto::write_request(text, request);
    if (bad != proto::errc::ok)
        co_return protocol_error(bad);
    auto const sent = co_await io.write(text);
    if (!sent)
        co_return sent.error();

    auto const head = co_await read_answer(io, options, text);
    if (!head)
        co_return head.error();
    proto::accepted accepted;
    auto verdict = proto::check_response(*head, request, accepted);
    std::optional<proto::deflate_parameters> agreed;
    if (verdict == proto::errc::ok)
        verdict = proto::check_deflate(accepted.extensions, parameters_of(options.deflate), agreed);
    if (verdict == proto::errc::ok) {
        auto const deflate = agreed ? deflate_agreement(*agreed, proto::role::client) : deflate_agreement();
        co_return ws::connection(new connection_core(io.take(), proto::role::client, connection_settings(options),
                                                     std::string(accepted.subprotocol), deflate));
    }
    if (verdict != proto::errc::status_not_101) {
        note_refusal(*head, options);
        co_return protocol_error(verdict);
    }
    if (attempt.redirects > 0 && is_redirect(head->status)) {
        note_refusal(*head, options);
        if (head->fields.count("Location") == 1)
            attempt.location = *head->fields.find("Location");
    } else {
        co_await report_refusal(io, *head, options);
    }
    co_return std::error_code(head->status, ws::http_category());
}

/// TLS on `plain`, with the given context or the usual one.
task<result<transport_ptr>> secure(transport_ptr plain, tls::context const* with, std::string_view host)
{
    if (!with) {
        auto const& usual = tls_context::default_client();
        if (!usual)
            co_return usual.error();
        with = &*usual;
    }
    auto secured = co_await tls_connect(std::move(plain), *with, std::string(host));
    co_return secured;
}

/// A way through the proxy.
task<result<transport_ptr>> reach_through(proto::proxy const& proxy, proto::url const& where,
                                          ws::connect_options const& options)
{
    auto connected = co_await connect_stream(endpoint_of(proxy.host, proxy.port));
    if (!connected)
        co_return connected.error();
    auto transport = stream_access::take(std::move(*connected));
    if (proxy.kind == proto::proxy::scheme::https) {
        auto secured = co_await secure(std::move(transport), options.proxy_tls, proxy.host);
        if (!secured)
            co_return secured.error();
        transport = std::move(*secured);
    }
    handshake_io io(std::move(transport));
    auto const opened = co_await open_tunnel(io, proxy, where, options);
    if (!opened)
        co_return opened.error();
    co_return io.take();
}

/// To where the URL leads, through a proxy if need be.
task<result<transport_ptr>> reach(proto::url const& where, ws::connect_options const& options)
{
    auto const proxy_text = proxy_for(where, options);
    if (!proxy_text.empty()) {
        proto::proxy proxy;
        auto const bad = proto::parse_proxy(proxy_text, proxy);
        if (bad != proto::errc::ok)
            co_return protocol_error(bad);
        auto through = co_await reach_through(proxy, where, options);
        if (options.refusal)
            options.refusal->by_proxy = !through;
        co_return through;
    }
    auto to = "unix:" + std::string(where.socket_path);
    if (where.kind != proto::url::scheme::unix_socket)
        to = endpoint_of(where.host, where.port);
    auto connected = co_await connect_stream(std::move(to));
    if (!connected)
        co_return connected.error();
    co_return stream_access::take(std::move(*connected));
}

task<result<ws::connection>> open(std::string url, ws::connect_options const& options, std::optional<stream> over)
{
    client_attempt attempt{options, {}, true, over ? 0 : options.max_redirects};
    proto::url where;
    auto const bad = proto::parse_url(url, where);
    if (bad != proto::errc::ok)
        co_return protocol_error(bad);
    if (!where.userinfo.empty())
        attempt.basic = proto::basic_authorization(where.userinfo);

    for (;; --attempt.redirects) {
        if (options.refusal)
            *options.refusal = {};
        result<transport_ptr> reached = errc::closed;
        if (!over)
            reached = co_await reach(where, options);
        else if (auto given = stream_access::take(std::move(*over)))
            reached = std::move(given);
        if (reached && where.kind == proto::url::scheme::wss)
            reached = co_await secure(std::move(*reached), options.tls, where.host);
        if (!reached)
            co_return reached.error();
        auto done = co_await shake_hands(std::move(*reached), where, attempt);
        bool const redirected = !done && done.error().category() == ws::http_category() &&
                                is_redirect(done.error().value()) && attempt.redirects > 0;
        if (!redirected)
            co_return done;

        std::string next_url;
        auto const nowhere = proto::redirect_target(where, std::exchange(attempt.location, {}), next_url);
        if (nowhere != proto::errc::ok)
            co_return protocol_error(nowhere);
        proto::url next;
        (void)proto::parse_url(next_url, next); // redirect_target() has done so already
        bool const plainer = where.kind == proto::url::scheme::wss && next.kind != proto::url::scheme::wss;
        if (plainer && !options.insecure_redirects)
            co_return protocol_error(proto::errc::redirect_insecure);
        attempt.own_origin = attempt.own_origin && proto::same_origin(where, next);
        url = std::move(next_url);
        (void)proto::parse_url(url, where); // again: what it gives are views
    }
}

task<result<ws::connection>> open_in_time(std::string url, ws::connect_options options, std::optional<stream> over)
{
    if (options.handshake_timeout <= duration::zero()) {
        auto done = co_await open(std::move(url), options, std::move(over));
        co_return done;
    }
    auto done = co_await timeout(options.handshake_timeout, open(std::move(url), options, std::move(over)));
    if (!done && done.error() == errc::timed_out)
        co_return ws::errc::handshake_timeout;
    co_return done;
}

} // namespace

} // namespace detail

task<result<ws::connection>> connect(std::string url, ws::connect_options options)
{
    return detail::open_in_time(std::move(url), options, std::nullopt);
}

task<result<ws::connection>> connect_over(stream peer, std::string url, ws::connect_options options)
{
    return detail::open_in_time(std::move(url), options, std::move(peer));
}

} // namespace wring
