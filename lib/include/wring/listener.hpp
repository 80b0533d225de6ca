// SPDX-License-Identifier: BSL-1.0
// listener: accepts connections, of TCP or Unix sockets alike.
#pragma once

#include <wring/stream.hpp>

namespace wring {

namespace detail {
class listener_core;
}

/// How connections are shared out among several loops (run_options::threads > 1) that listen on the same endpoint.
enum class balance : std::uint8_t {
    /// The system decides. Each loop has a socket of its own on the port (SO_REUSEPORT), to which connections come by a
    /// hash of their addresses; a Unix or adopted socket is one, and whichever loop is first accepts.
    reuse_port,
    /// Each connection goes to the loop that has the fewest open, of those that came so: for connections that live
    /// long, or are few. All loops accept from one socket and hand over what is another's, which costs a wake. A loop
    /// for which listen_options::backlog wait is passed over. What waits for a listener that closes goes to the others.
    least_connections,
};

struct listen_options
{
    int backlog = 1024;
    bool no_delay = true;       ///< TCP_NODELAY on the listening socket, from which accepted streams have it
    bool v6_only = false;       ///< an IPv6 endpoint takes IPv6 only
    wring::balance balance = wring::balance::reuse_port; ///< the same on all loops
};
static_assert(std::is_trivially_destructible_v<listen_options>);

/// A listening socket on the loop it was made on. Closed when destroyed; a Unix path is removed then.
///
/// With several loops (run_options::threads > 1) each loop binds the same endpoint, and listen_options::balance says
/// how the connections are shared out; with port 0 all get the port that the first was given. The last listener of a
/// Unix socket to close removes its path.
class listener
{
public:
    listener(listener&&) noexcept;
    listener& operator=(listener&&) noexcept;
    ~listener();

    /// Binds and listens, on the calling thread's loop. `text` as in endpoint::parse; a name such as `localhost:80` is
    /// looked up, which may block, so bind at start-up. Port 0 lets the system choose: see local(). A Unix path left
    /// over by a process that has ended is replaced; one in use gives EADDRINUSE.
    [[nodiscard]] static result<listener> bind(std::string_view text, listen_options options = {});

    /// Takes over a listening socket (systemd activation, a parent process); made non-blocking and close-on-exec. An
    /// error leaves `fd` open and with the caller.
    [[nodiscard]] static result<listener> adopt(int fd, listen_options options = {});

    class accept_operation;

    /// Completes with the next connection, or an error: errc::canceled, errc::closed after close(), or a system
    /// error that the listener can't recover from. Out of file descriptors, of memory or of room in epoll is none: it
    /// is reported once on standard error, and accepting goes on when that has passed. One coroutine at a time
    /// (errc::busy). Some connections are accepted before they are asked for, 64 or a few more. A cancel loses no
    /// connection: one that had been accepted is given by the next accept. When the loop is asked to stop, though
    /// (this_loop().request_stop(), run()'s signals), the pending or the next accept ends with errc::canceled and the
    /// listener closes, so that newcomers are refused while the program drains. Not to be destroyed while a coroutine
    /// waits here: that aborts with a message.
    [[nodiscard]] accept_operation accept() noexcept;

    /// Stops listening; a pending accept ends with errc::closed. Connections that were not accepted yet are closed.
    void close() noexcept;

    /// What was bound, with the port that the system chose.
    [[nodiscard]] endpoint local() const;
    /// Still owned by the listener; -1 after close().
    [[nodiscard]] int native_handle() const noexcept;

private:
    explicit listener(detail::listener_core* core) noexcept;
    detail::listener_core* core_;
};

class [[nodiscard]] listener::accept_operation : detail::suspension
{
public:
    bool await_ready() const noexcept { return false; }
    template <detail::coroutine_promise P>
    bool await_suspend(std::coroutine_handle<P> h) noexcept
    {
        return start(h, h.promise().env);
    }
    result<stream> await_resume() noexcept
    {
        if (!accepted_)
            return error_;
        return std::move(*accepted_);
    }

private:
    friend listener;
    friend detail::listener_core;
    explicit accept_operation(detail::listener_core& core) noexcept : core_(core) {}
    bool start(std::coroutine_handle<> h, detail::context const& env) noexcept;
    static void cancel(detail::suspension& self) noexcept;

    detail::listener_core& core_;
    std::optional<stream> accepted_;
    std::error_code error_;
};

} // namespace wring
