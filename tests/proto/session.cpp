// SPDX-License-Identifier: BSL-1.0
#include "proto/session.hpp"

#include "bytes.hpp"
#include "catch.hpp"

#include <string>
#include <vector>

using namespace wring::proto;
using namespace wring::test;
using kind = event::kind;

namespace {

constexpr limits defaults{};
constexpr limits unlimited{0, 0, 0};

// What a session made of its input, with the pieces of each frame put together.
struct outcome
{
    struct item
    {
        kind what;
        opcode op;
        bool first, last, ended;
        std::string payload;
        unsigned code;
        errc error;
        bool operator==(item const&) const = default;
    };
    std::vector<item> items;
    bool operator==(outcome const&) const = default;
};

void take(outcome& o, event const& e)
{
    if (e.what == kind::data && !e.frame_start) {
        auto& open = o.items.back();
        open.payload += to_text(e.payload);
        open.ended = e.frame_end;
        open.last = e.message_end;
        return;
    }
    // A frame that a violation cuts short counts for nothing.
    if (e.what == kind::violation && !o.items.empty() && o.items.back().what == kind::data && !o.items.back().ended)
        o.items.pop_back();
    o.items.push_back({e.what, e.op, e.message_start, e.message_end, e.frame_end,
                       e.what == kind::close ? std::string{e.reason} : to_text(e.payload), e.code, e.error});
}

// What next_whole() gives, as next() would have reported it.
bool take_whole(outcome& o, session& s, std::span<std::byte>& rest)
{
    auto const before = byte_string(rest.begin(), rest.end());
    auto const payload = s.next_whole(rest);
    if (!payload.data()) {
        CHECK(byte_string(rest.begin(), rest.end()) == before); // nothing was done
        return false;
    }
    auto const op = static_cast<opcode>(before[0] & std::byte{0x0F});
    o.items.push_back({kind::data, op, true, true, true, to_text(payload), 0, errc::ok});
    rest = {payload.data() + payload.size(), rest.data() + rest.size()};
    return true;
}

// Presents `input` in the pieces that end at `cuts`, as a connection does: what next() leaves comes again.
outcome run(session& s, byte_string const& input, std::vector<std::size_t> const& cuts, bool whole_first = false)
{
    outcome o;
    byte_string held;
    std::size_t from = 0;
    bool small = true;
    for (std::size_t i = 0; i <= cuts.size(); ++i) {
        auto const to = i < cuts.size() ? cuts[i] : input.size();
        held.insert(held.end(), input.begin() + static_cast<std::ptrdiff_t>(from),
                    input.begin() + static_cast<std::ptrdiff_t>(to));
        std::span<std::byte> rest{held};
        for (event e;;) {
            if (whole_first && take_whole(o, s, rest))
                continue;
            e = s.next(rest);
            if (e.what == kind::need_more)
                break;
            take(o, e);
        }
        small = small && rest.size() < max_control_frame;
        held = byte_string(rest.begin(), rest.end());
        from = to;
    }
    CHECK(small);
    return o;
}

outcome whole(byte_string const& input, role self = role::server, limits const& l = defaults, bool rsv1 = false)
{
    session s{self, l, rsv1};
    return run(s, input, {});
}

// Whole, cut in two at each byte, and byte by byte: the same, also where next_whole() has the first say.
outcome judged(byte_string const& input, role self = role::server, limits const& l = defaults)
{
    auto const expected = whole(input, self, l);
    std::vector<std::size_t> all;
    bool same = true;
    for (std::size_t cut = 0; cut <= input.size(); ++cut) {
        session s{self, l};
        same = same && run(s, input, {cut}) == expected;
        session other{self, l};
        same = same && run(other, input, {cut}, true) == expected;
        all.push_back(cut);
    }
    session s{self, l};
    CHECK(same);
    CHECK(run(s, input, all) == expected);
    session other{self, l};
    CHECK(run(other, input, all, true) == expected);
    return expected;
}

byte_string masked(unsigned first, std::string_view payload)
{
    return make_frame(first, from_text(payload), true);
}
byte_string plain(unsigned first, std::string_view payload)
{
    return make_frame(first, from_text(payload), false);
}

errc last_error(outcome const& o)
{
    return o.items.empty() ? errc::ok : o.items.back().error;
}

} // namespace

