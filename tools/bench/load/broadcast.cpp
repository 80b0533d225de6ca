// SPDX-License-Identifier: BSL-1.0
// What one member sends all receive. One sends, or several: then each message ends with a stamp that tells whose it is.
// In a closed loop a sender's next message follows when all have its last.
#include "run.hpp"

#include <algorithm>
#include <cstring>

using namespace wring;
using namespace std::chrono_literals;

namespace load {

namespace {

/// Whose message, and which of its messages: text, so that it may end one of either kind.
struct stamp
{
    static constexpr std::size_t size = message_pool::stamp_size;
    unsigned sender;
    std::uint64_t n;

    void write(std::span<std::byte> to) const noexcept
    {
        auto rest = n << 24 | sender;
        for (auto& b : to) {
            b = static_cast<std::byte>('0' + (rest & 63));
            rest >>= 6;
        }
    }
    static stamp read(std::span<std::byte const> from) noexcept
    {
        std::uint64_t all = 0;
        for (auto i = size; i-- > 0;)
            all = all << 6 | ((static_cast<std::uint64_t>(from[i]) - '0') & 63);
        return {static_cast<unsigned>(all & 0xFFFFFF), all >> 24};
    }
};

bool ends_with(std::span<std::byte const> message, std::span<std::byte const> end) noexcept
{
    return message.size() >= end.size() && std::ranges::equal(message.last(end.size()), end);
}

class hub_traffic final : public traffic
{
public:
    explicit hub_traffic(run& r) :
        traffic(r.pool), run_(r), times_(r), stamped_(r.how.senders > 1 ? r.how.senders : 0),
        delivered_(std::size_t{r.how.senders} * r.how.in_flight)
    {}

    void start(scope& members) { times_.start(members); }

    outgoing next(connection const& c, std::uint64_t n, std::uint64_t most) override
    {
        if (stamped_.empty())
            return of_pool(n, most);
        auto& bytes = stamped_[c.id()];
        auto const& plain = pool_.at(c.id() + n).bytes;
        bytes.assign(plain.begin(), plain.end());
        stamp{c.id(), n}.write(std::span(bytes).last<stamp::size>());
        return {bytes};
    }

    std::size_t size_of_next(connection const& c) const override
    {
        return pool_.at(stamped_.empty() ? c.received() : 0).bytes.size();
    }

    // A hub may put a name in front.
    void received(connection& c, std::span<std::byte const> message, bool) override
    {
        if (calibrating_) {
            if (probe_ && ends_with(message, *probe_))
                c.count_received();
            return;
        }
        auto const now = times_.now(c);
        stamp const from = stamped_.empty() ? stamp{0, c.received()} : stamp::read(last_of(message, stamp::size));
        if (from.sender >= run_.how.senders || from.n >= run_.connections[from.sender].owed())
            throw failure("a message that nobody sent");
        check(c, message, from);
        run_.counts.done(now - times_.of(from.sender, from.n));
        c.count_received();
        if (run_.how.rate > 0)
            return;
        auto& members = delivered_[from.sender * std::size_t{run_.how.in_flight} + from.n % run_.how.in_flight];
        if (++members == expected_) {
            members = 0;
            times_.answered(run_.connections[from.sender], now);
        }
    }

    /// A hub may greet and announce: waits until it is silent, then sends one message and sees who gets it.
    task<> calibrate()
    {
        calibrating_ = true;
        co_await quiet_for(300ms, 20s);
        auto& sender = run_.connections[0];
        sender.owe(1);
        auto const first = next(sender, 0, 1).bytes;
        probe_.emplace(first.begin(), first.end());
        co_await quiet_for(300ms, 10s);
        auto const reached = [](connection const& c) { return c.received() > 0; };
        if (std::ranges::count_if(run_.connections, reached) + 1 < run_.how.connections)
            co_await quiet_for(3s, 10s); // a machine that is busy with other things?
        for (auto& c : run_.connections) {
            if (c.received() > 1)
                throw failure("a member got one message several times");
            expected_ += reached(c) ? 1 : 0;
            c.start_over();
        }
        calibrating_ = false;
        // A server may leave the sender out, none of the others.
        if (expected_ + 1 < run_.how.connections || expected_ == 0)
            throw failure("a broadcast reached only " + std::to_string(expected_) + " of " +
                          std::to_string(run_.how.connections) + " members: is this a broadcasting server?");
    }

private:
    static std::span<std::byte const> last_of(std::span<std::byte const> message, std::size_t n)
    {
        if (message.size() < n)
            throw failure("a message has only " + std::to_string(message.size()) + " bytes");
        return message.last(n);
    }

    void check(connection const& c, std::span<std::byte const> message, stamp const& from) const
    {
        auto const& wanted = pool_.at(from.sender + from.n).bytes;
        if (message.size() < wanted.size())
            throw failure("a message has " + std::to_string(message.size()) + " bytes, not " +
                          std::to_string(wanted.size()));
        if ((c.id() + from.n) % 16 != 0)
            return;
        auto const end = stamped_.empty() ? 0 : stamp::size;
        if (!ends_with(message.first(message.size() - end), wanted.first(wanted.size() - end)))
            throw failure("a message differs from what was sent");
    }

    task<> quiet_for(duration silence, duration at_most)
    {
        auto const end = clock::now() + at_most;
        auto last = clock::now();
        auto seen = run_.counts.bytes;
        while (clock::now() - last < silence && clock::now() < end) {
            co_await pause(20ms);
            if (seen != run_.counts.bytes)
                last = clock::now();
            seen = run_.counts.bytes;
        }
    }

    run& run_;
    timeline times_;
    std::vector<std::vector<std::byte>> stamped_; // of each sender, what it sends; empty where there is one
    std::vector<unsigned> delivered_;             // members that have a message under way, a ring per sender
    unsigned expected_ = 0;                       // members that a message must reach
    bool calibrating_ = false;
    std::optional<std::vector<std::byte>> probe_; // once it is on its way
};

task<> converse(scope& members, run& r, hub_traffic& all)
{
    start_connections(members, r, all);
    co_await all.calibrate();
    all.start(members);
    co_await warm_up_and_measure(r);
}

} // namespace

task<> run_broadcast(run& r)
{
    co_await open_connections(r, r.how.connections);
    hub_traffic all(r);
    co_await with_scope(converse, std::ref(r), std::ref(all));
}

} // namespace load
