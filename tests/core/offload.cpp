// SPDX-License-Identifier: BSL-1.0
#include "core/core.hpp"

#include <atomic>
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
