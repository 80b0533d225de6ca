// SPDX-License-Identifier: BSL-1.0
#include "proto/session.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>

namespace wring::proto {
namespace {

constexpr std::uint64_t or_unlimited(std::uint64_t limit) noexcept
{
    return limit == 0 ? std::numeric_limits<std::uint64_t>::max() : limit;
}

// Bytes that do not compress become a few more: a message at its limit must pass. What it is when decompressed is for
// the one who does that to judge.
constexpr std::uint64_t compressed_limit(std::uint64_t limit) noexcept
{
    auto const more = limit / 8 + 64;
    return limit > std::numeric_limits<std::uint64_t>::max() - more ? limit : limit + more;
}

} // namespace

session::session(role self, limits const& l, bool rsv1_allowed) noexcept
    : limits_(&l), self_(self), rsv1_allowed_(rsv1_allowed)
{}

// Every data frame passes through the next two, one after the other: inline, as each is called from one place.
inline errc session::begin_frame(frame_header const& h) noexcept
{
    if (h.op == opcode::continuation) {
        if (!receiving_message()) return errc::continuation_stray;
    } else {
        if (receiving_message()) return errc::continuation_expected;
        receiving_ = h.op;
        compressed_ = h.rsv1;
        message_ = 0;
        fragments_ = 0;
        utf8_.reset();
    }
    // A difference, never a sum, is compared: nothing wraps, not even when the limits were lowered meanwhile.
    auto max_frame = or_unlimited(limits_->max_frame);
    auto max_message = or_unlimited(limits_->max_message);
    if (compressed_) {
        max_frame = compressed_limit(max_frame);
        max_message = compressed_limit(max_message);
    }
    if (h.length > max_frame) return errc::frame_too_large;
    if (h.length > max_message - std::min(message_, max_message)) return errc::message_too_large;
    if (limits_->max_fragments != 0 && fragments_ >= limits_->max_fragments) return errc::too_many_fragments;
    message_ += h.length;
    if (limits_->max_fragments != 0) ++fragments_;
    length_ = remaining_ = h.length;
    key_ = h.key;
    fin_ = h.fin;
    message_start_ = h.op != opcode::continuation;
    frame_start_ = in_frame_ = true;
    return errc::ok;
}

inline void session::data(std::span<std::byte>& input, event& v) noexcept
{
    // A piece without payload is reported only for a frame without payload.
    if (input.empty() && remaining_ != 0) return;
    auto const size = static_cast<std::size_t>(std::min<std::uint64_t>(remaining_, input.size()));
    auto const piece = input.first(size);
    if (self_ == role::server) mask(piece, key_, length_ - remaining_);
    bool const frame_end = remaining_ == size;
    bool const message_end = frame_end && fin_;
    if (receiving_ == opcode::text && !compressed_)
        if (!utf8_.feed(piece) || (message_end && !utf8_.complete())) return fail(errc::utf8_text, input, v);

    remaining_ -= size;
    input = input.subspan(size);
    v.what = event::kind::data;
    v.op = receiving_;
    v.frame_start = frame_start_;
    v.frame_end = frame_end;
    v.message_start = frame_start_ && message_start_;
    v.message_end = message_end;
    v.compressed = compressed_;
    v.frame_length = length_;
    v.frame_remaining = remaining_;
    v.payload = piece;
    frame_start_ = false;
    if (frame_end) in_frame_ = false;
    if (message_end) receiving_ = opcode::continuation;
}

std::span<std::byte> session::next_whole(std::span<std::byte> input) noexcept
{
    if (input.size() < 2 || in_frame_ || receiving_message() || close_received_ || error_ != errc::ok) return {};
    std::byte* const at = input.data(); // no checked access
    auto const first = std::to_integer<unsigned>(at[0]);
    if (first != 0x82 && first != 0x81) return {}; // FIN, no other bit, and binary or text
    bool const masked = self_ == role::server;
    std::uint32_t length = std::to_integer<unsigned>(at[1]) ^ (masked ? 0x80 : 0); // above 127: another mask bit
    if (length == 126 && input.size() >= 4) {
        length = std::to_integer<std::uint32_t>(at[2]) << 8 | std::to_integer<std::uint32_t>(at[3]);
        if (length < 126) return {};
    } else if (length > 125) {
        return {};
    }
    std::size_t const header = header_size(length, masked);
    if (input.size() < header + length || length > or_unlimited(limits_->max_frame) ||
        length > or_unlimited(limits_->max_message))
        return {};
    std::span const payload(at + header, length);
    std::uint32_t key = 0;
    if (masked) {
        std::memcpy(&key, payload.data() - sizeof key, sizeof key);
        mask(payload, std::bit_cast<mask_key>(key));
    }
    if (first == 0x81) {
        utf8_.reset();
        if (!utf8_.feed(payload) || !utf8_.complete()) {
            if (masked) mask(payload, std::bit_cast<mask_key>(key)); // as it was
            return {};
        }
    }
    return payload;
}

inline void session::take(std::span<std::byte>& input, event& v) noexcept
{
    if (close_received_ || error_ != errc::ok) {
        input = input.last(0);
        return;
    }
    if (!in_frame_) {
        frame_header h;
        auto const header = parse_header(input, {self_, rsv1_allowed_}, h);
        if (header.error != errc::ok) return fail(header.error, input, v);
        if (header.size == 0) return;
        auto const rest = input.subspan(header.size);
        if (is_control(h.op)) {
            if (rest.size() < h.length) return; // at most 125 bytes: the caller keeps them
            auto const length = static_cast<std::size_t>(h.length);
            input = rest.subspan(length);
            return control(h, rest.first(length), input, v);
        }
        if (auto const e = begin_frame(h); e != errc::ok) return fail(e, input, v);
        input = rest;
    }
    data(input, v);
}

// The event is filled where the caller wants it: one that is made elsewhere, by small stores, and copied in large pieces
// costs a stall for each.
event session::next(std::span<std::byte>& input) noexcept
{
    event v;
    take(input, v);
    return v;
}

void session::fail(errc e, std::span<std::byte>& input, event& v) noexcept
{
    error_ = e;
    in_frame_ = false;
    remaining_ = 0;
    input = input.last(0);
    v = {};
    v.what = event::kind::violation;
    v.error = e;
}

void session::control(frame_header const& h, std::span<std::byte> payload, std::span<std::byte>& input,
                      event& v) noexcept
{
    if (h.masked) mask(payload, h.key);
    v.op = h.op;
    v.payload = payload;
    if (h.op != opcode::close) {
        v.what = h.op == opcode::ping ? event::kind::ping : event::kind::pong;
        return;
    }
    close_payload close;
    if (auto const e = parse_close(payload, close); e != errc::ok) return fail(e, input, v);
    close_received_ = true;
    v.what = event::kind::close;
    v.has_code = close.code != close_no_status;
    v.code = close.code;
    v.reason = close.reason;
    close_code_ = v.has_code ? close.code : std::uint16_t{0};
}

std::size_t session::encode_control(opcode op, std::span<std::byte const> payload, mask_key key,
                                    std::span<std::byte, max_control_frame> out) const noexcept
{
    payload = payload.first(std::min(payload.size(), max_control_payload));
    auto const size = encode_header(op, true, false, payload.size(), key, out.data());
    if (self_ == role::client)
        mask_copy(out.data() + size, payload, key);
    else
        std::copy(payload.begin(), payload.end(), out.begin() + static_cast<std::ptrdiff_t>(size));
    return size + payload.size();
}

std::uint16_t session::close_reply_code() const noexcept
{
    return error_ != errc::ok ? close_code_for(error_) : close_code_;
}

} // namespace wring::proto
