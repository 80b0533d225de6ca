// SPDX-License-Identifier: BSL-1.0
// The server's part of the opening handshake.
#include "net/tls_transport.hpp"
#include "proto/handshake.hpp"
#include "ws/connection_core.hpp"
#include "ws/handshake_io.hpp"
#include "ws/request_data.hpp"

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

/// One handshake under way: what its steps share.
struct server_handshake
{
    handshake_io io;
    ws::upgrade_options const& options;
    std::string head_text;
    request_data data;
    bool answered = false; // an answer has been begun: no other may follow
    deflate_agreement deflate;
};

std::vector<proto::field> as_fields(std::vector<std::pair<std::string, std::string>> const& headers)
{
    std::vector<proto::field> fields;
    for (auto const& [name, value] : headers)
        fields.push_back({name, value});
    return fields;
}

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
    bool const is_answer = r.status >= 200 && r.status <= 599;
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

/// Runs a hook; the peer's end of the stream cancels it. An error means that it was canceled.
task<result<response>> ask(server_handshake& shake, request_hook hook)
{
    context& env = co_await get_context();
    own_stop own(env);
    shake.io.stop_at_end(&own.stop);
    struct leave
    {
        ~leave() { io.stop_at_end(nullptr); }
        handshake_io& io;
    } guard{shake.io};
    request const r(shake.data);
    try {
        response said = co_await hook(r);
        co_return said;
    } catch (std::system_error const& e) {
        // The cancel itself, thrown by a value(): no failure of the hook's.
        if (!own.stop.requested() || e.code() != errc::canceled)
            throw;
    }
    co_return shake.io.get().ended() ? errc::end_of_stream : errc::canceled;
}

/// Everything up to the 101; an error that has not been answered yet is answered by the caller.
task<result<std::string>> shake_hands(server_handshake& shake)
{
    auto const& options = shake.options;
    proto::head_scanner scanner(proto::head_scanner::kind::request,
                                {options.max_head, options.max_target, options.max_fields});
    auto const read = co_await shake.io.read_head(scanner, shake.head_text);
    if (!read)
        co_return read.error();
    shake.data = {scanner.request(shake.head_text), shake.io.get().remote(), shake.io.get().tls()};
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

/// The answer to an error, where there is one to give.
response answer_to(std::error_code error)
{
    if (error == ws::errc::handshake_timeout)
        return response::refuse(408, "the request took too long\n");
    if (error.category() == ws::protocol_category())
        if (auto const status = proto::http_status_for(static_cast<proto::errc>(error.value())))
            return response::refuse(status, error.message() + "\n");
    return response::refuse(0);
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
    bool const limited = options.handshake_timeout > duration::zero();
    auto const until = limited ? detail::deadline_after(options.handshake_timeout) : clock::time_point::max();
    if (options.tls) {
        auto secured = co_await detail::secure(std::move(transport), *options.tls, until);
        if (!secured)
            co_return secured.error();
        transport = std::move(*secured);
    }
    detail::server_handshake shake{detail::handshake_io(std::move(transport)), options, {}, {}, false, {}};
    result<std::string> agreed = errc::canceled;
    {
        detail::context& env = co_await detail::get_context();
        detail::own_stop own(env);
        std::optional<detail::deadline> limit;
        if (limited)
            limit.emplace(own.stop, until);
        bool failed = false; // a hook threw
        std::exception_ptr failure;
        try {
            agreed = co_await detail::shake_hands(shake);
        } catch (...) {
            failed = true;
            failure = std::current_exception();
        }
        if (failed) {
            if (!shake.answered)
                co_await detail::answer(shake, response::refuse(500));
            detail::close_lingering(shake.io.take());
            std::rethrow_exception(failure);
        }
        if (!agreed && agreed.error() == errc::canceled && limit && limit->expired())
            agreed = ws::errc::handshake_timeout;
    }
    if (!agreed) {
        auto const said = detail::answer_to(agreed.error());
        if (said.status != 0 && !shake.answered)
            co_await detail::answer(shake, said);
        if (shake.answered)
            detail::close_lingering(shake.io.take());
        co_return agreed.error();
    }
    co_return ws::connection(new detail::connection_core(
        shake.io.take(), proto::role::server, detail::connection_settings(options), std::move(*agreed),
        shake.deflate));
}

} // namespace wring
