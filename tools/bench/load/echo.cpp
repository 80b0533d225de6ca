// SPDX-License-Identifier: BSL-1.0
// Every connection sends, and waits for its own messages. Lengths of replies are compared always, contents of every
// sixteenth.
#include "run.hpp"

#include <algorithm>

using namespace wring;

namespace load {

namespace {

class echo final : public traffic
{
public:
    explicit echo(run& r) : traffic(r.pool), how_(r.how), counts_(r.counts), times_(r) {}

    void start(scope& members) { times_.start(members); }

    void received(connection& c, std::span<std::byte const> message, bool is_text) override
    {
        auto const n = c.received();
        if (n >= c.owed())
            throw failure("a reply that nothing was sent for");
        auto const& wanted = pool_.at(c.id() + n).bytes;
        if (message.size() != wanted.size())
            throw failure("a reply has " + std::to_string(message.size()) + " bytes, not " +
                          std::to_string(wanted.size()));
        if (!how_.raw && is_text != how_.text)
            throw failure(is_text ? "a reply is text, not binary" : "a reply is binary, not text");
        if ((c.id() + n) % 16 == 0 && !std::ranges::equal(message, wanted))
            throw failure("a reply differs from what was sent");
        auto const now = times_.now(c);
        counts_.done(now - times_.of(c.id(), n));
        c.count_received();
        times_.answered(c, now);
    }

private:
    options const& how_;
    tally& counts_;
    timeline times_;
};

task<> exchange(scope& members, run& r, echo& all)
{
    start_connections(members, r, all);
    all.start(members);
    co_await warm_up_and_measure(r);
}

} // namespace

task<> run_echo(run& r)
{
    co_await open_connections(r, r.how.connections);
    echo all(r);
    co_await with_scope(exchange, std::ref(r), std::ref(all));
}

} // namespace load
