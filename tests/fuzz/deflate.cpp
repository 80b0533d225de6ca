// SPDX-License-Identifier: BSL-1.0
//
// permessage-deflate: what anybody may send to a decompressor, messages through two live contexts, and the parameters.
#include "proto/deflate.hpp"

#include "targets.hpp"

#include "proto/extension.hpp"

#include <algorithm>
#include <array>
#include <optional>
#include <vector>

namespace wring::fuzz {
namespace {

using namespace proto;

constexpr std::size_t most_inflated = 1 << 20; // then an input is given up: bombs have no end

struct inflated
{
    std::string text;
    errc error = errc::ok;
    bool given_up = false;

    bool operator==(inflated const&) const = default;
};

// Decompresses a message, a piece at a time into `room` bytes at a time.
inflated inflate_message(inflater& from, std::span<std::byte const> message, cutter cuts, std::size_t room)
{
    inflated result;
    std::vector<std::byte> output(room);
    auto const feed = [&](std::span<std::byte const> piece) {
        for (;;) {
            auto const before = piece.size();
            auto const p = from.step(piece, output);
            require(p.written <= output.size(), "no more comes out than there is room for");
            result.text.append(reinterpret_cast<char const*>(output.data()), p.written);
            result.error = p.error;
            result.given_up = result.text.size() > most_inflated;
            if (p.error != errc::ok || result.given_up) return false;
            require(!p.done || piece.empty(), "it is done when all is used");
            if (p.done) return true;
            require(p.written > 0 || piece.size() < before, "each step gets on");
        }
    };
    while (!message.empty()) {
        auto const n = cuts.next(message.size());
        if (!feed(message.first(n))) return result;
        message = message.subspan(n);
    }
    if (!from.complete() && feed(inflater::tail()) && !from.complete()) result.error = errc::deflate_invalid;
    return result;
}

std::string deflate_message(deflater& with, std::string_view text, cutter cuts, std::size_t room)
{
    std::string packed;
    std::vector<std::byte> output(room);
    auto left = std::as_bytes(std::span(text));
    do {
        auto piece = left.first(left.empty() ? 0 : cuts.next(left.size()));
        left = left.subspan(piece.size());
        for (bool done = false; !done;) {
            auto const p = with.step(piece, output);
            require(p.written <= output.size(), "no more comes out than there is room for");
            packed.append(reinterpret_cast<char const*>(output.data()), p.written);
            require(!p.done || piece.empty(), "it is done when all is used");
            done = p.done;
        }
    } while (!left.empty());
    if (packed.empty()) return std::string(1, '\0');
    require(packed.ends_with(std::string_view("\0\0\xFF\xFF", 4)), "a message ends with the tail");
    packed.resize(packed.size() - deflate_tail_size);
    return packed;
}

} // namespace

// Two messages, the second with reference to the first, whole and cut. Input: window, cuts, room, where the first ends.
void fuzz_inflate(input in)
{
    reader r(in);
    int const bits = 9 + static_cast<int>(r.below(7));
    cutter const cuts(r.byte());
    std::size_t const room = 1 + r.below(200);
    std::size_t const first = r.byte();
    auto const bytes = std::as_bytes(r.rest());
    inflater whole(bits), parts(bits);
    auto const edge = std::min(first, bytes.size());
    for (auto const message : {bytes.first(edge), bytes.subspan(edge)}) {
        auto const expected = inflate_message(whole, message, cutter(0), 64 * 1024);
        auto const got = inflate_message(parts, message, cuts, room);
        require(got.given_up == expected.given_up, "the cut does not matter");
        if (expected.given_up) return;
        // zlib finds references beyond a window of less than 15 bits only where they lead out of the output that it has.
        if (got.error != expected.error && bits < max_window_bits) return;
        require(got.error == expected.error, "the cut does not matter to the verdict");
        if (expected.error != errc::ok) return;
        require(got.text == expected.text, "the cut does not matter to the text");
        require(whole.window_size() <= std::size_t{1} << bits, "the window is no larger than agreed");
    }
}

// Messages through two live contexts. Input: window, level, memory, cuts of both sides, rooms; then messages: what is
// forgotten before it, its size and what it is made of.
void fuzz_deflate(input in)
{
    reader r(in);
    deflate_shape shape;
    shape.bits = static_cast<std::uint8_t>(9 + r.below(7));
    shape.level = static_cast<std::uint8_t>(r.below(10));
    shape.mem_level = static_cast<std::uint8_t>(1 + r.below(9));
    require(valid(shape), "the shape is one");
    cutter const pieces(r.byte()), cuts(r.byte());
    std::size_t const room = deflater::least_room + r.byte();
    std::size_t const other_room = 1 + r.byte();
    deflater out(shape);
    std::optional<inflater> in_turn(std::in_place, shape.bits);
    for (int messages = 0; !r.empty() && messages < 12; ++messages) {
        auto const what = r.byte();
        std::size_t const size = r.byte() * ((what & 4) != 0 ? 100u : 1u);
        std::string text;
        auto const seed = as_text(r.rest());
        while (text.size() < size)
            text += (what & 8) != 0 && !seed.empty()
                        ? std::string(seed.substr(0, 1 + size % seed.size()))
                        : std::string(1, static_cast<char>(text.size() * text.size() * (what | 1u) >> 3));
        text.resize(size);
        for (std::size_t skip = what % 5; skip > 0; --skip)
            (void)r.byte();
        if ((what & 1) != 0) out.forget(); // the other side need not know
        if ((what & 2) != 0) {             // its window moves to another decompressor
            std::vector<std::byte> window(in_turn->window_size());
            in_turn->copy_window(window.data());
            in_turn.emplace(shape.bits);
            in_turn->set_window(window);
        }
        auto const packed = deflate_message(out, text, pieces, room);
        auto const got = inflate_message(*in_turn, std::as_bytes(std::span(packed)), cuts, other_room);
        require(got.error == errc::ok && got.text == text, "what went in comes out");
    }
}

// What a client may offer and a server answer. Input: what each side wishes for, then the value of a field.
void fuzz_parameters(input in)
{
    reader r(in);
    auto const wishes = [&] {
        deflate_parameters p;
        auto const what = r.byte();
        p.server_takeover = (what & 1) != 0;
        p.client_takeover = (what & 2) != 0;
        p.server_bits = static_cast<std::uint8_t>(9 + (what >> 2) % 7);
        p.client_bits = static_cast<std::uint8_t>(9 + r.below(7));
        return p;
    };
    auto const mine = wishes(), theirs = wishes();
    auto const value = as_text(r.rest());
    if (!is_field_value(value)) return;
    auto const answered = [&](std::string_view offer) {
        std::string const request = "Sec-WebSocket-Extensions: " + std::string(offer) + "\r\n";
        std::string answer;
        auto const agreed = accept_deflate(field_range{request}, mine, answer);
        require(agreed.has_value() == !answer.empty(), "an answer is an agreement");
        if (!agreed) return std::string();
        require(agreed->server_bits >= 9 && agreed->server_bits <= mine.server_bits, "the server keeps its own window");
        require(agreed->client_bits >= 8 && agreed->client_bits <= 15, "the client's window is one");
        require(mine.server_takeover || !agreed->server_takeover, "nothing is kept that the server does not wish for");
        // A client that would take anything understands the answer as it was meant.
        std::optional<deflate_parameters> understood;
        deflate_parameters const anything{true, true, 15, 15};
        require(check_deflate(answer, anything, understood) == errc::ok && understood, "a client understands it");
        require(understood->server_bits == agreed->server_bits, "both know the server's window");
        require(understood->server_takeover == agreed->server_takeover, "both know whether the server's is kept");
        return answer;
    };
    std::string const field = "Sec-WebSocket-Extensions: " + std::string(value) + "\r\n";
    if (valid_extensions(field_range{field})) (void)answered(value); // others have been refused before

    std::optional<deflate_parameters> agreed;
    auto const verdict = check_deflate(answered(deflate_offer(theirs)), theirs, agreed);
    require(verdict == errc::ok, "our server's answer suits our client's offer");
    if (agreed) {
        require(agreed->client_bits <= theirs.client_bits, "the client keeps its own window");
        require(theirs.client_takeover || !agreed->client_takeover, "and nothing that it does not wish for");
    }
    // Whatever a server answers, what is let pass is within the offer.
    if (check_deflate(value, theirs, agreed) == errc::ok && agreed)
        require(agreed->client_bits <= theirs.client_bits && (theirs.server_takeover || !agreed->server_takeover),
                "an answer that is let pass is within the offer");
}

} // namespace wring::fuzz
