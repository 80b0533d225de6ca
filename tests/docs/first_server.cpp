// SPDX-License-Identifier: BSL-1.0
// README.md and the tutorial's first page: an echo server, whole.
#include "program.hpp"

#define main shown_main // the program below, to be tried by the one at the end

// [program]
#include <wring/wring.hpp>

using namespace wring;

// [session]
task<> session(stream peer) // one coroutine per connection; it owns the socket
{
    auto ws = co_await upgrade(std::move(peer));
    if (!ws) co_return; // no WebSocket: the request has been answered
    while (auto frame = co_await ws->read_frame())
        if (!co_await ws->write_frame(*frame)) break;
}
// [/session]

// [serve]
task<> serve(scope& sessions, std::string where)
{
    auto server = listener::bind(where).value();
    while (auto peer = co_await server.accept()) // until Ctrl-C
        sessions.spawn(session(std::move(*peer)));
}
// [/serve]

// [main]
int main(int argc, char** argv)
{
    return run(with_scope(serve, std::string(argc > 1 ? argv[1] : "127.0.0.1:9001")));
}
// [/main]
// [/program]

#undef main

task<> client(std::string url)
{
    auto ws = (co_await connect(url)).value();
    (co_await ws.write("hello")).value();
    auto reply = (co_await ws.read()).value();
    docs::expect(reply.is_text && reply.text() == "hello", "the server echoes");

    // A connection that is still open when the server is asked to stop is told so.
    auto other = (co_await connect(url)).value();
    (co_await ws.close()).value();
    docs::press_ctrl_c();
    auto end = co_await other.read();
    docs::expect(!end && end.error() == ws::closed, "the server closes cleanly when it stops");
    docs::expect(other.status().code == ws::close_code::going_away, "with 1001");
}

int main()
{
    return docs::try_server(shown_main, client);
}
