// SPDX-License-Identifier: BSL-1.0
#include "proto/proxy.hpp"

#include "bytes.hpp"
#include "catch.hpp"

#include <string>

using namespace wring::proto;
using wring::test::from_hex;
using wring::test::to_text;

namespace {

// "ADDRESS PORT" of a header that is as long as `text` but for `behind` bytes; or what is wrong.
std::string read(std::string_view text, std::size_t behind = 0)
{
    proxy_header h;
    for (std::size_t n = 0; n < text.size() - behind; ++n) { // more must come, or it is wrong already
        auto const p = read_proxy_header(text.substr(0, n), h);
        if (p.error == errc::proxy_header) return "bad";
        CHECK(p.size == 0);
    }
    auto const p = read_proxy_header(text, h);
    if (p.error == errc::proxy_header) return "bad";
    if (p.size == 0) return "more";
    CHECK(p.size == text.size() - behind);
    if (h.address().empty()) return "unknown";
    CHECK(h.ipv6 == (h.address().find(':') != h.address().npos));
    return std::string{h.address()} + " " + std::to_string(h.port);
}

std::string binary(std::string_view hex)
{
    return to_text(from_hex("0D 0A 0D 0A 00 0D 0A 51 55 49 54 0A")) + to_text(from_hex(hex));
}

} // namespace

TEST_CASE("a PROXY line names the client", "[proto][proxy]")
{
    CHECK(read("PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n") == "192.0.2.1 56324");
    CHECK(read("PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\nGET / HTTP/1.1\r\n", 16) == "192.0.2.1 56324");
    CHECK(read("PROXY TCP6 2001:db8::1 ::1 1 65535\r\n") == "2001:db8::1 1");
    CHECK(read("PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
               "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n") ==
          "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535"); // the longest
    CHECK(read("PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255 ::1 65535 65535\r\n") ==
          "ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255 65535");
    CHECK(read("PROXY UNKNOWN\r\n") == "unknown");
    CHECK(read("PROXY UNKNOWN ffff::1 whatever 1 2\r\n") == "unknown");
    CHECK(read("PROXY TCP4 1.2.3.4 5.6.7.8 0 0\r\n") == "1.2.3.4 0");
}

TEST_CASE("a line that only looks like a PROXY line is none", "[proto][proxy]")
{
    for (char const* text : {
             "GET / HTTP/1.1\r\n", "PROXY\r\n\r\n", "proxy TCP4 1.2.3.4 5.6.7.8 1 2\r\n",
             "PROXY TCP4 1.2.3.4 5.6.7.8 1\r\n", "PROXY TCP4 1.2.3.4 5.6.7.8 1 2 3\r\n",
             "PROXY TCP4  1.2.3.4 5.6.7.8 1 2\r\n", "PROXY TCP4 1.2.3.4 5.6.7.8 1 2 \r\n",
             "PROXY TCP4 1.2.3.04 5.6.7.8 1 2\r\n", "PROXY TCP4 1.2.3.256 5.6.7.8 1 2\r\n",
             "PROXY TCP4 1.2.3.4 5.6.7.8 01 2\r\n", "PROXY TCP4 1.2.3.4 5.6.7.8 1 65536\r\n",
             "PROXY TCP4 1.2.3.4 5.6.7.8 -1 2\r\n", "PROXY TCP4 ::1 ::1 1 2\r\n", "PROXY TCP6 1.2.3.4 ::1 1 2\r\n",
             "PROXY TCP6 [::1] ::1 1 2\r\n", "PROXY UDP4 1.2.3.4 5.6.7.8 1 2\r\n", "PROXY TCP5 1.2.3.4 5.6.7.8 1 2\r\n",
             "PROXY TCP4 1.2.3.4\t5.6.7.8 1 2\r\n", "PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n\r\n", "PROXY UNKNOWNX\r\n"}) {
        INFO(text);
        CHECK(read(text) == "bad");
    }
    CHECK(read("PROXY UNKNOWN " + std::string(200, 'x') + "\r\n") == "bad");
    CHECK(read("PROXY UNKNOWN " + std::string(91, 'x') + "\r\n") == "unknown"); // 107 bytes
    CHECK(read("PROXY UNKNOWN " + std::string(92, 'x') + "\r\n") == "bad");
    CHECK(read("PROXY TCP4 1.2.3.4 5.6.7.8 1 2") == "more");
}

