// SPDX-License-Identifier: BSL-1.0
// task<T>: the coroutine type of wring, and what every coroutine and operation shares: the loop's
// scheduling slot, and the stop state through which a cancel travels.
#pragma once

#include <wring/result.hpp>

#include <concepts>
#include <coroutine>
#include <cstddef>
#include <exception>
#include <type_traits>
#include <utility>

namespace wring {

template <class T = void>
class task;

namespace detail {

/// An entry of a loop's ready queue. Embedded in operations; queued at most once at a time.
struct ready_node
{
    ready_node* next_ready = nullptr;
    void (*run)(ready_node&) = nullptr;
};

/// A FIFO of entries that are in one at most; their member `Next` links them.
template <class Node, Node* Node::*Next>
class node_queue
{
public:
    [[nodiscard]] bool empty() const noexcept { return !head_; }
    void push(Node& node) noexcept
    {
        node.*Next = nullptr;
        (tail_ ? tail_->*Next : head_) = &node;
        tail_ = &node;
    }
    /// The queue must not be empty.
    Node& pop() noexcept
    {
        Node& node = *head_;
        head_ = node.*Next;
        if (!head_)
            tail_ = nullptr;
        return node;
    }
    /// Appends all of `other`, which is empty then.
    void append(node_queue& other) noexcept
    {
        if (other.empty())
            return;
        (tail_ ? tail_->*Next : head_) = std::exchange(other.head_, nullptr);
        tail_ = std::exchange(other.tail_, nullptr);
    }

private:
    Node* head_ = nullptr;
    Node* tail_ = nullptr;
};

using ready_queue = node_queue<ready_node, &ready_node::next_ready>;

/// The part of a loop that coroutines touch inline.
///
/// Coroutines never resume each other: they leave the one that goes on in `next`, return, and the driver
/// resumes it. So the stack stays flat however deep a chain of tasks is, on every compiler and at every
/// optimisation level (symmetric transfer needs tail calls, which -O0 and the sanitizers do not have), and no
/// coroutine can be destroyed while its own await_suspend still runs.
class scheduler
{
public:
    /// Runs `h` and whatever it hands over to, until nothing is left in `next`.
    void resume(std::coroutine_handle<> h)
    {
        at_once_left_ = at_once_budget;
        while (h) {
            h.resume();
            if (ended) [[unlikely]]
                std::exchange(ended, nullptr).destroy();
            h = std::exchange(next, nullptr);
        }
    }

    void make_ready(ready_node& node) noexcept { ready_.push(node); }

    /// As make_ready, but it runs in the next turn, when I/O, timers and signals have been looked at.
    void make_ready_next_turn(ready_node& node) noexcept { next_turn_.push(node); }

    /// Counts an operation that completes at once. True where so many have in a row that the coroutine must suspend
    /// until the next turn: see suspension::complete_at_once.
    [[nodiscard]] bool yield_due() noexcept
    {
        if (at_once_left_ == 0)
            return true;
        --at_once_left_;
        return false;
    }

    std::coroutine_handle<> next;
    std::coroutine_handle<> ended; ///< at its final suspend, for the driver to destroy: nothing else may

protected:
    ready_queue ready_;
    ready_queue next_turn_;

private:
    static constexpr unsigned at_once_budget = 64;
    unsigned at_once_left_ = at_once_budget;
};

class stop_state;

/// A request to be told when a stop_state is asked to stop. `on_stop` runs on the loop, once, and only
/// schedules: it never resumes a coroutine itself.
struct stop_callback
{
    stop_callback() = default;
    stop_callback(stop_callback const&) = delete;
    stop_callback& operator=(stop_callback const&) = delete;
    ~stop_callback() { unlink(); }

    void unlink() noexcept
    {
        if (!pprev)
            return;
        *pprev = next;
        if (next)
            next->pprev = pprev;
        pprev = nullptr;
        next = nullptr;
    }

    stop_callback* next = nullptr;
    stop_callback** pprev = nullptr;
    void (*on_stop)(stop_callback&) noexcept = nullptr;
};

/// A stop request and those who wait for it. Lives on one loop: plain words, no atomics. A child state
/// (a scope's, a timeout's) is linked into its parent's list, so a request travels down the tree.
class stop_state
{
public:
    stop_state() = default;
    stop_state(stop_state const&) = delete;
    stop_state& operator=(stop_state const&) = delete;
    ~stop_state()
    {
        while (first_)
            first_->unlink();
    }

    [[nodiscard]] bool requested() const noexcept { return requested_; }

    void request() noexcept
    {
        requested_ = true;
        while (stop_callback* callback = first_) {
            callback->unlink();
            callback->on_stop(*callback);
        }
    }

