// SPDX-License-Identifier: BSL-1.0
#include "proto/deflate.hpp"

#include "bytes.hpp"
#include "catch.hpp"
#include "core/allocations.hpp"

#include <zlib.h>

#include <algorithm>
#include <limits>
#include <new>

using namespace wring::proto;
using namespace wring::test;

namespace {

// --- Negotiation ---

constexpr deflate_parameters takeovers{true, true, 15, 15};

std::string text_of(std::optional<deflate_parameters> const& p)
{
    if (!p) return "none";
    return std::string{p->server_takeover ? "takeover " : "fresh "} + std::to_string(p->server_bits) + ", " +
           (p->client_takeover ? "takeover " : "fresh ") + std::to_string(p->client_bits);
}

struct accepted_offer
{
    std::string answer;
    std::string agreed;
};

accepted_offer server(std::string const& offers, deflate_parameters const& wanted = takeovers)
{
    std::string answer;
    auto const lines = "Host: x\r\nSec-WebSocket-Extensions: " + offers + "\r\n";
    auto const agreed = accept_deflate(field_range{lines}, wanted, answer);
    return {answer, text_of(agreed)};
}

// "fail", or what was agreed on.
std::string client(std::string_view answer, deflate_parameters const& wanted = takeovers)
{
    std::optional<deflate_parameters> agreed = deflate_parameters{};
    auto const e = check_deflate(answer, wanted, agreed);
    if (e == errc::ok) return text_of(agreed);
    CHECK(e == errc::extension_parameters);
    CHECK_FALSE(agreed);
    return "fail";
}

// --- Compression ---

byte_string random_bytes(random_source& random, std::size_t size)
{
    byte_string b(size);
    for (auto& byte : b)
        byte = static_cast<std::byte>(random() & 0xFF);
    return b;
}

// Something that compresses: words, repetitions from far and near, and noise.
byte_string some_message(random_source& random, std::size_t size)
{
    static constexpr std::string_view words[] = {"alpha ",   "beta ",      "gamma ", "delta ",
                                                 "{\"id\":", "\"value\":", "}, "};
    std::string text;
    while (text.size() < size) {
        auto const kind = random.below(10);
        if (kind < 6) {
            text += words[random.below(std::size(words))];
        } else if (kind < 8 && !text.empty()) {
            auto const from = random.below(text.size());
            text += text.substr(from, random.below(300));
        } else if (kind < 9) {
            text += to_text(random_bytes(random, random.below(40)));
        } else {
            text.append(random.below(500), static_cast<char>('a' + random.below(26)));
        }
    }
    text.resize(size);
    return from_text(text);
}

// One frame's payload: of a message's last one, or of an earlier one. Output comes in rooms of `room` bytes.
byte_string frame_of(deflater& d, std::span<std::byte const> input, bool fin, std::size_t room = 1000)
{
    byte_string out;
    for (bool done = false; !done;) {
        byte_string part(room);
        auto const p = d.step(input, part);
        part.resize(p.written);
        out = out + part;
        done = p.done;
    }
    CHECK(input.empty());
    if (!fin) return out;
    if (out.empty()) return byte_string(1);
    auto const end = out.size() - deflate_tail_size;
    CHECK(std::equal(out.begin() + static_cast<std::ptrdiff_t>(end), out.end(), inflater::tail().begin()));
    out.resize(end);
    return out;
}

struct inflated
{
    errc error = errc::ok;
    byte_string bytes;
};

// A message of these payloads, given in pieces of `cut` bytes, into rooms of `room`.
inflated message_of(inflater& i, std::vector<byte_string> const& payloads, std::size_t cut = 0, std::size_t room = 1000)
{
    inflated out;
    auto const feed = [&](std::span<std::byte const> input) {
        for (bool done = false; !done && out.error == errc::ok;) {
            byte_string part(room);
            auto const p = i.step(input, part);
            part.resize(p.written);
            out.bytes = out.bytes + part;
            out.error = p.error;
            done = p.done;
        }
    };
    for (auto const& payload : payloads)
        for (std::size_t from = 0; from < payload.size() && out.error == errc::ok;) {
            auto const n = cut == 0 ? payload.size() : std::min(cut, payload.size() - from);
            feed(std::span{payload}.subspan(from, n));
            from += n;
        }
    if (out.error == errc::ok && !i.complete()) {
        feed(inflater::tail());
        if (out.error == errc::ok && !i.complete()) out.error = errc::deflate_invalid;
    }
    return out;
}

std::string inflate_hex(std::vector<std::string> const& frames, inflater& i)
{
    std::vector<byte_string> payloads;
    for (auto const& f : frames)
        payloads.push_back(from_hex(f));
    auto const whole = message_of(i, payloads);
    return whole.error == errc::ok ? to_text(whole.bytes) : "invalid";
}

std::string inflate_hex(std::string const& hex)
{
    auto const result = [&](std::size_t cut, std::size_t room) {
        inflater i(15);
        auto const m = message_of(i, {from_hex(hex)}, cut, room);
        return m.error == errc::ok ? to_text(m.bytes) : "invalid";
    };
    auto const whole = result(0, 1000);
    for (std::size_t const cut : {0U, 1U, 3U})
        for (std::size_t const room : {1U, 7U, 1000U}) {
            INFO(hex << " cut at " << cut << " into " << room);
            CHECK(result(cut, room) == whole);
        }
    return whole;
}

// Raw deflate of all of `input` with one block marked as the last.
byte_string with_final_block(std::string_view input, std::string_view dictionary = {})
{
    z_stream z{};
    REQUIRE(deflateInit2(&z, 9, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY) == Z_OK);
    auto const bytes = [](std::string_view s) { return reinterpret_cast<Bytef*>(const_cast<char*>(s.data())); };
    if (!dictionary.empty())
        REQUIRE(deflateSetDictionary(&z, bytes(dictionary), static_cast<uInt>(dictionary.size())) == Z_OK);
    byte_string out(1000 + input.size());
    z.next_in = bytes(input);
    z.avail_in = static_cast<uInt>(input.size());
    z.next_out = reinterpret_cast<Bytef*>(out.data());
    z.avail_out = static_cast<uInt>(out.size());
    CHECK(deflate(&z, Z_FINISH) == Z_STREAM_END);
    out.resize(out.size() - z.avail_out);
    deflateEnd(&z);
    return out;
}

} // namespace

