// SPDX-License-Identifier: BSL-1.0
// The HTTP part of a connection: one request after the other, each answered before the next is looked at.
#include "http/body_sink.hpp"
#include "http/server_loop.hpp"
#include "net/tls_transport.hpp"
#include "proto/body.hpp"
#include "proto/handshake.hpp"
#include "proto/percent.hpp"
#include "proto/proxy.hpp"
#include "proto/response.hpp"
#include "ws/server_handshake.hpp"

#include <wring/http.hpp>

#include <algorithm>
#include <array>
#include <fmt/format.h>

namespace wring {

namespace detail {

namespace {

constexpr std::size_t write_size = 64 * 1024; // bytes that a peer has write_timeout to take
constexpr std::size_t gather_size = 16 * 1024; // up to which a body is copied behind its head

std::error_code protocol_error(proto::errc e) noexcept
{
    return {static_cast<int>(e), ws::protocol_category()};
}

clock::time_point in(duration d) noexcept
{
    return deadline_after(d > duration::zero() ? d : duration::max());
}

std::string_view text_of(engine::block const& b) noexcept
{
    return {reinterpret_cast<char const*>(b.begin), b.size()};
}

/// Awaits `op`, which a request to `stop` cancels, and the time; errc::timed_out then.
template <class T>
task<result<T>> bounded(stop_state& stop, clock::time_point limit, task<result<T>> op)
{
    own_stop own(co_await get_context());
    stop_relay const other(&stop, own.stop);
    deadline const late(own.stop, limit);
    result<T> r = co_await std::move(op);
    if (!r && late.expired() && r.error() == errc::canceled)
        co_return errc::timed_out;
    co_return r;
}

/// Lets all others run first.
struct [[nodiscard]] yield_turn : suspension
{
    bool await_ready() const noexcept { return false; }
    template <coroutine_promise P>
    void await_suspend(std::coroutine_handle<P> h) noexcept
    {
        suspend(h, nullptr);
        wake();
    }
    void await_resume() const noexcept {}
};

task<response> after(task<> stream)
{
    co_await std::move(stream);
    co_return response();
}

class http_connection final : body_source, body_sink
{
public:
    http_connection(session& me, transport_ptr peer, connection_ticket& ticket, clock::time_point limit) :
        me_(me), home_(me.home), core_(me.home.core()), options_(core_.options), io_(std::move(peer)), ticket_(ticket),
        limit_(limit)
    {
        me_.last_call = &last_call_;
    }
    http_connection(http_connection const&) = delete;
    http_connection& operator=(http_connection const&) = delete;
    ~http_connection() { me_.last_call = nullptr; }

    task<> run(opened_socket& out);

private:
    // What follows a request.
    enum class next { request, end, gone };

    task<result<>> wait_for_request();
    task<result<>> read_request();
    task<next> answer_request(opened_socket& out);
    task<next> answer_with(router::answer& found, opened_socket& out);
    task<> open_websocket(route_target const& target, opened_socket& out);
    task<next> ask_handler(route_target const& target);
    task<next> send_page(route_target const& target);
    task<next> send_file(route_target const& target);
    task<next> send_stream(route_target const& target, response const& r);
    task<next> send(response const& r);
    task<next> refuse(proto::errc why, std::string_view allow = {});
    task<next> send_text(std::string const& head, std::string_view body);
    task<result<>> write(std::string_view text, bool with_head = false);

    task<result<std::string_view>> next_piece() override;
    task<result<>> write_piece(std::string_view piece) override;
    [[nodiscard]] std::error_code fail_body(proto::errc why) noexcept;
    void drop_held() noexcept;
    void finish_body() noexcept;

    [[nodiscard]] bool begin_response(std::string& out, proto::response_start start);
    [[nodiscard]] proto::request_head const& head() const noexcept { return request_->data.head; }
    [[nodiscard]] bool head_only() const noexcept { return head().method == "HEAD"; }
    [[nodiscard]] next after_response() const noexcept { return keep_ ? next::request : next::end; }

