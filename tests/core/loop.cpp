// SPDX-License-Identifier: BSL-1.0
#include "core/core.hpp"

#include "child.hpp"
#include "engine/loop_core.hpp"

#include <atomic>
#include <cstdlib>
#include <mutex>
#include <numeric>
#include <set>
#include <thread>
#include <vector>

#include <sched.h>

using namespace wring;
using namespace wring::test;

namespace {

/// A flag that another thread sets through post, and a coroutine waits for.
struct latch
{
    void arrive(int n = 1)
    {
        left -= n;
        if (left <= 0) done.set();
    }
    int left;
    event done;
};

} // namespace

TEST_CASE("run gives 0 when its root has ended", "[run]")
{
    bool ran = false;
    CHECK(run([](bool& flag) -> task<> {
              co_await yield();
              flag = true;
          }(ran)) == 0);
    CHECK(ran);
}

TEST_CASE("an exception that leaves the root is printed and gives 1", "[run]")
{
    auto const standard = in_child([] {
        return run([]() -> task<> {
            co_await yield();
            throw std::runtime_error("no more tea");
        }());
    });
    CHECK(standard.exited_with(1));
    CHECK(standard.says("wring: no more tea"));
    auto const other = in_child([] {
        return run([]() -> task<> {
            co_await yield();
            throw 42;
        }());
    });
    CHECK(other.exited_with(1));
    CHECK(other.says("unknown type"));
    auto const factory = in_child([] { return run([]() -> task<> { throw std::runtime_error("no task at all"); }); });
    CHECK(factory.exited_with(1));
    CHECK(factory.says("no task at all"));
}

TEST_CASE("run may be called again, and again after an exception", "[run]")
{
    for (int i = 0; i < 5; ++i) {
        run_well([]() -> task<> { (void)co_await sleep_for(0ms); }());
        auto const failed = in_child([] {
            int const first = run([]() -> task<> {
                co_await yield();
                throw 1;
            }());
            return first * 10 + run([]() -> task<> { co_await yield(); }());
        });
        CHECK(failed.exited_with(10));
    }
}

TEST_CASE("this_loop knows its engine, its number and its clock", "[loop]")
{
    char const* const wanted = std::getenv("WRING_ENGINE");
    run_well([](char const* name) -> task<> {
        loop& here = this_loop();
        CHECK(here.index() == 0);
        CHECK_FALSE(here.stopping());
        CHECK(here.engine() != engine_kind::automatic);
        if (name && *name) CHECK(std::string(to_string(here.engine())) == name);
        (void)co_await sleep_for(1ms);
        CHECK(here.now() <= clock::now());
        CHECK(clock::now() - here.now() < 10s);
    }(wanted));
}

TEST_CASE("engines have names", "[loop]")
{
    for (auto kind : {engine_kind::automatic, engine_kind::uring, engine_kind::asio}) {
        auto const parsed = parse_engine(to_string(kind));
        REQUIRE(parsed);
        CHECK(*parsed == kind);
    }
    for (auto text : {"", "epoll", "AUTO", "auto ", "uring,asio"})
        CHECK(parse_engine(text).error() == std::errc::invalid_argument);
}

TEST_CASE("run's option goes before the environment", "[loop]")
{
    run_well(
        []() -> task<> {
            CHECK(this_loop().engine() == engine_kind::asio);
            co_return;
        }(),
        {.engine = engine_kind::asio});
}

TEST_CASE("a word in WRING_ENGINE that means nothing is reported and ignored", "[loop]")
{
    auto const end = in_child([] {
        ::setenv("WRING_ENGINE", "kqueue", 1);
        return run([]() -> task<> { co_await yield(); }());
    });
    CHECK(end.exited_with(0));
    CHECK(end.says("WRING_ENGINE=kqueue is not one of auto, uring, asio"));
}

TEST_CASE("without a loop, what needs one aborts with a message", "[loop][death]")
{
    auto const end = in_child([] {
        (void)this_loop();
        return 0;
    });
    CHECK(end.aborted());
    CHECK(end.says("this needs a running loop"));
}

TEST_CASE("request_stop cancels the root and all below", "[loop]")
{
    run_well([]() -> task<> {
        int canceled = 0;
        scope all;
        all.spawn(until_canceled(canceled));
        this_loop().post([&here = this_loop()] { here.request_stop(); });
        co_await all.join();
        CHECK(canceled == 1);
        CHECK(this_loop().stopping());
    }());
}

