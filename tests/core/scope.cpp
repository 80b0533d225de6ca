// SPDX-License-Identifier: BSL-1.0
#include "core/core.hpp"

#include "child.hpp"

#include <string>
#include <vector>

using namespace wring;
using namespace wring::test;

namespace {

task<> yield_once()
{
    co_await yield();
}

task<> append(std::vector<int>& out, int value)
{
    out.push_back(value);
    co_return;
}

task<> fail_with(std::string text)
{
    co_await yield();
    throw std::runtime_error(text);
}

task<> fail_after_cancel(std::string text)
{
    event never;
    (void)co_await never.wait();
    throw std::runtime_error(text);
}

/// What leaves `t`, or "" where nothing does.
task<> catch_from(task<> t, std::string& what)
{
    try {
        co_await std::move(t);
    } catch (std::exception const& e) {
        what = e.what();
    }
}

} // namespace

TEST_CASE("children run in the order of their spawns, not inside spawn", "[scope]")
{
    std::vector<int> order;
    run_well([](std::vector<int>& out) -> task<> {
        scope children;
        for (int i = 0; i < 5; ++i)
            children.spawn(append(out, i));
        CHECK(out.empty());
        CHECK(children.size() == 5);
        co_await children.join();
        CHECK(children.size() == 0);
    }(order));
    CHECK(order == std::vector<int>{0, 1, 2, 3, 4});
}

TEST_CASE("join of an empty scope completes at once, any number of times", "[scope]")
{
    run_well([]() -> task<> {
        scope children;
        co_await children.join();
        co_await children.join();
        children.spawn([]() -> task<> { co_await yield(); }());
        co_await children.join();
        co_await children.join();
    }());
}

