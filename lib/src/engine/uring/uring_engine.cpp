// SPDX-License-Identifier: BSL-1.0
// The engine on io_uring: one ring per loop, multishot accept and receive, a provided-buffer ring, one submit-and-wait
// per turn.
#include "ablation.hpp"
#include "engine/engine.hpp"
#include "engine/operation_list.hpp"
#include "engine/uring/ring.hpp"

#include <algorithm>
#include <array>
#include <cassert>
#include <cerrno>
#include <deque>
#include <poll.h>
#include <system_error>
#include <unistd.h>

namespace wring::engine {

namespace {

class uring_engine;

class uring_descriptor final : public descriptor
{
public:
    uring_descriptor(uring_engine& e, int fd) noexcept : descriptor(fd), engine_(e) {}
    void accept(operation& op) noexcept override;
    void connect(operation& op, sockaddr const* address, socklen_t size) noexcept override;
    void receive(operation& op) noexcept override;
    void receive_into(operation& op, block* into, std::size_t size) noexcept override;
    void send(operation& op, std::span<iovec const> buffers) noexcept override;
    void poll(operation& op, short events) noexcept override;
    void cancel(operation& op) noexcept override;

private:
    uring_engine& engine_;
};

class uring_engine final : public engine
{
public:
    uring_engine(block_pool& blocks, settings const& s) :
        blocks_(blocks), ring_(s.submission_entries, s.completion_entries, s.first_rung),
        buffers_(ring_.get(), s.receive_buffers, blocks)
    {}

    ~uring_engine() override { drain(); }

    engine_kind kind() const noexcept override { return engine_kind::uring; }

    result<std::unique_ptr<descriptor>> open(int fd) noexcept override
    {
        std::unique_ptr<descriptor> opened(new (std::nothrow) uring_descriptor(*this, fd));
        if (!opened)
            return std::make_error_code(std::errc::not_enough_memory);
        return opened;
    }

    void wait(std::chrono::nanoseconds limit) override
    {
        if (!waking_)
            arm_wake();
        while (operation* op = unsubmitted_.pop()) {
            if (!submit(*op))
                break; // it is in the list again
        }
        retry_cancels();
        if (!unsubmitted_.empty() || cancel_again_ || !waking_)
            limit = std::chrono::nanoseconds{0};
        if (!starved_.empty())
            limit = at_most(memory_delay, limit);
        enter(limit);
        reap();
    }

    void start(operation& op) noexcept { submit(op); }

    void cancel(operation& op) noexcept
    {
        if (!op.in_flight() || op.canceling_)
            return;
        op.canceling_ = true;
        if (op.listed()) { // the kernel does not have it: it waits for a buffer or for a submission entry
            operation_list::remove(op);
            canceled_here_.push(op);
            return;
        }
        canceling_.push(op);
        submit_cancel(op);
    }

    /// Memory for a message that must stay in place until its submission.
    struct message
    {
        msghdr header;
        std::array<iovec, 64> buffers;
    };
    /// Null where there is none for it.
    message* next_message() noexcept
    {
        try {
            if (messages_used_ == messages_.size())
                messages_.emplace_back();
        } catch (std::bad_alloc const&) {
            return nullptr;
        }
        return &messages_[messages_used_++];
    }

private:
    // user_data: the operation's address, or one of these.
    static constexpr std::uint64_t wake_tag = 1;
    static constexpr std::uint64_t cancel_tag = 2;
    static constexpr std::size_t max_messages = 128; // kept from turn to turn

    io_uring_sqe* entry() noexcept
    {
        io_uring_sqe* sqe = io_uring_get_sqe(ring_.get());
        if (!sqe) {
            io_uring_submit(ring_.get());
            sqe = io_uring_get_sqe(ring_.get());
        }
        return sqe;
    }

    void arm_wake() noexcept
    {
        io_uring_sqe* sqe = entry();
        if (!sqe)
            return; // the next wait tries again
        io_uring_prep_poll_multishot(sqe, wake_fd_, POLLIN);
        io_uring_sqe_set_data64(sqe, wake_tag);
        waking_ = true;
    }