TEST_CASE("post from its own thread runs in a later turn, in order", "[post]")
{
    run_well([]() -> task<> {
        std::vector<int> order;
        event done;
        for (int i = 0; i < 100; ++i)
            this_loop().post([i, &order] { order.push_back(i); });
        this_loop().post([&done] { done.set(); });
        CHECK(order.empty());
        auto const r = co_await done.wait();
        CHECK(r);
        REQUIRE(order.size() == 100);
        for (int i = 0; i < 100; ++i)
            CHECK(order[static_cast<std::size_t>(i)] == i);
    }());
}

TEST_CASE("post from many threads loses nothing and keeps each thread's order", "[post]")
{
    run_well([]() -> task<> {
        constexpr int threads = 8, each = 2000;
        std::vector<std::vector<int>> got(threads);
        latch all{threads * each, {}};
        loop& here = this_loop();
        std::vector<std::thread> posters;
        for (int t = 0; t < threads; ++t)
            posters.emplace_back([t, &here, &got, &all] {
                for (int i = 0; i < each; ++i)
                    here.post([t, i, &got, &all] {
                        got[static_cast<std::size_t>(t)].push_back(i);
                        all.arrive();
                    });
            });
        auto const r = co_await all.done.wait();
        CHECK(r);
        for (auto& thread : posters)
            thread.join();
        for (auto const& part : got) {
            REQUIRE(part.size() == each);
            CHECK(std::is_sorted(part.begin(), part.end()));
        }
    }());
}

TEST_CASE("a post wakes a loop that waits: a thousand times one at a time", "[post]")
{
    // Each post is made when the loop has nothing else to do; a lost wakeup hangs here.
    run_well([]() -> task<> {
        loop& here = this_loop();
        std::atomic<int> turn{0};
        std::atomic<bool> end{false};
        latch all{1000, {}};
        std::thread poster([&] {
            for (int i = 0; i < 1000; ++i) {
                for (int now = turn; now != i; now = turn)
                    turn.wait(now);
                here.post([&] {
                    all.arrive();
                    ++turn;
                    turn.notify_all();
                });
            }
            end = true;
        });
        auto const r = co_await all.done.wait();
        CHECK(r);
        poster.join();
        CHECK(end);
    }());
}

TEST_CASE("a loop may end as soon as it has run the last post", "[post]")
{
    for (int i = 0; i < 500; ++i) {
        std::atomic<loop*> target{nullptr};
        std::thread poster([&] {
            target.wait(nullptr);
            bool* flag = nullptr;
            loop& there = *target.load();
            there.post([&there, flag] {
                (void)flag;
                there.request_stop();
            });
        });
        run_well([](std::atomic<loop*>& published) -> task<> {
            published = &this_loop();
            published.notify_all();
            bool stopped = false;
            while (!stopped) { // never parked
                co_await yield();
                stopped = co_await stop_requested();
            }
        }(target));
        poster.join();
    }
}

TEST_CASE("a handle posts to its loop, and to nobody when that has ended", "[post]")
{
    std::optional<loop_handle> handle;
    auto const alive = std::make_shared<int>(1);
    std::atomic<bool> stop{false};
    std::atomic<int> taken{0}, ran{0};
    std::thread poster;
    run_well([](auto& h, auto& thread, auto& end, auto& count, auto& runs) -> task<> {
        h.emplace(this_loop().handle());
        event done;
        bool const posted = h->post([&done] { done.set(); });
        CHECK(posted);
        auto const r = co_await done.wait();
        CHECK(r);
        thread = std::thread([copy = *h, &end, &count, &runs] { // outlives the loop
            while (!end)
                if (copy.post([&runs] { ++runs; })) ++count;
        });
        while (runs == 0)
            (void)co_await sleep_for(1ms);
    }(handle, poster, stop, taken, ran));
    CHECK_FALSE(handle->post([copy = alive] {}));
    CHECK(alive.use_count() == 1);
    stop = true;
    poster.join();
    CHECK(ran > 0);
    CHECK(ran <= taken);
}

TEST_CASE("what was posted and not run is destroyed with the loop", "[post]")
{
    auto const alive = std::make_shared<int>(1);
    bool ran = false;
    run_well([](std::shared_ptr<int> const& held, bool& flag) -> task<> {
        this_loop().post([copy = held, &flag] { flag = true; });
        co_return;
    }(alive, ran));
    CHECK(alive.use_count() == 1);
}

