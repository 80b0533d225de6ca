// SPDX-License-Identifier: BSL-1.0
#include "engine/loop_core.hpp"
#include "engine/thread_pool.hpp"

#include <asio/post.hpp>

#include <atomic>
#include <thread>

namespace wring {

namespace detail {

thread_pool::thread_pool(unsigned threads, starter start) : start_(start), missing_(threads) {}

void thread_pool::start_thread(asio::thread_pool& pool)
{
    std::thread([&pool] { pool.attach(); }).detach();
}

asio::thread_pool& thread_pool::ready()
{
    std::lock_guard lock(mutex_);
    try {
        for (; missing_ > 0; --missing_) {
            start_(pool_);
            has_thread_ = true;
        }
    } catch (std::exception const&) { // no thread, or no memory for one
        if (!has_thread_)
            throw;
    }
    return pool_;
}

namespace {

std::atomic<unsigned> wanted_threads{4};

asio::thread_pool& pool()
{
    static auto* const threads = new thread_pool(wanted_threads);
    return threads->ready();
}

struct finished final : posted_call
{
    explicit finished(std::function<void()> f) : fn(std::move(f)) {}
    void call() override { fn(); }
    std::function<void()> fn;
};

} // namespace

// What may fail comes first: the coroutine is not suspended then, and hears of it.
void offload_base::start(std::coroutine_handle<> h, context const& env)
{
    auto& threads = pool();
    auto& home = loop_core::require();
    auto woken = std::make_unique<finished>([this] { wake(); });
    asio::post(threads, [this, &home, woken = std::move(woken)]() mutable {
        work();
        home.post(std::move(woken));
    });
    suspend(h, env, nullptr); // wake() comes by way of the loop, in a later turn
}

void run_detached(loop_core& loop, std::function<void()> work, std::function<void()> done)
{
    auto& threads = pool();
    auto call = std::make_unique<finished>(std::move(done));
    asio::post(threads, [mailbox = loop.mailbox(), work = std::move(work), call = std::move(call)]() mutable {
        work();
        mailbox->post(std::move(call));
    });
}

} // namespace detail

void set_offload_threads(unsigned count) noexcept
{
    detail::wanted_threads = count ? count : 1;
}

} // namespace wring
