// SPDX-License-Identifier: BSL-1.0
// Time, and the combinators: sleep_for, timeout, when_all, when_any, with_stop_token.
#pragma once

#include <wring/loop.hpp>

#include <stop_token>
#include <tuple>
#include <variant>

namespace wring {

namespace detail {

/// A node of the loop's timer wheel.
struct timer_node
{
    timer_node() = default;
    timer_node([[maybe_unused]] timer_node&& other) noexcept { assert(!other.armed()); }
    ~timer_node() { assert(!armed()); }

    timer_node* next = nullptr;
    timer_node** pprev = nullptr; ///< null where not armed
    std::int64_t tick = 0;        ///< milliseconds of the loop's clock
    void (*fire)(timer_node&) noexcept = nullptr;

    [[nodiscard]] bool armed() const noexcept { return pprev != nullptr; }
};

/// Arms `node` on the loop of the calling thread: fire() runs on the loop, not before `when`.
void arm_timer(timer_node& node, clock::time_point when) noexcept;
void disarm_timer(timer_node& node) noexcept;

class sleep_operation : timer_node, suspension
{
public:
    explicit sleep_operation(clock::time_point when) noexcept : when_(when) {}
    bool await_ready() const noexcept { return false; }
    template <coroutine_promise P>
    void await_suspend(std::coroutine_handle<P> h) noexcept
    {
        fire = [](timer_node& node) noexcept { static_cast<sleep_operation&>(node).wake(); };
        arm_timer(*this, when_);
        suspend(h, [](suspension& self) noexcept { static_cast<sleep_operation&>(self).cancel(); });
    }
    result<> await_resume() const noexcept { return canceled_ ? result<>(errc::canceled) : result<>(); }

private:
    void cancel() noexcept
    {
        if (!armed())
            return; // it has fired
        disarm_timer(*this);
        canceled_ = true;
        wake();
    }
    clock::time_point when_;
    bool canceled_ = false;
};

[[nodiscard]] clock::time_point deadline_after(duration d) noexcept;

} // namespace detail

/// Completes at `when`, or a little later (the loop's clock ticks in milliseconds), never before it.
/// A cancel completes it with errc::canceled.
[[nodiscard]] inline detail::sleep_operation sleep_until(clock::time_point when) noexcept
{
    return detail::sleep_operation(when);
}
[[nodiscard]] inline detail::sleep_operation sleep_for(duration d) noexcept
{
    return detail::sleep_operation(detail::deadline_after(d));
}

namespace detail {

/// The awaiter of any awaitable, as co_await finds it.
template <class A>
decltype(auto) get_awaiter(A&& a)
{
    if constexpr (requires { static_cast<A&&>(a).operator co_await(); })
        return static_cast<A&&>(a).operator co_await();
    else
        return static_cast<A&&>(a);
}
template <class A>
using await_result = std::remove_cvref_t<decltype(get_awaiter(std::declval<A>()).await_resume())>;

template <class T>
struct as_result
{
    using type = result<T>;
};
template <class T>
struct as_result<result<T>>
{
    using type = result<T>;
};

/// Ends the awaited operation by a stop request when time is up.
class deadline : timer_node
{
public:
    deadline(stop_state& stop, clock::time_point when) noexcept : stop_(stop)
    {
        fire = [](timer_node& node) noexcept {
            auto& self = static_cast<deadline&>(node);
            self.expired_ = !self.stop_.requested(); // a cancel from outside that came before stays one
            self.stop_.request();
        };
        arm_timer(*this, when);
    }
    ~deadline() { disarm_timer(*this); }
    [[nodiscard]] bool expired() const noexcept { return expired_; }

private:
    stop_state& stop_;
    bool expired_ = false;
};

/// Replaces the stop state of the running coroutine by one of its own, a child of the former.
class own_stop
{
public:
    explicit own_stop(context& env) noexcept : env_(env), outer_(env.stop)
    {
        if (outer_)
            stop.follow(*outer_);
        env_.stop = &stop;
    }
    own_stop(own_stop const&) = delete;
    own_stop& operator=(own_stop const&) = delete;
    ~own_stop() { env_.stop = outer_; }

