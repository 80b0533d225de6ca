// SPDX-License-Identifier: BSL-1.0
// An engine without a loop around it: what the tests of the seam need.
#pragma once

#include "catch.hpp"

#include "engine/engine.hpp"

#include <array>
#include <cerrno>
#include <cstdlib>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <string>
#include <sys/socket.h>
#include <unistd.h>
#include <vector>

namespace wring::test {

using namespace std::chrono_literals;

/// Both, or the one that is left where a whole run has io_uring refused (refuse_uring.cpp).
inline engine_kind each_engine()
{
    if (std::getenv("WRING_TEST_REFUSED"))
        return engine_kind::asio;
    return GENERATE(engine_kind::uring, engine_kind::asio);
}

inline constexpr auto patience = 60s; ///< nothing here takes long; this ends what hangs

/// An engine, and of io_uring's the rung of the ladder of set-up flags that its ring stands on.
struct engine_variant
{
    engine_variant(engine_kind k, unsigned r = 0) : kind(k), rung(r) {}
    operator engine_kind() const { return kind; }
    engine_kind kind;
    unsigned rung;
};

struct rig
{
    explicit rig(engine_variant on, engine::settings s = {16, 64, 256}, std::uint32_t block_size = 4096)
        : blocks(block_size), io(make(on, s))
    {}

    std::unique_ptr<engine::descriptor> open(int fd) { return std::move(io->open(fd)).value(); }

    /// Turns until `done()`. False where that never happens.
    template <class F>
    bool until(F done)
    {
        auto const end = clock::now() + patience;
        while (!done()) {
            if (clock::now() > end) return false;
            io->wait(10ms);
            ++turns;
        }
        return true;
    }
    void spin(int n)
    {
        for (int i = 0; i < n; ++i)
            io->wait(0ns);
    }

    std::unique_ptr<engine::engine> make(engine_variant on, engine::settings& s)
    {
        s.first_rung = on.rung;
        return on.kind == engine_kind::uring ? engine::make_uring_engine(blocks, s) : engine::make_asio_engine(blocks);
    }

    engine::block_pool blocks;
    std::unique_ptr<engine::engine> io;
    std::size_t turns = 0;
};

/// Notes what an engine reports.
struct recorder : engine::operation
{
    recorder() : operation(&noted) {}
    ~recorder()
    {
        for (int fd : accepted)
            ::close(fd);
    }

    static void noted(operation& op, engine::completion const& c) noexcept
    {
        auto& self = static_cast<recorder&>(op);
        self.results.push_back(c.result);
        if (c.data) {
            auto const bytes = c.data->bytes();
            self.data.append(reinterpret_cast<char const*>(bytes.data()), bytes.size());
            if (bytes.size() != static_cast<std::size_t>(c.result)) self.wrong = true;
            if (self.keep)
                self.kept.emplace_back(c.data);
            else
                engine::release(c.data);
        } else if (self.accepts && c.result >= 0) {
            self.accepted.push_back(c.result);
        }
        if (c.last) ++self.ends;
        if (self.then) self.then(self, c);
    }

    [[nodiscard]] bool ended() const noexcept { return !in_flight(); }

    std::vector<int> results;
    std::string data;
    std::vector<int> accepted;
    std::vector<engine::block_ref> kept;
    void (*then)(recorder&, engine::completion const&) noexcept = nullptr;
    void* context = nullptr;
    int ends = 0;
    bool accepts = false;
    bool keep = false;
    bool wrong = false;
};

inline int socket_of(int family)
{
    int const fd = ::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    REQUIRE(fd >= 0);
    return fd;
}

struct listening
{
    listening() : fd(socket_of(AF_INET))
    {
        at.sin_family = AF_INET;
        at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t size = sizeof at;
        REQUIRE(::bind(fd, address(), size) == 0);
        REQUIRE(::listen(fd, 1024) == 0);
        REQUIRE(::getsockname(fd, reinterpret_cast<sockaddr*>(&at), &size) == 0);
    }
    sockaddr const* address() const { return reinterpret_cast<sockaddr const*>(&at); }
    int fd; ///< for an engine, which closes it
    sockaddr_in at{};
};

/// A connected pair: the first for an engine, the second plain and non-blocking.
struct pair
{
    explicit pair(bool tcp = false)
    {
        int fds[2];
        if (!tcp) {
            REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0);
            ours = fds[0];
            peer = fds[1];
            return;
        }
        listening l;
        peer = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        REQUIRE(::connect(peer, l.address(), sizeof l.at) == 0);
        pollfd wait{l.fd, POLLIN, 0};
        REQUIRE(::poll(&wait, 1, 10'000) == 1);
        ours = ::accept4(l.fd, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
        REQUIRE(ours >= 0);
        ::fcntl(peer, F_SETFL, O_NONBLOCK);
        ::close(l.fd);
    }
    pair(pair const&) = delete;
    ~pair()
    {
        if (peer >= 0) ::close(peer);
    }

    void small_buffers() const
    {
        int const size = 4096;
        for (int fd : {ours, peer})
            for (int option : {SO_SNDBUF, SO_RCVBUF})
                ::setsockopt(fd, SOL_SOCKET, option, &size, sizeof size);
    }
    void write(std::string_view text) const
    {
        REQUIRE(::send(peer, text.data(), text.size(), MSG_NOSIGNAL) == ssize_t(text.size()));
    }
    std::string read() const
    {
        std::string all;
        char part[65536];
        for (ssize_t n = 0; (n = ::recv(peer, part, sizeof part, 0)) > 0;)
            all.append(part, static_cast<std::size_t>(n));
        return all;
    }
    void reset_peer()
    {
        linger const hard{1, 0};
        ::setsockopt(peer, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
        close_peer();
    }
    void close_peer() { ::close(std::exchange(peer, -1)); }

    int ours = -1;
    int peer = -1;
};

/// Fills the socket's buffers.
inline std::size_t fill(int fd)
{
    std::array<char, 4096> const zeros{};
    std::size_t total = 0;
    for (ssize_t n = 0; (n = ::send(fd, zeros.data(), zeros.size(), MSG_DONTWAIT | MSG_NOSIGNAL)) > 0;)
        total += static_cast<std::size_t>(n);
    return total;
}

inline iovec bytes_of(std::string const& text)
{
    return {const_cast<char*>(text.data()), text.size()};
}

} // namespace wring::test
