// SPDX-License-Identifier: BSL-1.0
//
// Two sessions that talk to each other: what one may send is held against the rules (RFC 6455 sections 5.4, 5.5.1), and
// what it sends must arrive as it was sent. Input: steps of a client and a server.
#include "ear.hpp"
#include "targets.hpp"

#include "proto/close.hpp"

#include <array>

namespace wring::fuzz {
namespace {

using namespace proto;

class party
{
public:
    party(role self, proto::limits const& l) noexcept : self_(self), session_(self, l, false), ear_(self, l, false) {}

    // Sends a frame if it may, and notes what the other must hear.
    void send(opcode op, bool fin, std::size_t size)
    {
        auto const wanted = op;
        auto const verdict = session_.start_frame(op, fin);
        require(verdict == allowed(wanted, fin), "a frame may be sent exactly where the rules allow it");
        if (verdict != errc::ok) return;
        bool const data = !is_control(wanted);
        require(op == (data && open_ != opcode::continuation ? opcode::continuation : wanted),
                "a frame of a message under way is a continuation");
        std::string payload(data ? size : size % (max_control_payload + 1), 'x');
        if (wanted == opcode::close) {
            std::array<std::byte, max_control_payload> out;
            auto const code = static_cast<std::uint16_t>(size % 2 == 0 ? 1000 + size % 4 : close_no_status);
            auto const written = write_close(code, size % 2 == 0 ? std::string(size % 50, 'r') : "", out);
            require(written.error == errc::ok, "a sound close frame can be written");
            payload.assign(reinterpret_cast<char const*>(out.data()), written.size);
            closed_ = true;
            told_.push_back({"close", false, false, code, payload.size() < 2 ? "" : payload.substr(2)});
        } else if (data) {
            bool const first = open_ == opcode::continuation;
            auto const message = first ? wanted : open_;
            told_.push_back({message == opcode::text ? "text" : "binary", first, fin, 0, payload});
            open_ = fin ? opcode::continuation : message;
        } else {
            told_.push_back({wanted == opcode::ping ? "ping" : "pong", false, false, 0, payload});
        }
        put(op, fin, payload);
    }

    // Hands what is on its way to the other, `most` bytes of it.
    void deliver(party& other, std::size_t most)
    {
        auto const n = std::min(most, on_its_way_.size());
        std::vector<std::uint8_t> const piece(on_its_way_.begin(),
                                              on_its_way_.begin() + static_cast<std::ptrdiff_t>(n));
        on_its_way_.erase(on_its_way_.begin(), on_its_way_.begin() + static_cast<std::ptrdiff_t>(n));
        other.ear_.hear(piece);
    }

    void finish(party& other)
    {
        deliver(other, on_its_way_.size());
        require(other.ear_.heard() == told_, "what was sent is what arrives");
    }

private:
    [[nodiscard]] errc allowed(opcode op, bool fin) const
    {
        if (closed_) return errc::send_after_close;
        if (is_control(op)) return fin ? errc::ok : errc::send_control_fragmented;
        if (op == opcode::continuation) return open_ == op ? errc::send_no_message : errc::ok;
        return open_ == opcode::continuation || open_ == op ? errc::ok : errc::send_interleaved;
    }

    void put(opcode op, bool fin, std::string const& payload)
    {
        mask_key const key{static_cast<std::uint8_t>(told_.size()), 0x5A, 0, 0xFF};
        auto const bytes = std::as_bytes(std::span(payload));
        std::array<std::byte, max_control_frame> whole;
        std::array<std::byte, max_header_size> head;
        auto const size = session_.encode_header(op, fin, false, payload.size(), key, head.data());
        require(size == header_size(payload.size(), self_ == role::client),
                "a header has the size it was said to have");
        std::vector<std::byte> frame(head.begin(), head.begin() + static_cast<std::ptrdiff_t>(size));
        frame.insert(frame.end(), bytes.begin(), bytes.end());
        if (self_ == role::client) mask(std::span(frame).subspan(size), key);
        if (is_control(op)) {
            auto const n = session_.encode_control(op, bytes, key, whole);
            require(std::ranges::equal(std::span(whole).first(n), frame), "a control frame is encoded in one way");
        }
        for (auto const b : frame)
            on_its_way_.push_back(std::to_integer<std::uint8_t>(b));
    }

    role self_;
    session session_; // that sends
    ear ear_;
    std::vector<std::uint8_t> on_its_way_;
    std::vector<happening> told_;
    opcode open_ = opcode::continuation;
    bool closed_ = false;
};

} // namespace

void fuzz_conversation(input in)
{
    constexpr proto::limits unlimited{0, 0, 0};
    party client(role::client, unlimited), server(role::server, unlimited);
    constexpr std::array<opcode, 6> opcodes{opcode::text, opcode::binary, opcode::continuation,
                                            opcode::ping, opcode::pong,   opcode::close};
    reader r(in);
    for (int steps = 0; !r.empty() && steps < 200; ++steps) {
        auto const what = r.byte();
        auto& from = what % 2 == 0 ? client : server;
        auto& to = what % 2 == 0 ? server : client;
        auto const size = r.byte();
        if (what / 2 % 8 > 5)
            from.deliver(to, size);
        else
            from.send(opcodes[what / 2 % 8], (what & 0x80) != 0, (what & 0x40) != 0 ? size * 300u : size);
    }
    client.finish(server);
    server.finish(client);
}

} // namespace wring::fuzz
