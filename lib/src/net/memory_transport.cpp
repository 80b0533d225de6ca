// SPDX-License-Identifier: BSL-1.0
// The in-memory stream pair.
#include "net/transport.hpp"

#include <algorithm>
#include <limits>

namespace wring {

namespace detail {

namespace {

/// One end. What the other end sends is staged here, and arrives from the loop's ready queue, as from a socket.
class memory_transport final : public transport, ready_node
{
public:
    memory_transport(loop_core& loop, stream_pair_options const& options) noexcept :
        transport(loop), capacity_(std::max<std::size_t>(options.capacity, 1)),
        chunk_(options.chunk ? options.chunk : std::numeric_limits<std::size_t>::max())
    {
        run = [](ready_node& node) { static_cast<memory_transport&>(node).step(); };
    }

    static void join(memory_transport& a, memory_transport& b) noexcept
    {
        a.peer_ = &b;
        b.peer_ = &a;
    }

    void resume_receiving() noexcept override
    {
        receiving_ = true;
        schedule();
    }
    void pause_receiving() noexcept override { receiving_ = false; }

    ssize_t try_send(std::span<iovec const> buffers) noexcept override
    {
        if (!peer_ || sent_end_)
            return reset_ ? -ECONNRESET : -EPIPE;
        std::size_t const room = peer_->capacity_ - std::min(peer_->capacity_, peer_->staged_.size());
        std::size_t sent = 0;
        std::size_t wanted = 0;
        for (auto const& buffer : buffers) {
            wanted += buffer.iov_len;
            std::size_t const n = std::min(buffer.iov_len, room - sent);
            if (n > 0 && !peer_->stage({static_cast<std::byte const*>(buffer.iov_base), n}))
                return -ENOMEM;
            sent += n;
        }
        peer_->schedule();
        return sent > 0 || wanted == 0 ? static_cast<ssize_t>(sent) : -EAGAIN;
    }

    int start_send(std::span<iovec const>) noexcept override
    {
        sending_ = true;
        schedule();
        return 0;
    }
    void cancel_send() noexcept override
    {
        cancel_send_ = sending_;
        schedule();
    }
    void shutdown_send() noexcept override
    {
        sent_end_ = true;
        if (peer_)
            peer_->stage_end(0);
    }

    void abandon(bool reset) noexcept override
    {
        user_ = nullptr;
        abandoned_ = true;
        inbound_.clear();
        if (peer_) {
            // As with sockets: what was sent is still delivered, and bytes that nobody took make the end a reset.
            bool const lost = reset || !staged_.empty();
            peer_->peer_ = nullptr;
            peer_->reset_ = lost;
            if (!sent_end_ || lost)
                peer_->stage_end(lost ? ECONNRESET : 0);
            peer_->schedule(); // a send that waits for room there must end
            peer_ = nullptr;
        }
        staged_.clear();
        schedule(); // and step() deletes: this may be called from within it
    }

    endpoint local() const override { return {}; }
    endpoint remote() const override { return told_remote() ? *told_remote() : endpoint(); }
    bool quiet() const noexcept override { return !sending_; }

private:
    ~memory_transport() override = default;

    void schedule() noexcept
    {
        if (!std::exchange(scheduled_, true))
            loop_.make_ready(*this);
    }

    bool stage(std::span<std::byte const> bytes) noexcept
    {
        while (!bytes.empty()) {
            engine::block* b = loop_.blocks().take();
            if (!b)
                return false;
            std::size_t const n = std::min<std::size_t>(bytes.size(), b->capacity);
            std::memcpy(b->data(), bytes.data(), n);
            b->end = b->begin + n;
            staged_.push(b);
            bytes = bytes.subspan(n);
        }
        return true;
    }

    void stage_end(int error) noexcept
    {
        staged_end_ = true;
        staged_error_ = error;
        schedule();
    }

    void step() noexcept
    {
        scheduled_ = false;
        if (abandoned_) {
            delete this;
            return;
        }
        if (sending_)
            finish_send();
        if (receiving_ && !ended_ && !abandoned_)
            receive();
    }

    void finish_send() noexcept
    {
        bool const room = !peer_ || peer_->staged_.size() < peer_->capacity_;
        if (!room && !cancel_send_)
            return; // the peer schedules this end when it has taken something
        sending_ = false;
        int const lost = peer_ ? 0 : reset_ ? ECONNRESET : EPIPE;
        ssize_t const result = std::exchange(cancel_send_, false) ? -ECANCELED : -lost;
        if (user_)
            user_->on_sent(result);
    }

    void receive() noexcept
    {
        if (!staged_.empty()) {
            engine::block* b = loop_.blocks().take();
            if (!b)
                return end(ENOMEM);
            std::size_t const n = std::min<std::size_t>(chunk_, b->capacity);
            b->end = b->begin + staged_.read({b->data(), n});
            arrived(b);
            if (peer_ && peer_->sending_)
                peer_->schedule();
            if (!staged_.empty() || staged_end_)
                schedule();
        } else if (staged_end_) {
            end(staged_error_);
        }
    }

    memory_transport* peer_ = nullptr;
    engine::block_queue staged_; // sent by the peer, not yet arrived
    std::size_t capacity_;
    std::size_t chunk_;
    int staged_error_ = 0;
    bool staged_end_ = false;
    bool sending_ = false;
    bool cancel_send_ = false;
    bool sent_end_ = false;
    bool reset_ = false;
    bool scheduled_ = false;
};

} // namespace

} // namespace detail

stream_pair make_stream_pair(stream_pair_options options)
{
    auto& loop = detail::loop_core::require();
    auto* a = new detail::memory_transport(loop, options);
    detail::transport_ptr first(a);
    auto* b = new detail::memory_transport(loop, options);
    detail::transport_ptr second(b);
    detail::memory_transport::join(*a, *b);
    return {detail::stream_access::make(std::move(first)), detail::stream_access::make(std::move(second))};
}

} // namespace wring
