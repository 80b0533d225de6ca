// SPDX-License-Identifier: BSL-1.0
#include "catch.hpp"

#include "child.hpp"
#include "core/allocations.hpp"
#include "engine/block.hpp"

#include <algorithm>
#include <limits>
#include <random>
#include <string>
#include <vector>

using namespace wring;
using namespace wring::engine;
using namespace wring::test;

namespace {

block* block_with(block_pool& pool, std::string_view text)
{
    block* b = pool.take();
    REQUIRE(b);
    REQUIRE(text.size() <= b->capacity);
    std::memcpy(b->begin, text.data(), text.size());
    b->end = b->begin + text.size();
    return b;
}

std::string take_all(block_queue& q)
{
    std::string text(q.size() + 10, '?');
    auto const n = q.read(std::as_writable_bytes(std::span(text)));
    text.resize(n);
    return text;
}

std::span<std::byte const> bytes(std::string_view text)
{
    return std::as_bytes(std::span(text));
}

} // namespace

TEST_CASE("a block comes empty, with one reference, and is used again", "[block]")
{
    block_pool pool(100);
    block* const first = pool.take();
    CHECK(first->size() == 0);
    CHECK(first->references == 1);
    CHECK(first->capacity == 100);
    CHECK(first->begin == first->data());
    CHECK(static_cast<std::size_t>(first->data() - first->storage()) == block::headroom);
    CHECK(pool.lent() == 1);
    release(first);
    CHECK(pool.lent() == 0);
    block* const second = pool.take();
    CHECK(second == first);
    CHECK(second->size() == 0);
    release(second);
}

TEST_CASE("a shared block is given back with its last reference", "[block]")
{
    block_pool pool(100);
    block_ref first(pool.take());
    block_ref second = block_ref::share(first.get());
    first.reset();
    CHECK(pool.lent() == 1);
    block_ref third(std::move(second));
    CHECK_FALSE(second);
    third = block_ref();
    CHECK(pool.lent() == 0);
}

TEST_CASE("a pool without memory gives null and goes on", "[block]")
{
    block_pool pool(100);
    malloc_fails = true;
    block* const none = pool.take();
    malloc_fails = false;
    CHECK(none == nullptr);
    CHECK(pool.lent() == 0);
    block_ref some(pool.take());
    CHECK(some);
}

TEST_CASE("small packets share a block, large ones keep their own", "[block_queue]")
{
    block_pool pool(100);
    block_queue q;
    std::string all;
    for (int i = 0; i < 20; ++i) {
        std::string const text(5, static_cast<char>('a' + i));
        q.push(block_with(pool, text));
        all += text;
    }
    CHECK(q.size() == 100);
    CHECK(pool.lent() == 1);
    q.push(block_with(pool, "x"));
    CHECK(pool.lent() == 2);
    q.push(block_with(pool, std::string(26, 'y'))); // more than a quarter of a block is not copied
    CHECK(pool.lent() == 3);
    CHECK(take_all(q) == all + "x" + std::string(26, 'y'));
    CHECK(q.empty());
    CHECK(q.size() == 0);
    CHECK(pool.lent() == 0);
}

TEST_CASE("consume drops bytes and blocks from the front", "[block_queue]")
{
    block_pool pool(10);
    block_queue q;
    q.push(block_with(pool, "0123456789"));
    q.push(block_with(pool, "abc"));
    q.consume(4);
    CHECK(q.size() == 9);
    CHECK(q.front()->size() == 6);
    q.consume(6);
    CHECK(q.front()->size() == 3);
    CHECK(pool.lent() == 1);
    CHECK(take_all(q) == "abc");
}

TEST_CASE("merge_front puts a tail in front of the next block while there is room", "[block_queue]")
{
    block_pool pool(400);
    block_queue q;
    CHECK_FALSE(q.merge_front());
    q.push(block_with(pool, std::string(400, 'a')));
    CHECK_FALSE(q.merge_front());
    q.push(block_with(pool, std::string(200, 'b')));
    CHECK_FALSE(q.merge_front()); // 400 bytes do not fit in the headroom
    q.consume(400 - block::headroom - 1);
    CHECK_FALSE(q.merge_front());
    q.consume(1);
    CHECK(q.merge_front());
    CHECK(pool.lent() == 1);
    CHECK(q.front()->begin == q.front()->storage());
    CHECK(q.size() == block::headroom + 200);
    CHECK(take_all(q) == std::string(block::headroom, 'a') + std::string(200, 'b'));
}

TEST_CASE("unread puts bytes back in front, over several blocks", "[block_queue]")
{
    block_pool pool(10);
    block_queue q;
    CHECK(q.unread(bytes(""), pool));
    CHECK(q.empty());
    CHECK(q.unread(bytes("0123456789abcdefghijklm"), pool));
    CHECK(q.size() == 23);
    CHECK(pool.lent() == 3);
    q.push(block_with(pool, std::string(9, 'n')));
    CHECK(q.unread(bytes("<>"), pool));
    CHECK(take_all(q) == "<>0123456789abcdefghijklm" + std::string(9, 'n'));
}