    stop_state stop;

private:
    context& env_;
    stop_state* outer_;
};

} // namespace detail

/// Awaits `op` for `d` at most. When time is up `op` is canceled and its own completion awaited: where it has
/// still succeeded its value is given, else errc::timed_out. Where `op` is cancel-safe nothing is lost. One that does
/// not hear of a cancel (offload, a task that goes on) is awaited to its end, however late. Time runs from the await
/// on, in milliseconds rounded up; with 0 or less `op` is canceled in the next turn of the loop, and what completes at
/// once still gives its value. `op` is moved in; what it refers to must live until the await returns. For an `op` that
/// gives a plain T the result is a result<T>; a void one gives errc::timed_out where time was up when it ended. A
/// cancel from outside cancels `op`. An exception of `op` is rethrown.
template <class A>
auto timeout(duration d, A op) -> task<typename detail::as_result<detail::await_result<A&&>>::type>
{
    using value = detail::await_result<A&&>;
    detail::own_stop own(co_await detail::get_context());
    detail::deadline deadline(own.stop, detail::deadline_after(d));
    if constexpr (detail::is_result<value>) {
        value r = co_await std::move(op);
        if (!r && deadline.expired() && r.error() == errc::canceled)
            co_return errc::timed_out;
        co_return r;
    } else if constexpr (std::is_void_v<value>) {
        co_await std::move(op);
        co_return deadline.expired() ? result<>(errc::timed_out) : result<>();
    } else {
        value r = co_await std::move(op);
        co_return r;
    }
}

/// Awaits `op`, which a stop request on `token`, from any thread, cancels: the bridge from std::stop_token. It must not
/// come after the loop has ended.
template <class A>
auto with_stop_token(std::stop_token token, A op) -> task<detail::await_result<A&&>>
{
    // The request is posted to the loop and may come after `op` has ended, so it holds the stop state by a
    // shared pointer to a slot that is emptied on the way out.
    detail::own_stop own(co_await detail::get_context());
    auto slot = std::make_shared<detail::stop_state*>(&own.stop);
    struct empty_slot
    {
        ~empty_slot() { *slot = nullptr; }
        std::shared_ptr<detail::stop_state*> const& slot;
    } guard{slot};
    loop& here = this_loop();
    auto request = detail::make_posted([slot] { // now, as a request for which there is no memory would be lost
        if (*slot)
            (*slot)->request();
    });
    auto forward = [&request, &here] { detail::post_call(here, std::move(request)); };
    std::stop_callback<decltype(forward)> bridge(std::move(token), std::move(forward));
    co_return co_await std::move(op);
}

namespace detail {

template <class T>
using value_or_monostate = std::conditional_t<std::is_void_v<T>, std::monostate, T>;

/// One awaitable as a task of its own.
template <class A>
task<value_or_monostate<await_result<A&&>>> as_task(A op)
{
    if constexpr (std::is_void_v<await_result<A&&>>) {
        co_await std::move(op);
        co_return std::monostate{};
    } else {
        auto value = co_await std::move(op);
        co_return value;
    }
}

/// Owns a coroutine that runs in a group, and starts it. Moves only before that.
template <class T>
struct member : ready_node
{
    explicit member(task<T> t) noexcept : handle(t.release())
    {
        run = [](ready_node& node) {
            auto const child = static_cast<member&>(node).handle;
            child.promise().env.loop->resume(child);
        };
    }
    member(member&& other) noexcept : ready_node(other), handle(std::exchange(other.handle, nullptr)) {}
    member& operator=(member&&) = delete;
    ~member()
    {
        if (handle)
            handle.destroy();
    }
    std::coroutine_handle<promise<T>> handle;
};

/// Runs coroutines side by side inside one co_await: what when_all and when_any share.
class group final : completion_observer
{
public:
    explicit group(stop_state& stop, bool first_ends_all) noexcept : stop_(stop), first_ends_all_(first_ends_all) {}

