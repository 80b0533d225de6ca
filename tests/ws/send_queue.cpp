// SPDX-License-Identifier: BSL-1.0
#include "catch.hpp"

#include "ws/send_queue.hpp"

#include <array>
#include <string>
#include <vector>

using namespace wring;
using detail::send_queue;

namespace {

/// Stands for a writer: the queue only compares and hands back its address.
struct writer
{
    send_queue::owner* operator&() { return reinterpret_cast<send_queue::owner*>(memory); }
    operator send_queue::owner&() { return *operator&(); }
    alignas(std::max_align_t) std::byte memory[sizeof(send_queue::owner)];
};

void put(send_queue& q, std::string_view text)
{
    static engine::block_pool pool(16 * 1024);
    std::memcpy(q.extend(text.size(), pool), text.data(), text.size());
}

std::string bytes_of(send_queue const& q)
{
    std::array<iovec, 64> pieces;
    std::string all;
    std::size_t const n = q.gather(pieces, q.size());
    for (std::size_t i = 0; i < n; ++i)
        all.append(static_cast<char const*>(pieces[i].iov_base), pieces[i].iov_len);
    return all;
}

auto const nobody = [](send_queue::owner&) { FAIL("no writer was expected"); };

} // namespace

TEST_CASE("a send queue gives back in order what was put in")
{
    send_queue q;
    CHECK(q.empty());
    std::string all;
    for (int i = 0; i < 500; ++i) {
        std::string const text = std::to_string(i) + ",";
        put(q, text);
        all += text;
    }
    CHECK(q.size() == all.size());
    CHECK(bytes_of(q) == all);
    std::size_t step = 1;
    while (!q.empty()) {
        std::size_t const n = std::min(step++, q.size());
        q.consume(n, nobody);
        all.erase(0, n);
        REQUIRE(q.size() == all.size());
        REQUIRE(bytes_of(q) == all);
    }
}

TEST_CASE("small frames are put together in few pieces")
{
    send_queue q;
    for (int i = 0; i < 200; ++i)
        put(q, "0123456789");
    std::array<iovec, 64> pieces;
    CHECK(q.gather(pieces, q.size()) <= 5);
    q.clear(nobody);
    CHECK(q.empty());
    CHECK(q.size() == 0);
}

