// SPDX-License-Identifier: BSL-1.0
// What the network tests share.
#pragma once

#include "catch.hpp"
#include "resources.hpp"
#include "tls/certificates.hpp"

#include <wring/endpoint.hpp>
#include <wring/listener.hpp>
#include <wring/loop.hpp>
#include <wring/stream.hpp>
#include <wring/sync.hpp>
#include <wring/timeout.hpp>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

namespace net_test {

using namespace wring;
using namespace std::chrono_literals;

/// Runs `body` on a loop of this thread. WRING_ENGINE says which engine; where that one is refused this fails.
inline void on_loop(task<> body)
{
    run_options options;
    options.handle_signals = false;
    int const status = run(std::move(body), test::resources(options));
    CHECK(status == 0);
}

inline std::size_t open_descriptors()
{
    std::size_t count = 0;
    for ([[maybe_unused]] auto const& entry : std::filesystem::directory_iterator("/proc/self/fd"))
        ++count;
    return count;
}

/// Checks that a test closes what it opens. Made before the first loop of the test, ends after its last.
class no_descriptor_leaks
{
public:
    no_descriptor_leaks()
    {
        on_loop(nothing()); // what the process keeps once the first loop has run
        before_ = open_descriptors();
    }
    no_descriptor_leaks(no_descriptor_leaks const&) = delete;
    no_descriptor_leaks& operator=(no_descriptor_leaks const&) = delete;
    ~no_descriptor_leaks() { CHECK(open_descriptors() == before_); }

private:
    static task<> nothing() { co_return; }
    std::size_t before_ = 0;
};

/// A folder for Unix sockets, removed at the end.
class temporary_folder
{
public:
    temporary_folder()
    {
        std::string name = (std::filesystem::temp_directory_path() / "wring-XXXXXX").string();
        if (!::mkdtemp(name.data())) throw std::system_error(errno, std::system_category(), "mkdtemp");
        path_ = name;
    }
    temporary_folder(temporary_folder const&) = delete;
    temporary_folder& operator=(temporary_folder const&) = delete;
    ~temporary_folder() { std::filesystem::remove_all(path_); }
    [[nodiscard]] std::string operator/(std::string_view name) const { return path_ + "/" + std::string(name); }

private:
    std::string path_;
};

/// The endpoint of an abstract Unix socket that no other process has: the same tests run side by side.
inline std::string abstract_endpoint()
{
    static int number = 0;
    return "unix:@wring-test-" + std::to_string(::getpid()) + "-" + std::to_string(++number);
}

/// A socket of this process that is not wring's.
class raw_socket
{
public:
    explicit raw_socket(int fd = -1) noexcept : fd_(fd) {}
    raw_socket(raw_socket&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    raw_socket& operator=(raw_socket&& other) noexcept
    {
        std::swap(fd_, other.fd_);
        return *this;
    }
    ~raw_socket() { reset(); }
    void reset() noexcept
    {
        if (fd_ >= 0) ::close(std::exchange(fd_, -1));
    }
    [[nodiscard]] int get() const noexcept { return fd_; }
    int release() noexcept { return std::exchange(fd_, -1); }

private:
    int fd_;
};

inline int socket_option(int fd, int level, int name)
{
    int value = -1;
    socklen_t size = sizeof value;
    return ::getsockopt(fd, level, name, &value, &size) == 0 ? value : -errno;
}

/// A raw TCP socket bound to a port of 127.0.0.1 that the kernel picks; listening where `backlog` is not negative.
/// Bound and not listening, the port refuses connections for as long as the socket lives.
inline raw_socket bound_socket(endpoint& at, int backlog)
{
    raw_socket s(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    auto const any = endpoint::parse("127.0.0.1:0").value();
    REQUIRE(::bind(s.get(), static_cast<sockaddr const*>(any.data()), static_cast<socklen_t>(any.size())) == 0);
    if (backlog >= 0) REQUIRE(::listen(s.get(), backlog) == 0);
    sockaddr_storage name{};
    socklen_t size = sizeof name;
    REQUIRE(::getsockname(s.get(), reinterpret_cast<sockaddr*>(&name), &size) == 0);
    at = endpoint::from_sockaddr(&name, size);
    return s;
}

/// Completes in the next turn of the loop, after the engine has looked for I/O.
class [[nodiscard]] next_turn : detail::suspension
{
public:
    bool await_ready() const noexcept { return false; }
    template <detail::coroutine_promise P>
    void await_suspend(std::coroutine_handle<P> h)
    {
        suspend(h, nullptr);
        this_loop().post([this] { wake(); });
    }
    void await_resume() const noexcept {}
};

inline task<> turns(int count)
{
    for (int i = 0; i < count; ++i) {
        next_turn turn;
        co_await turn;
    }
}

/// Bytes that repeat late, so that a piece that is lost, doubled or moved shows.
inline std::vector<std::byte> pattern(std::size_t size, std::uint32_t seed = 1)
{
    std::vector<std::byte> bytes(size);
    std::uint32_t x = seed * 2654435761U + 1;
    for (auto& b : bytes) {
        x = x * 1664525U + 1013904223U;
        b = static_cast<std::byte>(x >> 24);
    }
    return bytes;
}

/// For CHECK: a difference is not printed byte by byte.
inline bool same_bytes(std::span<std::byte const> a, std::span<std::byte const> b)
{
    return std::equal(a.begin(), a.end(), b.begin(), b.end());
}

inline std::string_view text_of(std::span<std::byte const> bytes)
{
    return {reinterpret_cast<char const*>(bytes.data()), bytes.size()};
}

/// Reads `size` bytes and gives them as text; the error's message where there are fewer.
inline task<std::string> read_text(stream& s, std::size_t size)
{
    std::vector<std::byte> buffer(size);
    auto const got = co_await s.read(buffer);
    if (!got) co_return "error: " + got.error().message();
    co_return std::string(text_of(*got));
}

/// Reads to the end of the stream.
inline task<result<std::vector<std::byte>>> read_all(stream& s)
{
    std::vector<std::byte> all;
    std::vector<std::byte> buffer(16 * 1024);
    for (;;) {
        auto const got = co_await s.read_some(buffer);
        if (!got && got.error() == errc::end_of_stream) co_return all;
        if (!got) co_return got.error();
        all.insert(all.end(), got->begin(), got->end());
    }
}

// ---- connected pairs of every kind
// -----------------------------------------------------------------------------------

enum class kind
{
    tcp,
    tcp6,
    unix_path,
    unix_abstract,
    memory,
    tls_tcp,
    tls_memory
};

/// What TLS is spoken on; the kind itself where it is not.
inline kind below(kind k)
{
    return k == kind::tls_tcp ? kind::tcp : k == kind::tls_memory ? kind::memory : k;
}
inline bool is_tls(kind k)
{
    return below(k) != k;
}

inline char const* name_of(kind k)
{
    switch (k) {
    case kind::tcp:
        return "TCP";
    case kind::tcp6:
        return "TCP on IPv6";
    case kind::unix_path:
        return "Unix path";
    case kind::unix_abstract:
        return "abstract Unix";
    case kind::memory:
        return "in memory";
    case kind::tls_tcp:
        return "TLS on TCP";
    case kind::tls_memory:
        return "TLS in memory";
    }
    return "?";
}

constexpr kind all_kinds[] = {kind::tcp,    kind::tcp6,    kind::unix_path, kind::unix_abstract,
                              kind::memory, kind::tls_tcp, kind::tls_memory};

struct pair_options
{
    bool small_buffers = false; ///< the system takes little before a write waits
    std::size_t chunk = 0;      ///< in memory: arrives in pieces of this size
};

inline task<stream_pair> connected(kind k, pair_options options = {});

inline task<stream_pair> secured(kind k, pair_options options)
{
    auto plain = co_await connected(k, options);
    auto both = co_await when_all(tls::connect(std::move(plain.first), tls_test::pki().connecting, "test"),
                                  tls::accept(std::move(plain.second), tls_test::pki().accepting));
    stream_pair pair{std::move(std::get<0>(both)).value(), std::move(std::get<1>(both)).value()};
    co_return pair;
}

inline task<stream_pair> connected(kind k, pair_options options)
{
    if (is_tls(k)) {
        auto pair = co_await secured(below(k), options);
        co_return pair;
    }
    if (test::tiny()) {
        options.small_buffers = true;
        options.chunk = options.chunk == 0 ? 1 : options.chunk;
    }
    if (k == kind::memory) {
        stream_pair_options in_memory;
        if (options.small_buffers) in_memory.capacity = 4096;
        in_memory.chunk = options.chunk;
        co_return make_stream_pair(in_memory);
    }
    temporary_folder folder;
    std::string at = "127.0.0.1:0";
    if (k == kind::tcp6) at = "[::1]:0";
    if (k == kind::unix_path) at = "unix:" + folder / "pair";
    if (k == kind::unix_abstract) at = abstract_endpoint();
    auto server = listener::bind(at).value();
    auto client = co_await connect_stream(server.local());
    auto accepted = co_await server.accept();
    if (options.small_buffers)
        for (int fd : {client.value().native_handle(), accepted.value().native_handle()}) {
            int const small = 4096;
            int const window = 64 * 1024; // a window under loopback's segment size makes TCP wait for its timers
            ::setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
            ::setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &window, sizeof window);
        }
    stream_pair pair{std::move(*client), std::move(*accepted)};
    co_return pair;
}

// ---- cancels at chosen points
// ----------------------------------------------------------------------------------------

/// Cancels the n-th operation that suspends, `delay` turns of the loop after it has suspended.
struct cancel_plan
{
    std::size_t at = 0;
    int delay = 0;
    std::size_t suspensions = 0; ///< counted so far
    std::size_t canceled = 0;    ///< operations that ended with errc::canceled
};

namespace inside {

struct delayed_stop
{
    detail::stop_state* stop = nullptr; ///< null when the operation has ended
    int left = 0;

