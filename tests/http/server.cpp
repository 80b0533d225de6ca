// SPDX-License-Identifier: BSL-1.0
// What users write: set-up, WebSocket routes, sessions and how they end.
#include "http/harness.hpp"

#include "child.hpp"

#include <memory>

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

/// Upgrades, and gives the head of the answer.
task<std::string> upgrade_to(stream& client, std::string target, std::string more = {})
{
    co_await send_text(client, request_text(more, target));
    co_return co_await read_head(client);
}

std::string message_of(std::exception_ptr const& failure)
{
    try {
        std::rethrow_exception(failure);
    } catch (std::exception const& e) {
        return e.what();
    }
}

} // namespace

TEST_CASE("a WebSocket handler has the session, and its end closes with 1000")
{
    server app;
    app.ws("/echo", [](ws::connection& ws) -> task<> {
        auto const m = co_await ws.read();
        CHECK(m.value().text() == "hello");
        auto const sent = co_await ws.write("and goodbye");
        CHECK(sent.has_value());
    });
    with_client(app, [](server& a, stream& client) -> task<> {
        auto const head = co_await upgrade_to(client, "/echo");
        CHECK(head.starts_with("HTTP/1.1 101 "));
        co_await ws_test::send(client, masked(0x81, "hello"));
        auto const f = co_await read_wire(client);
        CHECK(f.payload == "and goodbye");
        auto const bye = co_await read_wire(client);
        CHECK(bye.close_code() == 1000);
        CHECK(a.connections() == 1);
        co_await ws_test::send(client, masked(0x88, close_payload(1000)));
        auto const rest = co_await read_rest(client);
        CHECK(rest.empty());
    });
    CHECK(app.connections() == 0);
}

TEST_CASE("a handler may keep the request for the session")
{
    server app;
    app.ws("/chat/{room}", [](ws::connection& ws, request const& r) -> task<> {
        for (int i = 0; i < 2; ++i) {
            auto const sent =
                co_await ws.write(std::string(r.param("room")) + " " + r.query_text("name").value_or("?") + " " +
                                  std::string(r.field("User-Agent").value_or("?")));
            CHECK(sent.has_value());
            auto const m = co_await ws.read(); // the request is there all the time
            CHECK(m.has_value());
        }
    });
    with_client(app, [](server&, stream& client) -> task<> {
        auto const head = co_await upgrade_to(client, "/chat/the%20blue?name=an+n", "User-Agent: test\r\n");
        CHECK(head.starts_with("HTTP/1.1 101 "));
        for (int i = 0; i < 2; ++i) {
            auto const f = co_await read_wire(client);
            CHECK(f.payload == "the blue an n test");
            co_await ws_test::send(client, masked(0x81, "next"));
        }
    });
}

TEST_CASE("an authorize hook decides before the 101, and tells the handler what it knows")
{
    struct gate
    {
        task<response> operator()(request const& r) { return decide(*this, r); }
        static task<response> decide(gate& self, request const& r)
        {
            ++self.asked;
            auto const token = bearer_token(r);
            co_await turns(2);
            if (!token || !equal_secrets("secret", *token)) co_return response::challenge("Bearer");
            r.attachment() = std::string("ann");
            auto yes = response::accept();
            yes.headers.emplace_back("X-User", "ann");
            co_return yes;
        }
        int asked = 0;
    };
    for (kind k : kinds) {
        gate guard;
        std::string user;
        server app;
        app.ws("/in",
               [&user](ws::connection&, request const& r) -> task<> {
                   user = std::any_cast<std::string>(r.attachment());
                   co_return;
               },
               {.authorize = guard});
        auto const no = ask(app, request_text({}, "/in"), k);
        CHECK(no.status() == 401);
        CHECK(no.has("WWW-Authenticate: Bearer"));
        CHECK(no.closes());
        auto const yes = ask_all(app, request_text("Authorization: Bearer secret\r\n", "/in"), 1, k);
        CHECK(yes.replies.at(0).status() == 101);
        CHECK(yes.replies.at(0).has("X-User: ann"));
        CHECK(user == "ann");
        CHECK(guard.asked == 2);
    }
}

