// SPDX-License-Identifier: BSL-1.0
// Holes that WebSocket implementations have had in their frames, one test each, on TCP with honest clients beside. A
// name is the advisory's or the issue's; where several had the same hole the first one's.
#include "attack.hpp"

#include "engine/loop_core.hpp"

using namespace attack;

namespace {

/// What a server of ours does with `bytes` from a client: the code of its close frame. The stream ends behind it.
task<unsigned> answer_to(arena& a, std::string bytes, std::size_t piece = SIZE_MAX)
{
    hostile h(a.where);
    co_await h.open();
    co_await h.send(std::move(bytes), piece);
    co_await h.read_to_end();
    co_return h.close_code();
}

/// What a client of ours does with `bytes` from a server.
task<unsigned> answer_of_client(std::string bytes)
{
    auto both = co_await raw_server(kind::tcp);
    auto const sent = co_await both.raw.write(bytes);
    CHECK(sent.has_value());
    auto const end = co_await both.ws.read();
    CHECK(!end.has_value());
    auto const close = co_await read_wire(both.raw);
    both.raw.shutdown();
    co_return close.close_code();
}

std::string hex(std::string_view digits)
{
    return text_of(from_hex(digits));
}

std::string shared_hex(std::uint64_t length)
{
    char digits[17];
    std::snprintf(digits, sizeof digits, "%016llx", static_cast<unsigned long long>(length));
    return digits;
}

/// An arena whose handler reads nothing until it may.
struct stalled
{
    event go;
    std::size_t messages = 0;
    task<> operator()(arena&, ws::connection& ws)
    {
        auto const may = co_await go.wait();
        if (!may) co_return;
        while (auto m = co_await ws.read())
            ++messages;
    }
};

} // namespace

// ---- lengths --------------------------------------------------------------------------------------------------------

TEST_CASE("cve_2020_27813_length_sign: C1, a length with its highest bit set, or one that a sum would wrap", "[cve]")
{
    under_attack([](arena& a) -> task<> {
        constexpr std::uint64_t top = std::uint64_t{1} << 63;
        struct
        {
            std::uint64_t length;
            unsigned code;
        } const rows[] = {
            {top, 1002},     {~std::uint64_t{0}, 1002}, {~std::uint64_t{0} - 3, 1002}, {top - 1, 1009},
            {top - 4, 1009}, {1ULL << 32, 1009},        {(1 << 20) + 1, 1009},
        };
        for (auto const& row : rows) {
            INFO(row.length);
            auto const before = heap_in_use();
            auto const header = shared_hex(row.length);
            auto const server = co_await answer_to(a, hex("82 FF " + header + " 00 00 00 00")); // and no byte of it
            CHECK(server == row.code);
            auto const goes_on = client_frame(0x02, "begun") + hex("80 FF " + header + " 00 00 00 00");
            auto const continued = co_await answer_to(a, goes_on);
            CHECK(continued == row.code);
            auto const client = co_await answer_of_client(hex("82 7F " + header));
            CHECK(client == row.code);
            CHECK(grown(before) <= 64 * 1024);
        }
    });
}

TEST_CASE("cwist_119_declared_length: a length that is allowed takes no memory before its bytes have come", "[cve]")
{
    under_attack([](arena& a) -> task<> {
        std::vector<std::unique_ptr<hostile>> all;
        auto const opened = a.opened;
        auto const before = heap_in_use();
        for (int i = 0; i < 50; ++i) {
            all.push_back(std::make_unique<hostile>(a.where));
            co_await all.back()->open();
            co_await all.back()->send(hex("82 FF 0000000000100000 00 00 00 00") + "abc");
        }
        CHECK(a.opened == opened + 50);
        co_await turns(20);
        CHECK(grown(before) <= 50 * 64 * 1024 + tls_memory(50)); // and not 50 MiB
        for (auto& h : all)
            h->reset();
    });
}

TEST_CASE("java_websocket_1508_message_limit: frames under the frame limit make a message over the other", "[cve]")
{
    plan p;
    p.options.max_frame = 64 * 1024;
    under_attack(
        [](arena& a) -> task<> {
            auto const frame = std::string(64 * 1024, 'x');
            auto const sixteen = client_frame(0x02, frame) + repeated(client_frame(0x00, frame), 15);
            auto const exact = co_await answer_to(a, sixteen + client_frame(0x80) + client_frame(0x88));
            CHECK(exact == 1005); // 1 MiB is allowed
            auto const over = co_await answer_to(a, sixteen + client_frame(0x80, "x"));
            CHECK(over == 1009);
        },
        p);
}

