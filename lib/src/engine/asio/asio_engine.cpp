// SPDX-License-Identifier: BSL-1.0
// The engine on standalone Asio and epoll, for where io_uring is blocked. Readiness only: Asio waits, the system calls
// are made here, so that both engines share blocks and semantics.
#include "engine/engine.hpp"
#include "engine/operation_list.hpp"

#include <asio/executor_work_guard.hpp>
#include <asio/io_context.hpp>
#include <asio/posix/stream_descriptor.hpp>

#include <array>
#include <cassert>
#include <cerrno>
#include <poll.h>
#include <system_error>
#include <unistd.h>

namespace wring::engine {

namespace {

/// Takes Asio's handler memory from the loop's free lists, so that a wait in steady state allocates nothing.
template <class T>
struct frame_allocator
{
    using value_type = T;
    frame_allocator() = default;
    template <class U>
    frame_allocator(frame_allocator<U> const&) noexcept
    {}
    T* allocate(std::size_t n) { return static_cast<T*>(detail::frame_allocate(n * sizeof(T))); }
    void deallocate(T* p, std::size_t n) noexcept { detail::frame_deallocate(p, n * sizeof(T)); }
    friend bool operator==(frame_allocator, frame_allocator) noexcept { return true; }
};

class asio_engine;

class asio_descriptor final : public descriptor
{
public:
    explicit asio_descriptor(asio_engine& e);
    std::error_code assign(int fd);
    ~asio_descriptor() override { release_waiter(); }

    int release() noexcept override
    {
        release_waiter();
        return descriptor::release();
    }

    void accept(operation& op) noexcept override
    {
        op.begin(operation::kind::accept, *this);
        wait(op);
    }

    void connect(operation& op, sockaddr const* address, socklen_t size) noexcept override
    {
        op.begin(operation::kind::connect, *this);
        if (::connect(fd_, address, size) == 0)
            return complete_soon(op, 0);
        if (errno != EINPROGRESS && errno != EINTR)
            return complete_soon(op, -errno);
        wait(op);
    }

    void receive(operation& op) noexcept override
    {
        op.begin(operation::kind::receive, *this);
        wait(op);
    }

    void receive_into(operation& op, block* into, std::size_t size) noexcept override
    {
        op.begin(operation::kind::receive_into, *this);
        op.argument_ = into;
        op.argument_size_ = static_cast<std::uint32_t>(size);
        wait(op);
    }

    void send(operation& op, std::span<iovec const>) noexcept override
    {
        op.begin(operation::kind::send, *this);
        wait(op); // and the owner sends what it then has
    }

    void poll(operation& op, short events) noexcept override
    {
        op.begin(operation::kind::poll, *this);
        op.argument_size_ = static_cast<std::uint32_t>(events);
        wait(op);
    }

    void cancel(operation& op) noexcept override;

    // For the engine.
    void wait(operation& op) noexcept;
    void finish(operation& op, int result) noexcept;

private:
    // With its executor by type: the type-erased one costs memory in every descriptor and wait.
    using waiter = asio::posix::basic_stream_descriptor<asio::io_context::executor_type>;

    /// What Asio calls when the descriptor is ready.
    struct ready
    {
        using allocator_type = frame_allocator<void>;
        allocator_type get_allocator() const noexcept { return {}; }
        void operator()(asio::error_code const& ec) const
        {
            op->awaited_ = false;
            if (ec != asio::error::operation_aborted || op->canceling_)
                self->on_ready(*op, ec);
            else
                self->wait(*op); // another operation's cancel ended this wait too
        }
        asio_descriptor* self;
        operation* op;
    };

    void on_ready(operation& op, asio::error_code const& ec) noexcept
    {
        if (op.canceling_)
            return finish(op, -ECANCELED);
        if (ec)
            return finish(op, -ec.value());
        switch (op.kind_) {
        case operation::kind::accept: return accept_some(op);
        case operation::kind::connect: return connected(op);
        case operation::kind::receive: return receive_some(op);
        case operation::kind::receive_into: return receive_once(op);
        case operation::kind::poll: return op.complete({static_cast<int>(op.argument_size_), true});
        default: return op.complete({0, true});
        }
    }

    void accept_some(operation& op) noexcept
    {
        for (int i = 0; i < 16; ++i) {
            int const fd = ::accept4(fd_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
            if (fd < 0 && (errno == EAGAIN || errno == EINTR))
                break;
            if (fd < 0)
                return op.complete({-errno, true});
            op.complete({fd, false});
            if (op.canceling_)
                return; // its completion has been queued
        }
        wait(op);
    }

    void connected(operation& op) noexcept
    {
        int error = 0;
        socklen_t size = sizeof error;
        ::getsockopt(fd_, SOL_SOCKET, SO_ERROR, &error, &size);
        op.complete({-error, true});
    }

    void receive_some(operation& op) noexcept;
    void receive_once(operation& op) noexcept;
    void complete_soon(operation& op, int result) noexcept;
    void release_waiter() noexcept
    {
        if (waiter_.is_open())
            waiter_.release();
    }

    asio_engine& engine_;
    waiter waiter_;
};

class asio_engine final : public engine
{
public:
    explicit asio_engine(block_pool& blocks) : blocks_(blocks), waker_(context_, wake_fd_) {}

    ~asio_engine() override
    {
        waker_.cancel();
        context_.restart();
        context_.poll();
        waker_.release();
    }

    engine_kind kind() const noexcept override { return engine_kind::asio; }

