// SPDX-License-Identifier: BSL-1.0
// Requests, their bodies, and responses on one connection.
#include "http/harness.hpp"

#include "engine/loop_core.hpp"

#include "child.hpp"

#include "proto/error.hpp"

using namespace http_test;
using ws_test::violation;

namespace {

task<response> hello(request& r)
{
    co_return response(200, "hello from " + std::string(r.path()));
}

task<response> echo_body(request& r)
{
    auto const body = (co_await r.body()).value();
    co_return response(200, "got " + body);
}

std::string chunked_post(std::string_view target, std::string_view body, std::string_view more = {})
{
    return request_for(target, "Transfer-Encoding: chunked\r\n" + std::string(more), "POST") + std::string(body);
}

/// Completes when it is canceled; notes that in `canceled`.
task<response> wait_for_cancel(bool& started, bool& canceled)
{
    started = true;
    event never;
    auto const end = co_await never.wait();
    canceled = end.error() == errc::canceled;
    co_return response(200, "too late");
}

} // namespace

TEST_CASE("responses to trace", "[.fresh]")
{
    server app;
    app.page("/page", "a secret page");
    app.get("/stream", [](request&) -> task<response> {
        co_return response::streamed("text/plain", [](body_writer& out) -> task<> {
            auto const sent = co_await out.write("a secret piece");
            CHECK(sent);
        });
    });
    app.get("/large", [](request&) -> task<response> {
        co_return response(200, std::string(100'000, 's') + "\r\na secret line\r\n");
    });
    for (char const* path : {"/page", "/stream", "/large"})
        CHECK(ask(app, request_for(path, "Connection: close\r\n")).body.find("a secret") != std::string::npos);
}

TEST_CASE("WRING_TRACE=handshake shows the heads of plain HTTP, and nothing of the bodies")
{
    ::setenv("WRING_TRACE", "handshake", 1);
    auto const end = test::in_fresh_process("responses to trace");
    ::unsetenv("WRING_TRACE");
    INFO(end.output);
    CHECK(end.exited_with(0));
    for (char const* line : {" < GET /page HTTP/1.1\n", " < GET /large HTTP/1.1\n", " > HTTP/1.1 200 OK\n",
                             " > (13 bytes of body)\n", " > Transfer-Encoding: chunked\n"})
        CHECK(end.says(line));
    CHECK_FALSE(end.says("secret"));
    CHECK_FALSE(end.says("sss"));
}

// ---- one request after the other -----------------------------------------------------------------------------------

TEST_CASE("a request is answered, and the connection goes on")
{
    for (kind k : kinds) {
        INFO(name_of(k));
        server app;
        app.get("/a", hello);
        auto const all =
            ask_all(app, request_for("/a") + request_for("/a") + request_for("/a", "Connection: close\r\n"), 9, k);
        REQUIRE(all.replies.size() == 3);
        for (auto const& r : all.replies) {
            CHECK(r.status() == 200);
            CHECK(r.body == "hello from /a");
            CHECK(r.has("Content-Length: 13"));
            CHECK(r.has("Content-Type: text/plain; charset=utf-8"));
            CHECK(r.field("Date").value_or("").ends_with(" GMT"));
        }
        CHECK(!all.replies[0].closes());
        CHECK(!all.replies[1].closes());
        CHECK(all.replies[2].closes());
        CHECK(all.rest.empty());
        CHECK(app.connections() == 0);
    }
}

TEST_CASE("requests that come byte by byte are answered as others")
{
    server app;
    app.get("/a", hello);
    app.post("/b", echo_body);
    on_loop([](server& a) -> task<> {
        auto streams = make_stream_pair({.chunk = 1});
        scope serving;
        serving.spawn(a.serve(std::move(streams.first)));
        conversation out;
        co_await converse(streams.second,
                          request_for("/a") + post("/b", "hello") + chunked_post("/b", "3\r\nabc\r\n0\r\n\r\n") +
                              request_for("/a", "Connection: close\r\n"),
                          9, out);
        co_await serving.join();
        REQUIRE(out.replies.size() == 4);
        CHECK(out.replies[0].body == "hello from /a");
        CHECK(out.replies[1].body == "got hello");
        CHECK(out.replies[2].body == "got abc");
        CHECK(out.replies[3].body == "hello from /a");
    }(app));
}

TEST_CASE("HTTP/1.0 gets one response, whose end is the connection's")
{
    server app;
    app.get("/a", hello);
    auto const all = ask_all(app, "GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" + request_for("/a"), 2);
    REQUIRE(all.replies.size() == 1);
    CHECK(all.replies[0].closes());
    CHECK(all.replies[0].body == "hello from /a");
    CHECK(all.rest.empty());
}

TEST_CASE("a connection has so many requests, and is closed with the last")
{
    server_options options;
    options.max_requests = 3;
    server app(options);
    app.get("/a", hello);
    std::string five;
    for (int i = 0; i < 5; ++i)
        five += request_for("/a");
    auto const all = ask_all(app, five, 9);
    REQUIRE(all.replies.size() == 3);
    CHECK(!all.replies[1].closes());
    CHECK(all.replies[2].closes());
}

TEST_CASE("a connection without a request is closed after its time, without a word")
{
    for (kind k : kinds) {
        server_options options;
        options.keep_alive_timeout = 20ms;
        server app(options);
        app.get("/a", hello);
        on_loop([](server& a, kind where) -> task<> {
            auto streams = co_await connected(where);
            scope serving;
            serving.spawn(a.serve(std::move(streams.first)));
            co_await send_text(streams.second, request_for("/a"));
            auto const first = co_await read_reply(streams.second);
            CHECK(!first.closes());
            auto const rest = co_await read_rest(streams.second);
            CHECK(rest.empty());
            co_await serving.join();
        }(app, k));
    }
}

TEST_CASE("the head has one time for all of it, from accepting")
{
    for (kind k : kinds) {
        server_options options;
        options.handshake_timeout = 50ms;
        server app(options);
        on_loop([](server& a, kind where) -> task<> {
            auto streams = co_await connected(where);
            scope serving;
            serving.spawn(a.serve(std::move(streams.first)));
            // A byte every now and then does not help.
            std::string const text = request_for("/a", "X: " + std::string(1000, 'x') + "\r\n");
            auto const begin = clock::now();
            std::string answer;
            for (std::size_t sent = 0; sent < text.size() && answer.empty(); ++sent) {
                auto const more = co_await streams.second.write(std::string_view(text).substr(sent, 1));
                (void)more; // refused by now, perhaps
                std::byte one[1];
                auto const got = co_await timeout(5ms, streams.second.read_some(one));
                if (got) answer = "H";
            }
            answer += co_await read_rest(streams.second);
            CHECK(answer.starts_with("HTTP/1.1 408 "));
            CHECK(clock::now() - begin >= 50ms);
            co_await serving.join();
        }(app, k));
    }
}

TEST_CASE("who says nothing at all is told nothing")
{
    server_options options;
    options.handshake_timeout = 20ms;
    server app(options);
    with_client(app, [](server&, stream& client) -> task<> {
        auto const rest = co_await read_rest(client);
        CHECK(rest.empty());
    });
}

TEST_CASE("a peer that leaves in the middle of a request is told nothing, and forgotten")
{
    for (kind k : kinds) {
        server app;
        app.post("/b", echo_body);
        for (std::string const& part :
             {std::string("GET /a HT"), request_for("/a").substr(0, 20), post("/b", "hello").substr(0, 60)})
            on_loop([](server& a, kind where, std::string text) -> task<> {
                auto streams = co_await connected(where);
                scope serving;
                serving.spawn(a.serve(std::move(streams.first)));
                co_await send_text(streams.second, text);
                co_await turns(3);
                {
                    stream gone = std::move(streams.second);
                }
                co_await serving.join();
            }(app, k, part));
        CHECK(app.connections() == 0);
    }
}

// ---- bodies --------------------------------------------------------------------------------------------------------

TEST_CASE("a body is read whole, of a known length or chunked, and the next request follows it")
{
    for (kind k : kinds) {
        INFO(name_of(k));
        server app;
        app.post("/b", echo_body);
        std::string const large(300'000, 'b');
        auto const all =
            ask_all(app,
                    post("/b", "hello") + post("/b", "") + chunked_post("/b", "5\r\nhello\r\n0\r\nX: y\r\n\r\n") +
                        post("/b", large) + chunked_post("/b", "0\r\n\r\n", "Connection: close\r\n"),
                    9, k);
        REQUIRE(all.replies.size() == 5);
        CHECK(all.replies[0].body == "got hello");
        CHECK(all.replies[1].body == "got ");
        CHECK(all.replies[2].body == "got hello");
        CHECK(all.replies[3].body == "got " + large);
        CHECK(all.replies[4].body == "got ");
    }
}

TEST_CASE("a body is read in pieces as they come, while the handler decides when")
{
    for (kind k : kinds) {
        server app({.max_body = 100'000'000});
        app.post("/sum", [](request& r) -> task<response> {
            std::size_t size = 0;
            std::size_t most = 0;
            auto piece = co_await r.read_some();
            for (; piece; piece = co_await r.read_some()) {
                size += piece->size();
                most = std::max(most, piece->size());
                if (size % 7 == 0) co_await turns(1); // back pressure
            }
            CHECK(piece.error() == errc::end_of_stream);
            auto const again = co_await r.read_some();
            CHECK(again.error() == errc::end_of_stream);
            CHECK(most <= detail::loop_core::require().blocks().capacity());
            co_return response(200, std::to_string(size));
        });
        std::string chunks;
        for (int i = 0; i < 200; ++i)
            chunks += "1000\r\n" + std::string(4096, 'c') + "\r\n";
        auto const all = ask_all(app,
                                 post("/sum", std::string(1'000'000, 'b')) +
                                     chunked_post("/sum", chunks + "0\r\n\r\n", "Connection: close\r\n"),
                                 9, k);
        REQUIRE(all.replies.size() == 2);
        CHECK(all.replies[0].body == "1000000");
        CHECK(all.replies[1].body == "819200");
    }
}

TEST_CASE("a body over its limit is refused, and exactly at it passes; each route may have its own")
{
    server app({.max_body = 10});
    app.post("/b", echo_body);
    app.post("/large", echo_body, {.max_body = 20});
    CHECK(ask(app, post("/b", "0123456789")).body == "got 0123456789");
    CHECK(ask(app, post("/b", "01234567890")).status() == 413);
    CHECK(ask(app, chunked_post("/b", "a\r\n0123456789\r\n0\r\n\r\n")).body == "got 0123456789");
    CHECK(ask(app, chunked_post("/b", "a\r\n0123456789\r\n1\r\nx\r\n0\r\n\r\n")).status() == 413);
    CHECK(ask(app, post("/large", "01234567890123456789")).status() == 200);
    CHECK(ask(app, post("/large", "012345678901234567890")).status() == 413);
}

TEST_CASE("what the handler does not read of a body ends the connection, unless it is here already", "[sizes]")
{
    for (kind k : kinds) {
        server app;
        app.post("/ignore", [](request&) -> task<response> { co_return response(200, "ignored"); });
        auto const here = ask_all(app, post("/ignore", "hello") + post("/ignore", "x", "Connection: close\r\n"), 9, k);
        REQUIRE(here.replies.size() == 2);
        auto const more =
            ask_all(app, request_for("/ignore", "Content-Length: 500000\r\n", "POST") + "the beginning", 9, k);
        REQUIRE(more.replies.size() == 1);
        CHECK(more.replies[0].body == "ignored");
        CHECK(more.replies[0].closes());
    }
}

TEST_CASE("a body has one time for all of it")
{
    server_options options;
    options.body_timeout = 30ms;
    server app(options);
    static std::error_code seen;
    seen = {};
    app.post("/b", [](request& r) -> task<response> {
        auto const body = co_await r.body();
        seen = body.error();
        (void)body.value();
        co_return response(200);
    });
    auto const r = ask(app, request_for("/b", "Content-Length: 5\r\n", "POST") + "hel");
    CHECK(r.status() == 408);
    CHECK(r.closes());
    CHECK(seen == violation(proto::errc::body_timeout));
}

TEST_CASE("a handler hears what is wrong with a body, and may answer that itself")
{
    server app;
    app.post("/b", [](request& r) -> task<response> {
        auto const body = co_await r.body();
        auto const again = co_await r.read_some();
        CHECK(again.error() == body.error());
        co_return response(body ? 200 : 422, body.error().message());
    });
    auto const r = ask(app, chunked_post("/b", "5\r\nhelloX"));
    CHECK(r.status() == 422);
    CHECK(r.body == "chunk does not end where its size says");
    CHECK(r.closes());
}

TEST_CASE("a canceled read of the body loses no byte")
{
    for (kind k : kinds) {
        server app;
        app.post("/b", [](request& r) -> task<response> {
            std::string all;
            int canceled = 0;
            for (;;) {
                auto const piece = co_await timeout(1ms, r.read_some());
                if (piece)
                    all += *piece;
                else if (piece.error() == errc::timed_out)
                    ++canceled;
                else
                    break;
            }
            CHECK(canceled > 0);
            co_return response(200, all);
        });
        on_loop([](server& a, kind where) -> task<> {
            auto streams = co_await connected(where);
            scope serving;
            serving.spawn(a.serve(std::move(streams.first)));
            co_await send_text(streams.second,
                               request_for("/b", "Content-Length: 10\r\nConnection: close\r\n", "POST"));
            for (char const* part : {"01", "234", "5678", "9"}) {
                auto const slept = co_await sleep_for(5ms);
                CHECK(slept.has_value());
                co_await send_text(streams.second, part);
            }
            auto const reply = co_await read_reply(streams.second);
            CHECK(reply.body == "0123456789");
            co_await serving.join();
        }(app, k));
    }
}

TEST_CASE("a client that has said all it has to say is answered")
{
    // It has ended its side of the stream with the request, as netcat does.
    for (kind k : kinds) {
        server app;
        app.get("/a", hello);
        app.post("/b", echo_body);
        for (auto const& text : {request_for("/a"), post("/b", "hello"), request_for("/a") + post("/b", "hello")})
            on_loop([](server& a, kind where, std::string all) -> task<> {
                auto streams = co_await connected(where);
                co_await send_text(streams.second, all);
                streams.second.shutdown();
                co_await turns(3);
                scope serving;
                serving.spawn(a.serve(std::move(streams.first)));
                auto const rest = co_await read_rest(streams.second);
                CHECK(rest.starts_with("HTTP/1.1 200 OK\r\n"));
                if (all.find("hello") != all.npos) CHECK(rest.ends_with("got hello"));
                co_await serving.join();
            }(app, k, text));
    }
}

// ---- responses -----------------------------------------------------------------------------------------------------

TEST_CASE("a response has its status, its fields and its body")
{
    server app;
    app.get("/a", [](request&) -> task<response> {
        response r(201, "{}");
        r.content_type = "application/json";
        r.headers.emplace_back("Location", "/a/1");
        r.headers.emplace_back("Set-Cookie", "a=1");
        r.headers.emplace_back("Set-Cookie", "b=2");
        co_return r;
    });
    auto const r = ask(app, request_for("/a"));
    CHECK(r.head.starts_with("HTTP/1.1 201 Created\r\n"));
    CHECK(r.has("Content-Type: application/json"));
    CHECK(r.has("Location: /a/1"));
    CHECK(r.has("Set-Cookie: a=1"));
    CHECK(r.has("Set-Cookie: b=2"));
    CHECK(r.body == "{}");
    CHECK(!r.closes());
}

TEST_CASE("responses without content have none, and the connection goes on")
{
    server app;
    app.get("/204", [](request&) -> task<response> { co_return response(204, "not sent"); });
    app.get("/304", [](request&) -> task<response> { co_return response(304, "not sent"); });
    app.get("/a", hello);
    auto const all =
        ask_all(app, request_for("/204") + request_for("/304") + request_for("/a", "Connection: close\r\n"), 9);
    REQUIRE(all.replies.size() == 3);
    for (int i : {0, 1})
        CHECK(!all.replies[static_cast<std::size_t>(i)].field("Content-Length"));
    CHECK(all.replies[2].body == "hello from /a");
}

TEST_CASE("HEAD is answered as GET, without the body")
{
    server app;
    app.get("/a", hello);
    app.get("/stream", [](request&) -> task<response> {
        co_return response::streamed("text/plain",
                                     [](body_writer&) -> task<> { throw std::runtime_error("not asked for"); });
    });
    app.page("/page", "<p>");
    for (char const* path : {"/a", "/page"}) {
        auto const r = ask(app, request_for(path, "Connection: close\r\n", "HEAD"));
        CHECK(r.status() == 200);
        CHECK(r.field("Content-Length"));
        CHECK(r.body.empty());
    }
    auto const streamed = ask(app, request_for("/stream", "Connection: close\r\n", "HEAD"));
    CHECK(streamed.status() == 200);
    CHECK(!streamed.field("Content-Length"));
}

TEST_CASE("a response that can't be sent is 500, and no field ends a line early")
{
    server app;
    int which = 0;
    app.get("/a", [&which](request&) -> task<response> {
        response r(200, "body");
        switch (which) {
        case 0:
            r.status = 101;
            break;
        case 1:
            r.status = 600;
            break;
        case 2:
            r.headers.emplace_back("X", "a\r\nY: b");
            break;
        case 3:
            r.headers.emplace_back("Content-Length", "1");
            break;
        case 4:
            r.headers.emplace_back("Transfer-Encoding", "chunked");
            break;
        case 5:
            r.headers.emplace_back("Connection", "keep-alive");
            break;
        case 6:
            r.headers.emplace_back("X Y", "a");
            break;
        case 7:
            r.content_type = "a\nb";
            break;
        case 8:
            r.headers.emplace_back("X", std::string("a\0b", 3));
            break;
        case 9:
            r.status = -1;
            break;
        case 10:
            r.status = 65536 + 200;
            break;
        }
        co_return r;
    });
    for (which = 0; which <= 10; ++which) {
        INFO(which);
        auto const r = ask(app, request_for("/a"));
        CHECK(r.status() == 500);
        CHECK(!r.field("Y"));
        CHECK(r.body.empty());
    }
}

TEST_CASE("large responses arrive whole at a slow reader")
{
    std::string const large(test::load(3'000'000, 300'000), 'r');
    for (kind k : kinds) {
        server app;
        app.get("/a", [&large](request&) -> task<response> { co_return response(200, large); });
        app.page("/page", large, "text/plain");
        auto const all = ask_all(app, request_for("/a") + request_for("/page", "Connection: close\r\n"), 9, k);
        REQUIRE(all.replies.size() == 2);
        CHECK(all.replies[0].body == large);
        CHECK(all.replies[1].body == large);
    }
}

TEST_CASE("a peer that does not take its response is dropped")
{
    server_options options;
    options.write_timeout = 50ms;
    server app(options);
    app.get("/a", [](request&) -> task<response> { co_return response(200, std::string(20'000'000, 'r')); });
    with_client(app, [](server& a, stream& client) -> task<> {
        co_await send_text(client, request_for("/a"));
        while (a.connections() > 0) { // without reading
            auto const slept = co_await sleep_for(5ms);
            CHECK(slept.has_value());
        }
    });
}

TEST_CASE("a page from memory has a tag, and is not sent twice")
{
    server app;
    app.page("/", "<p>hello");
    app.page("/x.css", "p {}", "text/css");
    auto const first = ask(app, request_for("/"));
    CHECK(first.status() == 200);
    CHECK(first.body == "<p>hello");
    CHECK(first.has("Content-Type: text/html; charset=utf-8"));
    CHECK(first.has("X-Content-Type-Options: nosniff"));
    CHECK(first.has("Cache-Control: no-cache"));
    auto const tag = first.field("ETag").value();
    auto const again = ask(app, request_for("/", "If-None-Match: W/\"x\", " + tag + "\r\n"));
    CHECK(again.status() == 304);
    CHECK(again.body.empty());
    CHECK(again.field("ETag") == tag);
    auto const css = ask(app, request_for("/x.css"));
    CHECK(css.has("Content-Type: text/css"));
    CHECK(css.field("ETag") != tag);
    CHECK(ask(app, post("/", "x")).has("Allow: GET, HEAD"));
}

// ---- handlers ------------------------------------------------------------------------------------------------------

TEST_CASE("a handler sees the parameters of its route, the query and the peer")
{
    server app;
    app.get("/chat/{room}/*", [](request& r) -> task<response> {
        CHECK(r.remote().address() == "127.0.0.1");
        co_return response(200, std::string(r.param("room")) + "|" + std::string(r.param("*")) + "|" +
                                    r.query_text("q").value_or("none"));
    });
    CHECK(ask(app, request_for("/chat/a%20b/c/d?q=1+2"), kind::tcp).body == "a b|c/d|1 2");
    CHECK(ask(app, request_for("/chat/x/"), kind::tcp).body == "x||none");
}

TEST_CASE("an exception of a handler is 500, told, and no more than that")
{
    for (kind k : kinds) {
        server app;
        std::vector<std::string> told;
        app.on_error([&told](server_error const& e) {
            try {
                std::rethrow_exception(e.exception);
            } catch (std::exception const& x) {
                told.push_back(std::string(e.route) + ": " + x.what());
            }
        });
        app.get("/throws/{x}", [](request&) -> task<response> {
            co_await turns(1);
            throw std::runtime_error("broken");
        });
        app.get("/at-once", [](request&) -> task<response> { throw std::runtime_error("no coroutine"); });
        app.get("/a", hello);
        auto const r = ask(app, request_for("/throws/1"), k);
        CHECK(r.status() == 500);
        CHECK(r.closes());
        CHECK(r.body.find("broken") == r.body.npos); // not for strangers
        CHECK(ask(app, request_for("/at-once"), k).status() == 500);
        CHECK(ask(app, request_for("/a"), k).status() == 200);
        CHECK(told == std::vector<std::string>{"/throws/{x}: broken", "/at-once: no coroutine"});
    }
}

TEST_CASE("a handler is canceled when its peer leaves")
{
    for (kind k : kinds) {
        server app;
        bool started = false;
        bool canceled = false;
        bool told = false;
        app.on_error([&](server_error const&) { told = true; });
        app.get("/wait", [&](request&) { return wait_for_cancel(started, canceled); });
        app.get("/value", [&](request&) -> task<response> {
            started = true;
            event never;
            (co_await never.wait()).value(); // throws what the cancel gives
            co_return response(200);
        });
        for (char const* path : {"/wait", "/value"}) {
            started = false;
            on_loop([](server& a, kind where, std::string text, bool& begun) -> task<> {
                auto streams = co_await connected(where);
                scope serving;
                serving.spawn(a.serve(std::move(streams.first)));
                co_await send_text(streams.second, text);
                while (!begun)
                    co_await turns(1);
                {
                    stream gone = std::move(streams.second);
                }
                co_await serving.join();
            }(app, k, request_for(path), started));
        }
        CHECK(canceled);
        CHECK(!told);
        CHECK(app.connections() == 0);
    }
}

TEST_CASE("requests of foreign pages that change something are refused, unless the route lets them")
{
    server app;
    app.post("/own", echo_body);
    app.post("/listed", echo_body, {.origins = "https://one.example, https://two.example"});
    app.post("/any", echo_body, {.origins = "*"});
    app.get("/read", hello);
    app.route("DELETE", "/own", hello);
    std::string const foreign = "Origin: https://two.example\r\n";
    CHECK(ask(app, post("/own", "x", foreign)).status() == 403);
    CHECK(ask(app, post("/own", "x", "Origin: null\r\n")).status() == 403);
    CHECK(ask(app, post("/own", "x", "Origin: http://test\r\n")).status() == 200);
    CHECK(ask(app, post("/own", "x")).status() == 200); // a program
    CHECK(ask(app, post("/listed", "x", foreign)).status() == 200);
    CHECK(ask(app, post("/listed", "x", "Origin: http://test\r\n")).status() == 403);
    CHECK(ask(app, post("/any", "x", foreign)).status() == 200);
    CHECK(ask(app, request_for("/read", foreign)).status() == 200);
    CHECK(ask(app, request_for("/own", foreign, "DELETE")).status() == 403);
}

// ---- streams -------------------------------------------------------------------------------------------------------

TEST_CASE("a streamed response comes in pieces, each at once, and has an end")
{
    for (kind k : kinds) {
        INFO(name_of(k));
        server app;
        static event* next_piece = nullptr;
        event go;
        next_piece = &go;
        app.get("/stream", [](request&) -> task<response> {
            int captured = 7; // no constant: it must be there when the stream runs
            co_return response::streamed("text/event-stream", [captured](body_writer& out) -> task<> {
                for (int i = 0; i < 3; ++i) {
                    auto const sent =
                        co_await out.write("piece " + std::to_string(i) + " of " + std::to_string(captured));
                    CHECK(sent.has_value());
                    auto const nothing = co_await out.write("");
                    CHECK(nothing.has_value());
                    next_piece->reset();
                    auto const went = co_await next_piece->wait();
                    CHECK(went.has_value());
                }
                (co_await out.write(std::string(100'000, 'l'))).value();
            });
        });
        app.get("/a", hello);
        with_client(
            app,
            [](server&, stream& client) -> task<> {
                co_await send_text(client, request_for("/stream") + request_for("/a"));
                auto const head = co_await read_head(client);
                CHECK(head.find("Transfer-Encoding: chunked\r\n") != head.npos);
                CHECK(head.find("Content-Type: text/event-stream\r\n") != head.npos);
                for (int i = 0; i < 3; ++i) {
                    auto const chunk = co_await read_bytes(client, 16 + 1);
                    CHECK(chunk == "c\r\npiece " + std::to_string(i) + " of 7\r\n");
                    next_piece->set();
                }
                auto const large = co_await read_bytes(client, 100'000 + 9);
                CHECK(large.starts_with("186a0\r\nl"));
                auto const end = co_await read_bytes(client, 5);
                CHECK(end == "0\r\n\r\n");
                auto const next = co_await read_reply(client);
                CHECK(next.body == "hello from /a");
            },
            std::span(&k, 1));
    }
}

TEST_CASE("a streamed response to HTTP/1.0 ends with its connection")
{
    server app;
    app.get("/stream", [](request&) -> task<response> {
        co_return response::streamed("text/plain", [](body_writer& out) -> task<> {
            (co_await out.write("one ")).value();
            (co_await out.write("two")).value();
        });
    });
    auto const all = ask_all(app, "GET /stream HTTP/1.0\r\n\r\n", 1);
    REQUIRE(all.replies.size() == 1);
    CHECK(!all.replies[0].field("Transfer-Encoding"));
    CHECK(all.replies[0].closes());
    CHECK(all.replies[0].body == "one two");
}

TEST_CASE("a stream ends when its peer leaves")
{
    for (kind k : kinds) {
        server app;
        static bool ended = false;
        ended = false;
        app.get("/stream", [](request&) -> task<response> {
            co_return response::streamed("text/plain", [](body_writer& out) -> task<> {
                (co_await out.write("begun")).value();
                event never;
                auto const end = co_await never.wait();
                CHECK(end.error() == errc::canceled);
                ended = true;
            });
        });
        with_client(
            app,
            [](server&, stream& client) -> task<> {
                co_await send_text(client, request_for("/stream"));
                (void)co_await read_head(client);
                (void)co_await read_bytes(client, 10);
                stream gone = std::move(client);
                co_return;
            },
            std::span(&k, 1));
        CHECK(ended);
    }
}

TEST_CASE("a stream that fails is cut off, so that nobody takes it for whole")
{
    for (kind k : kinds) {
        server app;
        std::string told;
        app.on_error([&told](server_error const& e) { told = e.route; });
        app.get("/stream", [](request&) -> task<response> {
            co_return response::streamed("text/plain", [](body_writer& out) -> task<> {
                (co_await out.write("begun")).value();
                throw std::runtime_error("broken");
            });
        });
        with_client(
            app,
            [](server&, stream& client) -> task<> {
                co_await send_text(client, request_for("/stream"));
                (void)co_await read_head(client);
                auto const rest = co_await read_rest(client);
                CHECK(rest.find("0\r\n\r\n") == rest.npos);
            },
            std::span(&k, 1));
        CHECK(told == "/stream");
    }
}

TEST_CASE("two coroutines do not write to one stream")
{
    server app({.write_timeout = 10s});
    app.get("/stream", [](request&) -> task<response> {
        co_return response::streamed("text/plain", [](body_writer& out) -> task<> {
            std::string const large(4'000'000, 'x');
            auto both = co_await when_all(out.write(large), out.write("second"));
            CHECK(std::get<0>(both).has_value());
            CHECK(std::get<1>(both).error() == errc::busy);
        });
    });
    auto const r = ask(app, request_for("/stream"));
    CHECK(r.body.size() == 4'000'000);
}

TEST_CASE("a stream whose peer takes nothing ends with an error")
{
    server app({.write_timeout = 30ms});
    static std::error_code seen;
    static std::error_code after;
    app.get("/stream", [](request&) -> task<response> {
        co_return response::streamed("text/plain", [](body_writer& out) -> task<> {
            std::string const large(100'000, 'x');
            auto sent = co_await out.write(large);
            while (sent)
                sent = co_await out.write(large);
            seen = sent.error();
            auto const again = co_await out.write("x");
            after = again.error();
        });
    });
    with_client(app, [](server& a, stream& client) -> task<> {
        seen = {};
        co_await send_text(client, request_for("/stream"));
        while (a.connections() > 0) {
            auto const slept = co_await sleep_for(5ms);
            CHECK(slept.has_value());
        }
        CHECK(seen == errc::timed_out);
        CHECK(after == errc::timed_out);
    });
}

// ---- PROXY ---------------------------------------------------------------------------------------------------------

namespace {

task<response> who(request& r)
{
    co_return response(200, r.remote().to_string());
}

} // namespace

TEST_CASE("a trusted proxy says whom a connection is from")
{
    server app;
    app.trust_proxies("127.0.0.1, unix");
    app.get("/who", who);
    static std::string remote;
    app.ws("/ws", [](ws::connection& ws) -> task<> {
        remote = ws.remote().to_string();
        co_return;
    });
    std::string const binary =
        ws_test::to_text(ws_test::from_hex("0D0A0D0A000D0A515549540A 21 21 0024 20010DB8000000000000000000000001 "
                                           "00000000000000000000000000000001 0001 0002"));
    for (kind k : {kind::tcp, kind::unix_path}) {
        CHECK(ask(app, "PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n" + request_for("/who"), k).body ==
              "192.0.2.1:56324");
        CHECK(ask(app, binary + request_for("/who"), k).body == "[2001:db8::1]:1");
        CHECK(ask(app, "PROXY UNKNOWN\r\n" + request_for("/who"), k).status() == 200);
        CHECK(ask_all(app, "PROXY TCP4 192.0.2.7 198.51.100.2 9 443\r\n" + ws_test::request_text({}, "/ws"), 1, k)
                  .replies.at(0)
                  .status() == 101);
        CHECK(remote == "192.0.2.7:9");
        // Whatever does not begin so is not talked to.
        for (auto const& text : {request_for("/who"), std::string("PROXY TCP4 nonsense\r\n") + request_for("/who")}) {
            auto const all = ask_all(app, text, 1, k);
            CHECK(all.replies.at(0).status() == 0);
        }
    }
}

TEST_CASE("a PROXY header may come in any pieces, before a request in any pieces")
{
    server app;
    app.trust_proxies("127.0.0.1");
    app.get("/who", who);
    on_loop([](server& a) -> task<> {
        std::string const text =
            "PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n" + request_for("/who", "Connection: close\r\n");
        for (std::size_t cut = 0; cut <= text.size(); cut += 3) {
            auto streams = co_await connected(kind::tcp);
            scope serving;
            serving.spawn(a.serve(std::move(streams.first)));
            co_await send_text(streams.second, text.substr(0, cut));
            co_await turns(3);
            co_await send_text(streams.second, text.substr(cut));
            auto const r = co_await read_reply(streams.second);
            CHECK(r.body == "192.0.2.1:56324");
            co_await serving.join();
        }
    }(app));
}

TEST_CASE("nobody else is believed")
{
    server app;
    app.trust_proxies("10.0.0.0/8");
    app.get("/who", who);
    for (kind k : {kind::tcp, kind::unix_path}) {
        auto const r = ask(app, "PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n" + request_for("/who"), k);
        CHECK(r.status() == 400);
    }
    CHECK(ask(app, request_for("/who"), kind::tcp).body.starts_with("127.0.0.1:"));
}

TEST_CASE("a proxy that does not say whom it is for has the time of a handshake")
{
    server app({.handshake_timeout = 20ms});
    app.trust_proxies("127.0.0.1");
    app.get("/who", who);
    for (char const* text : {"", "PROXY TCP4 192.0.2.1"}) {
        auto const all = ask_all(app, text, 1, kind::tcp);
        CHECK(all.replies.at(0).status() == 0);
    }
}

// ---- many at once --------------------------------------------------------------------------------------------------

TEST_CASE("pipelined requests are answered one at a time, and others have their turn")
{
    server app;
    static int running = 0;
    static int most = 0;
    running = most = 0;
    app.get("/a", [](request&) -> task<response> {
        most = std::max(most, ++running);
        co_await turns(1);
        --running;
        co_return response(200, "x");
    });
    app.get("/quick", [](request&) -> task<response> { co_return response(200, "q"); });
    std::string many;
    for (int i = 0; i < 500; ++i)
        many += request_for("/a");
    many += request_for("/a", "Connection: close\r\n");
    for (kind k : kinds) {
        auto const all = ask_all(app, many, 999, k);
        CHECK(all.replies.size() == 501);
    }
    CHECK(most == 1);

    // A hundred thousand that need no waiting for anything do not keep the loop to themselves.
    server flooded({.max_requests = 0});
    flooded.get("/quick", [](request&) -> task<response> { co_return response(200, "q"); });
    with_client(
        flooded,
        [](server&, stream& client) -> task<> {
            std::string part;
            for (int i = 0; i < 100; ++i)
                part += request_for("/quick");
            scope sending;
            sending.spawn([](stream& s, std::string text) -> task<> {
                for (int i = 0; i < 50; ++i) {
                    auto const sent = co_await s.write(text);
                    if (!sent) break;
                }
            }(client, part));
            std::size_t ticks = 0;
            std::vector<std::byte> buffer(16 * 1024);
            std::size_t size = 0;
            auto const first = co_await read_reply(client);
            std::size_t const whole = first.head.size() + first.body.size();
            while (size < whole * 4999) {
                auto const got = co_await client.read_some(buffer);
                if (!got) break;
                size += got->size();
                ++ticks;
            }
            CHECK(size == whole * 4999);
            CHECK(ticks > 10);
            co_await sending.join();
        },
        std::array{kind::memory, kind::tcp});
}

TEST_CASE("pipelined requests whose answers nobody reads stop the reading, and end")
{
    server app({.write_timeout = 100ms});
    app.get("/a", [](request&) -> task<response> { co_return response(200, std::string(50'000, 'a')); });
    with_client(app, [](server& a, stream& client) -> task<> {
        std::string part;
        for (int i = 0; i < 1000; ++i)
            part += request_for("/a");
        std::size_t taken = 0;
        for (int i = 0; i < 2000; ++i) { // 80 MB of requests, were they taken
            auto const sent = co_await timeout(20ms, client.write(part));
            if (!sent) break;
            taken += part.size();
        }
        CHECK(taken < 20'000'000);
        while (a.connections() > 0) {
            auto const slept = co_await sleep_for(5ms);
            CHECK(slept.has_value());
        }
    });
}
