// SPDX-License-Identifier: BSL-1.0
#include "proto/tunnel.hpp"

#include "catch.hpp"

#include <string>
#include <vector>

using namespace wring::proto;
using namespace std::string_literals;

namespace {

url parsed(std::string_view text)
{
    url u;
    INFO(text);
    CHECK(parse_url(text, u) == errc::ok);
    return u;
}

proxy parsed_proxy(std::string_view text)
{
    proxy p;
    INFO(text);
    CHECK(parse_proxy(text, p) == errc::ok);
    return p;
}

bool bypassed(std::string_view list, std::string_view where)
{
    return bypasses_proxy(list, parsed(where));
}

// How a conversation ended that was fed in pieces of `piece` bytes.
struct outcome
{
    std::string said; // with '|' behind each message
    std::size_t consumed = 0;
    bool complete = false;
    unsigned refused = 0;
    errc error = errc::ok;

    bool operator==(outcome const&) const = default;
};

outcome talk(std::string_view where, std::string_view userinfo, std::string_view answers, std::size_t piece = 1000)
{
    outcome o;
    socks5 socks;
    o.error = socks.begin(parsed(where), userinfo);
    if (o.error != errc::ok) return o;
    o.said.append(socks.output()).append("|");
    while (o.consumed < answers.size()) {
        auto const p = socks.feed(answers.substr(o.consumed, piece));
        CHECK(p.consumed > 0);
        CHECK(p.consumed <= std::min(piece, answers.size() - o.consumed));
        o.consumed += p.consumed;
        if (p.send) o.said.append(socks.output()).append("|");
        o.complete = p.complete;
        o.refused = p.refused;
        o.error = p.error;
        if (o.complete || o.refused != 0 || o.error != errc::ok) break;
    }
    return o;
}

// The same, whatever the pieces.
outcome talk_in_pieces(std::string_view where, std::string_view userinfo, std::string_view answers)
{
    auto const whole = talk(where, userinfo, answers);
    for (std::size_t piece = 1; piece < answers.size(); ++piece)
        CHECK(talk(where, userinfo, answers, piece) == whole);
    return whole;
}

std::string const greeting = "\x05\x01\x00|"s;
std::string const greeting_with_password = "\x05\x02\x00\x02|"s;
std::string const to_host = "\x05\x01\x00\x03\x01h\x00\x50|"s; // ws://h/
std::string const open_v4 = "\x05\x00\x00\x01\x7f\x00\x00\x01\x12\x34"s;

} // namespace

TEST_CASE("a proxy's URL is taken apart", "[proto][tunnel]")
{
    auto const p = parsed_proxy("http://user:p%40ss@proxy.example:3128/");
    CHECK(p.kind == proxy::scheme::http);
    CHECK(p.host == "proxy.example");
    CHECK(p.port == 3128);
    CHECK(p.userinfo == "user:p%40ss");
    CHECK(parsed_proxy("http://h").port == 80);
    CHECK(parsed_proxy("HTTPS://h").port == 443);
    CHECK(parsed_proxy("https://h").kind == proxy::scheme::https);
    CHECK(parsed_proxy("socks5://h").port == 1080);
    CHECK(parsed_proxy("socks5://h").kind == proxy::scheme::socks5);
    CHECK(parsed_proxy("Socks5h://h:9").kind == proxy::scheme::socks5);
    CHECK(parsed_proxy("h:3128").kind == proxy::scheme::http);
    CHECK(parsed_proxy("h").port == 80);
    CHECK(parsed_proxy("user:pass@h:3128").userinfo == "user:pass");
    CHECK(parsed_proxy("http://[::1]:3128").host == "::1");
}

TEST_CASE("what is no proxy's URL is refused", "[proto][tunnel]")
{
    for (auto const* text :
         {"", "http://", "ftp://h", "socks://h", "socks4://h", "ws://h", "http://h:0", "http://h:65536", "http://h:x",
          "http://h/path", "http://h//", "http://h?q", "http://h#f", "http://a b/", "http://u\r\nX: y@h",
          "http://h\r\n", "http://u@", "http://[::1", "://h", "http://a@b@h"}) {
        INFO(text);
        proxy p;
        p.host = "before";
        CHECK(parse_proxy(text, p) == errc::proxy_url);
        CHECK(p.host == "before");
    }
}

TEST_CASE("the environment names a proxy for each scheme", "[proto][tunnel]")
{
    proxy_environment e;
    CHECK(choose_proxy(parsed("ws://h/"), e).empty());
    e.all = "all";
    CHECK(choose_proxy(parsed("ws://h/"), e) == "all");
    CHECK(choose_proxy(parsed("wss://h/"), e) == "all");
    e.http = "plain";
    e.https = "secure";
    CHECK(choose_proxy(parsed("ws://h/"), e) == "plain");
    CHECK(choose_proxy(parsed("wss://h/"), e) == "secure");
    CHECK(choose_proxy(parsed("ws+unix:/run/s:/"), e).empty());
    e.none = "other, h";
    CHECK(choose_proxy(parsed("ws://h/"), e).empty());
    CHECK(choose_proxy(parsed("wss://x.h/"), e).empty());
    CHECK(choose_proxy(parsed("ws://hh/"), e) == "plain");
}

