// SPDX-License-Identifier: BSL-1.0
// A WebSocket client: sends the lines of standard input, prints the messages that come back.
#include "input.hpp"
#include "options.hpp"

#include <cstdio>
#include <stdexcept>
#include <string>

using namespace wring;

// [send]
template <class Client> // a connection, or a client that connects again
task<> send_lines(Client& ws)
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

void print(ws::message const& message)
{
    std::fwrite(message.payload.data(), 1, message.payload.size(), stdout);
    std::putchar('\n'), std::fflush(stdout);
}

// [talk]
task<> talk(client_options const& options)
{
    ws::refusal said;
    auto ws = co_await connect(options.url, options.connecting(&said));
    if (!ws)
        throw std::runtime_error("can't connect to " + options.url + ": " + (said.by_proxy ? "at the proxy: " : "") +
                                 ws.error().message() + (said.body.empty() ? "" : "\n" + said.body));
    scope sending;
    sending.spawn(send_lines(*ws));
    while (auto message = co_await ws->read())
        print(*message);
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

// [reconnect]
void tell(ws::client_change const& change)
{
    using namespace std::chrono;
    std::fprintf(stderr, "client: %s", ws::to_string(change.state));
    if (change.state == ws::client_state::waiting)
        std::fprintf(stderr, " for %lld ms", static_cast<long long>(ceil<milliseconds>(change.delay).count()));
    if (change.error)
        std::fprintf(stderr, ": %s", change.error.message().c_str());
    if (change.code != ws::close_code::no_status)
        std::fprintf(stderr, " (%u)", static_cast<unsigned>(change.code));
    std::fputc('\n', stderr);
}

task<> talk_on(client_options const& options)
{
    ws::reconnecting_client client(options.url, {.connect = options.connecting(), .on_change = tell});
    scope tasks;
    tasks.spawn(client.run());
    tasks.spawn(send_lines(client));
    while (auto message = co_await client.read())
        print(*message);
    tasks.request_stop();
    co_await tasks.join();
    if (client.error() != ws::closed && client.error() != errc::canceled)
        throw std::runtime_error("given up: " + client.error().message());
}
// [/reconnect]

int main(int argc, char** argv)
{
    auto const options = parse_client_options(argc, argv);
    return run(options.reconnect ? talk_on(options) : talk(options), options.run);
}