    result<std::unique_ptr<descriptor>> open(int fd) noexcept override
    {
        try {
            auto opened = std::make_unique<asio_descriptor>(*this);
            if (auto const error = opened->assign(fd))
                return error;
            return std::unique_ptr<descriptor>(std::move(opened));
        } catch (std::bad_alloc const&) {
            return std::make_error_code(std::errc::not_enough_memory);
        }
    }

    void wait(std::chrono::nanoseconds limit) override
    {
        operation_list again;
        again.append(no_memory_);
        while (operation* op = again.pop())
            static_cast<asio_descriptor*>(op->io_)->wait(*op); // again, and in the list again where that fails
        if (!waking_)
            arm_wake();
        if (!waking_ || !no_memory_.empty())
            limit = at_most(memory_delay, limit);
        if (!due_.empty())
            limit = std::chrono::nanoseconds{0};

        context_.restart();
        if (limit.count() < 0)
            context_.run_one();
        else if (limit.count() > 0)
            context_.run_one_for(limit);
        // Not poll(): sockets that are always ready would keep it, and the loop's coroutines from their turn.
        for (int i = 0; i < handlers_per_turn && context_.poll_one() > 0; ++i) {
        }
        complete_due();
    }

    asio::io_context& context() noexcept { return context_; }
    block_pool& blocks() noexcept { return blocks_; }

    /// Operations that complete without a wait, with the result in argument_size_; and waits for which there was no
    /// memory.
    operation_list& due() noexcept { return due_; }
    operation_list& no_memory() noexcept { return no_memory_; }

private:
    static constexpr int handlers_per_turn = 64; // what they receive and send meanwhile stays in the caches

    void arm_wake() noexcept
    {
        try {
            waker_.async_wait(asio::posix::stream_descriptor::wait_read, [this](asio::error_code const& ec) {
                waking_ = false;
                if (ec)
                    return;
                std::uint64_t count = 0;
                [[maybe_unused]] auto got = ::read(wake_fd_, &count, sizeof count);
                arm_wake();
            });
            waking_ = true;
        } catch (std::bad_alloc const&) { // the next wait tries again
        }
    }

    void complete_due() noexcept
    {
        operation_list now;
        now.append(due_); // what is due from here on has its turn in the next wait
        while (operation* op = now.pop()) {
            int const result = op->canceling_ ? -ECANCELED : static_cast<int>(op->argument_size_);
            static_cast<asio_descriptor*>(op->io_)->finish(*op, result);
        }
    }

    block_pool& blocks_;
    asio::io_context context_{ASIO_CONCURRENCY_HINT_UNSAFE}; // one thread, which wake() does not enter: no locks
    asio::posix::stream_descriptor waker_;
    operation_list due_;
    operation_list no_memory_;
    bool waking_ = false;
};

asio_descriptor::asio_descriptor(asio_engine& e) : descriptor(-1), engine_(e), waiter_(e.context()) {}

std::error_code asio_descriptor::assign(int fd)
{
    asio::error_code refused;
    waiter_.assign(fd, refused);
    if (refused)
        return {refused.value(), std::system_category()};
    fd_ = fd;
    return {};
}

void asio_descriptor::receive_some(operation& op) noexcept
{
    for (int i = 0; i < 4; ++i) { // then let others have their turn
        block* b = engine_.blocks().take();
        if (!b)
            return op.complete({-ENOMEM, true});
        auto const n = ::recv(fd_, b->data(), b->capacity, 0);
        if (n <= 0) {
            int const error = errno;
            wring::engine::release(b);
            if (n == 0)
                return op.complete({0, true});
            if (error == EAGAIN || error == EINTR)
                break;
            return op.complete({-error, true});
        }
        b->end = b->begin + n;
        bool const full = static_cast<std::size_t>(n) == b->capacity;
        op.complete({static_cast<int>(n), false, b});
        if (op.canceling_)
            return; // its completion has been queued
        if (!full)
            break;
    }
    wait(op);
}

void asio_descriptor::receive_once(operation& op) noexcept
{
    auto const n = ::recv(fd_, op.block_argument()->end, op.argument_size_, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return wait(op);
    finish(op, static_cast<int>(n < 0 ? -errno : n));
}

void asio_descriptor::finish(operation& op, int result) noexcept
{
    block* b = op.kind_ == operation::kind::receive_into ? op.block_argument() : nullptr;
    if (b && result > 0)
        b->begin = std::exchange(b->end, b->end + result);
    else if (b)
        wring::engine::release(std::exchange(b, nullptr));
    op.complete({result, true, b});
}

void asio_descriptor::wait(operation& op) noexcept
{
    bool const write = op.kind_ == operation::kind::send || op.kind_ == operation::kind::connect ||
                       (op.kind_ == operation::kind::poll && (op.argument_size_ & POLLOUT));
    try {
        waiter_.async_wait(write ? waiter::wait_write : waiter::wait_read, ready{this, &op});
        op.awaited_ = true;
    } catch (std::bad_alloc const&) {
        engine_.no_memory().push(op);
    }
}

void asio_descriptor::complete_soon(operation& op, int result) noexcept
{
    op.argument_size_ = static_cast<std::uint32_t>(result);
    engine_.due().push(op);
}

void asio_descriptor::cancel(operation& op) noexcept
{
    if (!op.in_flight() || op.canceling_)
        return;
    op.canceling_ = true;
    if (op.awaited_) {
        waiter_.cancel();
        return;
    }
    operation_list::remove(op); // it may be without memory, or due, or this is its own handler
    complete_soon(op, -ECANCELED);
}

} // namespace

std::unique_ptr<engine> make_asio_engine(block_pool& blocks)
{
    return std::make_unique<asio_engine>(blocks);
}

} // namespace wring::engine