// --- The server's part of the negotiation ---

TEST_CASE("deflate: each parameter of an offer is answered", "[proto][deflate]")
{
    struct
    {
        char const* offer;
        char const* answer;
        char const* agreed;
    } const rows[] = {
        {"permessage-deflate", "permessage-deflate", "takeover 15, takeover 15"},
        {"Permessage-Deflate", "permessage-deflate", "takeover 15, takeover 15"},
        {"permessage-deflate; client_max_window_bits", "permessage-deflate", "takeover 15, takeover 15"},
        {"permessage-deflate; server_no_context_takeover", "permessage-deflate; server_no_context_takeover",
         "fresh 15, takeover 15"},
        {"permessage-deflate; client_no_context_takeover", "permessage-deflate; client_no_context_takeover",
         "takeover 15, fresh 15"},
        {"permessage-deflate; server_max_window_bits=10", "permessage-deflate; server_max_window_bits=10",
         "takeover 10, takeover 15"},
        {"permessage-deflate; server_max_window_bits=15", "permessage-deflate; server_max_window_bits=15",
         "takeover 15, takeover 15"},
        {"permessage-deflate; client_max_window_bits=10", "permessage-deflate; client_max_window_bits=10",
         "takeover 15, takeover 10"},
        {"permessage-deflate; client_max_window_bits=8", "permessage-deflate; client_max_window_bits=8",
         "takeover 15, takeover 8"},
        {"permessage-deflate; client_max_window_bits=15", "permessage-deflate", "takeover 15, takeover 15"},
        {"permessage-deflate; server_max_window_bits=\"9\"; client_max_window_bits=\"1\\2\"",
         "permessage-deflate; server_max_window_bits=9; client_max_window_bits=12", "takeover 9, takeover 12"},
        {"permessage-deflate ;server_max_window_bits = 11 ; client_no_context_takeover; server_no_context_takeover",
         "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=11",
         "fresh 11, fresh 15"},
    };
    for (auto const& row : rows) {
        INFO(row.offer);
        auto const s = server(row.offer);
        CHECK(s.answer == row.answer);
        CHECK(s.agreed == row.agreed);
    }
}

