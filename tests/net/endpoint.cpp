// SPDX-License-Identifier: BSL-1.0
#include "net.hpp"

#include <arpa/inet.h>
#include <cstring>
#include <net/if.h>
#include <sys/un.h>

using namespace net_test;

namespace {

std::string round_trip(std::string_view text)
{
    auto const e = endpoint::parse(text);
    return e ? e->to_string() : "error: " + e.error().message();
}

std::error_code error_of(std::string_view text)
{
    return endpoint::parse(text).error();
}

} // namespace

TEST_CASE("an endpoint's text comes back as it was")
{
    for (std::string_view text : {"127.0.0.1:9001", "0.0.0.0:0", "255.255.255.255:65535", "[::1]:9001", "[::]:0",
                                  "[2001:db8::17]:443", "[::ffff:10.0.0.1]:80", "unix:/run/app.sock", "unix:relative",
                                  "unix:@abstract", "unix:@with space:80", "unix:/run/a:b@c"}) {
        CAPTURE(text);
        CHECK(round_trip(text) == text);
    }
}

TEST_CASE("an endpoint's parts are told apart")
{
    auto const v4 = endpoint::parse("192.0.2.7:8080").value();
    CHECK(v4.is_ip());
    CHECK_FALSE(v4.is_unix());
    CHECK(v4.family() == AF_INET);
    CHECK(v4.address() == "192.0.2.7");
    CHECK(v4.port() == 8080);

    auto const v6 = endpoint::parse("[2001:DB8:0:0::1]:1").value();
    CHECK(v6.is_ip());
    CHECK(v6.family() == AF_INET6);
    CHECK(v6.address() == "2001:db8::1");
    CHECK(v6.port() == 1);

    auto const path = endpoint::parse("unix:/run/x").value();
    CHECK(path.is_unix());
    CHECK_FALSE(path.is_ip());
    CHECK(path.address() == "/run/x");
    CHECK(path.port() == 0);

    auto const hidden = endpoint::parse("unix:@x").value();
    CHECK(hidden.is_unix());
    CHECK(hidden.address() == "@x");
    CHECK(hidden.size() == offsetof(sockaddr_un, sun_path) + 2); // no terminator in an abstract name
}

TEST_CASE("a star is any address of both families")
{
    auto const any = endpoint::parse("*:9001").value();
    CHECK(any.family() == AF_INET6);
    CHECK(any.to_string() == "[::]:9001");
}

TEST_CASE("a zone is an interface's name or number")
{
    auto const index = ::if_nametoindex("lo");
    REQUIRE(index != 0);
    auto const by_name = endpoint::parse("[fe80::1%lo]:80").value();
    CHECK(static_cast<sockaddr_in6 const*>(by_name.data())->sin6_scope_id == index);
    CHECK(by_name.to_string() == "[fe80::1%lo]:80");
    CHECK(endpoint::parse("[fe80::1%" + std::to_string(index) + "]:80").value() == by_name);
    CHECK(error_of("[fe80::1%]:80") == errc::bad_endpoint);
    CHECK(error_of("[fe80::1%no-such-if]:80") == errc::bad_endpoint);
    CHECK(error_of("[fe80::1%0]:80") == errc::bad_endpoint);
    CHECK(error_of("[fe80::1%99999999999]:80") == errc::bad_endpoint);
    CHECK(error_of("127.0.0.1%lo:80") == errc::bad_endpoint);
}

TEST_CASE("a zone without an interface keeps its number")
{
    sockaddr_in6 a{};
    a.sin6_family = AF_INET6;
    ::inet_pton(AF_INET6, "fe80::1", &a.sin6_addr);
    a.sin6_scope_id = 123456;
    CHECK(endpoint::from_sockaddr(&a, sizeof a).to_string() == "[fe80::1%123456]:0");
}