TEST_CASE("an exception that leaves a posted function ends the process", "[post][death]")
{
    auto const end = in_child([] {
        return run([]() -> task<> {
            this_loop().post([] { throw std::runtime_error("posted"); });
            (void)co_await sleep_for(1h);
        }());
    });
    CHECK(end.aborted());
}

TEST_CASE("several loops: a thread, a number and a root each", "[threads]")
{
    std::mutex mutex;
    std::set<unsigned> numbers;
    std::set<std::thread::id> threads;
    auto note = [&] {
        std::lock_guard lock(mutex);
        numbers.insert(this_loop().index());
        threads.insert(std::this_thread::get_id());
    };
    struct root
    {
        static task<> run(decltype(note)& f)
        {
            f();
            (void)co_await sleep_for(1ms);
            f();
        }
    };
    CHECK(run([&note] { return root::run(note); }, {.threads = 4}) == 0);
    CHECK(numbers == std::set<unsigned>{0, 1, 2, 3});
    CHECK(threads.size() == 4);
}

TEST_CASE("one loop that ends leaves the others running", "[threads]")
{
    std::atomic<int> ended{0};
    struct root
    {
        static task<> run(std::atomic<int>& count)
        {
            if (this_loop().index() > 0) {
                ++count;
                co_return;
            }
            while (count < 2)
                (void)co_await sleep_for(1ms);
            bool const stopped = co_await stop_requested();
            if (!stopped) ++count;
        }
    };
    CHECK(run([&ended] { return root::run(ended); }, {.threads = 3}) == 0);
    CHECK(ended == 3);
}

TEST_CASE("an exception on one loop stops all and gives 1", "[threads]")
{
    auto const end = in_child([] {
        std::atomic<int> canceled{0};
        struct root
        {
            static task<> run(std::atomic<int>& count)
            {
                if (this_loop().index() == 2) throw std::runtime_error("loop two");
                auto const r = co_await sleep_for(1h);
                if (r.error() == errc::canceled) ++count;
            }
        };
        int const status = run([&canceled] { return root::run(canceled); }, {.threads = 4});
        return status == 1 && canceled == 3 ? 33 : 0;
    });
    CHECK(end.exited_with(33));
    CHECK(end.says("loop two"));
}

TEST_CASE("an exception is reported, and stops the other loops, before its own loop has drained", "[threads]")
{
    auto const end = in_child([] {
        struct shared
        {
            std::atomic<loop*> failing{nullptr};
            bool in_time = false;
        };
        struct root
        {
            static task<> run(shared& s)
            {
                if (this_loop().index() == 1) {
                    detail::loop_core::require().retain(); // something closes, until the other loop has stopped
                    s.failing = &this_loop();
                    s.failing.notify_all();
                    throw std::runtime_error("loop one");
                }
                s.failing.wait(nullptr);
                auto const slept = co_await sleep_for(5s);
                s.in_time = slept.error() == errc::canceled;
                s.failing.load()->post([] { detail::loop_core::require().drop(); });
            }
        };
        shared s;
        int const status = run([&s] { return root::run(s); }, {.threads = 2, .drain = 1h});
        return status == 1 && s.in_time ? 33 : 0;
    });
    CHECK(end.exited_with(33));
    CHECK(end.says("loop one"));
}

TEST_CASE("what outlives the root and never goes ends the process with a message that names it", "[run][death]")
{
    auto const end = in_child([] {
        return run(
            []() -> task<> {
                auto& core = detail::loop_core::require();
                core.retain(detail::lasting::listener);
                core.retain(detail::lasting::stream);
                core.retain(detail::lasting::stream);
                core.retain(detail::lasting::udp_socket);
                core.drop(detail::lasting::udp_socket);
                co_return;
            }(),
            {.drain = 10ms});
    });
    CHECK(end.aborted());
    CHECK(end.says("left behind what must not outlive it: 1 listener, 2 streams\n"));
}

