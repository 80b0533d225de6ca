// SPDX-License-Identifier: BSL-1.0
#include "engine/run_state.hpp"
#include "engine/signal_hub.hpp"

#include <cstdio>
#include <fmt/format.h>
#include <optional>
#include <sched.h>
#include <thread>
#include <unistd.h>

namespace wring {

namespace detail {

void shared_run::request_stop() noexcept
{
    std::lock_guard lock(mutex);
    stopping = true;
    for (loop_core* core : loops)
        core->ask_stop();
}

namespace {

/// Binds the calling thread to the index-th of its processors while it lives.
class pinned
{
public:
    explicit pinned(unsigned index) noexcept : known_(::sched_getaffinity(0, sizeof allowed_, &allowed_) == 0)
    {
        if (!known_)
            return;
        unsigned wanted = index % static_cast<unsigned>(CPU_COUNT(&allowed_));
        for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
            if (!CPU_ISSET(cpu, &allowed_) || wanted-- > 0)
                continue;
            cpu_set_t one;
            CPU_ZERO(&one);
            CPU_SET(cpu, &one);
            ::sched_setaffinity(0, sizeof one, &one);
            return;
        }
    }
    pinned(pinned const&) = delete;
    pinned& operator=(pinned const&) = delete;
    ~pinned()
    {
        if (known_)
            ::sched_setaffinity(0, sizeof allowed_, &allowed_);
    }

private:
    cpu_set_t allowed_;
    bool known_;
};

void report(shared_run& shared, std::exception_ptr const& failure) noexcept
{
    try {
        std::rethrow_exception(failure);
    } catch (std::exception const& e) {
        bool first = true;
        try {
            std::lock_guard lock(shared.mutex);
            first = shared.reported.insert(e.what()).second;
        } catch (std::bad_alloc const&) { // then rather twice
        }
        if (first)
            std::fprintf(stderr, "wring: %s\n", e.what());
    } catch (...) {
        log_line("wring: an exception of unknown type left the root task");
    }
}

/// One loop, on the calling thread. False where an exception ended it.
bool run_loop(shared_run& shared, unsigned index, task_factory make, void* argument, run_options const& options)
{
    bool good = true;
    auto failed = [&](std::exception_ptr const& failure) {
        good = false;
        report(shared, failure);
        shared.request_stop();
    };
    try {
        std::optional<pinned> processor;
        if (options.pin)
            processor.emplace(index);
        loop_core core(options, index, &shared);
        bool stopping = false;
        {
            std::lock_guard lock(shared.mutex);
            shared.loops.push_back(&core);
            stopping = shared.stopping;
        }
        struct leave
        {
            ~leave()
            {
                std::lock_guard lock(shared.mutex);
                std::erase(shared.loops, &core);
            }
            shared_run& shared;
            loop_core& core;
        } guard{shared, core};
        if (stopping)
            core.request_stop();
        if (auto const failure = core.run(make(argument)))
            failed(failure); // before the drain, which may last
        core.drain();
    } catch (...) {
        failed(std::current_exception());
    }
    return good;
}

} // namespace

namespace {

/// What is wrong with the options; empty where nothing is.
std::string complaint(run_options const& o)
{
    auto check = [](char const* name, auto value, auto least, auto most) {
        if (value >= least && value <= most)
            return std::string();
        return fmt::format("wring: run_options::{} is {}; it must be from {} to {}", name, value, least, most);
    };
    constexpr std::int64_t year = 365LL * 24 * 3600 * 1000;
    for (auto const& one : {
             check("threads", o.threads, 0U, 1024U),
             check("receive_buffer_size", o.receive_buffer_size, 64U, 1U << 24),
             check("receive_buffers", o.receive_buffers, 1U, 1U << 15),
             check("submission_entries", o.submission_entries, 1U, 1U << 15),
             check("completion_entries", o.completion_entries, o.submission_entries, 1U << 16),
             check("drain", std::int64_t{o.drain.count()}, std::int64_t{0}, year),
         })
        if (!one.empty())
            return one;
    return {};
}

} // namespace

int run(task_factory make, void* argument, run_options const& options)
{
    if (auto const wrong = complaint(options); !wrong.empty()) {
        log_line(wrong);
        return 1;
    }
    unsigned const threads = options.threads ? options.threads : std::max(1U, std::thread::hardware_concurrency());
    run_options settled = options;
    settled.threads = threads;
    if (loop_core::current())
        fatal("wring: run() was called on a thread that already runs a loop; co_await the task, or spawn it");
    static std::atomic<std::uint64_t> runs{0};
    shared_run shared;
    shared.number = ++runs;
    if (options.handle_signals)
        signal_hub::watch_stop_signals();
    std::atomic<bool> good{true};
    auto one_loop = [&](unsigned index) {
        if (!run_loop(shared, index, make, argument, settled))
            good = false;
    };
    {
        std::vector<std::jthread> others; // joined on the way out
        try {
            for (unsigned i = 1; i < threads; ++i)
                others.emplace_back(one_loop, i);
        } catch (std::exception const& e) { // no thread, or no memory for one
            log_line(fmt::format("wring: can't start thread {} of {}: {}", others.size() + 2, threads, e.what()));
            shared.request_stop();
            good = false;
        }
        one_loop(0);
    }
    for (auto& [name, socket] : shared.listening)
        if (socket.fd >= 0)
            ::close(socket.fd);
    if (options.handle_signals)
        signal_hub::unwatch_stop_signals();
    return good ? 0 : 1;
}

} // namespace detail

int run(task<> root, run_options options)
{
    options.threads = 1;
    return detail::run([](void* only) { return std::move(*static_cast<task<>*>(only)); }, &root, options);
}

} // namespace wring