TEST_CASE("a no_proxy list names hosts with all below them", "[proto][tunnel]")
{
    for (auto const* list : {"example.org", ".example.org", "*.example.org", "EXAMPLE.ORG", "a,example.org,b",
                             "a example.org\tb", " , example.org", "example.org."}) {
        INFO(list);
        CHECK(bypassed(list, "ws://example.org/"));
        CHECK(bypassed(list, "wss://www.Example.org:9001/x"));
        CHECK(bypassed(list, "wss://a.b.example.org./x"));
        CHECK(!bypassed(list, "ws://example.com/"));
        CHECK(!bypassed(list, "ws://badexample.org/"));
        CHECK(!bypassed(list, "ws://org/"));
        CHECK(!bypassed(list, "ws://example.org.evil/"));
    }
    CHECK(!bypassed("", "ws://h/"));
    CHECK(!bypassed(", ,", "ws://h/"));
    CHECK(bypassed("*", "ws://h/"));
    CHECK(bypassed("x,*", "ws://[::1]/"));
    CHECK(!bypassed("*h", "ws://xh/"));
    CHECK(!bypassed("a/b", "ws://a/"));
    CHECK(!bypassed("http://h", "ws://h/"));
}

TEST_CASE("a no_proxy entry may name a port", "[proto][tunnel]")
{
    CHECK(bypassed("example.org:9001", "ws://x.example.org:9001/"));
    CHECK(!bypassed("example.org:9001", "ws://example.org/"));
    CHECK(bypassed("example.org:443", "wss://example.org/"));
    CHECK(!bypassed("example.org:443", "ws://example.org/"));
    CHECK(bypassed("127.0.0.1:80", "ws://127.0.0.1/"));
    CHECK(!bypassed("127.0.0.1:81", "ws://127.0.0.1/"));
    CHECK(bypassed("[::1]:81", "ws://[::1]:81/"));
    CHECK(!bypassed("[::1]:81", "ws://[::1]/"));
    CHECK(!bypassed("h:99999", "ws://h/"));
}

TEST_CASE("a no_proxy entry may be an address or a network", "[proto][tunnel]")
{
    CHECK(bypassed("127.0.0.1", "ws://127.0.0.1:9001/"));
    CHECK(!bypassed("127.0.0.1", "ws://27.0.0.1/"));
    CHECK(!bypassed("0.0.1", "ws://127.0.0.1/"));
    CHECK(bypassed("::1", "ws://[::1]:9001/"));
    CHECK(bypassed("[::1]", "ws://[0:0::1]:9001/"));
    CHECK(bypassed("10.0.0.0/8", "ws://10.9.8.7/"));
    CHECK(bypassed("fd00::/8", "ws://[fd12::1]/"));
    CHECK(bypassed("0.0.0.0/0", "ws://1.2.3.4/"));
    CHECK(!bypassed("10.0.0.0/8", "ws://11.9.8.7/"));
    CHECK(!bypassed("10.0.0.0/8", "ws://ten.example/"));
    CHECK(!bypassed("10.0.0.0/8", "ws://[a00::]/"));
    for (auto const* list : {"10.0.0.0/33", "10.0.0.0/", "10.0.0.0/-1", "10.0.0.0/8x", "10.0.0/8", "/8",
                             "10.0.0.0/0008", "10.0.0.0/8/8"}) {
        INFO(list);
        CHECK(!bypassed(list, "ws://10.9.8.7/"));
    }
}

TEST_CASE("CONNECT names host and port, and the credentials", "[proto][tunnel]")
{
    auto const request = [](std::string_view where, std::string_view userinfo) {
        std::string text;
        write_connect(text, parsed(where), userinfo);
        return text;
    };
    CHECK(request("wss://example.org/x", "") ==
          "CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\n\r\n");
    CHECK(request("ws://u:p@h:81/x", "") == "CONNECT h:81 HTTP/1.1\r\nHost: h:81\r\n\r\n");
    CHECK(request("ws://[::1]/", "") == "CONNECT [::1]:80 HTTP/1.1\r\nHost: [::1]:80\r\n\r\n");
    CHECK(request("ws://h/", "user:p%40ss") ==
          "CONNECT h:80 HTTP/1.1\r\nHost: h:80\r\nProxy-Authorization: Basic dXNlcjpwQHNz\r\n\r\n");
}

TEST_CASE("SOCKS without authentication opens the way", "[proto][tunnel]")
{
    auto const o = talk_in_pieces("ws://h/", "", "\x05\x00"s + open_v4);
    CHECK(o.said == greeting + to_host);
    CHECK(o.complete);
    CHECK(o.error == errc::ok);
    CHECK(o.refused == 0);
    // what follows belongs to the server
    auto const more = talk_in_pieces("ws://h/", "", "\x05\x00"s + open_v4 + "HTTP");
    CHECK(more.complete);
    CHECK(more.consumed == 2 + open_v4.size());
    for (auto const& reply : {"\x05\x00\x00\x03\x03"s + "abc\x12\x34", "\x05\x00\x00\x03\x00\x12\x34"s,
                              "\x05\x00\x00\x04"s + std::string(18, 'x')}) {
        auto const other = talk_in_pieces("ws://h/", "", "\x05\x00"s + reply);
        CHECK(other.complete);
        CHECK(other.consumed == 2 + reply.size());
    }
    CHECK(!talk("ws://h/", "", "\x05\x00"s + open_v4.substr(0, open_v4.size() - 1)).complete);
}