TEST_CASE("deflate: what the server wishes for goes into its answer", "[proto][deflate]")
{
    auto const plain = server("permessage-deflate", {false, false, 12, 11});
    CHECK(plain.answer == "permessage-deflate; server_no_context_takeover; client_no_context_takeover; "
                          "server_max_window_bits=12");
    CHECK(plain.agreed == "fresh 12, fresh 15"); // section 7.1.2.2: nobody asked for a smaller window of the client's
    auto const both =
        server("permessage-deflate; client_max_window_bits; server_max_window_bits=14", {true, true, 12, 11});
    CHECK(both.answer == "permessage-deflate; server_max_window_bits=12; client_max_window_bits=11");
    CHECK(both.agreed == "takeover 12, takeover 11");
    auto const smaller = server("permessage-deflate; client_max_window_bits=9; server_max_window_bits=10",
                                {true, true, 12, 11});
    CHECK(smaller.answer == "permessage-deflate; server_max_window_bits=10; client_max_window_bits=9");
}

TEST_CASE("deflate: an offer with a parameter that is unknown, repeated or bad is declined", "[proto][deflate]")
{
    for (char const* offer : {
             "permessage-deflate; unknown",
             "permessage-deflate; server_max_window_bits=10; unknown=1",
             "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
             "permessage-deflate; client_no_context_takeover; client_no_context_takeover",
             "permessage-deflate; server_max_window_bits=10; server_max_window_bits=10",
             "permessage-deflate; client_max_window_bits; client_max_window_bits",
             "permessage-deflate; client_max_window_bits; client_max_window_bits=10",
             "permessage-deflate; client_max_window_bits=10; client_max_window_bits",
             "permessage-deflate; server_no_context_takeover=1",
             "permessage-deflate; client_no_context_takeover=true",
             "permessage-deflate; server_max_window_bits",
             "permessage-bzip2",
             "permessage-deflate2",
             "x-webkit-deflate-frame",
         }) {
        INFO(offer);
        auto const s = server(offer);
        CHECK(s.answer.empty());
        CHECK(s.agreed == "none");
    }
    for (char const* side : {"server", "client"})
        for (char const* bits : {"0", "1", "7", "16", "08", "009", "010", "015", "+9", "-9", "9.", "1e1", "0x9", "a",
                                 "18446744073709551625", "99999999999999999999999", "\"7\"", "\"\\0\\8\"", "\"16\""}) {
            INFO(side << " " << bits);
            CHECK(server("permessage-deflate; " + std::string{side} + "_max_window_bits=" + bits).agreed == "none");
        }
    CHECK(server("permessage-deflate; server_max_window_bits=8").agreed == "none"); // zlib has no such compressor
}

TEST_CASE("deflate: the first offer that can be met is taken", "[proto][deflate]")
{
    auto const fallback = server("permessage-deflate; server_max_window_bits=8, x-other, permessage-deflate; unknown, "
                                 "permessage-deflate; server_max_window_bits=9, permessage-deflate");
    CHECK(fallback.answer == "permessage-deflate; server_max_window_bits=9");
    CHECK(server("permessage-deflate; unknown\r\nX: y\r\nsec-websocket-extensions: permessage-deflate").agreed ==
          "takeover 15, takeover 15");
    CHECK(server("").agreed == "none");
}

// --- The client's ---

TEST_CASE("deflate: a client offers what it wishes for", "[proto][deflate]")
{
    CHECK(deflate_offer(takeovers) == "permessage-deflate; client_max_window_bits");
    CHECK(deflate_offer({false, false, 15, 15}) == "permessage-deflate; server_no_context_takeover; "
                                                   "client_no_context_takeover; client_max_window_bits");
    CHECK(deflate_offer({true, false, 10, 11}) == "permessage-deflate; client_no_context_takeover; "
                                                  "server_max_window_bits=10; client_max_window_bits=11");
    // A server that cannot limit its window may do without: it costs nothing between messages.
    CHECK(deflate_offer({false, true, 10, 15}) ==
          "permessage-deflate; server_no_context_takeover; server_max_window_bits=10; client_max_window_bits, "
          "permessage-deflate; server_no_context_takeover; client_max_window_bits");
}