TEST_CASE("gorilla_read_limit_bypass: a pong in the middle does not begin the count anew", "[cve]")
{
    plan p;
    p.options.max_message = 1000;
    under_attack(
        [](arena& a) -> task<> {
            auto const part = client_frame(0x00, std::string(400, 'x')) + client_frame(0x8A);
            auto const code = co_await answer_to(a, client_frame(0x02, std::string(400, 'x')) + repeated(part, 2));
            CHECK(code == 1009);
        },
        p);
}

// ---- fragments ------------------------------------------------------------------------------------------------------

TEST_CASE("cve_2026_48779_fragment_count: C2, a message in one-byte fragments without end", "[cve]")
{
    stalled reader;
    plan p;
    p.handler = [](arena&, ws::connection& ws) -> task<> { // whole messages: an assembly grows
        while (auto m = co_await ws.read()) {
            auto const sent = co_await ws.write(*m);
            if (!sent) break;
        }
    };
    under_attack(
        [](arena& a) -> task<> {
            auto const one = client_frame(0x00, "x");
            hostile held(a.where);
            co_await held.open();
            auto const before = heap_in_use();
            co_await held.send(client_frame(0x02, "x") + repeated(one, 1023));
            co_await turns(20);
            CHECK(grown(before) <= 2 * 1024 + 4 * 1024 + 16 * 1024); // payload twice, 4 KiB, and a block
            co_await held.send(one);                                 // the 1025th
            co_await held.read_to_end();
            CHECK(held.close_code() == 1008);

            auto const with_pongs = one + client_frame(0x8A, "p");
            auto const n = rounds(3000, 1'000'000);
            for (auto const& part : {one, with_pongs}) {
                hostile h(a.where);
                co_await h.open();
                co_await h.send(client_frame(0x02, "x"));
                auto const many = repeated(part, 1000);
                bool taken = true;
                for (std::size_t i = 0; i < n / 1000 && taken; ++i)
                    taken = co_await h.send(many);
                h.end();
                co_await h.read_to_end();
                CHECK(h.close_code() == 1008);
            }
        },
        p);
}

