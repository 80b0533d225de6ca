// SPDX-License-Identifier: BSL-1.0
// The echo server itself; whoever includes it has included wring's headers.
#pragma once

#include <cstdio>

using namespace wring;

task<> session(stream peer)
{
    auto ws = co_await upgrade(std::move(peer));
    if (!ws)
        co_return;
    while (auto message = co_await ws->read())
        if (!co_await ws->write(*message))
            break;
}

task<> serve()
{
    auto server = listener::bind("127.0.0.1:0").value();
    std::printf("listening on ws://%s\n", server.local().to_string().c_str());
    std::fflush(stdout);
    scope sessions;
    while (auto peer = co_await server.accept())
        sessions.spawn(session(std::move(*peer)));
    co_await sessions.join();
}

int main()
{
    return run(serve());
}