    static void arm(std::shared_ptr<delayed_stop> d)
    {
        if (!d->stop) return;
        if (d->left-- == 0)
            d->stop->request();
        else
            this_loop().post([d] { arm(d); });
    }
};

template <class Operation>
struct watched
{
    bool await_ready() { return operation.await_ready(); }
    template <class P>
    bool await_suspend(std::coroutine_handle<P> h)
    {
        if (!operation.await_suspend(h)) return false;
        if (plan.suspensions++ == plan.at) delayed_stop::arm(stop);
        return true;
    }
    auto await_resume() { return operation.await_resume(); }

    Operation& operation;
    cancel_plan& plan;
    std::shared_ptr<delayed_stop> const& stop;
};

} // namespace inside

/// Awaits `operation`, canceled where the plan says so.
template <class Operation>
auto under(cancel_plan& plan, Operation operation) -> task<detail::await_result<Operation&&>>
{
    detail::own_stop own(co_await detail::get_context());
    auto stop = std::make_shared<inside::delayed_stop>();
    stop->stop = &own.stop;
    stop->left = plan.delay;
    inside::watched<Operation> watched{operation, plan, stop};
    auto outcome = co_await watched;
    stop->stop = nullptr;
    if (!outcome && outcome.error() == errc::canceled) ++plan.canceled;
    co_return outcome;
}

} // namespace net_test
