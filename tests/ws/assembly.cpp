// SPDX-License-Identifier: BSL-1.0
#include "catch.hpp"

#include "core/allocations.hpp"
#include "net/net.hpp"
#include "ws/assembly.hpp"

using namespace wring;

namespace {

bool same(std::span<std::byte const> a, std::span<std::byte const> b)
{
    return std::equal(a.begin(), a.end(), b.begin(), b.end());
}

} // namespace

TEST_CASE("an assembly holds a block up to its size, and none when it is cleared")
{
    engine::block_pool pool(1024);
    detail::assembly a;
    CHECK(a.empty());
    CHECK(a.bytes().empty());
    auto const bytes = net_test::pattern(1024);
    a.append(std::span(bytes).first(1), pool);
    CHECK(pool.lent() == 1);
    a.append(std::span(bytes).subspan(1), pool);
    CHECK(pool.lent() == 1);
    CHECK(same(a.bytes(), bytes));
    a.clear();
    CHECK(a.empty());
    CHECK(pool.lent() == 0);
}

TEST_CASE("an assembly of nothing is not empty: the message has begun")
{
    engine::block_pool pool(1024);
    detail::assembly a;
    a.append({}, pool);
    CHECK(!a.empty());
    CHECK(a.bytes().empty());
    a.clear();
    CHECK(a.empty());
}

TEST_CASE("beyond a block an assembly grows with what it is given")
{
    engine::block_pool pool(1024);
    detail::assembly a;
    auto const bytes = net_test::pattern(100'000);
    std::size_t at = 0;
    for (std::size_t step = 1; at < bytes.size(); step = step * 3 + 1) {
        std::size_t const n = std::min(step, bytes.size() - at);
        a.append(std::span(bytes).subspan(at, n), pool);
        at += n;
        REQUIRE(same(a.bytes(), std::span(bytes).first(at)));
    }
    CHECK(pool.lent() == 1);
    a.clear();
    CHECK(pool.lent() == 0);
    CHECK(a.empty());
    a.append(std::span(bytes).first(5000), pool); // at once larger than a block
    CHECK(same(a.bytes(), std::span(bytes).first(5000)));
}

TEST_CASE("an assembly that grows in place never has much more than its bytes")
{
    using wring::test::memory_in_use;
    engine::block_pool pool(16 * 1024);
    auto const bytes = net_test::pattern(5'000'000);
    for (std::size_t step : {1000U, 16'544U, 300'000U}) {
        detail::assembly a;
        auto const before = memory_in_use();
        test::reset_memory_peak();
        std::size_t at = 0;
        bool tight = true;
        while (at < bytes.size()) {
            std::size_t const n = std::min(step, bytes.size() - at);
            a.append(std::span(bytes).subspan(at, n), pool, detail::assembly::growth::in_place);
            at += n;
            tight = tight && test::memory_peak() - before <= at + step + 160 * 1024;
        }
        CHECK(tight);
        CHECK(same(a.bytes(), bytes));
        CHECK(pool.lent() == 1);
        auto held = engine::block_ref::share(a.block().get()); // another refers to it: it stays where it is
        auto const* const there = held.get()->data();
        a.append(std::span(bytes).first(1'000'000), pool, detail::assembly::growth::in_place);
        CHECK(same({there, 1000}, std::span(bytes).first(1000)));
        CHECK(same(a.bytes().first(bytes.size()), bytes));
        CHECK(same(a.bytes().subspan(bytes.size()), std::span(bytes).first(1'000'000)));
        a.clear();
        held.reset();
        CHECK(pool.lent() == 0);
        CHECK(memory_in_use() <= before + (16 + 4 + 1) * 1024); // the pool's own block
    }
}
