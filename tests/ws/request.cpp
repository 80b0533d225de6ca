// SPDX-License-Identifier: BSL-1.0
#include "catch.hpp"

#include "ws/request_data.hpp"

#include <wring/loop.hpp>

using namespace wring;

namespace {

/// A request head that owns its text.
struct sample
{
    explicit sample(std::string t) : text(std::move(t))
    {
        REQUIRE(proto::parse_request(text, data.head) == proto::errc::ok);
        data.remote = endpoint::parse("192.0.2.1:4000").value();
    }
    std::string text;
    detail::request_data data;
    request view{data};
};

} // namespace

TEST_CASE("a request shows its parts")
{
    sample const s("GET /chat/room?name=ann&empty=&flag&name=bob HTTP/1.1\r\nHost: example.org\r\n"
                   "Cookie: a=1; session=xyz; b=2\r\nX-One: 1\r\nx-one: 2\r\nOrigin: https://example.org\r\n"
                   "Sec-WebSocket-Protocol: chat, superchat\r\nSec-WebSocket-Protocol: third\r\n\r\n");
    request const& r = s.view;
    CHECK(r.method() == "GET");
    CHECK(r.target() == "/chat/room?name=ann&empty=&flag&name=bob");
    CHECK(r.path() == "/chat/room");
    CHECK(r.query() == "name=ann&empty=&flag&name=bob");
    CHECK(r.query_value("name") == "ann");
    CHECK(r.query_value("empty") == "");
    CHECK(r.query_value("flag") == "");
    CHECK(!r.query_value("nam"));
    CHECK(r.field("x-ONE") == "1");
    CHECK(!r.field("X-Two"));
    CHECK(r.cookie("session") == "xyz");
    CHECK(!r.cookie("sess"));
    CHECK(r.origin() == "https://example.org");
    CHECK(r.subprotocols() == std::vector<std::string_view>{"chat", "superchat", "third"});
    auto const fields = r.fields();
    REQUIRE(fields.size() == 7);
    CHECK(fields[0].name == "Host");
    CHECK(fields[3].name == "x-one");
    CHECK(fields[3].value == "2");
    CHECK(r.remote() == endpoint::parse("192.0.2.1:4000").value());
    CHECK(!r.is_upgrade());
}

TEST_CASE("a request without the extras has none")
{
    sample const s("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    CHECK(s.view.query().empty());
    CHECK(!s.view.query_value(""));
    CHECK(!s.view.origin());
    CHECK(!s.view.cookie("a"));
    CHECK(s.view.subprotocols().empty());
}

TEST_CASE("a sound upgrade is told from others")
{
    sample const s("GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                   "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
    CHECK(s.view.is_upgrade());
}

TEST_CASE("responses are what their makers are called")
{
    CHECK(response::accept().status == 101);
    auto const refused = response::refuse(403, "no");
    CHECK(refused.status == 403);
    CHECK(refused.body == "no");
    auto const page = response::html("<p>");
    CHECK(page.status == 200);
    CHECK(page.content_type.starts_with("text/html"));
}

namespace {
task<response> plain(request const&)
{
    co_return response::refuse(401);
}
struct counting
{
    int calls = 0;
    task<response> operator()(request const&)
    {
        ++calls;
        return plain_answer();
    }
    static task<response> plain_answer() { co_return response::refuse(402); }
};
} // namespace

TEST_CASE("a hook is a function, a lambda without captures or a reference to an object")
{
    CHECK(!request_hook());
    request_hook const function = plain;
    CHECK(function);
    request_hook const lambda = [](request const& r) { return plain(r); };
    CHECK(lambda);
    counting object;
    request_hook const referring = object;
    sample const s("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    auto unstarted = referring(s.view);
    CHECK(object.calls == 1);
    STATIC_CHECK(std::is_trivially_destructible_v<request_hook>);
}

TEST_CASE("a parameter of the query is decoded on demand")
{
    sample const s("GET /?a=x%20y+z&b=%zz&c=%C3%BC&d HTTP/1.1\r\nHost: h\r\n\r\n");
    CHECK(s.view.query_value("a") == "x%20y+z");
    CHECK(s.view.query_text("a") == "x y z");
    CHECK(!s.view.query_text("b"));
    CHECK(s.view.query_text("c") == "\xC3\xBC");
    CHECK(s.view.query_text("d") == "");
    CHECK(!s.view.query_text("e"));
}

TEST_CASE("a request has the parameters of its route, and room for what a hook finds out")
{
    sample s("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    CHECK(s.view.param("room").empty());
    s.data.params.emplace_back("room", "a b");
    s.data.params.emplace_back("*", "c/d");
    CHECK(s.view.param("room") == "a b");
    CHECK(s.view.param("*") == "c/d");
    CHECK(s.view.param("Room").empty());
    CHECK(!s.view.attachment().has_value());
    s.view.attachment() = std::string("ann");
    CHECK(std::any_cast<std::string>(s.view.attachment()) == "ann");
}

namespace {

struct pieces final : detail::body_source
{
    task<result<std::string_view>> next_piece() override { return give(*this); }
    static task<result<std::string_view>> give(pieces& self)
    {
        if (self.at == self.texts.size())
            co_return self.end;
        co_return self.texts[self.at++];
    }
    std::vector<std::string_view> texts;
    std::error_code end = errc::end_of_stream;
    std::size_t at = 0;
};

task<> read_whole(request& r, result<std::string>& out)
{
    out = co_await r.body();
}

result<std::string> whole(request r)
{
    result<std::string> out = errc::canceled;
    run_options options;
    options.handle_signals = false;
    CHECK(run(read_whole(r, out), options) == 0);
    return out;
}

} // namespace

TEST_CASE("a body is read in pieces or whole, and its error is handed on")
{
    sample s("POST / HTTP/1.1\r\nHost: h\r\n\r\n");
    CHECK(whole(s.view).value() == ""); // a hook's request has none
    pieces some;
    some.texts = {"one ", "two"};
    s.data.body = &some;
    CHECK(whole(s.view).value() == "one two");
    some.at = 0;
    some.end = std::make_error_code(std::errc::connection_reset);
    CHECK(whole(s.view).error() == std::errc::connection_reset);
}

TEST_CASE("responses of the common kinds")
{
    CHECK(response::html("<p>").content_type == "text/html; charset=utf-8");
    auto const who = response::challenge("Basic realm=\"x\"");
    CHECK(who.status == 401);
    CHECK(who.headers == std::vector<std::pair<std::string, std::string>>{{"WWW-Authenticate", "Basic realm=\"x\""}});
    auto const there = response::redirect("/login");
    CHECK(there.status == 303);
    CHECK(there.headers.front().second == "/login");
    CHECK(response::redirect("/new", 308).status == 308);
}
