// SPDX-License-Identifier: BSL-1.0
#include "net/connect.hpp"

#include "net.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/un.h>

using namespace net_test;

namespace {

/// An address where connecting neither succeeds nor fails: a listener whose backlog is full.
class black_hole
{
public:
    black_hole() : listener_(bound_socket(at_, 0))
    {
        for (int i = 0; i < 16; ++i) {
            raw_socket s(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
            int const r =
                ::connect(s.get(), static_cast<sockaddr const*>(at_.data()), static_cast<socklen_t>(at_.size()));
            bool const pending = r != 0 && errno == EINPROGRESS;
            pollfd ready{s.get(), POLLOUT, 0};
            bool const hangs = pending && ::poll(&ready, 1, 0) == 0;
            fillers_.push_back(std::move(s));
            if (hangs) return;
        }
        FAIL("the backlog does not fill");
    }
    [[nodiscard]] endpoint at() const { return at_; }

private:
    endpoint at_;
    raw_socket listener_;
    std::vector<raw_socket> fillers_;
};

task<> nobody_listens()
{
    endpoint at;
    raw_socket const held = bound_socket(at, -1);
    auto const by_endpoint = co_await connect_stream(at);
    CHECK(by_endpoint.error() == std::errc::connection_refused);
    auto const by_text = co_await connect_stream(at.to_string());
    CHECK(by_text.error() == std::errc::connection_refused);
    auto const by_name = co_await connect_stream("localhost:" + std::to_string(at.port()));
    CHECK(by_name.error() == std::errc::connection_refused);
}

task<> no_unix_listener()
{
    temporary_folder const folder;
    auto const missing = co_await connect_stream("unix:" + folder / "missing");
    CHECK(missing.error() == std::errc::no_such_file_or_directory);
    auto const hidden = co_await connect_stream(abstract_endpoint());
    CHECK(hidden.error() == std::errc::connection_refused);
}

task<> bad_text()
{
    for (char const* text : {"", "localhost", "localhost:x", "unix:", "http://localhost:80", "::1:80"}) {
        CAPTURE(text);
        auto const refused = co_await connect_stream(std::string(text));
        CHECK(refused.error() == errc::bad_endpoint);
    }
    auto const nobody = co_await connect_stream("nobody.invalid:80");
    CHECK(nobody.error());
    auto const nowhere = co_await connect_stream(endpoint());
    CHECK(nowhere.error());
}

task<> by_name()
{
    auto server = listener::bind("127.0.0.1:0").value();
    auto client = co_await connect_stream("localhost:" + std::to_string(server.local().port()));
    REQUIRE(client);
    auto peer = co_await server.accept();
    REQUIRE(peer);
    CHECK(client->remote() == server.local());
    auto const written = co_await client->write("hello");
    CHECK(written);
    auto const got = co_await read_text(*peer, 5);
    CHECK(got == "hello");
}

task<> delay_option()
{
    auto server = listener::bind("127.0.0.1:0").value();
    auto const usual = co_await connect_stream(server.local());
    CHECK(socket_option(usual.value().native_handle(), IPPROTO_TCP, TCP_NODELAY) == 1);
    connect_stream_options options;
    options.no_delay = false;
    auto const other = co_await connect_stream(server.local(), options);
    CHECK(socket_option(other.value().native_handle(), IPPROTO_TCP, TCP_NODELAY) == 0);
    CHECK((::fcntl(other->native_handle(), F_GETFL) & O_NONBLOCK) != 0);
    CHECK((::fcntl(other->native_handle(), F_GETFD) & FD_CLOEXEC) != 0);
}

// ---- several addresses
// -----------------------------------------------------------------------------------------------

task<> first_address_fails()
{
    endpoint closed;
    raw_socket const held = bound_socket(closed, -1);
    auto server = listener::bind("127.0.0.1:0").value();
    connect_stream_options options;
    options.attempt_delay = 1h; // a failure must not wait for it
    std::vector<endpoint> addresses{closed, closed, server.local()};
    auto connected = co_await timeout(20s, detail::connect_any(addresses, options));
    REQUIRE(connected);
    CHECK(connected->remote() == server.local());
}

task<> first_address_hangs()
{
    black_hole const hole;
    auto server = listener::bind("127.0.0.1:0").value();
    auto const before = open_descriptors();
    connect_stream_options options;
    options.attempt_delay = 20ms;
    std::vector<endpoint> addresses{hole.at(), hole.at(), server.local()};
    auto const start = clock::now();
    auto connected = co_await timeout(20s, detail::connect_any(addresses, options));
    REQUIRE(connected);
    CHECK(connected->remote() == server.local());
    CHECK(clock::now() - start >= 40ms);     // twice the delay, no sooner
    CHECK(open_descriptors() == before + 1); // the attempts that lost are closed
}

task<> first_address_is_the_one()
{
    black_hole const hole;
    auto server = listener::bind("127.0.0.1:0").value();
    connect_stream_options options;
    options.attempt_delay = 1h;
    std::vector<endpoint> addresses{server.local(), hole.at()};
    auto const before = open_descriptors();
    auto connected = co_await timeout(20s, detail::connect_any(addresses, options));
    REQUIRE(connected);
    CHECK(connected->remote() == server.local());
    CHECK(open_descriptors() == before + 1); // the second was not even tried
}

task<> no_address_answers()
{
    endpoint closed;
    raw_socket const held = bound_socket(closed, -1);
    temporary_folder const folder;
    auto const missing = endpoint::parse("unix:" + folder / "missing").value();
    connect_stream_options options;
    options.attempt_delay = 1h;
    std::vector<endpoint> addresses{missing, missing, closed};
    auto const refused = co_await detail::connect_any(addresses, options);
    CHECK(refused.error()); // of the families, which take turns, one is last
    std::vector<endpoint> same{closed, closed};
    auto const again = co_await detail::connect_any(same, options);
    CHECK(again.error() == std::errc::connection_refused);
    std::vector<endpoint> const none;
    auto const nothing = co_await detail::connect_any(none, options);
    CHECK(nothing.error() == errc::host_not_found);
}

task<> late_failure_ends_the_wait()
{
    // The last address fails after the others: the error is its own, and nobody waits for a winner any more.
    endpoint closed;
    raw_socket const held = bound_socket(closed, -1);
    black_hole const hole;
    connect_stream_options options;
    options.attempt_delay = 5ms;
    std::vector<endpoint> addresses{hole.at(), closed};
    auto const waiting = co_await timeout(50ms, detail::connect_any(addresses, options));
    CHECK(waiting.error() == errc::timed_out); // the first one still may
}

task<> cancel_ends_all_attempts()
{
    black_hole const hole;
    auto const before = open_descriptors();
    connect_stream_options options;
    options.attempt_delay = 1ms;
    std::vector<endpoint> addresses(5, hole.at());
    auto const late = co_await timeout(50ms, detail::connect_any(addresses, options));
    CHECK(late.error() == errc::timed_out);
    CHECK(open_descriptors() == before);

    auto const one = co_await timeout(10ms, connect_stream(hole.at()));
    CHECK(one.error() == errc::timed_out);
    CHECK(open_descriptors() == before);

    auto& env = co_await detail::get_context();
    detail::own_stop own(env);
    own.stop.request();
    auto const beforehand = co_await detail::connect_any(addresses, options);
    CHECK(beforehand.error() == errc::canceled);
    auto const single = co_await connect_stream(hole.at());
    CHECK(single.error() == errc::canceled);
    CHECK(open_descriptors() == before);
}

task<> connect_later(endpoint at, bool& connected)
{
    auto s = co_await connect_stream(at);
    connected = s.has_value();
}

task<> full_unix_backlog()
{
    temporary_folder const folder;
    auto const at = endpoint::parse("unix:" + folder / "busy").value();
    raw_socket server(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    REQUIRE(::bind(server.get(), static_cast<sockaddr const*>(at.data()), static_cast<socklen_t>(at.size())) == 0);
    REQUIRE(::listen(server.get(), 0) == 0);
    std::vector<raw_socket> fillers;
    for (;;) {
        raw_socket s(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
        if (::connect(s.get(), static_cast<sockaddr const*>(at.data()), static_cast<socklen_t>(at.size())) != 0) break;
        fillers.push_back(std::move(s));
    }
    auto const late = co_await timeout(30ms, connect_stream(at));
    CHECK(late.error() == errc::timed_out);

    bool connected = false;
    scope client;
    client.spawn(connect_later(at, connected));
    co_await turns(3);
    CHECK_FALSE(connected);
    for (std::size_t i = 0; i < fillers.size(); ++i) {
        raw_socket const accepted(::accept(server.get(), nullptr, nullptr));
        CHECK(accepted.get() >= 0);
    }
    co_await client.join();
    CHECK(connected);
}

} // namespace

TEST_CASE("a port where nobody listens refuses")
{
    no_descriptor_leaks const check;
    on_loop(nobody_listens());
}
TEST_CASE("a Unix socket that is not there is an error")
{
    no_descriptor_leaks const check;
    on_loop(no_unix_listener());
}
TEST_CASE("text that is no endpoint does not connect")
{
    on_loop(bad_text());
}
TEST_CASE("a name connects")
{
    no_descriptor_leaks const check;
    on_loop(by_name());
}
TEST_CASE("connected sockets do not delay, unless asked to")
{
    no_descriptor_leaks const check;
    on_loop(delay_option());
}

TEST_CASE("an address that fails is followed by the next at once")
{
    no_descriptor_leaks const check;
    on_loop(first_address_fails());
}
TEST_CASE("an address that hangs is overtaken after the delay")
{
    no_descriptor_leaks const check;
    on_loop(first_address_hangs());
}
TEST_CASE("no second address is tried where the first connects")
{
    no_descriptor_leaks const check;
    on_loop(first_address_is_the_one());
}
TEST_CASE("where no address answers the error says so")
{
    no_descriptor_leaks const check;
    on_loop(no_address_answers());
}
TEST_CASE("an attempt that hangs is waited for while it may still win")
{
    no_descriptor_leaks const check;
    on_loop(late_failure_ends_the_wait());
}
TEST_CASE("a cancel ends every attempt to connect")
{
    no_descriptor_leaks const check;
    on_loop(cancel_ends_all_attempts());
}
TEST_CASE("connecting waits for room in a Unix socket's backlog")
{
    no_descriptor_leaks const check;
    on_loop(full_unix_backlog());
}

TEST_CASE("the families of a name's addresses take turns")
{
    auto const list = [](std::initializer_list<char const*> texts) {
        std::vector<endpoint> found;
        for (char const* text : texts)
            found.push_back(endpoint::parse(text).value());
        return found;
    };
    auto mixed = list({"[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1", "2.2.2.2:1"});
    detail::interleave_families(mixed);
    CHECK(mixed == list({"[::1]:1", "1.1.1.1:1", "[::2]:1", "2.2.2.2:1", "[::3]:1"}));
    auto v4_first = list({"1.1.1.1:1", "[::1]:1", "[::2]:1"});
    detail::interleave_families(v4_first);
    CHECK(v4_first == list({"1.1.1.1:1", "[::1]:1", "[::2]:1"}));
    auto one = list({"1.1.1.1:1", "2.2.2.2:1"});
    detail::interleave_families(one);
    CHECK(one == list({"1.1.1.1:1", "2.2.2.2:1"}));
    std::vector<endpoint> none;
    detail::interleave_families(none);
    CHECK(none.empty());
}
