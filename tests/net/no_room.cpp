// SPDX-License-Identifier: BSL-1.0
// An engine that takes no more descriptors: epoll at its limit of watches (ENOSPC), io_uring without memory.
#include "net.hpp"

#include "child.hpp"
#include "net/system.hpp"

#include <wring/udp.hpp>

#include <fcntl.h>

using namespace net_test;

namespace {

bool says_no_room(std::error_code error)
{
    return error == std::errc::no_space_on_device || error == std::errc::not_enough_memory;
}

task<> what_is_opened_is_an_error()
{
    temporary_folder const folder;
    auto server = listener::bind("127.0.0.1:0").value();
    std::string const path = folder / "socket";
    {
        engine_is_full const full;
        auto const connected = co_await connect_stream(server.local());
        CHECK(says_no_room(connected.error()));
        CHECK(says_no_room(listener::bind("127.0.0.1:0").error()));
        CHECK(says_no_room(listener::bind("unix:" + path).error()));
        CHECK_FALSE(std::filesystem::exists(path));
        CHECK(says_no_room(udp_socket::bind("127.0.0.1:0").error()));
        CHECK(says_no_room(udp_socket::bind("unix:" + path).error()));
        CHECK_FALSE(std::filesystem::exists(path));
    }
    auto const connected = co_await connect_stream(server.local());
    CHECK(connected);
}

task<> adopt_leaves_the_descriptor()
{
    endpoint at;
    auto listening = bound_socket(at, 10);
    int ends[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    raw_socket first(ends[0]);
    raw_socket const second(ends[1]);
    {
        engine_is_full const full;
        CHECK(says_no_room(stream::adopt(first.get()).error()));
        CHECK(says_no_room(listener::adopt(listening.get()).error()));
    }
    CHECK(::fcntl(first.get(), F_GETFD) >= 0);
    CHECK(::fcntl(listening.get(), F_GETFD) >= 0);
    auto s = stream::adopt(first.release()).value();
    auto server = listener::adopt(listening.release()).value();
    auto const written = co_await s.write("x");
    CHECK(written);
}

task<> accept_one(listener& server, std::optional<result<stream>>& outcome)
{
    outcome.emplace(co_await server.accept());
}

task<> accept_waits_for_room()
{
    auto server = listener::bind("127.0.0.1:0").value();
    auto first = co_await connect_stream(server.local());
    auto const second = co_await connect_stream(server.local());
    REQUIRE(second);
    std::optional<result<stream>> outcome;
    scope accepting;
    {
        engine_is_full const full;
        accepting.spawn(accept_one(server, outcome));
        co_await turns(50);
        CHECK_FALSE(outcome);
        auto const canceled = co_await timeout(250ms, accepting.join()); // tries again, in vain
        CHECK(canceled.error() == errc::timed_out);
        REQUIRE(outcome);
        CHECK(outcome->error() == errc::canceled);
        outcome.reset();
    }
    scope again;
    again.spawn(accept_one(server, outcome));
    co_await again.join(); // the first of them, which no cancel has lost
    REQUIRE(outcome);
    REQUIRE(*outcome);
    auto const written = co_await first->write("x");
    CHECK(written);
    auto const text = co_await read_text(**outcome, 1);
    CHECK(text == "x");
    auto const rest = co_await server.accept();
    CHECK(rest);
}

} // namespace

TEST_CASE("where the engine is full, what opens a socket gives an error")
{
    no_descriptor_leaks const check;
    on_loop(what_is_opened_is_an_error());
}
TEST_CASE("where the engine is full, adopt leaves the descriptor with the caller")
{
    no_descriptor_leaks const check;
    on_loop(adopt_leaves_the_descriptor());
}
TEST_CASE("where the engine is full, accept says so once, waits, and loses no connection")
{
    no_descriptor_leaks const check;
    auto const end = wring::test::in_child([] {
        on_loop(accept_waits_for_room());
        return 0;
    });
    INFO(end.output);
    CHECK(end.exited_with(0));
    CHECK(end.says("can't accept connections"));
    CHECK(end.output.find('\n') == end.output.size() - 1); // one line
    on_loop(accept_waits_for_room());
}