TEST_CASE("a block of pages grows, with what it holds", "[block_pool]")
{
    block_pool pool(100);
    block_ref small(pool.take());
    CHECK_FALSE(pool.grow(small, 1000)); // another kind
    CHECK(small.get()->capacity == 100);
    block_ref b(pool.take_growing(5000));
    REQUIRE(b);
    CHECK(b.get()->capacity >= 5000);
    std::memset(b.get()->data(), 'x', 5000);
    b.get()->begin = b.get()->data() + 10;
    b.get()->end = b.get()->data() + 5000;
    for (std::size_t capacity = 6000; capacity < 3'000'000; capacity *= 2) {
        REQUIRE(pool.grow(b, capacity));
        CHECK(b.get()->capacity >= capacity);
        CHECK(b.get()->begin == b.get()->data() + 10);
        CHECK(b.get()->end == b.get()->data() + 5000);
        std::memset(b.get()->data() + capacity - 100, 'y', 100);
    }
    CHECK(std::all_of(b.get()->begin, b.get()->end, [](std::byte c) { return c == std::byte{'x'}; }));
    auto const shared = block_ref::share(b.get());
    CHECK_FALSE(pool.grow(b, 10'000'000)); // somebody else has views of it
    CHECK_FALSE(pool.grow(b, std::numeric_limits<std::size_t>::max()));
    CHECK(pool.take_growing(std::numeric_limits<std::size_t>::max()) == nullptr);
    CHECK(pool.lent() == 2);
    malloc_fails = true;
    CHECK(pool.take_growing(5000) == nullptr);
    malloc_fails = false;
    CHECK(pool.lent() == 2);
}

TEST_CASE("unread without memory changes nothing", "[block_queue]")
{
    for (std::size_t available : {0UL, 2UL}) {
        for (bool empty : {true, false}) {
            INFO(available << " blocks, " << (empty ? "empty" : "not empty"));
            block_pool pool(10);
            std::vector<block*> spare;
            for (std::size_t i = 0; i < available; ++i)
                spare.push_back(pool.take());
            block_queue q;
            if (!empty) q.push(block_with(pool, "abcd"));
            for (block* b : spare)
                release(b);
            malloc_fails = true;
            bool const done = q.unread(bytes(std::string(55, 'x')), pool);
            malloc_fails = false;
            CHECK_FALSE(done);
            CHECK(pool.lent() == (empty ? 0 : 1));
            q.push(block_with(pool, "efghi"));
            CHECK(take_all(q) == (empty ? "efghi" : "abcdefghi"));
        }
    }
}

TEST_CASE("a queue agrees with a string, whatever is done to it", "[block_queue]")
{
    for (unsigned seed = 1; seed <= 50; ++seed) {
        std::mt19937 random(seed);
        block_pool pool(1 + random() % 300);
        block_queue q;
        std::string model;
        auto make = [&](std::size_t most) {
            std::string text(random() % (most + 1), ' ');
            for (char& c : text)
                c = static_cast<char>(random());
            return text;
        };
        for (int i = 0; i < 500; ++i) {
            switch (random() % 6) {
            case 0:
            case 1: {
                auto const text = make(pool.capacity());
                if (text.empty()) break;
                q.push(block_with(pool, text));
                model += text;
                break;
            }
            case 2: {
                std::string out(random() % 500, ' ');
                auto const n = q.read(std::as_writable_bytes(std::span(out)));
                REQUIRE(n == std::min(out.size(), model.size()));
                REQUIRE(out.substr(0, n) == model.substr(0, n));
                model.erase(0, n);
                break;
            }
            case 3:
                q.merge_front();
                break;
            case 4: {
                auto const text = make(700);
                REQUIRE(q.unread(bytes(text), pool));
                model.insert(0, text);
                break;
            }
            default:
                if (!q.empty()) {
                    auto const n = random() % (q.front()->size() + 1);
                    q.consume(n);
                    model.erase(0, n);
                }
            }
            REQUIRE(q.size() == model.size());
            REQUIRE(q.empty() == model.empty());
        }
        REQUIRE(take_all(q) == model);
        REQUIRE(pool.lent() == 0);
    }
}

TEST_CASE("clear gives every block back", "[block_queue]")
{
    block_pool pool(10);
    {
        block_queue q;
        for (int i = 0; i < 5; ++i)
            q.push(block_with(pool, "0123456789"));
        q.clear();
        CHECK(q.size() == 0);
        CHECK(pool.lent() == 0);
        q.push(block_with(pool, "again"));
    }
    CHECK(pool.lent() == 0);
}

