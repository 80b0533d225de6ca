// SPDX-License-Identifier: BSL-1.0
// Limits, and the drain.
#include "http/server_loop.hpp"

#include "http/harness.hpp"

#include <csignal>

using namespace http_test;
using ws_test::close_payload;
using ws_test::masked;
using ws_test::read_wire;
using ws_test::request_text;

namespace {

task<> echo(ws::connection& ws)
{
    while (auto m = co_await ws.read()) {
        auto const sent = co_await ws.write(*m);
        if (!sent) break;
    }
}

task<stream> opened(endpoint at, std::string target = "/")
{
    auto client = (co_await connect_stream(at)).value();
    co_await send_text(client, request_text({}, target));
    auto const head = co_await read_head(client);
    CHECK(head.starts_with("HTTP/1.1 101 "));
    co_return client;
}

/// Until the server has so many connections.
task<> until_connections(server& app, std::size_t count)
{
    while (app.connections() != count) {
        auto const slept = co_await sleep_for(1ms);
        CHECK(slept.has_value());
    }
}

/// The close frame that comes next, answered.
task<unsigned> closed_with(stream& client)
{
    auto const bye = co_await read_wire(client);
    co_await ws_test::send(client, masked(0x88, close_payload(bye.close_code())));
    auto const rest = co_await read_rest(client);
    CHECK(rest.empty());
    co_return bye.close_code();
}

/// Runs `body(server, endpoint, serving)` beside a server that listens; the body stops it, or it goes on to its end.
void with_serving(server& app, task<> (*body)(server&, endpoint, scope&), std::string where = "127.0.0.1:0")
{
    endpoint at;
    app.on_listening([&](endpoint const& there) { at = there; });
    app.listen(std::move(where));
    on_loop([](server& a, endpoint& there, task<> (*f)(server&, endpoint, scope&)) -> task<> {
        scope serving;
        serving.spawn(a.serve());
        while (there.size() == 0)
            co_await turns(1);
        co_await f(a, there, serving);
        co_await serving.join();
    }(app, at, body));
    CHECK(app.connections() == 0);
}

} // namespace

// ---- limits --------------------------------------------------------------------------------------------------------

TEST_CASE("one connection too many is told 503 and when to come back; there is room again when one has left")
{
    for (std::string const& where : {std::string("127.0.0.1:0"), net_test::abstract_endpoint()}) {
        server app({.max_connections = 3, .max_unopened = 3});
        app.ws("/", echo);
        with_serving(
            app,
            [](server& a, endpoint at, scope&) -> task<> {
                std::vector<stream> clients;
                for (int i = 0; i < 3; ++i)
                    clients.push_back(co_await opened(at));
                for (int i = 0; i < 5; ++i) {
                    auto late = (co_await connect_stream(at)).value();
                    co_await send_text(late, request_text());
                    auto const r = co_await read_reply(late);
                    CHECK(r.status() == 503);
                    CHECK(r.has("Retry-After: 1"));
                    CHECK(r.closes());
                    auto const rest = co_await read_rest(late);
                    CHECK(rest.empty());
                }
                CHECK(a.connections() == 3);
                // Those inside have noticed nothing.
                co_await ws_test::send(clients[0], masked(0x81, "x"));
                auto const f = co_await read_wire(clients[0]);
                CHECK(f.payload == "x");
                clients.pop_back();
                co_await until_connections(a, 2);
                clients.push_back(co_await opened(at));
                a.stop();
            },
            where);
    }
}

