// SPDX-License-Identifier: BSL-1.0
#include "core/core.hpp"

#include "core/allocations.hpp"

#include <memory>
#include <string>
#include <thread>
#include <vector>

using namespace wring;
using namespace wring::test;

namespace {

task<int> value_after(duration d, int value)
{
    (void)co_await sleep_for(d);
    co_return value;
}

task<result<int>> result_of(stubborn& s, int value)
{
    co_await stubborn_wait(s);
    co_return value;
}

task<> fail_with(std::string text)
{
    co_await yield();
    throw std::runtime_error(text);
}

task<> append_nothing()
{
    co_return;
}

task<> finish_later(stubborn& s)
{
    (void)co_await sleep_for(20ms);
    s.finish();
}

} // namespace

TEST_CASE("sleep_for completes after its time, never before", "[sleep]")
{
    run_well([]() -> task<> {
        for (auto d : {0ms, 1ms, 2ms, 7ms, 30ms}) {
            auto const before = clock::now();
            auto const r = co_await sleep_for(d);
            CHECK(r);
            CHECK(clock::now() - before >= d);
        }
        auto const before = clock::now();
        auto const late = co_await sleep_until(before - 1h);
        CHECK(late);
        auto const r = co_await sleep_until(before + 1500us);
        CHECK(r);
        CHECK(clock::now() >= before + 1500us);
    }());
}

TEST_CASE("sleepers wake in the order of their times", "[sleep]")
{
    struct sleeper
    {
        static task<> wake(int ms, std::vector<int>& order)
        {
            (void)co_await sleep_for(std::chrono::milliseconds(ms));
            order.push_back(ms);
        }
    };
    run_well([]() -> task<> {
        std::vector<int> order;
        scope all;
        for (int ms : {40, 2, 20, 70, 10})
            all.spawn(sleeper::wake(ms, order));
        co_await all.join();
        CHECK(order == std::vector<int>{2, 10, 20, 40, 70});
    }());
}

TEST_CASE("a canceled sleep ends at once, however long it was to be", "[sleep]")
{
    struct sleeper
    {
        static task<> sleep(duration d, int& canceled)
        {
            auto const r = co_await sleep_for(d);
            if (r.error() == errc::canceled) ++canceled;
        }
        static task<> sleep_to(clock::time_point when, int& canceled)
        {
            auto const r = co_await sleep_until(when);
            if (r.error() == errc::canceled) ++canceled;
        }
    };
    run_well([]() -> task<> {
        int canceled = 0;
        scope all;
        all.spawn(sleeper::sleep(1h, canceled));
        all.spawn(sleeper::sleep(24h * 365 * 100, canceled));
        all.spawn(sleeper::sleep(duration::max(), canceled));
        all.spawn(sleeper::sleep_to(clock::time_point::max(), canceled));
        (void)co_await sleep_for(5ms);
        CHECK(all.size() == 4);
        all.request_stop();
        all.spawn(sleeper::sleep(1h, canceled)); // asked before it begins
        co_await all.join();
        CHECK(canceled == 5);
    }());
}

TEST_CASE("a timeout gives the value where the operation was in time", "[timeout]")
{
    run_well([]() -> task<> {
        auto const plain = co_await timeout(1h, value_after(0ms, 5));
        CHECK(plain.value() == 5);
        auto const nothing = co_await timeout(1h, sleep_for(1ms));
        CHECK(nothing);
        event e;
        e.set();
        auto const set = co_await timeout(0ms, e.wait());
        CHECK(set);
    }());
}

TEST_CASE("a timeout cancels what takes too long and gives timed_out", "[timeout]")
{
    run_well([]() -> task<> {
        event never;
        auto const waited = co_await timeout(2ms, never.wait());
        CHECK(waited.error() == errc::timed_out);
        auto const slept = co_await timeout(2ms, sleep_for(1h));
        CHECK(slept.error() == errc::timed_out);
        int canceled = 0;
        auto const nothing = co_await timeout(2ms, until_canceled(canceled));
        CHECK(nothing.error() == errc::timed_out);
        CHECK(canceled == 1);
        auto const negative = co_await timeout(-1s, never.wait());
        CHECK(negative.error() == errc::timed_out);
        bool const stopped = co_await stop_requested();
        CHECK_FALSE(stopped); // the stop was the timeout's own
    }());
}

TEST_CASE("a timeout gives the value that still came after the cancel", "[timeout]")
{
    run_well([]() -> task<> {
        stubborn s;
        scope all;
        all.spawn(finish_later(s));
        auto const r = co_await timeout(1ms, result_of(s, 8));
        CHECK(r);
        CHECK(r.value() == 8);
        co_await all.join();
    }());
}

