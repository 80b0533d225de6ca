// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "net/transport.hpp"

namespace wring::detail {

/// The inside of a stream: the operations that wait on a transport.
class stream_core final : transport_user
{
public:
    explicit stream_core(transport_ptr t) noexcept : transport_(std::move(t)) { transport_->set_user(this); }
    ~stream_core();
    stream_core(stream_core const&) = delete;
    stream_core& operator=(stream_core const&) = delete;

    [[nodiscard]] transport* get() const noexcept { return transport_.get(); }
    [[nodiscard]] transport_ptr take() noexcept;

    bool start(stream::read_operation& op, std::coroutine_handle<> h, context const& env) noexcept;
    void cancel(stream::read_operation& op) noexcept;
    bool start(stream::write_operation& op, std::coroutine_handle<> h, context const& env) noexcept;
    void cancel(stream::write_operation& op) noexcept;
    void shutdown() noexcept;
    void abort() noexcept;
    /// For release(): the transport has given its descriptor up.
    void close() noexcept;

    /// Waits until nothing is in flight, for release().
    struct [[nodiscard]] quiet_operation : suspension
    {
        explicit quiet_operation(stream_core& c) noexcept : core(c) {}
        bool await_ready() const noexcept { return core.transport_->quiet(); }
        template <coroutine_promise P>
        void await_suspend(std::coroutine_handle<P> h) noexcept
        {
            core.quiet_ = this;
            suspend(h, nullptr);
        }
        void await_resume() const noexcept {}
        stream_core& core;
    };

    [[nodiscard]] bool idle() const noexcept { return !reader_ && !writer_head_ && !quiet_; }

private:
    static constexpr std::size_t read_ahead = 64 * 1024; // bytes that nobody reads before receiving pauses

    void on_readable() noexcept override;
    void on_sent(ssize_t result) noexcept override;

    bool try_read(stream::read_operation& op) noexcept;
    [[nodiscard]] static iovec rest_of(stream::write_operation const& op) noexcept;
    [[nodiscard]] int try_write(stream::write_operation& op) noexcept;
    void write_some() noexcept;
    void pop_writer(std::error_code error) noexcept;
    void fail_writers(std::error_code error) noexcept;

    transport_ptr transport_;
    stream::read_operation* reader_ = nullptr;
    stream::write_operation* writer_head_ = nullptr;
    stream::write_operation* writer_tail_ = nullptr;
    quiet_operation* quiet_ = nullptr;
    std::error_code write_error_;
    bool sending_ = false;
    bool canceling_ = false; // the first writer's send
    bool shutdown_ = false;
};

} // namespace wring::detail
