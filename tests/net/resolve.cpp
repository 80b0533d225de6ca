// SPDX-License-Identifier: BSL-1.0
#include "net.hpp"

#include "child.hpp"
#include "engine/refuse.hpp"
#include "net/system.hpp"

#include <barrier>

#include <netdb.h>

using namespace net_test;

namespace {

task<> resolve_literals()
{
    auto v4 = co_await resolve("127.0.0.1:9001");
    CHECK(v4.value() == std::vector<endpoint>{endpoint::parse("127.0.0.1:9001").value()});
    auto v6 = co_await resolve("[::1]:9001");
    CHECK(v6.value() == std::vector<endpoint>{endpoint::parse("[::1]:9001").value()});
    auto path = co_await resolve("unix:/run/x");
    CHECK(path.value() == std::vector<endpoint>{endpoint::parse("unix:/run/x").value()});
    auto apart = co_await resolve("127.0.0.1", 80);
    CHECK(apart.value() == std::vector<endpoint>{endpoint::parse("127.0.0.1:80").value()});
    auto apart6 = co_await resolve("::1", 80);
    CHECK(apart6.value() == std::vector<endpoint>{endpoint::parse("[::1]:80").value()});
}

task<> resolve_localhost()
{
    auto found = co_await resolve("localhost:9001");
    REQUIRE(found);
    REQUIRE_FALSE(found->empty());
    for (endpoint const& e : *found) {
        CAPTURE(e.to_string());
        CHECK(e.is_ip());
        CHECK(e.port() == 9001);
        CHECK((e.address() == "::1" || e.address().starts_with("127.")));
    }
}

task<> refuse_bad_text()
{
    for (char const* text : {"", "localhost", "localhost:", "localhost:65536", "unix:", ":80", "::1:80"}) {
        CAPTURE(text);
        auto found = co_await resolve(std::string(text));
        CHECK(found.error() == errc::bad_endpoint);
    }
}

task<> look_for_nobody()
{
    auto found = co_await resolve("nobody.invalid:80");
    CHECK_FALSE(found);
    CHECK(found.error());
}

task<> cancel_at_once()
{
    auto const before = clock::now();
    scope lookups;
    std::size_t canceled = 0;
    struct one
    {
        static task<> look_up(std::size_t& count)
        {
            auto found = co_await resolve("nobody.invalid:80");
            if (found.error() == errc::canceled) ++count;
        }
    };
    for (int i = 0; i < 4; ++i)
        lookups.spawn(one::look_up(canceled));
    co_await turns(1); // they wait
    lookups.request_stop();
    co_await lookups.join();
    CHECK(canceled > 0); // those that had not ended
    CHECK(clock::now() - before < 5s);
}

task<> cancel_beforehand()
{
    auto& env = co_await detail::get_context();
    detail::own_stop own(env);
    own.stop.request();
    auto found = co_await resolve("localhost:80");
    CHECK(found.error() == errc::canceled);
}

task<> leave_it_running()
{
    auto found = co_await timeout(0s, resolve("nobody.invalid:80"));
    CHECK_FALSE(found);
}

task<> name_failures()
{
    struct
    {
        int status;
        std::error_code error;
    } const cases[] = {
        {EAI_NONAME, errc::host_not_found},
        {EAI_NODATA, errc::host_not_found},
        {EAI_ADDRFAMILY, errc::host_not_found},
        {EAI_MEMORY, std::make_error_code(std::errc::not_enough_memory)},
        {EAI_SYSTEM, {EMFILE, std::system_category()}},
        {EAI_AGAIN, {EAI_AGAIN, resolver_category()}},
        {EAI_FAIL, {EAI_FAIL, resolver_category()}},
    };
    for (auto const& c : cases) {
        CAPTURE(c.error.message());
        system_calls.getaddrinfo_status = c.status;
        auto const found = co_await resolve("localhost:80");
        CHECK(found.error() == c.error);
        CHECK(listener::bind("localhost:80").error() == c.error);
    }
    system_calls.getaddrinfo_status = 0;
    std::error_code const again(EAI_AGAIN, resolver_category());
    CHECK(again == std::errc::resource_unavailable_try_again);
    CHECK(again.message() == ::gai_strerror(EAI_AGAIN));
    CHECK(std::error_code(EAI_FAIL, resolver_category()) != std::errc::resource_unavailable_try_again);
    auto const good = co_await resolve("localhost:80");
    CHECK(good);
}

task<> without_threads()
{
    for (int i = 0; i < 3; ++i) {
        auto const found = co_await resolve("localhost:80");
        CHECK(found.error() == std::errc::resource_unavailable_try_again);
        auto const connected = co_await connect_stream("localhost:80");
        CHECK(connected.error() == std::errc::resource_unavailable_try_again);
        auto const late = co_await timeout(1h, resolve("localhost:80"));
        CHECK(late.error() == std::errc::resource_unavailable_try_again);
    }
    auto const literal = co_await resolve("127.0.0.1:80"); // needs none
    CHECK(literal);
}

/// Waits until the thread pool has done what was asked of it before, so that later tests find it at rest.
void finish_lookups()
{
    constexpr int threads = 4; // the pool's default
    struct meet
    {
        void operator()() const { all->arrive_and_wait(); }
        std::barrier<>* all;
    };
    struct wait_for
    {
        static task<> all_threads()
        {
            std::barrier<> all(threads);
            scope waiting;
            for (int i = 0; i < threads; ++i)
                waiting.spawn(one(&all));
            co_await waiting.join();
        }
        static task<> one(std::barrier<>* all)
        {
            meet const work{all};
            co_await offload(work);
        }
    };
    on_loop(wait_for::all_threads());
}

} // namespace

TEST_CASE("a literal address resolves to itself")
{
    on_loop(resolve_literals());
}

TEST_CASE("localhost resolves to loopback addresses")
{
    on_loop(resolve_localhost());
}

TEST_CASE("text that is no host and port is not looked up")
{
    on_loop(refuse_bad_text());
}

TEST_CASE("a name that nobody has is an error")
{
    on_loop(look_for_nobody());
}

TEST_CASE("each failure of the resolver has its error")
{
    on_loop(name_failures());
}

TEST_CASE("a look-up for which no thread can be had is an error")
{
    auto const end = wring::test::in_fresh_process("no thread for a look-up");
    INFO(end.output);
    CHECK(end.exited_with(0));
}
TEST_CASE("no thread for a look-up", "[.fresh]")
{
    REQUIRE(wring::test::refuse_threads());
    on_loop(without_threads());
}

TEST_CASE("a canceled look-up completes at once")
{
    on_loop(cancel_at_once());
    on_loop(cancel_beforehand());
    finish_lookups();
}

TEST_CASE("a look-up may end after its loop")
{
    for (int i = 0; i < 4; ++i)
        on_loop(leave_it_running());
    finish_lookups();
}