TEST_CASE("the silent ones have less room, and do not keep others who talk from staying")
{
    server app({.max_connections = 10, .max_unopened = 2});
    app.page("/page", "x");
    app.ws("/", echo);
    with_serving(app, [](server& a, endpoint at, scope&) -> task<> {
        std::vector<stream> talking;
        for (int i = 0; i < 4; ++i) {
            talking.push_back(co_await opened(at)); // no more unopened
            auto client = (co_await connect_stream(at)).value();
            co_await send_text(client, request_for("/page"));
            auto const r = co_await read_reply(client);
            CHECK(r.status() == 200);
            talking.push_back(std::move(client));
        }
        std::vector<stream> silent;
        for (int i = 0; i < 3; ++i)
            silent.push_back((co_await connect_stream(at)).value());
        auto const r = co_await read_reply(silent.back());
        CHECK(r.status() == 503);
        CHECK(a.connections() == 10);
        a.stop();
    });
}

TEST_CASE("one address has its share")
{
    server app({.max_per_address = 2});
    app.ws("/", echo);
    with_serving(app, [](server& a, endpoint at, scope&) -> task<> {
        auto one = co_await opened(at);
        auto two = co_await opened(at);
        auto three = (co_await connect_stream(at)).value();
        auto const r = co_await read_reply(three);
        CHECK(r.status() == 503);
        {
            stream gone = std::move(one);
        }
        co_await until_connections(a, 1);
        auto four = co_await opened(at);
        a.stop();
    });
}

TEST_CASE("behind a proxy each client of its has a share")
{
    server app({.max_per_address = 1});
    app.trust_proxies("127.0.0.1");
    app.page("/", "x");
    with_serving(app, [](server& a, endpoint at, scope&) -> task<> {
        std::vector<stream> clients;
        auto const ask_from = [](stream& s, std::string from) -> task<int> {
            co_await send_text(s, "PROXY TCP4 " + from + " 198.51.100.2 1 2\r\n" + request_for("/"));
            auto const r = co_await read_reply(s);
            co_return r.status();
        };
        for (auto const& [from, status] : {std::pair("192.0.2.1", 200), {"192.0.2.2", 200}, {"192.0.2.1", 503}}) {
            clients.push_back((co_await connect_stream(at)).value());
            auto const got = co_await ask_from(clients.back(), from);
            CHECK(got == status);
        }
        a.stop();
    });
}

TEST_CASE("refusals to peers that do not go away are bounded")
{
    // A flood: more come than can be told so. Those are reset, and no descriptor is left over.
    net_test::no_descriptor_leaks const check;
    server app({.max_connections = 1, .max_unopened = 1});
    app.ws("/", echo);
    with_serving(app, [](server& a, endpoint at, scope&) -> task<> {
        auto inside = co_await opened(at);
        std::vector<stream> flood;
        for (int i = 0; i < 300; ++i)
            flood.push_back((co_await connect_stream(at)).value());
        co_await ws_test::send(inside, masked(0x81, "x"));
        auto const f = co_await read_wire(inside);
        CHECK(f.payload == "x");
        CHECK(a.connections() == 1);
        a.stop();
    });
}

TEST_CASE("counts are exact after all kinds of ends")
{
    server app;
    app.ws("/", echo);
    app.page("/page", "x");
    app.get("/throws", [](request&) -> task<response> { throw std::runtime_error("x"); });
    app.on_error([](server_error const&) {});
    with_serving(app, [](server& a, endpoint at, scope&) -> task<> {
        for (int i = 0; i < 40; ++i) {
            auto client = (co_await connect_stream(at)).value();
            switch (i % 8) {
            case 0:
                break; // leaves at once
            case 1:
                co_await send_text(client, "GET / HT");
                break;
            case 2:
                co_await send_text(client, request_for("/page"));
                break;
            case 3:
                co_await send_text(client, request_for("/none"));
                break;
            case 4:
                co_await send_text(client, request_for("/throws"));
                break;
            case 5:
                co_await send_text(client, request_text());
                break;
            case 6:
                co_await send_text(client, "nonsense\r\n\r\n");
                break;
            case 7: {
                co_await send_text(client, request_text());
                (void)co_await read_head(client);
                co_await ws_test::send(client, masked(0x83, "bad opcode"));
                break;
            }
            }
            if (i % 3 == 0) client.abort();
        }
        co_await until_connections(a, 0);
        a.stop();
    });
}

