// SPDX-License-Identifier: BSL-1.0
// A peer that is always ready does not keep the loop for itself: timers, posts and signals have their turn.
#include "net.hpp"

#include <wring/udp.hpp>

#include <csignal>

using namespace net_test;

namespace {

/// What goes on in a loop that is kept busy. The busy side gives up after a while, for a test that fails must end.
struct others
{
    bool timer = false;
    bool posted = false;
    clock::time_point const end = clock::now() + 5s;

    [[nodiscard]] bool wait() const { return (!timer || !posted) && clock::now() < end; }
};

task<> have_their_turn(others& o)
{
    this_loop().post([&o] { o.posted = true; });
    auto const slept = co_await sleep_for(2ms);
    o.timer = slept.has_value();
}

task<> flood_of_datagrams(scope&, others* o)
{
    auto a = udp_socket::bind("127.0.0.1:0").value();
    auto b = udp_socket::bind("127.0.0.1:0").value();
    auto const to = b.local();
    std::byte buffer[64]{};
    while (o->wait()) {
        auto const sent = co_await a.send_to(std::span(buffer), to);
        REQUIRE(sent);
        auto const got = co_await b.receive_from(std::span(buffer));
        REQUIRE(got);
    }
}

task<> sends_only(scope&, others* o)
{
    auto a = udp_socket::bind("127.0.0.1:0").value();
    auto const nowhere = udp_socket::bind("127.0.0.1:0").value(); // drops what it has no room for
    auto const to = nowhere.local();
    std::byte const buffer[64]{};
    while (o->wait()) {
        auto const sent = co_await a.send_to(std::span(buffer), to);
        REQUIRE(sent);
    }
}

/// Writes to a peer that takes all at once.
task<> fast_sink(scope&, others* o)
{
    int ends[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0);
    raw_socket const peer(ends[1]);
    auto s = stream::adopt(ends[0]).value();
    std::byte buffer[64]{};
    while (o->wait()) {
        auto const written = co_await s.write(std::span<std::byte const>(buffer));
        REQUIRE(written);
        REQUIRE(::recv(peer.get(), buffer, sizeof buffer, 0) == sizeof buffer);
    }
}

/// Reads that have nothing to wait for; a program that overlooks the end of a stream does the same.
task<> always_readable(scope&, others* o)
{
    auto pair = make_stream_pair();
    pair.second.shutdown();
    std::byte buffer[1];
    auto const ended = co_await pair.first.read_some(std::span(buffer));
    REQUIRE(ended.error() == errc::end_of_stream);
    while (o->wait()) {
        auto const again = co_await pair.first.read_some(std::span(buffer));
        REQUIRE(again.error() == errc::end_of_stream);
        auto const nothing = co_await pair.first.read_some({});
        REQUIRE(nothing);
    }
}

/// Accepts on a closed listener, and ignores that.
task<> always_closed(scope&, others* o)
{
    auto server = listener::bind("127.0.0.1:0").value();
    server.close();
    while (o->wait()) {
        auto const none = co_await server.accept();
        REQUIRE(none.error() == errc::closed);
    }
}

using busy_body = task<> (*)(scope&, others*);

task<> beside(busy_body busy)
{
    others o;
    scope all;
    all.spawn(have_their_turn(o));
    co_await with_scope(busy, &o);
    co_await all.join();
    CHECK(o.timer);
    CHECK(o.posted);
    CHECK(clock::now() < o.end);
}

/// Until the program is asked to stop, of which nothing but an interrupted loop hears.
task<> flood_until_stopped(std::size_t& sent)
{
    auto a = udp_socket::bind("127.0.0.1:0").value();
    auto const b = udp_socket::bind("127.0.0.1:0").value();
    auto const to = b.local();
    std::byte const buffer[64]{};
    auto const end = clock::now() + 5s;
    while (clock::now() < end) {
        auto const gone = co_await a.send_to(std::span(buffer), to);
        if (!gone) {
            CHECK(gone.error() == errc::canceled);
            co_return;
        }
        if (++sent == 100) ::raise(SIGTERM);
    }
}

} // namespace

TEST_CASE("a flood of datagrams leaves the loop its turns")
{
    on_loop(beside(flood_of_datagrams));
    on_loop(beside(sends_only));
}
TEST_CASE("a sink that takes all leaves the loop its turns")
{
    on_loop(beside(fast_sink));
}
TEST_CASE("reads and accepts that complete at once leave the loop its turns")
{
    on_loop(beside(always_readable));
    on_loop(beside(always_closed));
}
TEST_CASE("a program that is kept busy hears SIGTERM")
{
    std::size_t sent = 0;
    CHECK(run(flood_until_stopped(sent)) == 0);
    CHECK(sent < 100'000);
}