TEST_CASE("a timeout lets an exception through", "[timeout]")
{
    run_well([]() -> task<> {
        std::string what;
        try {
            (void)co_await timeout(1h, fail_with("inside"));
        } catch (std::exception const& e) {
            what = e.what();
        }
        CHECK(what == "inside");
    }());
}

TEST_CASE("a cancel from outside cancels what a timeout awaits, and is not a timeout", "[timeout]")
{
    struct waits
    {
        static task<> wait(std::error_code& error)
        {
            event never;
            auto const r = co_await timeout(1h, timeout(2h, never.wait()));
            error = r.error();
        }
    };
    run_well([]() -> task<> {
        std::error_code error;
        scope all;
        all.spawn(waits::wait(error));
        (void)co_await sleep_for(1ms);
        all.request_stop();
        co_await all.join();
        CHECK(error == errc::canceled);
    }());
}

TEST_CASE("a cancel that came before the deadline stays a cancel, however long the operation takes to end", "[timeout]")
{
    struct slow
    {
        static task<result<int>> to_end(stubborn& s)
        {
            co_await stubborn_wait(s);
            co_return errc::canceled;
        }
        static task<> wait(stubborn& s, std::error_code& error)
        {
            auto const r = co_await timeout(10ms, to_end(s));
            error = r.error();
        }
    };
    run_well([]() -> task<> {
        stubborn s;
        std::error_code error;
        scope all;
        all.spawn(slow::wait(s, error));
        co_await yield();
        co_await yield();
        all.request_stop();
        (void)co_await sleep_for(30ms); // past the deadline
        s.finish();
        co_await all.join();
        CHECK(error == errc::canceled);
    }());
}

TEST_CASE("nested timeouts: the inner one does not end the outer", "[timeout]")
{
    struct inner
    {
        static task<result<int>> both()
        {
            event never;
            auto const r = co_await timeout(1ms, never.wait());
            CHECK(r.error() == errc::timed_out);
            auto const slept = co_await sleep_for(1ms);
            CHECK(slept);
            co_return 3;
        }
    };
    run_well([]() -> task<> {
        auto const r = co_await timeout(1h, inner::both());
        CHECK(r);
    }());
}

TEST_CASE("a task that only can be moved passes through timeout", "[timeout]")
{
    struct owning
    {
        static task<std::unique_ptr<int>> give(std::unique_ptr<int> p)
        {
            co_await yield();
            co_return p;
        }
    };
    run_well([]() -> task<> {
        auto p = std::make_unique<int>(4);
        auto r = co_await timeout(1h, owning::give(std::move(p)));
        CHECK(**r == 4);
    }());
}

TEST_CASE("when_all gives every result", "[when_all]")
{
    run_well([]() -> task<> {
        auto const all = co_await when_all(value_after(3ms, 1), sleep_for(1ms), value_after(0ms, 2), append_nothing());
        CHECK(std::get<0>(all) == 1);
        CHECK(std::get<1>(all));
        CHECK(std::get<2>(all) == 2);
        CHECK(std::get<3>(all) == std::monostate());
        auto const none = co_await when_all();
        CHECK(std::tuple_size_v<std::remove_const_t<decltype(none)>> == 0);
        auto const one = co_await when_all(value_after(0ms, 9));
        CHECK(std::get<0>(one) == 9);
    }());
}

TEST_CASE("an exception in when_all cancels the others and comes out when all have ended", "[when_all]")
{
    run_well([]() -> task<> {
        int canceled = 0;
        std::string what;
        try {
            (void)co_await when_all(until_canceled(canceled), fail_with("one of them"), until_canceled(canceled));
        } catch (std::exception const& e) {
            what = e.what();
        }
        CHECK(what == "one of them");
        CHECK(canceled == 2);
        bool const stopped = co_await stop_requested();
        CHECK_FALSE(stopped);
    }());
}

TEST_CASE("when_all rethrows the exception that came first, not one that its cancel led to", "[when_all]")
{
    struct throwing
    {
        static task<> when_canceled()
        {
            event never;
            auto const r = co_await never.wait();
            r.value(); // throws: canceled
        }
    };
    run_well([]() -> task<> {
        std::string what;
        try {
            (void)co_await when_all(throwing::when_canceled(), fail_with("the cause"));
        } catch (std::exception const& e) {
            what = e.what();
        }
        CHECK(what == "the cause");
    }());
}

TEST_CASE("when_any gives the first, and cancels and awaits the others", "[when_any]")
{
    run_well([]() -> task<> {
        int canceled = 0;
        auto const first =
            co_await when_any(until_canceled(canceled), value_after(1ms, 7), sleep_for(1h), until_canceled(canceled));
        CHECK(first.index() == 1);
        CHECK(std::get<1>(first) == 7);
        CHECK(canceled == 2);
        bool const stopped = co_await stop_requested();
        CHECK_FALSE(stopped);
    }());
}