// ---- the drain -----------------------------------------------------------------------------------------------------

TEST_CASE("WebSockets are closed with 1001, whoever asks for the end")
{
    for (bool by_loop : {false, true}) {
        static bool loop_asks = false;
        loop_asks = by_loop;
        server app;
        app.ws("/", echo);
        with_serving(app, [](server& a, endpoint at, scope& serving) -> task<> {
            std::vector<stream> clients;
            for (int i = 0; i < 20; ++i)
                clients.push_back(co_await opened(at));
            if (loop_asks)
                serving.request_stop(); // as run() does to its root
            else
                a.stop();
            for (auto& c : clients) {
                auto const code = co_await closed_with(c);
                CHECK(code == 1001);
            }
        });
    }
}

TEST_CASE("SIGTERM drains the loops of a run()")
{
    server app;
    app.ws("/", echo);
    endpoint at;
    int told = 0;
    app.listen("127.0.0.1:0");
    app.on_listening([&](endpoint const& there) { at = there; });
    run_options options;
    options.threads = 2;
    auto const clients = [](server& a, endpoint& where, int& seen) -> task<> {
        (co_await detail::get_context()).stop = nullptr; // they are others
        while (a.connections() == 0 && where.size() == 0)
            co_await turns(1);
        std::vector<stream> many;
        for (int i = 0; i < 10; ++i)
            many.push_back(co_await opened(where));
        ::kill(::getpid(), SIGTERM);
        for (auto& c : many) {
            auto const code = co_await closed_with(c);
            seen += code == 1001;
        }
    };
    auto const first = [&clients](server& a, endpoint& where, int& seen) -> task<> {
        auto const both = co_await when_all(a.serve(), clients(a, where, seen));
        (void)both;
    };
    CHECK(run([&] { return this_loop().index() == 0 ? first(app, at, told) : app.serve(); }, options) == 0);
    CHECK(told == 10);
    CHECK(app.connections() == 0);
}

TEST_CASE("connections without a request are closed at once, and nobody new comes in")
{
    for (std::string const& where : {std::string("127.0.0.1:0"), net_test::abstract_endpoint()}) {
        server app;
        app.page("/", "x");
        with_serving(
            app,
            [](server& a, endpoint at, scope&) -> task<> {
                auto fresh = (co_await connect_stream(at)).value();
                auto idle = (co_await connect_stream(at)).value();
                co_await send_text(idle, request_for("/"));
                auto const r = co_await read_reply(idle);
                CHECK(r.status() == 200);
                co_await until_connections(a, 2);
                auto const begin = clock::now();
                a.stop();
                for (auto* s : {&fresh, &idle}) {
                    auto const rest = co_await read_rest(*s);
                    CHECK(rest.empty());
                }
                co_await until_connections(a, 0);
                CHECK(clock::now() - begin < 900ms); // not after the grace
                auto const late = co_await connect_stream(at);
                CHECK(late.error() == std::errc::connection_refused);
            },
            where);
    }
}

TEST_CASE("a request under way is answered, as the last of its connection")
{
    server app;
    static event* go = nullptr;
    static bool begun = false;
    event gate;
    go = &gate;
    begun = false;
    app.get("/slow", [](request&) -> task<response> {
        begun = true;
        auto const went = co_await go->wait();
        CHECK(went.has_value());
        co_return response(200, "done");
    });
    with_serving(app, [](server& a, endpoint at, scope&) -> task<> {
        auto client = (co_await connect_stream(at)).value();
        co_await send_text(client, request_for("/slow"));
        while (!begun)
            co_await turns(1);
        a.stop();
        co_await turns(5);
        go->set();
        auto const r = co_await read_reply(client);
        CHECK(r.body == "done");
        CHECK(r.closes());
    });
}

