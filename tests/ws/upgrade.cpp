// SPDX-License-Identifier: BSL-1.0
#include "harness.hpp"

#include <limits>

using namespace ws_test;

namespace {

/// What a request leads to.
struct outcome
{
    std::string head; ///< of the answer
    std::string body;
    std::error_code error; ///< that upgrade() gave
    bool open = false;

    [[nodiscard]] int status() const { return head.size() < 12 ? 0 : std::stoi(head.substr(9, 3)); }
    [[nodiscard]] bool has(std::string_view line) const
    {
        return head.find("\r\n" + std::string(line) + "\r\n") != std::string::npos;
    }
    [[nodiscard]] bool has_field(std::string_view name) const
    {
        return head.find("\r\n" + std::string(name) + ":") != std::string::npos;
    }
};

task<> serve_one(stream s, ws::upgrade_options options, outcome& out)
{
    auto ws = co_await upgrade(std::move(s), options);
    out.error = ws.error();
    out.open = ws.has_value();
    if (ws)
        ws->abort();
}

task<outcome> ask(kind k, std::string request, ws::upgrade_options options)
{
    outcome out;
    auto streams = co_await connected(k);
    scope server;
    server.spawn(serve_one(std::move(streams.first), options, out));
    co_await send_text(streams.second, std::move(request));
    out.head = co_await read_head(streams.second);
    if (out.status() != 101)
        out.body = co_await read_rest(streams.second);
    co_await server.join();
    co_return out;
}

outcome answer_to(std::string request, ws::upgrade_options options = {}, kind k = kind::memory)
{
    outcome out;
    on_loop([](outcome& o, kind where, std::string text, ws::upgrade_options opts) -> task<> {
        o = co_await ask(where, std::move(text), opts);
    }(out, k, std::move(request), options));
    return out;
}

/// A sound request with one piece of its text replaced.
std::string changed(std::string_view from, std::string_view to)
{
    std::string text = request_text();
    auto const at = text.find(from);
    REQUIRE(at != text.npos);
    return text.replace(at, from.size(), to);
}

} // namespace

// ---- the answer ---------------------------------------------------------------------------------------------------

TEST_CASE("a sound request is answered with 101 and its accept key")
{
    for (kind k : kinds) {
        INFO(name_of(k));
        auto const o = answer_to(request_text(), {}, k);
        CHECK(o.open);
        CHECK(o.status() == 101);
        CHECK(o.has("Sec-WebSocket-Accept: " + std::string(sample_accept)));
        CHECK(o.has("Upgrade: websocket"));
        CHECK(o.has("Connection: Upgrade"));
        CHECK(!o.has_field("Sec-WebSocket-Protocol"));
        CHECK(!o.has_field("Sec-WebSocket-Extensions"));
        CHECK(!o.has_field("Content-Length"));
    }
}

