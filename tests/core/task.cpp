// SPDX-License-Identifier: BSL-1.0
// Also built as programs of their own at -O0 and at -O2: chains of awaits must not need tail calls.
#include "core/allocations.hpp"
#include "core/core.hpp"

#include "child.hpp"

#include <memory>
#include <string>

using namespace wring;
using namespace wring::test;

namespace {

constexpr int million = 1'000'000;

task<int> one()
{
    co_return 1;
}

task<int> depth(int n)
{
    if (n == 0) co_return 0;
    int const below = co_await depth(n - 1);
    co_return below + 1;
}

task<> fails_at(int n)
{
    if (n == 0) throw std::runtime_error("from the bottom");
    co_await fails_at(n - 1);
}

task<> yields(int n)
{
    if (n > 0)
        co_await yields(n - 1);
    else
        co_await yield();
}

struct counted
{
    explicit counted(int& n) : alive(&n) { ++*alive; }
    counted(counted const& other) : alive(other.alive) { ++*alive; }
    counted(counted&& other) noexcept : alive(other.alive) { ++*alive; }
    ~counted() { --*alive; }
    int* alive;
};

task<> holds(counted value, bool& ran)
{
    ran = true;
    co_await yield();
    (void)value;
}

} // namespace

TEST_CASE("a million synchronous awaits, one after the other", "[task]")
{
    int sum = 0;
    run_well([](int& total) -> task<> {
        for (int i = 0; i < million; ++i)
            total += co_await one();
    }(sum));
    CHECK(sum == million);
}

TEST_CASE("awaits a million deep", "[task]")
{
    int reached = 0;
    run_well([](int& deepest) -> task<> { deepest = co_await depth(million); }(reached));
    CHECK(reached == million);
}

TEST_CASE("a chain a million deep that suspends at its bottom", "[task]")
{
    bool ended = false;
    run_well([](bool& done) -> task<> {
        co_await yields(million);
        done = true;
    }(ended));
    CHECK(ended);
}

TEST_CASE("an exception travels up ten thousand awaits", "[task]")
{
    std::string what;
    run_well([](std::string& text) -> task<> {
        try {
            co_await fails_at(10'000);
        } catch (std::runtime_error const& e) {
            text = e.what();
        }
    }(what));
    CHECK(what == "from the bottom");
}

TEST_CASE("a task that is never started runs nothing and frees its arguments", "[task]")
{
    int alive = 0;
    bool ran = false;
    {
        auto const t = holds(counted(alive), ran);
        CHECK(t);
        CHECK(alive == 1);
    }
    CHECK(alive == 0);
    CHECK_FALSE(ran);
}

TEST_CASE("a task starts when it is awaited, and its arguments live until it has ended", "[task]")
{
    int alive = 0;
    bool ran = false;
    run_well([](int& living, bool& started) -> task<> {
        auto t = holds(counted(living), started);
        co_await yield();
        CHECK_FALSE(started);
        co_await t;
        CHECK(started);
        CHECK(living == 1); // in the frame, that is: in t
        t = task<>();
        CHECK(living == 0);
    }(alive, ran));
    CHECK(alive == 0);
}

TEST_CASE("a task moves and has one owner", "[task]")
{
    int alive = 0;
    bool ran = false;
    auto first = holds(counted(alive), ran);
    task<> second(std::move(first));
    CHECK_FALSE(first);
    CHECK(second);
    task<> third;
    CHECK_FALSE(third);
    third = std::move(second);
    CHECK(third);
    CHECK_FALSE(second);
    third = holds(counted(alive), ran);
    CHECK(alive == 1); // the one it held before is gone
    run_well(std::move(third));
    CHECK(alive == 0);
    CHECK(ran);
}

TEST_CASE("a task gives values that can only be moved, and rethrows what left it", "[task]")
{
    run_well([]() -> task<> {
        auto give = []() -> task<std::unique_ptr<int>> { co_return std::make_unique<int>(3); };
        auto const owner = co_await give();
        CHECK(*owner == 3);
        auto fail = []() -> task<std::string> {
            co_await yield();
            throw std::logic_error("none");
        };
        std::string text = "nothing";
        try {
            text = co_await fail();
        } catch (std::logic_error const& e) {
            text = e.what();
        }
        CHECK(text == "none");
    }());
}

TEST_CASE("frames come from the free list", "[task]")
{
    std::size_t extra = 1;
    run_well([](std::size_t& calls) -> task<> {
        int sum = co_await depth(50); // fills it
        std::size_t const before = mallocs;
        for (int i = 0; i < 1000; ++i)
            sum += co_await depth(50);
        calls = mallocs - before;
        CHECK(sum == 1001 * 50);
    }(extra));
    CHECK(extra == 0);
}

TEST_CASE("destroying a task inside an operation aborts with a message", "[task][death]")
{
    auto const end = in_child([] {
        return run([]() -> task<> {
            auto sleeper = []() -> task<> { (void)co_await sleep_for(1h); };
            auto waits = [](task<>& t) -> task<> { co_await t; };
            task<> inner = sleeper();
            scope children;
            children.spawn(waits(inner));
            co_await yield();
            co_await yield();
            inner = task<>();
            co_await children.join();
        }());
    });
    CHECK(end.aborted());
    CHECK(end.says("a coroutine was destroyed while it waits"));
}

TEST_CASE("stop_requested tells a coroutine that it was asked to stop", "[task]")
{
    run_well([]() -> task<> {
        bool const before = co_await stop_requested();
        CHECK_FALSE(before);
        this_loop().request_stop();
        bool const after = co_await stop_requested();
        CHECK(after);
        auto inner = []() -> task<bool> { co_return co_await stop_requested(); };
        bool const below = co_await inner();
        CHECK(below);
    }());
}
