// SPDX-License-Identifier: BSL-1.0
// A WebSocket client: sends the lines of standard input, prints the messages that come back.
#include "input.hpp"
#include "options.hpp"

#include <cstdio>
#include <stdexcept>
#include <string>

using namespace wring;

// [send]
task<> send_lines(ws::connection& ws)
{
    input_lines input;
    auto line = co_await input.next();
    for (; line; line = co_await input.next())
        if (!co_await ws.write(*line))
            co_return;
    if (line.error() == errc::end_of_stream)
        (void)co_await ws.close(); // how that went is in ws.status()
}
// [/send]

// [talk]
task<> talk(client_options const& options)
{
    auto ws = co_await connect(options.url, {.subprotocols = options.subprotocols,
                                             .origin = options.origin,
                                             .headers = options.headers,
                                             .tls = options.tls,
                                             .deflate = options.deflate});
    if (!ws)
        throw std::runtime_error("can't connect to " + options.url + ": " + ws.error().message());
    scope sending;
    sending.spawn(send_lines(*ws));
    while (auto message = co_await ws->read()) {
        std::fwrite(message->payload.data(), 1, message->payload.size(), stdout);
        std::putchar('\n'), std::fflush(stdout);
    }
    sending.request_stop(); // there may be more input, but nobody to send it to
    co_await sending.join();

    auto const how = ws->status();
    if (how.open)
        co_return; // Ctrl-C. The end of `ws` closes the connection with 1001, and run() waits for that.
    if (how.error != ws::closed)
        throw std::runtime_error("lost the connection: " + how.error.message());
    if (how.closed_by_peer)
        std::fprintf(stderr, "client: closed by the server: %u%s%.*s\n", static_cast<unsigned>(how.code),
                     how.reason.empty() ? "" : " ", static_cast<int>(how.reason.size()), how.reason.data());
}
// [/talk]

int main(int argc, char** argv)
{
    auto const options = parse_client_options(argc, argv);
    return run(talk(options), options.run);
}
