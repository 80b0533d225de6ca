// SPDX-License-Identifier: BSL-1.0
#include "core/core.hpp"

#include "child.hpp"

#include <memory>
#include <random>
#include <vector>

using namespace wring;
using namespace wring::test;

namespace {

task<> wait_for(event& e, int& woken)
{
    auto const r = co_await e.wait();
    if (r) ++woken;
}

task<> send_all(channel<int>& c, int first, int count, int& sent)
{
    for (int i = 0; i < count; ++i) {
        auto const r = co_await c.send(first + i);
        if (!r) co_return;
        ++sent;
    }
}

task<> receive_all(channel<int>& c, std::vector<int>& out)
{
    while (auto value = co_await c.receive())
        out.push_back(*value);
}

task<> receive_one(channel<int>& c, std::vector<int>& out, std::error_code& error)
{
    auto const value = co_await c.receive();
    if (value) out.push_back(*value);
    error = value.error();
}

} // namespace

TEST_CASE("set wakes all who wait, and later ones need not", "[event]")
{
    run_well([]() -> task<> {
        event e;
        int woken = 0;
        scope all;
        for (int i = 0; i < 5; ++i)
            all.spawn(wait_for(e, woken));
        co_await yield();
        CHECK(woken == 0);
        CHECK_FALSE(e.is_set());
        e.set();
        e.set();
        CHECK(e.is_set());
        co_await all.join();
        CHECK(woken == 5);
        auto const at_once = co_await e.wait();
        CHECK(at_once);
        e.reset();
        CHECK_FALSE(e.is_set());
        auto const late = co_await timeout(1ms, e.wait());
        CHECK(late.error() == errc::timed_out);
    }());
}

TEST_CASE("a waiter that was woken counts as woken, whatever happens before it runs", "[event]")
{
    run_well([]() -> task<> {
        event e;
        int woken = 0;
        scope all;
        all.spawn(wait_for(e, woken));
        co_await yield();
        e.set();
        e.reset();
        all.request_stop();
        co_await all.join();
        CHECK(woken == 1);
    }());
}

TEST_CASE("waiters leave an event from anywhere in its list", "[event]")
{
    run_well([]() -> task<> {
        event e;
        int kept = 0;
        int left = 0;
        scope stay, go;
        for (int i = 0; i < 9; ++i)
            (i % 3 == 1 ? stay : go).spawn(wait_for(e, i % 3 == 1 ? kept : left));
        co_await yield();
        go.request_stop();
        co_await go.join();
        CHECK(left == 0);
        e.set();
        co_await stay.join();
        CHECK(kept == 3);
    }());
}

TEST_CASE("a channel gives values in the order they were sent", "[channel]")
{
    run_well([]() -> task<> {
        channel<int> c(3);
        CHECK(c.capacity() == 3);
        std::vector<int> out;
        int sent = 0;
        scope all;
        all.spawn(receive_all(c, out));
        co_await send_all(c, 0, 1000, sent);
        c.close();
        co_await all.join();
        CHECK(sent == 1000);
        REQUIRE(out.size() == 1000);
        for (int i = 0; i < 1000; ++i)
            CHECK(out[static_cast<std::size_t>(i)] == i);
    }());
}

TEST_CASE("a channel holds what its capacity says, and at least one", "[channel]")
{
    run_well([]() -> task<> {
        for (std::size_t capacity : {0UL, 1UL, 5UL}) {
            channel<int> c(capacity);
            int sent = 0;
            scope all;
            all.spawn(send_all(c, 0, 20, sent));
            for (int i = 0; i < 30; ++i)
                co_await yield();
            auto const held = std::max<std::size_t>(1, capacity);
            CHECK(c.size() == held);
            CHECK(sent == static_cast<int>(held));
            int one_more = 99;
            CHECK_FALSE(c.try_send(one_more));
            CHECK(one_more == 99);
            std::vector<int> out;
            all.spawn(receive_all(c, out));
            while (sent < 20)
                co_await yield();
            c.close();
            co_await all.join();
            CHECK(out.size() == 20);
        }
    }());
}

