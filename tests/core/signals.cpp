// SPDX-License-Identifier: BSL-1.0
// Signals are sent in forked children: what is tested here ends processes.
#include "core/core.hpp"

#include "child.hpp"

#include <atomic>
#include <thread>
#include <csignal>

using namespace wring;
using namespace wring::test;

// Children with several loops are forked while the thread pool runs; TSan refuses that unless told otherwise.
extern "C" char const* __tsan_default_options();
extern "C" [[gnu::visibility("default")]] char const* __tsan_default_options()
{
    return "die_after_fork=0";
}

namespace {

task<> raise_soon(int number, int times = 1)
{
    (void)co_await sleep_for(1ms);
    for (int i = 0; i < times; ++i)
        ::kill(::getpid(), number);
}

/// Sends a signal at once and waits for the stop that it asks for. Gives whether it came.
task<bool> stopped_by(int number)
{
    ::kill(::getpid(), number);
    auto const r = co_await sleep_for(30s);
    co_return r.error() == errc::canceled;
}

} // namespace

TEST_CASE("SIGINT and SIGTERM ask for a stop", "[signals]")
{
    for (int number : {SIGINT, SIGTERM}) {
        INFO(number);
        auto const end = in_child([number] {
            int status = 1;
            int const ran = run([](int n, int& result) -> task<> {
                bool const stopped = co_await stopped_by(n);
                result = stopped && this_loop().stopping() ? 0 : 2;
            }(number, status));
            return ran == 0 ? status : 3;
        });
        CHECK(end.exited_with(0));
    }
}

TEST_CASE("a stop signal reaches every loop", "[signals]")
{
    auto const end = in_child([] {
        std::atomic<int> stopped{0}, running{0};
        struct root
        {
            static task<> run(std::atomic<int>& count, std::atomic<int>& started)
            {
                if (++started == 3) ::kill(::getpid(), SIGTERM);
                auto const r = co_await sleep_for(30s);
                if (r.error() == errc::canceled) ++count;
            }
        };
        int const status = run([&] { return root::run(stopped, running); }, {.threads = 3});
        return status == 0 && stopped == 3 ? 0 : 1;
    });
    CHECK(end.exited_with(0));
}

TEST_CASE("a second stop signal ends the process at once with 128 + its number", "[signals]")
{
    for (int number : {SIGINT, SIGTERM}) {
        INFO(number);
        auto const end = in_child([number] {
            return run([](int n) -> task<> {
                bool const stopped = co_await stopped_by(SIGINT);
                if (!stopped) co_return;
                ::kill(::getpid(), n);
                for (;;) // a program that does not end by itself
                    co_await yield();
            }(number));
        });
        CHECK(end.exited_with(128 + number));
        CHECK(end.says("second signal"));
    }
}

// In a fresh process: in a forked child of one with threads, TSan holds a signal back for a loop that never waits.
TEST_CASE("a second stop signal ends a process whose loop is blocked", "[signals]")
{
    auto const end = in_fresh_process("a loop that is blocked");
    INFO(end.output);
    CHECK(end.exited_with(128 + SIGTERM));
    CHECK(end.says("second signal"));
}
TEST_CASE("a loop that is blocked", "[.fresh]")
{
    run([]() -> task<> {
        for (;;) {
            ::kill(::getpid(), SIGTERM);
            ::usleep(1000);
        }
        co_return;
    }());
}

TEST_CASE("a loop with handle_signals off goes on while another run() is stopped", "[signals]")
{
    auto const end = in_child([] {
        std::atomic<bool> other_runs = false;
        std::jthread other([&] {
            run(
                [&]() -> task<> {
                    other_runs = true;
                    auto const stopped = co_await sleep_for(std::chrono::hours(1));
                    (void)stopped;
                },
                {});
        });
        while (!other_runs)
            std::this_thread::yield();
        bool undisturbed = false;
        int const status = run(
            [&]() -> task<> {
                ::kill(::getpid(), SIGTERM);
                auto const slept = co_await sleep_for(std::chrono::milliseconds(20));
                undisturbed = slept.has_value();
            },
            {.handle_signals = false});
        return undisturbed ? status : 2;
    });
    CHECK(end.exited_with(0));
}

TEST_CASE("with handle_signals off a stop signal has its default effect", "[signals]")
{
    auto const end = in_child(
        [] { return run([]() -> task<> { (void)co_await stopped_by(SIGTERM); }(), {.handle_signals = false}); });
    CHECK(WIFSIGNALED(end.status));
    CHECK(WTERMSIG(end.status) == SIGTERM);
}

TEST_CASE("after run the signals have their former effect, and a later run starts unasked", "[signals]")
{
    auto const end = in_child([] {
        int const first = run([]() -> task<> { (void)co_await stopped_by(SIGINT); }());
        bool good = false;
        int const second = run([](bool& ok) -> task<> {
            (void)co_await sleep_for(2ms);
            ok = !co_await stop_requested();
        }(good));
        if (first != 0 || second != 0 || !good) return 1;
        ::raise(SIGINT);
        return 2;
    });
    CHECK(WIFSIGNALED(end.status));
    CHECK(WTERMSIG(end.status) == SIGINT);
}

