// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "proto/close.hpp"
#include "proto/error.hpp"
#include "proto/frame.hpp"
#include "proto/utf8.hpp"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace wring::proto {

// What a session refuses to receive; 0 turns a limit off. Where a message is compressed both sizes may be an eighth
// larger; how large it becomes is not seen here.
struct limits
{
    std::uint64_t max_frame = 1 << 20;
    std::uint64_t max_message = 1 << 20;
    std::uint32_t max_fragments = 1024; // frames of one message, empty ones included

    [[nodiscard]] bool operator==(limits const&) const = default;
};

// What the next bytes of a connection mean.
struct event
{
    enum class kind : std::uint8_t
    {
        need_more,
        data,
        ping,
        pong,
        close,
        violation
    };

    kind what = kind::need_more;
    opcode op = opcode::binary; // data: text or binary, for continuation frames too
    errc error = errc::ok;      // violation

    // Data: what this piece begins and ends. A piece that begins its message's first frame has message_start; one that
    // ends the last frame has message_end. All false in the middle of a frame.
    bool frame_start = false;
    bool frame_end = false;
    bool message_start = false;
    bool message_end = false;
    bool compressed = false; // the message's first frame had RSV1

    bool has_code = false;             // close: the frame had a payload
    std::uint16_t code = 0;            // close: its code; close_no_status without a payload
    std::uint64_t frame_length = 0;    // data: payload of the whole frame
    std::uint64_t frame_remaining = 0; // data: what of it is still to come
    std::span<std::byte> payload;      // unmasked, a view of the input
    std::string_view reason;           // close: a view of the input
};

// One end of an open WebSocket connection (RFC 6455 sections 5 to 8), as a state machine without I/O: received bytes
// in, events out, and the rules for what may be sent. It owns no memory and never allocates.
class session
{
public:
    // `l` must outlive the session; it is shared by all connections of a server.
    session(role self, limits const& l, bool rsv1_allowed = false) noexcept;
    session(role, limits const&&, bool = false) = delete;

    // Takes the next event from the front of `input`, which is then shortened by what was consumed, and unmasks in
    // place. Views in the event live as long as the input's bytes.
    //
    // Data comes in pieces as far as the input reaches. need_more: nothing to report; what is left in `input`, a part
    // of a frame header or of a control frame (below 131 bytes), must be presented again with more bytes behind it. A
    // frame over a limit is refused when its header is complete. After a violation or a close frame the rest of the
    // input is swallowed and every later call returns need_more.
    [[nodiscard]] event next(std::span<std::byte>& input) noexcept;

    // The same for most of what comes, in a third of the steps: a message of one frame, not compressed, that lies whole and
    // valid at the front of `input`. Gives its payload, with which it ends; the first byte has its opcode. Else null, and
    // nothing is done.
    [[nodiscard]] std::span<std::byte> next_whole(std::span<std::byte> input) noexcept;

    // Whether a frame of this kind may be sent now; if so it is taken as sent. While a fragmented message is open, its
    // own opcode means its next frame and `op` becomes continuation. Control frames may stand between fragments,
    // nothing may follow a close frame (sections 5.4 and 5.5.1).
    [[nodiscard]] errc start_frame(opcode& op, bool fin) noexcept;

    // Writes a header with this session's masking, a client's frame gets `key`, a server's none, to `out`, which has room
    // for header_size() bytes. Returns their number.
    std::size_t encode_header(opcode op, bool fin, bool rsv1, std::uint64_t length, mask_key key,
                              std::byte* out) const noexcept
    {
        return write_header({fin, rsv1, self_ == role::client, op, key, length}, out);
    }

    // Writes a whole control frame; payload of at most max_control_payload bytes, which may not overlap `out`. Returns
    // its size. start_frame() comes first.
    std::size_t encode_control(opcode op, std::span<std::byte const> payload, mask_key key,
                               std::span<std::byte, max_control_frame> out) const noexcept;