TEST_CASE("try_send and try_receive never wait", "[channel]")
{
    run_well([]() -> task<> {
        channel<std::unique_ptr<int>> c(1);
        CHECK_FALSE(c.try_receive());
        auto value = std::make_unique<int>(1);
        CHECK(c.try_send(value));
        CHECK_FALSE(value);
        value = std::make_unique<int>(2);
        CHECK_FALSE(c.try_send(value));
        CHECK(value); // it is still the caller's
        auto const got = c.try_receive();
        CHECK(**got == 1);
        c.close();
        CHECK_FALSE(c.try_send(value));
        CHECK(c.closed());
        co_return;
    }());
}

TEST_CASE("close refuses senders and lets receivers empty the channel", "[channel]")
{
    run_well([]() -> task<> {
        channel<int> c(2);
        int sent = 0;
        scope senders;
        senders.spawn(send_all(c, 0, 10, sent));
        co_await yield();
        CHECK(sent == 2); // and one waits
        c.close();
        co_await senders.join();
        CHECK(sent == 2);
        auto const refused = co_await c.send(5);
        CHECK(refused.error() == errc::queue_closed);
        auto const first = co_await c.receive();
        auto const second = co_await c.receive();
        auto const third = co_await c.receive();
        CHECK(first.value() == 0);
        CHECK(second.value() == 1);
        CHECK(third.error() == errc::queue_closed);
    }());
}

TEST_CASE("close wakes the receivers that wait", "[channel]")
{
    run_well([]() -> task<> {
        channel<int> c(2);
        std::vector<int> out;
        std::error_code errors[2];
        scope all;
        all.spawn(receive_one(c, out, errors[0]));
        all.spawn(receive_one(c, out, errors[1]));
        co_await yield();
        c.close();
        co_await all.join();
        CHECK(errors[0] == errc::queue_closed);
        CHECK(errors[1] == errc::queue_closed);
    }());
}

TEST_CASE("a receive that has its value keeps it, though a cancel comes before it runs", "[channel]")
{
    run_well([]() -> task<> {
        channel<int> c(2);
        std::vector<int> out;
        std::error_code error;
        scope all;
        all.spawn(receive_one(c, out, error));
        co_await yield();
        int value = 4;
        CHECK(c.try_send(value));
        all.request_stop();
        co_await all.join();
        CHECK(out == std::vector<int>{4});
        CHECK_FALSE(error);
    }());
}

TEST_CASE("a canceled receive leaves the value for another", "[channel]")
{
    run_well([]() -> task<> {
        channel<int> c(2);
        std::vector<int> out;
        std::error_code canceled, fine;
        scope gone, stays;
        gone.spawn(receive_one(c, out, canceled));
        stays.spawn(receive_one(c, out, fine));
        co_await yield();
        gone.request_stop();
        int value = 6;
        CHECK(c.try_send(value));
        co_await gone.join();
        co_await stays.join();
        CHECK(canceled == errc::canceled);
        CHECK(out == std::vector<int>{6});
    }());
}

TEST_CASE("a canceled send drops its value and leaves the order of the others", "[channel]")
{
    struct sender
    {
        static task<> send(channel<int>& c, int value, std::error_code& error)
        {
            auto const r = co_await c.send(value);
            error = r.error();
        }
    };
    run_well([]() -> task<> {
        channel<int> c(1);
        std::error_code errors[4];
        scope gone, stays;
        stays.spawn(sender::send(c, 0, errors[0]));
        stays.spawn(sender::send(c, 1, errors[1]));
        co_await yield();
        gone.spawn(sender::send(c, 2, errors[2]));
        co_await yield();
        stays.spawn(sender::send(c, 3, errors[3]));
        co_await yield();
        gone.request_stop();
        co_await gone.join();
        CHECK(errors[2] == errc::canceled);
        std::vector<int> out;
        scope readers;
        readers.spawn(receive_all(c, out));
        co_await stays.join();
        c.close();
        co_await readers.join();
        CHECK(out == std::vector<int>{0, 1, 3});
    }());
}

TEST_CASE("many senders and receivers: every value arrives once, each sender's in order", "[channel]")
{
    for (std::size_t capacity : {1UL, 2UL, 7UL}) {
        run_well([](std::size_t n) -> task<> {
            channel<int> c(n);
            constexpr int senders = 20, each = 100, readers = 7;
            int sent[senders] = {};
            std::vector<int> out[readers];
            scope writing, reading;
            for (int i = 0; i < readers; ++i)
                reading.spawn(receive_all(c, out[i]));
            for (int i = 0; i < senders; ++i)
                writing.spawn(send_all(c, i * 1000, each, sent[i]));
            co_await writing.join();
            c.close();
            co_await reading.join();
            std::vector<int> seen(senders * 1000);
            for (auto const& part : out) {
                std::vector<int> last(senders, -1);
                for (int value : part) {
                    ++seen[static_cast<std::size_t>(value)];
                    auto& before = last[static_cast<std::size_t>(value / 1000)];
                    CHECK(before < value);
                    before = value;
                }
            }
            for (int i = 0; i < senders; ++i)
                for (int j = 0; j < each; ++j)
                    CHECK(seen[static_cast<std::size_t>(i * 1000 + j)] == 1);
        }(capacity));
    }
}

