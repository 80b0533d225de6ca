// SPDX-License-Identifier: BSL-1.0
// What only the io_uring engine does: lifetimes in the kernel, the buffer ring, queues that run over.
#include "engine/rig.hpp"

#include "child.hpp"
#include "core/allocations.hpp"
#include "engine/uring/ring.hpp"

#include <sys/resource.h>

using namespace wring;
using namespace wring::test;

namespace {
constexpr engine::settings tiny{2, 4, 8}; // two buffers, SQ 4, CQ 8
constexpr std::uint32_t tiny_block = 64;
bool submit_fails = false;

/// For what would hang: the child is killed soon.
template <class F>
child_end in_hasty_child(F body)
{
    return in_child([&] {
        ::alarm(10);
        return body();
    });
}
} // namespace

// By the linker's --wrap.
extern "C" {
int __real_io_uring_submit(io_uring* ring);
int __wrap_io_uring_submit(io_uring* ring);

int __wrap_io_uring_submit(io_uring* ring)
{
    return submit_fails ? -EBUSY : __real_io_uring_submit(ring);
}
}

TEST_CASE("a ring stands on the rung that it was told, or one below", "[uring][ladder]")
{
    constexpr unsigned characteristic[] = {IORING_SETUP_DEFER_TASKRUN, IORING_SETUP_SINGLE_ISSUER,
                                           IORING_SETUP_COOP_TASKRUN};
    for (unsigned rung = 0; rung < engine::ring::rungs; ++rung) {
        engine::ring r(4, 8, rung);
        CHECK((r.get()->flags & characteristic[rung]));
        CHECK(bool(r.get()->flags & IORING_SETUP_DEFER_TASKRUN) == (rung == 0));
        CHECK(bool(r.get()->flags & IORING_SETUP_SINGLE_ISSUER) == (rung <= 1));
    }
    CHECK_THROWS_AS(engine::ring(4, 8, engine::ring::rungs), std::system_error);
}

TEST_CASE("cancel goes on until the send itself has ended, though the kernel does not find it", "[uring][cancel]")
{
    // A send that waits for room, and whose socket becomes writable again, is queued as task work, where no cancel
    // finds it: it gives ENOENT while the send lives on.
    for (int round = 0; round < 50; ++round) {
        rig r(engine_kind::uring);
        pair p(round % 2 == 1);
        p.small_buffers();
        auto io = r.open(p.ours);
        std::string const text(1'000'000, 'x');
        recorder op;
        iovec const all = bytes_of(text);
        io->send(op, {&all, 1});
        r.spin(2);
        REQUIRE(op.in_flight());
        (void)p.read(); // writable again, and the engine has not looked yet
        io->cancel(op);
        REQUIRE(r.until([&] { return op.ended(); }));
        REQUIRE(op.ends == 1);
        CHECK((op.results.back() == -ECANCELED || (op.results.back() > 0 && op.results.back() < 1'000'000)));
        if (round % 5 == 0) ::shutdown(p.ours, SHUT_RDWR);
    }
}

