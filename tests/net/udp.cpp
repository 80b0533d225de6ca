// SPDX-License-Identifier: BSL-1.0
#include "net.hpp"

#include "net/system.hpp"

#include <wring/udp.hpp>

using namespace net_test;

namespace {

task<> send_and_receive(char const* at)
{
    auto a = udp_socket::bind(at).value();
    auto b = udp_socket::bind(at).value();
    CHECK(a.local().port() != 0);
    CHECK(a.local().port() != b.local().port());
    for (std::size_t const size : {std::size_t{0}, std::size_t{1}, std::size_t{1400}, std::size_t{60000}}) {
        CAPTURE(size);
        auto const sent = pattern(size);
        auto const gone = co_await a.send_to(sent, b.local());
        CHECK(gone);
        std::vector<std::byte> buffer(65536);
        auto const got = co_await b.receive_from(buffer);
        REQUIRE(got);
        CHECK(got->from == a.local());
        CHECK(got->bytes.data() == buffer.data());
        CHECK(same_bytes(got->bytes, sent));
    }
}

std::span<std::byte const> bytes_of(std::string_view text)
{
    return std::as_bytes(std::span(text));
}

task<> boundaries()
{
    auto a = udp_socket::bind("127.0.0.1:0").value();
    auto b = udp_socket::bind("127.0.0.1:0").value();
    for (std::string_view text : {"one", "much too long", "two"}) {
        auto const sent = co_await a.send_to(bytes_of(text), b.local());
        CHECK(sent);
    }
    std::byte buffer[5];
    auto const first = co_await b.receive_from(std::span(buffer));
    CHECK(text_of(first.value().bytes) == "one");
    auto const cut = co_await b.receive_from(std::span(buffer));
    CHECK(cut.error() == errc::message_too_large);
    auto const next = co_await b.receive_from(std::span(buffer)); // that one is gone, whole
    CHECK(text_of(next.value().bytes) == "two");

    std::vector<std::byte> const huge(70'000);
    auto const refused = co_await a.send_to(huge, b.local());
    CHECK(refused.error() == std::errc::message_size);
    auto const nowhere = co_await a.send_to(bytes_of("x"), endpoint());
    CHECK(nowhere.error());
    auto const wrong_family = co_await a.send_to(bytes_of("x"), endpoint::parse("unix:/x").value());
    CHECK(wrong_family.error());
}

task<> receive(udp_socket& s, std::span<std::byte> buffer, result<udp_socket::datagram>& outcome)
{
    outcome = co_await s.receive_from(buffer);
}

task<> waits_for_a_datagram()
{
    auto a = udp_socket::bind("127.0.0.1:0").value();
    auto b = udp_socket::bind("127.0.0.1:0").value();
    std::byte buffer[10];
    std::byte other[10];
    result<udp_socket::datagram> outcome = errc::canceled;
    scope receiver;
    receiver.spawn(receive(b, buffer, outcome));
    co_await turns(2);
    auto const busy = co_await b.receive_from(std::span(other));
    CHECK(busy.error() == errc::busy);
    auto const back = co_await b.send_to(bytes_of("while receiving"), a.local());
    CHECK(back);
    auto const sent = co_await a.send_to(bytes_of("ping"), b.local());
    CHECK(sent);
    co_await receiver.join();
    CHECK(text_of(outcome.value().bytes) == "ping");
}

/// Receives under a stop that is requested after so many turns.
task<> stop_after(int count, detail::stop_state& stop)
{
    co_await turns(count);
    stop.request();
}

task<> receive_canceled_after(int count, udp_socket& s, std::span<std::byte> buffer,
                              result<udp_socket::datagram>& outcome)
{
    detail::own_stop own(co_await detail::get_context());
    scope stopper;
    stopper.spawn(stop_after(count, own.stop));
    outcome = co_await s.receive_from(buffer);
    co_await stopper.join();
}

task<> send_slowly(udp_socket& s, endpoint to, int count)
{
    for (int i = 0; i < count; ++i) {
        auto const number = static_cast<std::byte>(i);
        auto const sent = co_await s.send_to(std::span(&number, 1), to);
        CHECK(sent);
        co_await turns(1 + i % 3);
    }
}

task<> cancels_lose_nothing()
{
    auto a = udp_socket::bind("127.0.0.1:0").value();
    auto b = udp_socket::bind("127.0.0.1:0").value();
    constexpr int count = 100;
    scope sender;
    sender.spawn(send_slowly(a, b.local(), count));
    int canceled = 0;
    for (int next = 0, round = 0; next < count; ++round) {
        std::byte buffer[10];
        result<udp_socket::datagram> outcome = errc::busy;
        co_await receive_canceled_after(round % 5, b, buffer, outcome);
        if (outcome) {
            CHECK(outcome->bytes.size() == 1);
            CHECK(outcome->bytes[0] == static_cast<std::byte>(next));
            ++next;
        } else {
            CHECK(outcome.error() == errc::canceled);
            ++canceled;
        }
    }
    co_await sender.join();
    CHECK(canceled > 0);

    std::byte buffer[10];
    auto const late = co_await timeout(5ms, b.receive_from(std::span(buffer)));
    CHECK(late.error() == errc::timed_out);
}

task<> addresses()
{
    CHECK(udp_socket::bind("localhost:0").error() == errc::bad_endpoint);
    auto const first = udp_socket::bind("127.0.0.1:0").value();
    CHECK(first.native_handle() >= 0);
    CHECK(first.local().address() == "127.0.0.1");
    CHECK(udp_socket::bind(first.local().to_string()).error() == std::errc::address_in_use);
    auto const any = udp_socket::bind("0.0.0.0:0").value();
    CHECK(any.local().port() != 0);
    co_return;
}

task<> unix_datagrams()
{
    temporary_folder const folder;
    for (int round = 0; round < 2; ++round) { // the paths are free again
        auto a = udp_socket::bind("unix:" + folder / "a").value();
        auto b = udp_socket::bind("unix:" + folder / "b").value();
        auto const sent = co_await a.send_to(bytes_of("hello"), b.local());
        CHECK(sent);
        std::byte buffer[10];
        auto const got = co_await b.receive_from(std::span(buffer));
        CHECK(text_of(got.value().bytes) == "hello");
        CHECK(got->from == a.local());
    }
    CHECK_FALSE(std::filesystem::exists(folder / "a"));
}

task<> send_into(udp_socket& s, std::string_view text, endpoint to, std::error_code& outcome)
{
    auto const sent = co_await s.send_to(bytes_of(text), to);
    outcome = sent.error();
}

/// A Unix receiver's queue holds a few datagrams, then senders wait.
task<> full_queue()
{
    temporary_folder const folder;
    auto a = udp_socket::bind("unix:" + folder / "a").value();
    auto b = udp_socket::bind("unix:" + folder / "b").value();
    int queued = 0;
    for (;; ++queued) {
        auto const sent = co_await timeout(20ms, a.send_to(bytes_of("queued"), b.local()));
        if (!sent) {
            CHECK(sent.error() == errc::timed_out);
            break;
        }
    }
    std::error_code first = errc::timed_out;
    std::error_code second = errc::timed_out;
    scope canceled;
    canceled.spawn(send_into(a, "canceled", b.local(), first));
    system_calls.sendto_calls = 0;
    auto const slept = co_await sleep_for(200ms);
    REQUIRE(slept);
    CHECK(system_calls.sendto_calls > 1);
    CHECK(system_calls.sendto_calls < 60); // it rests in between
    auto const busy = co_await a.send_to(bytes_of("busy"), b.local());
    CHECK(busy.error() == errc::busy);
    canceled.request_stop();
    co_await canceled.join();
    CHECK(first == errc::canceled);

    scope waiting;
    waiting.spawn(send_into(a, "last", b.local(), second));
    co_await turns(2);
    std::byte buffer[10];
    for (int i = 0; i < queued; ++i) {
        auto const got = co_await b.receive_from(std::span(buffer));
        CHECK(text_of(got.value().bytes) == "queued");
    }
    co_await waiting.join();
    CHECK_FALSE(second);
    auto const last = co_await b.receive_from(std::span(buffer));
    CHECK(text_of(last.value().bytes) == "last");
}

/// A send that has to wait for its socket.
task<> not_writable_at_first()
{
    auto a = udp_socket::bind("127.0.0.1:0").value();
    auto b = udp_socket::bind("127.0.0.1:0").value();
    system_calls.sendto_calls = 0;
    system_calls.sendto_again = 3;
    auto const sent = co_await a.send_to(bytes_of("late"), b.local());
    CHECK(sent);
    CHECK(system_calls.sendto_calls == 4);
    std::byte buffer[10];
    auto const got = co_await b.receive_from(std::span(buffer));
    CHECK(text_of(got.value().bytes) == "late");
    auto& env = co_await detail::get_context();
    detail::own_stop own(env);
    own.stop.request();
    auto const canceled = co_await a.send_to(bytes_of("never"), b.local());
    CHECK(canceled.error() == errc::canceled);
    CHECK(system_calls.sendto_calls == 4);
}

} // namespace

TEST_CASE("datagrams go there, and say where they came from")
{
    no_descriptor_leaks const check;
    auto const at = GENERATE("127.0.0.1:0", "[::1]:0");
    on_loop(send_and_receive(at));
}
TEST_CASE("a datagram is received whole or not at all")
{
    no_descriptor_leaks const check;
    on_loop(boundaries());
}
TEST_CASE("a receive waits, and only one at a time")
{
    no_descriptor_leaks const check;
    on_loop(waits_for_a_datagram());
}
TEST_CASE("a canceled receive loses no datagram")
{
    no_descriptor_leaks const check;
    on_loop(cancels_lose_nothing());
}
TEST_CASE("a datagram socket knows where it is bound")
{
    no_descriptor_leaks const check;
    on_loop(addresses());
}
TEST_CASE("Unix sockets carry datagrams, and their paths are removed")
{
    no_descriptor_leaks const check;
    on_loop(unix_datagrams());
}
TEST_CASE("a send to a full queue waits, without spinning, and can be canceled")
{
    no_descriptor_leaks const check;
    on_loop(full_queue());
}
TEST_CASE("a send waits until its socket is writable")
{
    no_descriptor_leaks const check;
    on_loop(not_writable_at_first());
}
