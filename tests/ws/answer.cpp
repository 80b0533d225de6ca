// SPDX-License-Identifier: BSL-1.0
#include "proxies.hpp"

using namespace ws_test;

namespace {

/// What connect_over() makes of a server that answers `text`, and then stays or ends.
struct met
{
    std::error_code error;
    ws::refusal said;
    duration took{};
};

met meets(std::string text, bool end, std::size_t chunk = 0, duration limit = std::chrono::seconds(10))
{
    met out;
    on_loop([](met& m, std::string answer, bool ends, std::size_t c, duration time) -> task<> {
        auto streams = make_stream_pair({.chunk = c});
        scope server;
        server.spawn([](stream& s, std::string a, bool then_end) -> task<> {
            auto const head = co_await read_head(s);
            auto const sent = co_await s.write(a);
            (void)sent;
            if (then_end)
                s.shutdown();
        }(streams.second, answer, ends));
        auto options = quiet_client();
        options.refusal = &m.said;
        options.handshake_timeout = time;
        m.said.status = 999;
        m.said.body = "of an earlier attempt";
        auto const start = clock::now();
        auto const ws = co_await connect_over(std::move(streams.first), "ws://test/", options);
        m.took = clock::now() - start;
        m.error = ws.error();
        server.request_stop();
        co_await server.join();
    }(out, std::move(text), end, chunk, limit));
    return out;
}

} // namespace

TEST_CASE("a refusal comes with its status, its fields and its body")
{
    std::string const head = "HTTP/1.1 401 Who are you\r\nWWW-Authenticate: Bearer\r\nX-Two: a\r\nx-two: b\r\n";
    for (std::size_t chunk : {0, 1, 7}) {
        for (auto const& answer : {head + "Content-Length: 9\r\n\r\nsay first",
                                   head + "Transfer-Encoding: chunked\r\n\r\n3\r\nsay\r\n6\r\n first\r\n0\r\n\r\n"}) {
            auto const m = meets(answer, false, chunk);
            CHECK(m.error == std::error_code(401, ws::http_category()));
            CHECK(m.said.status == 401);
            CHECK(!m.said.by_proxy);
            CHECK(!m.said.cut);
            CHECK(m.said.body == "say first");
            CHECK(m.said.headers.size() == 4);
            CHECK(m.said.field("www-authenticate").value_or("") == "Bearer");
            CHECK(m.said.field("X-Two").value_or("") == "a");
            CHECK(!m.said.field("X-Three"));
        }
        auto const to_end = meets(head + "\r\nsay first", true, chunk);
        CHECK(to_end.said.body == "say first");
    }
}

TEST_CASE("of a long body the first 4 KiB are kept")
{
    auto const m = meets("HTTP/1.1 500 x\r\nContent-Length: 1000000\r\n\r\n" + std::string(20'000, 'x'), false);
    CHECK(m.error == std::error_code(500, ws::http_category()));
    CHECK(m.said.body == std::string(4096, 'x'));
    CHECK(m.said.cut);
}

TEST_CASE("a body that does not come is waited for no longer than a second, and does not hide the status")
{
    auto const m = meets("HTTP/1.1 503 x\r\nContent-Length: 10\r\n\r\npart", false);
    CHECK(m.error == std::error_code(503, ws::http_category()));
    CHECK(m.said.body == "part");
    CHECK(m.took >= 1s);
    CHECK(m.took < 5s);
    auto const impatient = meets("HTTP/1.1 503 x\r\nContent-Length: 10\r\n\r\npart", false, 0, 20ms);
    CHECK(impatient.error == std::error_code(503, ws::http_category()));
    CHECK(impatient.said.body == "part");
    CHECK(impatient.took < 1s);
}

TEST_CASE("where no refusal is wanted nothing waits for its body")
{
    on_loop([]() -> task<> {
        auto streams = make_stream_pair();
        scope server;
        server.spawn([](stream& s) -> task<> {
            auto const head = co_await read_head(s);
            co_await send_text(s, "HTTP/1.1 503 x\r\nContent-Length: 10\r\n\r\n");
            auto const rest = co_await read_rest(s); // the client goes
            CHECK(rest.empty());
        }(streams.second));
        auto const start = clock::now();
        auto const ws = co_await connect_over(std::move(streams.first), "ws://test/", quiet_client());
        CHECK(ws.error() == std::error_code(503, ws::http_category()));
        CHECK(clock::now() - start < 900ms);
        co_await server.join();
    }());
}

TEST_CASE("an answer that is no sound 101 is noted as well, and one that never came is not")
{
    auto const bad = meets("HTTP/1.1 101 x\r\nUpgrade: h2c\r\n\r\n", false);
    CHECK(bad.error == violation(proto::errc::response_upgrade));
    CHECK(bad.said.status == 101);
    CHECK(bad.said.field("Upgrade").value_or("") == "h2c");
    CHECK(bad.said.body.empty());
    auto const gone = meets("", true);
    CHECK(gone.error == errc::end_of_stream);
    CHECK(gone.said.status == 0);
    CHECK(gone.said.body.empty());
}