    bool submit(operation& op) noexcept
    {
        io_uring_sqe* sqe = entry();
        if (!sqe) {
            unsubmitted_.push(op);
            return false;
        }
        int const fd = op.io_->fd();
        switch (op.kind_) {
        case operation::kind::accept:
            io_uring_prep_multishot_accept(sqe, fd, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
            break;
        case operation::kind::connect:
            io_uring_prep_connect(sqe, fd, static_cast<sockaddr const*>(op.argument_), op.argument_size_);
            break;
        case operation::kind::receive:
            if (!with::buffer_ring) {
                block* const own = blocks_.take(std::size_t{blocks_.capacity()});
                op.argument_ = own;
                io_uring_prep_recv(sqe, fd, own->data(), own->capacity, 0);
                break;
            }
            if (with::multishot_receive)
                io_uring_prep_recv_multishot(sqe, fd, nullptr, 0, 0);
            else
                io_uring_prep_recv(sqe, fd, nullptr, 0, 0);
            sqe->flags |= IOSQE_BUFFER_SELECT;
            sqe->buf_group = buffer_ring::group;
            break;
        case operation::kind::receive_into:
            io_uring_prep_recv(sqe, fd, op.block_argument()->end, op.argument_size_, 0);
            break;
        case operation::kind::send:
            io_uring_prep_send(sqe, fd, op.argument_, op.argument_size_, MSG_NOSIGNAL | MSG_WAITALL);
            break;
        case operation::kind::send_message:
            io_uring_prep_sendmsg(sqe, fd, static_cast<msghdr const*>(op.argument_), MSG_NOSIGNAL | MSG_WAITALL);
            break;
        case operation::kind::poll: io_uring_prep_poll_add(sqe, fd, op.argument_size_); break;
        case operation::kind::none: assert(false); break;
        }
        io_uring_sqe_set_data(sqe, &op);
        return true;
    }

    void submit_cancel(operation& op) noexcept
    {
        io_uring_sqe* sqe = entry();
        if (!sqe) {
            cancel_again_ = true;
            return;
        }
        io_uring_prep_cancel(sqe, &op, 0);
        io_uring_sqe_set_data64(sqe, cancel_tag);
        sqe->flags |= IOSQE_CQE_SKIP_SUCCESS; // a failed one is reported, and tried again while its target lives
    }

    void retry_cancels() noexcept
    {
        if (!std::exchange(cancel_again_, false))
            return;
        for (operation* op = canceling_.first(); op && !cancel_again_; op = canceling_.after(*op))
            submit_cancel(*op);
    }

    void enter(std::chrono::nanoseconds limit)
    {
        int result = 0;
        if (limit.count() == 0 || !canceled_here_.empty()) {
            result = io_uring_submit_and_get_events(ring_.get());
        } else if (limit.count() < 0) {
            result = io_uring_submit_and_wait(ring_.get(), 1);
        } else {
            __kernel_timespec ts{limit.count() / 1'000'000'000, limit.count() % 1'000'000'000};
            io_uring_cqe* first = nullptr;
            result = io_uring_submit_and_wait_timeout(ring_.get(), &first, 1, &ts, nullptr);
        }
        // EBUSY: completions overflowed and must be taken before more is submitted; the entries stay queued.
        if (result < 0 && result != -EINTR && result != -ETIME && result != -EBUSY && result != -EAGAIN)
            throw std::system_error(-result, std::system_category(), "io_uring_enter");
        if (io_uring_sq_ready(ring_.get()) == 0 && unsubmitted_.empty()) {
            messages_used_ = 0; // the kernel has its copy of what was submitted
            if (messages_.size() > max_messages)
                messages_.resize(max_messages);
        }
    }

    void reap() noexcept
    {
        struct entry
        {
            std::uint64_t data;
            int result;
            unsigned flags;
        };
        std::array<entry, 32> batch; // small: hardened builds clear it each time
        for (;;) {
            // Copied first: handlers may submit, and the kernel needs the room.
            unsigned count = 0;
            unsigned head = 0;
            io_uring_cqe* cqe = nullptr;
            io_uring_for_each_cqe(ring_.get(), head, cqe)
            {
                batch[count++] = {cqe->user_data, cqe->res, cqe->flags};
                if (count == batch.size())
                    break;
            }
            io_uring_cq_advance(ring_.get(), count);
            for (unsigned i = 0; i < count; ++i)
                dispatch(batch[i].data, batch[i].result, batch[i].flags);
            if (count < batch.size())
                break;
        }
        if (!starved_.empty())
            buffers_.grow();
        if (buffers_.publish()) // in the order in which they ran dry
            for (operation* op = starved_.pop(); op && submit(*op); op = starved_.pop()) {
            }
        while (operation* op = canceled_here_.pop())
            op->kind_ == operation::kind::receive_into ? received_into(*op, -ECANCELED)
                                                       : op->complete({-ECANCELED, true});
    }

    void dispatch(std::uint64_t data, int result, unsigned flags) noexcept
    {
        bool const last = !(flags & IORING_CQE_F_MORE);
        if (data == wake_tag) {
            std::uint64_t count = 0;
            [[maybe_unused]] auto got = ::read(wake_fd_, &count, sizeof count);
            waking_ = !last;
            return;
        }
        if (data == cancel_tag) {
            // Not found, or running: that says nothing of the target, which may be queued as task work.
            cancel_again_ = !canceling_.empty();
            return;
        }
        auto& op = *reinterpret_cast<operation*>(data);
        if (last)
            operation_list::remove(op); // from those whose cancel was asked for
        block* received = nullptr;
        if (flags & IORING_CQE_F_BUFFER)
            received = buffers_.take(static_cast<unsigned short>(flags >> IORING_CQE_BUFFER_SHIFT),
                                     static_cast<std::size_t>(std::max(result, 0)));
        if (op.kind_ == operation::kind::receive && !with::buffer_ring) {
            received = op.block_argument();
            received->end += std::max(result, 0);
        }
        if (op.kind_ == operation::kind::receive)
            return receive_done(op, result, last, received);
        if (op.kind_ == operation::kind::receive_into)
            return received_into(op, result);
        if (op.kind_ == operation::kind::accept && last && result >= 0 && !op.canceling_) {
            op.complete({result, false});
            if (op.canceling_)
                finish_canceled(op);
            else
                submit(op);
            return;
        }
        op.complete({result, last});
    }

    /// For an operation that was asked to stop while the kernel did not have it.
    void finish_canceled(operation& op) noexcept
    {
        operation_list::remove(op);
        canceled_here_.push(op);
    }

    /// A multishot receive ends for many reasons; to its owner only an end of the stream, an error or a cancel is one.
    void receive_done(operation& op, int result, bool last, block* received) noexcept
    {
        if (received && result <= 0) {
            release(received);
            received = nullptr;
        }
        if (!last)
            return op.complete({result, false, received});
        if (result > 0) {
            op.complete({result, false, received});
            if ((!with::multishot_receive || !with::buffer_ring) && !op.canceling_) {
                submit(op);
                return;
            }
            result = -ENOBUFS; // and again, as after
        }
        if (result != -ENOBUFS)
            return op.complete({result, true});
        if (op.canceling_)
            finish_canceled(op);
        else
            starved_.push(op);
    }

    static void received_into(operation& op, int result) noexcept
    {
        block* b = op.block_argument();
        WRING_UNPOISON(b->end, op.argument_size_);
        if (result <= 0) {
            release(b);
            return op.complete({result, true});
        }
        b->begin = std::exchange(b->end, b->end + result);
        op.complete({result, true, b});
    }

    /// Nothing of ours may be in flight any more but the wake poll.
    void drain() noexcept
    {
        for (int i = 0; waking_ && i < 100; ++i) {
            // Each time anew: the poll is not found while a wake that it has just seen is on its way.
            if (io_uring_sqe* sqe = entry()) {
                io_uring_prep_poll_remove(sqe, wake_tag);
                io_uring_sqe_set_data64(sqe, cancel_tag);
            }
            __kernel_timespec ts{0, 10'000'000};
            io_uring_cqe* first = nullptr;
            io_uring_submit_and_wait_timeout(ring_.get(), &first, 1, &ts, nullptr);
            reap();
        }
    }

    block_pool& blocks_;
    ring ring_;
    buffer_ring buffers_;
    operation_list unsubmitted_;   ///< no submission entry was free
    operation_list starved_;       ///< receives that wait for a buffer
    operation_list canceling_;     ///< in the kernel, cancel asked for
    operation_list canceled_here_; ///< not in the kernel; to be completed as canceled
    std::deque<message> messages_; ///< of this turn's sends
    std::size_t messages_used_ = 0;
    bool cancel_again_ = false;
    bool waking_ = false;
};

void uring_descriptor::accept(operation& op) noexcept
{
    op.begin(operation::kind::accept, *this);
    engine_.start(op);
}

void uring_descriptor::connect(operation& op, sockaddr const* address, socklen_t size) noexcept
{
    op.begin(operation::kind::connect, *this);
    op.argument_ = address;
    op.argument_size_ = size;
    engine_.start(op);
}

void uring_descriptor::receive(operation& op) noexcept
{
    op.begin(operation::kind::receive, *this);
    engine_.start(op);
}

void uring_descriptor::receive_into(operation& op, block* into, std::size_t size) noexcept
{
    op.begin(operation::kind::receive_into, *this);
    op.argument_ = into;
    op.argument_size_ = static_cast<std::uint32_t>(size);
    WRING_POISON(into->end, size); // the kernel's, until the completion
    engine_.start(op);
}

void uring_descriptor::send(operation& op, std::span<iovec const> buffers) noexcept
{
    auto* const m = buffers.size() == 1 ? nullptr : engine_.next_message();
    if (!m) { // without memory the first buffer has to do: the owner goes on with the others
        op.begin(operation::kind::send, *this);
        op.argument_ = buffers[0].iov_base;
        op.argument_size_ = static_cast<std::uint32_t>(std::min(buffers[0].iov_len, std::size_t{1} << 30));
        return engine_.start(op);
    }
    op.begin(operation::kind::send_message, *this);
    std::size_t const n = std::min(buffers.size(), m->buffers.size());
    std::copy_n(buffers.begin(), n, m->buffers.begin());
    m->header = {};
    m->header.msg_iov = m->buffers.data();
    m->header.msg_iovlen = n;
    op.argument_ = &m->header;
    engine_.start(op);
}

void uring_descriptor::poll(operation& op, short events) noexcept
{
    op.begin(operation::kind::poll, *this);
    op.argument_size_ = static_cast<std::uint32_t>(events);
    engine_.start(op);
}

void uring_descriptor::cancel(operation& op) noexcept
{
    engine_.cancel(op);
}

} // namespace

std::unique_ptr<engine> make_uring_engine(block_pool& blocks, settings const& s)
{
    return std::make_unique<uring_engine>(blocks, s);
}

} // namespace wring::engine
