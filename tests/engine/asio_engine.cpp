// SPDX-License-Identifier: BSL-1.0
// What the Asio engine does by itself: readiness, its own accept and receive loops, handlers without allocations.
#include "engine/rig.hpp"

#include "child.hpp"
#include "core/allocations.hpp"

#include <atomic>
#include <thread>

using namespace wring;
using namespace wring::test;

TEST_CASE("a send is told that there is room, and sends nothing itself", "[asio][send]")
{
    rig r(engine_kind::asio);
    pair p;
    auto io = r.open(p.ours);
    std::string const text = "unsent";
    iovec const all = bytes_of(text);
    recorder op;
    io->send(op, {&all, 1});
    CHECK(op.in_flight());
    CHECK(r.until([&] { return op.ended(); }));
    CHECK(op.results == std::vector<int>{0});
    CHECK(p.read().empty());
}

TEST_CASE("one flooded socket does not keep the others from their turn", "[asio][receive]")
{
    rig r(engine_kind::asio, {16, 64, 256}, 64);
    pair flood, quiet;
    auto first = r.open(flood.ours);
    auto second = r.open(quiet.ours);
    recorder many, one;
    fill(flood.peer);
    quiet.write("x");
    first->receive(many);
    second->receive(one);
    r.spin(1);
    CHECK(many.data.size() < 100'000); // the loop gets its turn too
    CHECK(one.data == "x");
    CHECK(r.until([&] { return many.results.size() > 20; }));
    first->cancel(many);
    second->cancel(one);
    CHECK(r.until([&] { return many.ended() && one.ended(); }));
}

TEST_CASE("a receive that gets no memory ends with ENOMEM", "[asio][receive]")
{
    rig r(engine_kind::asio);
    pair p;
    auto io = r.open(p.ours);
    recorder op;
    io->receive(op);
    r.spin(2);
    p.write("abc");
    malloc_fails = true;
    bool const ended = r.until([&] { return op.ended(); });
    malloc_fails = false;
    CHECK(ended);
    CHECK(op.results.back() == -ENOMEM);
    io->receive(op); // and the bytes are still there
    CHECK(r.until([&] { return op.data == "abc"; }));
    io->cancel(op);
    CHECK(r.until([&] { return op.ended(); }));
}

TEST_CASE("waits for which there is no memory begin later, and can be canceled before", "[asio]")
{
    auto const end = in_child([] {
        ::alarm(10);
        rig r(engine_kind::asio);
        pair p, q;
        auto first = r.open(p.ours);
        auto second = r.open(q.ours);
        recorder waits, canceled, connects;
        std::atomic<bool> give{false};
        std::thread giver([&give] {
            give.wait(false);
            std::this_thread::sleep_for(20ms); // the engine most likely waits then
            malloc_fails = false;
        });
        r.spin(1);
        no_free_frames const frames;
        malloc_fails = true;
        first->receive(waits);
        second->receive(canceled);
        r.spin(3);
        second->cancel(canceled);
        second->connect(connects, nullptr, 0); // ends at once, with an error
        r.spin(3);
        if (!waits.in_flight() || !canceled.ended() || canceled.results != std::vector<int>{-ECANCELED}) return 1;
        if (!connects.ended() || connects.results.back() >= 0) return 2;
        p.write("x");
        give = true;
        give.notify_one();
        while (waits.data != "x")
            r.io->wait(-1ns); // hangs where nobody looks again
        giver.join();
        first->cancel(waits);
        return r.until([&] { return waits.ended(); }) ? 7 : 3;
    });
    INFO(end.output);
    CHECK(end.exited_with(7));
}

TEST_CASE("an engine goes with waits of a leaked owner in flight", "[asio]")
{
    recorder op;
    pair p;
    {
        rig r(engine_kind::asio);
        auto io = r.open(p.ours);
        io->receive(op);
        r.spin(1);
        io->cancel(op);
        CHECK(r.until([&] { return op.ended(); }));
        CHECK(::close(io->release()) == 0);
    }
    CHECK(op.ends == 1);
}
