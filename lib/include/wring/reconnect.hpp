// SPDX-License-Identifier: BSL-1.0
// A client that connects again: connections come and go, the application reads and writes on.
#pragma once

#include <wring/ws.hpp>

#include <concepts>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

namespace wring {

namespace detail {

class reconnect_core;

/// A reference to a function, or to a function object that outlives it. Trivial, so that it may stand in an options
/// struct.
template <class Signature>
class function_reference;
template <class R, class... A>
class function_reference<R(A...)>
{
public:
    function_reference() noexcept = default;
    function_reference(R (*function)(A...)) noexcept :
        object_(reinterpret_cast<void*>(function)), call_([](void* object, A... arguments) -> R {
            return reinterpret_cast<R (*)(A...)>(object)(static_cast<A>(arguments)...);
        })
    {}
    template <class F>
        requires(!std::is_convertible_v<F, R (*)(A...)> && std::is_invocable_r_v<R, F&, A...>)
    function_reference(F& object) noexcept :
        object_(const_cast<void*>(static_cast<void const*>(std::addressof(object)))),
        call_([](void* o, A... arguments) -> R { return (*static_cast<F*>(o))(static_cast<A>(arguments)...); })
    {}
    template <class F>
        requires(std::is_convertible_v<F, R (*)(A...)> && !std::is_pointer_v<F>)
    function_reference(F function) noexcept : function_reference(static_cast<R (*)(A...)>(function))
    {}

    explicit constexpr operator bool() const noexcept { return call_ != nullptr; }
    R operator()(A... arguments) const { return call_(object_, static_cast<A>(arguments)...); }

private:
    void* object_ = nullptr;
    R (*call_)(void*, A...) = nullptr;
};

} // namespace detail

namespace ws {

/// Where a reconnecting_client stands.
enum class client_state : std::uint8_t {
    idle,       ///< run() has not begun
    connecting,
    open,
    waiting,    ///< for the time of the next attempt
    ended,      ///< for good
};
[[nodiscard]] char const* to_string(client_state s) noexcept;

/// What reconnect_options::on_change is told. A view, valid during the call.
struct client_change
{
    client_state state = client_state::idle;
    std::error_code error;                   ///< waiting, ended: how the connection ended, or why there was none
    close_code code = close_code::no_status; ///< with it, as in ws::status
    std::string_view reason;
    duration delay{};           ///< waiting: until the next attempt
    std::uint32_t failures = 0; ///< attempts, and connections that did not last for stable_after, in a row
};

/// What write() does while the outbox is full.
enum class outbox_policy : std::uint8_t {
    wait,        ///< waits for room
    drop_oldest, ///< drops the oldest messages until there is room
    drop_newest, ///< drops the new message; write() succeeds all the same
    fail,        ///< gives ws::errc::outbox_full
};

/// Options of reconnecting_client. What they refer to must live until run() has returned.
struct reconnect_options
{
    /// For each attempt. What they refer to is read anew each time, so on_change(connecting) may change it: put a fresh
    /// token where `headers` point, say.
    connect_options connect = {};

    /// The n-th delay in a row is drawn from 0 to min_delay * factor^(n-1), or to max_delay where that is less (full
    /// jitter), so that many clients do not come back at the same moment. A Retry-After of the server makes it longer,
    /// up to max_delay.
    duration min_delay = std::chrono::milliseconds(500);
    duration max_delay = std::chrono::seconds(30);
    double factor = 2;
    /// A connection that was open for so long makes the delays short again.
    duration stable_after = std::chrono::seconds(10);
    /// Failures in a row before it gives up; 0: never.
    std::uint32_t max_failures = 0;

    /// Bytes of messages that wait for a connection, what their keeping costs included.
    std::size_t outbox_limit = 1 << 20;
    outbox_policy when_full = outbox_policy::wait;

    /// Runs after each opening, before anything of the outbox is sent and before read() gives anything: log in,
    /// subscribe again. It has the connection to itself. An error makes the attempt a failed one, an exception leaves
    /// run().
    detail::function_reference<task<result<>>(connection&)> on_open = {};
    /// Told of every change of state. An exception leaves run().
    detail::function_reference<void(client_change const&)> on_change = {};
    /// Whether such an end is final; in place of reconnecting_client::is_final().
    detail::function_reference<bool(std::error_code, close_code)> is_final = {};
};
static_assert(std::is_trivially_destructible_v<reconnect_options>, "g++ 12 destroys such temporaries twice");

/// A client whose connection is made again when it is lost. `co_await client.run()` in a scope keeps it up; other
/// coroutines of the same loop read and write. Neither movable nor copyable; the end of run() comes before its own.
///
/// Nothing is sent twice: a message leaves the outbox when a connection has taken it, and is lost where that connection
/// breaks before the peer has it. Who needs more numbers the messages, and asks again in on_open.
class reconnecting_client
{
public:
    /// `url` and options as for connect().
    explicit reconnecting_client(std::string url, reconnect_options options = {});
    reconnecting_client(reconnecting_client const&) = delete;
    reconnecting_client& operator=(reconnecting_client const&) = delete;
    ~reconnecting_client();

    /// Connects, again and again, until close(), an end that is final, max_failures, or a cancel; error() says which.
    /// To be called once. A cancel ends what is going on; an open connection is closed with 1000, or 1001 where the
    /// loop has been asked to stop.
    task<> run();

    /// As connection::read(), across connections: waits while there is none. What a connection received before its end
    /// is given before what the next one receives (where nobody reads, no further back than the last two).
    /// Errors: error() when it is over, wring::errc::busy where another coroutine reads. A cancel loses nothing.
    /// A message is valid until the next read().
    task<result<message>> read();

    /// Puts a message into the outbox, from which it is sent when a connection is open: in the order of the calls,
    /// whole. What happens where that is full: reconnect_options::when_full. A message larger than the outbox goes into
    /// an empty one. Bytes need to live only until the await returns. Text must be UTF-8 (it is not checked).
    /// Errors: error() when it is over, ws::closed after close(), ws::errc::outbox_full. A cancel while waiting sends
    /// nothing.
    task<result<>> write(std::string_view text, write_options how = {});
    task<result<>> write(std::span<std::byte const> bytes, write_options how = {});
    task<result<>> write(message const& m, write_options how = {});

    /// Ends it: an open connection is closed when the outbox is empty; without one the messages in it are dropped.
    /// Completes when run() is over, or at once where it has not begun. Any number of coroutines may close; the first
    /// one's code is sent. A cancel ends the wait; the close goes on by itself.
    task<result<>> close(close_code code = close_code::normal, std::string_view reason = {});

    [[nodiscard]] client_state state() const noexcept;
    /// Why it is over: ws::closed after close() or the peer's close, errc::canceled, or what the last attempt gave; no
    /// error while it is not.
    [[nodiscard]] std::error_code error() const noexcept;
    /// Messages in the outbox, the one being sent included.
    [[nodiscard]] std::size_t queued() const noexcept;
    /// Messages that the policy has dropped.
    [[nodiscard]] std::uint64_t dropped() const noexcept;

    /// Whether trying again is pointless, as far as can be told: a close code that says that this side is at fault or
    /// that the work is done (1000, 1002, 1003, 1007-1010), an HTTP status that will not change by itself (all but 408,
    /// 425, 429, 500, 502, 503 and 504), a proxy that forbids it, a bad URL or argument, TLS files that can't be used.
    [[nodiscard]] static bool is_final(std::error_code error, close_code code) noexcept;

private:
    std::unique_ptr<detail::reconnect_core> core_;
};

} // namespace ws

} // namespace wring