TEST_CASE("requests that take longer than the grace are canceled; what their handlers say is sent")
{
    server app({.drain_grace = 20ms});
    static int begun = 0;
    begun = 0;
    app.get("/says", [](request&) -> task<response> {
        ++begun;
        event never;
        auto const end = co_await never.wait();
        CHECK(end.error() == errc::canceled);
        co_return response(200, "as far as I got");
    });
    app.get("/throws", [](request&) -> task<response> {
        ++begun;
        event never;
        (co_await never.wait()).value();
        co_return response(200);
    });
    app.post("/reads", [](request& r) -> task<response> {
        ++begun;
        auto const body = (co_await r.body()).value();
        co_return response(200, body);
    });
    app.ws("/asks", echo, {.authorize = [](request const&) -> task<response> {
               ++begun;
               event never;
               auto const end = co_await never.wait();
               (void)end;
               co_return response::accept();
           }});
    with_serving(app, [](server& a, endpoint at, scope&) -> task<> {
        std::vector<stream> clients;
        for (auto const& text : {request_for("/says"), request_for("/throws"),
                                 request_for("/reads", "Content-Length: 5\r\n", "POST") + "he",
                                 request_text({}, "/asks"), std::string("GET /says HTTP/1.1\r\nHost:")}) {
            clients.push_back((co_await connect_stream(at)).value());
            co_await send_text(clients.back(), text);
        }
        while (begun < 4)
            co_await turns(1);
        a.stop();
        std::vector<reply> replies;
        for (auto& c : clients)
            replies.push_back(co_await read_reply(c));
        CHECK(replies[0].body == "as far as I got");
        CHECK(replies[1].status() == 503);
        CHECK(replies[2].status() == 503);
        CHECK(replies[3].status() == 503);
        CHECK(replies[4].status() == 503);
        for (auto const& r : replies)
            CHECK(r.closes());
    });
}

TEST_CASE("streams end whole")
{
    server app;
    app.get("/stream", [](request&) -> task<response> {
        co_return response::streamed("text/plain", [](body_writer& out) -> task<> {
            (co_await out.write("begun")).value();
            event never;
            auto const end = co_await never.wait();
            CHECK(end.error() == errc::canceled);
            auto const late = co_await out.write("late");
            CHECK(late.error() == errc::canceled);
        });
    });
    with_serving(app, [](server& a, endpoint at, scope&) -> task<> {
        auto client = (co_await connect_stream(at)).value();
        co_await send_text(client, request_for("/stream"));
        auto const head = co_await read_head(client);
        auto const begun = co_await read_bytes(client, 10);
        CHECK(begun == "5\r\nbegun\r\n");
        a.stop();
        auto const rest = co_await read_rest(client);
        CHECK(rest == "0\r\n\r\n");
    });
}

TEST_CASE("health says 503 for a while before the drain, and all else goes on")
{
    server app({.drain_delay = 200ms});
    app.health();
    app.page("/", "x");
    app.ws("/ws", echo);
    with_serving(app, [](server& a, endpoint at, scope&) -> task<> {
        auto inside = co_await opened(at, "/ws");
        auto health = (co_await connect_stream(at)).value();
        co_await send_text(health, request_for("/health"));
        auto const well = co_await read_reply(health);
        CHECK(well.status() == 200);
        a.stop();
        co_await turns(3);
        co_await send_text(health, request_for("/health"));
        auto const unwell = co_await read_reply(health);
        CHECK(unwell.status() == 503);
        CHECK(unwell.body == "draining\n");
        auto late = co_await opened(at, "/ws");
        co_await ws_test::send(late, masked(0x81, "x"));
        auto const f = co_await read_wire(late);
        CHECK(f.payload == "x");
        for (auto* s : {&inside, &late}) {
            auto const code = co_await closed_with(*s);
            CHECK(code == 1001);
        }
    });
}