TEST_CASE("a hook is canceled when its peer leaves, and its time is the handshake's")
{
    static bool canceled = false;
    static bool started = false;
    static int handled = 0;
    handled = 0;
    auto slow = [](request const&) -> task<response> {
        started = true;
        event never;
        auto const end = co_await never.wait();
        canceled = end.error() == errc::canceled;
        co_return response::accept();
    };
    auto const handler = [](ws::connection&) -> task<> {
        ++handled;
        co_return;
    };
    for (kind k : kinds) {
        server app;
        app.ws("/", handler, {.authorize = slow});
        started = canceled = false;
        with_client(
            app,
            [](server&, stream& client) -> task<> {
                co_await send_text(client, request_text());
                while (!started)
                    co_await turns(1);
                stream gone = std::move(client);
            },
            std::span(&k, 1));
        CHECK(canceled);

        server hurried({.handshake_timeout = 30ms});
        hurried.ws("/", handler, {.authorize = slow});
        canceled = false;
        CHECK(ask(hurried, request_text(), k).status() == 408);
        CHECK(canceled);
    }
    CHECK(handled == 0);
}

TEST_CASE("an exception of a handler ends its own session with 1011, and is told")
{
    server app;
    std::vector<std::string> told;
    app.on_error([&](server_error const& e) { told.push_back(std::string(e.route) + ": " + message_of(e.exception)); });
    app.ws("/throws/{how}", [](ws::connection& ws, request const& r) -> task<> {
        if (r.param("how") == "later") {
            auto const m = co_await ws.read();
            CHECK(m.has_value());
        }
        throw std::runtime_error(std::string(r.param("how")));
    });
    app.ws("/at-once", [](ws::connection&) -> task<> { throw std::runtime_error("no coroutine"); });
    app.ws("/hook", echo, {.authorize = [](request const&) -> task<response> {
               co_await turns(1);
               throw std::runtime_error("hook");
           }});
    app.ws("/echo", echo);
    with_client(
        app,
        [](server& a, stream& client) -> task<> {
            scope others;
            for (std::string target : {"/throws/now", "/throws/later", "/at-once"}) {
                auto streams = co_await connected(kind::memory);
                others.spawn(a.serve(std::move(streams.first)));
                auto const head = co_await upgrade_to(streams.second, target);
                CHECK(head.starts_with("HTTP/1.1 101 "));
                if (target == "/throws/later") co_await ws_test::send(streams.second, masked(0x81, "go"));
                auto const bye = co_await read_wire(streams.second);
                CHECK(bye.close_code() == 1011);
            }
            auto streams = co_await connected(kind::memory);
            others.spawn(a.serve(std::move(streams.first)));
            auto const head = co_await upgrade_to(streams.second, "/hook");
            CHECK(head.starts_with("HTTP/1.1 500 "));
            co_await others.join();
            // Nobody else has noticed.
            auto const fine = co_await upgrade_to(client, "/echo");
            CHECK(fine.starts_with("HTTP/1.1 101 "));
            co_await ws_test::send(client, masked(0x81, "x"));
            auto const f = co_await read_wire(client);
            CHECK(f.payload == "x");
        },
        std::array{kind::tcp});
    CHECK(told == std::vector<std::string>{"/throws/{how}: now", "/throws/{how}: later", "/at-once: no coroutine",
                                           "/hook: hook"});
    CHECK(app.connections() == 0);
}

TEST_CASE("what a canceled handler throws on its way out is no failure")
{
    server app;
    bool told = false;
    app.on_error([&](server_error const&) { told = true; });
    app.ws("/", [](ws::connection& ws) -> task<> {
        auto const m = (co_await ws.read()).value(); // throws errc::canceled in the drain
        (void)m;
    });
    with_client(app, [](server& a, stream& client) -> task<> {
        (void)co_await upgrade_to(client, "/");
        a.stop();
        auto const bye = co_await read_wire(client);
        CHECK(bye.close_code() == 1001);
    });
    CHECK(!told);
}

TEST_CASE("a handler that has closed itself keeps its code")
{
    server app;
    app.ws("/", [](ws::connection& ws) -> task<> {
        auto const end = co_await ws.close(ws::close_code{4000}, "mine");
        (void)end;
    });
    with_client(app, [](server&, stream& client) -> task<> {
        (void)co_await upgrade_to(client, "/");
        auto const bye = co_await read_wire(client);
        CHECK(bye.close_code() == 4000);
        CHECK(bye.reason() == "mine");
    });
}

