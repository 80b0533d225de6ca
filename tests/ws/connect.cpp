// SPDX-License-Identifier: BSL-1.0
#include "harness.hpp"

#include <semaphore>
#include <set>

using namespace ws_test;

namespace {

/// What our client makes of a server that sends `answer`.
task<std::error_code> meets(std::string answer, bool sign, bool then_end, ws::connect_options options,
                            std::size_t chunk = 0)
{
    stream_pair_options pieces;
    pieces.chunk = chunk;
    auto streams = make_stream_pair(pieces);
    std::error_code error;
    scope server;
    server.spawn([](stream& s, std::string text, bool with_accept, bool end) -> task<> {
        auto const request = co_await read_head(s);
        if (with_accept) {
            auto const good = switching(request);
            auto const name = std::string("Sec-WebSocket-Accept: ");
            auto const accept = good.substr(good.find(name) + name.size(), 28);
            for (auto at = text.find("@@"); at != text.npos; at = text.find("@@"))
                text.replace(at, 2, accept);
        }
        auto const sent = co_await s.write(text);
        (void)sent;
        if (end)
            s.shutdown();
    }(streams.second, std::move(answer), sign, then_end));
    auto ws = co_await connect_over(std::move(streams.first), "ws://test/", options);
    error = ws.error();
    if (ws)
        ws->abort();
    co_await server.join();
    co_return error;
}

std::error_code outcome(std::string answer, ws::connect_options options = quiet_client(), bool end = false,
                        std::size_t chunk = 0)
{
    std::error_code e;
    on_loop([](std::error_code& out, std::string a, ws::connect_options o, bool then_end, std::size_t c) -> task<> {
        out = co_await meets(std::move(a), true, then_end, o, c);
    }(e, std::move(answer), options, end, chunk));
    return e;
}

std::string answer(std::string_view more = {}, std::string_view first_line = "HTTP/1.1 101 Switching Protocols")
{
    return std::string(first_line) +
           "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: @@\r\n" + std::string(more) + "\r\n";
}

std::string changed(std::string_view from, std::string_view to)
{
    std::string text = answer();
    auto const at = text.find(from);
    REQUIRE(at != text.npos);
    return text.replace(at, from.size(), to);
}

task<> accept_one(listener& server, std::optional<ws::connection>& out,
                  ws::upgrade_options options = quiet_server())
{
    auto s = co_await server.accept();
    auto ws = co_await upgrade(std::move(s).value(), options);
    CHECK(ws.has_value());
    if (ws)
        out.emplace(std::move(*ws));
}

} // namespace

TEST_CASE("a client accepts a sound answer, whole or byte by byte")
{
    CHECK(!outcome(answer()));
    CHECK(!outcome(answer(), quiet_client(), false, 1));
    CHECK(!outcome(answer("X-Other: 1\r\nServer: x\r\n")));
    CHECK(!outcome(changed("websocket", "WebSocket")));
    CHECK(!outcome(changed("Connection: Upgrade", "Connection: keep-alive, upgrade")));
}

TEST_CASE("a client refuses what is no sound answer")
{
    struct
    {
        std::string text;
        proto::errc rule;
    } const rows[] = {
        {changed("@@", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), proto::errc::accept_mismatch},
        {changed("@@", "@@x"), proto::errc::accept_mismatch},
        {changed("Sec-WebSocket-Accept: @@\r\n", ""), proto::errc::accept_missing},
        {answer("Sec-WebSocket-Accept: @@\r\n"), proto::errc::accept_duplicate},
        {changed("Upgrade: websocket\r\n", ""), proto::errc::response_upgrade},
        {changed("websocket", "h2c"), proto::errc::response_upgrade},
        {changed("Connection: Upgrade\r\n", ""), proto::errc::response_connection},
        {changed("Connection: Upgrade", "Connection: close"), proto::errc::response_connection},
        {answer("", "HTTP/1.0 101 Switching Protocols"), proto::errc::response_http_1_0},
        {answer("Sec-WebSocket-Protocol: chat\r\n"), proto::errc::response_subprotocol_unoffered},
        {answer("Sec-WebSocket-Extensions: permessage-bzip2\r\n"), proto::errc::extension_unoffered},
        {answer("Sec-WebSocket-Extensions: permessage-deflate\r\n"), proto::errc::extension_parameters},
        {"HTTP/1.1 101 x\nUpgrade: websocket\n\n", proto::errc::bare_lf},
        {"SSH-2.0-OpenSSH_9.2\r\n", proto::errc::http_version_malformed},
        {"HTTP/1.1 abc Oops\r\n\r\n", proto::errc::status_line},
    };
    for (auto const& row : rows) {
        INFO(row.text);
        auto const e = outcome(row.text);
        CHECK(e.category() == ws::protocol_category());
        CHECK(e == violation(row.rule));
    }
}

