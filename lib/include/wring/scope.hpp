// SPDX-License-Identifier: BSL-1.0
// scope: the only way to run coroutines side by side. Children end before their parents.
#pragma once

#include <wring/task.hpp>

namespace wring {

/// A set of running child coroutines.
///
/// - `spawn` starts a child in this turn of the loop or the next; the children run concurrently with the caller.
/// - `join` completes when every child has ended, and rethrows the first exception that left one.
/// - An exception that leaves a child requests stop on its siblings.
/// - Stop: every pending operation of every child resumes with errc::canceled; a child spawned later starts
///   with the request already made.
/// - Destroying a scope that still has children is a bug and aborts with a message that names how many.
///
/// What a child refers to must outlive the scope. A child takes what it needs as arguments: a lambda with
/// captures is not a task, its captures die with the lambda.
class scope final : detail::completion_observer
{
public:
    scope() = default;
    scope(scope const&) = delete;
    scope& operator=(scope const&) = delete;
    ~scope();

    /// Starts `child`. Call on the thread of the loop.
    void spawn(task<> child);

    /// Asks every child to stop. Returns at once; `join` waits for them.
    void request_stop() noexcept { stop_.request(); }
    [[nodiscard]] bool stop_requested() const noexcept { return stop_.requested(); }

    /// The number of children that have not ended.
    [[nodiscard]] std::size_t size() const noexcept { return running_; }

    class [[nodiscard]] join_operation : detail::suspension
    {
    public:
        explicit join_operation(scope& owner) noexcept : owner_(owner) {}
        bool await_ready() const noexcept { return owner_.running_ == 0; }
        template <detail::coroutine_promise P>
        void await_suspend(std::coroutine_handle<P> h)
        {
            if (owner_.joining_)
                detail::fatal("wring: two coroutines join one scope");
            owner_.joining_ = this;
            suspend(h, [](detail::suspension& self) noexcept {
                static_cast<join_operation&>(self).owner_.request_stop(); // and goes on waiting for the children
            });
            run = [](detail::ready_node& node) { static_cast<join_operation&>(node).go_on(); };
        }
        void await_resume() const;

    private:
        friend scope;
        void children_ended() noexcept;
        void go_on();
        scope& owner_;
        bool ready_ = false; ///< in the loop's queue
    };

    /// Completes when there are no children left (at once where there are none; those that are spawned meanwhile are
    /// waited for too), then rethrows the first exception of a child. One coroutine at a time. A cancel requests stop
    /// on the children and goes on waiting.
    join_operation join() noexcept { return join_operation(*this); }

private:
    void child_done(detail::promise_base& child) noexcept override;

    detail::stop_state stop_;
    std::size_t running_ = 0;
    join_operation* joining_ = nullptr;
    std::exception_ptr exception_;

    template <class F, class... A>
    friend task<> with_scope(F body, A... args);
};

/// Runs `body(scope&, args...)` and, however it ends, exceptions included, stops and joins the children: the form
/// that cannot forget. An exception of a child also cancels the body; the first exception is rethrown.
/// `body` must return task<>; a lambda without captures, a function or a function object held by value.
template <class F, class... A>
task<> with_scope(F body, A... args)
{
    scope children;
    detail::context& env = co_await detail::get_context();
    if (env.stop)
        children.stop_.follow(*env.stop);
    auto* outer = std::exchange(env.stop, &children.stop_);
    std::exception_ptr failure;
    try {
        co_await body(children, std::move(args)...);
    } catch (...) {
        // Where a child failed before, this is most likely what its cancel led to.
        failure = children.exception_ ? children.exception_ : std::current_exception();
    }
    children.request_stop();
    env.stop = outer;
    if (!failure) {
        co_await children.join();
        co_return;
    }
    try {
        co_await children.join();
    } catch (...) { // a later one; the first is the one that is reported
    }
    std::rethrow_exception(failure);
}

} // namespace wring