TEST_CASE("ws_2329_empty_fragments: C3, empty fragments are counted, empty messages are only messages", "[cve]")
{
    under_attack([](arena& a) -> task<> {
        auto const code = co_await answer_to(a, client_frame(0x02) + repeated(client_frame(0x00), 1024));
        CHECK(code == 1008);

        auto const n = rounds(20'000, 1'000'000);
        hostile h(a.where);
        co_await h.open();
        auto const hundred = repeated(client_frame(0x82), 100);
        std::size_t answers = 0;
        for (std::size_t i = 0; i < n / 100; ++i) {
            co_await h.send(hundred);
            h.take();
            answers += h.got.size() / 2;
            h.got.erase(0, h.got.size() / 2 * 2);
        }
        co_await h.send(client_frame(0x88));
        h.end();
        co_await h.read_to_end();
        CHECK(answers + (h.got.size() - 2) / 2 == n);
        CHECK(h.close_code() == 1005);
    });
}

// ---- control frames -------------------------------------------------------------------------------------------------

TEST_CASE("cve_2026_11586_pong_queue: C4, pings without end from a client that never reads", "[cve]")
{
    plan p;
    p.small_buffers = true;
    under_attack(
        [](arena& a) -> task<> {
            hostile h(a.where, true);
            co_await h.open();
            co_await until([&] { return a.newest != nullptr; });
            auto& ws = *a.newest;
            auto const before = heap_in_use();
            auto const hundred = repeated(client_frame(0x89, std::string(125, 'p')), 100);
            std::size_t most = 0, heap = 0;
            for (std::size_t i = 0; i < rounds(20'000, 1'000'000) / 100; ++i) {
                co_await h.send(hundred);
                most = std::max(most, ws.buffered());
                heap = std::max(heap, grown(before));
            }
            CHECK(most <= 1024 + 127); // few pongs are queued, and one that waits
            CHECK(heap <= (64 << 10) + (1 << 20)); // the loop may have got more receive buffers, which it keeps
            CHECK(ws.is_open());
            co_await h.send(client_frame(0x89, "newest"));
            co_await until([&] { return h.take(), h.ended || h.got.ends_with("newest"); });
            CHECK(h.got.ends_with("newest")); // which answers for those before
            h.reset();
        },
        p);
}

TEST_CASE("cve_2021_3690_pong_leak: C5, pongs that nobody asked for take neither memory nor the reader's time", "[cve]")
{
    static std::size_t reads;
    reads = 0;
    plan p;
    p.handler = [](arena& a, ws::connection& ws) -> task<> {
        while (auto frame = co_await ws.read_frame()) {
            ++reads;
            auto const sent = co_await ws.write_frame(*frame);
            if (!sent) break;
        }
        (void)a;
    };
    p.honest = 0; // they would read as well
    under_attack(
        [](arena& a) -> task<> {
            hostile h(a.where);
            co_await h.open();
            auto const thousand = repeated(client_frame(0x8A, std::string(125, 'p')), 1000);
            std::size_t before = 0;
            std::size_t const n = rounds(50'000, 1'000'000) / 1000;
            for (std::size_t i = 0; i < n; ++i) {
                co_await h.send(thousand);
                if (i == n / 2) before = heap_in_use();
            }
            CHECK(grown(before) <= 1 << 20); // the loop's receive buffers, of which it may have got more meanwhile
            CHECK(reads == 0);
            co_await h.send(client_frame(0x81, "after"));
            co_await h.read(7);
            CHECK(h.got.ends_with("after"));
            h.reset();
        },
        p);
}

TEST_CASE("cve_2025_5399_control_frame_loop: a control frame cut anywhere, or never finished, keeps nobody busy",
          "[cve]")
{
    under_attack([](arena& a) -> task<> {
        auto const ping = client_frame(0x89, std::string(125, 'p'));
        hostile h(a.where);
        co_await h.open();
        for (std::size_t cut = 1; cut < ping.size(); ++cut) {
            co_await h.send(ping.substr(0, cut));
            co_await turns(2);
            co_await h.send(ping.substr(cut));
            co_await h.read(127);
            CHECK(h.got.size() == 127);
            h.got.clear();
        }
        co_await h.send(ping.substr(0, 60));
        h.end();
        co_await h.read_to_end();
        CHECK(h.close_code() == 0);
    });
    under_attack(
        [](arena& a) -> task<> { // nobody else is there, so the loop sleeps
            hostile h(a.where);
            co_await h.open();
            co_await h.send(client_frame(0x89, std::string(125, 'p')).substr(0, 60));
            co_await turns(20);
            auto const before = waits();
            auto const slept = co_await sleep_for(200ms);
            CHECK(slept.has_value());
            CHECK(waits() - before < 20);
            h.reset();
        },
        {.honest = 0});
}

// ---- readers and writers that are slow or stalled -------------------------------------------------------------------

TEST_CASE("tornado_2341_slow_consumer: what a client does not read is queued up to send_limit", "[cve]")
{
    static bool full_seen;
    full_seen = false;
    plan p;
    p.small_buffers = true;
    p.options.send_limit = 64 * 1024;
    p.handler = [](arena& a, ws::connection& ws) -> task<> {
        auto const first = co_await ws.read();
        if (!first || first->text() != "subscribe") { // an honest one
            if (first) {
                auto const sent = co_await ws.write(*first);
                (void)sent;
            }
            co_return co_await echoing(a, ws);
        }
        std::string const news_text(1024, 'n');
        auto const news = ws::shared_message::text(news_text);
        for (int i = 0; i < 100'000 && !full_seen; ++i) {
            full_seen = ws.post(news) == ws::posted::full;
            CHECK(ws.buffered() <= 64 * 1024);
            if (i % 50 == 49) co_await next_turn();
        }
        auto const last = co_await ws.write(std::string_view(news_text)); // there is room for less
        CHECK(last.has_value());
        auto const waits = co_await timeout(20ms, ws.write("more"));
        CHECK(waits.error() == errc::timed_out);
        CHECK(ws.buffered() <= 64 * 1024 + 1028);
        ws.abort();
    };
    under_attack(
        [](arena& a) -> task<> {
            hostile h(a.where, true);
            co_await h.open();
            auto const before = heap_in_use();
            co_await h.send(client_frame(0x81, "subscribe"));
            co_await until([&] { return full_seen; });
            CHECK(full_seen);
            CHECK(grown(before) <= 128 * 1024);
            co_await a.settle(3);
        },
        p);
}

TEST_CASE("c9_stalled_handler: what nobody reads stays with the sender", "[cve]")
{
    static stalled* reader;
    stalled one;
    reader = &one;
    plan p;
    p.small_buffers = true;
    p.honest = 0;
    p.handler = [](arena& a, ws::connection& ws) -> task<> { return (*reader)(a, ws); };
    under_attack(
        [](arena& a) -> task<> {
            hostile h(a.where);
            co_await h.open();
            auto const before = heap_in_use();
            auto const frame = client_frame(0x82, std::string(16'000, 'x'));
            std::size_t sent = 0, idle = 0, at = 0;
            std::size_t const most = rounds(64, 1024) << 20;
            while (sent < most && idle < 2000) { // 1 GiB in earnest
                auto const n = h.send_some(std::string_view(frame).substr(at));
                sent += n;
                at = (at + n) % frame.size();
                idle = n == 0 ? idle + 1 : 0;
                co_await next_turn();
            }
            CHECK(sent < 16 << 20); // the system's buffers, and ours
            CHECK(grown(before) <= 512 * 1024);
            reader->go.set();
            co_await h.send(frame.substr(at)); // and now it goes on
            h.end();
            co_await h.read_to_end();
            CHECK(reader->messages == (sent + frame.size() - at) / frame.size());
        },
        p);
}

namespace {
/// Whose sessions end with this error where the peer does not leave before.
template <ws::errc End>
plan ending_with()
{
    plan p;
    p.honest = 0; // one that a busy machine holds up would be given up as well
    p.handler = [](arena& a, ws::connection& ws) -> task<> {
        co_await echoing(a, ws);
        CHECK((ws.status().error == End || ws.status().error == ws::closed));
    };
    return p;
}
} // namespace

TEST_CASE("c10_half_a_close_frame: a peer that goes silent in the middle of a frame is given up", "[cve]")
{
    auto p = ending_with<ws::errc::idle_timeout>();
    p.options.idle_timeout = 100ms;
    under_attack(
        [](arena& a) -> task<> {
            for (auto const& part : {client_frame(0x88, close_payload(1000)).substr(0, 5), std::string("\x88"),
                                     client_frame(0x82, "cut short").substr(0, 9), std::string("\x82\xFE\x10")}) {
                hostile h(a.where);
                co_await h.open();
                auto const begin = clock::now();
                co_await h.send(part, 1);
                co_await h.read_to_end();
                CHECK(h.close_code() == 1011);
                CHECK(clock::now() - begin < 20s);
            }
        },
        p);
}

TEST_CASE("c10_slow_frame: a frame that comes byte by byte takes no more memory than its bytes", "[cve]")
{
    under_attack([](arena& a) -> task<> {
        std::vector<std::unique_ptr<hostile>> all;
        for (int i = 0; i < 20; ++i) {
            all.push_back(std::make_unique<hostile>(a.where));
            co_await all.back()->open();
        }
        auto const frame = client_frame(0x82, std::string(500, 'x'));
        auto const before = heap_in_use();
        std::size_t heap = 0;
        for (std::size_t at = 0; at < frame.size(); ++at) {
            for (auto& h : all)
                co_await h->send(frame.substr(at, 1));
            heap = std::max(heap, grown(before));
            co_await next_turn();
        }
        CHECK(heap <= 20 * 32 * 1024);
        for (auto& h : all) {
            co_await h->read(504);
            CHECK(h->got.ends_with(std::string(500, 'x')));
            h->reset();
        }
    });
}

TEST_CASE("c10_frame_timeout: a frame at a byte now and then is given up", "[cve]")
{
    auto p = ending_with<ws::errc::frame_timeout>();
    p.options.frame_timeout = 200ms;
    under_attack(
        [](arena& a) -> task<> {
            hostile h(a.where);
            co_await h.open();
            auto const frame = client_frame(0x82, std::string(60'000, 'x'));
            std::size_t at = 0;
            for (h.take(); !h.ended && at < frame.size(); h.take()) { // or it would go on for an hour
                co_await h.send(frame.substr(at++, 1));
                auto const slept = co_await sleep_for(20ms);
                CHECK(slept);
            }
            CHECK(h.close_code() == 1011);
        },
        p);
}

// ---- garbage --------------------------------------------------------------------------------------------------------

TEST_CASE("c7_garbage: bytes of other protocols are refused, before and after the handshake", "[cve]")
{
    under_attack([](arena& a) -> task<> {
        test::random_source random{0x9E3779B97F4A7C15};
        std::vector<std::string> garbage = {
            std::string(4096, '\0'),
            hex("16 03 01 02 00 01 00 01 FC 03 03") + std::string(500, '\x5A'), // a TLS client's hello
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + std::string("\0\0\0\x04\0\0\0\0\0", 9),
            "SSH-2.0-OpenSSH_9.2p1\r\n",
            "\x05\x01",
            "*1\r\n$4\r\nPING\r\n",
            std::string(4096, '\xFF'),
        };
        for (std::size_t i = 0; i < rounds(20, 2000); ++i) {
            std::string noise(4096, '\0');
            for (auto& c : noise)
                c = static_cast<char>(random() & 0xFF);
            noise[0] = static_cast<char>(0x80 | (noise[0] & 0x3F) | 0x30); // reserved bits: no chance of a sound frame
            garbage.push_back(noise);
        }
        for (auto const& text : garbage) {
            INFO(test::to_text(std::as_bytes(std::span(text)).first(std::min<std::size_t>(text.size(), 20))));
            hostile before(a.where);
            co_await before.send(text);
            before.end();
            co_await before.read_to_end();
            CHECK((before.status() == 400 || before.status() == 505 || before.got.empty()));
            auto const code = co_await answer_to(a, text);
            CHECK(code == 1002);
        }
    });
}

TEST_CASE("cve_2026_54463_legacy_drafts: the frames and handshakes of the drafts are not spoken", "[cve]")
{
    under_attack([](arena& a) -> task<> {
        auto const draft_76 = co_await answer_to(a, std::string("\0hello\xFF", 7));
        CHECK(draft_76 == 1002);
        auto const draft_length = co_await answer_to(a, hex("80 85 80 80 80 80"));
        CHECK(draft_length == 1002);
        for (auto const* version : {"0", "4", "6", "7", "8", "12", "14", "013", "13, 8", "13.0", "+13"}) {
            hostile h(a.where);
            std::string request = request_text();
            auto const at = request.find(" 13\r\n");
            co_await h.send(request.replace(at, 3, std::string(" ") + version));
            h.end();
            co_await h.read_to_end();
            CHECK(h.status() == 426);
            CHECK(h.got.find("\r\nSec-WebSocket-Version: 13\r\n") != h.got.npos);
        }
        hostile old(a.where);
        co_await old.send(
            "GET / HTTP/1.1\r\nHost: test\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key1: 4 @1  46546xW%0l 1 5\r\nSec-WebSocket-Key2: 12998 5 Y3 1  .P00\r\n\r\n^n:ds[4U");
        old.end();
        co_await old.read_to_end();
        CHECK(old.status() == 426);
    });
}

// ---- closing --------------------------------------------------------------------------------------------------------

TEST_CASE("a7_close_codes: each code with each kind of reason has one answer, and the stream ends", "[cve]")
{
    under_attack([](arena& a) -> task<> {
        std::vector<unsigned> codes = {0,    1,    999,  1000, 1001, 1002, 1003, 1004,  1005,  1006,  1007, 1008,
                                       1009, 1010, 1011, 1012, 1013, 1014, 1015, 1016,  1100,  1999,  2000, 2999,
                                       3000, 3001, 3999, 4000, 4999, 5000, 9999, 32767, 32768, 65534, 65535};
        if (full()) {
            codes.resize(65536);
            for (unsigned i = 0; i < 65536; ++i)
                codes[i] = i;
        }
        std::pair<std::string, unsigned> const reasons[] = {
            {"", 0},        {"bye", 0},    {std::string(123, 'r'), 0}, {std::string(124, 'r'), 1002},
            {"\xFF", 1007}, {"\xC3", 1007}};
        for (unsigned const code : codes) {
            bool const may =
                (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) || (code >= 3000 && code <= 4999);
            for (auto const& [reason, because] : reasons) {
                auto both = co_await raw_client(code % 50 == 0 && !full() ? kind::tcp : kind::memory);
                co_await send(both.raw, masked(0x88, close_payload(code, reason)));
                auto const end = co_await both.ws.read();
                auto const close = co_await read_wire(both.raw);
                unsigned const expected = because == 1002 ? 1002 : !may ? 1002 : because != 0 ? because : code;
                if (close.close_code() != expected || end.has_value())
                    FAIL_CHECK(code << " with a reason of " << reason.size() << " bytes: " << close.close_code());
                auto const nothing = co_await read_rest(both.raw); // one close frame, then the end
                CHECK(nothing.empty());
                both.raw.shutdown();
            }
        }
        for (char const* bad : {"\x03", "\xFF"}) {
            auto const code = co_await answer_to(a, client_frame(0x88, bad));
            CHECK(code == 1002);
        }
    });
}

TEST_CASE("a7_close_order: twice, in the middle of a message, data behind it, both at once, or silence", "[cve]")
{
    plan p;
    p.options.close_timeout = 200ms;
    p.handler = [](arena& a, ws::connection& ws) -> task<> {
        auto const m = co_await ws.read();
        if (m && m->text() == "close") {
            auto const closed = co_await ws.close(ws::close_code{4001});
            (void)closed;
            co_return;
        }
        if (m) {
            auto const sent = co_await ws.write(*m);
            (void)sent;
        }
        co_await echoing(a, ws);
    };
    under_attack(
        [](arena& a) -> task<> {
            auto const close = client_frame(0x88, close_payload(1000));
            std::string const sequences[] = {close + close,
                                             client_frame(0x01, "half") + close + client_frame(0x80, "more"),
                                             close + client_frame(0x81, "behind") + client_frame(0x89)};
            for (auto const& sequence : sequences) {
                hostile h(a.where);
                co_await h.open();
                co_await h.send(sequence);
                co_await h.read_to_end();
                CHECK(h.got == text_of(unmasked(0x88, close_payload(1000)))); // one frame and no other
            }
            hostile both(a.where); // closes that cross
            co_await both.open();
            co_await both.send(client_frame(0x81, "close") + close);
            co_await both.read_to_end();
            CHECK(both.close_code() == 4001);

            hostile silent(a.where);
            co_await silent.open();
            auto const begin = clock::now();
            co_await silent.send(client_frame(0x81, "close"));
            co_await silent.read_to_end();
            CHECK(silent.close_code() == 4001);
            CHECK(clock::now() - begin >= 190ms);
            CHECK(clock::now() - begin < 5s);
        },
        p);
}

TEST_CASE("cve_2024_23672_close_never_completes: a peer that goes on sending after a close or a violation", "[cve]")
{
    plan p;
    p.options.close_timeout = 200ms;
    p.handler = [](arena& a, ws::connection& ws) -> task<> {
        auto const m = co_await ws.read();
        if (m && m->text() == "close") {
            auto const closed = co_await ws.close();
            CHECK(!closed.has_value());
            co_return;
        }
        if (m) {
            auto const sent = co_await ws.write(*m);
            (void)sent;
        }
        co_await echoing(a, ws);
    };
    under_attack(
        [](arena& a) -> task<> {
            for (auto const& begin : {client_frame(0x81, "close"), client_frame(0x83)}) {
                hostile h(a.where);
                co_await h.open();
                co_await h.send(begin);
                auto const more = client_frame(0x82, std::string(1000, 'm'));
                auto const start = clock::now();
                bool taken = true;
                while (taken && clock::now() - start < 20s) {
                    taken = co_await h.send(more); // until it is reset
                    co_await next_turn();
                }
                CHECK(!taken);
                CHECK(clock::now() - start < 10s);
            }
        },
        p);
}

TEST_CASE("cve_2017_2670_close_spin: a reset or an end in any state leaves nothing, and the loop sleeps", "[cve]")
{
    plan p;
    p.honest = 0;
    p.options.handshake_timeout = 60s;
    p.handler = [](arena& a, ws::connection& ws) -> task<> {
        auto const m = co_await ws.read();
        if (m && m->text() == "flood")
            for (;;) {
                auto const sent = co_await ws.write(std::string(10'000, 'f'));
                if (!sent) co_return;
            }
        co_await echoing(a, ws);
    };
    under_attack(
        [](arena& a) -> task<> {
            auto const request = request_text();
            struct
            {
                std::string before, after; // the handshake
            } const states[] = {
                {"", "-"},
                {request.substr(0, 40), "-"},
                {request, ""},
                {request, client_frame(0x81, "a message").substr(0, 3)},
                {request, client_frame(0x82, std::string(1000, 'x')).substr(0, 600)},
                {request, client_frame(0x01, "half a message")},
                {request, client_frame(0x81, "flood")},
                {request, client_frame(0x88, close_payload(1000))},
                {request, client_frame(0x83)},
            };
            for (auto const& state : states)
                for (bool const reset : {true, false}) {
                    INFO(state.before.size() << " and " << state.after.size() << " bytes");
                    auto const seen = a.accepted;
                    auto h = std::make_unique<hostile>(a.where, true);
                    if (state.before == request)
                        co_await h->open();
                    else
                        co_await h->send(state.before);
                    if (state.after != "-") co_await h->send(state.after);
                    co_await until([&] { return a.accepted > seen; });
                    co_await turns(10);
                    if (reset)
                        h->reset();
                    else
                        h->close();
                    co_await a.settle(0);
                }
            auto const before = waits();
            auto const slept = co_await sleep_for(200ms);
            CHECK(slept.has_value());
            CHECK(waits() - before < 20);
        },
        p);
}

// ---- what is sent ---------------------------------------------------------------------------------------------------

TEST_CASE(
    "cve_2025_10148_predictable_mask: each frame of a client has a mask of its own, of a generator worth the name",
    "[cve]")
{
    std::vector<std::uint32_t> keys;
    on_loop([](std::vector<std::uint32_t>& all) -> task<> {
        auto const frames = rounds(2000, 1'000'000) / 2;
        for (int connection = 0; connection < 2; ++connection) {
            auto both = co_await raw_server(kind::tcp);
            for (std::size_t i = 0; i < frames; ++i) {
                std::string_view const text = i % 3 == 0 ? "text" : "";
                auto const sent = co_await both.ws.write(text);
                CHECK(sent.has_value());
                auto const f = co_await read_wire(both.raw);
                CHECK(f.masked);
                all.push_back(f.key);
            }
            both.ws.abort();
        }
    }(keys));
    auto const n = static_cast<double>(keys.size());
    for (unsigned bit = 0; bit < 32; ++bit) {
        auto const set =
            static_cast<double>(std::count_if(keys.begin(), keys.end(), [&](auto k) { return k >> bit & 1; }));
        CHECK(std::abs(set - n / 2) < 6 * std::sqrt(n) / 2);
    }
    std::sort(keys.begin(), keys.end());
    auto const distinct = static_cast<double>(std::unique(keys.begin(), keys.end()) - keys.begin());
    CHECK(n - distinct <= 2 + 3 * n * n / 2 / 4294967296.0); // the birthday bound
}

TEST_CASE("cve_2026_45736_uninitialised_bytes: what is sent does not depend on what the memory held before", "[cve]")
{
    auto const session = [](unsigned char fill) {
        ::mallopt(M_PERTURB, fill);
        std::string all;
        on_loop([](std::string& wire) -> task<> {
            for (auto const* request : {"GET / HTTP/1.1\r\nHost: test\r\n\r\n", "POST / HTTP/1.1\r\n\r\n", "?"}) {
                auto streams = co_await connected(kind::tcp);
                co_await send_text(streams.second, request);
                streams.second.shutdown();
                auto const ws = co_await upgrade(std::move(streams.first));
                CHECK(!ws.has_value());
                wire += co_await read_rest(streams.second);
            }
            for (unsigned code : {1000U, 4999U, 1005U, 999U}) {
                auto both = co_await raw_client(kind::tcp);
                scope echo_back;
                echo_back.spawn(echo(both.ws));
                for (auto size : {0, 1, 125, 126, 70'000})
                    co_await send(both.raw, masked(0x82, std::string(static_cast<std::size_t>(size), 'x')) +
                                                masked(0x89, std::string(static_cast<std::size_t>(size) % 126, 'p')));
                auto const payload = code == 1005 ? std::string() : close_payload(code, "reason");
                co_await send(both.raw, masked(0x88, payload));
                both.raw.shutdown();
                wire += co_await read_rest(both.raw);
                co_await echo_back.join();
            }
            auto both = co_await raw_client(kind::tcp);
            both.raw.shutdown();
            auto const closed = co_await both.ws.close(ws::close_code::policy_violation, "a reason of our own");
            (void)closed;
            wire += co_await read_rest(both.raw);
        }(all));
        ::mallopt(M_PERTURB, 0);
        return all;
    };
    auto const first = session(0x55);
    CHECK(first.size() > 280'000);
    CHECK((session(0xAA) == first));
}

// ---- what may happen inside anything --------------------------------------------------------------------------------

namespace {

enum class deed
{
    nothing,
    write,
    post,
    close,
    abort,
    destroy,
    fail,
    ping
};
constexpr deed deeds[] = {deed::nothing, deed::write,   deed::post, deed::close,
                          deed::abort,   deed::destroy, deed::fail, deed::ping};

task<> do_it(deed what, std::optional<ws::connection>& ws)
{
    if (!ws) co_return;
    switch (what) {
    case deed::nothing:
        break;
    case deed::write: {
        auto const sent = co_await ws->write(std::string(100'000, 'w'));
        (void)sent;
        break;
    }
    case deed::post:
        (void)ws->post(ws::shared_message::text("posted"));
        break;
    case deed::close: {
        auto const closed = co_await timeout(5ms, ws->close());
        (void)closed;
        break;
    }
    case deed::abort:
        ws->abort();
        break;
    case deed::destroy:
        ws.reset();
        break;
    case deed::fail:
        throw std::runtime_error("an application that fails");
    case deed::ping: {
        auto const trip = co_await timeout(5ms, ws->ping());
        (void)trip;
        break;
    }
    }
}

/// A peer that sends all at once and then reads to the end.
task<> talk(stream& s, std::string all)
{
    auto const sent = co_await s.write(all); // unless the other side has gone
    if (sent) s.shutdown();
    auto const rest = co_await read_rest(s);
    CHECK(rest.size() < 1'000'000);
}

/// Acts after the n-th thing that is read, and at the end.
task<> act(stream s, deed what, int when)
{
    std::optional<ws::connection> ws;
    {
        auto opened = co_await upgrade(std::move(s), quiet_server());
        CHECK(opened.has_value());
        if (!opened) co_return;
        ws.emplace(std::move(*opened));
    }
    for (int n = 0; ws; ++n) {
        if (n == when) co_await do_it(what, ws);
        if (!ws) break;
        auto const f = co_await ws->read_frame();
        if (!f) break;
    }
    co_await do_it(what, ws);
}

} // namespace

TEST_CASE("cve_2025_11677_reentrancy: whatever is done to a connection at any moment, nothing is used after it",
          "[cve]")
{
    for (kind k : {kind::memory, kind::tcp})
        for (deed const what : deeds)
            for (int when = 0; when < 6; ++when)
                for (bool const violation : {false, true}) {
                    INFO(name_of(k) << ", deed " << static_cast<int>(what) << " at " << when);
                    on_loop([](kind where, deed it, int at, bool bad) -> task<> {
                        auto streams = co_await connected(where);
                        auto const large = masked(0x02, std::string(40'000, 'l')) + masked(0x80, "end");
                        auto const last = bad ? masked(0x83) : masked(0x88, close_payload(1000));
                        scope peer;
                        auto const frames = masked(0x81, "one") + masked(0x89, "p") + large + large + last;
                        peer.spawn(talk(streams.second, request_text() + text_of(frames)));
                        bool failed = false;
                        try {
                            co_await act(std::move(streams.first), it, at);
                        } catch (std::runtime_error const&) {
                            failed = true;
                        }
                        CHECK(failed == (it == deed::fail));
                        co_await peer.join();
                    }(k, what, when, violation));
                }
}

TEST_CASE("liburing_733_buffers_in_flight: a connection goes while the system fills its buffers", "[cve]")
{
    net_test::no_descriptor_leaks leaks;
    for (int round = 0; round < static_cast<int>(rounds(20, 500)); ++round)
        for (int way = 0; way < 4; ++way) {
            on_loop([](int n, int how) -> task<> {
                auto both = co_await raw_client(kind::tcp);
                auto const frame = masked(0x82, std::string(800'000, 'x'));
                auto const half = frame.begin() + 100'000 + n * 7919 % 690'000;
                co_await send(both.raw, byte_string(frame.begin(), half));
                auto const nothing = co_await timeout(n % 3 * 1ms, both.ws.read()); // its buffer is with the system now
                CHECK(nothing.error() == errc::timed_out);
                if (how == 0) both.ws.abort();
                if (how == 1) both.raw.abort();
                co_await turns(n % 4);
                if (how == 2) {
                    co_await send(both.raw, byte_string(half, frame.end()));
                    auto const whole = co_await both.ws.read();
                    CHECK(whole.value().payload.size() == 800'000);
                }
            }(round, way));
        }
}
