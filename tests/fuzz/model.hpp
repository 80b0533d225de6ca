// SPDX-License-Identifier: BSL-1.0
//
// What an endpoint must make of the bytes it receives on an open connection (RFC 6455 sections 5 to 8), written as
// plainly as can be: the whole input at once, by offsets, UTF-8 by decoding it.
#pragma once

#include "fuzz.hpp"

#include "proto/session.hpp"

#include <array>
#include <vector>

namespace wring::fuzz {

struct happening
{
    std::string what; // text, binary, ping, pong, close, fail
    bool first = false;
    bool last = false;
    unsigned code = 0; // close: what the peer sent, fail: what it is answered with
    std::string payload;
    bool operator==(happening const&) const = default;
};

// 1: whole characters, 0: the last one is unfinished, -1: no continuation makes it valid. RFC 3629 by numbers.
inline int judge_utf8(std::string_view s)
{
    while (!s.empty()) {
        unsigned const lead = static_cast<unsigned char>(s[0]);
        std::size_t const size = lead < 0x80 ? 1 : lead >> 5 == 6 ? 2 : lead >> 4 == 14 ? 3 : lead >> 3 == 30 ? 4 : 0;
        if (size == 0) return -1;
        unsigned least = size == 1 ? lead : lead & ((1u << (7 - size)) - 1), most = least;
        for (std::size_t i = 1; i < size; ++i) {
            unsigned const c = i < s.size() ? static_cast<unsigned char>(s[i]) : 0x80;
            if (c >> 6 != 2) return -1;
            least = least << 6 | (c & 63);
            most = most << 6 | (i < s.size() ? c & 63 : 63);
        }
        constexpr std::array<unsigned, 5> shortest{0, 0, 0x80, 0x800, 0x10000};
        least = std::max(least, shortest[size]);
        most = std::min(most, 0x10FFFFu);
        if (least > most || (least >= 0xD800 && most <= 0xDFFF)) return -1;
        if (s.size() < size) return 0;
        s.remove_prefix(size);
    }
    return 1;
}

// A frame that a violation or the end of the input cuts short is not reported; `fail` is the last happening.
inline std::vector<happening> expected(input in, proto::role self, proto::limits const& limit, bool rsv1)
{
    std::vector<happening> all;
    auto const fail = [&](unsigned code) {
        all.push_back({"fail", false, false, code, ""});
        return all;
    };
    unsigned open = 0; // opcode of the message under way
    bool compressed = false;
    std::uint64_t total = 0;
    std::uint32_t frames = 0;
    std::string tail; // of the text: an unfinished character
    while (!in.empty()) {
        unsigned const op = in[0] & 15, reserved = in[0] >> 4 & 7;
        bool const control = op >= 8, fin = in[0] >= 128, server = self == proto::role::server;
        if ((op > 2 && op < 8) || op > 10 || (control && !fin)) return fail(1002);
        if (reserved != 0 && (reserved != 4 || !rsv1 || control || op == 0)) return fail(1002);
        if (in.size() < 2) break;
        if ((in[1] >= 128) != server) return fail(1002);
        std::uint64_t length = in[1] & 127;
        std::size_t at = 2;
        if (length > 125) {
            if (control) return fail(1002);
            std::size_t const digits = length == 126 ? 2 : 8;
            if (digits == 8 && in.size() > 2 && in[2] >= 128) return fail(1002);
            if (in.size() < 2 + digits) break;
            for (length = 0; at < 2 + digits; ++at)
                length = length << 8 | in[at];
            if (length < (digits == 2 ? 126u : 65536u)) return fail(1002);
        }
        std::array<std::uint8_t, 4> key{};
        for (std::size_t i = 0; server && i < 4 && at < in.size(); ++i)
            key[i] = in[at++];
        if (server && at < (length < 126 ? 6u : length < 65536 ? 8u : 14u)) break;
        if (!control) {
            if ((op == 0) != (open != 0)) return fail(1002);
            if (op != 0) {
                open = op;
                compressed = reserved == 4;
                total = frames = 0;
                tail.clear();
            }
            auto const most = [&](std::uint64_t bytes) { return bytes + (compressed ? bytes / 8 + 64 : 0); };
            if (limit.max_frame != 0 && length > most(limit.max_frame)) return fail(1009);
            if (limit.max_message != 0 && length > most(limit.max_message) - total) return fail(1009);
            if (limit.max_fragments != 0 && frames++ == limit.max_fragments) return fail(1008);
            total += length;
        }
        auto const have = static_cast<std::size_t>(std::min<std::uint64_t>(length, in.size() - at));
        std::string payload(as_text(in.subspan(at, have)));
        for (std::size_t i = 0; i < have; ++i)
            payload[i] = static_cast<char>(payload[i] ^ key[i % 4]);
        bool const whole = have == length;
        if (control && !whole) break;
        if (op == 8 && !payload.empty()) {
            if (payload.size() == 1) return fail(1002);
            auto const code = static_cast<unsigned char>(payload[0]) * 256u + static_cast<unsigned char>(payload[1]);
            if (code < 1000 || (code > 1003 && code < 1007) || (code > 1014 && code < 3000) || code > 4999)
                return fail(1002);
            if (judge_utf8(payload.substr(2)) != 1) return fail(1007);
            all.push_back({"close", false, false, code, payload.substr(2)});
            break;
        }
        if (control) {
            all.push_back({op == 8 ? "close" : op == 9 ? "ping" : "pong", false, false, op == 8 ? 1005u : 0, payload});
            if (op == 8) break;
        } else {
            if (open == 1 && !compressed) {
                tail += payload;
                int const verdict = judge_utf8(tail);
                if (verdict < 0 || (verdict == 0 && whole && fin)) return fail(1007);
                if (verdict > 0) tail.clear();
            }
            if (!whole) break;
            all.push_back({open == 1 ? "text" : "binary", op != 0, fin, 0, payload});
            if (fin) open = 0;
        }
        in = in.subspan(at + have);
    }
    return all;
}

} // namespace wring::fuzz
