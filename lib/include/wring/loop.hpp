// SPDX-License-Identifier: BSL-1.0
// The event loop: run() a program on it, post() to it from other threads, offload() blocking work from it.
#pragma once

#include <wring/scope.hpp>

#include <chrono>
#include <cstdint>
#include <memory>
#include <string_view>

namespace wring {

using clock = std::chrono::steady_clock;
using duration = clock::duration;

/// What moves the bytes: wring's own io_uring engine, or Asio on epoll.
enum class engine_kind : std::uint8_t {
    automatic, ///< io_uring where it works (probed once per process), else Asio; WRING_ENGINE=uring|asio overrides
    uring,
    asio,
};
[[nodiscard]] char const* to_string(engine_kind kind) noexcept;
/// "auto", "uring" or "asio"; anything else is an error.
[[nodiscard]] result<engine_kind> parse_engine(std::string_view text) noexcept;

/// run() refuses values outside of what is said here, with a line on standard error and exit status 1.
struct run_options
{
    unsigned threads = 1;                          ///< loops, each on a thread of its own, at most 1024; 0: as processors
    engine_kind engine = engine_kind::automatic;   ///< where automatic, WRING_ENGINE overrides it
    bool pin = false;                              ///< binds loop i to the i-th processor this process may use
    bool handle_signals = true;                    ///< SIGINT and SIGTERM request stop; a second one ends at once
    std::uint32_t receive_buffer_size = 64 * 1024; ///< bytes per buffer lent to the kernel: 64 to 16 MiB
    std::uint32_t receive_buffers = 64;            ///< buffers lent to the kernel per loop at most: 1 to 32768, rounded
                                                   ///< up to a power of 2; 16 at first, more where they do not suffice
    std::uint32_t submission_entries = 512;        ///< io_uring: submission queue, 1 to 32768
    std::uint32_t completion_entries = 4096;       ///< io_uring: completion queue, submission_entries to 65536
    std::chrono::milliseconds drain{10'000};       ///< after the root has ended: longest wait for closing connections
};

static_assert(std::is_trivially_destructible_v<run_options>, "g++ 12 destroys such temporaries twice");

class loop;

namespace detail {
class loop_core;
using task_factory = task<> (*)(void*);
int run(task_factory make, void* argument, run_options const& options);

/// A function object that loop::post carries to the loop's thread.
struct posted_call
{
    virtual ~posted_call() = default;
    virtual void call() = 0;
    posted_call* next = nullptr;
};

template <class F>
std::unique_ptr<posted_call> make_posted(F fn)
{
    struct posted final : posted_call
    {
        explicit posted(F&& f) : fn(std::move(f)) {}
        void call() override { fn(); }
        F fn;
    };
    return std::make_unique<posted>(std::move(fn));
}

void post_call(loop& to, std::unique_ptr<posted_call> call) noexcept;
class loop_mailbox;
} // namespace detail

/// The way to a loop from other threads that may outlive it. Copyable; keeps nothing alive.
class loop_handle
{
public:
    /// As loop::post. False, and `fn` is destroyed unrun, where the loop has ended.
    template <class F>
    bool post(F fn) const
    {
        return post_call(detail::make_posted(std::move(fn)));
    }

private:
    friend class loop;
    explicit loop_handle(std::shared_ptr<detail::loop_mailbox> mailbox) noexcept : mailbox_(std::move(mailbox)) {}
    bool post_call(std::unique_ptr<detail::posted_call> call) const noexcept;
    std::shared_ptr<detail::loop_mailbox> mailbox_;
};

/// One event loop. Its objects (streams, connections, scopes, timers) belong to its thread and never move.
class loop
{
public:
    /// Runs `fn` on the loop's thread, in a later turn; calls from one thread run in their order. May come from any
    /// thread, as only this and loop_handle::post may; the loop must be running: where it may have ended use handle().
    /// What was posted and not yet run when the loop ends is destroyed unrun. An exception that leaves `fn` ends the
    /// process.
    ///
    /// Never waits, so what is posted is not bounded: whoever may post faster than the loop runs has to count.
    template <class F>
    void post(F fn)
    {
        detail::post_call(*this, detail::make_posted(std::move(fn)));
    }
    /// For threads that may outlive the loop.
    [[nodiscard]] loop_handle handle() const noexcept;

