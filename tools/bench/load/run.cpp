// SPDX-License-Identifier: BSL-1.0
#include "run.hpp"

#include "proc.hpp"

#include <wring/timeout.hpp>

#include <algorithm>
#include <cstdio>

using namespace wring;
using namespace std::chrono_literals;

namespace load {

namespace {

double seconds_since(clock::time_point begin)
{
    return std::chrono::duration<double>(clock::now() - begin).count();
}

/// What those who open connections share.
struct opening
{
    opening(run& all, unsigned up_to) : r(all), next(static_cast<unsigned>(all.connections.size())), end(up_to) {}
    run& r;
    unsigned next;
    unsigned end;
    unsigned running = 0;
    std::string why; // one has failed
    event done;
};

task<> open_some(opening& o)
{
    try {
        while (o.next < o.end && o.why.empty()) {
            auto& c = o.r.connections.emplace_back(o.next++, o.r.how, o.r.counts);
            co_await c.open(o.r.connect);
        }
    } catch (failure const& e) {
        if (o.why.empty())
            o.why = e.what();
    }
    if (--o.running == 0)
        o.done.set();
}

task<> watch_opening(scope& openers, opening& o)
{
    // A window, so that the server's accept queue does not overflow: a lost SYN would cost a second each.
    o.running = std::min(256U, o.end - o.next);
    for (unsigned i = 0; i < o.running; ++i)
        openers.spawn(open_some(o));
    for (int second = 0; o.running > 0; ++second) {
        auto const done = co_await timeout(1s, o.done.wait());
        if (!done && done.error() != errc::timed_out)
            throw failure("interrupted");
        auto const open = std::to_string(o.r.counts.open);
        if (!o.why.empty())
            throw failure("gave up after " + open + " connections: " + o.why);
        if (second == 30)
            throw failure("only " + open + " of " + std::to_string(o.end) + " connections were open after 30 s");
        if (!done && !o.r.how.quiet)
            std::fprintf(stderr, "connecting: %s of %u\n", open.c_str(), o.end);
    }
}

/// Why there is no sense in going on, if that is so.
std::string hopeless(run const& r)
{
    auto const& counts = r.counts;
    bool const none = r.how.opens_again() ? counts.errors == r.how.connections : counts.open == 0;
    if (none)
        return "every connection has ended: " + counts.first_error;
    if (r.how.mode == mode::broadcast && counts.errors != 0)
        return "a member was lost: " + counts.first_error;
    return {};
}

/// Lets the run go on for a time, with a line each second; gives up when nothing arrives any more.
task<> phase(run& r, double seconds, char const* name)
{
    auto const begin = clock::now();
    auto const end = begin + std::chrono::duration_cast<duration>(std::chrono::duration<double>(seconds));
    auto line = begin + 1s;
    auto last_message = begin;
    auto seen = r.counts.messages, at_line = seen;
    for (auto now = begin; now < end; now = clock::now()) {
        auto const step = std::min({end - now, line - now, duration(100ms)});
        co_await pause(step);
        now = clock::now();
        if (now >= line) {
            if (!r.how.quiet)
                std::fprintf(stderr, "%s %.0f s: %llu messages/s, %llu errors\n", name, seconds_since(begin),
                             static_cast<unsigned long long>(r.counts.messages - at_line),
                             static_cast<unsigned long long>(r.counts.errors));
            at_line = r.counts.messages;
            line += 1s;
        }
        if (auto const why = hopeless(r); !why.empty())
            throw failure(why);
        if (seen != r.counts.messages || r.how.mode == mode::idle) {
            seen = r.counts.messages;
            last_message = now;
        } else if (now - last_message > 5s) {
            throw failure("no message for 5 s; so far " + std::to_string(seen) + ", errors " +
                          std::to_string(r.counts.errors) +
                          (r.counts.first_error.empty() ? "" : ": " + r.counts.first_error));
        }
    }
}

} // namespace

task<> pause(duration d)
{
    auto const slept = co_await sleep_for(d);
    if (!slept)
        throw failure("interrupted");
}

task<> open_connections(run& r, unsigned end)
{
    auto const begin = clock::now();
    opening o(r, end);
    co_await with_scope(watch_opening, std::ref(o));
    r.results.connect_seconds = seconds_since(begin);
}

void start_connections(scope& members, run& r, traffic& all, unsigned first)
{
    for (auto i = first; i < r.connections.size(); ++i) {
        members.spawn(r.connections[i].read(all));
        members.spawn(r.connections[i].write(all));
    }
}

void timeline::start(scope& members)
{
    auto const now = clock::now();
    if (run_.how.rate > 0) {
        schedule_.emplace(now, run_.how.rate, run_.how.sending());
        members.spawn(keep_schedule());
    } else {
        for (unsigned i = 0; i < run_.how.sending(); ++i)
            send(run_.connections[i], run_.how.in_flight, now);
    }
}

// Timers tick in milliseconds; so the last of them before a message is due go by turn for turn of the loop. However far
// behind it is, others have their turn.
task<> timeline::keep_schedule()
{
    constexpr std::uint64_t most_at_once = 4096;
    for (std::uint64_t k = 0;;) {
        auto const now = clock::now();
        auto const end = k + most_at_once;
        for (auto due = schedule_->due(k); due <= now && k < end; due = schedule_->due(++k)) {
            run_.counts.send_delay.add(static_cast<std::uint64_t>((now - due).count()));
            run_.connections[schedule_->sender(k)].owe(1);
        }
        auto wake_up = schedule_->due(k) - 3ms;
        if (wake_up < now)
            wake_up = {}; // in the next turn
        auto const slept = co_await sleep_until(wake_up);
        if (!slept)
            co_return;
    }
}

task<> measure(run& r)
{
    auto const pid = r.how.server_pid;
    auto const server = [pid] { return pid != 0 ? server_cpu(pid) : cpu_time{}; };
    r.counts.latency = r.counts.send_delay = {};
    auto const messages = r.counts.messages;
    auto const own_before = own_cpu();
    auto const before = server();
    auto const begin = clock::now();
    co_await phase(r, r.how.seconds, "measuring");
    auto const after = server();
    r.results.seconds = seconds_since(begin);
    r.results.messages = r.counts.messages - messages;
    r.results.cpu_ns = after.total_ns - before.total_ns;
    r.results.generator_share = (own_cpu() - own_before) / r.results.seconds;
    auto const ticks = after.user + after.kernel - before.user - before.kernel;
    r.results.user_share = ticks > 0 ? (after.user - before.user) / ticks : 0;
    auto const why = r.counts.first_error.empty() ? "" : ": " + r.counts.first_error;
    if (r.how.mode != mode::idle && r.results.messages == 0)
        throw failure("no message arrived in the measured time" + why);
    if (pid != 0 && after.total_ns <= 0)
        throw failure("the server ended while it was measured" + why);
}

task<> warm_up_and_measure(run& r)
{
    co_await phase(r, r.how.warmup, "warm-up");
    co_await measure(r);
}

} // namespace load