TEST_CASE("a session is small", "[proto][session]")
{
    STATIC_REQUIRE(sizeof(session) <= 64);
}

TEST_CASE("a text message is delivered to either side", "[proto][session]")
{
    for (auto self : {role::server, role::client}) {
        auto const o = judged(make_frame(0x81, from_text("Hello"), self == role::server), self);
        REQUIRE(o.items.size() == 1);
        CHECK(o.items[0] == outcome::item{kind::data, opcode::text, true, true, true, "Hello", 0, errc::ok});
    }
}

TEST_CASE("a message that lies there whole is taken in one step, and nothing else is touched", "[proto][session]")
{
    for (auto self : {role::server, role::client}) {
        bool const mask = self == role::server;
        auto takes = [&](byte_string bytes, limits const& l = defaults, byte_string const& before = {}) {
            session s{self, l, true};
            auto earlier = before;
            for (std::span<std::byte> rest{earlier}; s.next(rest).what != kind::need_more;) {}
            outcome o;
            std::span<std::byte> rest{bytes};
            return take_whole(o, s, rest);
        };
        for (std::size_t size : {0U, 1U, 125U, 126U, 65'535U}) {
            INFO(size << " bytes");
            auto const frame = make_frame(0x82, byte_string(size, std::byte{'x'}), mask);
            CHECK(takes(frame));
            CHECK(takes(frame + make_frame(0x89, {}, mask)));
            CHECK_FALSE(takes(byte_string(frame.begin(), frame.end() - 1)));
            CHECK(takes(frame, {size, size, 1}));
            CHECK(takes(frame, {0, 0, 0}));
            if (size > 1) {
                CHECK_FALSE(takes(frame, {size - 1, size, 1}));
                CHECK_FALSE(takes(frame, {size, size - 1, 1}));
            }
        }
        CHECK_FALSE(takes({}));
        CHECK_FALSE(takes(make_frame(0x82, byte_string(65'536, std::byte{'x'}), mask)));
        for (unsigned first : {0x02U, 0x01U, 0x80U, 0x00U, 0x88U, 0x89U, 0x8AU, 0xC2U, 0xA2U, 0x83U})
            CHECK_FALSE(takes(make_frame(first, from_text("text"), mask)));
        CHECK_FALSE(takes(make_frame(0x82, from_text("text"), !mask)));
        CHECK(takes(make_frame(0x81, from_text("\xC3\xA4"), mask)));
        CHECK_FALSE(takes(make_frame(0x81, from_text("\xC3"), mask))); // and what was unmasked is masked again
        CHECK_FALSE(takes(make_frame(0x81, from_text("\xFF"), mask)));
        auto long_form = make_frame(0x82, byte_string(126, std::byte{'x'}), mask);
        long_form[3] = std::byte{125}; // which has a shorter form
        CHECK_FALSE(takes(long_form));
        auto const text = make_frame(0x81, from_text("text"), mask);
        CHECK_FALSE(takes(text, defaults, make_frame(0x01, from_text("more to come"), mask)));
        CHECK_FALSE(takes(text, defaults, make_frame(0x88, {}, mask)));
        CHECK_FALSE(takes(text, defaults, make_frame(0x83, {}, mask))); // a violation
    }
}

TEST_CASE("frames of a fragmented message carry its opcode, and control frames may stand between", "[proto][session]")
{
    auto const o = judged(masked(0x01, "Hel") + masked(0x89, "p") + masked(0x00, "l") + masked(0x80, "o"));
    REQUIRE(o.items.size() == 4);
    CHECK(o.items[0] == outcome::item{kind::data, opcode::text, true, false, true, "Hel", 0, errc::ok});
    CHECK(o.items[1].what == kind::ping);
    CHECK(o.items[2] == outcome::item{kind::data, opcode::text, false, false, true, "l", 0, errc::ok});
    CHECK(o.items[3] == outcome::item{kind::data, opcode::text, false, true, true, "o", 0, errc::ok});
}

TEST_CASE("a large frame comes in pieces that say where they stand", "[proto][session]")
{
    auto input = masked(0x82, std::string(1000, 'x'));
    session s{role::server, defaults};
    std::span<std::byte> first{input.data(), 8};
    CHECK(s.next(first).what == kind::need_more); // the header alone is consumed and not reported
    CHECK(first.empty());
    CHECK(s.frame_remaining() == 1000);
    std::span<std::byte> second{input.data() + 8, 300};
    auto e = s.next(second);
    CHECK((e.what == kind::data && e.frame_start && e.message_start && !e.frame_end && !e.message_end));
    CHECK(e.frame_length == 1000);
    CHECK(e.frame_remaining == 700);
    CHECK(e.payload.data() == input.data() + 8);
    CHECK(to_text(e.payload) == std::string(300, 'x'));
    CHECK(s.next(second).what == kind::need_more);
    CHECK(s.receiving_message());
    std::span<std::byte> third{input.data() + 308, 700};
    e = s.next(third);
    CHECK((e.what == kind::data && !e.frame_start && !e.message_start && e.frame_end && e.message_end));
    CHECK(e.frame_remaining == 0);
    CHECK_FALSE(s.receiving_message());
}

TEST_CASE("an empty frame is one empty piece", "[proto][session]")
{
    auto const o = judged(masked(0x81, "") + masked(0x02, "") + masked(0x80, ""));
    REQUIRE(o.items.size() == 3);
    CHECK(o.items[0] == outcome::item{kind::data, opcode::text, true, true, true, "", 0, errc::ok});
    CHECK(o.items[1] == outcome::item{kind::data, opcode::binary, true, false, true, "", 0, errc::ok});
    CHECK(o.items[2] == outcome::item{kind::data, opcode::binary, false, true, true, "", 0, errc::ok});
}

TEST_CASE("a part of a header or of a control frame is not consumed", "[proto][session]")
{
    for (auto const& frame : {masked(0x89, std::string(125, 'p')), masked(0x82, std::string(300, 'x'))}) {
        auto const part = frame[0] == std::byte{0x89} ? frame.size() : 8;
        for (std::size_t size = 0; size < part; ++size) {
            session s{role::server, defaults};
            auto copy = frame;
            std::span<std::byte> input{copy.data(), size};
            CHECK(s.next(input).what == kind::need_more);
            CHECK(input.size() == size);
            CHECK(copy == frame);
        }
    }
}

TEST_CASE("all 65536 first two bytes in each state of a session agree with the table model", "[proto][session]")
{
    // Besides the header's own rules (tests of frame.cpp): a continuation needs a message, a new message needs none.
    unsigned mismatches = 0;
    for (auto self : {role::server, role::client})
        for (bool const open : {false, true})
            for (unsigned first = 0; first < 256; ++first)
                for (unsigned second = 0; second < 256; ++second) {
                    unsigned const op = first % 16;
                    bool const known = op <= 2 || (op >= 8 && op <= 10);
                    bool const control = op >= 8;
                    bool header_good = known && first / 16 % 8 == 0 && (second >= 128) == (self == role::server);
                    if (control) header_good = header_good && first >= 128 && second % 128 < 126;
                    bool const order_good = control || (op == 0) == open;

                    session s{self, unlimited};
                    byte_string input;
                    if (open) input = make_frame(0x02, from_text("a"), self == role::server);
                    input.push_back(static_cast<std::byte>(first));
                    input.push_back(static_cast<std::byte>(second));
                    if (second % 128 == 126) input = input + from_hex("01 2C");
                    if (second % 128 == 127) input = input + from_hex("00 00 00 00 00 01 00 00");
                    if (second >= 128) input = input + from_hex("00 00 00 00");
                    std::span<std::byte> rest{input};
                    if (open) mismatches += s.next(rest).what == kind::data ? 0 : 1;
                    auto const e = s.next(rest);
                    bool good = false;
                    if (!header_good) {
                        good = e.what == kind::violation && close_code_for(e.error) == 1002;
                    } else if (!order_good) {
                        good = e.error == (op == 0 ? errc::continuation_stray : errc::continuation_expected);
                    } else if (second % 128 != 0) {
                        good = e.what == kind::need_more && rest.empty() == !control;
                    } else {
                        constexpr kind controls[] = {kind::close, kind::ping, kind::pong};
                        good = e.what == (control ? controls[op - 8] : kind::data) && rest.empty();
                    }
                    mismatches += good ? 0 : 1;
                }
    CHECK(mismatches == 0);
}

TEST_CASE("C1: a declared length over the limit is refused when the header is complete", "[proto][session]")
{
    limits const l{1 << 20, 1 << 20, 1024};
    struct
    {
        char const* length;
        errc error;
    } const rows[] = {
        {"8000000000000000", errc::length_msb},
        {"FFFFFFFFFFFFFFFF", errc::length_msb},
        {"FFFFFFFFFFFFFFFC", errc::length_msb},
        {"7FFFFFFFFFFFFFFF", errc::frame_too_large},
        {"0000000100000000", errc::frame_too_large},
        {"0000000000100001", errc::frame_too_large},
        {"0000000000100000", errc::ok},
        {"00000000000FFFFF", errc::ok},
    };
    for (auto const& row : rows)
        CHECK(last_error(judged(from_hex(std::string{"82 FF "} + row.length + " 01020304"), role::server, l)) ==
              row.error);
}

TEST_CASE("C1: without limits the largest length is accepted and sums do not wrap", "[proto][session]")
{
    auto const header = [](char const* first) { return from_hex(std::string{first} + "FF 7FFFFFFFFFFFFFFF 00000000"); };
    session s{role::server, unlimited};
    auto input = masked(0x02, "12") + header("00");
    std::span<std::byte> rest{input};
    CHECK(s.next(rest).what == kind::data);
    CHECK(s.next(rest).what == kind::need_more);
    CHECK(s.frame_remaining() == 0x7FFFFFFFFFFFFFFF);
    // Only the frame limit is off: the message's room is compared as a difference.
    limits const message_only{0, 10, 0};
    CHECK(last_error(judged(masked(0x02, "123456") + header("80"), role::server, message_only)) ==
          errc::message_too_large);
}

TEST_CASE("payloads at each length boundary and around the limit", "[proto][session]")
{
    limits const l{70000, 70000, 0};
    for (std::size_t size : {0u, 1u, 125u, 126u, 127u, 65535u, 65536u, 69999u, 70000u, 70001u})
        for (auto self : {role::server, role::client}) {
            auto const o = whole(make_frame(0x82, byte_string(size, std::byte{'a'}), self == role::server), self, l);
            REQUIRE(o.items.size() == 1);
            if (size <= 70000) {
                CHECK(o.items[0].payload == std::string(size, 'a'));
                CHECK(o.items[0].last);
            } else {
                CHECK(o.items[0].error == errc::frame_too_large);
            }
        }
}

TEST_CASE("the sum of a message's frames may equal the limit and not exceed it", "[proto][session]")
{
    limits const l{8, 10, 0};
    CHECK(last_error(judged(masked(0x02, "12345678") + masked(0x80, "90"), role::server, l)) == errc::ok);
    CHECK(last_error(judged(masked(0x02, "12345678") + masked(0x80, "901"), role::server, l)) ==
          errc::message_too_large);
    CHECK(last_error(judged(masked(0x02, "123456789"), role::server, l)) == errc::frame_too_large);
    // The next message begins with all the room.
    CHECK(last_error(judged(masked(0x82, "12345678") + masked(0x82, "12345678"), role::server, l)) == errc::ok);
    // A control frame neither counts nor resets the sum (CVE: read limit bypassed by an interleaved pong).
    CHECK(last_error(judged(masked(0x02, "12345678") + masked(0x8A, "123456789") + masked(0x80, "901"), role::server,
                            l)) == errc::message_too_large);
}

TEST_CASE("C2 and C3: fragments are counted, empty ones too, whatever stands between", "[proto][session]")
{
    limits const l{0, 0, 1024};
    for (std::string const payload : {"", "x"}) {
        byte_string input = masked(0x02, payload);
        for (int i = 1; i < 1024; ++i)
            input = input + masked(0x00, payload) + (i % 7 == 0 ? masked(0x8A, "") : byte_string{});
        CHECK(last_error(whole(input, role::server, l)) == errc::ok);
        CHECK(last_error(whole(input + masked(0x80, payload), role::server, l)) == errc::too_many_fragments);
    }
    CHECK(last_error(whole(masked(0x01, "") + masked(0x80, ""), role::server, {0, 0, 1})) == errc::too_many_fragments);
    CHECK(last_error(whole(masked(0x81, "") + masked(0x81, ""), role::server, {0, 0, 1})) == errc::ok);
}

TEST_CASE("C3: a hundred thousand empty messages are only messages", "[proto][session]")
{
    byte_string input;
    for (int i = 0; i < 100000; ++i)
        input.insert(input.end(), {std::byte{0x82}, std::byte{0x80}, {}, {}, {}, {}});
    session s{role::server, defaults};
    std::span<std::byte> rest{input};
    int seen = 0;
    while (s.next(rest).what == kind::data)
        ++seen;
    CHECK(seen == 100000);
    CHECK(rest.empty());
}

TEST_CASE("lowering a limit in the middle of a message refuses its next frame", "[proto][session]")
{
    limits l{100, 100, 100};
    session s{role::server, l};
    auto input = masked(0x02, "12345678") + masked(0x80, "1");
    std::span<std::byte> rest{input};
    CHECK(s.next(rest).what == kind::data);
    l.max_message = 5;
    CHECK(s.next(rest).error == errc::message_too_large);
}

TEST_CASE("bad UTF-8 in text fails on its byte, not at the end of the message", "[proto][session]")
{
    CHECK(last_error(judged(masked(0x81, "ab\xFF"))) == errc::utf8_text);
    CHECK(last_error(judged(masked(0x81, "\xE2\x82"))) == errc::utf8_text);
    CHECK(last_error(judged(masked(0x01, "\xE2\x82") + masked(0x80, "\xAC"))) == errc::ok);
    CHECK(last_error(judged(masked(0x01, "\xE2\x82") + masked(0x80, "x"))) == errc::utf8_text);
    CHECK(last_error(judged(masked(0x01, "\xE2\x82") + masked(0x00, "") + masked(0x80, ""))) == errc::utf8_text);
    CHECK(last_error(judged(masked(0x82, "\xFF\xFE"))) == errc::ok);
    CHECK(last_error(judged(masked(0x02, "\xFF") + masked(0x80, "\xFE"))) == errc::ok);
    // Validity does not leak from one message into the next.
    CHECK(last_error(judged(masked(0x02, "\xE2") + masked(0x80, "") + masked(0x81, "a"))) == errc::ok);

    session s{role::server, defaults};
    auto input = masked(0x01, std::string("ok ") + "\xC0" + std::string(100, 'x'));
    std::span<std::byte> rest{input.data(), 6 + 4};
    CHECK(s.next(rest).error == errc::utf8_text);
    CHECK(s.close_reply_code() == 1007);
}

TEST_CASE("a compressed message is passed on unjudged, where RSV1 is allowed", "[proto][session]")
{
    session s{role::server, defaults, true};
    auto input = masked(0x41, "\xFF") + masked(0x80, "\xFE") + masked(0x81, "\xFF");
    std::span<std::byte> rest{input};
    auto e = s.next(rest);
    CHECK((e.what == kind::data && e.compressed && e.op == opcode::text));
    e = s.next(rest);
    CHECK((e.what == kind::data && e.compressed && e.message_end));
    CHECK(s.next(rest).error == errc::utf8_text);
    CHECK(last_error(whole(masked(0x01, "a") + masked(0xC0, "b"), role::server, defaults, true)) == errc::reserved_bit);
    CHECK(last_error(whole(masked(0xC9, "b"), role::server, defaults, true)) == errc::reserved_bit);
    CHECK(last_error(whole(masked(0xC1, "b"))) == errc::reserved_bit);
}

TEST_CASE("a close frame ends reception, and its code is what a reply carries", "[proto][session]")
{
    struct
    {
        std::string payload;
        unsigned code, reply;
        std::string reason;
    } const rows[] = {
        {"", close_no_status, 0, ""},
        {"\x03\xE8", 1000, 1000, ""},
        {"\x03\xE9going", 1001, 1001, "going"},
        {"\x13\x87" + std::string(123, 'r'), 4999, 4999, std::string(123, 'r')},
    };
    for (auto const& row : rows) {
        auto const input = masked(0x88, row.payload) + masked(0x81, "after") + masked(0x88, "\x03\xE8");
        auto const o = judged(input);
        REQUIRE(o.items.size() == 1);
        CHECK(o.items[0].what == kind::close);
        CHECK(o.items[0].code == row.code);
        CHECK(o.items[0].payload == row.reason);
        session s{role::server, defaults};
        CHECK(s.close_reply_code() == 0);
        run(s, input, {});
        CHECK(s.close_received());
        CHECK(s.error() == errc::ok);
        CHECK(s.close_reply_code() == row.reply);
    }
}

TEST_CASE("a bad close payload is a violation", "[proto][session]")
{
    CHECK(last_error(judged(masked(0x88, "\x03"))) == errc::close_payload_short);
    CHECK(last_error(judged(masked(0x88, "\x03\xED"))) == errc::close_code_invalid);
    CHECK(last_error(judged(masked(0x88, "\x03\xE8\xFF"))) == errc::utf8_close_reason);
    CHECK(last_error(judged(masked(0x88, "\x03\xE8\xE2\x82"))) == errc::utf8_close_reason);
    CHECK(last_error(judged(from_hex("88 FE 00 7E 00000000"))) == errc::control_too_long);
}

TEST_CASE("a close frame may come in the middle of a message", "[proto][session]")
{
    auto const o = judged(masked(0x01, "Hel") + masked(0x88, "\x03\xE8"));
    REQUIRE(o.items.size() == 2);
    CHECK(o.items[1].what == kind::close);
}

TEST_CASE("after a violation the rest of the input is swallowed", "[proto][session]")
{
    auto const o = judged(masked(0x81, "a") + masked(0x83, "b") + masked(0x81, "c"));
    REQUIRE(o.items.size() == 2);
    CHECK(o.items[0].payload == "a");
    CHECK(o.items[1].error == errc::reserved_opcode);
    session s{role::server, defaults};
    auto input = plain(0x81, "x");
    std::span<std::byte> rest{input};
    CHECK(s.next(rest).error == errc::mask_missing);
    CHECK(rest.empty());
    CHECK(s.error() == errc::mask_missing);
    CHECK(s.close_reply_code() == 1002);
    CHECK_FALSE(s.close_received());
    rest = input;
    CHECK(s.next(rest).what == kind::need_more);
    CHECK(rest.empty());
}

TEST_CASE("a client refuses masked frames", "[proto][session]")
{
    auto const o = judged(masked(0x81, "x"), role::client);
    CHECK(last_error(o) == errc::mask_unexpected);
}

TEST_CASE("random messages, cut at random places, arrive as sent", "[proto][session]")
{
    random_source random{0x9E3779B97F4A7C15};
    for (int round = 0; round < 300; ++round) {
        auto const self = random.below(2) == 0 ? role::server : role::client;
        bool const mask = self == role::server;
        byte_string input;
        std::vector<std::string> messages;
        std::size_t pings = 0;
        for (auto count = random.below(8); count > 0; --count) {
            std::string message;
            auto const frames = 1 + random.below(5);
            for (std::size_t i = 0; i < frames; ++i) {
                std::string const payload(random.below(random.below(10) == 0 ? 70000 : 200),
                                          static_cast<char>('a' + i));
                unsigned const first = (i == 0 ? 2u : 0u) | (i + 1 == frames ? 0x80u : 0u);
                input = input + make_frame(first, from_text(payload), mask);
                message += payload;
                if (random.below(3) == 0) {
                    input = input + make_frame(0x89, from_text("ping"), mask);
                    ++pings;
                }
            }
            messages.push_back(message);
        }
        std::vector<std::size_t> cuts;
        for (std::size_t at = 0; at < input.size(); at += 1 + random.below(5000))
            cuts.push_back(at);
        session s{self, unlimited};
        std::vector<std::string> received;
        std::size_t pinged = 0;
        std::string message;
        for (auto const& item : run(s, input, cuts).items) {
            if (item.what == kind::ping) {
                pinged += item.payload == "ping" ? 1 : 0;
                continue;
            }
            if (item.first) message.clear();
            message += item.payload;
            if (item.last) received.push_back(message);
        }
        CHECK(received == messages);
        CHECK(pinged == pings);
    }
}

TEST_CASE("frames of a message to send follow one another", "[proto][session]")
{
    session s{role::server, defaults};
    auto op = opcode::continuation;
    CHECK(s.start_frame(op, true) == errc::send_no_message);
    op = opcode::text;
    CHECK(s.start_frame(op, false) == errc::ok);
    CHECK(op == opcode::text);
    CHECK(s.sending_message());
    CHECK(s.start_frame(op, false) == errc::ok); // the message's own opcode goes on with it
    CHECK(op == opcode::continuation);
    op = opcode::binary;
    CHECK(s.start_frame(op, true) == errc::send_interleaved);
    op = opcode::ping;
    CHECK(s.start_frame(op, true) == errc::ok);
    CHECK(s.start_frame(op, false) == errc::send_control_fragmented);
    op = opcode::continuation;
    CHECK(s.start_frame(op, true) == errc::ok);
    CHECK_FALSE(s.sending_message());
    op = opcode::binary;
    CHECK(s.start_frame(op, true) == errc::ok);
    CHECK(op == opcode::binary);
    op = static_cast<opcode>(3);
    CHECK(s.start_frame(op, true) == errc::send_reserved_opcode);
}

TEST_CASE("nothing is sent after a close frame", "[proto][session]")
{
    session s{role::client, defaults};
    auto op = opcode::close;
    CHECK(s.start_frame(op, false) == errc::send_control_fragmented);
    CHECK_FALSE(s.close_sent());
    CHECK(s.start_frame(op, true) == errc::ok);
    CHECK(s.close_sent());
    for (auto next : {opcode::close, opcode::ping, opcode::pong, opcode::text, opcode::continuation})
        CHECK(s.start_frame(next, true) == errc::send_after_close);
}

TEST_CASE("what a session encodes its peer reads", "[proto][session]")
{
    for (auto self : {role::server, role::client}) {
        session const sender{self, defaults};
        session receiver{self == role::server ? role::client : role::server, defaults};
        mask_key const key{9, 8, 7, 6};
        for (std::size_t size : {0u, 1u, 5u, 124u, 125u}) {
            auto const payload = byte_string(size, std::byte{'p'});
            std::array<std::byte, max_control_frame> frame{};
            auto const written = sender.encode_control(opcode::ping, payload, key, frame);
            CHECK(written == header_size(size, self == role::client) + size);
            std::span<std::byte> rest{frame.data(), written};
            auto const e = receiver.next(rest);
            CHECK(e.what == kind::ping);
            CHECK(to_text(e.payload) == to_text(payload));
            CHECK(rest.empty());
        }
        std::array<std::byte, max_header_size> header{};
        auto const written = sender.encode_header(opcode::text, true, false, 0, key, header.data());
        std::span<std::byte> rest{header.data(), written};
        CHECK(receiver.next(rest).what == kind::data);
    }
}
