// SPDX-License-Identifier: BSL-1.0
#include "http/server_loop.hpp"

#include "http/date.hpp"
#include "proto/handshake.hpp"
#include "ws/handshake_io.hpp"

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <fcntl.h>
#include <unistd.h>

namespace wring::detail {

namespace {

constexpr auto drain_step = std::chrono::milliseconds(50);

bool is_cancel(std::exception_ptr const& failure) noexcept
{
    try {
        std::rethrow_exception(failure);
    } catch (std::system_error const& e) {
        return e.code() == errc::canceled;
    } catch (...) {
        return false;
    }
}

/// Closes and waits for that, in a frame of its own: the session's lies in memory as long as the connection is open.
task<> close(ws::connection& ws, ws::close_code code)
{
    auto const end = co_await ws.close(code);
    (void)end; // it is in the counts, and nobody else asks
}

} // namespace

session::session(server_loop& h) noexcept : next(h.sessions_), home(h)
{
    if (next)
        next->previous = this;
    h.sessions_ = this;
}

session::~session()
{
    (previous ? previous->next : home.sessions_) = next;
    if (next)
        next->previous = previous;
    home.changed_.set();
}

void session::cut_off() noexcept
{
    ask();
    if (last_call)
        last_call->request();
    if (ws)
        ws->abort();
}

void server_loop::listen()
{
    for (auto const& place : core_.places) {
        result<listener> bound = errc::closed;
        if (place.inherited < 0) {
            bound = listener::bind(place.where, place.options);
        } else if (int const copy = ::fcntl(place.inherited, F_DUPFD_CLOEXEC, 0); copy >= 0) {
            bound = listener::adopt(copy, place.options); // each loop has a descriptor of its own
            if (!bound)
                ::close(copy);
        } else {
            bound = last_error();
        }
        if (!bound)
            throw std::system_error(bound.error(), "can't listen on " +
                                                       (place.inherited < 0 ? place.where : "an inherited socket"));
        listeners_.push_back(std::make_unique<listener>(std::move(*bound)));
    }
}

void server_loop::start()
{
    try {
        for (std::size_t i = 0; i < listeners_.size(); ++i) {
            auto const& tls = core_.places[i].tls;
            children_.spawn(accept(*listeners_[i], tls ? &*tls : nullptr));
        }
    } catch (...) { // the drain goes on from here
        failure_ = std::current_exception();
        ask();
    }
}

task<> server_loop::accept(listener& from, tls::context const* tls)
{
    std::error_code end;
    try {
        for (;;) {
            auto peer = co_await from.accept();
            if (!peer) {
                end = peer.error();
                break;
            }
            admit(std::move(*peer), tls);
        }
        if (end != errc::closed && end != errc::canceled)
            throw std::system_error(end, "can't accept on " + from.local().to_string());
    } catch (...) {
        if (!failure_)
            failure_ = std::current_exception();
        ask();
    }
    changed_.set();
}

task<> server_loop::asked_or_alone()
{
    while (children_.size() > 0 && !asked_.is_set()) {
        changed_.reset();
        auto const changed = co_await changed_.wait();
        if (!changed)
            break;
    }
}

void server_loop::admit(stream peer, tls::context const* tls)
{
    auto transport = stream_access::take(std::move(peer));
    if (!transport)
        return; // closed, or in use
    try {
        auto ticket = core_.counts->admit();
        bool const proxied = !core_.proxies.empty(); // then the address is not known yet
        if (ticket && !proxied && core_.options.max_per_address && !ticket->is_from(transport->remote()))
            ticket.reset();
        bool const welcome = static_cast<bool>(ticket);
        if (!welcome)
            ticket = core_.counts->refuse();
        if (!ticket)
            return transport.release()->abandon(true); // too many even to tell them all
        auto& kept = *ticket;
        transport->set_rider(std::move(ticket));
        if (welcome)
            children_.spawn(serve(std::move(transport), kept, tls));
        else if (tls)
            children_.spawn(turn_away(std::move(transport), *tls));
        else
            say_full(std::move(transport));
    } catch (std::bad_alloc const&) {
        core_.report({}, {}, std::current_exception());
    }
}

task<> server_loop::turn_away(transport_ptr peer, tls::context const& tls)
{
    (co_await get_context()).stop = nullptr;
    session me(*this); // for the drain to find
    co_await say_full(me, std::move(peer), tls);
}

task<> server_loop::serve(transport_ptr peer, connection_ticket& ticket, tls::context const* tls)
{
    context& env = co_await get_context();
    env.stop = nullptr;
    session me(*this);
    opened_socket socket;
    std::exception_ptr failure;
    try {
        co_await talk_http(me, std::move(peer), ticket, tls, socket);
    } catch (...) {
        failure = std::current_exception();
    }
    if (!socket.ws || failure) {
        if (failure)
            core_.report({}, {}, failure);
        co_return;
    }

    auto const& target = *socket.target;
    me.ws = &*socket.ws;
    me.now = session::phase::open;
    env.stop = &me.stop;
    try {
        if (socket.asked) {
            socket.asked->data.tls = nullptr; // it may end before the handler does
            socket.asked->data.socket = me.ws;
            request const asked(socket.asked->data);
            co_await target.ws_with_request(*socket.ws, asked);
        } else {
            co_await target.ws(*socket.ws);
        }
    } catch (...) {
        failure = std::current_exception();
    }
    env.stop = nullptr;
    auto code = closing_ ? ws::close_code::going_away : ws::close_code::normal;
    if (failure && !(me.asked() && is_cancel(failure))) {
        code = ws::close_code::internal_error;
        core_.report(target.pattern, socket.ws->remote(), failure);
    }
    co_await close(*socket.ws, code);
}

void server_loop::ask_idle() noexcept
{
    for (auto* s = sessions_; s; s = s->next)
        if (s->now == session::phase::idle && !s->asked())
            s->ask();
}

void server_loop::ask_some(std::size_t most) noexcept
{
    for (auto* s = sessions_; s && most > 0; s = s->next) {
        if (s->now != session::phase::open || s->asked())
            continue;
        s->ask();
        ++asked_open_;
        --most;
    }
}

task<> server_loop::finish()
{
    auto const& options = core_.options;
    core_.drain_begins();
    unwell_ = true;
    if (options.drain_delay > duration::zero() && !failure_) {
        auto const slept = co_await sleep_for(options.drain_delay);
        (void)slept; // nobody cancels it
    }
    closing_ = true;
    for (auto& l : listeners_)
        l->close();
    ask_idle();

    std::size_t open = 0;
    for (auto* s = sessions_; s; s = s->next)
        open += s->now == session::phase::open;
    using seconds = std::chrono::duration<double>;
    double const share = 1.0 / static_cast<double>(std::max<std::size_t>(1, core_.serving()));
    double const rate = options.drain_rate * share;
    double const needed = static_cast<double>(open) / std::max(0.001, seconds(options.drain_timeout).count() * 0.75);
    auto const begin = clock::now();
    while (children_.size() > 0) {
        auto const passed = clock::now() - begin;
        auto const due = (seconds(passed) + seconds(drain_step)).count() *
                         (options.drain_timeout > duration::zero() ? std::max(rate, needed) : rate);
        if (options.drain_rate == 0)
            ask_some(static_cast<std::size_t>(-1));
        else if (due > static_cast<double>(asked_open_))
            ask_some(static_cast<std::size_t>(due) + 1 - asked_open_);
        if (passed >= options.drain_grace)
            for (auto* s = sessions_; s; s = s->next)
                if (s->now != session::phase::open && !s->asked())
                    s->ask();
        if (options.drain_timeout > duration::zero() && passed >= options.drain_timeout)
            for (auto* s = sessions_; s; s = s->next)
                s->cut_off();
        changed_.reset();
        auto const changed = co_await timeout(drain_step, changed_.wait());
        (void)changed; // or it is time for the next
    }
    co_await children_.join();
    if (failure_)
        std::rethrow_exception(failure_);
}

std::string_view server_loop::date()
{
    auto const now = std::time(nullptr);
    if (now != date_at_) {
        date_ = http_date(now);
        date_at_ = now;
    }
    return date_;
}

void say_full(transport_ptr peer) noexcept
{
    try {
        std::string text;
        proto::refusal refusal;
        refusal.status = proto::http_status_for(proto::errc::overloaded);
        std::string const body = std::string(proto::message(proto::errc::overloaded)) + "\n";
        refusal.body = body;
        (void)proto::write_refusal(text, refusal);
        iovec const buffer{text.data(), text.size()};
        auto const sent = peer->try_send({&buffer, 1}); // a new socket takes it
        (void)sent;
        close_lingering(std::move(peer));
    } catch (std::bad_alloc const&) { // then it is closed unanswered
    }
}

} // namespace wring::detail
