// SPDX-License-Identifier: BSL-1.0
#include "proto/url.hpp"

#include "catch.hpp"

#include <string>

using namespace wring::proto;

namespace {

errc error_of(std::string_view text)
{
    url u;
    return parse_url(text, u);
}

url parsed(std::string_view text)
{
    url u;
    INFO(text);
    CHECK(parse_url(text, u) == errc::ok);
    return u;
}

} // namespace

TEST_CASE("a URL is taken apart", "[proto][url]")
{
    auto const u = parsed("ws://example.org/chat?room=1");
    CHECK(u.kind == url::scheme::ws);
    CHECK(u.host == "example.org");
    CHECK(u.authority == "example.org");
    CHECK(u.port == 80);
    CHECK(u.target == "/chat?room=1");
    CHECK(u.userinfo.empty());
    CHECK(u.socket_path.empty());
}

TEST_CASE("the scheme decides the default port, which is not repeated in the authority", "[proto][url]")
{
    CHECK(parsed("wss://h").port == 443);
    CHECK(parsed("WSS://h").kind == url::scheme::wss);
    CHECK(parsed("ws://h:8080").port == 8080);
    CHECK(parsed("ws://h:8080").authority == "h:8080");
    CHECK(parsed("ws://h:80").authority == "h");
    CHECK(parsed("wss://h:80").authority == "h:80");
    CHECK(parsed("wss://h:443").authority == "h");
    CHECK(parsed("ws://h:").port == 80);
    CHECK(parsed("ws://h:").authority == "h");
    CHECK(parsed("ws://h:65535").port == 65535);
}

TEST_CASE("a URL without a path has the target / or its query", "[proto][url]")
{
    CHECK(parsed("ws://h").target == "/");
    CHECK(parsed("ws://h/").target == "/");
    CHECK(parsed("ws://h?a=b/c").target == "?a=b/c");
    CHECK(parsed("ws://h?a=b").host == "h");
}

TEST_CASE("user information is kept apart from the host", "[proto][url]")
{
    auto const u = parsed("wss://user:p%40ss@h:1/x");
    CHECK(u.userinfo == "user:p%40ss");
    CHECK(u.host == "h");
    CHECK(u.authority == "h:1");
    CHECK(error_of("ws://a@b@h/") == errc::url_userinfo);
    CHECK(error_of("ws://a b@h/") == errc::url_userinfo);
    CHECK(error_of("ws://user@/") == errc::url_host);
}

TEST_CASE("IPv6 addresses stand in brackets", "[proto][url]")
{
    auto const u = parsed("ws://[2001:db8::1]:9000/");
    CHECK(u.host == "2001:db8::1");
    CHECK(u.authority == "[2001:db8::1]:9000");
    CHECK(u.port == 9000);
    CHECK(parsed("ws://[::1]").authority == "[::1]");
    CHECK(error_of("ws://[::1") == errc::url_host);
    CHECK(error_of("ws://[::1]x/") == errc::url_host);
    CHECK(error_of("ws://[]/") == errc::url_host);
    CHECK(error_of("ws://::1/") != errc::ok);
}

TEST_CASE("IPv6 addresses have one of the forms of RFC 4291", "[proto][url]")
{
    for (auto const* good : {"::", "::1", "1::", "1:2:3:4:5:6:7:8", "1::8", "::ffff:192.0.2.1", "::9.99.200.255",
                             "1:2:3:4:5:6:192.0.2.1", "1:2:3:4:5:6:7::", "::2:3:4:5:6:7:8", "FE80::abCD"}) {
        INFO(good);
        CHECK(valid_ipv6(good));
    }
    for (auto const* bad : {"",
                            ":",
                            ":::",
                            "1",
                            "1:2:3:4:5:6:7",
                            "1:2:3:4:5:6:7:8:9",
                            "1::2::3",
                            "1:",
                            ":1",
                            "12345::",
                            "g::",
                            "::1.2.3",
                            "::1.2.3.256",
                            "::1.1.1.256",
                            "::256.1.1.1",
                            "::1.2.3.04",
                            "1.2.3.4",
                            "::1.2.3.4:5",
                            "fe80::1%eth0",
                            "1:2:3:4:5:6:7:1.2.3.4",
                            "1:2:3:4:5:6:7:8::",
                            "::1.2.3.4.5",
                            "::1..3.4"}) {
        INFO(bad);
        CHECK(!valid_ipv6(bad));
    }
}

TEST_CASE("each wrong part of a URL has its own error", "[proto][url]")
{
    for (auto const* text : {"", "h", "http://h/", "ws:/h", "ws:h", "wsx://h", " ws://h", "ws//h"}) {
        INFO(text);
        CHECK(error_of(text) == errc::url_scheme);
    }
    for (auto const* text : {"ws://", "ws:///path", "ws://:80/", "ws://a b/", "ws://h\\x/", "ws://h%/", "ws://h%4/",
                             "ws://h\xC3\xA9/", "ws://h\r\n/", "ws://a,b/"}) {
        INFO(text);
        CHECK(error_of(text) == errc::url_host);
    }
    for (auto const* text : {"ws://h:0/", "ws://h:65536/", "ws://h:99999/", "ws://h:123456/", "ws://h:8x/",
                             "ws://h:-1/", "ws://h:+1/", "ws://h:1:2/"}) {
        INFO(text);
        CHECK(error_of(text) == errc::url_port);
    }
    for (auto const* text : {"ws://h/#", "ws://h#f", "ws://h/p?q#f", "ws+unix:/s:/t#f"}) {
        INFO(text);
        CHECK(error_of(text) == errc::url_fragment);
    }
    for (auto const* text :
         {"ws://h/a b", "ws://h/\r\nX: y", "ws://h/\x7F", "ws://h/\xC3\xA9", "ws://h/%zz", "ws://h/%4", "ws://h/\"",
          "ws://h/<", "ws://h/{", "ws://h/\\", "ws://h/\t", "ws://h?a b"}) {
        INFO(text);
        CHECK(error_of(text) == errc::url_character);
    }
    CHECK(error_of(std::string_view{"ws://h/\0", 8}) == errc::url_character);
}

TEST_CASE("ws+unix names a socket and a target", "[proto][url]")
{
    auto const u = parsed("ws+unix:/run/app.sock:/chat?x=1");
    CHECK(u.kind == url::scheme::unix_socket);
    CHECK(u.socket_path == "/run/app.sock");
    CHECK(u.target == "/chat?x=1");
    CHECK(u.authority == "localhost");
    CHECK(parsed("ws+unix:/run/app.sock").target == "/");
    CHECK(parsed("ws+unix:/run/app.sock:").target == "/");
    CHECK(parsed("ws+unix:///run/app.sock:/t").socket_path == "/run/app.sock");
    for (auto const* text : {"ws+unix:", "ws+unix:/", "ws+unix:run/app.sock", "ws+unix://host/s", "ws+unix::/t",
                             "ws+unix:/a b:/t", "ws+unix:/a\nb"}) {
        INFO(text);
        CHECK(error_of(text) == errc::url_socket_path);
    }
    CHECK(error_of("ws+unix:/s:t") == errc::url_character);
    CHECK(error_of("ws+unix:/s:/t t") == errc::url_character);
}

TEST_CASE("a failed parse leaves the result alone", "[proto][url]")
{
    url u;
    u.host = "before";
    CHECK(parse_url("ws://h:0/", u) == errc::url_port);
    CHECK(u.host == "before");
}
