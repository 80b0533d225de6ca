// SPDX-License-Identifier: BSL-1.0
#include "proto/address.hpp"

#include "catch.hpp"

#include <string>

using namespace wring::proto;

TEST_CASE("IPv6 addresses have one of the forms of RFC 4291", "[proto][address]")
{
    for (auto const* good : {"::", "::1", "1::", "1:2:3:4:5:6:7:8", "1::8", "::ffff:192.0.2.1", "::9.99.200.255",
                             "1:2:3:4:5:6:192.0.2.1", "1:2:3:4:5:6:7::", "::2:3:4:5:6:7:8", "FE80::abCD"}) {
        INFO(good);
        CHECK(parse_ipv6(good).size == 16);
        CHECK(parse_ip(good) == parse_ipv6(good));
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
        CHECK(parse_ipv6(bad).empty());
    }
}

TEST_CASE("IPv4 addresses are four numbers", "[proto][address]")
{
    for (auto const* good : {"0.0.0.0", "127.0.0.1", "255.255.255.255", "192.0.2.10"}) {
        INFO(good);
        CHECK(parse_ipv4(good).size == 4);
        CHECK(parse_ip(good) == parse_ipv4(good));
    }
    for (auto const* bad : {"", "1", "1.2.3", "1.2.3.4.5", "1.2.3.256", "1.2.3.04", "1.2.3.", ".1.2.3", "1..2.3",
                            "1.2.3.4 ", "0x7f.0.0.1", "1.2.3.1000", "::1", "-1.2.3.4"}) {
        INFO(bad);
        CHECK(parse_ipv4(bad).empty());
    }
}

TEST_CASE("addresses are read into network byte order", "[proto][address]")
{
    auto const bytes = [](char const* text) {
        std::string hex;
        auto const a = parse_ip(text);
        for (auto b : a.span()) {
            hex.push_back("0123456789abcdef"[b >> 4]);
            hex.push_back("0123456789abcdef"[b & 15]);
        }
        return hex;
    };
    CHECK(bytes("192.0.2.255") == "c00002ff");
    CHECK(bytes("::") == "00000000000000000000000000000000");
    CHECK(bytes("::1") == "00000000000000000000000000000001");
    CHECK(bytes("2001:db8::") == "20010db8000000000000000000000000");
    CHECK(bytes("2001:DB8::a:b") == "20010db80000000000000000000a000b");
    CHECK(bytes("1:2:3:4:5:6:7:8") == "00010002000300040005000600070008");
    CHECK(bytes("1::8") == "00010000000000000000000000000008");
    CHECK(bytes("1:2:3::6:7:8") == "00010002000300000000000600070008");
    CHECK(bytes("1:2:3:4:5:6:7::") == "00010002000300040005000600070000");
    CHECK(bytes("::2:3:4:5:6:7:8") == "00000002000300040005000600070008");
    CHECK(bytes("::ffff:192.0.2.1") == "00000000000000000000ffffc0000201");
}

TEST_CASE("a network is the first bits of an address", "[proto][address]")
{
    auto const same = [](char const* a, char const* b, unsigned bits) {
        return same_network(parse_ip(a), parse_ip(b), bits);
    };
    CHECK(same("10.1.2.3", "10.0.0.0", 8));
    CHECK(!same("11.1.2.3", "10.0.0.0", 8));
    CHECK(same("10.1.2.3", "10.1.2.0", 30));
    CHECK(!same("10.1.2.4", "10.1.2.0", 30));
    CHECK(same("10.1.2.3", "99.99.99.99", 0));
    CHECK(same("10.1.2.3", "10.1.2.3", 32));
    CHECK(!same("10.1.2.3", "10.1.2.2", 32));
    CHECK(!same("10.1.2.3", "10.1.2.3", 33));
    CHECK(same("fd00::1", "fd12::", 8));
    CHECK(same("fd00::1", "fd00::", 127));
    CHECK(!same("fd00::1", "fd00::", 128));
    CHECK(!same("fd00::1", "fd00::1", 129));
    CHECK(!same("::", "0.0.0.0", 0)); // families differ
    CHECK(!same("", "", 0));
}
