// SPDX-License-Identifier: BSL-1.0
// Sockets must not outlive the root task; those that do are named, rather than waited for without end.
#include "net.hpp"

#include "child.hpp"

#include <wring/udp.hpp>

using namespace net_test;

namespace {

struct kept
{
    std::optional<listener> server;
    std::optional<stream_pair> pair;
    std::optional<stream> client;
    std::optional<udp_socket> datagrams;
};

constexpr run_options impatient{.handle_signals = false, .drain = 10ms};

template <class Fill>
wring::test::child_end left_behind(Fill fill)
{
    return wring::test::in_child([&] {
        kept k;
        return run(fill(k), impatient);
    });
}

} // namespace

TEST_CASE("sockets that outlive the root are named", "[death]")
{
    auto const server = left_behind([](kept& k) -> task<> {
        k.server = listener::bind("127.0.0.1:0").value();
        co_return;
    });
    CHECK(server.aborted());
    CHECK(server.says("the root task has ended and left behind what must not outlive it: 1 listener\n"));
    auto const streams = left_behind([](kept& k) -> task<> {
        k.pair.emplace(make_stream_pair());
        auto all = listener::bind("127.0.0.1:0").value();
        auto connected = co_await connect_stream(all.local());
        k.client = std::move(connected.value());
    });
    CHECK(streams.aborted());
    CHECK(streams.says(": 3 streams\n"));
    auto const datagrams = left_behind([](kept& k) -> task<> {
        k.datagrams = udp_socket::bind("127.0.0.1:0").value();
        co_return;
    });
    CHECK(datagrams.aborted());
    CHECK(datagrams.says(": 1 UDP socket\n"));
}

TEST_CASE("sockets that go during the drain are no trouble")
{
    kept k;
    int const status = run(
        [](kept& late) -> task<> {
            late.server = listener::bind("127.0.0.1:0").value();
            late.pair.emplace(make_stream_pair());
            late.datagrams = udp_socket::bind("127.0.0.1:0").value();
            this_loop().post([&late] { // runs after the root has ended
                this_loop().post([&late] { late = {}; });
            });
            co_return;
        }(k),
        {.handle_signals = false});
    CHECK(status == 0);
}
