// SPDX-License-Identifier: BSL-1.0
#include "catch.hpp"

#include "child.hpp"
#include "core/allocations.hpp"
#include "engine/block.hpp"

#include <wring/task.hpp>

#include <cstring>
#include <random>
#include <thread>
#include <vector>

using namespace wring;
using namespace wring::test;

TEST_CASE("blocks of every size are allocated, freed and used again", "[frame_memory]")
{
    for (std::size_t size : {1UL, 63UL, 64UL, 65UL, 4095UL, 4096UL, 4097UL, 100'000UL}) {
        INFO(size);
        void* const first = detail::frame_allocate(size);
        std::memset(first, 1, size);
        detail::frame_deallocate(first, size);
        std::size_t const before = mallocs;
        void* const second = detail::frame_allocate(size);
        std::memset(second, 2, size);
        CHECK((mallocs == before) == (size <= 4104)); // the largest class
        detail::frame_deallocate(second, size);
    }
}

TEST_CASE("a block may be freed on another thread, which may end", "[frame_memory]")
{
    std::vector<void*> blocks;
    for (int i = 0; i < 1000; ++i)
        blocks.push_back(detail::frame_allocate(200));
    std::thread([&] {
        for (void* block : blocks)
            detail::frame_deallocate(block, 200);
        void* const again = detail::frame_allocate(200);
        std::memset(again, 1, 200);
        detail::frame_deallocate(again, 200);
    }).join();
    std::thread([&] { // which never allocated
        detail::frame_deallocate(detail::frame_allocate(64), 64);
    })
        .join();
    void* const made_here = detail::frame_allocate(64);
    std::thread([&] { detail::frame_deallocate(made_here, 64); }).join();
}

TEST_CASE("what is kept is bounded", "[frame_memory]")
{
    std::vector<void*> blocks;
    for (int i = 0; i < 5000; ++i)
        blocks.push_back(detail::frame_allocate(1000));
    for (void* block : blocks)
        detail::frame_deallocate(block, 1000);
    blocks.clear();
    std::size_t const before = mallocs;
    for (int i = 0; i < 5000; ++i)
        blocks.push_back(detail::frame_allocate(1000));
    std::size_t const kept = 5000 - (mallocs - before);
    CHECK(kept > 0);
    CHECK(kept <= 1024); // of five million bytes freed, at most a mebibyte
    for (void* block : blocks)
        detail::frame_deallocate(block, 1000);
}

TEST_CASE("without memory the allocation throws, and later ones work", "[frame_memory]")
{
    for (std::size_t size : {5000UL, 1'000'000UL}) {
        malloc_fails = true;
        bool thrown = false;
        try {
            (void)detail::frame_allocate(size);
        } catch (std::bad_alloc const&) {
            thrown = true;
        }
        malloc_fails = false;
        CHECK(thrown);
        detail::frame_deallocate(detail::frame_allocate(size), size);
    }
}

TEST_CASE("random allocations never overlap", "[frame_memory]")
{
    std::mt19937 random(1);
    std::vector<std::pair<unsigned char*, std::size_t>> live;
    for (int i = 0; i < 20'000; ++i) {
        if (live.size() < 300 && random() % 2 == 0) {
            std::size_t const size = 1 + random() % 6000;
            auto* const block = static_cast<unsigned char*>(detail::frame_allocate(size));
            std::memset(block, static_cast<int>(size % 251), size);
            live.emplace_back(block, size);
        } else if (!live.empty()) {
            std::size_t const at = random() % live.size();
            auto const [block, size] = live[at];
            auto const mark = static_cast<unsigned char>(size % 251);
            REQUIRE(block[0] == mark);
            REQUIRE(block[size / 2] == mark);
            REQUIRE(block[size - 1] == mark);
            detail::frame_deallocate(block, size);
            live[at] = live.back();
            live.pop_back();
        }
    }
    for (auto const& [block, size] : live)
        detail::frame_deallocate(block, size);
}

#ifdef WRING_ASAN
TEST_CASE("a freed frame is poisoned", "[frame_memory][death]")
{
    auto const end = in_child([] {
        auto* const block = static_cast<char*>(detail::frame_allocate(100));
        block[0] = 0;
        detail::frame_deallocate(block, 100);
        return static_cast<int>(*static_cast<char volatile*>(block));
    });
    CHECK(end.says("use-after-poison"));
}
#endif
