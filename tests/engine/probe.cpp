// SPDX-License-Identifier: BSL-1.0
// These tests need io_uring: where it is refused they fail, so that nobody takes a run without it for a full one.
#include "catch.hpp"

#include "engine/engine.hpp"

#include <filesystem>

using namespace wring;

namespace {
std::size_t open_files()
{
    auto const all = std::filesystem::directory_iterator("/proc/self/fd");
    return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}
} // namespace

TEST_CASE("the probe finds io_uring here, once, and leaves nothing open", "[probe]")
{
    auto const before = open_files();
    engine::refusal const& first = engine::probe_uring();
    CHECK(open_files() == before);
    INFO(first.cause);
    CHECK(first.code == 0);
    CHECK(first.cause.empty());
    CHECK(&engine::probe_uring() == &first);
}

TEST_CASE("engines come and go without leaving anything open", "[probe]")
{
    auto const kind = GENERATE(engine_kind::uring, engine_kind::asio);
    auto once = [&] {
        engine::block_pool blocks(256);
        auto const e = kind == engine_kind::uring ? engine::make_uring_engine(blocks, {4, 8, 16})
                                                  : engine::make_asio_engine(blocks);
        e->wait(std::chrono::nanoseconds(0));
    };
    once();
    auto const before = open_files();
    for (int i = 0; i < 20; ++i)
        once();
    CHECK(open_files() == before);
}

TEST_CASE("sizes that the kernel can't give are an error, not a crash", "[probe]")
{
    engine::block_pool blocks(64);
    CHECK_THROWS_AS(engine::make_uring_engine(blocks, {3, 8, 16}), std::system_error); // not a power of two
    CHECK_THROWS_AS(engine::make_uring_engine(blocks, {1U << 16, 8, 16}), std::system_error);
    CHECK_THROWS_AS(engine::make_uring_engine(blocks, {2, 0, 16}), std::system_error);
    CHECK(blocks.lent() == 0);
}
