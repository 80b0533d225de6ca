// SPDX-License-Identifier: BSL-1.0
// The client's part of the opening handshake.
#include "net/tls_transport.hpp"
#include "proto/handshake.hpp"
#include "proto/url.hpp"
#include "tls/context.hpp"
#include "ws/connection_core.hpp"
#include "ws/handshake_io.hpp"
#include "ws/random.hpp"

#include <vector>

namespace wring {

namespace detail {

namespace {

std::error_code protocol_error(proto::errc e) noexcept
{
    return {static_cast<int>(e), ws::protocol_category()};
}

/// What stream_endpoint the URL names, in the form that connect_stream() reads.
std::string endpoint_of(proto::url const& where)
{
    if (where.kind == proto::url::scheme::unix_socket)
        return "unix:" + std::string(where.socket_path);
    bool const v6 = where.host.find(':') != where.host.npos;
    std::string host = v6 ? "[" + std::string(where.host) + "]" : std::string(where.host);
    return host + ":" + std::to_string(where.port);
}

task<result<ws::connection>> shake_hands(transport_ptr transport, proto::url const& where,
                                         ws::connect_options const& options)
{
    handshake_io io(std::move(transport));
    std::array<std::byte, 16> nonce;
    random_bytes(nonce);
    auto const key = proto::encode_key(nonce);
    std::vector<proto::field> extra;
    bool has_authorization = false;
    for (auto const& h : options.headers) {
        extra.push_back({h.name, h.value});
        has_authorization = has_authorization || proto::equal_ignoring_case(h.name, "Authorization");
    }
    std::string credentials;
    if (!where.userinfo.empty() && !has_authorization) {
        credentials = proto::basic_authorization(where.userinfo);
        extra.push_back({"Authorization", credentials});
    }

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
    request.extra = extra;
    std::string text;
    auto const bad = proto::write_request(text, request);
    if (bad != proto::errc::ok)
        co_return protocol_error(bad);
    auto const sent = co_await io.write(text);
    if (!sent)
        co_return sent.error();

    unsigned interim = 0;
    for (;;) {
        proto::head_limits limits;
        limits.max_head = options.max_head;
        limits.max_fields = options.max_fields;
        proto::head_scanner scanner(proto::head_scanner::kind::response, limits);
        std::string head_text;
        auto const read = co_await io.read_head(scanner, head_text);
        if (!read)
            co_return read.error();
        auto const head = scanner.response(head_text);
        bool skip = false;
        auto verdict = proto::skip_interim(head, interim, skip);
        if (verdict == proto::errc::ok && skip)
            continue;
        proto::accepted accepted;
        if (verdict == proto::errc::ok)
            verdict = proto::check_response(head, request, accepted);
        std::optional<proto::deflate_parameters> agreed;
        if (verdict == proto::errc::ok)
            verdict = proto::check_deflate(accepted.extensions, parameters_of(options.deflate), agreed);
        if (verdict == proto::errc::status_not_101)
            co_return std::error_code(head.status, ws::http_category());
        if (verdict != proto::errc::ok)
            co_return protocol_error(verdict);
        auto const deflate = agreed ? deflate_agreement(*agreed, proto::role::client) : deflate_agreement();
        co_return ws::connection(new connection_core(io.take(), proto::role::client, connection_settings(options),
                                                     std::string(accepted.subprotocol), deflate));
    }
}

task<result<ws::connection>> open(std::string const& url, ws::connect_options const& options,
                                  std::optional<stream> over)
{
    proto::url where;
    auto const bad = proto::parse_url(url, where);
    if (bad != proto::errc::ok)
        co_return protocol_error(bad);
    if (!over) {
        auto connected = co_await connect_stream(endpoint_of(where));
        if (!connected)
            co_return connected.error();
        over.emplace(std::move(*connected));
    }
    auto transport = stream_access::take(std::move(*over));
    if (!transport)
        co_return errc::closed;
    if (where.kind == proto::url::scheme::wss) {
        auto const* with = options.tls;
        if (!with) {
            auto const& usual = tls_context::default_client();
            if (!usual)
                co_return usual.error();
            with = &*usual;
        }
        auto secured = co_await tls_connect(std::move(transport), *with, std::string(where.host));
        if (!secured)
            co_return secured.error();
        transport = std::move(*secured);
    }
    auto done = co_await shake_hands(std::move(transport), where, options);
    co_return done;
}

task<result<ws::connection>> open_in_time(std::string url, ws::connect_options options, std::optional<stream> over)
{
    if (options.handshake_timeout <= duration::zero()) {
        auto done = co_await open(url, options, std::move(over));
        co_return done;
    }
    auto done = co_await timeout(options.handshake_timeout, open(url, options, std::move(over)));
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