TEST_CASE("random cancels lose no value and deliver none twice", "[channel]")
{
    struct part
    {
        static task<> receiver(channel<int>& c, std::vector<int>& out)
        {
            while (auto value = co_await c.receive())
                out.push_back(*value);
        }
    };
    for (unsigned seed = 1; seed <= 20; ++seed) {
        run_well([](unsigned s) -> task<> {
            std::mt19937 random(s);
            channel<int> c(1 + random() % 4);
            std::vector<int> out;
            int sent = 0;
            scope senders;
            senders.spawn(send_all(c, 0, 300, sent));
            while (senders.size() > 0) { // receivers come and are canceled at any moment
                scope readers;
                for (unsigned i = 0; i < 1 + random() % 3; ++i)
                    readers.spawn(part::receiver(c, out));
                for (unsigned i = random() % 5; i > 0; --i)
                    co_await yield();
                readers.request_stop();
                co_await readers.join();
            }
            co_await senders.join();
            while (auto rest = c.try_receive())
                out.push_back(*rest);
            std::sort(out.begin(), out.end());
            REQUIRE(out.size() == 300);
            for (int i = 0; i < 300; ++i)
                CHECK(out[static_cast<std::size_t>(i)] == i);
        }(seed));
    }
}

TEST_CASE("an event or a channel destroyed while a coroutine waits on it aborts with a message", "[death]")
{
    struct part
    {
        static task<> wait(event& e) { (void)co_await e.wait(); }
        static task<> send(channel<int>& c)
        {
            int value = 1;
            while (co_await c.send(value))
                ++value;
        }
        static task<> receive(channel<int>& c) { (void)co_await c.receive(); }
    };
    auto const message = "an event or a channel was destroyed while a coroutine waits on it";
    auto dies = [&](auto start) {
        auto const end = in_child([&] {
            return run([](auto begin) -> task<> {
                scope all;
                begin(all);
                co_await yield();
                co_await all.join();
            }(start));
        });
        CHECK(end.aborted());
        CHECK(end.says(message));
    };
    std::optional<event> e;
    std::optional<channel<int>> c;
    auto destroy = [](auto& what) -> task<> {
        what.reset();
        co_return;
    };
    dies([&](scope& all) {
        e.emplace();
        all.spawn(part::wait(*e));
        all.spawn(destroy(e));
    });
    dies([&](scope& all) {
        c.emplace(1);
        all.spawn(part::send(*c));
        all.spawn(destroy(c));
    });
    dies([&](scope& all) {
        c.emplace(1);
        all.spawn(part::receive(*c));
        all.spawn(destroy(c));
    });
}

TEST_CASE("those who were served do not need their event or channel any more", "[event][channel]")
{
    struct part
    {
        static task<> wait(event& e, int& served)
        {
            auto const r = co_await e.wait();
            served += r.has_value();
        }
        static task<> send(channel<int>& c, int value, int& served)
        {
            auto const r = co_await c.send(value);
            served += r.has_value();
        }
        static task<> receive(channel<int>& c, int& served)
        {
            auto const r = co_await c.receive();
            served += r.has_value();
        }
    };
    run_well([]() -> task<> {
        int served = 0;
        scope all;
        auto e = std::make_unique<event>();
        auto full = std::make_unique<channel<int>>(1);
        auto empty = std::make_unique<channel<int>>(1);
        int value = 1;
        CHECK(full->try_send(value));
        all.spawn(part::wait(*e, served));
        all.spawn(part::send(*full, 2, served));
        all.spawn(part::receive(*empty, served));
        co_await yield();
        e->set();
        CHECK(full->try_receive());
        CHECK(empty->try_send(value));
        e.reset();
        full.reset();
        empty.reset();
        co_await all.join();
        CHECK(served == 3);
    }());
}