TEST_CASE("handlers and hooks that capture live as long as the server, whoever runs them")
{
    auto const text = std::make_shared<std::string>("captured, and longer than a small string");
    server app;
    {
        std::string const copy = *text;
        app.ws("/ws", [copy, text](ws::connection& ws) -> task<> {
            co_await turns(2);
            auto const sent = co_await ws.write(copy + *text);
            CHECK(sent.has_value());
        });
        app.get("/get", [copy](request&) -> task<response> {
            co_await turns(2);
            co_return response(200, copy);
        });
        app.get("/stream", [copy](request&) -> task<response> {
            co_await turns(1);
            co_return response::streamed("text/plain", [copy](body_writer& out) -> task<> {
                co_await turns(2);
                (co_await out.write(copy)).value();
            });
        });
    }
    for (int i = 0; i < 3; ++i) {
        CHECK(ask(app, request_for("/get")).body == *text);
        CHECK(ask(app, request_for("/stream")).body == *text);
    }
    with_client(app, [](server&, stream& client) -> task<> {
        (void)co_await upgrade_to(client, "/ws");
        auto const f = co_await read_wire(client);
        CHECK(f.payload == "captured, and longer than a small stringcaptured, and longer than a small string");
    });
}

TEST_CASE("the texts and fields of a route's options are copied")
{
    server app;
    {
        std::string names = "second, first";
        std::string origins = "https://page.example";
        std::string name = "X-Served-By";
        std::string value = "a value that is long enough to be somewhere else";
        header const fields[] = {{name, value}};
        app.ws("/", echo, {.subprotocols = names, .origins = origins, .headers = fields});
        app.post("/post", [](request&) -> task<response> { co_return response(200, "x"); }, {.origins = origins});
        for (auto* text : {&names, &origins, &name, &value})
            text->assign(text->size(), '#');
    }
    auto const yes = ask_all(app, request_text("Sec-WebSocket-Protocol: first\r\nOrigin: https://page.example\r\n"), 1);
    CHECK(yes.replies.at(0).has("Sec-WebSocket-Protocol: first"));
    CHECK(yes.replies.at(0).has("X-Served-By: a value that is long enough to be somewhere else"));
    CHECK(ask(app, request_text("Origin: http://test\r\n")).status() == 403);
    CHECK(ask(app, post("/post", "x", "Origin: https://page.example\r\n")).status() == 200);
}

TEST_CASE("the limits of a route's options are its connections'")
{
    server app;
    app.ws("/small", echo, {.max_message = 5});
    with_client(app, [](server&, stream& client) -> task<> {
        (void)co_await upgrade_to(client, "/small");
        co_await ws_test::send(client, masked(0x81, "123456"));
        auto const bye = co_await read_wire(client);
        CHECK(bye.close_code() == 1009);
    });
}

