// SPDX-License-Identifier: BSL-1.0
// What a strict server answers, rule by rule: each request whole over every kind of stream, and cut in two at every
// byte. Behind each stands another request, which must never be looked at where the first is refused.
#include "http/harness.hpp"

#include <algorithm>

using namespace http_test;
using ws_test::request_text;

namespace {

constexpr std::string_view behind = "GET /admin HTTP/1.1\r\nHost: test\r\n\r\n";

/// A server with all kinds of routes; what must not be reached counts.
struct strict_server
{
    explicit strict_server(server_options options = {}) : app(options)
    {
        ws::upgrade_options chat;
        chat.subprotocols = "v2, v1";
        app.ws(
            "/", [this](ws::connection& ws) { return opened(*this, ws); }, chat);
        app.get("/page", [](request&) -> task<response> { co_return response(200, "page"); });
        app.get("/admin", [this](request&) { return admin(*this); });
        app.post("/form", [](request& r) -> task<response> {
            auto const body = (co_await r.body()).value();
            co_return response(200, "got " + body);
        });
    }
    static task<> opened(strict_server& self, ws::connection& ws)
    {
        ++self.upgrades;
        while (auto m = co_await ws.read())
            if (!co_await ws.write(*m)) break;
    }
    static task<response> admin(strict_server& self)
    {
        ++self.admins;
        co_return response(200, "secret");
    }
    server app;
    int upgrades = 0;
    int admins = 0;
};

/// Where to cut a text of this size: everywhere, or in a long one near its ends and now and then. Once where single bytes
/// arrive anyway.
std::vector<std::size_t> cuts_of(std::size_t size)
{
    if (test::tiny()) return {size / 2};
    std::vector<std::size_t> cuts;
    for (std::size_t i = 1; i < size; ++i)
        if (size < 1000 || i < 100 || size - i < 100 || i % 997 == 0) cuts.push_back(i);
    return cuts;
}

/// One connection: `text` in two parts, the server's own time between; then what came back.
task<> exchange(server& app, kind k, std::string text, std::size_t cut, reply& first, std::string& rest)
{
    auto streams = co_await connected(k);
    scope serving;
    serving.spawn(app.serve(std::move(streams.first)));
    {
        stream client = std::move(streams.second);
        co_await turns(1);
        co_await send_text(client, text.substr(0, cut));
        if (cut < text.size()) {
            co_await turns(2);
            auto const sent = co_await client.write(std::string_view(text).substr(cut));
            (void)sent; // refused already, perhaps
        }
        first.head = co_await read_head(client);
        if (first.status() != 101) rest = co_await read_rest(client);
    }
    co_await serving.join();
}

task<> check_all(strict_server& s, std::string text, int status, void (*also)(reply const&, std::string const&))
{
    bool const head = text.starts_with("HEAD");
    auto const judge = [&](reply const& first, std::string const& rest) {
        CHECK(first.status() == status);
        if (status != 101) {
            CHECK(first.closes());
            CHECK(rest.find('<') == rest.npos); // a clean end, and nothing behind the response
            CHECK((head ? rest.empty() : first.has("Content-Length: " + std::to_string(rest.size()))));
        } else {
            CHECK(!first.field("Content-Length"));
            CHECK(!first.field("Transfer-Encoding"));
        }
        if (also) also(first, rest);
    };
    for (kind k : kinds) {
        INFO(name_of(k));
        reply first;
        std::string rest;
        co_await exchange(s.app, k, text, text.size(), first, rest);
        judge(first, rest);
    }
    for (std::size_t cut : cuts_of(text.size())) {
        INFO(cut);
        reply first;
        std::string rest;
        co_await exchange(s.app, kind::memory, text, cut, first, rest);
        judge(first, rest);
    }
    CHECK(s.admins == 0);
}

void refused(std::string request, int status, void (*also)(reply const&, std::string const&) = nullptr,
             server_options options = {})
{
    INFO(request.substr(0, 400));
    strict_server s(options);
    on_loop(check_all(s, request.append(behind), status, also));
    CHECK(s.upgrades == 0);
    CHECK(s.app.connections() == 0);
}

void upgraded(std::string request, void (*also)(reply const&, std::string const&) = nullptr)
{
    INFO(request);
    strict_server s;
    on_loop(check_all(s, std::move(request), 101, also));
    CHECK(s.upgrades > 0);
    CHECK(s.app.connections() == 0);
}

/// Answered as plain HTTP, and the connection goes on to the next request.
void answered(std::string const& request, int status, std::string_view body)
{
    INFO(request);
    strict_server s;
    for (kind k : kinds) {
        auto const all = ask_all(s.app, request + request_for("/admin", "Connection: close\r\n"), 2, k);
        REQUIRE(all.replies.size() == 2);
        CHECK(all.replies[0].status() == status);
        CHECK(all.replies[0].body == body);
        CHECK(all.replies[1].body == "secret");
    }
    on_loop([](strict_server& t, std::string text, int wanted) -> task<> {
        for (std::size_t cut : cuts_of(text.size())) {
            reply first;
            std::string rest;
            co_await exchange(t.app, kind::memory, text + request_for("/none"), cut, first, rest);
            CHECK(first.status() == wanted);
        }
    }(s, request, status));
}

/// A sound upgrade with one piece of its text replaced.
std::string changed(std::string_view from, std::string_view to, std::string text = request_text())
{
    auto const at = text.find(from);
    REQUIRE(at != text.npos);
    return text.replace(at, from.size(), to);
}

/// The same of a plain request.
std::string changed_page(std::string_view from, std::string_view to)
{
    return changed(from, to, request_for("/page"));
}

} // namespace

