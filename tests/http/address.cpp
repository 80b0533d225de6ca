// SPDX-License-Identifier: BSL-1.0
#include "http/address.hpp"

#include "catch.hpp"

#include <stdexcept>
#include <string>

using namespace wring;
using detail::address_set;
using detail::key_of;

namespace {

endpoint at(std::string_view text)
{
    return endpoint::parse(text).value();
}

bool holds(std::string_view list, std::string_view address)
{
    address_set set;
    set.add(list);
    return set.contains(at(address));
}

} // namespace

TEST_CASE("an IPv4 address is one key, an IPv6 network of /64 is one")
{
    CHECK(key_of(at("192.0.2.1:1")) == key_of(at("192.0.2.1:2")));
    CHECK(key_of(at("192.0.2.1:1")) != key_of(at("192.0.2.2:1")));
    CHECK(key_of(at("192.0.2.1:1")) == key_of(at("[::ffff:192.0.2.1]:1"))); // as a dual-stack listener sees it
    CHECK(key_of(at("[2001:db8:1:2::1]:1")) == key_of(at("[2001:db8:1:2:ffff::9]:2")));
    CHECK(key_of(at("[2001:db8:1:2::1]:1")) != key_of(at("[2001:db8:1:3::1]:1")));
    CHECK(key_of(at("[::1]:1")) != 0);
    CHECK(key_of(at("unix:/run/x")) == 0);
    CHECK(key_of({}) == 0);
}

TEST_CASE("addresses and networks contain what they say")
{
    CHECK(holds("127.0.0.1", "127.0.0.1:80"));
    CHECK(!holds("127.0.0.1", "127.0.0.2:80"));
    CHECK(holds("10.0.0.0/8, 192.168.0.0/16", "192.168.77.1:80"));
    CHECK(holds("10.0.0.0/8,192.168.0.0/16", "10.255.0.1:80"));
    CHECK(!holds("10.0.0.0/8, 192.168.0.0/16", "11.0.0.1:80"));
    CHECK(holds("10.0.0.0/8", "[::ffff:10.1.2.3]:80"));
    CHECK(holds("172.16.0.0/12", "172.31.255.255:80"));
    CHECK(!holds("172.16.0.0/12", "172.32.0.0:80"));
    CHECK(holds("0.0.0.0/0", "8.8.8.8:80"));
    CHECK(!holds("0.0.0.0/0", "[2001:db8::1]:80"));
    CHECK(holds("::/0", "8.8.8.8:80")); // mapped ones are in it
    CHECK(holds("fd00::/8", "[fd12:3456::1]:80"));
    CHECK(!holds("fd00::/8", "[fe80::1]:80"));
    CHECK(holds("2001:db8::/33", "[2001:db8:7fff::]:1"));
    CHECK(!holds("2001:db8::/33", "[2001:db8:8000::]:1"));
    CHECK(holds("192.0.2.1/32", "192.0.2.1:1"));
    CHECK(holds("::1/128", "[::1]:1"));
}

TEST_CASE("peers on Unix sockets are trusted by name")
{
    CHECK(holds("unix", "unix:/run/x"));
    CHECK(holds("127.0.0.1, unix", "unix:@x"));
    CHECK(!holds("0.0.0.0/0, ::/0", "unix:/run/x"));
    CHECK(!holds("unix", "127.0.0.1:1"));
    address_set none;
    none.add("");
    none.add(" , ");
    CHECK(none.empty());
    CHECK(!none.contains(at("127.0.0.1:1")));
    CHECK(!none.contains({}));
}

TEST_CASE("what is no address or network is refused by name")
{
    for (char const* bad : {"example.org", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/-1", "10.0.0.0/8x", "::/129", "*",
                            "10.0.0", "10.0.0.0/ 8", "[::1]", "127.0.0.1:80", "Unix", "fe80::1%lo0x"}) {
        INFO(bad);
        address_set set;
        CHECK_THROWS_AS(set.add(bad), std::invalid_argument);
    }
    try {
        address_set set;
        set.add("10.0.0.0/8, here");
        FAIL("it was accepted");
    } catch (std::invalid_argument const& e) {
        CHECK(std::string(e.what()) == "not an address or network: here");
    }
}