TEST_CASE("what goes when the drain has lasted too long ends the loop well", "[run]")
{
    struct closing : detail::stop_callback
    {
        explicit closing(detail::loop_core& l) : core(l)
        {
            core.retain();
            on_stop = [](stop_callback& c) noexcept {
                auto& loop = static_cast<closing&>(c).core;
                loop.handle().post([&loop] { loop.drop(); }); // its last completion comes in a later turn
            };
            core.give_up().add(*this);
        }
        detail::loop_core& core;
    };
    auto const before = clock::now();
    std::unique_ptr<closing> last;
    run_well(
        [](std::unique_ptr<closing>& c) -> task<> {
            c = std::make_unique<closing>(detail::loop_core::require());
            co_return;
        }(last),
        {.drain = 20ms});
    CHECK(clock::now() - before >= 20ms);
}

TEST_CASE("loops post to each other", "[threads][post]")
{
    struct shared
    {
        std::mutex mutex;
        std::vector<loop*> loops;
        std::atomic<int> received{0};
    };
    struct root
    {
        static task<> run(shared& s)
        {
            {
                std::lock_guard lock(s.mutex);
                s.loops.push_back(&this_loop());
            }
            bool all = false;
            while (!all) {
                (void)co_await sleep_for(1ms);
                std::lock_guard lock(s.mutex);
                all = s.loops.size() == 3;
            }
            for (int i = 0; i < 100; ++i)
                for (loop* other : s.loops)
                    other->post([&s] { ++s.received; });
            while (s.received < 900) // nobody leaves before all have got theirs
                (void)co_await sleep_for(1ms);
        }
    };
    shared s;
    CHECK(run([&s] { return root::run(s); }, {.threads = 3}) == 0);
    CHECK(s.received == 900);
}

TEST_CASE("pinned loops run on a processor each, and the caller gets its own set back", "[threads]")
{
    cpu_set_t before;
    REQUIRE(::sched_getaffinity(0, sizeof before, &before) == 0);
    std::atomic<int> pinned{0};
    struct root
    {
        static task<> run(std::atomic<int>& count)
        {
            cpu_set_t now;
            if (::sched_getaffinity(0, sizeof now, &now) == 0 && CPU_COUNT(&now) == 1) ++count;
            co_return;
        }
    };
    CHECK(run([&pinned] { return root::run(pinned); }, {.threads = 2, .pin = true}) == 0);
    CHECK(pinned == 2);
    cpu_set_t after;
    REQUIRE(::sched_getaffinity(0, sizeof after, &after) == 0);
    CHECK(CPU_EQUAL(&before, &after));
    ::sched_setaffinity(0, sizeof before, &before);
}

TEST_CASE("threads = 0 is one per processor", "[threads]")
{
    std::atomic<unsigned> loops{0};
    struct root
    {
        static task<> run(std::atomic<unsigned>& count)
        {
            ++count;
            co_return;
        }
    };
    CHECK(run([&loops] { return root::run(loops); }, {.threads = 0}) == 0);
    CHECK(loops == std::max(1U, std::thread::hardware_concurrency()));
}

