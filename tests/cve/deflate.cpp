// SPDX-License-Identifier: BSL-1.0
// Holes that implementations of permessage-deflate have had, one test each, on TCP with honest clients beside.
#include "attack.hpp"

#include "proto/deflate.hpp"

using namespace attack;

namespace {

std::string const offer = "Sec-WebSocket-Extensions: permessage-deflate\r\n";

/// A message of `size` bytes 'z', compressed as RFC 7692 wants it.
std::string zeds(std::size_t size)
{
    proto::deflater d({.bits = 15, .level = 9, .mem_level = 9});
    std::string const part(std::min<std::size_t>(size, 1 << 20), 'z');
    std::vector<std::byte> room(64 * 1024);
    std::string packed;
    while (size > 0) {
        auto rest = std::as_bytes(std::span(part)).first(std::min(size, part.size()));
        size -= rest.size();
        for (bool done = false; !done;) {
            auto const p = d.step(rest, room);
            packed.append(reinterpret_cast<char const*>(room.data()), p.written);
            done = p.done;
        }
    }
    packed.resize(packed.size() - proto::deflate_tail_size);
    return packed;
}

plan deflating(bool takeover = false)
{
    plan p;
    p.options.deflate = {.on = true, .server_takeover = takeover, .client_takeover = takeover};
    p.handler = [](arena&, ws::connection& ws) -> task<> { // whole messages: an assembly grows
        while (auto m = co_await ws.read()) {
            auto const sent = co_await ws.write(*m);
            if (!sent) break;
        }
    };
    return p;
}

/// Compressed messages in frames of `size` bytes.
std::string in_frames(std::string const& packed, std::size_t size)
{
    std::string all;
    for (std::size_t at = 0; at < packed.size(); at += size)
        all += client_frame((at == 0 ? 0x42U : 0U) | (at + size >= packed.size() ? 0x80U : 0U),
                            packed.substr(at, size));
    return all;
}

struct outcome
{
    unsigned code;    ///< of the close frame that answers
    std::size_t heap; ///< what the heap grew by meanwhile at most
};
task<outcome> answer_to(arena& a, std::string_view bytes)
{
    hostile h(a.where);
    co_await h.open(offer);
    auto const before = heap_in_use();
    std::size_t heap = 0;
    auto const limit = clock::now() + 30s;
    while (!bytes.empty() && !h.ended && clock::now() < limit) {
        bytes.remove_prefix(h.send_some(bytes.substr(0, 64 * 1024)));
        co_await next_turn();
        heap = std::max(heap, grown(before));
        h.take();
    }
    h.end();
    co_await h.read_to_end();
    co_return outcome{h.close_code(), heap};
}

} // namespace

TEST_CASE("cve_2018_1000518_decompression_bomb: C6, what a message becomes is limited, and memory with it", "[cve]")
{
    constexpr std::size_t cap = 1 << 20;
    for (bool const takeover : {false, true})
        under_attack(
            [](arena& a) -> task<> {
                auto const exact = zeds(cap), over = zeds(cap + 1), bomb = zeds(rounds(64, 1024) << 20);
                auto const close = client_frame(0x88);
                std::string const passing[] = {client_frame(0xC2, exact), in_frames(exact, 100),
                                               client_frame(0xC2, exact) + client_frame(0xC2, zeds(cap))};
                for (auto const& bytes : passing) {
                    auto const got = co_await answer_to(a, bytes + close);
                    CHECK(got.code == 1005); // at the limit it passes
                }
                std::string const bombs[] = {client_frame(0xC2, over), in_frames(over, 100), client_frame(0xC2, bomb),
                                             in_frames(bomb, 1000), client_frame(0xC1, bomb)};
                for (auto const& bytes : bombs) {
                    auto const got = co_await answer_to(a, bytes);
                    CHECK(got.code == 1009);
                    CHECK(got.heap <= cap + 256 * 1024);
                }
            },
            deflating(takeover));
}

TEST_CASE("cve_2018_1000518_undecodable: C6, garbage, messages cut short and references to nothing are 1007", "[cve]")
{
    under_attack(
        [](arena& a) -> task<> {
            auto const whole = zeds(5000);
            std::string const messages[] = {std::string(100, '\xFF'), std::string("\x06\x07garbage"),
                                            whole.substr(0, whole.size() / 2), text_of(from_hex("4B 04 12 00"))};
            for (auto const& m : messages) {
                auto const got = co_await answer_to(a, client_frame(0xC2, m) + client_frame(0x88));
                CHECK(got.code == 1007);
                CHECK(got.heap <= 256 * 1024);
            }
            std::string const frames[] = {client_frame(0x42, "a") + client_frame(0xC0, "b"), // RSV1 on a continuation
                                          client_frame(0xC9), client_frame(0xE2, whole)};
            for (auto const& f : frames) {
                auto const got = co_await answer_to(a, f);
                CHECK(got.code == 1002);
            }
        },
        deflating());
}

TEST_CASE("cve_2026_2229_window_bits: parameters out of their range are declined, and nothing else comes of them",
          "[cve]")
{
    struct
    {
        char const* parameters;
        bool taken;
    } const rows[] = {
        {"", true},
        {"; server_max_window_bits=15", true},
        {"; server_max_window_bits=9", true},
        {"; server_max_window_bits=8", false}, // zlib has no raw window of 8 bits to compress with (websockets 1757)
        {"; server_max_window_bits=7", false},
        {"; server_max_window_bits=0", false},
        {"; server_max_window_bits=16", false},
        {"; server_max_window_bits=1000", false},
        {"; server_max_window_bits=18446744073709551625", false}, // 9, if it wraps
        {"; server_max_window_bits=-9", false},
        {"; server_max_window_bits=009", false},
        {"; server_max_window_bits=\"9\"", true},
        {"; server_max_window_bits", false},
        {"; server_max_window_bits=9; server_max_window_bits=9", false},
        {"; client_max_window_bits", true},
        {"; client_max_window_bits=8", true}, // a window to decompress with may be larger
        {"; client_max_window_bits=7", false},
        {"; client_max_window_bits=16", false},
        {"; client_max_window_bits=015", false},
        {"; server_no_context_takeover", true},
        {"; server_no_context_takeover=1", false},
        {"; server_no_context_takeover; server_no_context_takeover", false},
        {"; unknown", false},
    };
    under_attack(
        [&](arena& a) -> task<> {
            for (auto const& row : rows) {
                INFO(row.parameters);
                hostile h(a.where);
                auto const field = "Sec-WebSocket-Extensions: permessage-deflate" + std::string(row.parameters) + "\r\n";
                co_await h.send(request_text(field));
                co_await until([&] { return h.take(), h.ended || h.got.find("\r\n\r\n") != h.got.npos; });
                CHECK(h.status() == 101);
                CHECK((h.got.find("\r\nSec-WebSocket-Extensions: permessage-deflate") != h.got.npos) == row.taken);
                h.got.clear();
                auto const compressed = row.taken ? client_frame(0xC2, zeds(500)) : std::string();
                co_await h.send(client_frame(0x82, "as it is") + compressed + client_frame(0x88));
                co_await h.read_to_end();
                CHECK(h.close_code() == 1005);
            }
        },
        deflating());
}
