// SPDX-License-Identifier: BSL-1.0
// What the tests of the coroutine core share. The programs are run once per engine, by WRING_ENGINE.
#pragma once

#include "catch.hpp"

#include <wring/loop.hpp>
#include <wring/sync.hpp>
#include <wring/timeout.hpp>

namespace wring::test {

using namespace std::chrono_literals;

/// Runs `root` to its end, which must be a good one.
inline void run_well(task<> root, run_options options = {})
{
    REQUIRE(run(std::move(root), options) == 0);
}

/// Lets every coroutine that is ready run first.
struct yield : detail::suspension
{
    bool await_ready() const noexcept { return false; }
    template <detail::coroutine_promise P>
    void await_suspend(std::coroutine_handle<P> h) noexcept
    {
        suspend(h, nullptr);
        wake();
    }
    void await_resume() const noexcept {}
};

/// An operation that ignores cancels: it ends when the test says so.
struct stubborn : detail::suspension
{
    bool await_ready() const noexcept { return false; }
    template <detail::coroutine_promise P>
    void await_suspend(std::coroutine_handle<P> h) noexcept
    {
        suspend(h, nullptr);
    }
    void await_resume() const noexcept {}
    void finish() noexcept { wake(); }
};

/// An awaitable that refers to one.
struct stubborn_wait
{
    explicit stubborn_wait(stubborn& s) : target(s) {}
    bool await_ready() const noexcept { return false; }
    template <detail::coroutine_promise P>
    void await_suspend(std::coroutine_handle<P> h) noexcept
    {
        target.await_suspend(h);
    }
    void await_resume() const noexcept {}
    stubborn& target;
};

/// Waits for a cancel and counts it.
inline task<> until_canceled(int& canceled)
{
    event never;
    auto const end = co_await never.wait();
    if (end.error() == errc::canceled) ++canceled;
}

} // namespace wring::test