TEST_CASE("a binary PROXY header names the client", "[proto][proxy]")
{
    CHECK(read(binary("21 11 00 0C C0000201 C6336402 DC04 01BB")) == "192.0.2.1 56324");
    CHECK(read(binary("21 11 00 0C C0000201 C6336402 DC04 01BB") + "GET /", 5) == "192.0.2.1 56324");
    CHECK(read(binary("21 11 00 0C FFFFFFFF 00000000 FFFF 0000")) == "255.255.255.255 65535");
    CHECK(read(binary("21 21 00 24 20010DB8000000000000000000000001 00000000000000000000000000000001 0001 0002")) ==
          "2001:db8:0:0:0:0:0:1 1");
    CHECK(read(binary("21 21 00 24 FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF 00000000000000000000000000000001 0001 0002")) ==
          "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 1");
    CHECK(read(binary("20 00 00 00")) == "unknown"); // the proxy's own check
    CHECK(read(binary("20 11 00 0C C0000201 C6336402 DC04 01BB")) == "unknown");
    CHECK(read(binary("20 FF 00 01 00")) == "unknown");
    CHECK(read(binary("21 00 00 03 AABBCC")) == "unknown");
    CHECK(read(binary("21 31 00 D8" + std::string(216 * 2, '0'))) == "unknown"); // a Unix socket
    // Extras behind the addresses are passed over.
    CHECK(read(binary("21 11 00 14 C0000201 C6336402 DC04 01BB 05 0005 6578616D70")) == "192.0.2.1 56324");
    CHECK(read(binary("21 11 00 0F C0000201 C6336402 DC04 01BB 04 0000")) == "192.0.2.1 56324");
}

TEST_CASE("a checksum in a binary PROXY header must be right", "[proto][proxy]")
{
    CHECK(read(binary("21 11 00 13 C0000201 C6336402 DC04 01BB 03 0004 20EC9549")) == "192.0.2.1 56324");
    CHECK(read(binary("21 11 00 13 C0000202 C6336402 DC04 01BB 03 0004 20EC9549")) == "bad");
    CHECK(read(binary("21 11 00 12 C0000201 C6336402 DC04 01BB 03 0003 20EC95")) == "bad");
}

TEST_CASE("bytes that only look like a binary PROXY header are none", "[proto][proxy]")
{
    for (char const* hex : {
             "11 11 00 0C C0000201 C6336402 DC04 01BB",             // version 1
             "22 11 00 0C C0000201 C6336402 DC04 01BB",             // no such command
             "21 12 00 0C C0000201 C6336402 DC04 01BB",             // datagrams
             "21 10 00 0C C0000201 C6336402 DC04 01BB",             // neither
             "21 41 00 0C C0000201 C6336402 DC04 01BB",             // no such family
             "21 11 00 0B C0000201 C6336402 DC04 01",               // too short for its addresses
             "21 21 00 0C C0000201 C6336402 DC04 01BB",             // likewise
             "21 11 00 0E C0000201 C6336402 DC04 01BB 05 00",       // extras cut short
             "21 11 00 10 C0000201 C6336402 DC04 01BB 05 0002 65",  // likewise
             "21 11 FF FF"}) {                                      // absurdly long
        INFO(hex);
        CHECK(read(binary(hex)) == "bad");
    }
    auto wrong = binary("21 11 00 0C C0000201 C6336402 DC04 01BB");
    wrong[11] = ' ';
    CHECK(read(wrong) == "bad");
    CHECK(read(binary("21 11 00 0C C0000201")) == "more");
    CHECK(read(binary("21 11 0F F0") + std::string(max_proxy_header - 16 - 1, '\0')) == "more");
    CHECK(read(binary("21 11 0F F1")) == "bad");
}
