// SPDX-License-Identifier: BSL-1.0
#include "catch.hpp"

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
