// SPDX-License-Identifier: BSL-1.0
#include "engine/loop_core.hpp"

#include <asio/post.hpp>
#include <asio/thread_pool.hpp>

#include <atomic>

namespace wring {

namespace {

std::atomic<unsigned> wanted_threads{4};

// Never destroyed: a name resolution that nobody waits for any more may still run at exit.
asio::thread_pool& pool()
{
    static auto* const threads = new asio::thread_pool(wanted_threads);
    return *threads;
}

} // namespace

void set_offload_threads(unsigned count) noexcept
{
    wanted_threads = count ? count : 1;
}

void detail::offload_base::start(std::coroutine_handle<> h, context const& env)
{
    wring::loop& home = loop_core::require().handle();
    suspend(h, env, nullptr);
    asio::post(pool(), [this, &home] {
        work();
        home.post([this] { wake(); });
    });
}

void detail::run_detached(loop_core& loop, std::function<void()> work, std::function<void()> done)
{
    struct finished final : posted_call
    {
        void call() override { fn(); }
        std::function<void()> fn;
    };
    asio::post(pool(), [mailbox = loop.mailbox(), work = std::move(work), done = std::move(done)]() mutable {
        work();
        auto call = std::make_unique<finished>();
        call->fn = std::move(done);
        mailbox->post(std::move(call));
    });
}

} // namespace wring
