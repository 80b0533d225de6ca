// SPDX-License-Identifier: BSL-1.0
#include "ws/backoff.hpp"

#include "catch.hpp"

#include <limits>

using namespace std::chrono_literals;
using wring::duration;
using wring::detail::backoff;

namespace {
constexpr std::uint64_t all_ones = std::numeric_limits<std::uint64_t>::max();
}

TEST_CASE("delays grow by the factor, up to the most")
{
    backoff b(100ms, 1s, 2);
    for (auto expected : {100ms, 200ms, 400ms, 800ms, 1000ms, 1000ms, 1000ms}) {
        CHECK(b.bound() == expected);
        auto const delay = b.next(all_ones);
        CHECK(delay <= expected);
        CHECK(delay >= expected - 1us);
    }
    b.reset();
    CHECK(b.bound() == 100ms);
}

TEST_CASE("a delay is drawn between nothing and its bound")
{
    backoff b(1s, 1s, 1);
    CHECK(b.next(0) == 0s);
    CHECK(b.next(std::uint64_t(1) << 63) == 500ms);
    CHECK(b.next(std::uint64_t(1) << 62) == 250ms);
    CHECK(b.next(all_ones) < 1s + 1ns);
    CHECK(b.bound() == 1s);
}

TEST_CASE("odd options make no odd delays")
{
    CHECK(backoff(-1s, -1s, 2).next(all_ones) == 0s);
    CHECK(backoff(5s, 1s, 2).bound() == 1s);
    for (double factor : {0.0, 0.5, -3.0, std::numeric_limits<double>::quiet_NaN()}) {
        backoff b(1s, 10s, factor);
        (void)b.next(0);
        CHECK(b.bound() == 1s);
    }
    backoff huge(duration::max(), duration::max(), 1e300);
    for (int i = 0; i < 100; ++i) {
        auto const delay = huge.next(all_ones);
        CHECK(delay >= 0s);
        CHECK(huge.bound() == duration::max());
    }
    backoff endless(1s, duration::max(), std::numeric_limits<double>::infinity());
    (void)endless.next(0);
    CHECK(endless.bound() == duration::max());
    backoff nothing(0s, 1s, std::numeric_limits<double>::infinity()); // 0 times that is no number
    (void)nothing.next(0);
    CHECK(nothing.bound() >= 0s);
    CHECK(nothing.bound() <= 1s);
}
