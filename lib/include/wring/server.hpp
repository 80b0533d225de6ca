// SPDX-License-Identifier: BSL-1.0
// server: listens, routes, upgrades and answers, keeps its limits, and drains, in one object.
#pragma once

#include <wring/http.hpp>
#include <wring/listener.hpp>
#include <wring/tls.hpp>
#include <wring/ws.hpp>

#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace wring {

namespace detail {
class server_core;
}

/// Limits and times of a server. All are on by default. Where 0 is said to mean something else than "off", a large
/// number turns the limit off.
struct server_options
{
    // Connections, of all loops together. One that is too many is answered with 503 and Retry-After.
    std::size_t max_connections = 0;   ///< 0: nine tenths of the descriptors that this process may have
    std::size_t max_unopened = 0;      ///< that have not sent a whole request yet; 0: a quarter of max_connections
    std::size_t max_per_address = 0;   ///< of one IPv4 address, or one IPv6 network (/64); 0: off
    std::uint32_t max_requests = 1000; ///< of one connection, which is closed then; 0: off

    // Requests; 0 would let nothing through.
    std::uint32_t max_head = 16 * 1024;  ///< bytes of the head; more gets 431
    std::uint32_t max_target = 8 * 1024; ///< bytes of the target; more gets 414
    std::uint32_t max_fields = 100;      ///< lines of the head; more gets 431
    std::uint64_t max_body = 1 << 20;    ///< bytes of the body; more gets 413

    // Times; 0 turns one off.
    duration handshake_timeout = std::chrono::seconds(10);  ///< from accepting, TLS included, to the head or the 101
    duration keep_alive_timeout = std::chrono::seconds(15); ///< between a response and the next request
    duration body_timeout = std::chrono::seconds(30);       ///< for the whole body, from its head
    duration write_timeout = std::chrono::seconds(30);      ///< for the peer to take up to 64 KiB of a response

    // The end: see serve().
    duration drain_delay{};                            ///< health says 503, all else goes on: for balancers to notice
    duration drain_grace = std::chrono::seconds(1);    ///< for requests under way, before their handlers are canceled
    duration drain_timeout = std::chrono::seconds(10); ///< after drain_delay, before the rest is cut off; 0: off
    std::uint32_t drain_rate = 1000; ///< WebSockets and streams closed per second, more where time is short; 0: all
};
static_assert(std::is_trivially_destructible_v<server_options>);

/// What one route has of its own.
struct route_options
{
    std::uint64_t max_body = 0; ///< 0: server_options::max_body
    /// Which pages may send requests that change something, as ws::upgrade_options::origins says it: empty for the same
    /// origin, a list, or `*`. Not asked for GET and HEAD.
    std::string_view origins = {};
};
static_assert(std::is_trivially_destructible_v<route_options>);

/// How files() serves a folder.
struct files_options
{
    std::string_view index = "index.html";           ///< for a path that ends in `/`; empty: 404
    std::string_view cache_control = "no-cache";     ///< so clients ask each time whether theirs is fresh; empty: none
    std::uint64_t max_size = std::uint64_t(1) << 30; ///< bytes of a file; a larger one is not served
};
static_assert(std::is_trivially_destructible_v<files_options>);

/// What on_error() is told.
struct server_error
{
    std::string_view route; ///< its pattern; empty where there was none yet
    endpoint remote;
    std::exception_ptr exception;
};

/// A server for WebSocket, with the plain HTTP/1.1 that belongs beside it: pages, small files, forms, health. Not a web
/// framework.
///
/// Set up once, then served by any number of loops:
///
///     server app;
///     app.listen("127.0.0.1:9001");
///     app.ws("/chat/{room}", chat);
///     return run([&] { return app.serve(); }, {.threads = 4});
///
/// The server must outlive run(). Setting it up while it serves throws std::logic_error; a pattern that is none, or is
/// there already, std::invalid_argument.
///
/// Patterns: `/`, `/chat/{room}`, `/docs/*`. `{name}` stands for one segment that is not empty, `*` at the end for
/// everything behind. The most specific one that knows the method answers: a literal segment before `{name}`, that
/// before `*`. Otherwise 405 with Allow, or 404. HEAD is answered as GET without the body. Segments are compared
/// decoded; a path with a segment `.` or `..` gets 400.
///
/// Handlers are kept by the server, and called on every loop that serves, at the same time where there are several. So
/// a lambda that captures is a sound coroutine here, in contrast to anywhere else: its captures live as long as the
/// server. An exception that leaves a handler ends its own session only: the peer gets 500, or close 1011, and
/// on_error() is told.
class server
{
public:
    using ws_handler = std::function<task<>(ws::connection&)>;
    using ws_request_handler = std::function<task<>(ws::connection&, request const&)>;
    using http_handler = std::function<task<response>(request&)>;