    /// Links `callback`, or calls it at once where the request is already there.
    void add(stop_callback& callback) noexcept
    {
        if (requested_)
            return callback.on_stop(callback);
        callback.next = first_;
        callback.pprev = &first_;
        if (first_)
            first_->pprev = &callback.next;
        first_ = &callback;
    }

    /// Asks this state to stop when `parent` is.
    void follow(stop_state& parent) noexcept
    {
        link_.owner = this;
        link_.on_stop = [](stop_callback& c) noexcept { static_cast<parent_link&>(c).owner->request(); };
        parent.add(link_);
    }
    void unfollow() noexcept { link_.unlink(); }

private:
    struct parent_link : stop_callback
    {
        stop_state* owner = nullptr;
    };

    stop_callback* first_ = nullptr;
    parent_link link_;
    bool requested_ = false;
};

/// Where a coroutine runs and what can cancel it. Handed from awaiting coroutine to awaited.
struct context
{
    scheduler* loop = nullptr;
    stop_state* stop = nullptr;
};

/// Memory of coroutine frames and other small short-lived blocks: a free list per thread and size class, so that
/// steady state takes nothing from the heap. A block may be freed on another thread than the one that took it.
void* frame_allocate(std::size_t size);
void frame_deallocate(void* block, std::size_t size) noexcept;

/// Resumes `h` from the loop's ready queue.
void start_soon(scheduler& loop, std::coroutine_handle<> h);

[[noreturn]] void fatal(char const* what) noexcept;

class promise_base;

/// Told when a coroutine that nobody awaits (a scope's child, a part of when_all) has ended.
struct completion_observer
{
    virtual void child_done(promise_base& child) noexcept = 0;

protected:
    ~completion_observer() = default;
};

class promise_base
{
public:
    std::suspend_always initial_suspend() const noexcept { return {}; }

    auto final_suspend() const noexcept
    {
        struct final_awaiter
        {
            bool await_ready() const noexcept { return false; }
            void await_suspend(std::coroutine_handle<>) const noexcept
            {
                if (promise.continuation)
                    promise.env.loop->next = promise.continuation;
                else if (promise.observer)
                    promise.observer->child_done(promise);
            }
            void await_resume() const noexcept {}
            promise_base& promise;
        };
        return final_awaiter{const_cast<promise_base&>(*this)};
    }

    void unhandled_exception() noexcept { exception = std::current_exception(); }

    static void* operator new(std::size_t size) { return frame_allocate(size); }
    static void operator delete(void* block, std::size_t size) noexcept { frame_deallocate(block, size); }

    context env;
    std::coroutine_handle<> continuation;
    completion_observer* observer = nullptr;
    std::exception_ptr exception;
};

template <class T>
class promise final : public promise_base
{
public:
    task<T> get_return_object() noexcept;
    template <class U = T>
    void return_value(U&& value)
    {
        value_.emplace(std::forward<U>(value));
    }
    T take()
    {
        if (exception)
            std::rethrow_exception(std::exchange(exception, nullptr));
        return std::move(*value_);
    }

private:
    std::optional<T> value_;
};

template <>
class promise<void> final : public promise_base
{
public:
    task<void> get_return_object() noexcept;
    void return_void() const noexcept {}
    void take()
    {
        if (exception)
            std::rethrow_exception(std::exchange(exception, nullptr));
    }
};

template <class P>
concept coroutine_promise = std::derived_from<P, promise_base>;

} // namespace detail

/// A coroutine that starts when it is awaited (or spawned in a scope) and gives one T.
///
/// Single owner, movable. It runs on the loop of whoever awaits it, and inherits the cancellation of the
/// awaiting coroutine. An exception that leaves it is rethrown at the co_await. Destroying a task that was never
/// started frees it; destroying one that is suspended inside an operation of wring is a bug and aborts.
template <class T>
class [[nodiscard]] task
{
public:
    using promise_type = detail::promise<T>;
    using value_type = T;

