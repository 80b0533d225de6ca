// SPDX-License-Identifier: BSL-1.0
// docs/howto/client.md: what a server says that refuses, redirects, proxies, connecting again.
#include "program.hpp"

#include <wring/reconnect.hpp>

#include <cstdlib>
#include <vector>

using namespace wring;
using namespace std::chrono_literals;

// [refusal]
task<result<ws::connection>> connect_or_explain(std::string url)
{
    ws::refusal said;
    auto ws = co_await connect(url, {.cookies = "session=4711", .refusal = &said});
    if (!ws && said.status != 0)
        std::fprintf(stderr, "%s answered %d: %s\n", said.by_proxy ? "the proxy" : "the server", said.status,
                     said.body.c_str()); // the first 4 KiB; said.headers has the rest of the answer
    else if (!ws)
        std::fprintf(stderr, "%s\n", ws.error().message().c_str());
    co_return ws;
}
// [/refusal]

// [redirect]
task<result<ws::connection>> connect_wherever(std::string url)
{
    return connect(std::move(url), {.max_redirects = 5});
}
// [/redirect]

// [proxy]
/// `proxy` is `http://user:password@proxy.example:3128`, or with https: or socks5:.
task<result<ws::connection>> connect_from_inside(std::string url, std::string proxy)
{
    ws::refusal said;
    auto ws = co_await connect(url, {.refusal = &said, .proxy = proxy});
    if (!ws && said.by_proxy)
        std::fprintf(stderr, "the proxy is the trouble: %s\n", ws.error().message().c_str());
    co_return ws;
}

task<result<ws::connection>> connect_as_curl_does(std::string url)
{
    return connect(std::move(url), {.proxy_from_environment = true});
}
// [/proxy]

// [reconnect]
/// After each opening, before anything else is sent.
task<result<>> subscribe(ws::connection& ws)
{
    auto sent = co_await ws.write("subscribe news");
    co_return sent;
}

/// Of every change of state.
void note(ws::client_change const& change)
{
    std::fprintf(stderr, "%s %s\n", ws::to_string(change.state), change.error ? change.error.message().c_str() : "");
}

task<> follow(std::string url)
{
    ws::reconnecting_client client(url, {
        .max_delay = 5s,
        .when_full = ws::outbox_policy::drop_oldest,
        .on_open = subscribe,
        .on_change = note,
    });
    scope running;
    running.spawn(client.run()); // keeps the connection up, as long as it runs
    (void)co_await client.write("hello"); // into the outbox: there may be no connection yet
    while (auto news = co_await client.read()) { // from whichever connection there is
        std::printf("%s\n", news->to_string().c_str());
        if (news->text() == "the end")
            (void)co_await client.close();
    }
    co_await running.join();
    std::printf("over: %s\n", client.error().message().c_str());
}
// [/reconnect]

/// Redirects from /old, refuses /closed, and hangs up on the first visitor of /flaky.
task<response> gate(request const& r)
{
    if (r.path() == "/old") {
        response there(302, {});
        there.headers.emplace_back("Location", "/new");
        co_return there;
    }
    if (r.path() == "/closed")
        co_return response::refuse(403, "not without an invitation\n");
    co_return response::accept();
}

task<> session(stream peer, int number, std::vector<std::string>& heard)
{
    auto ws = co_await upgrade(std::move(peer), {.authorize = gate});
    if (!ws)
        co_return;
    for (int i = 0; i < 2; ++i) {
        auto message = co_await ws->read();
        if (!message)
            co_return;
        heard.push_back(message->to_string());
        if (number == 0) { // "try again later"
            (void)co_await ws->close(ws::close_code::service_restart);
            co_return;
        }
        if (!co_await ws->write("the end"))
            co_return;
    }
    (void)co_await ws->read();
}

task<> serve(listener& server, std::vector<std::string>& heard)
{
    scope sessions;
    int number = 0;
    while (auto peer = co_await server.accept())
        sessions.spawn(session(std::move(*peer), number++, heard));
    co_await sessions.join();
}

task<> try_all()
{
    auto server = listener::bind("127.0.0.1:0").value();
    auto const url = "ws://" + server.local().to_string();
    std::vector<std::string> heard;
    scope servers;
    servers.spawn(serve(server, heard));

    co_await follow(url + "/flaky");
    docs::expect(heard.size() >= 2 && heard[0] == "subscribe news" && heard[1] == "subscribe news",
                 "each connection begins with the hook");

    auto moved = co_await connect_wherever(url + "/old");
    docs::expect(moved.has_value(), "a redirect is followed");
    auto refused = co_await connect_or_explain(url + "/closed");
    docs::expect(refused.error() == std::error_code(403, ws::http_category()), "403 is the error");
    auto no_proxy = co_await connect_from_inside("ws://server.test/", "http://127.0.0.1:1");
    docs::expect(!no_proxy, "nobody listens at the proxy's port");
    ::setenv("http_proxy", "http://127.0.0.1:1", 1);
    ::setenv("no_proxy", "127.0.0.0/8", 1);
    auto direct = co_await connect_as_curl_does(url + "/");
    docs::expect(direct.has_value(), "no_proxy spares this machine");
    servers.request_stop();
    co_await servers.join();
}

int main()
{
    return docs::run_in_time(try_all());
}
