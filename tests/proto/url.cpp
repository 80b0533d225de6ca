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

namespace {

std::string redirected(std::string_view base, std::string_view location)
{
    std::string out = "untouched";
    auto const e = redirect_target(parsed(base), location, out);
    CHECK((e == errc::ok) == (out != "untouched"));
    if (e != errc::ok) CHECK(e == errc::redirect_location);
    return e == errc::ok ? out : "refused";
}

} // namespace

TEST_CASE("a relative redirect is resolved as RFC 3986 section 5.4 shows", "[proto][url]")
{
    struct
    {
        char const* location;
        char const* target;
    } const rows[] = {
        {"g", "/b/c/g"},         {"./g", "/b/c/g"},      {"g/", "/b/c/g/"},       {"/g", "/g"},
        {"?y", "/b/c/d;p?y"},    {"g?y", "/b/c/g?y"},    {"g?y/./x", "/b/c/g?y/./x"}, {";x", "/b/c/;x"},
        {"g;x?y", "/b/c/g;x?y"}, {".", "/b/c/"},         {"./", "/b/c/"},         {"..", "/b/"},
        {"../", "/b/"},          {"../g", "/b/g"},       {"../..", "/"},          {"../../", "/"},
        {"../../g", "/g"},       {"../../../g", "/g"},   {"/./g", "/g"},          {"/../g", "/g"},
        {"g.", "/b/c/g."},       {".g", "/b/c/.g"},      {"g..", "/b/c/g.."},     {"..g", "/b/c/..g"},
        {"./../g", "/b/g"},      {"./g/.", "/b/c/g/"},   {"g/./h", "/b/c/g/h"},   {"g/../h", "/b/c/h"},
        {"g;x=1/../y", "/b/c/y"}, {"/", "/"},            {"g#s", "/b/c/g"},       {"?y#s", "/b/c/d;p?y"},
    };
    for (auto const& row : rows) {
        INFO(row.location);
        CHECK(redirected("ws://a/b/c/d;p?q", row.location) == std::string("ws://a") + row.target);
        CHECK(redirected("wss://u:p@a:8443/b/c/d;p?q", row.location) == std::string("wss://a:8443") + row.target);
        CHECK(redirected("ws+unix:/run/s:/b/c/d;p?q", row.location) == std::string("ws+unix:/run/s:") + row.target);
    }
    CHECK(redirected("ws://a", "g") == "ws://a/g");
    CHECK(redirected("ws://a?q", "g") == "ws://a/g");
    CHECK(redirected("ws://a?q", "?r") == "ws://a/?r");
    CHECK(redirected("ws://[::1]:9001/x", "/y") == "ws://[::1]:9001/y");
}

TEST_CASE("a redirect may name another host, and the schemes of HTTP", "[proto][url]")
{
    CHECK(redirected("ws://a/x", "ws://b:81/y?z") == "ws://b:81/y?z");
    CHECK(redirected("ws://a/x", "wss://b") == "wss://b/");
    CHECK(redirected("ws://a/x", "http://b/y") == "ws://b/y");
    CHECK(redirected("ws://a/x", "HTTPS://b/y") == "wss://b/y");
    CHECK(redirected("ws://a/x", "//b/y") == "ws://b/y");
    CHECK(redirected("wss://a/x", "//b:444?y") == "wss://b:444/?y");
    CHECK(redirected("wss://a/x", "http://b/y") == "ws://b/y"); // whether that may be is the caller's to say
    CHECK(redirected("ws://a/x", "ws://user:password@b/y") == "ws://b/y");
    CHECK(redirected("ws://a/x", "ws://b/../y/./z") == "ws://b/y/z");
    CHECK(redirected("ws+unix:/run/s:/x", "ws://b/y") == "ws://b/y");
}

TEST_CASE("a redirect to what is no WebSocket URL is refused", "[proto][url]")
{
    for (auto const* location :
         {"", "#f", "ftp://b/y", "file:/etc/passwd", "javascript:x", "ws:/b", "ws:b", "http:b", "ws://", "ws:///y",
          "//", "ws://b:0/", "ws://b:99999/", "ws://b/a b", "/a b", "/\xC3\xA9", "g\r\nX: y", "ws://b c/", "ws://b/%zz",
          "ws+unix:/run/s:/y", "WS+UNIX:///run/s", "a:b", "ws://[::1/", "ws://a@/"}) {
        INFO(location);
        CHECK(redirected("ws://a/x", location) == "refused");
    }
    CHECK(redirected("ws+unix:/run/s:/x", "//b/y") == "refused");
    CHECK(redirected("ws+unix:/run/s:/x", "ws+unix:/run/other:/x") == "refused");
}

TEST_CASE("an origin is a scheme, a host and a port", "[proto][url]")
{
    auto const same = [](char const* a, char const* b) { return same_origin(parsed(a), parsed(b)); };
    CHECK(same("ws://a/x", "ws://A:80/y?z"));
    CHECK(same("wss://u:p@a/x", "wss://a:443"));
    CHECK(same("ws+unix:/run/s:/x", "ws+unix:///run/s:/y"));
    CHECK(!same("ws://a/", "wss://a/"));
    CHECK(!same("ws://a:443/", "wss://a/"));
    CHECK(!same("ws://a/", "ws://a:81/"));
    CHECK(!same("ws://a/", "ws://b/"));
    CHECK(!same("ws://a/", "ws://a.b/"));
    CHECK(!same("ws+unix:/run/s:/x", "ws+unix:/run/t:/x"));
    CHECK(!same("ws+unix:/run/s:/x", "ws://localhost/x"));
}