TEST_CASE("a hundred thousand children", "[scope]")
{
    std::vector<int> out;
    run_well([](std::vector<int>& ran) -> task<> {
        scope children;
        for (int i = 0; i < 100'000; ++i)
            children.spawn(append(ran, i));
        co_await children.join();
    }(out));
    CHECK(out.size() == 100'000);
}

TEST_CASE("request_stop cancels every child, and join waits for them", "[scope]")
{
    run_well([]() -> task<> {
        int canceled = 0;
        scope children;
        for (int i = 0; i < 10; ++i)
            children.spawn(until_canceled(canceled));
        co_await yield();
        children.request_stop();
        CHECK(children.stop_requested());
        CHECK(canceled == 0); // asked, not resumed
        co_await children.join();
        CHECK(canceled == 10);
    }());
}

TEST_CASE("a child spawned after the stop starts with the request made", "[scope]")
{
    run_well([]() -> task<> {
        int canceled = 0;
        scope children;
        children.request_stop();
        children.spawn(until_canceled(canceled));
        co_await children.join();
        CHECK(canceled == 1);
    }());
}

TEST_CASE("an exception of a child stops its siblings and comes out of join", "[scope]")
{
    run_well([]() -> task<> {
        int canceled = 0;
        std::string what;
        scope children;
        children.spawn(until_canceled(canceled));
        children.spawn(fail_with("first"));
        children.spawn(fail_after_cancel("second"));
        children.spawn(until_canceled(canceled));
        try {
            co_await children.join();
        } catch (std::exception const& e) {
            what = e.what();
        }
        CHECK(what == "first");
        CHECK(canceled == 2);
        CHECK(children.size() == 0);
        co_await children.join(); // it comes out once
    }());
}

TEST_CASE("a cancel of join asks the children to stop and waits for them", "[scope]")
{
    run_well([]() -> task<> {
        int canceled = 0;
        auto joins = [](int& count) -> task<> {
            scope inner;
            inner.spawn(until_canceled(count));
            inner.spawn(until_canceled(count));
            co_await inner.join();
            CHECK(count == 2);
        };
        scope outer;
        outer.spawn(joins(canceled));
        co_await yield();
        co_await yield();
        outer.request_stop();
        co_await outer.join();
        CHECK(canceled == 2);
    }());
}

TEST_CASE("destroying a scope that has children aborts and names how many", "[scope][death]")
{
    auto const two = in_child([] {
        return run([]() -> task<> {
            int canceled = 0;
            scope children;
            children.spawn(until_canceled(canceled));
            children.spawn(until_canceled(canceled));
            co_await yield();
        }());
    });
    CHECK(two.aborted());
    CHECK(two.says("a scope with 2 running children was destroyed"));
    auto const one = in_child([] {
        return run([]() -> task<> {
            int canceled = 0;
            scope children;
            children.spawn(until_canceled(canceled));
            co_await yield();
        }());
    });
    CHECK(one.aborted());
    CHECK(one.says("a scope with 1 running child was destroyed"));
}

TEST_CASE("join waits for a child that is spawned when the last one has just ended", "[scope]")
{
    struct part
    {
        static task<> nothing() { co_return; }
        static task<> wait(event& e, bool& ended)
        {
            (void)co_await e.wait();
            ended = true;
        }
        static task<> join(scope& children, bool& joined)
        {
            co_await children.join();
            joined = true;
        }
        static task<> spawn(scope& children, event& e, bool& ended)
        {
            CHECK(children.size() == 0); // and the joiner has not run yet
            children.spawn(wait(e, ended));
            co_return;
        }
    };
    run_well([]() -> task<> {
        event go;
        bool ended = false, joined = false;
        scope children, outer;
        for (int round = 0; round < 3; ++round) {
            ended = joined = false;
            go.reset();
            children.spawn(yield_once());
            outer.spawn(part::join(children, joined));
            co_await yield();
            children.spawn(part::nothing());
            outer.spawn(part::spawn(children, go, ended));
            for (int i = 0; i < 5; ++i)
                co_await yield();
            CHECK_FALSE(joined);
            if (round == 2) outer.request_stop(); // is still heard, and goes to the children
            go.set();
            co_await outer.join();
            CHECK(ended);
            CHECK(joined);
            CHECK(children.size() == 0);
        }
        CHECK(children.stop_requested());
    }());
}

TEST_CASE("joining a scope twice at a time aborts and says so", "[scope]")
{
    auto const end = in_child([] {
        return run([]() -> task<> {
            int canceled = 0;
            scope children;
            children.spawn(until_canceled(canceled));
            co_await when_all(children.join(), children.join());
        }());
    });
    CHECK(end.aborted());
    CHECK(end.says("two coroutines join one scope"));
}

TEST_CASE("with_scope joins the children when its body returns", "[with_scope]")
{
    run_well([]() -> task<> {
        int canceled = 0;
        co_await with_scope(
            [](scope& children, int& count) -> task<> {
                children.spawn(until_canceled(count));
                co_await yield();
            },
            std::ref(canceled));
        CHECK(canceled == 1);
    }());
}

TEST_CASE("with_scope joins the children when its body throws, and rethrows that", "[with_scope]")
{
    run_well([]() -> task<> {
        int canceled = 0;
        std::string what;
        auto body = [](scope& children, int& count) -> task<> {
            children.spawn(until_canceled(count));
            children.spawn(fail_after_cancel("a child, later"));
            co_await yield();
            throw std::runtime_error("the body");
        };
        co_await catch_from(with_scope(body, std::ref(canceled)), what);
        CHECK(what == "the body");
        CHECK(canceled == 1);
    }());
}

TEST_CASE("with_scope cancels its body when a child throws", "[with_scope]")
{
    run_well([]() -> task<> {
        int canceled = 0;
        std::string what;
        auto body = [](scope& children, int& count) -> task<> {
            children.spawn(fail_with("the child"));
            co_await until_canceled(count);
        };
        co_await catch_from(with_scope(body, std::ref(canceled)), what);
        CHECK(what == "the child");
        CHECK(canceled == 1);
        bool const still_running = !co_await stop_requested();
        CHECK(still_running); // the stop is the scope's own
    }());
}

TEST_CASE("with_scope reports the first exception where a child fails and then the body does", "[with_scope]")
{
    run_well([]() -> task<> {
        std::string what;
        auto body = [](scope& children) -> task<> {
            children.spawn(fail_with("the child"));
            co_await fail_after_cancel("the body, because it was canceled");
        };
        co_await catch_from(with_scope(body), what);
        CHECK(what == "the child");
    }());
}

TEST_CASE("with_scope passes a cancel on to its body and its children", "[with_scope]")
{
    run_well([]() -> task<> {
        int canceled = 0;
        auto body = [](scope& children, int& count) -> task<> {
            children.spawn(until_canceled(count));
            co_await until_canceled(count);
        };
        scope outer;
        outer.spawn(with_scope(body, std::ref(canceled)));
        co_await yield();
        co_await yield();
        outer.request_stop();
        co_await outer.join();
        CHECK(canceled == 2);
    }());
}

TEST_CASE("a stop travels through nested scopes", "[scope]")
{
    struct nest
    {
        static task<> level(int n, int& count)
        {
            scope children;
            children.spawn(until_canceled(count));
            if (n > 0) children.spawn(level(n - 1, count));
            co_await children.join();
        }
    };
    run_well([]() -> task<> {
        int canceled = 0;
        scope outer;
        outer.spawn(nest::level(99, canceled));
        for (int i = 0; i < 300; ++i)
            co_await yield();
        outer.request_stop();
        co_await outer.join();
        CHECK(canceled == 100);
    }());
}

TEST_CASE("a child may spawn siblings", "[scope]")
{
    struct grow
    {
        static task<> child(scope& all, int n, int& ran)
        {
            ++ran;
            co_await yield();
            if (n > 0) {
                all.spawn(child(all, n - 1, ran));
                all.spawn(child(all, n - 1, ran));
            }
        }
    };
    run_well([]() -> task<> {
        int ran = 0;
        scope all;
        all.spawn(grow::child(all, 9, ran));
        co_await all.join();
        CHECK(ran == 1023);
    }());
}