TEST_CASE("a route may compress, and the others do not")
{
    server app;
    app.ws("/small", echo, {.deflate = {.on = true}});
    app.ws("/plain", echo);
    on_loop([](server& a) -> task<> {
        for (std::string const path : {"small", "plain"}) {
            auto [ours, theirs] = make_stream_pair();
            scope serving;
            serving.spawn(a.serve(std::move(theirs)));
            auto ws = co_await connect_over(std::move(ours), "ws://test/" + path);
            CHECK(ws.value().deflates() == (path == "small"));
            std::string const text(100'000, 'x');
            auto const sent = co_await ws->write(text);
            CHECK(sent);
            auto const back = co_await ws->read();
            CHECK(back.value().text() == text);
            auto const closed = co_await ws->close();
            CHECK(closed);
            co_await serving.join();
        }
    }(app));
}

TEST_CASE("pages and WebSockets share a path")
{
    server app;
    app.page("/", "<p>page");
    app.ws("/*", echo);
    app.health();
    CHECK(ask(app, request_for("/")).body == "<p>page");
    CHECK(ask_all(app, request_text(), 1).replies.at(0).status() == 101);
    CHECK(ask_all(app, request_text({}, "/any/where"), 1).replies.at(0).status() == 101);
    auto const other = ask(app, request_for("/any/where"));
    CHECK(other.status() == 426);
    CHECK(other.has("Sec-WebSocket-Version: 13"));
    CHECK(other.has("Connection: close, Upgrade"));
    auto const health = ask(app, request_for("/health"));
    CHECK(health.status() == 200);
    CHECK(health.body == "ok\n");
    CHECK(health.has("Cache-Control: no-store"));
}

TEST_CASE("a WebSocket may follow other requests on its connection")
{
    server app;
    app.page("/", "<p>page");
    app.ws("/ws", echo);
    with_client(app, [](server&, stream& client) -> task<> {
        co_await send_text(client, request_for("/") + request_text({}, "/ws"));
        auto const page = co_await read_reply(client);
        CHECK(page.body == "<p>page");
        auto const head = co_await read_head(client);
        CHECK(head.starts_with("HTTP/1.1 101 "));
        co_await ws_test::send(client, masked(0x81, "x"));
        auto const f = co_await read_wire(client);
        CHECK(f.payload == "x");
    });
}

TEST_CASE("paths and methods that are not there")
{
    server app;
    app.get("/a", [](request&) -> task<response> { co_return response(200, "x"); });
    app.post("/a", [](request&) -> task<response> { co_return response(200, "x"); });
    CHECK(ask(app, request_for("/b")).status() == 404);
    CHECK(ask(app, request_for("/a/")).status() == 404);
    auto const r = ask(app, request_for("/a", {}, "PUT"));
    CHECK(r.status() == 405);
    CHECK(r.has("Allow: GET, HEAD, POST"));
    server nothing;
    CHECK(ask(nothing, request_for("/")).status() == 404);
}

TEST_CASE("a server that is set up wrongly says so at once")
{
    server app;
    app.ws("/a/{x}", echo);
    CHECK_THROWS_AS(app.ws("/a/{y}", echo), std::invalid_argument);
    CHECK_THROWS_AS(app.ws("a", echo), std::invalid_argument);
    CHECK_THROWS_AS(app.page("/{", "x"), std::invalid_argument);
    CHECK_THROWS_AS(app.trust_proxies("nobody"), std::invalid_argument);
    CHECK_THROWS_AS(app.route("", "/b", [](request&) -> task<response> { co_return response(200); }),
                    std::invalid_argument);
    CHECK_THROWS_AS(app.route("A B", "/b", [](request&) -> task<response> { co_return response(200); }),
                    std::invalid_argument);
    // What was refused has left nothing behind.
    app.get("/b", [](request&) -> task<response> { co_return response(200, "b"); });
    CHECK(ask(app, request_for("/b")).body == "b");
}

TEST_CASE("a server that serves is not set up any more")
{
    server app;
    app.page("/", "x");
    with_client(
        app,
        [](server& a, stream&) -> task<> {
            CHECK_THROWS_AS(a.page("/b", "x"), std::logic_error);
            CHECK_THROWS_AS(a.listen("127.0.0.1:0"), std::logic_error);
            CHECK_THROWS_AS(a.listen_inherited(), std::logic_error);
            CHECK_THROWS_AS(a.on_error({}), std::logic_error);
            CHECK_THROWS_AS(a.on_listening({}), std::logic_error);
            CHECK_THROWS_AS(a.trust_proxies("unix"), std::logic_error);
            co_return;
        },
        std::array{kind::memory});
    app.page("/b", "b"); // afterwards it may be
    CHECK(ask(app, request_for("/b")).body == "b");
}

TEST_CASE("a stream that is closed is served to its end at once")
{
    server app;
    app.page("/", "x");
    on_loop([](server& a) -> task<> {
        auto streams = make_stream_pair();
        streams.first.abort();
        co_await a.serve(std::move(streams.first));
        CHECK(a.connections() == 0);
    }(app));
}

TEST_CASE("destroying a server that serves is told")
{
    auto const end = test::in_child([] {
        return run(
            []() -> task<> {
                scope serving;
                auto app = std::make_unique<server>();
                auto streams = make_stream_pair();
                serving.spawn(app->serve(std::move(streams.first)));
                co_await turns(2);
                app.reset();
            }(),
            {.handle_signals = false});
    });
    CHECK(end.aborted());
    CHECK(end.says("wring: a server was destroyed while it serves; it must outlive run()"));
}