    session& me_;
    server_loop& home_;
    server_core& core_;
    server_options const& options_;
    handshake_io io_;
    connection_ticket& ticket_;
    stop_state last_call_;
    clock::time_point limit_; // for the head of the request under way
    std::unique_ptr<kept_request> request_;
    std::vector<std::string> segments_; // of its path
    std::uint32_t served_ = 0;
    bool keep_ = false; // the connection goes on after this response

    // the body of the request
    proto::body_reader body_;
    std::size_t held_ = 0; // bytes in front that the handler looks at
    std::error_code body_error_;
    clock::time_point body_limit_;

    // a streamed response
    std::string piece_;
    std::error_code stream_error_;
    bool chunked_ = false;
    bool writing_ = false;
    bool broken_ = false; // a response was cut short: the peer must see that
};

task<> http_connection::run(opened_socket& out)
{
    (co_await get_context()).stop = &last_call_;
    next then = next::request;
    while (then == next::request && !home_.closing()) {
        me_.now = session::phase::idle;
        auto const waited = co_await wait_for_request();
        if (!waited)
            break;
        me_.now = session::phase::request;
        auto const read = co_await read_request();
        if (read)
            then = co_await answer_request(out);
        else if (read.error().category() == ws::protocol_category())
            then = co_await refuse(static_cast<proto::errc>(read.error().value()));
        else if (read.error() == errc::timed_out)
            then = co_await refuse(proto::errc::handshake_timeout);
        else if (read.error() == errc::canceled)
            then = co_await refuse(proto::errc::overloaded);
        else
            then = next::gone;
        if (out.ws)
            co_return;
        ++served_;
        yield_turn others;
        co_await others;
    }
    if (broken_)
        io_.take().release()->abandon(true);
    else if (then == next::end)
        close_lingering(io_.take());
}

task<result<>> http_connection::wait_for_request()
{
    auto const limit = served_ == 0 ? limit_ : in(options_.keep_alive_timeout);
    auto const waited = co_await bounded(me_.stop, limit, io_.readable());
    if (waited && served_ > 0)
        limit_ = in(options_.handshake_timeout);
    co_return waited;
}

task<result<>> http_connection::read_request()
{
    request_ = std::make_unique<kept_request>();
    keep_ = false;
    body_ = {};
    body_error_ = {};
    proto::head_scanner scanner(proto::head_scanner::kind::request,
                                {options_.max_head, options_.max_target, options_.max_fields});
    auto const read = co_await bounded(me_.stop, limit_, io_.read_head(scanner, request_->head));
    if (!read)
        co_return read.error();
    request_->data.head = scanner.request(request_->head);
    request_->data.remote = io_.get().remote();
    request_->data.tls = io_.get().tls();
    body_limit_ = in(options_.body_timeout);
    auto const verdict = proto::check_request(head());
    if (verdict != proto::errc::ok)
        co_return protocol_error(verdict);
    auto const& fields = head().fields;
    // An Upgrade that does not end in a 101 ends the connection: a proxy in between may take what follows for another
    // protocol.
    keep_ = head().version.minor == 1 && !fields.has_token("Connection", "close") && fields.count("Upgrade") == 0 &&
            (options_.max_requests == 0 || served_ + 1 < options_.max_requests);
    co_return {};
}

task<http_connection::next> http_connection::answer_request(opened_socket& out)
{
    segments_.clear();
    auto const add = [&](std::string_view s) { segments_.emplace_back(s); };
    auto const fault = proto::each_segment(head().path(), add);
    if (fault != proto::path_fault::none)
        co_return co_await refuse(fault == proto::path_fault::dots ? proto::errc::path_dots : proto::errc::path_escape);
    auto found = core_.routes.find(head().method, head().fields.has_token("Upgrade", "websocket"), segments_);
    auto const* target = found.what == routing::found ? core_.targets[found.index].get() : nullptr;
    if (!target || target->what != route_target::kind::websocket) {
        auto const body = body_.start(head(), target ? target->max_body : options_.max_body);
        if (body != proto::errc::ok)
            co_return co_await refuse(body);
    }
    co_return co_await answer_with(found, out);
}

task<http_connection::next> http_connection::answer_with(router::answer& found, opened_socket& out)
{
    switch (found.what) {
    case routing::no_path: co_return co_await refuse(proto::errc::not_found);
    case routing::no_method: co_return co_await refuse(proto::errc::method_not_allowed, found.allow);
    case routing::needs_upgrade: co_return co_await refuse(proto::errc::not_an_upgrade);
    case routing::found: break;
    }
    auto const& target = *core_.targets[found.index];
    request_->data.params = std::move(found.params);
    switch (target.what) {
    case route_target::kind::websocket: co_await open_websocket(target, out); co_return next::gone;
    case route_target::kind::handler: break;
    case route_target::kind::page: co_return co_await send_page(target);
    case route_target::kind::files: co_return co_await send_file(target);
    case route_target::kind::health: {
        response r(home_.unwell() ? 503 : 200, home_.unwell() ? "draining\n" : "ok\n");
        r.headers.emplace_back("Cache-Control", "no-store");
        co_return co_await send(r);
    }
    }
    bool const harmless = head().method == "GET" || head().method == "HEAD";
    if (!harmless && !origin_allowed(head(), target.origins))
        co_return co_await refuse(proto::errc::origin_forbidden);
    co_return co_await ask_handler(target);
}

// ---- WebSocket -----------------------------------------------------------------------------------------------------

task<> http_connection::open_websocket(route_target const& target, opened_socket& out)
{
    auto const remote = request_->data.remote;
    server_handshake shake{io_, target.upgrade->get(), request_->data};
    shake.busy_if_canceled = true;
    try {
        auto ws = co_await conclude(shake, bounded(me_.stop, limit_, shake_hands(shake)), limit_);
        if (ws) {
            ticket_.opened();
            out.ws.emplace(std::move(*ws));
            out.target = &target;
            if (target.ws_with_request)
                out.asked = std::move(request_);
        }
    } catch (...) {
        core_.report(target.pattern, remote, std::current_exception());
    }
}

// ---- plain requests ------------------------------------------------------------------------------------------------

task<http_connection::next> http_connection::ask_handler(route_target const& target)
{
    ticket_.opened();
    request_->data.body = this;
    request r(request_->data);
    result<response> said = errc::canceled;
    std::exception_ptr failure;
    try {
        said = co_await until_gone(io_, &me_.stop, target.handler(r));
    } catch (std::system_error const& e) {
        if (body_error_ && e.code() == body_error_)
            said = answer_to(body_error_); // the handler has thrown what its body gave
        else
            failure = std::current_exception();
    } catch (...) {
        failure = std::current_exception();
    }
    if (failure) {
        core_.report(target.pattern, request_->data.remote, failure);
        keep_ = false;
        co_return co_await send(response::refuse(500));
    }
    if (said && said->stream && !head_only() && !proto::has_no_content(static_cast<std::uint16_t>(said->status)))
        co_return co_await send_stream(target, *said);
    if (said)
        co_return co_await send(*said);
    keep_ = false;
    if (said.error() == errc::canceled) // the drain has no more time for it
        co_return co_await refuse(proto::errc::overloaded);
    co_return next::gone;
}

task<http_connection::next> http_connection::send_page(route_target const& target)
{
    ticket_.opened();
    finish_body();
    bool const fresh = names_etag(head().fields.find("If-None-Match").value_or(""), target.etag);
    proto::field const fields[] = {
        {"ETag", target.etag}, {"Cache-Control", "no-cache"}, {"X-Content-Type-Options", "nosniff"}};
    proto::response_start start;
    start.status = fresh ? 304 : 200;
    start.content_type = target.content_type;
    start.length = target.content.size();
    start.extra = fields;
    std::string text;
    if (!begin_response(text, start))
        co_return co_await send(response::refuse(500));
    co_return co_await send_text(text, fresh || head_only() ? std::string_view() : std::string_view(target.content));
}

task<http_connection::next> http_connection::send_file(route_target const& target)
{
    ticket_.opened();
    finish_body();
    opened_file file;
    auto const folder = target.folder.get();
    auto const below = std::span<std::string const>(segments_).subspan(target.prefix_segments);
    auto const found = co_await offload([&] { return folder->open(below, file); });
    if (found == served_folder::outcome::is_directory) {
        auto location = std::string(head().path()) + "/";
        if (!head().query().empty())
            location.append("?").append(head().query());
        co_return co_await send(response::redirect(std::move(location), 301));
    }
    if (found != served_folder::outcome::file)
        co_return co_await refuse(proto::errc::not_found);

    bool const fresh = names_etag(head().fields.find("If-None-Match").value_or(""), file.etag);
    std::array<proto::field, 4> fields{{{"ETag", file.etag},
                                        {"Last-Modified", file.last_modified},
                                        {"X-Content-Type-Options", "nosniff"},
                                        {"Cache-Control", folder->cache_control()}}};
    proto::response_start start;
    start.status = fresh ? 304 : 200;
    start.content_type = file.type;
    start.length = file.size;
    start.extra = std::span(fields).first(folder->cache_control().empty() ? 3 : 4);
    std::string text;
    if (!begin_response(text, start))
        co_return co_await send(response::refuse(500));
    if (fresh || head_only())
        co_return co_await send_text(text, {});
    auto left = file.size;
    auto piece = std::string_view(file.start).substr(0, left);
    auto then = co_await send_text(text, piece);
    left -= piece.size();
    while (left > 0 && then != next::gone) {
        auto const offset = file.size - left;
        int const fd = file.fd.get();
        auto& buffer = file.start;
        bool const more = co_await offload([&] { return served_folder::read(fd, offset, buffer); });
        piece = std::string_view(buffer).substr(0, left);
        auto const sent = more ? co_await write(piece) : result<>(errc::closed); // it has become shorter meanwhile
        if (!sent) {
            broken_ = true;
            then = next::gone;
        }
        left -= piece.size();
    }
    co_return then;
}

// ---- responses -----------------------------------------------------------------------------------------------------

/// Appends the head of a response, unless something in it is not to be sent. Decides whether the connection goes on.
bool http_connection::begin_response(std::string& out, proto::response_start start)
{
    keep_ = keep_ && !home_.closing() && start.status != 426;
    start.close = !keep_;
    start.date = home_.date();
    return start.status >= 200 && start.status <= 599 && proto::write_response(out, start) == proto::errc::ok;
}

task<http_connection::next> http_connection::send(response const& r)
{
    finish_body();
    auto const fields = as_fields(r.headers);
    proto::response_start start;
    start.status = static_cast<std::uint16_t>(r.status);
    bool const empty = r.body.empty() && !r.stream;
    start.content_type = empty ? std::string_view() : std::string_view(r.content_type);
    if (!r.stream)
        start.length = r.body.size();
    start.extra = fields;
    std::string text;
    bool const in_range = r.status >= 200 && r.status <= 599;
    if (!in_range || !begin_response(text, start)) {
        text.clear();
        start = {}; // what the handler said can't be sent
        start.status = 500;
        start.length = 0;
        (void)begin_response(text, start);
        co_return co_await send_text(text, {});
    }
    bool const no_body = head_only() || r.stream || proto::has_no_content(start.status);
    co_return co_await send_text(text, no_body ? std::string_view() : std::string_view(r.body));
}

task<http_connection::next> http_connection::send_stream(route_target const& target, response const& r)
{
    finish_body();
    auto const fields = as_fields(r.headers);
    chunked_ = head().version.minor == 1;
    keep_ = keep_ && chunked_; // else only the end of the connection ends the body
    proto::response_start start;
    start.status = static_cast<std::uint16_t>(r.status);
    start.content_type = r.content_type;
    start.chunked = chunked_;
    start.extra = fields;
    std::string text;
    if (r.status < 200 || r.status > 599 || !begin_response(text, start))
        co_return co_await send(response::refuse(500));
    auto then = co_await send_text(text, {});
    if (then == next::gone)
        co_return then;

    me_.now = session::phase::open;
    stream_error_ = {};
    body_writer out(*this);
    bool whole = false;
    try {
        auto const ended = co_await until_gone(io_, &me_.stop, after(r.stream(out)));
        whole = ended.has_value();
    } catch (...) {
        core_.report(target.pattern, request_->data.remote, std::current_exception());
    }
    me_.now = session::phase::request;
    if (whole && chunked_ && !stream_error_) {
        auto const last = co_await write("0\r\n\r\n");
        whole = last.has_value();
    }
    if (whole && !stream_error_)
        co_return after_response();
    broken_ = true;
    co_return next::gone;
}

task<http_connection::next> http_connection::refuse(proto::errc why, std::string_view allow)
{
    keep_ = false;
    response r(proto::http_status_for(why), std::string(proto::message(why)) + "\n");
    if (!allow.empty())
        r.headers.emplace_back("Allow", allow);
    co_return co_await send(r);
}

/// `head`, and `body` behind it.
task<http_connection::next> http_connection::send_text(std::string const& head, std::string_view body)
{
    result<> sent;
    if (body.empty()) {
        sent = co_await write(head, true);
    } else if (body.size() <= gather_size) {
        std::string both = head;
        both.append(body);
        sent = co_await write(both, true);
    } else {
        sent = co_await write(head, true);
        if (sent)
            sent = co_await write(body);
    }
    if (sent)
        co_return after_response();
    broken_ = true;
    co_return next::gone;
}

task<result<>> http_connection::write(std::string_view text, bool with_head)
{
    while (!text.empty()) {
        auto const piece = text.substr(0, write_size);
        auto const limit = options_.write_timeout > duration::zero() ? options_.write_timeout : duration::max();
        // Named: g++ 12 would destroy the branches of a conditional expression in the co_await twice.
        auto sending = std::exchange(with_head, false) ? io_.write(piece) : io_.write_bytes(piece);
        auto const sent = co_await timeout(limit, std::move(sending));
        if (!sent)
            co_return sent.error();
        text.remove_prefix(piece.size());
    }
    co_return {};
}

task<result<>> http_connection::write_piece(std::string_view piece)
{
    if (writing_)
        co_return errc::busy;
    if (stream_error_)
        co_return stream_error_;
    if (co_await stop_requested())
        co_return errc::canceled; // before anything was sent: the response can still end whole
    if (piece.empty())
        co_return {};
    writing_ = true;
    piece_.clear();
    if (chunked_)
        piece_ = fmt::format("{:x}\r\n", piece.size());
    result<> sent;
    if (piece.size() <= gather_size) {
        piece_.append(piece).append(chunked_ ? "\r\n" : "");
        sent = co_await write(piece_);
    } else {
        sent = co_await write(piece_);
        if (sent)
            sent = co_await write(piece);
        if (sent && chunked_)
            sent = co_await write("\r\n");
    }
    writing_ = false;
    stream_error_ = sent.error();
    co_return sent;
}

// ---- the request's body --------------------------------------------------------------------------------------------

void http_connection::drop_held() noexcept
{
    if (std::size_t const n = std::exchange(held_, 0))
        io_.get().inbound().consume(n);
}

std::error_code http_connection::fail_body(proto::errc why) noexcept
{
    keep_ = false;
    return body_error_ = protocol_error(why);
}

task<result<std::string_view>> http_connection::next_piece()
{
    drop_held();
    for (;;) {
        if (body_error_)
            co_return body_error_;
        if (!body_.complete() && clock::now() >= body_limit_)
            co_return fail_body(proto::errc::body_timeout);
        if (body_.complete())
            co_return errc::end_of_stream;
        auto& inbound = io_.get().inbound();
        if (auto* const block = inbound.front()) {
            auto const p = body_.feed(text_of(*block));
            inbound.consume(p.consumed - p.content.size());
            held_ = p.content.size();
            if (p.error != proto::errc::ok)
                co_return fail_body(p.error);
            if (held_ > 0)
                co_return p.content;
            continue;
        }
        auto const more = co_await timeout(body_limit_ - clock::now(), io_.readable());
        if (more || !inbound.empty())
            continue;
        if (more.error() == errc::canceled)
            co_return errc::canceled;
        if (more.error() == errc::timed_out)
            co_return fail_body(proto::errc::body_timeout);
        if (more.error() == errc::end_of_stream)
            co_return fail_body(proto::errc::body_cut_short);
        keep_ = false;
        co_return body_error_ = more.error();
    }
}

/// Before a response: what of the body is here is dropped; where there is more to come, the connection ends with it.
void http_connection::finish_body() noexcept
{
    drop_held();
    request_->data.body = nullptr;
    auto& inbound = io_.get().inbound();
    while (!body_.complete() && !inbound.empty() && !body_error_) {
        auto const p = body_.feed(text_of(*inbound.front()));
        inbound.consume(p.consumed);
        if (p.error != proto::errc::ok)
            (void)fail_body(p.error);
    }
    keep_ = keep_ && body_.complete();
}

// ---- before the first request --------------------------------------------------------------------------------------

/// Reads what a trusted proxy says first. False where the connection is to be closed without a word.
task<bool> hear_proxy(session& me, handshake_io& io, connection_ticket& ticket, clock::time_point limit)
{
    proto::proxy_header header;
    std::size_t seen = 0;
    for (;;) {
        auto& inbound = io.get().inbound();
        if (inbound.size() > seen) {
            std::string start;
            for (auto const* b = inbound.front(); b && start.size() < proto::max_proxy_header; b = b->next)
                start.append(text_of(*b));
            seen = start.size();
            auto const read = proto::read_proxy_header(start, header);
            if (read.error != proto::errc::ok)
                co_return false;
            if (read.size > 0) {
                for (auto left = read.size; left > 0;) {
                    auto const n = std::min(left, inbound.front()->size());
                    inbound.consume(n);
                    left -= n;
                }
                break;
            }
        }
        auto const more = co_await bounded(me.stop, limit, io.readable(seen));
        if (!more)
            co_return false;
    }
    if (header.address().empty())
        co_return true;
    auto const host = std::string(header.address());
    auto client = endpoint::parse(header.ipv6 ? "[" + host + "]:0" : host + ":0");
    if (!client)
        co_return false;
    client->set_port(header.port);
    ticket.set_remote(*client);
    co_return true;
}

} // namespace

task<> say_full(session& me, transport_ptr peer, tls::context const& with)
{
    auto secured = co_await bounded(me.stop, in(std::chrono::seconds(2)), tls_accept(std::move(peer), with));
    if (secured)
        say_full(std::move(*secured));
}

task<> talk_http(session& me, transport_ptr peer, connection_ticket& ticket, tls::context const* tls,
                 opened_socket& out)
{
    auto const& core = me.home.core();
    auto const limit = in(core.options.handshake_timeout);
    if (!core.proxies.empty()) {
        auto const proxy = peer->remote();
        handshake_io io(std::move(peer));
        bool heard = true;
        if (core.proxies.contains(proxy))
            heard = co_await hear_proxy(me, io, ticket, limit);
        if (!heard)
            co_return;
        peer = io.take();
        if (!ticket.is_from(peer->remote())) {
            if (tls)
                co_await say_full(me, std::move(peer), *tls);
            else
                say_full(std::move(peer));
            co_return;
        }
    }
    if (tls) {
        auto secured = co_await bounded(me.stop, limit, tls_accept(std::move(peer), *tls));
        if (!secured)
            co_return; // who does not speak TLS has been told by an alert, or in plain HTTP
        peer = std::move(*secured);
    }
    http_connection http(me, std::move(peer), ticket, limit);
    co_await http.run(out);
}

} // namespace detail

task<result<>> body_writer::write(std::string_view piece)
{
    return sink_.write_piece(piece);
}

} // namespace wring