TEST_CASE("more ready coroutines than a turn resumes still all run", "[loop]")
{
    struct part
    {
        static task<> work(int& count)
        {
            for (int i = 0; i < 3; ++i)
                co_await yield();
            ++count;
        }
    };
    run_well([]() -> task<> {
        int count = 0;
        scope all;
        for (int i = 0; i < 20'000; ++i)
            all.spawn(part::work(count));
        co_await all.join();
        CHECK(count == 20'000);
    }());
}

TEST_CASE("a coroutine that never rests does not starve timers", "[loop]")
{
    struct part
    {
        static task<> spin(bool& stop)
        {
            while (!stop)
                co_await yield();
        }
    };
    run_well([]() -> task<> {
        bool stop = false;
        scope all;
        all.spawn(part::spin(stop));
        auto const r = co_await sleep_for(5ms);
        CHECK(r);
        stop = true;
        co_await all.join();
    }());
}

TEST_CASE("operations that complete at once let the loop have its turn after some in a row", "[loop]")
{
    struct part
    {
        static task<> spin(int& count, bool& stop)
        {
            while (!stop && ++count < 10'000)
                co_await detail::at_once();
        }
    };
    run_well([]() -> task<> {
        int one = 0, other = 0;
        bool stop = false;
        scope all;
        all.spawn(part::spin(one, stop));
        all.spawn(part::spin(other, stop));
        for (int i = 0; i < 3; ++i) // within a turn
            co_await yield();
        CHECK(one == 65);
        CHECK(other == 65);
        event posted;
        this_loop().post([&posted] { posted.set(); });
        auto const next = co_await posted.wait();
        CHECK(next);
        CHECK(one >= 65 + 64);
        CHECK(one <= 65 + 2 * 65);
        CHECK(other == one);
        stop = true;
        co_await all.join();
    }());
}

TEST_CASE("where very many send at once the loop looks at other things between, which go first", "[loop]")
{
    struct end final : detail::turn_end
    {
        explicit end(std::vector<int>& in, int n) : order(&in), number(n)
        {
            call = [](turn_end& e) noexcept { static_cast<end&>(e).order->push_back(static_cast<end&>(e).number); };
        }
        std::vector<int>* order;
        int number;
    };
    struct part
    {
        static task<> next_turn()
        {
            event posted;
            this_loop().post([&posted] { posted.set(); });
            (void)co_await posted.wait();
        }
        static task<> root()
        {
            auto& loop = detail::loop_core::require();
            std::vector<int> ran;
            ran.reserve(4000); // they run in noexcept functions
            std::vector<end> crowd;
            for (int i = 0; i < 3000; ++i)
                crowd.emplace_back(ran, i);
            for (auto& e : crowd)
                loop.at_turn_end(e);
            co_await next_turn();
            CHECK(ran.size() == 512);
            end newcomer(ran, -1);
            loop.at_turn_end(newcomer);
            co_await next_turn();
            CHECK(ran.size() == 1024);
            CHECK(ran[512] == -1);
            std::vector<end> others; // however many come, those that wait have half of the time
            for (int i = 0; i < 600; ++i)
                others.emplace_back(ran, 10'000 + i);
            for (auto& e : others)
                loop.at_turn_end(e);
            co_await next_turn();
            REQUIRE(ran.size() == 1536);
            CHECK(ran[1024] == 10'000);
            CHECK(ran[1024 + 255] == 10'255);
            CHECK(ran[1024 + 256] == 1023);
            while (crowd.back().queued || others.back().queued)
                co_await next_turn();
            std::erase_if(ran, [](int n) { return n < 0 || n >= 10'000; });
            std::vector<int> in_order(3000);
            std::iota(in_order.begin(), in_order.end(), 0);
            CHECK(ran == in_order);
        }
    };
    run_well(part::root());
}

TEST_CASE("options out of range are refused with a line that says what may be", "[run]")
{
    struct
    {
        run_options options;
        char const* says;
    } const cases[] = {
        {{.threads = 1025}, "wring: run_options::threads is 1025; it must be from 0 to 1024\n"},
        {{.receive_buffer_size = 0}, "wring: run_options::receive_buffer_size is 0; it must be from 64 to 16777216\n"},
        {{.receive_buffer_size = 0xffffffff}, "receive_buffer_size is 4294967295; it must be from 64 to 16777216\n"},
        {{.receive_buffers = 0}, "receive_buffers is 0; it must be from 1 to 32768\n"},
        {{.receive_buffers = 32769}, "receive_buffers is 32769; it must be from 1 to 32768\n"},
        {{.submission_entries = 0}, "submission_entries is 0; it must be from 1 to 32768\n"},
        {{.completion_entries = 511}, "completion_entries is 511; it must be from 512 to 65536\n"},
        {{.drain = -1ms}, "drain is -1; it must be from 0 to 31536000000\n"},
        {{.drain = std::chrono::milliseconds::max()}, "drain is 9223372036854775807; it must be from 0"},
    };
    for (auto const& c : cases) {
        auto const end = in_child([&] {
            std::atomic<bool> ran{false};
            auto const root = [](std::atomic<bool>& flag) -> task<> {
                flag = true;
                co_return;
            };
            int const status = run([&] { return root(ran); }, c.options);
            return status + (ran ? 10 : 0);
        });
        CAPTURE(c.says, end.output);
        CHECK(end.exited_with(1));
        CHECK(end.says(c.says));
    }
    run_options const least{.receive_buffer_size = 64, .receive_buffers = 1, .submission_entries = 1,
                            .completion_entries = 1, .drain = 0ms};
    for (run_options const& options : {least, run_options{.receive_buffers = 3}})
        run_well([]() -> task<> { (void)co_await sleep_for(1ms); }(), options);
}

TEST_CASE("run() inside a running loop aborts and says so", "[run]")
{
    auto const end = in_child([] {
        return run([]() -> task<> {
            int const status = run([]() -> task<> { co_return; }());
            CHECK(status == 0);
            co_return;
        }());
    });
    CHECK(end.aborted());
    CHECK(end.says("already runs a loop"));
}