TEST_CASE("WebSockets are closed at a rate")
{
    server app({.drain_rate = 100});
    app.ws("/", echo);
    with_serving(app, [](server& a, endpoint at, scope&) -> task<> {
        std::vector<stream> clients;
        for (int i = 0; i < 40; ++i)
            clients.push_back(co_await opened(at));
        auto const begin = clock::now();
        a.stop();
        // The newest are asked first; the order is nobody's business, the time is.
        for (auto& c : clients) {
            auto const code = co_await closed_with(c);
            CHECK(code == 1001);
        }
        CHECK(clock::now() - begin >= 300ms); // 40 at 100 a second, less the first step
    });
}

TEST_CASE("a rate that is too slow for the time there is goes up")
{
    server app({.drain_timeout = 1s, .drain_rate = 1});
    app.ws("/", echo);
    with_serving(app, [](server& a, endpoint at, scope&) -> task<> {
        std::vector<stream> clients;
        for (int i = 0; i < 60; ++i)
            clients.push_back(co_await opened(at));
        a.stop();
        for (auto& c : clients) {
            auto const code = co_await closed_with(c);
            CHECK(code == 1001);
        }
    });
}

TEST_CASE("peers that do not answer are cut off at the end of the time")
{
    server app({.drain_timeout = 100ms});
    app.ws("/", echo);
    with_serving(app, [](server& a, endpoint at, scope& serving) -> task<> {
        auto client = co_await opened(at);
        auto const begin = clock::now();
        a.stop();
        auto const bye = co_await read_wire(client);
        CHECK(bye.close_code() == 1001);
        co_await serving.join(); // although this side has said nothing
        CHECK(clock::now() - begin >= 100ms);
        CHECK(clock::now() - begin < 3s); // close_timeout is 5 s
        auto const end = co_await read_wire(client);
        CHECK(end.end == std::errc::connection_reset);
    });
}

TEST_CASE("a response that nobody takes is cut off at the end of the time")
{
    server app({.drain_grace = 10ms, .drain_timeout = 100ms});
    app.get("/", [](request&) -> task<response> { co_return response(200, std::string(50'000'000, 'x')); });
    with_serving(app, [](server& a, endpoint at, scope& serving) -> task<> {
        auto client = (co_await connect_stream(at)).value();
        co_await send_text(client, request_for("/"));
        (void)co_await read_bytes(client, 1000);
        auto const begin = clock::now();
        a.stop();
        co_await serving.join();
        CHECK(clock::now() - begin >= 100ms);
        CHECK(clock::now() - begin < 3s); // write_timeout is 30 s
    });
}

TEST_CASE("many connections under load are all told, and soon gone")
{
    server app;
    app.ws("/", echo);
    with_serving(app, [](server& a, endpoint at, scope& serving) -> task<> {
        std::vector<stream> clients;
        for (int i = 0; i < 300; ++i)
            clients.push_back(co_await opened(at));
        scope talkers;
        static int told = 0;
        told = 0;
        for (auto& c : clients)
            talkers.spawn([](stream& s) -> task<> {
                for (;;) { // sends and sends until the server closes
                    auto const sent = co_await s.write(masked(0x81, "load"));
                    auto const f = co_await read_wire(s);
                    if (f.first == 0x88) {
                        told += f.close_code() == 1001;
                        auto const answered = co_await s.write(masked(0x88, close_payload(1001)));
                        (void)answered;
                        break;
                    }
                    if (!sent || f.end) break;
                }
            }(c));
        co_await turns(20);
        auto const begin = clock::now();
        a.stop();
        co_await talkers.join();
        co_await serving.join();
        CHECK(told == 300);
        CHECK(clock::now() - begin < 10s);
    });
}

TEST_CASE("a server that has nobody ends at once")
{
    server app;
    with_serving(app, [](server& a, endpoint, scope& serving) -> task<> {
        auto const begin = clock::now();
        a.stop();
        co_await serving.join();
        CHECK(clock::now() - begin < 900ms);
    });
}