TEST_CASE("a signals object takes a signal over", "[signals]")
{
    auto const end = in_child([] {
        bool good = false;
        int const status = run([](bool& ok) -> task<> {
            signals hup(SIGHUP);
            scope others;
            others.spawn(raise_soon(SIGHUP));
            auto const first = co_await hup.next();
            others.spawn(raise_soon(SIGHUP));
            auto const second = co_await hup.next();
            co_await others.join();
            ok = first && *first == SIGHUP && second && *second == SIGHUP && !this_loop().stopping();
        }(good));
        return status == 0 && good ? 0 : 1;
    });
    CHECK(end.exited_with(0));
}

TEST_CASE("a signals object for SIGINT takes it from run; afterwards run has it again", "[signals]")
{
    auto const end = in_child([] {
        bool good = false;
        int const status = run([](bool& ok) -> task<> {
            {
                signals both(SIGINT, SIGUSR1);
                scope others;
                others.spawn(raise_soon(SIGINT, 3));
                auto const first = co_await both.next();
                co_await others.join();
                others.spawn(raise_soon(SIGUSR1));
                int number = 0;
                while (number != SIGUSR1) {
                    auto const next = co_await both.next();
                    number = next.value();
                }
                co_await others.join();
                ok = first && *first == SIGINT && !this_loop().stopping();
            }
            bool const stopped = co_await stopped_by(SIGINT);
            ok = ok && stopped;
        }(good));
        return status == 0 && good ? 0 : 1;
    });
    CHECK(end.exited_with(0));
}

TEST_CASE("a signal that came before next() is not lost, and a cancel loses none", "[signals]")
{
    auto const end = in_child([] {
        bool good = false;
        int const status = run([](bool& ok) -> task<> {
            signals user(SIGUSR1);
            ::kill(::getpid(), SIGUSR1);
            auto const at_once = co_await user.next();
            auto const none = co_await timeout(2ms, user.next());
            ::kill(::getpid(), SIGUSR1);
            auto const again = co_await user.next();
            ok = at_once && none.error() == errc::timed_out && again;
        }(good));
        return status == 0 && good ? 0 : 1;
    });
    CHECK(end.exited_with(0));
}

TEST_CASE("two signals objects for one number are both told", "[signals]")
{
    struct part
    {
        static task<> wait(int& told)
        {
            signals user(SIGUSR2);
            auto const r = co_await user.next();
            if (r && *r == SIGUSR2) ++told;
        }
    };
    auto const end = in_child([] {
        int told = 0;
        int const status = run([](int& count) -> task<> {
            scope all;
            all.spawn(part::wait(count));
            all.spawn(part::wait(count));
            all.spawn(raise_soon(SIGUSR2));
            co_await all.join();
        }(told));
        return status == 0 && told == 2 ? 0 : 1;
    });
    CHECK(end.exited_with(0));
}

TEST_CASE("a signal that does not exist is an error", "[signals]")
{
    run_well([]() -> task<> {
        for (int number : {SIGKILL, -1, 65, 1000}) {
            INFO(number);
            std::error_code error;
            try {
                signals none(number);
            } catch (std::system_error const& e) {
                error = e.code();
            }
            CHECK(error == std::errc::invalid_argument);
        }
        co_return;
    }());
}

TEST_CASE("a signals object that can't have both its signals has none", "[signals]")
{
    run_well([]() -> task<> {
        for (auto const& pair : {std::pair{SIGUSR1, 0}, {SIGUSR1, SIGUSR1}, {0, SIGUSR1}, {SIGUSR1, SIGKILL},
                                 {SIGUSR1, 32}}) // the C library's own, which it lets nobody have
            CHECK_THROWS_AS(signals(pair.first, pair.second), std::system_error);
        CHECK_THROWS_AS(signals(0), std::system_error);
        struct sigaction now{};
        CHECK(::sigaction(SIGUSR1, nullptr, &now) == 0);
        CHECK(now.sa_handler == SIG_DFL);
        co_return;
    }());
    auto const claimed = in_child([] { // SIGINT is run's again
        return run([]() -> task<> {
            try {
                signals both(SIGINT, 32);
            } catch (std::system_error const&) {
                ::raise(SIGINT);
            }
            auto const r = co_await sleep_for(1h);
            if (r.error() == errc::canceled) throw std::runtime_error("stopped");
        }());
    });
    CHECK(claimed.says("stopped"));
}

TEST_CASE("a signals object destroyed while a coroutine waits for it aborts with a message", "[signals][death]")
{
    struct part
    {
        static task<> wait(signals& s) { (void)co_await s.next(); }
    };
    auto const end = in_child([] {
        return run([]() -> task<> {
            scope all;
            std::optional<signals> hup(SIGHUP);
            all.spawn(part::wait(*hup));
            co_await yield();
            hup.reset();
            co_await all.join();
        }());
    });
    CHECK(end.aborted());
    CHECK(end.says("a signals object was destroyed while a coroutine waits for it"));
}
