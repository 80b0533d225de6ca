// SPDX-License-Identifier: BSL-1.0
// A listener at the limit of open files. In forked children, on both engines.
#include "engine/rig.hpp"

#include "core/core.hpp"

#include "child.hpp"

#include <wring/listener.hpp>

#include <array>
#include <cerrno>
#include <ctime>
#include <netinet/in.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <vector>

using namespace wring;
using namespace wring::test;

namespace {

double processor_seconds()
{
    timespec used{};
    ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return static_cast<double>(used.tv_sec) + static_cast<double>(used.tv_nsec) * 1e-9;
}

struct listening_port
{
    listening_port() : fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0))
    {
        at.sin_family = AF_INET;
        at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t size = sizeof at;
        REQUIRE(::bind(fd, reinterpret_cast<sockaddr*>(&at), size) == 0);
        REQUIRE(::listen(fd, 2000) == 0);
        REQUIRE(::getsockname(fd, reinterpret_cast<sockaddr*>(&at), &size) == 0);
    }
    ~listening_port() { ::close(fd); }
    int fd;
    sockaddr_in at{};
};

/// In a process of its own, once a byte comes out of `go`: connects `n` times, sends a byte on each, and expects it
/// back. Gives 0 where all came.
int all_echoed(sockaddr_in const& at, int n, int go)
{
    char begin = 0;
    if (::read(go, &begin, 1) != 1)
        return 99;
    rlimit const many{4096, 4096};
    ::setrlimit(RLIMIT_NOFILE, &many);
    std::vector<pollfd> all;
    for (int i = 0; i < n; ++i) {
        int const fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0 || ::connect(fd, reinterpret_cast<sockaddr const*>(&at), sizeof at) != 0 ||
            ::send(fd, "x", 1, MSG_NOSIGNAL) != 1)
            return 100;
        all.push_back({fd, POLLIN, 0});
    }
    while (!all.empty()) {
        if (::poll(all.data(), all.size(), 50'000) <= 0) return 101;
        std::erase_if(all, [](pollfd const& p) {
            if (p.revents == 0) return false;
            char got = 0;
            bool const good = ::recv(p.fd, &got, 1, 0) == 1 && got == 'x';
            ::close(p.fd);
            if (!good) ::_exit(102);
            return true;
        });
    }
    return 0;
}

task<> echo_one(stream peer, int& served)
{
    std::array<std::byte, 1> byte;
    auto const got = co_await peer.read(byte);
    if (got) (void)co_await peer.write(std::span<std::byte const>(byte));
    (void)co_await sleep_for(2ms); // so that they pile up
    ++served;
}

int expect(bool good, char const* what)
{
    if (!good) std::fprintf(stderr, "not so: %s\n", what);
    return good ? 0 : 1;
}

void limit_files()
{
    auto const timed_out = make_error_code(errc::timed_out);
    if (timed_out.message() == std::system_category().message(EMFILE) || timed_out != std::errc::timed_out) return;
    rlimit const few{64, 64};
    ::setrlimit(RLIMIT_NOFILE, &few);
}

task<> serve_some(listener& at, int n, int& served)
{
    scope sessions;
    for (int i = 0; i < n; ++i) {
        auto peer = co_await at.accept();
        if (!peer) break;
        sessions.spawn(echo_one(std::move(*peer), served));
    }
    co_await sessions.join();
}

/// Serves one connection on a listener of its own, for UBSan needs file descriptors when it meets a class for the first
/// time; then lowers the limit and lets the client begin. Only what is started later sees the limit: io_uring's
/// multishot accept keeps the one it began with.
task<> begin_limited(int begin)
{
    {
        auto at = listener::bind("127.0.0.1:0");
        int served = 0;
        scope all;
        all.spawn(serve_some(at.value(), 1, served));
        {
            auto own = co_await connect_stream(at->local());
            std::array<std::byte, 1> byte{};
            (void)co_await own->write(std::span<std::byte const>(byte));
            (void)co_await own->read(byte);
        }
        co_await all.join();
    }
    limit_files();
    (void)!::write(begin, "x", 1);
}

} // namespace

TEST_CASE("a thousand connections beyond the limit of open files are all served in the end", "[limits]")
{
    auto const kind = each_engine();
    INFO(to_string(kind));
    listening_port port;
    auto const end = in_child([&] {
        int go[2];
        if (::pipe(go) != 0)
            return 98;
        pid_t const client = ::fork();
        if (client == 0) ::_exit(all_echoed(port.at, 1000, go[0]));
        int served = 0;
        int const status = run(
            [](int fd, int begin, int& count) -> task<> {
                auto at = listener::adopt(::dup(fd));
                co_await begin_limited(begin);
                co_await serve_some(at.value(), 1000, count);
            }(port.fd, go[1], served),
            {.engine = kind});
        int client_status = 0;
        ::waitpid(client, &client_status, 0);
        return status == 0 && served == 1000 && client_status == 0 ? 0 : 1;
    });
    INFO(end.output);
    CHECK(end.exited_with(0));
    CHECK(end.says("can't accept connections"));
    CHECK(end.output.find('\n') == end.output.size() - 1); // one line
}

TEST_CASE("a listener out of file descriptors rests, and recovers when some are free", "[limits]")
{
    auto const kind = each_engine();
    INFO(to_string(kind));
    listening_port port;
    auto const end = in_child([&] {
        int go[2];
        if (::pipe(go) != 0)
            return 98;
        pid_t const client = ::fork();
        if (client == 0) ::_exit(all_echoed(port.at, 100, go[0]));
        int bad = 0;
        int const status = run(
            [](int fd, int begin, int& failures) -> task<> {
                auto at = listener::adopt(::dup(fd));
                co_await begin_limited(begin);
                std::vector<stream> held; // as many as there may be
                for (;;) {
                    auto peer = co_await timeout(300ms, at->accept());
                    if (!peer) break;
                    held.push_back(std::move(*peer));
                }
                failures += expect(held.size() >= 20 && held.size() <= 60, "as many as there may be");
                double const before = processor_seconds();
                auto const none = co_await timeout(1s, at->accept());
                double const used = processor_seconds() - before;
                failures += expect(none.error() == errc::timed_out, "no more than that");
                failures += expect(used < 0.2, "rest");
                int served = 0;
                scope sessions;
                for (auto& s : held)
                    sessions.spawn(echo_one(std::move(s), served));
                int const rest = 100 - static_cast<int>(held.size());
                held.clear();
                co_await sessions.join();
                auto const freed = clock::now();
                auto next = co_await at->accept();
                failures += expect(next && clock::now() - freed < 1s, "recovery within a second");
                sessions.spawn(echo_one(std::move(*next), served));
                co_await serve_some(*at, rest - 1, served);
                co_await sessions.join();
                failures += expect(served == 100, "all served");
            }(port.fd, go[1], bad),
            {.engine = kind});
        int client_status = 0;
        ::waitpid(client, &client_status, 0);
        bad += expect(client_status == 0, "the client got all echoes");
        return status == 0 && bad == 0 ? 0 : 1;
    });
    INFO(end.output);
    CHECK(end.exited_with(0));
}