TEST_CASE("a send is one completion, whatever the socket's buffer", "[uring][send]")
{
    rig r(engine_kind::uring);
    pair p(true);
    p.small_buffers();
    auto io = r.open(p.ours);
    std::string const head(10, 'h'), body(100'000, 'b'), tail(5, 't');
    iovec const parts[] = {bytes_of(head), bytes_of(body), bytes_of(tail)};
    recorder op;
    io->send(op, parts);
    std::string got;
    CHECK(r.until([&] {
        got += p.read();
        return op.ended() && got.size() == 100'015;
    }));
    CHECK(op.results == std::vector<int>{100'015});
    CHECK(got == head + body + tail);
}

TEST_CASE("a hundred gathered sends in one turn keep their buffers", "[uring][send]")
{
    rig r(engine_kind::uring, GENERATE(engine::settings{2, 4, 8}, engine::settings{16, 256, 1024}));
    std::vector<std::unique_ptr<pair>> pairs;
    std::vector<std::unique_ptr<engine::descriptor>> ios;
    std::vector<std::unique_ptr<recorder>> ops;
    std::vector<std::string> texts;
    for (int i = 0; i < 100; ++i)
        texts.push_back("text " + std::to_string(i));
    for (std::size_t i = 0; i < 100; ++i) {
        pairs.push_back(std::make_unique<pair>());
        ios.push_back(r.open(pairs.back()->ours));
        ops.push_back(std::make_unique<recorder>());
        iovec const parts[] = {bytes_of(texts[i]), bytes_of(texts[99 - i])}; // gone at once
        ios.back()->send(*ops.back(), parts);
    }
    CHECK(r.until([&] { return std::all_of(ops.begin(), ops.end(), [](auto& op) { return op->ended(); }); }));
    for (std::size_t i = 0; i < 100; ++i)
        CHECK(pairs[i]->read() == texts[i] + texts[99 - i]);
}

TEST_CASE("a gathered send without memory for its buffers sends the first", "[uring][send]")
{
    rig r(engine_kind::uring);
    pair p;
    auto io = r.open(p.ours);
    std::string const head(10, 'h'), body(20, 'b');
    iovec const parts[] = {bytes_of(head), bytes_of(body)};
    recorder op;
    new_fails = true;
    io->send(op, parts);
    new_fails = false;
    CHECK(r.until([&] { return op.ended(); }));
    CHECK(op.results == std::vector<int>{10});
    io->send(op, parts);
    CHECK(r.until([&] { return op.ended(); }));
    CHECK(op.results == std::vector<int>{10, 30});
    CHECK(p.read() == head + head + body);
}

TEST_CASE("many sockets share two buffers of 64 bytes", "[uring][receive][tiny]")
{
    rig r(engine_kind::uring, tiny, tiny_block);
    constexpr std::size_t sockets = 60;
    std::vector<std::unique_ptr<pair>> pairs;
    std::vector<std::unique_ptr<engine::descriptor>> ios;
    std::vector<std::unique_ptr<recorder>> ops;
    std::string const text(5000, 'q');
    for (std::size_t i = 0; i < sockets; ++i) {
        pairs.push_back(std::make_unique<pair>(i % 2));
        ios.push_back(r.open(pairs.back()->ours));
        ops.push_back(std::make_unique<recorder>());
        ios.back()->receive(*ops.back());
    }
    for (auto& p : pairs)
        p->write(text);
    CHECK(r.until(
        [&] { return std::all_of(ops.begin(), ops.end(), [&](auto& op) { return op->data.size() == text.size(); }); }));
    for (std::size_t i = 0; i < sockets; ++i) {
        CHECK(ops[i]->in_flight());
        if (i % 3 == 0)
            pairs[i]->close_peer();
        else
            ios[i]->cancel(*ops[i]);
    }
    CHECK(r.until([&] { return std::all_of(ops.begin(), ops.end(), [](auto& op) { return op->ended(); }); }));
    for (std::size_t i = 0; i < sockets; ++i) {
        CHECK(ops[i]->ends == 1);
        CHECK(ops[i]->results.back() == (i % 3 == 0 ? 0 : -ECANCELED));
    }
    CHECK(r.blocks.lent() <= 2);
}

TEST_CASE("receives starve while there is no memory, can be canceled then, and go on when there is some",
          "[uring][receive]")
{
    rig r(engine_kind::uring, tiny, tiny_block);
    pair a, b;
    auto first = r.open(a.ours);
    auto second = r.open(b.ours);
    recorder ops[2];
    ops[0].keep = true;
    first->receive(ops[0]);
    second->receive(ops[1]);
    r.spin(3);
    malloc_fails = true;
    a.write(std::string(64 * 5, 'a'));
    b.write("b");
    r.spin(50);
    auto const starved = ops[0].data.size();
    second->cancel(ops[1]);
    bool const canceled = r.until([&] { return ops[1].ended(); });
    malloc_fails = false;
    CHECK(starved <= 64 * 3);
    CHECK(canceled);
    CHECK(ops[0].in_flight());
    CHECK(r.until([&] { return ops[0].data.size() == 64 * 5; }));
    first->cancel(ops[0]);
    CHECK(r.until([&] { return ops[0].ended(); }));
    ops[0].kept.clear();
}

TEST_CASE("receives that starve for memory go on when there is some, though nothing else happens", "[uring][receive]")
{
    auto const end = in_hasty_child([] {
        rig r(engine_kind::uring, tiny, tiny_block);
        pair p;
        auto io = r.open(p.ours);
        recorder op;
        op.keep = true;
        io->receive(op);
        r.spin(3);
        malloc_fails = true;
        p.write(std::string(64 * 5, 'a'));
        r.spin(50);
        bool const starved = op.data.size() < 64 * 5;
        malloc_fails = false;
        while (op.data.size() < 64 * 5)
            r.io->wait(-1ns); // hangs where nobody looks again
        io->cancel(op);
        bool const ended = r.until([&] { return op.ended(); });
        op.kept.clear();
        return starved && ended ? 7 : 1;
    });
    CHECK(end.exited_with(7));
}

TEST_CASE("an engine that could not arm its wake-up does not wait", "[uring][wake]")
{
    auto const end = in_hasty_child([] {
        rig r(engine_kind::uring, tiny, tiny_block);
        pair pairs[4];
        std::vector<std::unique_ptr<engine::descriptor>> ios;
        std::vector<std::unique_ptr<recorder>> ops;
        for (auto& p : pairs) { // all entries are taken
            ios.push_back(r.open(p.ours));
            ops.push_back(std::make_unique<recorder>());
            ios.back()->poll(*ops.back(), POLLIN);
        }
        submit_fails = true;
        r.io->wait(-1ns); // for ever, where the wake-up counts as armed
        submit_fails = false;
        r.io->wait(0ns);
        r.io->wake();
        r.io->wait(-1ns);
        for (std::size_t i = 0; i < ios.size(); ++i)
            ios[i]->cancel(*ops[i]);
        auto const all_ended = [&] { return std::all_of(ops.begin(), ops.end(), [](auto& op) { return op->ended(); }); };
        return r.until(all_ended) ? 7 : 1;
    });
    CHECK(end.exited_with(7));
}

TEST_CASE("completions that overflow their queue are not lost", "[uring][tiny]")
{
    rig r(engine_kind::uring, {64, 4, 8}, 256);
    constexpr std::size_t sockets = 200;
    std::vector<std::unique_ptr<pair>> pairs;
    std::vector<std::unique_ptr<engine::descriptor>> ios;
    std::vector<std::unique_ptr<recorder>> ops;
    for (std::size_t i = 0; i < sockets; ++i) {
        pairs.push_back(std::make_unique<pair>());
        ios.push_back(r.open(pairs.back()->ours));
        ops.push_back(std::make_unique<recorder>());
        ios.back()->receive(*ops.back());
    }
    r.spin(5);
    for (int round = 0; round < 10; ++round) {
        for (auto& p : pairs)
            p->write("0123456789"); // 200 completions for a queue of 8
        std::size_t const expected = static_cast<std::size_t>(round + 1) * 10;
        REQUIRE(r.until([&] {
            return std::all_of(ops.begin(), ops.end(), [&](auto& op) { return op->data.size() == expected; });
        }));
    }
    for (std::size_t i = 0; i < sockets; ++i)
        ios[i]->cancel(*ops[i]);
    CHECK(r.until([&] { return std::all_of(ops.begin(), ops.end(), [](auto& op) { return op->ended(); }); }));
}

TEST_CASE("wake is heard though its completion had to queue", "[uring][tiny][wake]")
{
    rig r(engine_kind::uring, {2, 4, 8}, 64);
    std::vector<std::unique_ptr<pair>> pairs;
    std::vector<std::unique_ptr<engine::descriptor>> ios;
    std::vector<std::unique_ptr<recorder>> ops;
    for (std::size_t i = 0; i < 50; ++i) {
        pairs.push_back(std::make_unique<pair>());
        ios.push_back(r.open(pairs.back()->ours));
        ops.push_back(std::make_unique<recorder>());
        ios.back()->poll(*ops.back(), POLLIN);
    }
    r.spin(20);
    for (int round = 0; round < 100; ++round) {
        if (round == 50)
            for (auto& p : pairs)
                p->write("x"); // fifty completions at once end the wake's poll
        r.io->wake();
        r.io->wait(-1ns);
        r.spin(3);
        r.io->wake();
        r.io->wait(-1ns);
    }
    CHECK(std::all_of(ops.begin(), ops.end(), [](auto& op) { return op->ended(); }));
}

TEST_CASE("an engine that was woken just before goes at once", "[uring][wake]")
{
    auto const start = clock::now();
    for (int i = 0; i < 20; ++i) {
        rig r(engine_kind::uring);
        r.spin(2);
        r.io->wake();
    }
    CHECK(clock::now() - start < 10s); // a poll that is not found would be waited for, a second each
}

TEST_CASE("an engine goes with receives of a leaked owner in flight", "[uring]")
{
    // Against the rules above the seam; the kernel must not write into freed memory nevertheless.
    auto const end = in_child([] {
        pair p;
        auto* const op = new recorder; // never destroyed
        {
            rig r(engine_kind::uring, tiny, tiny_block);
            r.open(p.ours).release()->receive(*op);
            r.spin(2);
        }
        (void)::send(p.peer, "abc", 3, MSG_NOSIGNAL);
        return op->data.empty() ? 7 : 1;
    });
    CHECK(end.exited_with(7));
}

#ifdef WRING_ASAN
TEST_CASE("the buffers that the kernel has are poisoned until it has filled them", "[uring][death]")
{
    auto const end = in_child([] {
        rig r(engine_kind::uring, tiny, tiny_block);
        pair p;
        auto io = r.open(p.ours);
        recorder op;
        op.keep = true;
        io->receive(op);
        p.write("abc");
        r.until([&] { return op.data == "abc"; });
        std::byte* const lent = op.kept[0].get()->data();
        if (*lent != std::byte{'a'}) // ours
            return 1;
        op.kept.clear(); // back in the pool; after two more receives it is in the ring again
        for (int i = 0; i < 2; ++i) {
            p.write("d");
            r.until([&] { return !op.kept.empty(); });
            op.kept.clear();
        }
        std::fprintf(stderr, "touching\n");
        return static_cast<int>(*static_cast<std::byte volatile*>(lent)) + 2;
    });
    CHECK(end.says("touching"));
    CHECK(end.says("use-after-poison"));
}
#endif
