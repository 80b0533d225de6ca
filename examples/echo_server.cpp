// SPDX-License-Identifier: BSL-1.0
// A WebSocket echo server: what comes in goes out again, on any path. GET / shows a page that tries it.
#include "echo_page.hpp"
#include "options.hpp"

using namespace wring;

// [page]
task<response> page(request const& r)
{
    if (r.path() != "/")
        co_return response::refuse(404, "there is a page at /, and WebSocket everywhere\n");
    co_return response::html(echo_page);
}
// [/page]

// [session]
// A function of its own, so that the options are not kept in each session's frame.
task<result<ws::connection>> open(stream peer, server_options const& options)
{
    auto how = options.ws;
    how.origins = "*";
    how.page = page;
    return upgrade(std::move(peer), how);
}

// One coroutine per connection; it owns the socket.
task<> session(stream peer, server_options const& options)
{
    auto ws = co_await open(std::move(peer), options);
    if (!ws)
        co_return; // no WebSocket: the request has been answered
    while (auto frame = co_await ws->read_frame())
        if (!co_await ws->write_frame(*frame))
            break;
}
// [/session]

// [serve]
task<> accept_sessions(scope& sessions, std::string where, server_options const& options)
{
    auto server = listen_on(where, options.ws.tls ? "wss://" : "ws://");
    while (auto peer = co_await server.accept()) // until run() asks for stop
        sessions.spawn(session(std::move(*peer), options));
}

task<> serve(server_options const& options)
{
    scope sessions; // join() returns when every child has ended
    for (auto const& where : options.bind)
        sessions.spawn(accept_sessions(sessions, where, options));
    sessions.spawn(reload_on_hangup(options.ws.tls));
    co_await sessions.join();
}
// [/serve]

int main(int argc, char** argv)
{
    auto const options = parse_server_options(argc, argv, "Echoes WebSocket messages; GET / shows a page to try it.");
    return run([&] { return serve(options); }, options.run);
}
