// SPDX-License-Identifier: BSL-1.0
// A run, and the steps that all modes have in common.
#pragma once

#include "connection.hpp"
#include "schedule.hpp"

#include <wring/scope.hpp>

#include <bit>
#include <deque>

namespace load {

struct run
{
    explicit run(options const& o) : how(o), pool(o), connect(o) {}

    options const& how;
    message_pool pool;
    tally counts;
    connector connect;
    std::deque<connection> connections;
    load::results results;
};

/// When each message was sent, or in an open loop was to be; and what makes a sender send.
class timeline
{
public:
    explicit timeline(run& r) : run_(r), slots_(std::bit_ceil(r.how.in_flight))
    {
        if (r.how.rate == 0)
            sent_.resize(std::size_t{r.how.sending()} * slots_);
    }

    /// All senders begin: in a closed loop with what is to be in flight, in an open one by the schedule, which a child
    /// of `members` keeps.
    void start(wring::scope& members);

    /// The time; read once for all that a connection is given in one turn of the loop.
    [[nodiscard]] wring::clock::time_point now(connection const& c) noexcept
    {
        auto const turn = wring::this_loop().now();
        if (turn != turn_ || &c != reader_)
            now_ = wring::clock::now();
        turn_ = turn;
        reader_ = &c;
        return now_;
    }

    /// A sender's message was answered `now`: in a closed loop the next one follows.
    void answered(connection& sender, wring::clock::time_point now) noexcept
    {
        if (!schedule_)
            send(sender, 1, now);
    }

    [[nodiscard]] wring::clock::time_point of(unsigned sender, std::uint64_t n) const noexcept
    {
        return schedule_ ? schedule_->due(sender, n) : sent_[slot(sender, n)];
    }

private:
    [[nodiscard]] std::size_t slot(unsigned sender, std::uint64_t n) const noexcept
    {
        return std::size_t{sender} * slots_ + (n & (slots_ - 1));
    }
    void send(connection& c, unsigned count, wring::clock::time_point now) noexcept
    {
        for (unsigned i = 0; i < count; ++i)
            sent_[slot(c.id(), c.owed() + i)] = now;
        c.owe(count);
    }
    wring::task<> keep_schedule();

    run& run_;
    unsigned slots_;
    std::vector<wring::clock::time_point> sent_; // of the messages under way, a ring of so many slots per sender
    std::optional<schedule> schedule_;
    wring::clock::time_point turn_, now_;
    connection const* reader_ = nullptr;
};

/// Opens connections until there are `end`. Throws failure.
wring::task<> open_connections(run& r, unsigned end);

/// Lets the connections from number `first` on read and write, as children of `members`.
void start_connections(wring::scope& members, run& r, traffic& all, unsigned first = 0);

/// Sleeps; throws failure where the program is asked to stop.
wring::task<> pause(wring::duration d);

/// The warm-up and the measured time. Throws failure where that makes no sense any more.
wring::task<> warm_up_and_measure(run& r);
wring::task<> measure(run& r);

// The modes: each opens its connections, measures, and fills in run::results.
wring::task<> run_echo(run& r);
wring::task<> run_broadcast(run& r);
wring::task<> run_idle(run& r);
wring::task<> run_churn(run& r); // and handshake

} // namespace load