TEST_CASE("a large room is one piece")
{
    send_queue q;
    put(q, "a");
    put(q, std::string(100'000, 'b'));
    put(q, "c");
    CHECK(bytes_of(q) == "a" + std::string(100'000, 'b') + "c");
}

TEST_CASE("frames that are not small are copied into blocks, which are given back")
{
    engine::block_pool pool(16 * 1024);
    send_queue q;
    std::string all;
    auto put_sized = [&](std::size_t n) {
        std::string const text(n, static_cast<char>('a' + all.size() % 26));
        std::memcpy(q.extend(n, pool), text.data(), n);
        all += text;
    };
    put_sized(4032);
    CHECK(pool.lent() == 0);
    put_sized(4033);
    CHECK(pool.lent() == 1);
    put_sized(100); // beside it
    CHECK(pool.lent() == 1);
    put_sized(16 * 1024 + 14); // the largest header and payload of a frame that is received in one block
    CHECK(pool.lent() == 2);
    put_sized(17 * 1024); // one of its own size
    CHECK(pool.lent() == 3);
    CHECK(bytes_of(q) == all);
    q.consume(4032 + 4033 + 99, nobody);
    CHECK(pool.lent() == 3);
    q.consume(1, nobody);
    CHECK(pool.lent() == 2);
    q.clear(nobody);
    CHECK(pool.lent() == 0);
}

namespace {

/// Bytes that several queues may refer to.
struct shared
{
    explicit shared(std::string text) : message(ws::shared_message::text(text))
    {
        bytes = new (detail::frame_allocate(sizeof(detail::shared_bytes))) detail::shared_bytes;
        bytes->message = message;
    }
    ~shared() { bytes->release(); }
    std::span<std::byte const> frame() const { return message.rep()->frame(); }
    ws::shared_message message;
    detail::shared_bytes* bytes;
};

} // namespace

TEST_CASE("a queue gathers no more pieces than there is room for")
{
    shared const s(std::string(200, 'x'));
    send_queue q;
    for (int i = 0; i < 10; ++i)
        q.add(s.frame(), *s.bytes);
    std::array<iovec, 4> pieces;
    CHECK(q.gather(pieces, q.size()) == 4);
    CHECK(q.gather(std::span<iovec>(), q.size()) == 0);
}

TEST_CASE("the queue refers to what is shared and lets go of it")
{
    shared const s(std::string(200, 'x'));
    {
        send_queue q;
        CHECK(q.last_shared() == nullptr);
        put(q, "a");
        q.add(s.frame(), *s.bytes);
        q.add(s.frame(), *s.bytes);
        CHECK(q.last_shared() == s.bytes);
        put(q, "b");
        CHECK(q.last_shared() == nullptr);
        CHECK(s.bytes->references == 3);
        CHECK(s.message.rep()->references == 2); // not counted for each
        std::array<iovec, 64> pieces;
        REQUIRE(q.gather(pieces, q.size()) == 4);
        CHECK(pieces[1].iov_base == s.frame().data());
        q.consume(1 + s.frame().size() + 5, nobody);
        CHECK(s.bytes->references == 2);
        CHECK(bytes_of(q).size() == s.frame().size() - 5 + 1);
    }
    CHECK(s.bytes->references == 1);
}

TEST_CASE("shared bytes that lie behind each other are one piece")
{
    shared const s(std::string(200, 'x'));
    auto const all = s.frame();
    send_queue q;
    put(q, "a");
    q.add(all.first(50), *s.bytes);
    q.add(all.subspan(50, 100), *s.bytes);
    CHECK(s.bytes->references == 2);
    std::array<iovec, 64> pieces;
    REQUIRE(q.gather(pieces, q.size()) == 2);
    CHECK(pieces[1].iov_len == 150);
    q.add(all.subspan(160), *s.bytes); // not behind it
    CHECK(q.gather(pieces, q.size()) == 3);
    q.consume(1 + 20, nobody);
    q.consume(130, nobody);
    REQUIRE(q.gather(pieces, q.size()) == 1);
    CHECK(pieces[0].iov_base == all.subspan(160).data());
    CHECK(s.bytes->references == 2);
}

TEST_CASE("the queue keeps a block that it refers to until its last byte is gone")
{
    engine::block_pool pool(1024);
    send_queue q;
    engine::block_ref held(pool.take());
    std::memcpy(held.get()->data(), "0123456789", 10);
    put(q, "a");
    q.add({held.get()->data() + 2, 5}, engine::block_ref::share(held.get()));
    put(q, "b");
    held.reset();
    CHECK(pool.lent() == 1);
    CHECK(bytes_of(q) == "a23456b");
    q.consume(5, nobody);
    CHECK(pool.lent() == 1);
    q.consume(1, nobody);
    CHECK(pool.lent() == 0);
    CHECK(bytes_of(q) == "b");
}

TEST_CASE("a writer is told when its last byte is gone")
{
    send_queue q;
    writer one;
    writer two;
    std::string const first(300, '1');
    std::string const second(300, '2');
    q.add(std::as_bytes(std::span(first)), one);
    put(q, "-");
    q.add(std::as_bytes(std::span(second)), two);
    CHECK(q.refers_to(one));
    std::vector<send_queue::owner*> done;
    auto note = [&](send_queue::owner& w) { done.push_back(&w); };
    q.consume(299, note);
    CHECK(done.empty());
    q.consume(2, note);
    CHECK(done == std::vector{&one});
    CHECK(!q.refers_to(one));
    CHECK(q.refers_to(two));
    q.clear(note);
    CHECK(done == std::vector{&one, &two});
    CHECK(q.empty());
}

TEST_CASE("what a leaving writer has queued is copied, from where it stands")
{
    send_queue q;
    writer one;
    writer two;
    auto first = std::make_unique<std::string>(300, '1');
    auto second = std::make_unique<std::string>(300, '2');
    q.add(std::as_bytes(std::span(*first)), one);
    q.add(std::as_bytes(std::span(*second)), two);
    q.consume(100, nobody);
    CHECK(q.leave(one));
    CHECK(q.leave(two));
    writer stranger;
    CHECK(!q.leave(stranger));
    std::vector<send_queue::owner*> done;
    q.take_over_leaving([&](send_queue::owner& w) { done.push_back(&w); });
    CHECK(done == std::vector{&one, &two});
    first.reset();
    second.reset();
    CHECK(bytes_of(q) == std::string(200, '1') + std::string(300, '2'));
    CHECK(!q.refers_to(one));
    put(q, "end");
    CHECK(bytes_of(q).ends_with("2end"));
    q.consume(q.size(), nobody);
    CHECK(q.empty());
}

TEST_CASE("one of several writers leaves")
{
    send_queue q;
    writer one;
    writer two;
    std::string const first(300, '1');
    std::string const second(300, '2');
    q.add(std::as_bytes(std::span(first)), one);
    q.add(std::as_bytes(std::span(second)), two);
    CHECK(q.leave(one));
    std::vector<send_queue::owner*> done;
    auto note = [&](send_queue::owner& w) { done.push_back(&w); };
    q.take_over_leaving(note);
    CHECK(done == std::vector{&one});
    q.take_over_leaving(note);
    q.consume(q.size(), note);
    CHECK(done == std::vector{&one, &two});
}
