// SPDX-License-Identifier: BSL-1.0
#include "../catch.hpp"

#include "../../tools/bench/load/histogram.hpp"

#include <memory>
#include <random>

using load::histogram;

namespace {

std::unique_ptr<histogram> of(std::vector<std::uint64_t> const& values)
{
    auto h = std::make_unique<histogram>();
    for (auto const v : values)
        h->add(v);
    return h;
}

} // namespace

TEST_CASE("a histogram without samples is all 0")
{
    auto const h = of({});
    CHECK(h->count() == 0);
    CHECK(h->quantile(0.5) == 0);
    CHECK(h->max() == 0);
    CHECK(h->mean() == 0);
    REQUIRE(h->curve().size() == 1);
    CHECK(h->curve().front().value == 0);
}

TEST_CASE("small values are kept exactly")
{
    std::vector<std::uint64_t> values;
    for (std::uint64_t v = 1; v <= 200; ++v)
        values.push_back(v);
    auto const h = of(values);
    CHECK(h->quantile(0) == 1);
    CHECK(h->quantile(0.5) == 100);
    CHECK(h->quantile(0.99) == 198);
    CHECK(h->quantile(1) == 200);
    CHECK(h->mean() == 100.5);
}

TEST_CASE("a quantile is never too low, and less than 1 % too high")
{
    std::mt19937_64 random(1);
    std::vector<std::uint64_t> values;
    for (int i = 0; i < 20000; ++i)
        values.push_back(random() >> (24 + random() % 30));
    auto const h = of(values);
    std::ranges::sort(values);
    for (double const q : {0.001, 0.1, 0.5, 0.9, 0.99, 0.999, 0.9999, 1.0}) {
        auto const exact = values[static_cast<std::size_t>(std::ceil(q * 20000)) - 1];
        auto const got = h->quantile(q);
        CAPTURE(q, exact, got);
        CHECK(got >= exact);
        CHECK(static_cast<double>(got) < static_cast<double>(exact) * 1.01 + 1);
    }
}

TEST_CASE("each single value comes back less than 1 % too high")
{
    for (std::uint64_t v = 1; v < std::uint64_t{1} << 41; v += v / 3 + 1) {
        auto const got = of({v, UINT64_MAX})->quantile(0.5);
        CAPTURE(v, got);
        CHECK(got >= v);
        CHECK(static_cast<double>(got - v) < static_cast<double>(v) / 100);
    }
}

TEST_CASE("what is beyond all buckets counts as the maximum")
{
    auto const h = of({5, std::uint64_t{1} << 50});
    CHECK(h->quantile(0.5) == 5);
    CHECK(h->quantile(1) == std::uint64_t{1} << 50);
    CHECK(h->max() == std::uint64_t{1} << 50);
}

TEST_CASE("the curve rises to the maximum, with more points near the end")
{
    std::vector<std::uint64_t> values;
    for (std::uint64_t v = 1; v <= 1000; ++v)
        values.push_back(v * 1000);
    auto const curve = of(values)->curve(5);
    CHECK(curve.front().quantile == 0);
    CHECK(curve.back().quantile == 1);
    CHECK(curve.back().value == 1000000);
    CHECK(curve.size() == 51); // 9.97 halves of 5 points, and the end
    for (std::size_t i = 1; i < curve.size(); ++i) {
        CHECK(curve[i].quantile > curve[i - 1].quantile);
        CHECK(curve[i].value >= curve[i - 1].value);
    }
}
