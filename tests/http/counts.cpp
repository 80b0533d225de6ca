// SPDX-License-Identifier: BSL-1.0
#include "http/counts.hpp"

#include "catch.hpp"

#include <thread>
#include <vector>

using namespace wring;
using detail::connection_counts;
using detail::connection_ticket;

namespace {

std::shared_ptr<connection_counts> counts_with(std::size_t total, std::size_t unopened, std::size_t per_address = 0,
                                               std::size_t refusals = 1)
{
    auto counts = std::make_shared<connection_counts>();
    counts->set_limits({total, unopened, per_address, refusals});
    return counts;
}

endpoint at(std::string_view text)
{
    return endpoint::parse(text).value();
}

} // namespace

TEST_CASE("so many connections are admitted, and no more")
{
    auto counts = counts_with(3, 3);
    std::vector<std::unique_ptr<connection_ticket>> tickets;
    for (int i = 0; i < 3; ++i)
        tickets.push_back(counts->admit());
    CHECK(tickets.back());
    CHECK(!counts->admit());
    CHECK(counts->total() == 3);
    tickets.pop_back();
    CHECK(counts->admit());
    CHECK(counts->total() == 2);
    tickets.clear();
    CHECK(counts->total() == 0);
    CHECK(counts->unopened() == 0);
}

TEST_CASE("the unopened have a limit of their own")
{
    auto counts = counts_with(4, 2);
    auto first = counts->admit();
    auto second = counts->admit();
    CHECK(!counts->admit());
    CHECK(counts->total() == 2); // the refused one is in no count
    first->opened();
    first->opened(); // once is enough
    CHECK(counts->unopened() == 1);
    auto third = counts->admit();
    CHECK(third);
    CHECK(!counts->admit());
    first.reset();
    CHECK(counts->total() == 2);
    CHECK(counts->unopened() == 2);
    second.reset();
    third.reset();
    CHECK(counts->total() == 0);
    CHECK(counts->unopened() == 0);
}

TEST_CASE("each address has its share, by network for IPv6, and Unix sockets none")
{
    auto counts = counts_with(100, 100, 2);
    std::vector<std::unique_ptr<connection_ticket>> tickets;
    auto const from = [&](std::string_view address) {
        tickets.push_back(counts->admit());
        return tickets.back()->is_from(at(address));
    };
    CHECK(from("192.0.2.1:1"));
    CHECK(from("192.0.2.1:2"));
    CHECK(!from("192.0.2.1:3"));
    CHECK(from("192.0.2.2:1"));
    CHECK(from("[2001:db8::1]:1"));
    CHECK(from("[2001:db8::2]:1"));
    CHECK(!from("[2001:db8::3]:1"));
    for (int i = 0; i < 5; ++i)
        CHECK(from("unix:/run/x"));
    CHECK(counts->addresses() == 3);
    tickets.erase(tickets.begin()); // one of the first address leaves
    CHECK(from("192.0.2.1:4"));
    tickets.clear();
    CHECK(counts->addresses() == 0);
    CHECK(counts->total() == 0);
}

TEST_CASE("without a limit no address is kept")
{
    auto counts = counts_with(10, 10);
    auto ticket = counts->admit();
    CHECK(ticket->is_from(at("192.0.2.1:1")));
    CHECK(counts->addresses() == 0);
}

TEST_CASE("refusals that are under way are bounded, and are no connections")
{
    auto counts = counts_with(1, 1, 0, 2);
    auto one = counts->refuse();
    auto two = counts->refuse();
    CHECK(!counts->refuse());
    CHECK(counts->total() == 0);
    CHECK(counts->admit());
    one.reset();
    CHECK(counts->refuse());
}

TEST_CASE("a ticket knows the client that a proxy has named")
{
    auto counts = counts_with(1, 1);
    auto ticket = counts->admit();
    CHECK(!ticket->remote());
    ticket->set_remote(at("192.0.2.1:7"));
    REQUIRE(ticket->remote());
    CHECK(*ticket->remote() == at("192.0.2.1:7"));
}

TEST_CASE("tickets may outlive the server")
{
    auto counts = counts_with(1, 1, 1);
    auto ticket = counts->admit();
    CHECK(ticket->is_from(at("192.0.2.1:7")));
    counts.reset();
    ticket->opened();
    ticket.reset();
}

TEST_CASE("counts are exact after threads have used them at the same time")
{
    auto counts = counts_with(20, 10, 15, 3);
    std::atomic<std::size_t> most{0};
    {
        std::vector<std::jthread> threads;
        for (int t = 0; t < 4; ++t)
            threads.emplace_back([&, t] {
                std::vector<std::unique_ptr<connection_ticket>> mine;
                for (int i = 0; i < 5000; ++i) {
                    auto ticket = counts->admit();
                    if (ticket && ticket->is_from(at(t % 2 ? "192.0.2.1:1" : "192.0.2.2:1"))) {
                        if (i % 3) ticket->opened();
                        mine.push_back(std::move(ticket));
                    }
                    if (mine.size() > 7 || i % 11 == 0) mine.clear();
                    auto const seen = counts->total();
                    if (seen > most) most = seen;
                    auto const refused = counts->refuse();
                }
            });
    }
    CHECK(most <= 20);
    CHECK(counts->total() == 0);
    CHECK(counts->unopened() == 0);
    CHECK(counts->addresses() == 0);
}
