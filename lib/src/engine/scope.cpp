// SPDX-License-Identifier: BSL-1.0
#include "engine/loop_core.hpp"

#include <wring/scope.hpp>

#include <cstdio>
#include <cstdlib>

namespace wring {

namespace detail {

void fatal(char const* what) noexcept
{
    std::fprintf(stderr, "%s\n", what);
    std::abort();
}

namespace {
struct starter final : ready_node
{
    starter(scheduler& s, std::coroutine_handle<> h) noexcept : loop(s), handle(h)
    {
        run = [](ready_node& node) {
            auto& self = static_cast<starter&>(node);
            starter const copy = self;
            frame_deallocate(&self, sizeof(starter));
            copy.loop.resume(copy.handle);
        };
    }
    scheduler& loop;
    std::coroutine_handle<> handle;
};
} // namespace

void start_soon(scheduler& loop, std::coroutine_handle<> h)
{
    loop.make_ready(*new (frame_allocate(sizeof(starter))) starter(loop, h));
}

} // namespace detail

scope::~scope()
{
    if (running_ == 0)
        return;
    std::fprintf(stderr,
                 "wring: a scope with %zu running %s was destroyed; co_await its join() first, or use with_scope\n",
                 running_, running_ == 1 ? "child" : "children");
    std::abort();
}

void scope::spawn(task<> child)
{
    auto& loop = detail::loop_core::require();
    detail::start_soon(loop, child.operator co_await().child); // may throw; the task still owns the coroutine
    auto handle = child.release();
    auto& promise = handle.promise();
    promise.env = {&loop, &stop_};
    promise.observer = this;
    ++running_;
}

void scope::child_done(detail::promise_base& child) noexcept
{
    if (child.exception) {
        if (!exception_)
            exception_ = child.exception;
        request_stop();
    }
    child.env.loop->ended =
        std::coroutine_handle<detail::promise<void>>::from_promise(static_cast<detail::promise<void>&>(child));
    if (--running_ == 0 && joining_)
        joining_->children_ended();
}

void scope::join_operation::children_ended() noexcept
{
    if (!std::exchange(ready_, true))
        loop().make_ready(*this);
}

void scope::join_operation::go_on()
{
    ready_ = false;
    if (owner_.running_ > 0)
        return; // somebody has spawned meanwhile
    owner_.joining_ = nullptr;
    resume();
}

void scope::join_operation::await_resume() const
{
    if (owner_.exception_)
        std::rethrow_exception(std::exchange(owner_.exception_, nullptr));
}

} // namespace wring