TEST_CASE("deflate: a client takes the answers that its offer allows", "[proto][deflate]")
{
    CHECK(client("") == "none");
    CHECK(client("permessage-deflate") == "takeover 15, takeover 15");
    CHECK(client("permessage-deflate; server_no_context_takeover") == "fresh 15, takeover 15");
    CHECK(client("permessage-deflate; client_no_context_takeover") == "takeover 15, fresh 15");
    CHECK(client("permessage-deflate; server_max_window_bits=8") == "takeover 8, takeover 15"); // unasked, but allowed
    CHECK(client("permessage-deflate; client_max_window_bits=\"9\"") == "takeover 15, takeover 9");
    CHECK(client("permessage-deflate; client_max_window_bits=8") == "takeover 15, takeover 8");
    deflate_parameters const small{false, false, 10, 11};
    CHECK(client("permessage-deflate; server_no_context_takeover; server_max_window_bits=10", small) ==
          "fresh 10, fresh 11");
    CHECK(client("permessage-deflate; server_no_context_takeover; server_max_window_bits=9", small) ==
          "fresh 9, fresh 11");
    CHECK(client("permessage-deflate; server_no_context_takeover", small) == "fresh 15, fresh 11");
}

TEST_CASE("deflate: a client refuses the answers that its offer does not allow", "[proto][deflate]")
{
    for (char const* answer :
         {"permessage-deflate; unknown", "permessage-deflate; server_max_window_bits",
          "permessage-deflate; client_max_window_bits", "permessage-deflate; server_max_window_bits=7",
          "permessage-deflate; server_max_window_bits=16", "permessage-deflate; client_max_window_bits=0",
          "permessage-deflate; client_max_window_bits=16", "permessage-deflate; client_max_window_bits=09",
          "permessage-deflate; server_no_context_takeover=1",
          "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
          "permessage-deflate; server_max_window_bits=10; server_max_window_bits=10"}) {
        INFO(answer);
        CHECK(client(answer) == "fail");
    }
    deflate_parameters const small{false, false, 10, 11};
    CHECK(client("permessage-deflate", small) == "fail"); // the server must not keep its window
    CHECK(client("permessage-deflate; server_max_window_bits=10", small) == "fail");
    CHECK(client("permessage-deflate; server_no_context_takeover; server_max_window_bits=11", small) == "fail");
    CHECK(client("permessage-deflate; server_no_context_takeover; client_max_window_bits=12", small) == "fail");
    CHECK(client("permessage-deflate", {true, true, 10, 15}) == "fail"); // no alternative was offered
}

TEST_CASE("deflate: whatever a client offers, a server's answer suits it", "[proto][deflate]")
{
    auto const each = [](auto&& visit) {
        for (int const bits : {9, 10, 14, 15})
            for (int const other : {9, 12, 15})
                for (bool const s : {false, true})
                    for (bool const c : {false, true})
                        visit(deflate_parameters{s, c, static_cast<std::uint8_t>(bits),
                                                 static_cast<std::uint8_t>(other)});
    };
    each([&](deflate_parameters const& ours) {
        each([&](deflate_parameters const& theirs) {
            std::string answer;
            auto const lines = "Sec-WebSocket-Extensions: " + deflate_offer(ours) + "\r\n";
            auto const agreed = accept_deflate(field_range{lines}, theirs, answer);
            REQUIRE(agreed);
            std::optional<deflate_parameters> seen;
            REQUIRE(check_deflate(answer, ours, seen) == errc::ok);
            CHECK(seen->server_takeover == agreed->server_takeover);
            CHECK(seen->server_bits == agreed->server_bits);
            CHECK(seen->client_takeover <= agreed->client_takeover); // the client may do less than it may
            CHECK(seen->client_bits <= agreed->client_bits);
            CHECK(agreed->server_bits <= std::min(ours.server_bits, theirs.server_bits));
        });
    });
}

