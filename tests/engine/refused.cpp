// SPDX-License-Identifier: BSL-1.0
// Where io_uring is refused. A program of its own, which never probes: every case is a child that does.
#include "core/core.hpp"

#include "child.hpp"
#include "engine/engine.hpp"
#include "engine/refuse.hpp"

#include <cstdlib>
#include <cstring>
#include <liburing.h>
#include <sys/resource.h>
#include <sys/socket.h>

using namespace wring;
using namespace wring::test;

namespace {

std::size_t count(std::string const& text, std::string const& part)
{
    std::size_t n = 0;
    for (auto at = text.find(part); at != std::string::npos; at = text.find(part, at + 1))
        ++n;
    return n;
}

task<> note_engine(engine_kind& kind)
{
    kind = this_loop().engine();
    (void)co_await sleep_for(1ms);
}

int refused_run(int error, char const* environment, run_options options)
{
    if (environment)
        ::setenv("WRING_ENGINE", environment, 1);
    else
        ::unsetenv("WRING_ENGINE");
    if (!refuse_uring(error)) return 99;
    auto kind = engine_kind::automatic;
    if (int const status = run(note_engine(kind), options); status != 0) return status;
    return kind == engine_kind::asio ? 0 : 98;
}

} // namespace

TEST_CASE("a refused io_uring gives way to Asio, with one line that names errno and cause", "[refused]")
{
    struct
    {
        int error;
        char const* cause;
    } const cases[] = {{EPERM, "seccomp"}, {ENOSYS, "has no io_uring"}};
    for (auto const& c : cases) {
        for (char const* environment : {static_cast<char const*>(nullptr), "auto", ""}) {
            auto const end = in_child([&] {
                int const first = refused_run(c.error, environment, {});
                auto kind = engine_kind::automatic; // and a second run says nothing more
                return first + run(note_engine(kind));
            });
            INFO(end.output);
            CHECK(end.exited_with(0));
            CHECK(count(end.output, "\n") == 1);
            CHECK(end.says("io_uring is not available"));
            CHECK(end.says(std::strerror(c.error)));
            CHECK(end.says(c.cause));
            CHECK(end.says("using Asio on epoll"));
        }
    }
}

TEST_CASE("a ring that the probe had and a loop can't have gives way to Asio, or is an error", "[refused]")
{
    auto const end = in_child([] {
        ::unsetenv("WRING_ENGINE");
        auto first = engine_kind::automatic, second = engine_kind::automatic, third = engine_kind::automatic;
        int const before = run(note_engine(first));
        if (!refuse_calls(ENOMEM, {__NR_io_uring_setup})) return 99;
        int const fallback = run(note_engine(second));
        int const forced = run(note_engine(third), {.engine = engine_kind::uring});
        bool const fell_back = fallback == 0 && second == engine_kind::asio;
        return before == 0 && first == engine_kind::uring && fell_back && forced == 1 ? 7 : 1;
    });
    INFO(end.output);
    CHECK(end.exited_with(7));
    CHECK(count(end.output, "\n") == 2);
    CHECK(count(end.output, "using Asio on epoll") == 1);
    CHECK(count(end.output, std::strerror(ENOMEM)) == 2);
    CHECK(end.says("ulimit -l"));
}

TEST_CASE("a ring without what the engine needs gives way to Asio, with a line that names what is missing", "[refused]")
{
    struct
    {
        unsigned operation;
        int error;
        char const* cause;
    } const cases[] = {{IORING_REGISTER_PBUF_RING, EINVAL, "registering a buffer ring"},
                       {IORING_REGISTER_PROBE, EINVAL, "has no io_uring"}};
    for (auto const& c : cases) {
        auto const end = in_child([&] {
            ::unsetenv("WRING_ENGINE");
            if (!refuse_uring_register(c.operation, c.error)) return 99;
            auto const& refused = engine::probe_uring();
            auto kind = engine_kind::automatic;
            int const status = run(note_engine(kind));
            return status == 0 && refused.code != 0 && kind == engine_kind::asio ? 7 : 1;
        });
        INFO(end.output);
        CHECK(end.exited_with(7));
        CHECK(count(end.output, "\n") == 1);
        CHECK(end.says(c.cause));
        CHECK(end.says("using Asio on epoll"));
    }
}

TEST_CASE("several loops report it once", "[refused]")
{
    auto const end = in_child([] {
        ::unsetenv("WRING_ENGINE");
        if (!refuse_uring(EPERM)) return 99;
        return run([]() -> task<> { (void)co_await sleep_for(1ms); }, {.threads = 4});
    });
    INFO(end.output);
    CHECK(end.exited_with(0));
    CHECK(count(end.output, "\n") == 1);
}

TEST_CASE("io_uring that was asked for and is refused is an error and exit status 1", "[refused]")
{
    for (bool by_environment : {true, false}) {
        auto const end = in_child([&] {
            return refused_run(EPERM, by_environment ? "uring" : nullptr,
                               {.engine = by_environment ? engine_kind::automatic : engine_kind::uring});
        });
        INFO(end.output);
        CHECK(end.exited_with(1));
        CHECK(end.says("io_uring is not available"));
        CHECK(end.says("seccomp"));
        CHECK(end.says(std::strerror(EPERM)));
        CHECK_FALSE(end.says("using Asio"));
    }
}

TEST_CASE("Asio that was asked for says nothing of io_uring", "[refused]")
{
    auto const end = in_child([] { return refused_run(EPERM, nullptr, {.engine = engine_kind::asio}); });
    CHECK(end.exited_with(0));
    CHECK(end.output.empty());
}

TEST_CASE("the probe answers as the kernel does", "[refused][probe]")
{
    for (int error : {EPERM, ENOSYS}) {
        auto const end = in_child([error] {
            if (!refuse_uring(error)) return 99;
            auto const& refused = engine::probe_uring();
            return refused.code == error && !refused.cause.empty() ? 0 : 1;
        });
        CHECK(end.exited_with(0));
    }
}

TEST_CASE("without memory that may be locked a program runs all the same", "[refused]")
{
    auto const end = in_child([] {
        ::unsetenv("WRING_ENGINE");
        rlimit const none{0, 0};
        ::setrlimit(RLIMIT_MEMLOCK, &none);
        auto kind = engine_kind::automatic;
        return run(note_engine(kind));
    });
    INFO(end.output);
    CHECK(end.exited_with(0));
}

TEST_CASE("without file descriptors run says so and gives 1", "[refused]")
{
    for (auto kind : {engine_kind::automatic, engine_kind::uring, engine_kind::asio}) {
        auto const end = in_child([kind] {
            ::unsetenv("WRING_ENGINE");
            auto noted = engine_kind::automatic;
            // UBSan needs file descriptors at its first look at a class, so it has that before.
            if (run(note_engine(noted), {.engine = kind}) != 0)
                return 99;
            try {
                throw std::system_error(EMFILE, std::system_category(), "and an exception");
            } catch (std::system_error const& e) {
                std::exception const& base = e;
                noted = std::strlen(e.what()) + std::strlen(base.what()) > 0 ? noted : engine_kind::asio;
            }
            rlimit const few{4, 4};
            ::setrlimit(RLIMIT_NOFILE, &few);
            while (::dup(0) >= 0) {
            }
            return run(note_engine(noted), {.engine = kind});
        });
        INFO(to_string(kind) << ": " << end.output);
        CHECK(end.exited_with(1));
        CHECK(end.says("wring: "));
    }
}
