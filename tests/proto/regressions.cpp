// SPDX-License-Identifier: BSL-1.0
//
// Holes of other implementations that a protocol core can have, one test each, named after the advisory or issue.
// How much is done for those that make it work: steps.cpp.
#include "proto/session.hpp"
#include "proto/url.hpp"

#include "catch.hpp"
#include "heads.hpp"

#include <string>

using namespace wring::proto;
using namespace wring::test;

namespace {

// The violation that `input` ends in, or ok.
errc ends_in(byte_string input, limits const& l = {}, role self = role::server)
{
    session s{self, l};
    std::span<std::byte> rest{input};
    while (s.next(rest).what != event::kind::need_more) {
    }
    return s.error();
}

byte_string masked(unsigned first, std::string_view payload)
{
    return make_frame(first, from_text(payload), true);
}

errc judged(std::string const& text)
{
    head_scanner scanner{head_scanner::kind::request};
    auto const p = scanner.feed(text);
    if (p.error != errc::ok) return p.error;
    return p.complete ? check_upgrade(scanner.request(text)) : errc::request_line;
}

errc answered(std::string const& text)
{
    response_head head;
    if (auto const e = parse_response(text, head); e != errc::ok) return e;
    client_request sent;
    sent.key = "dGhlIHNhbXBsZSBub25jZQ==";
    accepted a;
    return check_response(head, sent, a);
}

} // namespace

TEST_CASE("CVE-2020-27813, CVE-2020-13935, CVE-2026-43678: a length with its sign bit set", "[proto][regression]")
{
    for (auto const* length : {"8000000000000000", "FFFFFFFFFFFFFFFF"})
        CHECK(ends_in(from_hex("82 FF " + std::string{length} + " 00000000")) == errc::length_msb);
}

TEST_CASE("CVE-2026-50161, CVE-2026-1528: header size plus length wraps", "[proto][regression]")
{
    CHECK(ends_in(from_hex("82 FF FFFFFFFFFFFFFFFC 00000000")) == errc::length_msb);
    CHECK(ends_in(from_hex("82 FF 7FFFFFFFFFFFFFFC 00000000")) == errc::frame_too_large);
    CHECK(ends_in(masked(0x02, "x") + from_hex("80 FF 7FFFFFFFFFFFFFFF 00000000"), {0, 1 << 20, 0}) ==
          errc::message_too_large);
}

TEST_CASE("gorilla: the read limit is bypassed by an interleaved pong", "[proto][regression]")
{
    CHECK(ends_in(masked(0x02, "12345") + masked(0x8A, "") + masked(0x80, "678901"), {0, 10, 0}) ==
          errc::message_too_large);
}

TEST_CASE("Java-WebSocket 1508: frames under the frame limit make a message over any limit", "[proto][regression]")
{
    byte_string input = masked(0x02, std::string(9, 'x'));
    for (int i = 0; i < 20; ++i)
        input = input + masked(0x00, std::string(9, 'x'));
    CHECK(ends_in(input, {10, 100, 0}) == errc::message_too_large);
}

TEST_CASE("CVE-2014-0193, CVE-2026-48779, CVE-2026-12151: fragments of one byte without end", "[proto][regression]")
{
    byte_string input = masked(0x02, "x");
    for (int i = 0; i < 1024; ++i)
        input = input + masked(0x00, "x");
    CHECK(ends_in(input) == errc::too_many_fragments);
}

TEST_CASE("ws 2329: empty fragments are not counted", "[proto][regression]")
{
    byte_string input = masked(0x02, "");
    for (int i = 0; i < 1024; ++i)
        input = input + masked(0x00, "");
    CHECK(ends_in(input) == errc::too_many_fragments);
}

TEST_CASE("netdata 22828: a message of exactly the limit is refused", "[proto][regression]")
{
    CHECK(ends_in(masked(0x82, std::string(100, 'x')), {100, 100, 0}) == errc::ok);
    CHECK(ends_in(masked(0x82, std::string(101, 'x')), {0, 100, 0}) == errc::message_too_large);
}