TEST_CASE("requests that break a rule get the status of the map, and the error names the rule")
{
    struct
    {
        std::string request;
        int status;
        proto::errc rule;
    } const rows[] = {
        {"\r\n\r\n" + request_text(), 400, proto::errc::empty_line},
        {"GET / HTTP/1.1\nHost: test\r\n\r\n", 400, proto::errc::bare_lf},
        {changed("HTTP/1.1", "HTTP/2.0"), 505, proto::errc::http_version_unsupported},
        {changed("HTTP/1.1", "http/1.1"), 400, proto::errc::http_version_malformed},
        {changed("HTTP/1.1", "HTTP/1.0"), 400, proto::errc::http_1_0_upgrade},
        {changed("GET / ", "GET  / "), 400, proto::errc::request_line},
        {changed("GET / ", "GET * "), 400, proto::errc::target_form},
        {changed("GET", "POST"), 405, proto::errc::method_not_allowed},
        {changed("Host: test\r\n", ""), 400, proto::errc::host_missing},
        {changed("Host: test\r\n", "Host: test\r\nHost: test\r\n"), 400, proto::errc::host_duplicate},
        {changed("Host: test", "Host: a@b"), 400, proto::errc::host_invalid},
        {changed("Host: test", "Host : test"), 400, proto::errc::space_before_colon},
        {changed("Host: test", " Host: test"), 400, proto::errc::space_before_field},
        {changed("Upgrade: websocket", "Upgrade: h2c"), 426, proto::errc::not_an_upgrade},
        {changed("Upgrade: websocket\r\n", ""), 426, proto::errc::not_an_upgrade},
        {changed("Connection: Upgrade", "Connection: keep-alive"), 400, proto::errc::connection_not_upgrade},
        {changed("Connection: Upgrade", "Connection: close, upgrade"), 400, proto::errc::connection_close},
        {changed("Version: 13", "Version: 8"), 426, proto::errc::version_unsupported},
        {changed("Version: 13", "Version: 013"), 426, proto::errc::version_unsupported},
        {changed("Version: 13", "Version: 99"), 426, proto::errc::version_unsupported},
        {changed("Sec-WebSocket-Version: 13\r\n", ""), 426, proto::errc::version_missing},
        {request_text("Sec-WebSocket-Version: 13\r\n"), 400, proto::errc::version_duplicate},
        {changed("dGhl", "dGh"), 400, proto::errc::key_invalid},
        {changed("ZQ==", "ZR=="), 400, proto::errc::key_invalid},
        {request_text("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"), 400, proto::errc::key_duplicate},
        {request_text("Content-Length: 3\r\n") + "abc", 400, proto::errc::body_on_upgrade},
        {request_text("Transfer-Encoding: chunked\r\n"), 400, proto::errc::body_on_upgrade},
        {request_text("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n"), 400, proto::errc::length_and_encoding},
        {request_text("Expect: 100-continue\r\n"), 417, proto::errc::expectation},
        {request_text("Origin: https://evil.example\r\n"), 403, proto::errc::origin_forbidden},
        {request_text("Sec-WebSocket-Protocol: a, a\r\n"), 400, proto::errc::subprotocol_duplicate},
        {request_text("Sec-WebSocket-Protocol: a b\r\n"), 400, proto::errc::subprotocol_invalid},
        {"GET /" + std::string(9000, 'x') + " HTTP/1.1\r\n", 414, proto::errc::target_too_long},
        {request_text("X: " + std::string(17'000, 'x') + "\r\n"), 431, proto::errc::head_too_large},
    };
    for (auto const& row : rows) {
        INFO(row.request.substr(0, 300));
        auto const o = answer_to(row.request);
        CHECK(!o.open);
        CHECK(o.status() == row.status);
        CHECK(o.error == violation(row.rule));
        CHECK(o.has(row.status == 426 ? "Connection: close, Upgrade" : "Connection: close"));
        CHECK(o.has("Content-Length: " + std::to_string(o.body.size())));
        CHECK(o.has_field("Allow") == (row.status == 405));
        CHECK(o.has("Sec-WebSocket-Version: 13") == (row.status == 426));
        CHECK(o.has("Upgrade: websocket") == (row.status == 426));
        if (row.status == 405)
            CHECK(o.has("Allow: GET"));
    }
}

TEST_CASE("more fields than the limit get 431")
{
    std::string fields;
    for (int i = 0; i < 200; ++i)
        fields += "X: 1\r\n";
    CHECK(answer_to(request_text(fields)).status() == 431);
    ws::upgrade_options more;
    more.max_fields = 300;
    CHECK(answer_to(request_text(fields), more).open);
    ws::upgrade_options fewer;
    fewer.max_fields = 4;
    auto const o = answer_to(request_text(), fewer);
    CHECK(o.error == violation(proto::errc::too_many_fields));
}

TEST_CASE("the limits of head and target are exact")
{
    auto const size = static_cast<std::uint32_t>(request_text("", "/abc").size());
    ws::upgrade_options o;
    o.max_head = size;
    o.max_target = 4;
    CHECK(answer_to(request_text("", "/abc"), o).open);
    o.max_head = size - 1;
    CHECK(answer_to(request_text("", "/abc"), o).status() == 431);
    o.max_head = size;
    o.max_target = 3;
    CHECK(answer_to(request_text("", "/abc"), o).status() == 414);
}

TEST_CASE("an endless head is refused after the limit, and not kept")
{
    on_each([](kind k) -> task<> {
        auto streams = co_await connected(k);
        outcome out;
        scope server;
        server.spawn(serve_one(std::move(streams.first), {}, out));
        co_await send_text(streams.second, "GET / HTTP/1.1\r\nX: ");
        std::string const part(8192, 'x');
        for (int i = 0; i < 4; ++i) {
            auto const sent = co_await streams.second.write(part);
            (void)sent; // refused at some point
        }
        co_await server.join();
        CHECK(out.error == violation(proto::errc::head_too_large));
        auto const answer = co_await read_head(streams.second);
        CHECK(answer.starts_with("HTTP/1.1 431 "));
    });
}

TEST_CASE("the answer to a refused request arrives although the peer goes on sending")
{
    on_each([](kind k) -> task<> {
        auto streams = co_await connected(k);
        outcome out;
        scope server;
        server.spawn(serve_one(std::move(streams.first), {}, out));
        co_await send_text(streams.second, changed("Version: 13", "Version: 99"));
        co_await server.join();
        // Were the socket closed with this unread or on its way, a reset would overtake the answer.
        std::string const part(test::load(30'000, 100), 'x'); // all within the second that a close lingers
        for (int i = 0; i < 20; ++i)
            co_await send_text(streams.second, part);
        auto const head = co_await read_head(streams.second);
        CHECK(head.starts_with("HTTP/1.1 426 "));
        streams.second.shutdown();
        auto const body = co_await read_rest(streams.second);
        CHECK(!body.empty());
        CHECK(body.find('<') == body.npos);
    });
}

TEST_CASE("a request pipelined behind a refused one is never answered")
{
    auto const o = answer_to(changed("Version: 13", "Version: 99") + "GET /admin HTTP/1.1\r\nHost: test\r\n\r\n");
    CHECK(o.status() == 426);
    CHECK(o.body.find("HTTP/") == o.body.npos);
}

TEST_CASE("HEAD gets the head of the answer alone")
{
    auto const o = answer_to("HEAD / HTTP/1.1\r\nHost: test\r\n\r\n");
    CHECK(o.status() == 426);
    CHECK(o.body.empty());
    ws::upgrade_options with_page;
    with_page.page = [](request const&) -> task<response> { co_return response::html("<p>hello</p>"); };
    auto const page = answer_to("HEAD / HTTP/1.1\r\nHost: test\r\n\r\n", with_page);
    CHECK(page.status() == 200);
    CHECK(page.has("Content-Length: 12"));
    CHECK(page.body.empty());
    with_page.page = [](request const&) -> task<response> { co_return response(204, "a body that is not sent"); };
    auto const nothing = answer_to("HEAD / HTTP/1.1\r\nHost: test\r\n\r\n", with_page);
    CHECK(nothing.status() == 204);
    CHECK(nothing.has("Connection: close"));
    CHECK(nothing.head.ends_with("\r\n\r\n"));
}

// ---- page ---------------------------------------------------------------------------------------------------------

TEST_CASE("a page hook answers what is no upgrade")
{
    ws::upgrade_options options;
    options.page = [](request const& r) -> task<response> {
        response answer = response::html("<p>" + std::string(r.path()) + "</p>");
        answer.headers.emplace_back("X-Served-By", "wring");
        co_return answer;
    };
    auto const o = answer_to("GET /index.html?a=b HTTP/1.1\r\nHost: test\r\n\r\n", options);
    CHECK(o.status() == 200);
    CHECK(o.body == "<p>/index.html</p>");
    CHECK(o.has("Content-Type: text/html; charset=utf-8"));
    CHECK(o.has("X-Served-By: wring"));
    CHECK(o.has("Connection: close"));
    CHECK(o.error == ws::errc::answered);
    CHECK(answer_to(request_text(), options).open);
    CHECK(answer_to(changed("Version: 13", "Version: 99"), options).status() == 426);
}

TEST_CASE("a page that can't be sent becomes 500")
{
    for (int which : {0, 1, 2}) {
        ws::upgrade_options options;
        if (which == 0)
            options.page = [](request const&) -> task<response> { co_return response::accept(); };
        if (which == 1)
            options.page = [](request const&) -> task<response> { co_return response(700, "?"); };
        if (which == 2)
            options.page = [](request const&) -> task<response> {
                response r(200, "body");
                r.headers.emplace_back("X", "a\r\nY: b");
                co_return r;
            };
        auto const o = answer_to("GET / HTTP/1.1\r\nHost: test\r\n\r\n", options);
        CHECK(o.status() == 500);
        CHECK(!o.has_field("Y"));
        CHECK(o.error == ws::errc::answered);
    }
}

TEST_CASE("a large page arrives whole")
{
    static std::size_t const size = test::load(1 << 20, 1 << 17); // within handshake_timeout
    ws::upgrade_options options;
    options.page = [](request const&) -> task<response> { co_return response::html(std::string(size, 'p')); };
    for (kind k : kinds) {
        INFO(name_of(k));
        auto const o = answer_to("GET / HTTP/1.1\r\nHost: test\r\n\r\n", options, k);
        CHECK(o.status() == 200);
        CHECK((o.body == std::string(size, 'p'))); // too much to be printed
    }
}

// ---- authorize ----------------------------------------------------------------------------------------------------

TEST_CASE("the authorize hook sees the request")
{
    ws::upgrade_options options;
    options.authorize = [](request const& r) -> task<response> {
        CHECK(r.target() == "/chat?token=secret&x=1");
        CHECK(r.path() == "/chat");
        CHECK(r.query_value("token") == "secret");
        CHECK(r.cookie("session") == "abc");
        CHECK(r.origin() == "http://test");
        CHECK(r.field("User-Agent") == "me");
        CHECK(r.subprotocols() == std::vector<std::string_view>{"a", "b"});
        CHECK(r.is_upgrade());
        response yes = response::accept();
        yes.headers.emplace_back("X-User", "ann");
        co_return yes;
    };
    auto const o = answer_to(request_text("Cookie: session=abc\r\nOrigin: http://test\r\nUser-Agent: me\r\n"
                                          "Sec-WebSocket-Protocol: a, b\r\n",
                                          "/chat?token=secret&x=1"),
                             options);
    CHECK(o.open);
    CHECK(o.has("X-User: ann"));
}

TEST_CASE("the authorize hook refuses with a status and a body")
{
    ws::upgrade_options options;
    options.authorize = [](request const&) -> task<response> {
        response no = response::refuse(401, "who are you?\n");
        no.headers.emplace_back("WWW-Authenticate", "Bearer");
        co_return no;
    };
    for (kind k : kinds) {
        auto const o = answer_to(request_text(), options, k);
        CHECK(o.status() == 401);
        CHECK(o.body == "who are you?\n");
        CHECK(o.has("WWW-Authenticate: Bearer"));
        CHECK(o.has("Connection: close"));
        CHECK(o.error == ws::errc::forbidden);
    }
    options.authorize = [](request const&) -> task<response> { co_return response::refuse(503); };
    auto const busy = answer_to(request_text(), options);
    CHECK(busy.status() == 503);
    CHECK(busy.has_field("Retry-After"));
}

TEST_CASE("the authorize hook is not asked about unsound requests or foreign origins")
{
    static int asked = 0;
    asked = 0;
    ws::upgrade_options options;
    options.authorize = [](request const&) -> task<response> {
        ++asked;
        co_return response::accept();
    };
    (void)answer_to(changed("Version: 13", "Version: 99"), options);
    (void)answer_to(request_text("Origin: http://evil.example\r\n"), options);
    (void)answer_to("GET / HTTP/1.1\r\nHost: test\r\n\r\n", options);
    CHECK(asked == 0);
    (void)answer_to(request_text(), options);
    CHECK(asked == 1);
}

TEST_CASE("a hook may suspend")
{
    ws::upgrade_options options;
    options.authorize = [](request const& r) -> task<response> {
        co_await turns(5);
        CHECK(r.target() == "/");
        co_return response::accept();
    };
    for (kind k : kinds)
        CHECK(answer_to(request_text(), options, k).open);
}

TEST_CASE("a header with a line end, from a hook or the options, is not sent")
{
    ws::upgrade_options options;
    options.authorize = [](request const&) -> task<response> {
        response yes = response::accept();
        yes.headers.emplace_back("X-A", "1\r\nX-B: 2");
        co_return yes;
    };
    auto const o = answer_to(request_text(), options);
    CHECK(o.status() == 500);
    CHECK(!o.has_field("X-B"));
    CHECK(o.error == violation(proto::errc::header_value));

    for (header const& bad : {header{"X", "a\nb"}, header{"X", "a\rb"}, header{"X", std::string_view("a\0b", 3)},
                              header{"X Y", "a"}, header{"", "a"}, header{"Sec-WebSocket-Accept", "x"},
                              header{"Connection", "close"}}) {
        ws::upgrade_options with_bad;
        with_bad.headers = std::span(&bad, 1);
        auto const answer = answer_to(request_text(), with_bad);
        CHECK(answer.status() == 500);
        CHECK(answer.error.category() == ws::protocol_category());
    }
    header const good[] = {{"X-One", "1"}, {"X-Two", "2, 3"}};
    ws::upgrade_options with_good;
    with_good.headers = good;
    auto const answer = answer_to(request_text(), with_good);
    CHECK(answer.open);
    CHECK(answer.has("X-One: 1"));
    CHECK(answer.has("X-Two: 2, 3"));
}

TEST_CASE("a hook that throws leads to 500, and the exception goes on")
{
    on_each([](kind k) -> task<> {
        auto streams = co_await connected(k);
        ws::upgrade_options options;
        options.authorize = [](request const&) -> task<response> {
            co_await turns(1);
            throw std::runtime_error("broken hook");
        };
        co_await send_text(streams.second, request_text());
        std::string what;
        try {
            auto const ws = co_await upgrade(std::move(streams.first), options);
            CHECK(!ws.has_value());
        } catch (std::runtime_error const& e) {
            what = e.what();
        }
        CHECK(what == "broken hook");
        auto const answer = co_await read_head(streams.second);
        CHECK(answer.starts_with("HTTP/1.1 500 "));
    });
}

namespace {

struct waiting_hook
{
    bool started = false;
    bool canceled = false;
    event now;

    task<response> operator()(request const&) { return wait(*this); }
    static task<response> wait(waiting_hook& self)
    {
        self.started = true;
        self.now.set();
        event never;
        auto const end = co_await never.wait();
        self.canceled = end.error() == errc::canceled;
        co_return response::accept();
    }
};

} // namespace

TEST_CASE("a hook is canceled when the peer leaves")
{
    on_each([](kind k) -> task<> {
        auto streams = co_await connected(k);
        waiting_hook hook;
        ws::upgrade_options options;
        options.authorize = hook;
        outcome out;
        scope server;
        server.spawn(serve_one(std::move(streams.first), options, out));
        co_await send_text(streams.second, request_text());
        auto const started = co_await hook.now.wait();
        CHECK(started.has_value());
        {
            stream gone = std::move(streams.second);
        }
        co_await server.join();
        CHECK(hook.canceled);
        CHECK(!out.open);
        CHECK(out.error);
    });
}

TEST_CASE("a hook that throws what a cancel gave it ends its own handshake only")
{
    on_each([](kind k) -> task<> {
        for (bool deadline : {false, true}) {
            auto streams = co_await connected(k);
            event started;
            auto hook = [&started](request const&) -> task<response> {
                started.set();
                event never;
                (co_await never.wait()).value();
                co_return response::accept();
            };
            ws::upgrade_options options;
            options.authorize = hook;
            if (deadline)
                options.handshake_timeout = 20ms;
            outcome out;
            scope server;
            server.spawn(serve_one(std::move(streams.first), options, out));
            co_await send_text(streams.second, request_text());
            auto const asked = co_await started.wait();
            CHECK(asked.has_value());
            if (deadline) {
                auto const answer = co_await read_rest(streams.second);
                CHECK(answer.starts_with("HTTP/1.1 408 "));
            } else {
                stream gone = std::move(streams.second);
            }
            co_await server.join(); // and does not throw
            CHECK(!out.open);
            CHECK(out.error == (deadline ? make_error_code(ws::errc::handshake_timeout) : out.error));
        }
    });
}

TEST_CASE("a refusal to a peer that does not read keeps nobody")
{
    on_loop([]() -> task<> {
        auto streams = make_stream_pair({.capacity = 16});
        scope sending;
        sending.spawn([](stream& s) -> task<> {
            auto const sent = co_await s.write(std::string_view("POST / HTTP/1.1\r\nHost: a\r\n\r\n"));
            (void)sent;
        }(streams.second));
        auto const start = clock::now();
        auto const ws = co_await upgrade(std::move(streams.first), quiet_server());
        CHECK(!ws);
        CHECK(clock::now() - start < 30s);
        co_await sending.join();
    }());
}

TEST_CASE("what a hook says of a status takes the place of what is usual")
{
    on_loop([]() -> task<> {
        auto streams = make_stream_pair();
        auto hook = [](request const&) -> task<response> {
            response r = response::refuse(503, "full");
            r.headers.emplace_back("Retry-After", "77");
            r.headers.emplace_back("content-type", "text/x-mine");
            co_return r;
        };
        auto options = quiet_server();
        options.authorize = hook;
        outcome out;
        scope server;
        server.spawn(serve_one(std::move(streams.first), options, out));
        co_await send_text(streams.second, request_text());
        auto const answer = co_await read_rest(streams.second);
        CHECK(answer.find("Retry-After: 77\r\n") != answer.npos);
        CHECK(answer.find("Retry-After: 1") == answer.npos);
        CHECK(answer.find("content-type: text/x-mine\r\n") != answer.npos);
        CHECK(answer.find("Content-Type") == answer.npos);
        co_await server.join();
    }());
}

TEST_CASE("a hook that the peer has left already is canceled at once")
{
    on_loop([]() -> task<> {
        auto streams = make_stream_pair();
        waiting_hook hook;
        ws::upgrade_options options;
        options.authorize = hook;
        co_await send_text(streams.second, request_text());
        streams.second.shutdown();
        auto const ws = co_await upgrade(std::move(streams.first), options);
        CHECK(hook.canceled);
        CHECK(ws.error() == errc::end_of_stream);
    }());
}

TEST_CASE("what a peer sends while a hook is asked is not taken in without limit")
{
    on_each([](kind k) -> task<> {
        auto streams = co_await connected(k);
        waiting_hook hook;
        ws::upgrade_options options;
        options.authorize = hook;
        outcome out;
        scope server;
        server.spawn(serve_one(std::move(streams.first), options, out));
        co_await send_text(streams.second, request_text());
        auto const started = co_await hook.now.wait();
        CHECK(started.has_value());
        // More than sockets hold: the server must stop reading, and so this write does not end.
        std::string const flood(64 << 20, 'x');
        auto const sent = co_await timeout(300ms, streams.second.write(flood));
        CHECK(sent.error() == errc::timed_out);
        server.request_stop();
        co_await server.join();
    });
}

// ---- origins ------------------------------------------------------------------------------------------------------

TEST_CASE("which origins may connect")
{
    struct
    {
        std::string_view allowed;
        std::string_view origin;
        std::string_view host;
        bool open;
    } const rows[] = {
        {"", "", "test", true}, // a program
        {"", "http://test", "test", true},
        {"", "https://test", "test", true},
        {"", "http://TEST", "test", true},
        {"", "http://test:80", "test", true},
        {"", "http://test", "test:80", true},
        {"", "https://test", "test:443", true},
        {"", "http://test:8080", "test:8080", true},
        {"", "http://test:8080", "test", false},
        {"", "http://test", "test:8080", false},
        {"", "http://test.evil", "test", false},
        {"", "http://eviltest", "test", false},
        {"", "null", "test", false},
        {"", "test", "test", false},
        {"", "http://", "test", false},
        {"", "http://[::1]:9000", "[::1]:9000", true},
        {"*", "http://any", "test", true},
        {"*", "null", "test", true},
        {"https://a.example, https://b.example:8443", "https://a.example", "test", true},
        {"https://a.example, https://b.example:8443", "https://b.example:8443", "test", true},
        {"https://a.example, https://b.example:8443", "https://b.example", "test", false},
        {"https://a.example", "http://a.example", "test", false},
        {"https://a.example", "https://a.example.evil", "test", false},
        {"https://a.example", "http://test", "test", false}, // the list replaces the same origin
        {"https://a.example", "", "test", true},
        {"null", "null", "test", true},
    };
    for (auto const& row : rows) {
        INFO("allowed '" << row.allowed << "', origin '" << row.origin << "', host '" << row.host << "'");
        ws::upgrade_options options;
        options.origins = row.allowed;
        std::string more = row.origin.empty() ? "" : "Origin: " + std::string(row.origin) + "\r\n";
        std::string text = request_text(more);
        text.replace(text.find("Host: test"), 10, "Host: " + std::string(row.host));
        auto const o = answer_to(text, options);
        CHECK(o.open == row.open);
        CHECK(o.status() == (row.open ? 101 : 403));
    }
}

TEST_CASE("an empty Origin field is no program's")
{
    CHECK(answer_to(request_text("Origin: \r\n")).status() == 403);
    CHECK(answer_to(request_text("Origin: http://test\r\nOrigin: http://test\r\n")).status() == 400);
}

// ---- subprotocols -------------------------------------------------------------------------------------------------

TEST_CASE("the subprotocol is the first of the server's that the client offers")
{
    struct
    {
        std::string_view server;
        std::string_view offer;
        std::string_view chosen;
    } const rows[] = {
        {"a, b", "b, a", "a"},  {"b,a", "a, b", "b"}, {"c", "a, b", ""},  {"", "a", ""},
        {"a", "", ""},          {"A", "a", ""},       {"z, a", "a", "a"},
    };
    for (auto const& row : rows) {
        ws::upgrade_options options;
        options.subprotocols = row.server;
        auto const o = answer_to(
            request_text(row.offer.empty() ? "" : "Sec-WebSocket-Protocol: " + std::string(row.offer) + "\r\n"),
            options);
        CHECK(o.open);
        CHECK(o.has_field("Sec-WebSocket-Protocol") == !row.chosen.empty());
        if (!row.chosen.empty())
            CHECK(o.has("Sec-WebSocket-Protocol: " + std::string(row.chosen)));
    }
}

TEST_CASE("both sides know the subprotocol")
{
    on_each([](kind k) -> task<> {
        auto server = quiet_server();
        server.subprotocols = "chat.v2, chat.v1";
        auto client = quiet_client();
        client.subprotocols = "chat.v1, chat.v2";
        auto both = co_await open_pair(k, server, client);
        CHECK(both.server.subprotocol() == "chat.v2");
        CHECK(both.client.subprotocol() == "chat.v2");
        client.subprotocols = "";
        auto none = co_await open_pair(k, server, client);
        CHECK(none.server.subprotocol().empty());
        CHECK(none.client.subprotocol().empty());
    });
}

// ---- how the request arrives --------------------------------------------------------------------------------------

TEST_CASE("frames in the segment of the request are delivered in order")
{
    on_each([](kind k) -> task<> {
        for (std::size_t count : {1U, 100U}) {
            auto streams = co_await connected(k);
            byte_string all = from_text(request_text());
            for (std::size_t i = 0; i < count; ++i)
                append(all, masked(0x81, std::to_string(i)));
            co_await send_text(streams.second, to_text(all)); // at once
            auto ws = co_await upgrade(std::move(streams.first), quiet_server());
            CHECK(ws.has_value());
            for (std::size_t i = 0; i < count; ++i) {
                auto const m = co_await ws->read();
                CHECK(m.value().text() == std::to_string(i));
            }
            ws->abort();
        }
    });
}

TEST_CASE("64 KiB behind the request, and half a frame, are delivered")
{
    on_each([](kind k) -> task<> {
        auto streams = co_await connected(k);
        auto const payload = pattern(64 * 1024);
        auto const last = masked(0x82, "the end");
        byte_string const all = from_text(request_text()) + make_frame(0x82, payload, true) + last;
        byte_string const first(all.begin(), all.end() - 5);
        byte_string const rest(all.end() - 5, all.end());
        scope sending;
        sending.spawn(send(streams.second, first));
        auto ws = co_await upgrade(std::move(streams.first), quiet_server());
        CHECK(ws.has_value());
        auto const large = co_await ws->read();
        CHECK(to_text(large.value().payload) == to_text(payload));
        co_await sending.join();
        co_await send(streams.second, rest);
        auto const end = co_await ws->read();
        CHECK(end.value().text() == "the end");
        ws->abort();
    });
}

TEST_CASE("a frame over the limit behind the request is answered with 1009")
{
    on_loop([]() -> task<> {
        auto streams = make_stream_pair();
        co_await send(streams.second,
                      from_text(request_text()) + from_hex("82 FF 00 00 00 00 00 20 00 00 01 02 03 04"));
        auto ws = co_await upgrade(std::move(streams.first), quiet_server());
        CHECK(ws.has_value());
        auto const m = co_await ws->read();
        CHECK(m.error() == violation(proto::errc::frame_too_large));
        auto const head = co_await read_head(streams.second);
        CHECK(head.starts_with("HTTP/1.1 101 "));
        auto const close = co_await read_wire(streams.second);
        CHECK(close.close_code() == 1009);
    }());
}

TEST_CASE("a head may come byte by byte")
{
    on_loop([]() -> task<> {
        stream_pair_options one;
        one.chunk = 1;
        auto streams = make_stream_pair(one);
        co_await send(streams.second, from_text(request_text()) + masked(0x81, "after"));
        auto ws = co_await upgrade(std::move(streams.first), quiet_server());
        CHECK(ws.has_value());
        auto const m = co_await ws->read();
        CHECK(m.value().text() == "after");
        ws->abort();
    }());
}

// ---- time ---------------------------------------------------------------------------------------------------------

TEST_CASE("a handshake that takes too long is answered with 408")
{
    on_each([](kind k) -> task<> {
        for (std::string_view begun : {"", "GET / HTTP/1.1\r\nHost: te"}) {
            auto streams = co_await connected(k);
            ws::upgrade_options options;
            options.handshake_timeout = 20ms;
            co_await send_text(streams.second, std::string(begun));
            auto const ws = co_await upgrade(std::move(streams.first), options);
            CHECK(ws.error() == ws::errc::handshake_timeout);
            auto const answer = co_await read_head(streams.second);
            CHECK(answer.starts_with("HTTP/1.1 408 "));
        }
    });
}

namespace {
task<> trickle(stream& s)
{
    std::string_view const text = "GET / HTTP/1.1\r\nX: ";
    for (std::size_t i = 0;; ++i) {
        auto const next = i < text.size() ? text.substr(i, 1) : "x";
        auto const sent = co_await s.write(next);
        auto const slept = co_await sleep_for(5ms);
        if (!sent || !slept)
            co_return;
    }
}
} // namespace

TEST_CASE("bytes that trickle in do not extend the deadline of the handshake")
{
    on_loop([]() -> task<> {
        auto streams = make_stream_pair();
        ws::upgrade_options options;
        options.handshake_timeout = 60ms;
        scope peer;
        peer.spawn(trickle(streams.second));
        auto const start = clock::now();
        auto const ws = co_await upgrade(std::move(streams.first), options);
        CHECK(ws.error() == ws::errc::handshake_timeout);
        CHECK(clock::now() - start >= 60ms);
        peer.request_stop();
        co_await peer.join();
        auto const answer = co_await read_head(streams.second);
        CHECK(answer.starts_with("HTTP/1.1 408 "));
    }());
}

TEST_CASE("a hook is within the time of the handshake")
{
    on_loop([]() -> task<> {
        auto streams = make_stream_pair();
        waiting_hook hook;
        ws::upgrade_options options;
        options.authorize = hook;
        options.handshake_timeout = 20ms;
        co_await send_text(streams.second, request_text());
        auto const ws = co_await upgrade(std::move(streams.first), options);
        CHECK(ws.error() == ws::errc::handshake_timeout);
        CHECK(hook.canceled);
        auto const answer = co_await read_head(streams.second);
        CHECK(answer.starts_with("HTTP/1.1 408 "));
    }());
}

TEST_CASE("a handshake without a limit waits")
{
    on_loop([]() -> task<> {
        auto streams = make_stream_pair();
        ws::upgrade_options options;
        options.handshake_timeout = duration::zero();
        auto const early = co_await timeout(20ms, upgrade(std::move(streams.first), options));
        CHECK(early.error() == errc::timed_out);
    }());
}

TEST_CASE("a canceled upgrade closes the stream unanswered")
{
    on_each([](kind k) -> task<> {
        auto streams = co_await connected(k);
        co_await send_text(streams.second, "GET / HTTP/1.1\r\n");
        auto const ws = co_await timeout(20ms, upgrade(std::move(streams.first)));
        CHECK(ws.error() == errc::timed_out);
        auto const rest = co_await read_rest(streams.second);
        CHECK(rest.find("HTTP/") == rest.npos);
    });
}

TEST_CASE("a peer that leaves during the handshake ends it")
{
    on_each([](kind k) -> task<> {
        for (std::string_view begun : {"", "GET / HTTP/1.1\r\n"}) {
            auto streams = co_await connected(k);
            co_await send_text(streams.second, std::string(begun));
            streams.second.shutdown();
            auto const ws = co_await upgrade(std::move(streams.first));
            CHECK(ws.error() == errc::end_of_stream);
            auto const rest = co_await read_rest(streams.second);
            CHECK(rest.empty());
        }
    });
}

TEST_CASE("a peer that resets during the handshake ends it")
{
    constexpr kind resetting[] = {kind::memory, kind::tcp, kind::tls_memory, kind::tls_tcp};
    on_each(
        [](kind k) -> task<> {
            auto streams = co_await connected(k);
            co_await send_text(streams.second, "GET / HTTP/1.1\r\n");
            streams.second.abort();
            auto const ws = co_await upgrade(std::move(streams.first));
            CHECK(ws.error() == std::errc::connection_reset);
        },
        resetting);
}

TEST_CASE("a handshake can be canceled at each of its suspensions")
{
    for (int delay : {0, 1})
        for (int at = 0; at < 12; ++at)
            on_loop([](int stop_at, int turns_later) -> task<> {
                stream_pair_options chunks;
                chunks.chunk = 40;
                auto streams = make_stream_pair(chunks);
                outcome out;
                scope server;
                server.spawn(serve_one(std::move(streams.first), {}, out));
                co_await send_text(streams.second, request_text());
                co_await turns(stop_at);
                server.request_stop();
                co_await turns(turns_later);
                co_await server.join();
                auto const rest = co_await read_rest(streams.second);
                CHECK(out.open == (rest.find(" 101 ") != rest.npos));
                if (!out.open)
                    CHECK(out.error == errc::canceled);
            }(at, delay));
}