    // The code for the close frame that answers what ended reception: the violation's, or the one the peer sent; 0 for
    // a close frame without payload, and while nothing ended reception.
    [[nodiscard]] std::uint16_t close_reply_code() const noexcept;

    // Why reception ended, or ok.
    [[nodiscard]] errc error() const noexcept { return error_; }

    [[nodiscard]] role self() const noexcept { return self_; }
    [[nodiscard]] bool close_received() const noexcept { return close_received_; }
    [[nodiscard]] bool close_sent() const noexcept { return close_sent_; }

    // Whether nothing is under way and nothing has ended: one made anew would do the same.
    [[nodiscard]] bool idle() const noexcept
    {
        return !in_frame_ && !receiving_message() && !sending_message() && !close_received_ && !close_sent_ &&
               error_ == errc::ok;
    }

    // Payload of the data frame under way that has not been delivered.
    [[nodiscard]] std::uint64_t frame_remaining() const noexcept { return remaining_; }

    // ... and what of it has been; 0 where none is under way.
    [[nodiscard]] std::uint64_t frame_received() const noexcept { return remaining_ > 0 ? length_ - remaining_ : 0; }

    // Whether that frame is its message's last.
    [[nodiscard]] bool frame_is_final() const noexcept { return fin_; }

    // Whether a compressed message is under way.
    [[nodiscard]] bool receiving_compressed() const noexcept { return receiving_message() && compressed_; }

    // Whether the last data message begun is unfinished, in either direction.
    [[nodiscard]] bool receiving_message() const noexcept { return receiving_ != opcode::continuation; }
    [[nodiscard]] bool sending_message() const noexcept { return sending_ != opcode::continuation; }

private:
    void take(std::span<std::byte>& input, event& v) noexcept;
    [[nodiscard]] errc begin_frame(frame_header const& h) noexcept;
    void data(std::span<std::byte>& input, event& v) noexcept;
    void control(frame_header const& h, std::span<std::byte> payload, std::span<std::byte>& input, event& v) noexcept;
    void fail(errc e, std::span<std::byte>& input, event& v) noexcept;

    limits const* limits_;
    std::uint64_t length_ = 0;    // of the data frame under way
    std::uint64_t remaining_ = 0; // of it still to come
    std::uint64_t message_ = 0;   // payload bytes of the message so far, as the headers declare them
    std::uint32_t fragments_ = 0;
    mask_key key_{};
    std::uint16_t close_code_ = 0;
    utf8_validator utf8_;
    opcode receiving_ = opcode::continuation; // opcode of the message under way; continuation: none
    opcode sending_ = opcode::continuation;
    errc error_ = errc::ok;
    role self_;
    bool rsv1_allowed_ : 1;
    bool in_frame_ : 1 = false;      // a data frame's header has been consumed, its end not delivered
    bool frame_start_ : 1 = false;   // no piece of it has been delivered yet
    bool message_start_ : 1 = false; // ... and the frame is its message's first
    bool fin_ : 1 = false;
    bool compressed_ : 1 = false;
    bool close_received_ : 1 = false;
    bool close_sent_ : 1 = false;
};

inline errc session::start_frame(opcode& op, bool fin) noexcept
{
    if (close_sent_) return errc::send_after_close;
    switch (op) {
    case opcode::close:
        if (!fin) return errc::send_control_fragmented;
        close_sent_ = true;
        return errc::ok;
    case opcode::ping:
    case opcode::pong:
        return fin ? errc::ok : errc::send_control_fragmented;
    case opcode::continuation:
        if (!sending_message()) return errc::send_no_message;
        break;
    case opcode::text:
    case opcode::binary:
        if (!sending_message()) {
            if (!fin) sending_ = op;
            return errc::ok;
        }
        if (op != sending_) return errc::send_interleaved;
        op = opcode::continuation;
        break;
    default:
        return errc::send_reserved_opcode;
    }
    if (fin) sending_ = opcode::continuation;
    return errc::ok;
}

static_assert(sizeof(session) <= 64, "an idle connection's memory is a promise");

} // namespace wring::proto
