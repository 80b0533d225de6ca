// SPDX-License-Identifier: BSL-1.0
#include "../catch.hpp"

#include "../../tools/bench/load/schedule.hpp"

using load::schedule;
using namespace std::chrono_literals;

TEST_CASE("messages are due at constant intervals, without drift")
{
    schedule::clock::time_point const start(100s);
    schedule const s(start, 3, 1); // an interval that no whole number of nanoseconds has
    CHECK(s.due(0) == start);
    CHECK(s.due(1) == start + 333333333ns);
    CHECK(s.due(3) == start + 1s);
    CHECK(s.due(3'000'000) == start + 1'000'000s);
}

TEST_CASE("a rate above a message per nanosecond is no trap, nor is one below a message per hour")
{
    schedule::clock::time_point const start{};
    CHECK(schedule(start, 1e8, 1).due(7) == start + 70ns);
    CHECK(schedule(start, 0.001, 1).due(5) == start + 5000s);
}

TEST_CASE("senders take turns, and each knows when its own message is due")
{
    schedule::clock::time_point const start(1s);
    schedule const s(start, 1000, 4);
    for (std::uint64_t k = 0; k < 20; ++k) {
        CHECK(s.sender(k) == k % 4);
        CHECK(s.due(s.sender(k), k / 4) == s.due(k));
    }
    CHECK(s.due(3, 2) == start + 11ms);
}
