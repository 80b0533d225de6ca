// SPDX-License-Identifier: BSL-1.0
// docs/howto/drain.md and docs/howto/proxy-protocol.md: how a server ends, and who is in front of it.
#include "program.hpp"

using namespace wring;
using namespace std::chrono_literals;

task<> echo(ws::connection& ws)
{
    while (auto message = co_await ws.read())
        if (!co_await ws.write(*message))
            break;
}

// [program]
int serve(std::string where)
{
    server app({
        .drain_delay = 0s,     // how long health says 503 before anything else happens
        .drain_grace = 1s,     // for requests under way
        .drain_timeout = 10s,  // for everything
        .drain_rate = 500,     // WebSockets closed per second
    });
    if (app.listen_inherited() == 0) // what systemd has opened
        app.listen(where);           // started by hand
    app.ws("/", echo);
    app.health();
    return run([&] { return app.serve(); }, {.threads = 2});
}
// [/program]

// [handler]
/// A handler with something to say at its end: its read() ends by a cancel, and the close with 1001 comes after it.
task<> counting(ws::connection& ws)
{
    int count = 0;
    while (auto message = co_await ws.read())
        ++count;
    if (ws.is_open()) // it is the server that ends, not the client
        (void)ws.post(ws::shared_message::text(std::to_string(count) + " messages; come back soon"));
}
// [/handler]

// [proxy]
void behind_a_proxy(server& app)
{
    app.trust_proxies("10.0.0.0/8, fd00::/8, unix"); // these say whom a connection is really from
}
// [/proxy]

task<> try_server(std::string url)
{
    auto ws = (co_await connect(url)).value();
    (co_await ws.write("hello")).value();
    docs::expect((co_await ws.read()).value().text() == "hello", "it echoes");
    docs::press_ctrl_c();
    docs::expect((co_await ws.read()).error() == ws::closed, "the server closes");
    docs::expect(ws.status().code == ws::close_code::going_away, "with 1001");
}

task<> try_handlers()
{
    server app;
    app.ws("/count", counting);
    app.get("/who", [](request& r) -> task<response> { co_return response(200, r.remote().address()); });
    behind_a_proxy(app);
    scope serving;
    auto [ours, theirs] = make_stream_pair();
    serving.spawn(app.serve(std::move(theirs)));
    auto ws = (co_await connect_over(std::move(ours), "ws://test/count")).value();
    (co_await ws.write("one")).value();
    (co_await ws.ping()).value(); // it has come
    app.stop();
    docs::expect((co_await ws.read()).value().text() == "1 messages; come back soon", "the last words come");
    docs::expect((co_await ws.read()).error() == ws::closed, "and then the end");
    co_await serving.join();

    // From an address that is trusted: a Unix socket.
    auto door = listener::bind("unix:@wring-docs-" + std::to_string(::getpid())).value();
    auto proxy = (co_await connect_stream(door.local())).value();
    serving.spawn(app.serve((co_await door.accept()).value()));
    (co_await proxy.write("PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\r\n"
                          "GET /who HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"))
        .value();
    std::string answer;
    std::byte part[1024];
    while (auto got = co_await proxy.read_some(part))
        answer.append(reinterpret_cast<char const*>(got->data()), got->size());
    docs::expect(answer.ends_with("\r\n\r\n192.0.2.7"), "the client's address");
    co_await serving.join();
}

int main()
{
    if (int const status = docs::run_in_time(try_handlers()))
        return status;
    return docs::try_server([](int, char** argv) { return serve(argv[1]); }, try_server);
}