TEST_CASE("SOCKS is told a name, or an address as such", "[proto][tunnel]")
{
    auto const asked = [](std::string_view where) { return talk(where, "", "\x05\x00"s).said.substr(greeting.size()); };
    CHECK(asked("wss://example.org/") == "\x05\x01\x00\x03\x0b"s + "example.org\x01\xbb|");
    CHECK(asked("ws://192.0.2.1:258/") == "\x05\x01\x00\x01\xc0\x00\x02\x01\x01\x02|"s);
    CHECK(asked("ws://[2001:db8::1]/") ==
          "\x05\x01\x00\x04\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x50|"s);
    auto const longest = std::string(255, 'a');
    CHECK(asked("ws://" + longest + "/") == "\x05\x01\x00\x03\xff"s + longest + "\x00\x50|"s);
    CHECK(talk("ws://" + longest + "a/", "", "").error == errc::url_host);
}

TEST_CASE("SOCKS with user and password, where the proxy asks for them", "[proto][tunnel]")
{
    auto const accepted = talk_in_pieces("ws://h/", "user:p%40ss", "\x05\x02\x01\x00"s + open_v4);
    CHECK(accepted.said == greeting_with_password + "\x01\x04user\x04p@ss|"s + to_host);
    CHECK(accepted.complete);
    auto const unasked = talk_in_pieces("ws://h/", "user:pass", "\x05\x00"s + open_v4);
    CHECK(unasked.said == greeting_with_password + to_host);
    CHECK(unasked.complete);
    CHECK(talk("ws://h/", "user", "\x05\x02"s).said == greeting_with_password + "\x01\x04user\x00|"s);
    auto const refused = talk_in_pieces("ws://h/", "user:pass", "\x05\x02\x01\x01"s);
    CHECK(refused.refused == socks5::not_authenticated);
    CHECK(talk_in_pieces("ws://h/", "u:p", "\x05\xff"s).refused == socks5::not_authenticated);
    CHECK(talk_in_pieces("ws://h/", "", "\x05\xff"s).refused == socks5::not_authenticated);
    for (auto const& userinfo : {std::string(":p"), std::string(256, 'u') + ":p", "u:" + std::string(256, 'p')})
        CHECK(talk("ws://h/", userinfo, "").error == errc::proxy_credentials);
    auto const longest = std::string(255, 'u') + ":" + std::string(255, 'p');
    CHECK(talk("ws://h/", longest, "\x05\x02\x01\x00"s + open_v4).complete);
}

TEST_CASE("SOCKS replies that refuse are told apart", "[proto][tunnel]")
{
    for (unsigned code = 1; code <= socks5::last_reply; ++code) {
        auto reply = open_v4;
        reply[1] = static_cast<char>(code);
        auto const o = talk_in_pieces("ws://h/", "", "\x05\x00"s + reply);
        CHECK(o.refused == code);
        CHECK(!o.complete);
        CHECK(o.error == errc::ok);
    }
}

TEST_CASE("what is no SOCKS is refused at the byte that shows it", "[proto][tunnel]")
{
    struct
    {
        std::string answers;
        errc error;
    } const rows[] = {
        {"\x04"s, errc::socks_version},
        {"HTTP/1.1 400 Bad Request\r\n\r\n", errc::socks_version},
        {"\x05\x01"s, errc::socks_method}, // GSSAPI
        {"\x05\x02"s, errc::socks_method}, // not offered
        {"\x05\x80"s, errc::socks_method},
        {"\x05\x00\x04"s, errc::socks_version},
        {"\x05\x00\x01"s, errc::socks_version},
        {"\x05\x00\x05\x09"s, errc::socks_reply},
        {"\x05\x00\x05\xff"s, errc::socks_reply},
        {"\x05\x00\x05\x00\x01"s, errc::socks_reply},
        {"\x05\x00\x05\x00\x00\x00"s, errc::socks_reply},
        {"\x05\x00\x05\x00\x00\x02"s, errc::socks_reply},
        {"\x05\x00\x05\x00\x00\x05"s, errc::socks_reply},
    };
    for (auto const& row : rows) {
        auto const o = talk_in_pieces("ws://h/", "", row.answers);
        CHECK(o.error == row.error);
        if (row.answers.size() < 10) CHECK(o.consumed == row.answers.size());
        CHECK(!o.complete);
    }
    CHECK(talk_in_pieces("ws://h/", "u:p", "\x05\x02\x05\x00"s).error == errc::socks_version);
    CHECK(talk_in_pieces("ws://h/", "u:p", "\x05\x01"s).error == errc::socks_method);
}
