// SPDX-License-Identifier: BSL-1.0
// The tutorial's third page: a client.
#include "program.hpp"

#include <algorithm>

using namespace wring;
using namespace std::chrono_literals;

// [talk]
task<> talk(std::string url)
{
    auto ws = co_await connect(url);
    if (!ws) {
        std::fprintf(stderr, "can't connect to %s: %s\n", url.c_str(), ws.error().message().c_str());
        co_return;
    }
    if (!co_await ws->write("hello"))
        co_return; // ws->status() says why
    auto reply = co_await timeout(1s, ws->read());
    if (reply)
        std::printf("%s\n", reply->to_string().c_str());
    else
        std::fprintf(stderr, "no reply: %s\n", reply.error().message().c_str());
    auto closed = co_await ws->close(); // 1000, and waits for the server's answer
    if (!closed)
        std::fprintf(stderr, "not closed cleanly: %s\n", closed.error().message().c_str());
}
// [/talk]

// [strict]
task<std::string> ask(std::string url, std::string question)
{
    auto ws = (co_await connect(url)).value(); // value() throws std::system_error
    (co_await ws.write(question)).value();
    auto answer = (co_await timeout(1s, ws.read())).value();
    co_return answer.to_string(); // ws closes on the way out, in the background
}
// [/strict]

// [options]
task<result<ws::connection>> connect_as_page(std::string url, std::string token)
{
    header const headers[] = {{"Authorization", token}};
    auto ws = co_await connect(url, {
        .subprotocols = "chat.v2, chat.v1", // what we speak, best first
        .origin = "https://example.org",
        .headers = headers,
        .handshake_timeout = 3s,
    });
    if (ws && ws->subprotocol() != "chat.v2")
        std::printf("an old server\n");
    co_return ws;
}
// [/options]

// [refused]
void explain(std::error_code error)
{
    if (error.category() == ws::http_category())
        std::printf("the server answered with HTTP status %d\n", error.value()); // 401, 404, 503 ...
    else if (error == std::errc::timed_out)
        std::printf("too slow\n");
    else
        std::printf("%s\n", error.message().c_str()); // connection refused, unknown host, a broken answer ...
}
// [/refused]

// [retry]
/// Tries until it works or is canceled, with longer and longer pauses.
task<result<ws::connection>> connect_patiently(std::string url)
{
    duration pause = 100ms;
    for (;;) {
        auto ws = co_await connect(url);
        if (ws || ws.error() == errc::canceled)
            co_return ws;
        if (auto slept = co_await sleep_for(pause); !slept)
            co_return slept.error(); // canceled
        pause = std::min<duration>(pause * 2, 30s);
    }
}
// [/retry]

task<response> allow(request const& r)
{
    if (r.field("Authorization").value_or("") != "Bearer abc")
        co_return response::refuse(401);
    co_return response::accept();
}

task<> session(stream peer, bool guarded)
{
    result<ws::connection> ws = errc::closed;
    if (guarded)
        ws = co_await upgrade(std::move(peer), {.subprotocols = "chat.v2", .origins = "*", .authorize = allow});
    else
        ws = co_await upgrade(std::move(peer));
    if (!ws)
        co_return;
    while (auto message = co_await ws->read())
        if (!co_await ws->write(*message))
            break;
}

task<> serve(listener& server, bool guarded)
{
    scope sessions;
    while (auto peer = co_await server.accept())
        sessions.spawn(session(std::move(*peer), guarded));
    co_await sessions.join();
}

task<> try_all()
{
    auto open = listener::bind("127.0.0.1:0").value();
    auto guarded = listener::bind("127.0.0.1:0").value();
    auto const url = "ws://" + open.local().to_string() + "/";
    auto const guarded_url = "ws://" + guarded.local().to_string() + "/chat?room=1";
    scope servers;
    servers.spawn(serve(open, false));
    servers.spawn(serve(guarded, true));

    co_await talk(url);
    auto const answer = co_await ask(url, "and you?");
    docs::expect(answer == "and you?", "ask() gives the answer");

    auto ws = co_await connect_as_page(guarded_url, "Bearer abc");
    docs::expect(ws && ws->subprotocol() == "chat.v2", "headers, origin and subprotocols are sent");
    auto refused = co_await connect_as_page(guarded_url, "Bearer x");
    docs::expect(refused.error() == std::error_code(401, ws::http_category()), "401 is an error of http_category()");
    explain(refused.error());

    servers.request_stop();
    co_await servers.join();
    open.close();
    (void)co_await sleep_for(50ms); // the socket is closed in one of the next turns of the loop
    auto nobody = co_await connect(url);
    docs::expect(!nobody && nobody.error() == std::errc::connection_refused, "nobody listens");
    auto gave_up = co_await timeout(300ms, connect_patiently(url));
    docs::expect(!gave_up && gave_up.error() == errc::timed_out, "retrying can be given up");
}

int main()
{
    return docs::run_in_time(try_all());
}
