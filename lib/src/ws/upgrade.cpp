// SPDX-License-Identifier: BSL-1.0
// The server's part of the opening handshake.
#include "ws/server_handshake.hpp"

#include "net/tls_transport.hpp"
#include "proto/handshake.hpp"
#include "ws/connection_core.hpp"

#include <vector>

namespace wring {

namespace detail {

namespace {

std::error_code protocol_error(proto::errc e) noexcept
{
    return {static_cast<int>(e), ws::protocol_category()};
}

/// host[:port] of an origin, without the port that its scheme implies.
std::string_view origin_authority(std::string_view origin, std::string_view& default_port) noexcept
{
    auto const scheme_end = origin.find("://");
    if (scheme_end == origin.npos)
        return {}; // "null" among others
    default_port = proto::equal_ignoring_case(origin.substr(0, scheme_end), "https") ? ":443" : ":80";
    return origin.substr(scheme_end + 3);
}

bool same_origin(std::string_view origin, std::string_view host) noexcept
{
    std::string_view port;
    std::string_view authority = origin_authority(origin, port);
    if (authority.empty())
        return false;
    for (auto* side : {&authority, &host})
        if (side->ends_with(port))
            side->remove_suffix(port.size());
    return proto::equal_ignoring_case(authority, host);
}

} // namespace

bool origin_allowed(proto::request_head const& head, std::string_view allowed) noexcept
{
    auto const origin = head.fields.find("Origin");
    if (!origin || allowed == "*")
        return true;
    if (allowed.empty())
        return same_origin(*origin, head.fields.find("Host").value_or(""));
    for (auto const& one : proto::list_range(allowed))
        if (proto::equal_ignoring_case(one, *origin))
            return true;
    return false;
}

std::vector<proto::field> as_fields(std::vector<std::pair<std::string, std::string>> const& headers)
{
    std::vector<proto::field> fields;
    for (auto const& [name, value] : headers)
        fields.push_back({name, value});
    return fields;
}

namespace {

task<> answer(server_handshake& shake, response const& r)
{
    // Bound also where the handshake's time is over: a peer that does not read keeps nobody.
    own_stop own(co_await get_context());
    deadline limit(own.stop, deadline_after(std::chrono::seconds(1)));
    std::string text;
    auto const fields = as_fields(r.headers);
    proto::refusal refusal;
    refusal.status = static_cast<std::uint16_t>(r.status);
    refusal.body = r.body;
    refusal.content_type = r.content_type;
    refusal.extra = fields;
    bool const is_answer = r.status >= 200 && r.status <= 599 && !r.stream;
    if (!is_answer || proto::write_refusal(text, refusal) != proto::errc::ok) {
        refusal = {};
        refusal.status = 500; // what the hook said can't be sent
        (void)proto::write_refusal(text, refusal);
    }
    if (shake.data.head.method == "HEAD")
        text.resize(text.find("\r\n\r\n") + 4);
    shake.answered = true;
    auto const sent = co_await shake.io.write(text);
    (void)sent; // the peer may have gone: there is nobody else to tell
}

task<result<response>> ask(server_handshake& shake, request_hook hook)
{
    request const r(shake.data);
    auto said = co_await until_gone(shake.io, nullptr, hook(r));
    co_return said;
}

} // namespace

task<result<response>> until_gone(handshake_io& io, stop_state* also, task<response> hook)
{
    context& env = co_await get_context();
    own_stop own(env);
    stop_relay const other(also, own.stop);
    io.stop_at_end(&own.stop);
    struct leave
    {
        ~leave() { io.stop_at_end(nullptr); }
        handshake_io& io;
    } guard{io};
    try {
        response said = co_await std::move(hook);
        co_return said;
    } catch (std::system_error const& e) {
        // The cancel itself, thrown by a value(): no failure of the hook's.
        if (!own.stop.requested() || e.code() != errc::canceled)
            throw;
    }
    co_return io.get().ended() ? errc::end_of_stream : errc::canceled;
}

task<result<std::string>> shake_hands(server_handshake& shake)
{
    auto const& options = shake.options;
    auto const& head = shake.data.head;

    auto const verdict = proto::check_upgrade(head);
    if (verdict == proto::errc::not_an_upgrade && options.page) {
        auto const page = co_await ask(shake, options.page);
        if (!page)
            co_return page.error();
        co_await answer(shake, *page);
        co_return ws::errc::answered;
    }
    if (verdict != proto::errc::ok)
        co_return protocol_error(verdict);
    if (!origin_allowed(head, options.origins))
        co_return protocol_error(proto::errc::origin_forbidden);
    auto const subprotocol = proto::choose_subprotocol(head, options.subprotocols);
    if (subprotocol.error != proto::errc::ok)
        co_return protocol_error(subprotocol.error);

    response said = response::accept();
    if (options.authorize) {
        auto asked = co_await ask(shake, options.authorize);
        if (!asked)
            co_return asked.error();
        said = std::move(*asked);
        if (co_await stop_requested())
            co_return errc::canceled;
        if (shake.io.get().ended())
            co_return errc::end_of_stream;
    }
    if (said.status != 101) {
        co_await answer(shake, said);
        co_return ws::errc::forbidden;
    }

    auto fields = as_fields(said.headers);
    for (auto const& h : options.headers)
        fields.push_back({h.name, h.value});
    std::string text;
    std::string extensions;
    proto::switching_protocols switching;
    switching.key = head.fields.find("Sec-WebSocket-Key").value_or("");
    switching.subprotocol = subprotocol.name;
    switching.extra = fields;
    auto bad = proto::errc::ok;
    if (options.deflate.on && !valid(options.deflate))
        bad = proto::errc::deflate_argument;
    else if (options.deflate.on)
        if (auto const agreed = proto::accept_deflate(head.fields, parameters_of(options.deflate), extensions))
            shake.deflate = {*agreed, proto::role::server};
    switching.extensions = extensions;
    if (bad == proto::errc::ok)
        bad = proto::write_switching_protocols(text, switching);
    if (bad != proto::errc::ok) {
        if (proto::http_status_for(bad) == 0)
            co_await answer(shake, response::refuse(500)); // a field that the application added, an option of its
        co_return protocol_error(bad);
    }
    shake.answered = true;
    auto const sent = co_await shake.io.write(text);
    if (!sent)
        co_return sent.error();
    co_return std::string(subprotocol.name);
}

response answer_to(std::error_code error)
{
    if (error == ws::errc::handshake_timeout)
        return response::refuse(408, "the request took too long\n");
    if (error.category() == ws::protocol_category())
        if (auto const status = proto::http_status_for(static_cast<proto::errc>(error.value())))
            return response::refuse(status, error.message() + "\n");
    return response::refuse(0);
}

task<result<ws::connection>> conclude(server_handshake& shake, task<result<std::string>> steps,
                                      clock::time_point limit)
{
    result<std::string> agreed = errc::canceled;
    {
        own_stop own(co_await get_context());
        deadline const late(own.stop, limit);
        bool failed = false; // a hook threw
        std::exception_ptr failure;
        try {
            agreed = co_await std::move(steps);
        } catch (...) {
            failed = true;
            failure = std::current_exception();
        }
        if (failed) {
            if (!shake.answered)
                co_await answer(shake, response::refuse(500));
            close_lingering(shake.io.take());
            std::rethrow_exception(failure);
        }
        if (!agreed && agreed.error() == errc::canceled && late.expired())
            agreed = ws::errc::handshake_timeout;
    }
    if (!agreed) {
        bool const busy = shake.busy_if_canceled && agreed.error() == errc::canceled;
        auto const said = busy ? response::refuse(503) : answer_to(agreed.error());
        if (said.status != 0 && !shake.answered)
            co_await answer(shake, said);
        if (shake.answered)
            close_lingering(shake.io.take());
        co_return agreed.error();
    }
    co_return ws::connection(new connection_core(shake.io.take(), proto::role::server,
                                                 connection_settings(shake.options), std::move(*agreed),
                                                 shake.deflate));
}

namespace {

/// All of a handshake, from the first byte.
task<result<std::string>> read_and_shake(server_handshake& shake, std::string& head_text)
{
    auto const& options = shake.options;
    proto::head_scanner scanner(proto::head_scanner::kind::request,
                                {options.max_head, options.max_target, options.max_fields});
    auto const read = co_await shake.io.read_head(scanner, head_text);
    if (!read)
        co_return read.error();
    shake.data.head = scanner.request(head_text);
    shake.data.remote = shake.io.get().remote();
    shake.data.tls = shake.io.get().tls();
    co_return co_await shake_hands(shake);
}

/// TLS first: then everything goes on as without.
task<result<transport_ptr>> secure(transport_ptr plain, tls::context const& with, clock::time_point until)
{
    own_stop own(co_await get_context());
    deadline limit(own.stop, until);
    auto done = co_await tls_accept(std::move(plain), with);
    if (!done && done.error() == errc::canceled && limit.expired())
        co_return ws::errc::handshake_timeout;
    co_return done;
}

} // namespace

} // namespace detail

task<result<ws::connection>> upgrade(stream peer, ws::upgrade_options options)
{
    auto transport = detail::stream_access::take(std::move(peer));
    if (!transport)
        co_return errc::closed;
    bool const bound = options.handshake_timeout > duration::zero();
    auto const limit = detail::deadline_after(bound ? options.handshake_timeout : duration::max());
    if (options.tls) {
        auto secured = co_await detail::secure(std::move(transport), *options.tls, limit);
        if (!secured)
            co_return secured.error();
        transport = std::move(*secured);
    }
    detail::handshake_io io(std::move(transport));
    std::string head_text;
    detail::request_data data;
    detail::server_handshake shake{io, options, data};
    co_return co_await detail::conclude(shake, detail::read_and_shake(shake, head_text), limit);
}

} // namespace wring