TEST_CASE("text that names no endpoint is refused")
{
    for (std::string_view text : {"",
                                  ":",
                                  ":80",
                                  "127.0.0.1",
                                  "127.0.0.1:",
                                  "127.0.0.1:65536",
                                  "127.0.0.1:-1",
                                  "127.0.0.1:+1",
                                  "127.0.0.1: 80",
                                  "127.0.0.1:80 ",
                                  " 127.0.0.1:80",
                                  "127.0.0.1:http",
                                  "127.0.0.1:0x50",
                                  "127.0.0.1:99999999999999999999",
                                  "127.0.0:80",
                                  "127.0.0.256:80",
                                  "127.0.0.1.1:80",
                                  "127.1:80",
                                  "::1:80",
                                  "[::1]",
                                  "[::1]:",
                                  "[::1]80",
                                  "[::1:80",
                                  "::1]:80",
                                  "[]:80",
                                  "[",
                                  "]",
                                  "[]",
                                  "[:80",
                                  "]:80",
                                  "[127.0.0.1]:80",
                                  "[*]:80",
                                  "[localhost]:80",
                                  "[::g]:80",
                                  "[:::]:80",
                                  "[[::1]]:80",
                                  "**:80",
                                  "*",
                                  "*:",
                                  "a:b:80"}) {
        CAPTURE(text);
        CHECK(error_of(text) == errc::bad_endpoint);
    }
}

TEST_CASE("names are refused by an endpoint")
{
    CHECK(error_of("localhost:80") == errc::bad_endpoint);
    CHECK(error_of("example.org:80") == errc::bad_endpoint);
    CHECK(error_of("unix") == errc::bad_endpoint);
    CHECK(error_of(std::string(1000, 'a') + ":80") == errc::bad_endpoint);
}

TEST_CASE("a NUL ends nothing")
{
    using namespace std::string_view_literals;
    CHECK(error_of("127.0.0.1\0:80"sv) == errc::bad_endpoint);
    CHECK(error_of("127.0.0.1\0.example.org:80"sv) == errc::bad_endpoint);
    CHECK(error_of("[::1\0]:80"sv) == errc::bad_endpoint);
    CHECK(error_of("127.0.0.1:80\0"sv) == errc::bad_endpoint);
    CHECK(error_of("unix:/run/a\0b"sv) == errc::bad_endpoint);
    CHECK(error_of("unix:@a\0b"sv) == errc::bad_endpoint);
    CHECK(split_host_port("good.example\0.evil.example:80"sv).error() == errc::bad_endpoint);
}

TEST_CASE("a Unix path has to fit")
{
    std::size_t const most = sizeof(sockaddr_un::sun_path) - 1; // and the terminator
    CHECK(round_trip("unix:" + std::string(most, 'p')) == "unix:" + std::string(most, 'p'));
    CHECK(error_of("unix:" + std::string(most + 1, 'p')) == errc::bad_endpoint);
    CHECK(round_trip("unix:@" + std::string(most - 1, 'p')) == "unix:@" + std::string(most - 1, 'p'));
    CHECK(error_of("unix:@" + std::string(most + 1, 'p')) == errc::bad_endpoint);
    CHECK(error_of("unix:") == errc::bad_endpoint);
    CHECK(error_of("unix:@") == errc::bad_endpoint);
}

TEST_CASE("host and port are split, and brackets taken off")
{
    auto const name = split_host_port("example.org:443").value();
    CHECK(name.host == "example.org");
    CHECK(name.port == 443);
    auto const literal = split_host_port("[::1]:80").value();
    CHECK(literal.host == "::1");
    CHECK(literal.port == 80);
    CHECK(split_host_port("example.org").error() == errc::bad_endpoint);
    CHECK(split_host_port("::1:80").error() == errc::bad_endpoint);
}