TEST_CASE("CVE-2021-32640, CVE-2020-7662, CVE-2023-43669: laborious heads are judged, whole and byte by byte",
          "[proto][regression]")
{
    for (auto const& [text, verdict] : laborious_heads(16'000))
        for (std::size_t const step : {text.size(), std::size_t{1}}) {
            INFO(text.substr(140, 40));
            auto const head = read_head(text, step);
            CHECK(check_upgrade(head) == verdict);
            CHECK(choose_subprotocol(head, "a, b").name.empty());
        }
}

TEST_CASE("CVE-2024-37890: more header fields than the limit", "[proto][regression]")
{
    std::string many;
    for (int i = 0; i < 2000; ++i)
        many += "A: b\r\n";
    CHECK(judged(upgrade(many)) == errc::too_many_fields);
}

TEST_CASE("CVE-2026-54465: header fields without end", "[proto][regression]")
{
    head_scanner scanner{head_scanner::kind::request};
    CHECK(scanner.feed("GET / HTTP/1.1\r\nA: ").error == errc::ok);
    errc e = errc::ok;
    for (int i = 0; i < 1000 && e == errc::ok; ++i)
        e = scanner.feed(std::string(1000, 'x')).error;
    CHECK(e == errc::head_too_large);
    CHECK(scanner.size() == head_limits{}.max_head);
}

TEST_CASE("ws 3.3.1: Sec-WebSocket-Extensions: constructor", "[proto][regression]")
{
    for (auto const* name : {"constructor", "__proto__", "toString; valueOf=\"x\""})
        CHECK(judged(upgrade("Sec-WebSocket-Extensions: " + std::string{name} + "\r\n")) == errc::ok);
    for (auto const* name : {";;;", "\"", "=,;"})
        CHECK(judged(upgrade("Sec-WebSocket-Extensions: " + std::string{name} + "\r\n")) == errc::extension_invalid);
}

TEST_CASE("CVE-2026-61666: a Host that is no host", "[proto][regression]")
{
    for (auto const* host : {"[", "]", "[]", ":", ":80", "%", "h:", "%zz", "h:h", "[::1]]", "@", "/"})
        CHECK((judged(upgrade("", "13", host)) == errc::ok) == (std::string_view{host} == "h:"));
}

TEST_CASE("CVE-2026-59898, CVE-2026-54463: drafts 7 and 8", "[proto][regression]")
{
    for (auto const* version : {"7", "8", "0", "6"})
        CHECK(judged(upgrade("", version)) == errc::version_unsupported);
}

TEST_CASE("0ang3el: a second request behind a refused upgrade", "[proto][regression]")
{
    auto const first = upgrade("", "99");
    auto const both = first + "GET /admin HTTP/1.1\r\nHost: h\r\n\r\n";
    head_scanner scanner{head_scanner::kind::request};
    CHECK(scanner.feed(both).consumed == first.size());
    CHECK(check_upgrade(scanner.request(both)) == errc::version_unsupported);
    refusal r;
    r.status = http_status_for(errc::version_unsupported);
    std::string out;
    CHECK(write_refusal(out, r) == errc::ok);
    CHECK(out.find("Connection: close") != out.npos);
}

TEST_CASE("nghttpx: an upgrade with Content-Length", "[proto][regression]")
{
    CHECK(judged(upgrade("Content-Length: 10\r\n")) == errc::body_on_upgrade);
}

TEST_CASE("Beast v361: Content-Length and Transfer-Encoding in either order, chunked not last", "[proto][regression]")
{
    CHECK(judged(upgrade("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n")) == errc::length_and_encoding);
    CHECK(judged(upgrade("Transfer-Encoding: chunked\r\nContent-Length: 1\r\n")) == errc::length_and_encoding);
    CHECK(judged(upgrade("Transfer-Encoding: chunked, gzip\r\n")) == errc::transfer_encoding_invalid);
}

TEST_CASE("GHSA-q5vx-44v4-gch4, CVE-2025-22871: a bare LF ends a line", "[proto][regression]")
{
    CHECK(judged(upgrade("A: b\nC: d\r\n")) == errc::bare_lf);
}

TEST_CASE("CVE-2026-34525: two Host fields", "[proto][regression]")
{
    CHECK(judged(upgrade("Host: h\r\n")) == errc::host_duplicate);
}

TEST_CASE("CVE-2026-34520: NUL and control characters in a field", "[proto][regression]")
{
    CHECK(judged(upgrade(std::string{"A: b\0c\r\n", 8})) == errc::control_character);
    CHECK(judged(upgrade("A: b\x0B\r\n")) == errc::control_character);
}

TEST_CASE("CVE-2026-38967: a response field with a line break in it", "[proto][regression]")
{
    field const extra[] = {{"Location", "/\r\nSet-Cookie: a=b"}};
    refusal r;
    r.extra = extra;
    std::string out;
    CHECK(write_refusal(out, r) == errc::header_value);
    CHECK(out.empty());
}

TEST_CASE("CVE-2020-35678, CVE-2026-1527: a client's request with a line break from the application",
          "[proto][regression]")
{
    client_request r{"h", "/", "dGhlIHNhbXBsZSBub25jZQ==", "", "", "", {}};
    std::string out;
    r.target = "/ HTTP/1.1\r\nX: y";
    CHECK(write_request(out, r) == errc::target_argument);
    r.target = "/";
    r.subprotocols = "a\r\nX: y";
    CHECK(write_request(out, r) == errc::subprotocol_invalid);
    CHECK(out.empty());
}

TEST_CASE("CVE-2026-107284: a client goes on after a wrong accept key", "[proto][regression]")
{
    std::string const head = "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n";
    CHECK(answered(head + "Sec-WebSocket-Accept: wrong\r\n\r\n") == errc::accept_mismatch);
    CHECK(answered(head + "\r\n") == errc::accept_missing);
}

TEST_CASE("CVE-2024-23326: 200 is taken for a switch of protocols", "[proto][regression]")
{
    CHECK(answered("HTTP/1.1 200 OK\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                   "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n") == errc::status_not_101);
}

TEST_CASE("random bytes never crash and never loop", "[proto][regression]")
{
    random_source random{0x2545F4914F6CDD1D};
    for (int round = 0; round < 3000; ++round) {
        byte_string noise(random.below(200));
        for (auto& b : noise)
            b = static_cast<std::byte>(random() & 0xFF);
        for (auto self : {role::server, role::client}) {
            limits const l;
            session s{self, l};
            auto input = noise;
            std::span<std::byte> rest{input};
            std::size_t events = 0;
            while (s.next(rest).what != event::kind::need_more)
                ++events;
            CHECK(events <= noise.size() / 2 + 1);
            CHECK(rest.size() < max_control_frame);
        }
        auto const text = to_text(noise);
        CHECK(judged(text) != errc::ok);
        url u;
        CHECK(parse_url(text, u) != errc::ok);
    }
}
