// SPDX-License-Identifier: BSL-1.0
#include "catch.hpp"

#include "ws/random.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <set>
#include <thread>
#include <vector>

#include <sys/wait.h>
#include <unistd.h>

using namespace wring;

namespace {

std::vector<std::byte> some_random(std::size_t size)
{
    std::vector<std::byte> bytes(size);
    detail::random_bytes(bytes);
    return bytes;
}

std::uint32_t mask_value()
{
    auto const key = detail::fresh_mask();
    std::uint32_t value = 0;
    std::memcpy(&value, key.data(), sizeof value);
    return value;
}

} // namespace

TEST_CASE("any number of random bytes can be had")
{
    CHECK(some_random(0).empty());
    for (std::size_t size : {1U, 16U, 8184U, 8185U, 100'000U}) {
        auto const bytes = some_random(size);
        if (size >= 16) // that all are equal has a chance of 2^-120
            CHECK(std::any_of(bytes.begin(), bytes.end(), [&](std::byte b) { return b != bytes[0]; }));
    }
    CHECK(some_random(16) != some_random(16));
}

TEST_CASE("random bytes have each bit set about half the time")
{
    auto const bytes = some_random(100'000);
    for (unsigned bit = 0; bit < 8; ++bit) {
        auto const set = std::count_if(bytes.begin(), bytes.end(), [&](std::byte b) {
            return (std::to_integer<unsigned>(b) >> bit & 1) != 0;
        });
        CHECK(set > 48'000); // twelve standard deviations from the mean
        CHECK(set < 52'000);
    }
}

TEST_CASE("mask keys repeat no more often than chance has it")
{
    constexpr int count = 100'000;
    std::set<std::uint32_t> seen;
    for (int i = 0; i < count; ++i)
        seen.insert(mask_value());
    // Birthdays: 1.16 repetitions are expected; more than 20 have a chance below 10^-17.
    CHECK(seen.size() > count - 20);
}

TEST_CASE("a forked child has mask keys of its own")
{
    (void)mask_value(); // the pool is filled
    int ends[2];
    REQUIRE(::pipe(ends) == 0);
    pid_t const child = ::fork();
    if (child == 0) {
        std::array<std::uint32_t, 64> keys;
        for (auto& key : keys)
            key = mask_value();
        bool const good = ::write(ends[1], keys.data(), sizeof keys) == sizeof keys;
        ::_exit(good ? 0 : 1);
    }
    std::array<std::uint32_t, 64> theirs{};
    CHECK(::read(ends[0], theirs.data(), sizeof theirs) == sizeof theirs);
    ::close(ends[0]);
    ::close(ends[1]);
    int status = 0;
    ::waitpid(child, &status, 0);
    CHECK(status == 0);
    std::set<std::uint32_t> const in_child(theirs.begin(), theirs.end());
    CHECK(in_child.size() > 62);
    int common = 0;
    for (int i = 0; i < 64; ++i)
        common += in_child.count(mask_value()) > 0;
    CHECK(common < 2);
}

TEST_CASE("each thread has mask keys of its own")
{
    std::vector<std::uint32_t> theirs;
    std::thread([&] {
        for (int i = 0; i < 64; ++i)
            theirs.push_back(mask_value());
    }).join();
    int common = 0;
    for (int i = 0; i < 64; ++i)
        common += std::count(theirs.begin(), theirs.end(), mask_value()) > 0;
    CHECK(common < 2);
}
