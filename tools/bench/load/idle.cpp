// SPDX-License-Identifier: BSL-1.0
// Connections that are only held: what one costs the server in memory.
#include "run.hpp"

#include "proc.hpp"

#include <wring/timeout.hpp>

using namespace wring;
using namespace std::chrono_literals;

namespace load {

namespace {

class silence final : public traffic
{
public:
    explicit silence(run& r) : traffic(r.pool) {}

    // A greeting may come, too.
    void received(connection& c, std::span<std::byte const>, bool) override
    {
        if (c.received() == 0 && c.owed() > 0 && --waiting_ == 0)
            answered_.set();
        c.count_received();
    }

    /// Has each connection echo a message, some at a time: all at once would only measure how many buffers that takes.
    task<> touch(run& r)
    {
        for (std::size_t i = 0; i < r.connections.size(); i += 16) {
            answered_.reset();
            waiting_ = std::min<std::size_t>(16, r.connections.size() - i);
            for (auto k = i, end = i + waiting_; k < end; ++k)
                r.connections[k].owe(1);
            auto const all = co_await timeout(10s, answered_.wait());
            if (!all)
                throw failure("no echo came back: " + r.counts.first_error);
        }
    }

private:
    std::size_t waiting_ = 0;
    event answered_;
};

task<> hold(scope& members, run& r, silence& none)
{
    auto const pid = r.how.server_pid;
    // One connection first: what a server allocates once, at its first client, is no cost of a connection.
    co_await open_connections(r, 1);
    start_connections(members, r, none);
    co_await pause(500ms);
    auto const before = server_memory(pid);
    co_await open_connections(r, r.how.connections);
    start_connections(members, r, none, 1);
    if (r.how.touch)
        co_await none.touch(r);
    co_await pause(1s);
    auto const after = server_memory(pid);
    if (before.resident == 0 || after.resident == 0)
        throw failure("cannot read the server's smaps_rollup");
    auto const n = static_cast<double>(r.how.connections - 1);
    r.results.rss_per_connection = (after.resident - before.resident) / n;
    r.results.dirty_per_connection = (after.dirty - before.dirty) / n;
    co_await measure(r);
}

} // namespace

task<> run_idle(run& r)
{
    silence none(r);
    co_await with_scope(hold, std::ref(r), std::ref(none));
}

} // namespace load
