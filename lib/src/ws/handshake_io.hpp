// SPDX-License-Identifier: BSL-1.0
// Awaiting a transport while it is not yet, or will never be, a connection.
#pragma once

#include "net/transport.hpp"
#include "proto/http.hpp"

#include <string>

namespace wring::detail {

class handshake_io final : transport_user
{
public:
    explicit handshake_io(transport_ptr t) noexcept : transport_(std::move(t))
    {
        transport_->set_user(this);
        transport_->resume_receiving();
    }

    [[nodiscard]] transport& get() const noexcept { return *transport_; }
    [[nodiscard]] transport_ptr take() noexcept
    {
        transport_->set_user(nullptr);
        return std::move(transport_);
    }

    /// The stop state to ask to stop when the peer ends the stream; null for none.
    void stop_at_end(stop_state* stop) noexcept
    {
        at_end_ = stop;
        if (at_end_ && transport_->ended())
            at_end_->request();
    }

    /// Completes when more than `beyond` bytes are unread; errc::end_of_stream, or the system's error, at the end. A
    /// cancel loses nothing.
    task<result<>> readable(std::size_t beyond = 0);
    /// Completes with bytes that have come, at least one, valid until they are consumed; behind the last with
    /// errc::end_of_stream or the system's error.
    task<result<std::string_view>> received();
    void consume(std::size_t n) noexcept { transport_->inbound().consume(n); }

    /// Reads a head into `text`, and leaves what follows it in the transport's inbound queue. An error of the scanner
    /// comes in protocol_category().
    task<result<>> read_head(proto::head_scanner& scanner, std::string& text);

    /// Sends all of `text`, which must live until then: a head, and what belongs to it.
    task<result<>> write(std::string_view text);
    /// The same with what is none; a trace does not show it.
    task<result<>> write_bytes(std::string_view text);

private:
    static constexpr std::size_t read_ahead = 16 * 1024; // bytes behind the head before receiving pauses

    struct [[nodiscard]] change_operation : suspension
    {
        explicit change_operation(handshake_io& io) noexcept : owner(io) {}
        bool await_ready() const noexcept { return false; }
        template <coroutine_promise P>
        void await_suspend(std::coroutine_handle<P> h) noexcept
        {
            owner.waiting_ = this;
            suspend(h, [](suspension& s) noexcept { static_cast<change_operation&>(s).cancel(); });
        }
        void await_resume() const noexcept {}
        void cancel() noexcept
        {
            if (owner.sending_)
                owner.transport_->cancel_send(); // the system may be reading the bytes: its answer comes first
            else if (std::exchange(owner.waiting_, nullptr))
                wake();
        }
        handshake_io& owner;
    };

    void on_readable() noexcept override
    {
        if (at_end_ && transport_->ended())
            at_end_->request();
        if (!sending_)
            wake();
        if (transport_->inbound().size() >= read_ahead)
            transport_->pause_receiving(); // until a head is read, or the connection reads
    }
    void on_sent(ssize_t result) noexcept override
    {
        sending_ = false;
        sent_ = result;
        wake();
    }
    void wake() noexcept
    {
        if (waiting_)
            std::exchange(waiting_, nullptr)->wake();
    }

    transport_ptr transport_;
    change_operation* waiting_ = nullptr;
    stop_state* at_end_ = nullptr;
    ssize_t sent_ = 0;
    bool sending_ = false;
};

/// Closes a stream whose last words must not be lost: sends the end, drops what still comes, and goes when the
/// peer has gone or after a second (RFC 9112 section 9.6). In the background.
void close_lingering(transport_ptr t) noexcept;

} // namespace wring::detail