TEST_CASE("what is little gets a small block, where the pool's are larger", "[block]")
{
    block_pool pool(64 * 1024);
    for (std::size_t const n : {std::size_t{1}, std::size_t{block_pool::small}}) {
        block_ref const b(pool.take(n));
        CHECK(b.get()->capacity == block_pool::small);
        CHECK(sizeof(block) + block::headroom + b.get()->capacity == 4096);
        CHECK(pool.lent_small() == 1);
    }
    CHECK(pool.lent() == 0);
    CHECK(pool.lent_small() == 0);
    CHECK(block_ref(pool.take(block_pool::small + 1)).get()->capacity == 64 * 1024);
    CHECK(block_ref(pool.take(64 * 1024)).get()->capacity == 64 * 1024);
    CHECK(block_ref(pool.take(64 * 1024 + 1)).get()->capacity == 64 * 1024 + 1);

    block_pool tiny(100);
    CHECK(block_ref(tiny.take(1)).get()->capacity == 100);
    CHECK(block_ref(tiny.take(std::size_t{block_pool::small})).get()->capacity == block_pool::small);
    CHECK(tiny.lent() == 0);
}

TEST_CASE("some larger blocks are kept, and serve who wants as much or a little less", "[block]")
{
    block_pool pool(1000);
    auto const address_of_freed = [&](std::size_t n) {
        block_ref const b(pool.take(n));
        REQUIRE(b);
        CHECK(b.get()->capacity >= n);
        CHECK(b.get()->size() == 0);
        return b.get();
    };
    auto* const mebi = address_of_freed(1 << 20);
    CHECK(address_of_freed(1 << 20) == mebi);
    CHECK(address_of_freed(600'000) == mebi);
    CHECK(address_of_freed(200'000) != mebi); // that would waste it
    CHECK(address_of_freed(1000) != mebi);
    CHECK(address_of_freed(1 << 20) == mebi);
    CHECK(address_of_freed((1 << 20) + 1) != mebi);
    CHECK(pool.lent() == 0);
}

TEST_CASE("no more than 8 MiB of larger blocks are kept", "[block]")
{
    block_pool pool(1000);
    auto const before = memory_in_use();
    std::vector<block_ref> all;
    for (int i = 0; i < 40; ++i)
        all.push_back(block_ref(pool.take(1'000'000)));
    CHECK(memory_in_use() >= before + 40'000'000);
    all.clear();
    CHECK(memory_in_use() <= before + (8 << 20) + 10'000);
    CHECK(memory_in_use() >= before + 7'000'000);
}

TEST_CASE("few bytes that wait for more leave their buffer for a small block", "[block]")
{
    block_pool pool(64 * 1024);
    block_queue q;
    q.shrink(pool); // nothing there
    q.push(block_with(pool, "half a header"));
    q.consume(5);
    q.shrink(pool);
    CHECK(pool.lent() == 1);
    CHECK(pool.lent_small() == 1);
    q.shrink(pool);
    CHECK(pool.lent_small() == 1);
    q.push(block_with(pool, ", and the rest"));
    CHECK(pool.lent() == 1);
    CHECK(take_all(q) == "a header, and the rest");

    q.push(block_with(pool, std::string(block_pool::small + 1, 'x'))); // these are many
    q.shrink(pool);
    CHECK(pool.lent_small() == 0);
    q.clear();

    q.push(block_with(pool, "a"));
    q.push(block_with(pool, std::string(20'000, 'b'))); // and these in two blocks
    q.shrink(pool);
    CHECK(pool.lent() == 2);
    CHECK(pool.lent_small() == 0);
    q.clear();
    CHECK(pool.lent() == 0);
}

#ifdef WRING_ASAN
TEST_CASE("the bytes of a block that was given back are poisoned", "[block][death]")
{
    auto const end = in_child([] {
        block_pool pool(100);
        block* const b = pool.take();
        std::byte* const bytes_of_it = b->data();
        release(b);
        return static_cast<int>(*const_cast<std::byte volatile*>(bytes_of_it));
    });
    CHECK_FALSE(end.exited_with(0));
    CHECK(end.says("use-after-poison"));
}
#endif

TEST_CASE("bytes are appended behind the last, in as many blocks as they need", "[block]")
{
    block_pool pool(10);
    block_queue q;
    CHECK(q.append({}, pool));
    CHECK(q.empty());
    CHECK(q.append(bytes("abcdefgh"), pool));
    CHECK(pool.lent() == 1);
    CHECK(q.append(bytes("ij"), pool));
    CHECK(pool.lent() == 1);
    CHECK(q.append(bytes("klmnopqrstuvw"), pool));
    CHECK(pool.lent() == 3);
    CHECK(q.size() == 23);
    q.consume(9);
    CHECK(q.append(bytes("xyz"), pool));
    CHECK(take_all(q) == "jklmnopqrstuvwxyz");
    CHECK(pool.lent() == 0);
    CHECK(q.append(bytes("1234567"), pool));
    malloc_fails = true;
    bool const all = q.append(bytes("89012345678901234567890"), pool); // three blocks are there
    bool const more = q.append(bytes("1234"), pool);
    malloc_fails = false;
    CHECK(all);
    CHECK(!more);
    CHECK(take_all(q) == "123456789012345678901234567890");
}