// --- Compression ---

TEST_CASE("deflate: the RFC's examples", "[proto][deflate]")
{
    // Section 7.2.3.1: one block; in two fragments; 7.2.3.3 stored; 7.2.3.4 BFINAL; 7.2.3.5 two blocks; 7.2.3.6 empty
    CHECK(inflate_hex("f2 48 cd c9 c9 07 00") == "Hello");
    inflater i(15);
    CHECK(inflate_hex({"f2 48 cd", "c9 c9 07 00"}, i) == "Hello");
    CHECK(inflate_hex({"f2 00 11 00 00"}, i) == "Hello"); // section 7.2.3.2: with reference to the one before
    CHECK(inflate_hex("00 05 00 fa ff 48 65 6c 6c 6f 00") == "Hello");
    CHECK(inflate_hex("f3 48 cd c9 c9 07 00 00") == "Hello");
    CHECK(inflate_hex("f2 48 05 00 00 00 ff ff ca c9 c9 07 00") == "Hello");
    CHECK(inflate_hex("00") == "");

    deflater d(deflate_shape{});
    CHECK(frame_of(d, from_text("Hello"), true) == from_hex("f2 48 cd c9 c9 07 00"));
    CHECK(frame_of(d, from_text("Hello"), true) == from_hex("f2 00 11 00 00"));
    CHECK(frame_of(d, {}, true) == from_hex("00"));
    d.forget();
    CHECK(frame_of(d, from_text("Hello"), true) == from_hex("f2 48 cd c9 c9 07 00"));
    d.forget();
    CHECK(frame_of(d, {}, true) == from_hex("00"));
}

TEST_CASE("deflate: what senders do wrong at a message's end is let pass where it is unambiguous", "[proto][deflate]")
{
    CHECK(inflate_hex("f3 48 cd c9 c9 07 00") == "Hello");                // a last block and nothing behind it
    CHECK(inflate_hex("f2 48 cd c9 c9 07 00 00 00 ff ff") == "Hello");    // the tail was left on
    CHECK(inflate_hex("") == "");                                         // no byte at all
    inflater i(15);
    for (auto const* empty : {"", "00", ""})
        CHECK(inflate_hex({empty}, i) == "");
    CHECK(inflate_hex({"f2 48 cd c9 c9 07 00"}, i) == "Hello");
    CHECK(inflate_hex({""}, i) == "");
    CHECK(inflate_hex({"f2 00 11 00 00"}, i) == "Hello");
}

TEST_CASE("deflate: garbage, truncated messages and references to nothing are invalid", "[proto][deflate]")
{
    for (auto const* hex : {"07", "ff", "de ad be ef",             // a reserved block type, noise
                            "f2 48 cd c9", "f2 48", "f2",          // cut short
                            "00 05 00 fb ff 48 65 6c 6c 6f 00",    // a stored block's length and its complement
                            "00 05 00 fa ff 48 65",                // a stored block cut short
                            "f2 00 11 00 00",                      // refers to a message that was not there
                            "f3 48 cd c9 c9 07 00 f2",             // cut behind a last block
                            "f2 48 cd c9 c9 07 00 00 00 ff"}) {
        INFO(hex);
        CHECK(inflate_hex(hex) == "invalid");
    }
    // A distance of 2000 in a stream that has 1000 bytes.
    random_source random{7};
    auto const far = some_message(random, 1000);
    deflater d(deflate_shape{});
    (void)frame_of(d, far, true);
    auto const refers = frame_of(d, far, true);
    inflater fresh(15);
    CHECK(message_of(fresh, {refers}).error == errc::deflate_invalid);
}