    /// The engine that this loop runs on: uring or asio.
    [[nodiscard]] engine_kind engine() const noexcept;
    /// 0 for the first loop of a run(), and so on.
    [[nodiscard]] unsigned index() const noexcept;
    /// The loop's clock, read once a turn.
    [[nodiscard]] clock::time_point now() const noexcept;
    /// Whether run() has been asked to stop.
    [[nodiscard]] bool stopping() const noexcept;
    /// Asks the root task of this loop, and through it everything below, to stop.
    void request_stop() noexcept;

private:
    friend class detail::loop_core;
    friend void detail::post_call(loop& to, std::unique_ptr<detail::posted_call> call) noexcept;
    explicit loop(detail::loop_core& core) noexcept : core_(core) {}
    detail::loop_core& core_;
};

/// The loop of the calling thread. Aborts with a message where the thread runs none.
[[nodiscard]] loop& this_loop() noexcept;

/// Runs `root` on a loop of the calling thread until it has ended and the connections it left closing are closed.
/// SIGINT and SIGTERM request stop; a second one ends the process at once.
/// Listeners, streams, UDP sockets and connections must be gone when the root has ended: those that are still there a
/// second after run_options::drain end the process with a message that counts them.
/// Returns the exit status for main: 0, or 1 after an exception left the root (it is printed) or no engine
/// could be had (the cause is printed).
int run(task<> root, run_options options = {});

/// The same for several loops: each thread calls `factory()` for its root task. One loop that ends leaves the others
/// running; an exception in one stops all. `factory` is shared by the threads.
template <std::invocable F>
int run(F factory, run_options options = {})
{
    return detail::run([](void* f) -> task<> { return (*static_cast<F*>(f))(); }, &factory, options);
}

/// Awaits POSIX signals: `signals hup(SIGHUP); while (co_await hup.next()) reload();`
/// While the object lives its signals do not have their default effect. Signals that come faster than they are
/// awaited are merged, as the system does. Belongs to the loop that it was made on, and must not be destroyed while a
/// coroutine waits for it: that aborts with a message.
class signals
{
public:
    /// Throws std::system_error for what is no signal or can't be awaited (0, SIGKILL), and for the same one twice.
    explicit signals(int signal_number);
    signals(int first, int second);
    signals(signals const&) = delete;
    signals& operator=(signals const&) = delete;
    ~signals();

    class [[nodiscard]] next_operation : detail::suspension
    {
    public:
        explicit next_operation(signals& owner) noexcept : owner_(owner) {}
        bool await_ready() noexcept;
        template <detail::coroutine_promise P>
        void await_suspend(std::coroutine_handle<P> h) noexcept
        {
            if (owner_.waiting_)
                detail::fatal("wring: two coroutines wait for the signals of one object");
            owner_.waiting_ = this;
            suspend(h, [](detail::suspension& self) noexcept { static_cast<next_operation&>(self).cancel(); });
        }
        result<int> await_resume() noexcept;

    private:
        friend signals;
        void cancel() noexcept;
        signals& owner_;
        int number_ = 0;
    };

    /// Completes with the number of a signal that came. One coroutine at a time. A cancel loses no signal.
    next_operation next() noexcept { return next_operation(*this); }

private:
    void claim(std::size_t n);
    void raised() noexcept;
    int take() noexcept;

    friend class detail::loop_core;
    int numbers_[2];
    unsigned seen_[2] = {};
    signals* next_set_ = nullptr;
    next_operation* waiting_ = nullptr;
};

/// The number of threads that offload() and name resolution run on, 4 where nothing is said; takes effect if called
/// before their first use, which starts the threads. They are not there in a process forked after that, where neither
/// must be used: fork first.
void set_offload_threads(unsigned count) noexcept;

namespace detail {
/// A piece of blocking work on the thread pool, and the coroutine that waits for it.
class offload_base : suspension
{
public:
    offload_base() = default;
    offload_base(offload_base&&) = default; ///< before it is awaited, into timeout() and the like
    virtual ~offload_base() = default;

protected:
    void start(std::coroutine_handle<> h, context const& env);
    virtual void work() noexcept = 0; ///< on a pool thread
};

template <class F>
class offload_operation final : offload_base
{
    using value = std::invoke_result_t<F&>;

public:
    explicit offload_operation(F&& fn) : fn_(std::move(fn)) {}
    bool await_ready() const noexcept { return false; }
    template <coroutine_promise P>
    void await_suspend(std::coroutine_handle<P> h)
    {
        start(h, h.promise().env);
    }
    value await_resume()
    {
        if (exception_)
            std::rethrow_exception(exception_);
        if constexpr (!std::is_void_v<value>)
            return std::move(*value_);
    }

private:
    void work() noexcept override
    {
        try {
            if constexpr (std::is_void_v<value>)
                fn_();
            else
                value_.emplace(fn_());
        } catch (...) {
            exception_ = std::current_exception();
        }
    }

    F fn_;
    std::exception_ptr exception_;
    std::conditional_t<std::is_void_v<value>, bool, std::optional<value>> value_{};
};
} // namespace detail

/// Runs `fn()` on the thread pool and gives what it returns; what it throws is rethrown at the co_await.
/// For blocking work: files, compression, a database client. A cancel does not interrupt `fn`: the await
/// completes when it has returned. Calls wait in a queue, without limit, while all threads are busy.
/// Throws std::system_error at the co_await, and runs nothing, where the pool can't have a single thread.
template <std::invocable F>
[[nodiscard]] auto offload(F fn)
{
    return detail::offload_operation<F>(std::move(fn));
}

} // namespace wring
