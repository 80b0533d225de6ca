// SPDX-License-Identifier: BSL-1.0
// One-shot engine operations as awaitables.
#pragma once

#include "engine/loop_core.hpp"

#include <wring/endpoint.hpp>

#include <cerrno>
#include <poll.h>

namespace wring::detail {

/// Completes with the engine's result (or -errno). A cancel is passed to the engine and its completion awaited.
class [[nodiscard]] io_operation : suspension, engine::operation
{
public:
    static io_operation connect(engine::descriptor& d, endpoint const& to) noexcept
    {
        return {d, [](io_operation& op) noexcept {
                    auto const& e = *static_cast<endpoint const*>(op.what_);
                    op.target_.connect(op, static_cast<sockaddr const*>(e.data()), static_cast<socklen_t>(e.size()));
                }, &to};
    }
    static io_operation poll_in(engine::descriptor& d) noexcept
    {
        return {d, [](io_operation& op) noexcept { op.target_.poll(op, POLLIN); }, nullptr};
    }
    static io_operation poll_out(engine::descriptor& d) noexcept
    {
        return {d, [](io_operation& op) noexcept { op.target_.poll(op, POLLOUT); }, nullptr};
    }

    bool await_ready() const noexcept { return false; }
    template <coroutine_promise P>
    bool await_suspend(std::coroutine_handle<P> h) noexcept
    {
        auto const& env = h.promise().env;
        if (env.stop && env.stop->requested()) {
            result_ = -ECANCELED;
            return false;
        }
        start_(*this);
        suspend(h, env, [](suspension& s) noexcept {
            auto& self = static_cast<io_operation&>(s);
            self.target_.cancel(self);
        });
        return true;
    }
    int await_resume() const noexcept { return result_; }

private:
    using starter = void (*)(io_operation&) noexcept;
    io_operation(engine::descriptor& d, starter start, void const* what) noexcept :
        operation([](operation& op, engine::completion const& c) noexcept {
            auto& self = static_cast<io_operation&>(op);
            self.result_ = c.result;
            self.wake();
        }),
        target_(d), start_(start), what_(what)
    {}

    engine::descriptor& target_;
    starter start_;
    void const* what_;
    int result_ = 0;
};

/// The error of such a result.
[[nodiscard]] inline std::error_code io_error(int result) noexcept
{
    if (result == -ECANCELED)
        return errc::canceled;
    return {-result, std::system_category()};
}

} // namespace wring::detail
