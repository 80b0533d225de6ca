// SPDX-License-Identifier: BSL-1.0
// The framework below WebSocket: an echo server for TCP and Unix sockets.
#include "options.hpp"

#include <array>

using namespace wring;

// [session]
task<> session(stream peer)
{
    std::array<std::byte, 4096> buffer;
    while (auto got = co_await peer.read_some(buffer)) // until the peer has closed
        if (!co_await peer.write(*got))
            break;
}
// [/session]

task<> accept_sessions(scope& sessions, std::string where)
{
    auto server = listen_on(where, "tcp://");
    while (auto peer = co_await server.accept())
        sessions.spawn(session(std::move(*peer)));
}

task<> serve(command_line const& options)
{
    scope sessions;
    for (auto const& where : options.bind)
        sessions.spawn(accept_sessions(sessions, where));
    co_await sessions.join();
}

int main(int argc, char** argv)
{
    auto const options = parse_command_line(argc, argv, "Echoes the bytes of TCP and Unix stream sockets.", speaks::tcp);
    return run([&] { return serve(options); }, options.run);
}
