// SPDX-License-Identifier: BSL-1.0
#include "core/core.hpp"

#include "child.hpp"
#include "engine/refuse.hpp"
#include "engine/thread_pool.hpp"

#include <asio/post.hpp>

#include <atomic>
#include <barrier>
#include <latch>
#include <memory>
#include <string>
#include <thread>

using namespace wring;
using namespace wring::test;

TEST_CASE("offload gives what the function returns, from another thread", "[offload]")
{
    run_well([]() -> task<> {
        auto const here = std::this_thread::get_id();
        auto const there = co_await offload([] { return std::this_thread::get_id(); });
        CHECK(there != here);
        CHECK(std::this_thread::get_id() == here);
        auto const owner = co_await offload([] { return std::make_unique<int>(5); });
        CHECK(*owner == 5);
        auto const text = co_await offload([] { return std::string(1000, 'x'); });
        CHECK(text.size() == 1000);
    }());
}

TEST_CASE("offload of a function that returns nothing, or throws", "[offload]")
{
    run_well([]() -> task<> {
        bool ran = false;
        bool& flag = ran;
        auto set = [&flag] { flag = true; };
        co_await offload(set);
        CHECK(ran);
        std::string what;
        auto fail = []() -> int { throw std::runtime_error("in the pool"); };
        try {
            (void)co_await offload(fail);
        } catch (std::exception const& e) {
            what = e.what();
        }
        CHECK(what == "in the pool");
    }());
}

TEST_CASE("offload goes through the combinators", "[offload]")
{
    run_well([]() -> task<> {
        auto one = [] { return 1; };
        auto const timed = co_await timeout(1h, offload(one));
        CHECK(timed.value() == 1);
        auto const all = co_await when_all(offload(one), offload(one));
        CHECK(std::get<0>(all) + std::get<1>(all) == 2);
    }());
}

TEST_CASE("a cancel does not interrupt an offloaded function: the await ends when it has returned", "[offload]")
{
    struct waits
    {
        static task<> wait(std::atomic<bool>& go, std::atomic<bool>& ended, int& value)
        {
            std::atomic<bool>& flag = go;
            std::atomic<bool>& done = ended;
            auto work = [&flag, &done] {
                flag.wait(false);
                done = true;
                return 7;
            };
            value = co_await offload(work);
        }
    };
    run_well([]() -> task<> {
        std::atomic<bool> go{false}, ended{false};
        int value = 0;
        scope all;
        all.spawn(waits::wait(go, ended, value));
        co_await yield();
        all.request_stop();
        for (int i = 0; i < 10; ++i)
            co_await yield();
        CHECK(all.size() == 1);
        go = true;
        go.notify_all();
        co_await all.join();
        CHECK(ended);
        CHECK(value == 7);
    }());
}

TEST_CASE("a thousand offloads at once", "[offload]")
{
    struct part
    {
        static task<> add(int i, long& sum)
        {
            int const value = i;
            auto twice = [value] { return value * 2; };
            sum += co_await offload(twice);
        }
    };
    run_well([]() -> task<> {
        long sum = 0;
        scope all;
        for (int i = 0; i < 1000; ++i)
            all.spawn(part::add(i, sum));
        co_await all.join();
        CHECK(sum == 999'000);
    }());
}

TEST_CASE("a loop may end as soon as the last offload has", "[offload]")
{
    for (int i = 0; i < 300; ++i)
        run_well([]() -> task<> {
            auto nothing = [] {};
            for (int n = 0; n < 3; ++n)
                co_await offload(nothing);
        }());
}

namespace {

/// Offloads as many functions as there are `threads`, each of which waits for the others, and then counts how many of
/// twice as many run at a time.
task<> use_threads(int threads, std::atomic<int>& most)
{
    struct part
    {
        static task<> meet(std::barrier<>& all)
        {
            std::barrier<>& b = all;
            auto wait = [&b] { b.arrive_and_wait(); };
            co_await offload(wait);
        }
        static task<> count(std::atomic<int>& running, std::atomic<int>& seen)
        {
            std::atomic<int>& r = running;
            std::atomic<int>& s = seen;
            auto work = [&r, &s] {
                int const now = ++r;
                for (int before = s; before < now && !s.compare_exchange_weak(before, now);) {
                }
                std::this_thread::yield();
                --r;
            };
            co_await offload(work);
        }
    };
    std::barrier<> all(threads);
    std::atomic<int> running{0};
    scope parts;
    for (int i = 0; i < threads; ++i)
        parts.spawn(part::meet(all));
    co_await parts.join();
    for (int i = 0; i < 200; ++i)
        parts.spawn(part::count(running, most));
    co_await parts.join();
}

} // namespace

TEST_CASE("offload has the threads that were set", "[offload]")
{
    auto const one = in_fresh_process("one thread for offload");
    INFO(one.output);
    CHECK(one.exited_with(0));
    auto const seven = in_fresh_process("seven threads for offload");
    INFO(seven.output);
    CHECK(seven.exited_with(0));
}
TEST_CASE("one thread for offload", "[.fresh]")
{
    std::atomic<int> most{0};
    set_offload_threads(0); // is one
    run_well(use_threads(1, most));
    CHECK(most == 1);
    set_offload_threads(9); // too late
    run_well(use_threads(1, most));
    CHECK(most == 1);
}
TEST_CASE("seven threads for offload", "[.fresh]")
{
    std::atomic<int> most{0};
    set_offload_threads(7);
    run_well(use_threads(7, most)); // hangs where there are fewer
    CHECK(most <= 7);
}

TEST_CASE("where no thread can be had offload throws, and what it was given does not run", "[offload]")
{
    auto const end = in_fresh_process("no thread for offload");
    INFO(end.output);
    CHECK(end.exited_with(0));
}
TEST_CASE("no thread for offload", "[.fresh]")
{
    bool ran = false;
    int thrown = 0;
    REQUIRE(refuse_threads());
    run_well([](bool& flag, int& count) -> task<> {
        bool& f = flag;
        auto set = [&f] { f = true; };
        for (int i = 0; i < 3; ++i) {
            try {
                co_await offload(set);
            } catch (std::system_error const& e) {
                count += e.code() == std::errc::resource_unavailable_try_again;
            }
            try {
                (void)co_await timeout(1h, offload(set));
            } catch (std::system_error const&) {
                ++count;
            }
        }
    }(ran, thrown));
    CHECK_FALSE(ran);
    CHECK(thrown == 6);
}

TEST_CASE("a thread pool works with the threads it can have, and gets the others later", "[offload]")
{
    static std::atomic<int> may_start;
    static std::atomic<int> started;
    auto const start = [](asio::thread_pool& pool) {
        if (may_start == 0) throw std::system_error(EAGAIN, std::system_category());
        --may_start;
        ++started;
        std::thread([&pool] { pool.attach(); }).detach();
    };
    auto& threads = *new detail::thread_pool(4, start); // its threads do not end
    may_start = 0;
    started = 0;
    CHECK_THROWS_AS(threads.ready(), std::system_error);
    auto meet = [&threads](int n) {
        auto& pool = threads.ready();
        std::latch all(n), gone(n);
        for (int i = 0; i < n; ++i)
            asio::post(pool, [&all, &gone] {
                all.arrive_and_wait();
                gone.count_down();
            });
        gone.wait();
    };
    may_start = 2;
    meet(2);
    CHECK(started == 2);
    may_start = 9;
    meet(4);
    CHECK(started == 4);
    meet(4);
    CHECK(started == 4);
}
