// SPDX-License-Identifier: BSL-1.0
// A WebSocket echo server: what comes in goes out again, on any path. GET / shows a page that tries it.
#include "echo_page.hpp"
#include "options.hpp"

using namespace wring;

task<response> page(request const& r)
{
    if (r.path() != "/")
        co_return response::refuse(404, "there is a page at /, and WebSocket everywhere\n");
    auto answer = response::html(echo_page);
    answer.headers.emplace_back("X-Content-Type-Options", "nosniff");
    co_return answer;
}

// A function of its own, so that the options are not kept in each session's frame.
task<result<ws::connection>> open(stream peer, command_line const& options)
{
    auto how = options.ws;
    how.origins = "*";
    how.page = page;
    return upgrade(std::move(peer), how);
}

// One coroutine per connection; it owns the socket.
task<> session(stream peer, command_line const& options)
{
    auto ws = co_await open(std::move(peer), options);
    if (!ws)
        co_return; // no WebSocket: the request has been answered
    while (auto frame = co_await ws->read_frame())
        if (!co_await ws->write_frame(*frame))
            break;
}

task<> accept_sessions(scope& sessions, std::string where, command_line const& options)
{
    auto server = listen_on(where, options.ws.tls ? "wss://" : "ws://");
    while (auto peer = co_await server.accept()) // until run() asks for stop
        sessions.spawn(session(std::move(*peer), options));
}

task<> serve(command_line const& options)
{
    scope sessions; // join() returns when every child has ended
    for (auto const& where : options.bind)
        sessions.spawn(accept_sessions(sessions, where, options));
    sessions.spawn(reload_on_hangup(options.ws.tls));
    co_await sessions.join();
}

int main(int argc, char** argv)
{
    auto const options = parse_command_line(argc, argv, "Echoes WebSocket messages; GET / shows a page to try it.",
                                            speaks::websocket);
    return run([&] { return serve(options); }, options.run);
}