    template <class T>
    void start(member<T>& child, context const& env) noexcept
    {
        child.handle.promise().env = env;
        child.handle.promise().observer = this;
        ++running_;
        env.loop->make_ready(child);
    }

    struct [[nodiscard]] wait_operation : suspension
    {
        explicit wait_operation(group& g) noexcept : owner(g) {}
        bool await_ready() const noexcept { return owner.running_ == 0; }
        template <coroutine_promise P>
        void await_suspend(std::coroutine_handle<P> h) noexcept
        {
            owner.waiting_ = this;
            suspend(h, nullptr); // the children hear of a cancel themselves, and end
        }
        void await_resume() const noexcept {}
        group& owner;
    };
    wait_operation wait() noexcept { return wait_operation(*this); }

    [[nodiscard]] promise_base const* first() const noexcept { return first_; }
    /// The exception that came first: later ones may be what its cancel led to.
    [[nodiscard]] std::exception_ptr const& failure() const noexcept { return failure_; }

private:
    void child_done(promise_base& child) noexcept override
    {
        if (!first_)
            first_ = &child;
        if (!failure_)
            failure_ = child.exception;
        if (first_ends_all_ || child.exception)
            stop_.request();
        if (--running_ == 0 && waiting_)
            waiting_->wake();
    }

    stop_state& stop_;
    bool first_ends_all_;
    std::size_t running_ = 0;
    promise_base* first_ = nullptr;
    std::exception_ptr failure_;
    wait_operation* waiting_ = nullptr;
};

template <std::size_t... I, class... T>
task<std::tuple<T...>> when_all_tasks(std::index_sequence<I...>, task<T>... tasks)
{
    context& env = co_await get_context();
    own_stop own(env);
    std::tuple<member<T>...> members{member<T>(std::move(tasks))...};
    group children(own.stop, false);
    (children.start(std::get<I>(members), env), ...);
    co_await children.wait();
    if (children.failure())
        std::rethrow_exception(children.failure());
    co_return std::tuple<T...>(std::get<I>(members).handle.promise().take()...);
}

template <std::size_t... I, class... T>
task<std::variant<T...>> when_any_tasks(std::index_sequence<I...>, task<T>... tasks)
{
    context& env = co_await get_context();
    own_stop own(env);
    std::tuple<member<T>...> members{member<T>(std::move(tasks))...};
    group children(own.stop, true);
    (children.start(std::get<I>(members), env), ...);
    co_await children.wait();
    std::optional<std::variant<T...>> winner;
    auto pick = [&](auto index, auto& m) {
        if (&m.handle.promise() == children.first())
            winner.emplace(std::in_place_index<decltype(index)::value>, m.handle.promise().take());
    };
    (pick(std::integral_constant<std::size_t, I>{}, std::get<I>(members)), ...);
    co_return std::move(*winner);
}

} // namespace detail

/// Awaits all of `ops` concurrently; gives a tuple of their results (std::monostate for void). An exception in one
/// cancels the others; when all have ended it is rethrown. A cancel cancels all.
template <class... A>
auto when_all(A... ops)
{
    return detail::when_all_tasks(std::index_sequence_for<A...>{}, detail::as_task(std::move(ops))...);
}

/// Awaits `ops` concurrently until the first has ended; the others are canceled and awaited. Gives a
/// variant whose index says which was first (or rethrows its exception). What a loser still gave is dropped: race
/// operations that are cancel-safe. A loser's exception is dropped too. A cancel cancels all.
template <class... A>
    requires(sizeof...(A) > 0)
auto when_any(A... ops)
{
    return detail::when_any_tasks(std::index_sequence_for<A...>{}, detail::as_task(std::move(ops))...);
}

} // namespace wring