TEST_CASE("deflate: blocks marked as the last one go on, with their window", "[proto][deflate]")
{
    std::string const first = "a window that is kept, whatever a block says of being the last one";
    auto one = with_final_block(first);
    auto two = with_final_block(first + "!", first);
    CHECK(two.size() < first.size() / 2); // it does refer back
    for (std::size_t const cut : {0U, 1U, 5U})
        for (std::size_t const room : {1U, 13U, 1000U}) {
            inflater i(15);
            auto const m = message_of(i, {one, two, from_hex("00")}, cut, room);
            CHECK(m.error == errc::ok);
            CHECK(to_text(m.bytes) == first + first + "!");
            auto const next = message_of(i, {with_final_block(first, first + "!") + from_hex("00")}, cut, room);
            CHECK(to_text(next.bytes) == first);
        }
    // Many of them cost no more than their bytes.
    byte_string many(200'000);
    for (std::size_t at = 0; at < many.size(); at += 2)
        many[at] = std::byte{3}; // 03 00: an empty one
    inflater i(15);
    auto const m = message_of(i, {many, from_hex("00")});
    CHECK(m.error == errc::ok);
    CHECK(m.bytes.empty());
}

TEST_CASE("deflate: random messages through two live contexts come out as they went in", "[proto][deflate]")
{
    random_source random{20260801};
    for (int bits = 9; bits <= 15; ++bits)
        for (bool const takeover : {false, true})
            for (int const wider : {0, 15}) {
                deflate_shape shape;
                shape.bits = static_cast<std::uint8_t>(bits);
                shape.level = static_cast<std::uint8_t>(random.below(10));
                shape.mem_level = static_cast<std::uint8_t>(1 + random.below(9));
                INFO(bits << " bits, level " << int{shape.level} << ", memory " << int{shape.mem_level}
                          << (takeover ? ", takeover" : ""));
                REQUIRE(valid(shape));
                deflater d(shape);
                inflater i(std::max(bits, wider));
                for (int n = 0; n < 30; ++n) {
                    auto const size = random.below(random.below(4) == 0 ? 70'000 : 600);
                    auto const message = some_message(random, size);
                    auto const frames = 1 + random.below(4);
                    std::vector<byte_string> payloads;
                    std::size_t from = 0;
                    for (std::size_t f = 0; f < frames; ++f) {
                        bool const fin = f + 1 == frames;
                        auto const n_bytes = fin ? size - from : random.below(size - from + 1);
                        auto const room = deflater::least_room + random.below(3000);
                        payloads.push_back(frame_of(d, std::span{message}.subspan(from, n_bytes), fin, room));
                        from += n_bytes;
                    }
                    auto const cut = random.below(3) == 0 ? 0 : 1 + random.below(200);
                    auto const back = message_of(i, payloads, cut, 1 + random.below(5000));
                    REQUIRE(back.error == errc::ok);
                    REQUIRE(back.bytes == message);
                    if (!takeover) {
                        d.forget();
                        if (random.below(2) == 0) i.forget(); // it need not
                    }
                }
            }
}

TEST_CASE("deflate: frames without input", "[proto][deflate]")
{
    deflater d(deflate_shape{});
    inflater i(15);
    auto const text = from_text("some text, some text");
    for (int n = 0; n < 3; ++n) {
        std::vector<byte_string> const payloads{frame_of(d, {}, false), frame_of(d, text, false),
                                                frame_of(d, {}, false), frame_of(d, {}, true)};
        CHECK(payloads[2].empty());
        CHECK(payloads[3] == from_hex("00"));
        auto const m = message_of(i, payloads);
        CHECK(m.error == errc::ok);
        CHECK(m.bytes == text);
    }
}

TEST_CASE("deflate: messages of another stream between those of a compressor, if it forgets", "[proto][deflate]")
{
    // How a message that is compressed once for many goes to a peer whose window is kept.
    random_source random{99};
    deflater own(deflate_shape{});
    deflater shared(deflate_shape{});
    inflater peer(15);
    for (int n = 0; n < 300; ++n) {
        auto const message = some_message(random, random.below(2000));
        byte_string payload;
        if (random.below(3) == 0) {
            shared.forget();
            payload = frame_of(shared, message, true);
            own.forget();
        } else {
            payload = frame_of(own, message, true);
        }
        auto const m = message_of(peer, {payload});
        REQUIRE(m.error == errc::ok);
        REQUIRE(m.bytes == message);
    }
    // And if it does not, it goes wrong: the two windows differ.
    own.forget();
    auto const first = some_message(random, 5000);
    auto const between = some_message(random, 3000);
    (void)message_of(peer, {frame_of(own, first, true)});
    shared.forget();
    (void)message_of(peer, {frame_of(shared, between, true)});
    auto const wrong = message_of(peer, {frame_of(own, first, true)});
    CHECK(wrong.bytes != first);
}

TEST_CASE("deflate: a decompressor's window moves to another", "[proto][deflate]")
{
    random_source random{5};
    for (int const bits : {9, 12, 15}) {
        deflater d(deflate_shape{static_cast<std::uint8_t>(bits), 6, 8});
        auto i = std::make_unique<inflater>(bits);
        CHECK(i->window_size() == 0);
        for (int n = 0; n < 60; ++n) {
            auto const message = some_message(random, random.below(n % 7 == 0 ? 50'000 : 300));
            auto const m = message_of(*i, {frame_of(d, message, true)});
            REQUIRE(m.error == errc::ok);
            REQUIRE(m.bytes == message);
            byte_string window(i->window_size());
            CHECK(window.size() <= std::size_t{1} << bits);
            i->copy_window(window.data());
            i = std::make_unique<inflater>(bits);
            i->set_window(window);
        }
    }
}

TEST_CASE("deflate: a gigabyte of zeros comes out in steps, in constant memory", "[proto][deflate]")
{
    byte_string const zeros(1 << 20);
    deflater d(deflate_shape{15, 9, 9});
    byte_string compressed;
    for (int n = 0; n < 64; ++n)
        compressed = compressed + frame_of(d, zeros, false, 20'000);
    CHECK(compressed.size() < 100'000);
    auto const before = memory_in_use();
    inflater i(15);
    std::uint64_t total = 0;
    byte_string room(16'000);
    reset_memory_peak();
    for (int n = 0; n < 16; ++n) {
        std::span<std::byte const> input{compressed};
        for (bool done = false; !done;) {
            auto const p = i.step(input, room);
            REQUIRE(p.error == errc::ok);
            total += p.written;
            done = p.done;
        }
    }
    CHECK(total == std::uint64_t{1} << 30);
    CHECK(memory_peak() - before < 64 * 1024);
}

TEST_CASE("deflate: what a compressor and a decompressor cost is as stated, and given back", "[proto][deflate]")
{
    auto const before = memory_in_use();
    for (int bits = 9; bits <= 15; ++bits)
        for (int memory = 1; memory <= 9; ++memory) {
            auto const stated = (std::size_t{1} << (bits + 2)) + (std::size_t{1} << (memory + 9));
            deflater d(deflate_shape{static_cast<std::uint8_t>(bits), 6, static_cast<std::uint8_t>(memory)});
            (void)frame_of(d, byte_string(1000), true);
            CHECK(memory_in_use() - before >= stated);
            CHECK(memory_in_use() - before <= stated + 8 * 1024);
        }
    for (int bits = 8; bits <= 15; ++bits) {
        auto const stated = std::size_t{1} << std::max(bits, 9);
        inflater i(bits);
        CHECK(inflate_hex({"f2 48 cd c9 c9 07 00"}, i) == "Hello");
        CHECK(memory_in_use() - before <= stated + 10 * 1024);
    }
    CHECK(memory_in_use() - before < 64);
}

TEST_CASE("deflate: memory that is refused is told, and nothing is lost of what there was", "[proto][deflate]")
{
    auto const before = memory_in_use();
    for (std::size_t granted = 0; granted < 8; ++granted) {
        mallocs_left = static_cast<long>(granted);
        try {
            deflater d(deflate_shape{});
            CHECK(granted >= 5);
        } catch (std::bad_alloc const&) {
            CHECK(granted < 6);
        }
        mallocs_left = static_cast<long>(granted);
        bool made = false;
        try {
            inflater i(15);
            made = true;
            byte_string out(100);
            auto const input = from_hex("f2 48 cd c9 c9 07 00");
            std::span<std::byte const> rest{input};
            (void)i.step(rest, out); // its window
            CHECK(granted >= 2);
        } catch (std::bad_alloc const&) {
            CHECK(granted < 2);
            CHECK(made == (granted == 1));
        }
        mallocs_left = -1;
    }
    CHECK(memory_in_use() == before);
}