    task() noexcept = default;
    task(task&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
    task& operator=(task&& other) noexcept
    {
        task old(std::move(other));
        std::swap(handle_, old.handle_);
        return *this;
    }
    ~task()
    {
        if (handle_)
            handle_.destroy();
    }

    explicit operator bool() const noexcept { return static_cast<bool>(handle_); }

    /// Starts the task and completes when it has ended. Awaited at most once.
    auto operator co_await() && noexcept { return awaiter{handle_}; }
    auto operator co_await() & noexcept { return awaiter{handle_}; }

    /// For wring itself: hands the coroutine over.
    std::coroutine_handle<promise_type> release() noexcept { return std::exchange(handle_, nullptr); }

private:
    friend promise_type;
    explicit task(std::coroutine_handle<promise_type> handle) noexcept : handle_(handle) {}

    struct awaiter
    {
        bool await_ready() const noexcept { return false; }
        template <detail::coroutine_promise P>
        void await_suspend(std::coroutine_handle<P> parent) const noexcept
        {
            auto& promise = child.promise();
            promise.env = parent.promise().env;
            promise.continuation = parent;
            promise.env.loop->next = child;
        }
        T await_resume() const { return child.promise().take(); }

        std::coroutine_handle<promise_type> child;
    };

    std::coroutine_handle<promise_type> handle_;
};

template <class T>
task<T> detail::promise<T>::get_return_object() noexcept
{
    return task<T>(std::coroutine_handle<promise>::from_promise(*this));
}

inline task<void> detail::promise<void>::get_return_object() noexcept
{
    return task<void>(std::coroutine_handle<promise>::from_promise(*this));
}

namespace detail {

/// The suspended half of an operation: who waits, and what a cancel does. Operations derive from it (or hold
/// one) and call wake() exactly once. Lives in the awaiting coroutine's frame.
class suspension : public ready_node, private stop_callback
{
public:
    suspension() = default;
    suspension([[maybe_unused]] suspension&& other) noexcept : ready_node(), stop_callback()
    {
        assert(!other.handle_ && "an operation moves only before it is awaited");
    }
    ~suspension()
    {
        if (handle_)
            fatal("wring: a coroutine was destroyed while it waits for an operation; children must end before "
                  "their parents (see scope)");
    }

    /// Suspends `h`. `on_cancel(suspension&)`, of an object without state, runs when a stop is requested (at once where
    /// it has been): it must lead to wake(), now or later. Null: a cancel has no effect.
    template <coroutine_promise P, class OnCancel>
    void suspend(std::coroutine_handle<P> h, OnCancel on_cancel) noexcept
    {
        suspend(h, h.promise().env, on_cancel);
    }
    template <class OnCancel>
        requires(std::is_empty_v<OnCancel>)
    void suspend(std::coroutine_handle<> h, context const& env, OnCancel) noexcept
    {
        suspend(h, env, nullptr);
        on_stop = [](stop_callback& callback) noexcept { OnCancel()(static_cast<suspension&>(callback)); };
        if (env.stop)
            env.stop->add(*this);
    }
    void suspend(std::coroutine_handle<> h, context const& env, std::nullptr_t) noexcept
    {
        handle_ = h;
        loop_ = env.loop;
        run = [](ready_node& node) {
            auto& self = static_cast<suspension&>(node);
            self.loop_->resume(std::exchange(self.handle_, nullptr));
        };
    }

    /// Makes the coroutine ready; it runs in this turn of the loop or the next, never inside this call.
    void wake() noexcept
    {
        unlink();
        loop_->make_ready(*this);
    }

    /// What await_suspend gives for an operation that has completed without waiting: false, and `h` goes on; or true,
    /// and it goes on in the next turn of the loop, where too many have completed so in a row. Otherwise a peer that is
    /// always ready would keep the loop for itself. A cancel has no effect any more.
    [[nodiscard]] bool complete_at_once(std::coroutine_handle<> h, context const& env) noexcept
    {
        if (!env.loop->yield_due())
            return false;
        suspend(h, env, nullptr);
        loop_->make_ready_next_turn(*this);
        return true;
    }

    /// Resumes the coroutine: for an operation that has a run() of its own in place of wake().
    void resume()
    {
        unlink();
        loop_->resume(std::exchange(handle_, nullptr));
    }

    [[nodiscard]] bool waiting() const noexcept { return static_cast<bool>(handle_); }
    [[nodiscard]] scheduler& loop() const noexcept { return *loop_; }

private:
    std::coroutine_handle<> handle_; ///< while it waits
    scheduler* loop_ = nullptr;
};

/// Gives the context of the awaiting coroutine, without suspending it.
struct get_context
{
    bool await_ready() const noexcept { return false; }
    template <coroutine_promise P>
    bool await_suspend(std::coroutine_handle<P> h) noexcept
    {
        env = &h.promise().env;
        return false;
    }
    context& await_resume() const noexcept { return *env; }
    context* env = nullptr;
};

/// For coroutines that make system calls themselves: awaited before each, it counts as an operation that completes at
/// once. A cancel does not end it.
struct [[nodiscard]] at_once : suspension
{
    at_once() = default;
    bool await_ready() const noexcept { return false; }
    template <coroutine_promise P>
    bool await_suspend(std::coroutine_handle<P> h) noexcept
    {
        return complete_at_once(h, h.promise().env);
    }
    void await_resume() const noexcept {}
};

} // namespace detail

/// Whether the running coroutine has been asked to stop: `if (co_await stop_requested()) ...`, for loops that
/// compute between operations.
struct [[nodiscard]] stop_requested : detail::get_context
{
    bool await_resume() const noexcept { return env->stop && env->stop->requested(); }
};

} // namespace wring
