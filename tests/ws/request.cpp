// SPDX-License-Identifier: BSL-1.0
#include "catch.hpp"

#include "ws/request_data.hpp"

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