// ---- the request line ----------------------------------------------------------------------------------------------

TEST_CASE("strict: an upgrade by another method is 405 with Allow")
{
    for (char const* method : {"POST", "PUT", "HEAD", "OPTIONS", "get", "DELETE"})
        refused(changed("GET", method), 405, [](reply const& r, std::string const&) { CHECK(r.has("Allow: GET")); });
}

TEST_CASE("strict: HTTP/1.0 is never upgraded")
{
    refused(changed("HTTP/1.1", "HTTP/1.0"), 400);
}

TEST_CASE("strict: HTTP/2.0 in text is 505")
{
    refused(changed("HTTP/1.1", "HTTP/2.0"), 505);
    refused(changed_page("HTTP/1.1", "HTTP/3.1"), 505);
    refused("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505);
}

TEST_CASE("strict: a version in lower case, malformed or missing")
{
    for (char const* version : {"http/1.1", "HTTP/1,1", "HTTP/1.", "HTTP/11", "HTTP/1.1x", "Http/1.1", "HTTP 1.1"})
        refused(changed("HTTP/1.1", version), 400);
    refused(changed_page(" HTTP/1.1", ""), 400);
}

TEST_CASE("strict: more than one space, or a tab, in the request line")
{
    for (char const* line : {"GET  /", "GET\t/", " GET /", "GET /  ", "GET / \t"})
        refused(changed("GET /", line), 400);
    refused(changed_page("HTTP/1.1", "HTTP/1.1 "), 400);
}

TEST_CASE("strict: one empty line before the request is passed over, a second is not")
{
    upgraded("\r\n" + request_text());
    answered("\r\n" + request_for("/page"), 200, "page");
    refused("\r\n\r\n" + request_text(), 400);
}

TEST_CASE("strict: a character in the target that no target has")
{
    for (std::string_view bad : {std::string_view("\x01", 1), std::string_view("\0", 1), std::string_view("\x7F", 1),
                                 std::string_view("\x80", 1), std::string_view("\xFF", 1), std::string_view("#a", 2)})
        refused(changed("GET /", "GET /" + std::string(bad)), 400);
}

TEST_CASE("strict: targets in asterisk and authority form")
{
    refused(changed("GET /", "GET *"), 400);
    refused(changed("GET /", "GET test:80"), 400);
    refused("CONNECT test:80 HTTP/1.1\r\nHost: test:80\r\n\r\n", 400);
    refused("OPTIONS * HTTP/1.1\r\nHost: test\r\n\r\n", 400);
}

TEST_CASE("strict: the absolute form is accepted, with the host of the Host field")
{
    upgraded(changed("GET /", "GET http://test/"));
    upgraded(changed("GET /", "GET ws://TEST/"));
    answered(changed_page("GET /", "GET http://test/"), 200, "page");
    refused(changed("GET /", "GET http://other/"), 400);
    refused(changed("GET /", "GET http://test:81/"), 400);
    refused(changed("GET /", "GET http://user@test/"), 400);
    refused(changed("GET /", "GET ftp://test/"), 400);
}

TEST_CASE("strict: a target over its limit is 414")
{
    refused(request_text({}, "/" + std::string(8192, 'x')), 414);
    refused("GET /" + std::string(20'000, 'x'), 414); // long before it ends
}

TEST_CASE("strict: paths that no client sends")
{
    for (char const* path : {"/a/../page", "/./page", "/a/%2e%2e/page", "/%2E./page", "/page%00", "/pag%", "/%zz"})
        refused(request_for(path), 400);
    answered(request_for("/%70age"), 200, "page");
}

// ---- header fields -------------------------------------------------------------------------------------------------

TEST_CASE("strict: a bare LF ends no line")
{
    refused(changed("Host: test\r\n", "Host: test\n"), 400);
    refused(changed("HTTP/1.1\r\n", "HTTP/1.1\n"), 400);
    refused("GET /page HTTP/1.1\r\nHost: test\r\n\n", 400);
}

TEST_CASE("strict: a bare CR ends no line")
{
    refused(changed("Host: test\r\n", "Host: test\rX: 1\r\n"), 400);
    refused(changed("HTTP/1.1\r\n", "HTTP/1.1\r"), 400);
    refused("GET /page HTTP/1.1\r\nHost: test\r\n\rX", 400);
}

TEST_CASE("strict: NUL and control characters in a value")
{
    for (std::string_view bad : {std::string_view("a\0b", 3), std::string_view("a\x01"), std::string_view("\x1F"),
                                 std::string_view("a\x7F"), std::string_view("\b")})
        refused(request_text("X: " + std::string(bad) + "\r\n"), 400);
    upgraded(request_text("X: a\tb \xC3\xBC\r\n"));
}

TEST_CASE("strict: a folded field")
{
    refused(request_text("X: a\r\n b\r\n"), 400);
    refused(request_text("X: a\r\n\tb\r\n"), 400);
}

TEST_CASE("strict: white space before the first field")
{
    refused(changed("Host:", " Host:"), 400);
    refused(changed("Host:", "\tHost:"), 400);
}

TEST_CASE("strict: white space before the colon")
{
    refused(changed("Host:", "Host :"), 400);
    refused(request_text("X\t: a\r\n"), 400);
    refused(request_text("Content-Length : 5\r\n"), 400);
    refused(request_text("Transfer-Encoding : chunked\r\n"), 400);
}

TEST_CASE("strict: a field name that is empty or no token")
{
    for (char const* name : {"", "X(Y)", "X@", "X\"", "X/Y", "X\xC3\xBC", "X Y", "{X}", "[X]", "X,Y", "X;"})
        refused(request_text(std::string(name) + ": a\r\n"), 400);
}

TEST_CASE("strict: a field without a colon")
{
    refused(request_text("X\r\n"), 400);
    refused(request_text("X-Y-Z\r\n"), 400);
}

TEST_CASE("strict: more than 100 fields, or more than 16 KiB of them, are 431")
{
    std::string fields;
    for (int i = 0; i < 101; ++i)
        fields += "X: 1\r\n";
    refused(request_text(fields), 431);
    refused(request_text("X: " + std::string(16 * 1024, 'x') + "\r\n"), 431);
    refused("GET / HTTP/1.1\r\nX: " + std::string(40'000, 'x'), 431); // one that does not end
}

// ---- Host ----------------------------------------------------------------------------------------------------------

TEST_CASE("strict: Host is missing")
{
    refused(changed("Host: test\r\n", ""), 400);
    refused("GET /page HTTP/1.1\r\n\r\n", 400);
}

TEST_CASE("strict: Host is there twice, equal or not")
{
    refused(changed("Host: test\r\n", "Host: test\r\nHost: test\r\n"), 400);
    refused(changed("Host: test\r\n", "Host: test\r\nhost: other\r\n"), 400);
}

TEST_CASE("strict: Host with a user, a path, a comma, or nothing")
{
    for (char const* host :
         {"a@test", "test/", "test, other", "", "test:x", "test:65536", "[::1", "te st", "test?x", "http://test"})
        refused(changed("Host: test", "Host: " + std::string(host)), 400);
    upgraded(changed("Host: test", "Host: [::1]:8080"));
    upgraded(changed("Host: test", "Host: test:"));
}

// ---- the fields of the handshake -----------------------------------------------------------------------------------

TEST_CASE("strict: a key, a version or an origin that is there twice")
{
    refused(request_text("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"), 400);
    refused(request_text("Sec-WebSocket-Version: 13\r\n"), 400);
    refused(request_text("Origin: http://test\r\nOrigin: http://test\r\n"), 400);
}

TEST_CASE("strict: lists of subprotocols and extensions may take several lines")
{
    upgraded(request_text("Sec-WebSocket-Protocol: v0\r\nSec-WebSocket-Protocol: v1\r\n"),
             [](reply const& r, std::string const&) { CHECK(r.has("Sec-WebSocket-Protocol: v1")); });
    upgraded(request_text("Sec-WebSocket-Extensions: a; b=1\r\nSec-WebSocket-Extensions: c, d; e=\"f\"\r\n"),
             [](reply const& r, std::string const&) { CHECK(!r.field("Sec-WebSocket-Extensions")); });
}

TEST_CASE("strict: a key that is not 16 bytes in canonical base64")
{
    for (char const* key : {"", "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25jZQ=", "dGhlIHNhbXBsZSBub25jZR==",
                            "dGhlIHNhbXBsZSBub25jZQ===", "dGhlIHNhbXBsZSBub25j", "dGhlIHNhbXBsZSBub25jZQ==, x",
                            "dGhlIHNhbXBsZSBub25j*Q==", "AAAAAAAAAAAAAAAAAAAAAAAA"})
        refused(changed("dGhlIHNhbXBsZSBub25jZQ==", key), 400);
    upgraded(changed("dGhlIHNhbXBsZSBub25jZQ==", "  \tdGhlIHNhbXBsZSBub25jZQ== \t"));
}

TEST_CASE("strict: a version other than 13 is 426 and says what there is")
{
    auto const told = [](reply const& r, std::string const&) {
        CHECK(r.has("Sec-WebSocket-Version: 13"));
        CHECK(r.has("Upgrade: websocket"));
        CHECK(r.has("Connection: close, Upgrade"));
    };
    for (char const* version : {"7", "8", "0", "12", "14", "99", "013", "13, 8", "13.0", "", "+13"})
        refused(changed("Version: 13", "Version: " + std::string(version)), 426, told);
    refused(changed("Sec-WebSocket-Version: 13\r\n", ""), 426, told);
}

TEST_CASE("strict: Connection is a list of whole tokens over all its lines")
{
    for (char const* value :
         {"keep-alive, Upgrade", "upgrade", "UPGRADE", ",,upgrade,", "keep-alive\r\nConnection: upgrade"})
        upgraded(changed("Connection: Upgrade", "Connection: " + std::string(value)));
    for (char const* value : {"upgradex", "xupgrade", "keep-alive", "", "close, upgrade",
                              "upgrade\r\nConnection: close", "up grade", "\"upgrade\""})
        refused(changed("Connection: Upgrade", "Connection: " + std::string(value)), 400);
}

TEST_CASE("strict: Upgrade is a list that contains websocket")
{
    for (char const* value : {"h2c, WebSocket", "WEBSOCKET", "h2c\r\nUpgrade: websocket", "websocket, h2c"})
        upgraded(changed("Upgrade: websocket", "Upgrade: " + std::string(value)));
    for (char const* value : {"websocket/1", "websockets", "h2c", "", "web socket"})
        refused(changed("Upgrade: websocket", "Upgrade: " + std::string(value)), 426);
}

TEST_CASE("strict: a request that asks for another protocol is plain HTTP, and the last on its connection")
{
    strict_server s;
    for (char const* line :
         {"Upgrade: h2c\r\nConnection: Upgrade\r\n", "Upgrade: websocket\r\nConnection: Upgrade\r\n"}) {
        auto const all = ask_all(s.app, request_for("/page", line) + std::string(behind), 2);
        REQUIRE(all.replies.size() == 1);
        CHECK(all.replies[0].body == "page");
        CHECK(all.replies[0].closes());
        CHECK(all.rest.empty());
    }
    refused(request_for("/"), 426);
}

TEST_CASE("strict: subprotocols are tokens, each once; one of those offered is chosen, with case")
{
    for (char const* offer : {"v 1", "v1,v1", "v1, \"v2\"", "v1;q=1", "v(1)"})
        refused(request_text("Sec-WebSocket-Protocol: " + std::string(offer) + "\r\n"), 400);
    upgraded(request_text("Sec-WebSocket-Protocol: v1, v2\r\n"),
             [](reply const& r, std::string const&) { CHECK(r.has("Sec-WebSocket-Protocol: v2")); });
    upgraded(request_text("Sec-WebSocket-Protocol: V1, other\r\n"),
             [](reply const& r, std::string const&) { CHECK(!r.field("Sec-WebSocket-Protocol")); });
}

TEST_CASE("strict: extensions that follow no grammar")
{
    for (char const* offer : {";", "x;", "x;a=", "x;a=\"", "x y", "x;a=\"b c\"", "=x"})
        refused(request_text("Sec-WebSocket-Extensions: " + std::string(offer) + "\r\n"), 400);
}

TEST_CASE("strict: foreign origins are 403")
{
    for (char const* origin :
         {"http://other", "null", "https://test.evil", "http://nottest", "http://test:81", "test", ""})
        refused(request_text("Origin: " + std::string(origin) + "\r\n"), 403);
    for (char const* origin : {"http://test", "https://test", "http://TEST", "http://test:80", "https://test:443"})
        upgraded(request_text("Origin: " + std::string(origin) + "\r\n"));
}

// ---- the body ------------------------------------------------------------------------------------------------------

TEST_CASE("strict: an upgrade has no body")
{
    refused(request_text("Content-Length: 5\r\n") + "hello", 400);
    refused(request_text("Transfer-Encoding: chunked\r\n") + "0\r\n\r\n", 400);
    upgraded(request_text("Content-Length: 0\r\n"));
}

TEST_CASE("strict: Content-Length and Transfer-Encoding together, in either order")
{
    for (char const* target : {"/", "/form"}) {
        refused(request_text("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", target) + "0\r\n\r\n", 400);
        refused(request_text("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", target) + "0\r\n\r\n", 400);
        refused(request_for(target, "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n", "POST") + "0\r\n\r\n", 400);
    }
}

TEST_CASE("strict: a Transfer-Encoding that does not end in chunked, or is in HTTP/1.0")
{
    for (char const* coding : {"gzip", "chunked, gzip", "chunked, chunked", "xchunked", "chunkedx", "identity", "",
                               "chunked\r\nTransfer-Encoding: identity", "\"chunked\"", "chunked;q=1"})
        refused(request_for("/form", "Transfer-Encoding: " + std::string(coding) + "\r\n", "POST") + "0\r\n\r\n", 400);
    refused(changed("HTTP/1.1", "HTTP/1.0", request_for("/form", "Transfer-Encoding: chunked\r\n", "POST")) +
                "0\r\n\r\n",
            400);
    // Sound, but what the coding hides is not for us to see.
    refused(request_for("/form", "Transfer-Encoding: gzip, chunked\r\n", "POST") + "0\r\n\r\n", 501);
}

TEST_CASE("strict: a Content-Length that is not one decimal number")
{
    for (char const* length :
         {"+5", "-0", "-5", "0x5", "5,5", "5, 5", "5 5", "", "five", "5.0", "9223372036854775808",
          "18446744073709551616", "99999999999999999999", "5\r\nContent-Length: 5", "5\r\nContent-Length: 6"})
        refused(request_for("/form", "Content-Length: " + std::string(length) + "\r\n", "POST") + "hello", 400);
    answered(request_for("/form", "Content-Length: 005\r\n", "POST") + "hello", 200, "got hello");
}

TEST_CASE("strict: a body over the limit is 413, before any of it is read")
{
    refused(request_for("/form", "Content-Length: 1048577\r\n", "POST"), 413);
    refused(request_for("/form", "Content-Length: 9223372036854775807\r\n", "POST"), 413);
    refused(request_for("/form", "Transfer-Encoding: chunked\r\n", "POST") + "100001\r\n", 413);
    refused(request_for("/form", "Transfer-Encoding: chunked\r\n", "POST") + "FFFFFFFFFFFFFFFF\r\n", 413);
}

TEST_CASE("strict: a chunk that is not as the grammar says")
{
    for (char const* body :
         {"5\nhello\n0\n\n", "5\r\nhello0\r\n\r\n", "5\r\nhelloXX0\r\n\r\n", "0x5\r\nhello\r\n0\r\n\r\n",
          "5 \r\nhello\r\n0\r\n\r\n", "\r\n", "-5\r\n", "5;a\nhello\r\n0\r\n\r\n", "0\r\nX\r\n\r\n",
          "0\r\nX : y\r\n\r\n", "00000000000000005\r\nhello\r\n0\r\n\r\n"})
        refused(request_for("/form", "Transfer-Encoding: chunked\r\n", "POST") + body, 400);
    answered(request_for("/form", "Transfer-Encoding: chunked\r\n", "POST") +
                 "3;x=y\r\nhel\r\n2\r\nlo\r\n0\r\nX: y\r\n\r\n",
             200, "got hello");
}

TEST_CASE("strict: Expect is 417")
{
    refused(request_text("Expect: 100-continue\r\n"), 417);
    refused(request_for("/form", "Expect: 100-continue\r\nContent-Length: 5\r\n", "POST") + "hello", 417);
}

// ---- smuggling -----------------------------------------------------------------------------------------------------

TEST_CASE("strict: what follows a refused upgrade is never taken for a request")
{
    // As if through a proxy that does not look at the status: version 99, a body of either kind, another method.
    refused(changed("Version: 13", "Version: 99"), 426);
    refused(request_text("Content-Length: 38\r\n"), 400);
    refused(request_text("Transfer-Encoding: chunked\r\n") + "26\r\n", 400);
    refused(changed("GET", "POST", request_text("Content-Length: 0\r\n")), 405);
    refused(changed("Connection: Upgrade", "Connection: close"), 400);
    refused(request_text({}, "/nowhere"), 404);
}

TEST_CASE("strict: the body of one request is not the next request")
{
    strict_server s;
    for (kind k : kinds) {
        auto const all = ask_all(s.app, post("/form", behind, "Connection: close\r\n"), 2, k);
        REQUIRE(all.replies.size() == 1);
        CHECK(all.replies[0].body == "got " + std::string(behind));
        auto const chunked =
            ask_all(s.app,
                    request_for("/form", "Transfer-Encoding: chunked\r\nConnection: close\r\n", "POST") + "23\r\n" +
                        std::string(behind) + "\r\n0\r\n\r\n",
                    2, k);
        REQUIRE(chunked.replies.size() == 1);
        CHECK(chunked.replies[0].body == "got " + std::string(behind));
        // Nor where nobody has asked for it.
        auto const unread = ask_all(
            s.app, request_for("/page", "Content-Length: 35\r\nConnection: close\r\n") + std::string(behind), 2, k);
        REQUIRE(unread.replies.size() == 1);
        CHECK(unread.replies[0].body == "page");
    }
    CHECK(s.admins == 0);
}

// ---- frames behind the request -------------------------------------------------------------------------------------

TEST_CASE("strict: frames in the segment of the request are delivered after the 101, in order")
{
    strict_server s;
    static std::string const large(60'000, 'l');
    with_client(s.app, [](server&, stream& client) -> task<> {
        using namespace ws_test;
        auto all = from_text(request_text());
        append(all, masked(0x81, "one"));
        for (int i = 0; i < 100; ++i)
            append(all, masked(0x81, std::to_string(i)));
        append(all, masked(0x82, large));
        auto const half = masked(0x81, "the last, cut in two");
        append(all, {half.begin(), half.begin() + 9});
        co_await ws_test::send(client, all);
        auto const head = co_await read_head(client);
        CHECK(head.starts_with("HTTP/1.1 101 "));
        auto const first = co_await read_wire(client);
        CHECK(first.payload == "one");
        for (int i = 0; i < 100; ++i) {
            auto const f = co_await read_wire(client);
            CHECK(f.payload == std::to_string(i));
        }
        auto const big = co_await read_wire(client);
        CHECK(big.payload.size() == large.size());
        co_await ws_test::send(client, {half.begin() + 9, half.end()});
        auto const last = co_await read_wire(client);
        CHECK(last.payload == "the last, cut in two");
        co_await ws_test::send(client, masked(0x88, close_payload(1000)));
        auto const bye = co_await read_wire(client);
        CHECK(bye.close_code() == 1000);
    });
    CHECK(s.upgrades == static_cast<int>(std::size(kinds)));
}

TEST_CASE("strict: a frame over the limit behind the request is 1009")
{
    strict_server s;
    with_client(s.app, [](server&, stream& client) -> task<> {
        using namespace ws_test;
        auto all = from_text(request_text());
        append(all, from_hex("82 FF 00 00 00 00 00 10 00 01 01 02 03 04"));
        co_await ws_test::send(client, all);
        (void)co_await read_head(client);
        auto const bye = co_await read_wire(client);
        CHECK(bye.close_code() == 1009);
    });
}
