// SPDX-License-Identifier: BSL-1.0
// A server on one loop: its listeners, its sessions, its drain.
#pragma once

#include "http/server_core.hpp"
#include "ws/request_data.hpp"

#include <wring/scope.hpp>
#include <wring/sync.hpp>
#include <wring/timeout.hpp>

namespace wring::detail {

/// One connection, for the drain to find. Lives in its session's coroutine, which may wait for long: so it is small.
class session
{
public:
    enum class phase : std::uint8_t {
        idle,     // no request is under way
        request,  // one is being read, or answered
        open,     // a WebSocket, or a streamed response
    };

    explicit session(server_loop& home) noexcept;
    session(session const&) = delete;
    session& operator=(session const&) = delete;
    ~session();

    /// Asks it to end, as a cancel does.
    void ask() noexcept
    {
        asked_ = true;
        stop.request();
    }
    [[nodiscard]] bool asked() const noexcept { return asked_; }
    /// Ends it for good, as far as it is up to the server.
    void cut_off() noexcept;

    session* next = nullptr;
    session* previous = nullptr;
    server_loop& home;
    stop_state stop;                // what handlers hear of
    stop_state* last_call = nullptr; // of the HTTP part, which still says something after a stop
    ws::connection* ws = nullptr;
    phase now = phase::idle;

private:
    bool asked_ = false;
};

/// A request as received, in a place of its own: for a handler that wants it for the whole session.
struct kept_request
{
    std::string head; // that `data` refers to
    request_data data;
};

/// What a connection has become.
struct opened_socket
{
    std::optional<ws::connection> ws; // nothing: it has ended
    route_target const* target = nullptr;
    std::unique_ptr<kept_request> asked; // where the handler wants it
};

class server_loop
{
public:
    server_loop(server_core& core, loop_core& loop) noexcept : core_(core), loop_(loop) {}
    server_loop(server_loop const&) = delete;
    server_loop& operator=(server_loop const&) = delete;

    /// Binds all places; throws std::system_error.
    void listen();
    /// Accepts. From now on finish() must be awaited.
    void start();
    [[nodiscard]] std::vector<std::unique_ptr<listener>> const& listeners() const noexcept { return listeners_; }

    /// Completes when the server is asked to stop; a cancel is such a request.
    task<> asked()
    {
        auto const stop = co_await asked_.wait();
        (void)stop; // a cancel is one too
    }
    /// The same, and when there is no connection left.
    task<> asked_or_alone();
    void ask() noexcept
    {
        asked_.set();
        changed_.set();
    }

    /// Serves a connection, unless there are too many. With a context TLS is spoken on it first.
    void admit(stream peer, tls::context const* tls);

    /// Drains. Rethrows what has ended the accepting, if anything has.
    task<> finish();

    [[nodiscard]] server_core& core() const noexcept { return core_; }
    [[nodiscard]] loop_core& loop() const noexcept { return loop_; }
    /// Whether health says no.
    [[nodiscard]] bool unwell() const noexcept { return unwell_; }
    /// Whether connections end with the request that is under way.
    [[nodiscard]] bool closing() const noexcept { return closing_; }
    /// For the Date field.
    [[nodiscard]] std::string_view date();

private:
    friend session;

    task<> accept(listener& from, tls::context const* tls);
    task<> serve(transport_ptr peer, connection_ticket& ticket, tls::context const* tls);
    task<> turn_away(transport_ptr peer, tls::context const& tls);
    void ask_idle() noexcept;
    void ask_some(std::size_t most) noexcept;

    server_core& core_;
    loop_core& loop_;
    std::vector<std::unique_ptr<listener>> listeners_;
    scope children_;
    session* sessions_ = nullptr;
    event asked_;
    event changed_; // a session has ended
    std::exception_ptr failure_;
    std::size_t asked_open_ = 0; // sessions that were open when the drain asked them
    std::time_t date_at_ = 0;
    std::string date_;
    bool unwell_ = false;
    bool closing_ = false;
};

/// The HTTP part of a connection: reads and answers its requests until it ends, or is a WebSocket. Throws only what it
/// has not been able to tell anybody.
task<> talk_http(session& me, transport_ptr peer, connection_ticket& ticket, tls::context const* tls,
                 opened_socket& out);

/// Tells a new socket that there are too many, and lets it go.
void say_full(transport_ptr peer) noexcept;
/// The same by TLS, where the peer is quick with its handshake.
task<> say_full(session& me, transport_ptr peer, tls::context const& with);

} // namespace wring::detail