    explicit server(server_options options = {});
    server(server const&) = delete;
    server& operator=(server const&) = delete;
    ~server();

    /// Listens on `where` (see listener::bind) once serve() runs. Any number of times.
    void listen(std::string where, listen_options options = {});
    /// The same for `https://` and `wss://`: TLS is spoken there. Throws std::invalid_argument for a client's context. A
    /// reload() of it is heeded while the server serves.
    void listen(std::string where, tls::context with, listen_options options = {});

    /// Serves the listening sockets that the service manager has handed over (systemd's socket activation: LISTEN_FDS,
    /// LISTEN_PID and LISTEN_FDNAMES), those called `name`, or all. Gives their number: 0 means that the program was
    /// started by hand, and should listen() itself. Once per process and name.
    std::size_t listen_inherited(std::string_view name = {}, listen_options options = {});
    std::size_t listen_inherited(std::string_view name, tls::context with, listen_options options = {});

    /// Trusts these peers to say whom a connection is really from: a list of addresses and networks separated by commas
    /// (`127.0.0.1, 10.0.0.0/8, fd00::/8`, `unix`). Their connections must begin with a PROXY header, version 1 or 2,
    /// ahead of TLS, and remote() gives what it says. Anybody else's must not. An empty list trusts nobody, which is the
    /// default.
    void trust_proxies(std::string_view list);

    /// WebSockets. The handler owns the session: when it returns the connection is closed, with 1000, or 1001 where the
    /// server drains. Of `options`, TLS and what concerns the head and the time of the handshake is the server's; its
    /// `authorize` runs before the 101, and a function object given for it must outlive the server. Texts and fields
    /// are copied. Other requests for such a path get 426, unless they have a route of their own.
    void ws(std::string_view pattern, ws_handler handler, ws::upgrade_options options = {});
    /// The same, with the request kept as long as the session: some 500 bytes of each idle connection.
    void ws(std::string_view pattern, ws_request_handler handler, ws::upgrade_options options = {});

    /// Plain requests. A handler may suspend, and is asked to stop when the peer leaves or the server has waited
    /// long enough in its drain; what it still says is sent.
    void get(std::string_view pattern, http_handler handler, route_options options = {});
    void post(std::string_view pattern, http_handler handler, route_options options = {});
    void route(std::string_view method, std::string_view pattern, http_handler handler, route_options options = {});

    /// A page from memory, copied, with an ETag.
    void page(std::string_view path, std::string_view content,
              std::string_view content_type = "text/html; charset=utf-8");

    /// The files of a folder below a path that ends in `/`: content type by name, ETag, Last-Modified; no ranges, no
    /// listing. Nothing outside the folder is ever opened, nor a name that begins with a dot (but for `.well-known`);
    /// symbolic links that stay inside are followed. Read on the thread pool in pieces. Throws std::system_error where
    /// there is no folder.
    void files(std::string_view prefix, std::string const& folder, files_options options = {});

    /// 200 while all is well, 503 once the server drains: for load balancers.
    void health(std::string_view path = "/health");

    /// Told of each exception that left a handler, on the loop it happened on. By default: one line on standard error a
    /// second at most.
    void on_error(std::function<void(server_error const&)> told);

    /// Told, once, where the server listens (with the ports that the system chose), when it does on the first loop.
    void on_listening(std::function<void(endpoint const&)> told);

    /// Serves until it is asked to stop: by run()'s own request (SIGTERM), by a cancel, or by stop(). Completes when
    /// every session has ended. Throws std::system_error where an address can't be listened on. Once on each loop.
    ///
    /// Then it drains: nobody new is accepted, connections without a request are closed, WebSockets and streams with
    /// 1001 at drain_rate, and requests under way have drain_grace to end. What is left after drain_timeout is cut off.
    /// A handler is asked to stop by a cancel, and waited for.
    ///
    /// Tells the service manager (NOTIFY_SOCKET) READY=1 when the first loop listens, STOPPING=1 when the drain begins.
    task<> serve();

    /// Serves one connection that was accepted, or made, elsewhere: in a test an in-memory one. Completes when it has
    /// ended; a cancel, or stop(), drains it.
    task<> serve(stream peer);

    /// Asks serve() to end on all loops. From any thread.
    void stop() noexcept;

    /// Sockets that are open at the moment, of all loops. From any thread.
    [[nodiscard]] std::size_t connections() const noexcept;

private:
    std::unique_ptr<detail::server_core> core_;
};

} // namespace wring