TEST_CASE("another status than 101 is an error that names it")
{
    for (int status : {200, 204, 301, 400, 401, 403, 404, 426, 500, 503}) {
        auto const e =
            outcome("HTTP/1.1 " + std::to_string(status) + " Whatever\r\nLocation: ws://elsewhere/\r\n\r\nbody");
        CHECK(e.category() == ws::http_category());
        CHECK(e.value() == status);
    }
}

TEST_CASE("interim answers are skipped, up to a limit")
{
    std::string const processing = "HTTP/1.1 102 Processing\r\n\r\n";
    CHECK(!outcome(processing + "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + answer()));
    std::string many;
    for (unsigned i = 0; i < proto::max_interim_responses; ++i)
        many += processing;
    CHECK(!outcome(many + answer()));
    CHECK(outcome(many + processing + answer()) == violation(proto::errc::too_many_interim));
}

TEST_CASE("the head of an answer has limits")
{
    auto options = quiet_client();
    CHECK(outcome(answer("X: " + std::string(17'000, 'x') + "\r\n")) == violation(proto::errc::head_too_large));
    std::string fields;
    for (int i = 0; i < 200; ++i)
        fields += "X: 1\r\n";
    CHECK(outcome(answer(fields)) == violation(proto::errc::too_many_fields));
    options.max_fields = 300;
    CHECK(!outcome(answer(fields), options));
    options.max_head = 100;
    CHECK(outcome(answer(), options) == violation(proto::errc::head_too_large));
}

TEST_CASE("a server that leaves during the handshake ends it")
{
    CHECK(outcome("", quiet_client(), true) == errc::end_of_stream);
    CHECK(outcome("HTTP/1.1 101 Switch", quiet_client(), true) == errc::end_of_stream);
}

TEST_CASE("a server that does not answer is given up after handshake_timeout")
{
    auto options = quiet_client();
    options.handshake_timeout = 20ms;
    CHECK(outcome("", options) == ws::errc::handshake_timeout);
    CHECK(outcome("HTTP/1.1 101 Switch", options) == ws::errc::handshake_timeout);
    on_each([](kind k) -> task<> {
        auto streams = co_await connected(k);
        auto short_time = quiet_client();
        short_time.handshake_timeout = 20ms;
        auto const ws = co_await connect_over(std::move(streams.first), "ws://test/", short_time);
        CHECK(ws.error() == ws::errc::handshake_timeout);
        auto const rest = co_await read_rest(streams.second); // the request, and the end of the stream
        CHECK(rest.starts_with("GET / HTTP/1.1\r\n"));
    });
}

TEST_CASE("a look-up that takes too long is given up after handshake_timeout")
{
    on_loop([]() -> task<> {
        struct hold
        {
            void operator()() const { gate->acquire(); }
            std::counting_semaphore<>* gate;
        };
        constexpr int threads = 4; // of the pool that look-ups run on; while all are held none begins
        std::counting_semaphore<> gate(0);
        scope held;
        for (int i = 0; i < threads; ++i)
            held.spawn([](hold work) -> task<> { co_await offload(work); }(hold{&gate}));
        co_await next_turn();
        auto options = quiet_client();
        options.handshake_timeout = 20ms;
        auto const ws = co_await connect("ws://localhost:1/", options);
        CHECK(ws.error() == ws::errc::handshake_timeout);
        gate.release(threads);
        co_await held.join();
    }());
}

TEST_CASE("frames behind the 101 are delivered")
{
    on_each([](kind k) -> task<> {
        auto streams = co_await connected(k);
        scope server;
        server.spawn([](stream& s) -> task<> {
            auto const request = co_await read_head(s);
            auto const half = unmasked(0x81, "half");
            co_await send(s, from_text(switching(request)) + unmasked(0x81, "one") + unmasked(0x82, "two") +
                                 byte_string(half.begin(), half.begin() + 3));
            co_await send(s, byte_string(half.begin() + 3, half.end()));
        }(streams.second));
        auto ws = co_await connect_over(std::move(streams.first), "ws://test/", quiet_client());
        CHECK(ws.has_value());
        for (char const* expected : {"one", "two", "half"}) {
            auto const m = co_await ws->read();
            CHECK(m.value().text() == expected);
        }
        co_await server.join();
        ws->abort();
    });
}

TEST_CASE("the request says what was asked for")
{
    on_loop([]() -> task<> {
        auto streams = make_stream_pair();
        header const headers[] = {{"X-One", "1"}, {"Authorization", "Bearer abc"}};
        auto options = quiet_client();
        options.headers = headers;
        options.origin = "https://example.org";
        options.subprotocols = "chat.v2, chat.v1";
        auto both = co_await when_all(connect_over(std::move(streams.first), "ws://example.org:8080/chat?x=1", options),
                                      answer_handshake(streams.second, "Sec-WebSocket-Protocol: chat.v1\r\n"));
        auto& ws = std::get<0>(both);
        auto const& request = std::get<1>(both);
        CHECK(ws.has_value());
        CHECK(ws->subprotocol() == "chat.v1");
        CHECK(request.starts_with("GET /chat?x=1 HTTP/1.1\r\nHost: example.org:8080\r\n"));
        for (char const* line : {"Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13",
                                 "Origin: https://example.org", "Sec-WebSocket-Protocol: chat.v2, chat.v1", "X-One: 1",
                                 "Authorization: Bearer abc"})
            CHECK(request.find("\r\n" + std::string(line) + "\r\n") != request.npos);
        CHECK(request.find("Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; "
                           "client_no_context_takeover; client_max_window_bits\r\n") != request.npos);
        ws->abort();
    }());
}

TEST_CASE("without compression no extension is offered, and none accepted")
{
    on_loop([]() -> task<> {
        for (bool chosen : {false, true}) {
            auto streams = make_stream_pair();
            auto options = quiet_client();
            options.deflate = {};
            auto both = co_await when_all(
                connect_over(std::move(streams.first), "ws://test/", options),
                answer_handshake(streams.second, chosen ? "Sec-WebSocket-Extensions: permessage-deflate\r\n" : ""));
            CHECK(std::get<1>(both).find("Sec-WebSocket-Extensions") == std::string::npos);
            auto& ws = std::get<0>(both);
            CHECK(ws.has_value() == !chosen);
            if (chosen)
                CHECK(ws.error() == violation(proto::errc::extension_unoffered));
            else
                ws->abort();
        }
    }());
}

TEST_CASE("user and password of the URL become the Authorization field, unless that is given")
{
    on_loop([]() -> task<> {
        struct row
        {
            char const* url;
            char const* line;
        };
        for (auto const& [url, line] : {row{"ws://user:p%40ss@h/", "Authorization: Basic dXNlcjpwQHNz\r\n"},
                                        row{"ws://user@h/", "Authorization: Basic dXNlcjo=\r\n"},
                                        row{"ws://h/", nullptr}}) {
            INFO(url);
            for (bool given : {false, true}) {
                auto streams = make_stream_pair();
                header const headers[] = {{"authorization", "Bearer abc"}};
                auto options = quiet_client();
                if (given)
                    options.headers = headers;
                auto both = co_await when_all(connect_over(std::move(streams.first), url, options),
                                              answer_handshake(streams.second, ""));
                auto const& request = std::get<1>(both);
                bool const basic = line && !given;
                CHECK((request.find("Basic") != request.npos) == basic);
                if (basic)
                    CHECK(request.find(line) != request.npos);
                std::get<0>(both)->abort();
            }
        }
    }());
}

TEST_CASE("each handshake has a key of its own")
{
    std::set<std::string> keys;
    for (int i = 0; i < 20; ++i)
        on_loop([](std::set<std::string>& all) -> task<> {
            auto streams = make_stream_pair();
            auto both = co_await when_all(connect_over(std::move(streams.first), "ws://test/", quiet_client()),
                                          answer_handshake(streams.second, ""));
            auto const& request = std::get<1>(both);
            all.insert(request.substr(request.find("Sec-WebSocket-Key: ") + 19, 24));
            std::get<0>(both)->abort();
        }(keys));
    CHECK(keys.size() == 20);
}

TEST_CASE("arguments that can't be sent are refused before anything is")
{
    on_loop([]() -> task<> {
        struct
        {
            char const* url;
            header field;
            std::string_view origin;
            std::string_view subprotocols;
        } const rows[] = {
            {"ws://test/", {"X", "a\r\nY: b"}, "", ""}, {"ws://test/", {"X Y", "a"}, "", ""},
            {"ws://test/", {"Host", "other"}, "", ""},  {"ws://test/", {"Sec-WebSocket-Key", "x"}, "", ""},
            {"ws://test/", {"X", "a"}, "a\nb", ""},     {"ws://test/", {"X", "a"}, "", "a, a"},
            {"ws://test/", {"X", "a"}, "", "a b"},      {"ws://test/\r\nX: y", {"X", "a"}, "", ""},
            {"http://test/", {"X", "a"}, "", ""},       {"ws://", {"X", "a"}, "", ""},
            {"ws://test/#part", {"X", "a"}, "", ""},    {"ws://test:0/", {"X", "a"}, "", ""},
            {"", {"X", "a"}, "", ""},
        };
        for (auto const& row : rows) {
            INFO(row.url);
            auto streams = make_stream_pair();
            auto options = quiet_client();
            options.headers = std::span(&row.field, 1);
            options.origin = row.origin;
            options.subprotocols = row.subprotocols;
            std::string const url = row.url;
            auto const ws = co_await connect_over(std::move(streams.first), url, options);
            CHECK(ws.error().category() == ws::protocol_category());
            auto const rest = co_await read_rest(streams.second);
            CHECK(rest.empty());
        }
    }());
}

TEST_CASE("connect() reaches TCP on either family and Unix sockets by their URLs")
{
    net_test::temporary_folder folder;
    std::string const path = folder / "socket";
    for (std::string const& at : {std::string("127.0.0.1:0"), std::string("[::1]:0"), "unix:" + path}) {
        INFO(at);
        on_loop([](std::string where, std::string socket) -> task<> {
            auto server = listener::bind(where).value();
            std::string url = "ws+unix:" + socket + ":/chat?a=b";
            if (!where.starts_with("unix:"))
                url = "ws://" + server.local().to_string() + "/chat?a=b";
            std::optional<ws::connection> accepted;
            scope serving;
            auto options = quiet_server();
            options.authorize = [](wring::request const& r) -> task<response> {
                CHECK(r.target() == "/chat?a=b");
                co_return response::accept();
            };
            serving.spawn(accept_one(server, accepted, options));
            auto ws = co_await connect(url, quiet_client());
            CHECK(ws.has_value());
            co_await serving.join();
            auto const sent = co_await ws->write("there");
            CHECK(sent.has_value());
            auto const m = co_await accepted->read();
            CHECK(m.value().text() == "there");
            ws->abort();
        }(at, path));
    }
}

TEST_CASE("a refused connection is the system's error")
{
    on_loop([]() -> task<> {
        endpoint at;
        auto const bound = net_test::bound_socket(at, -1);
        auto const ws = co_await connect("ws://" + at.to_string() + "/");
        CHECK(ws.error() == std::errc::connection_refused);
        auto const none = co_await connect("ws+unix:/nonexistent/socket:/");
        CHECK(none.error() == std::errc::no_such_file_or_directory);
    }());
}

TEST_CASE("a connect can be canceled at each of its suspensions")
{
    for (kind k : {kind::memory, kind::tcp, kind::tls_memory})
        for (int at = 0; at < 10; ++at)
            on_loop([](kind where, int stop_at) -> task<> {
                auto streams = co_await connected(where, {.chunk = 50});
                scope client;
                std::error_code end;
                bool open = false;
                client.spawn([](stream s, std::error_code& e, bool& o) -> task<> {
                    auto ws = co_await connect_over(std::move(s), "ws://test/", quiet_client());
                    e = ws.error();
                    o = ws.has_value();
                    if (ws)
                        ws->abort();
                }(std::move(streams.first), end, open));
                scope server;
                server.spawn([](stream& s) -> task<> {
                    auto const request = co_await read_head(s);
                    if (!request.ends_with("\r\n\r\n"))
                        co_return;
                    auto const sent = co_await s.write(switching(request));
                    (void)sent;
                }(streams.second));
                co_await turns(stop_at);
                client.request_stop();
                co_await client.join();
                if (!open)
                    CHECK(end == errc::canceled);
                co_await server.join();
            }(k, at));
}