TEST_CASE("the port of an IP endpoint can be set")
{
    auto v4 = endpoint::parse("127.0.0.1:1").value();
    v4.set_port(65535);
    CHECK(v4.to_string() == "127.0.0.1:65535");
    auto v6 = endpoint::parse("[::1]:1").value();
    v6.set_port(2);
    CHECK(v6.to_string() == "[::1]:2");
    auto path = endpoint::parse("unix:/run/x").value();
    path.set_port(80);
    CHECK(path.to_string() == "unix:/run/x");
    endpoint none;
    none.set_port(80);
    CHECK(none.to_string() == "unknown");
}

TEST_CASE("no address is unknown")
{
    endpoint const none;
    CHECK(none.to_string() == "unknown");
    CHECK(none.address().empty());
    CHECK(none.size() == 0);
    CHECK(none.family() == AF_UNSPEC);
    CHECK_FALSE(none.is_ip());
    CHECK_FALSE(none.is_unix());
    CHECK(none == endpoint());
    CHECK_FALSE(none == endpoint::parse("127.0.0.1:1").value());
}

TEST_CASE("an address of the system is copied where its size fits")
{
    sockaddr_in v4{};
    v4.sin_family = AF_INET;
    v4.sin_port = htons(80);
    v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    CHECK(endpoint::from_sockaddr(&v4, sizeof v4).to_string() == "127.0.0.1:80");
    CHECK(endpoint::from_sockaddr(&v4, sizeof v4) == endpoint::parse("127.0.0.1:80").value());
    CHECK(endpoint::from_sockaddr(&v4, sizeof v4 - 1).size() == 0);
    CHECK(endpoint::from_sockaddr(&v4, 0).size() == 0);
    CHECK(endpoint::from_sockaddr(&v4, 1).size() == 0);

    sockaddr_storage big{};
    std::memcpy(&big, &v4, sizeof v4);
    CHECK(endpoint::from_sockaddr(&big, sizeof big).size() == 0);

    sockaddr_in6 v6{};
    v6.sin6_family = AF_INET6;
    v6.sin6_addr = in6addr_loopback;
    CHECK(endpoint::from_sockaddr(&v6, sizeof v6).to_string() == "[::1]:0");
    CHECK(endpoint::from_sockaddr(&v6, sizeof(sockaddr_in)).size() == 0);

    sockaddr_storage unspecified{};
    CHECK(endpoint::from_sockaddr(&unspecified, sizeof(sockaddr_in)).size() == 0);
}

TEST_CASE("endpoints are equal where they mean the same")
{
    CHECK(endpoint::parse("127.0.0.1:80").value() == endpoint::parse("127.0.0.1:80").value());
    CHECK_FALSE(endpoint::parse("127.0.0.1:80").value() == endpoint::parse("127.0.0.1:81").value());
    CHECK_FALSE(endpoint::parse("127.0.0.1:80").value() == endpoint::parse("[::ffff:127.0.0.1]:80").value());
    CHECK(endpoint::parse("[::0:1]:80").value() == endpoint::parse("[::1]:80").value());
    CHECK_FALSE(endpoint::parse("unix:/a").value() == endpoint::parse("unix:@/a").value());

    // Padding and what follows a path's end say nothing.
    sockaddr_in padded{};
    std::memset(&padded, 0x55, sizeof padded);
    padded.sin_family = AF_INET;
    padded.sin_port = htons(80);
    padded.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    CHECK(endpoint::from_sockaddr(&padded, sizeof padded) == endpoint::parse("127.0.0.1:80").value());
    sockaddr_un whole{};
    whole.sun_family = AF_UNIX;
    std::strcpy(whole.sun_path, "/a");
    CHECK(endpoint::from_sockaddr(&whole, sizeof whole) == endpoint::parse("unix:/a").value());
    CHECK(endpoint::from_sockaddr(&whole, sizeof whole).size() == endpoint::parse("unix:/a")->size());
}

TEST_CASE("an unnamed Unix socket has no path")
{
    sa_family_t const unnamed = AF_UNIX;
    auto const e = endpoint::from_sockaddr(&unnamed, sizeof unnamed);
    CHECK(e.is_unix());
    CHECK(e.address().empty());
    CHECK(e.to_string() == "unix:");
}