TEST_CASE("when_any waits for a loser that ends late", "[when_any]")
{
    run_well([]() -> task<> {
        stubborn s;
        scope all;
        all.spawn(finish_later(s));
        auto const first = co_await when_any(result_of(s, 1), value_after(0ms, 2));
        CHECK_FALSE(s.waiting());
        CHECK(first.index() == 1);
        co_await all.join();
    }());
}

TEST_CASE("an exception that comes first is the result of when_any; a loser's is dropped", "[when_any]")
{
    struct throwing
    {
        static task<> when_canceled()
        {
            event never;
            (void)co_await never.wait();
            throw std::runtime_error("a loser's");
        }
    };
    run_well([]() -> task<> {
        std::string what;
        int canceled = 0;
        try {
            (void)co_await when_any(until_canceled(canceled), fail_with("the first"));
        } catch (std::exception const& e) {
            what = e.what();
        }
        CHECK(what == "the first");
        CHECK(canceled == 1);
        auto const won = co_await when_any(throwing::when_canceled(), value_after(1ms, 5));
        CHECK(won.index() == 1);
    }());
}

TEST_CASE("a cancel from outside reaches all that when_all and when_any await", "[when_all][when_any]")
{
    struct waits
    {
        static task<> all(int& canceled)
        {
            (void)co_await when_all(until_canceled(canceled), until_canceled(canceled));
        }
        static task<> any(int& canceled)
        {
            (void)co_await when_any(until_canceled(canceled), until_canceled(canceled));
        }
    };
    run_well([]() -> task<> {
        int canceled = 0;
        scope children;
        children.spawn(waits::all(canceled));
        children.spawn(waits::any(canceled));
        (void)co_await sleep_for(1ms);
        CHECK(canceled == 0);
        children.request_stop();
        co_await children.join();
        CHECK(canceled == 4);
    }());
}

TEST_CASE("with_stop_token cancels at a request from another thread", "[stop_token]")
{
    run_well([]() -> task<> {
        for (int i = 0; i < 200; ++i) {
            std::stop_source source;
            std::thread other([&source] { source.request_stop(); });
            int canceled = 0;
            co_await with_stop_token(source.get_token(), until_canceled(canceled));
            CHECK(canceled == 1);
            other.join();
        }
    }());
}

TEST_CASE("with_stop_token: a request made before, after, or never", "[stop_token]")
{
    run_well([]() -> task<> {
        std::stop_source before;
        before.request_stop();
        int canceled = 0;
        co_await with_stop_token(before.get_token(), until_canceled(canceled));
        CHECK(canceled == 1);

        std::stop_source after;
        int const value = co_await with_stop_token(after.get_token(), value_after(0ms, 6));
        CHECK(value == 6);
        after.request_stop();
        co_await yield();

        auto const none = co_await with_stop_token(std::stop_token(), sleep_for(1ms));
        CHECK(none);

        std::stop_source racing; // requested, and the operation ends before the loop hears of it
        event set;
        set.set();
        racing.request_stop();
        auto const won = co_await with_stop_token(racing.get_token(), set.wait());
        CHECK(won);
        (void)co_await sleep_for(1ms);
        bool const stopped = co_await stop_requested();
        CHECK_FALSE(stopped);
    }());
}

TEST_CASE("combinators nest", "[timeout][when_all][when_any]")
{
    run_well([]() -> task<> {
        int canceled = 0;
        auto const r = co_await timeout(
            1ms, when_all(when_any(until_canceled(canceled), sleep_for(1h)), timeout(1h, until_canceled(canceled))));
        CHECK(canceled == 2);
        (void)r;
    }());
}

TEST_CASE("when_all and when_any without memory for one of their frames throw, and leave nothing behind", "[when_all]")
{
    struct part
    {
        static task<bool> both(long allowed)
        {
            no_free_frames const frames;
            mallocs_left = allowed;
            bool good = false;
            try {
                (void)co_await when_all(sleep_for(0ms), sleep_for(0ms), sleep_for(0ms));
                (void)co_await when_any(sleep_for(0ms), sleep_for(1h));
                good = true;
            } catch (std::bad_alloc const&) {
            }
            mallocs_left = -1;
            co_return good;
        }
    };
    run_well([]() -> task<> {
        long allowed = 0;
        for (bool good = false; !good && allowed < 100; ++allowed)
            good = co_await part::both(allowed);
        CHECK(allowed > 3);
        CHECK(allowed < 100);
    }());
}
