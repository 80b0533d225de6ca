// SPDX-License-Identifier: BSL-1.0
// What the tests of known holes share: a server with honest clients on it, and attackers that have plain sockets. While
// an attack runs, the honest ones echo without an error; when it is over, nothing of it is left.
#pragma once

#include "tls/raw_peer.hpp"
#include "waits.hpp"
#include "ws/harness.hpp"

#include <array>
#include <cstdlib>
#include <functional>
#include <malloc.h>
#include <sys/resource.h>

namespace attack {

using namespace ws_test;
using wring::test::repeated;
using wring::test::waits;

/// Attacks have few rounds in every test run and many where WRING_TEST_FULL is set; both are told in
/// tests/conformance/README.md.
inline bool full()
{
    static bool const set = std::getenv("WRING_TEST_FULL") != nullptr;
    return set;
}
inline std::size_t rounds(std::size_t quick, std::size_t whole)
{
    return full() ? whole : quick;
}

/// Whether all of it goes over TLS (WRING_TEST_TLS): the server, its honest clients, the attackers.
inline bool over_tls()
{
    static bool const set = std::getenv("WRING_TEST_TLS") != nullptr;
    return set;
}
/// What a connection may take besides what a test allows it: OpenSSL's state, and records that are not whole.
inline std::size_t tls_memory(std::size_t connections)
{
    return over_tls() ? connections * 96 * 1024 : 0;
}

/// Bytes that the heap has given out; always 0 under a sanitizer, which has a heap of its own.
inline std::size_t heap_in_use()
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return 0;
#else
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
    return 0;
#endif
#endif
    auto const info = ::mallinfo2();
    return info.uordblks + info.hblkhd;
#endif
}

inline std::size_t grown(std::size_t before)
{
    auto const now = heap_in_use();
    return now > before ? now - before : 0;
}

/// Completes when `condition` holds, or after half a minute: then the test's next check fails.
template <class Condition>
task<> until(Condition condition)
{
    auto const limit = clock::now() + 30s;
    for (int spins = 0; spins < 50 && !condition(); ++spins)
        co_await next_turn();
    while (!condition() && clock::now() < limit) {
        auto const slept = co_await sleep_for(1ms);
        if (!slept) co_return;
    }
}

// ---- an attacker ---------------------------------------------------------------------------------------------------

/// A socket that is none of wring's, so that nothing is read or closed but what the test says. Over TLS it shakes hands
/// before it first sends, and what is sent and got is what lies in the records.
class hostile
{
public:
    /// `small`: its system takes little before the other side has to wait.
    explicit hostile(endpoint const& server, bool small = false)
        : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0))
    {
        if (small) {
            int const window = 64 * 1024; // under loopback's segment size TCP waits for its timers
            ::setsockopt(socket_.get(), SOL_SOCKET, SO_RCVBUF, &window, sizeof window);
        }
        int const yes = 1;
        ::setsockopt(socket_.get(), IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        REQUIRE(::connect(socket_.get(), static_cast<sockaddr const*>(server.data()),
                          static_cast<socklen_t>(server.size())) == 0);
        if (over_tls())
            tls_.emplace(tls_test::raw_peer::role::client);
    }

    /// Sends all of it, `piece` bytes in a turn of the loop, unless the other side has gone.
    task<bool> send(std::string text, std::size_t piece = SIZE_MAX)
    {
        auto const limit = clock::now() + 30s;
        for (std::string_view left = text; !left.empty();) {
            auto const n = send_some(left.substr(0, piece));
            left.remove_prefix(n);
            if (n == 0 && (gone_ || clock::now() > limit))
                co_return false;
            if (!left.empty()) co_await next_turn();
        }
        while (!records_.empty() && !gone_ && clock::now() < limit) {
            flush();
            co_await next_turn();
        }
        co_return records_.empty();
    }

    /// What the system takes of it at once.
    [[nodiscard]] std::size_t send_some(std::string_view text)
    {
        if (!tls_) return send_plain(text);
        if (!secure_) {
            secure_ = tls_->handshake();
            flush();
            if (!secure_) {
                take();
                return 0;
            }
        }
        if (!flush()) return 0;
        text = text.substr(0, 16 * 1024);
        tls_->write(text);
        flush();
        return text.size();
    }

    /// What has come so far.
    void take()
    {
        std::array<char, 64 * 1024> part;
        for (ssize_t n = 0; (n = ::recv(socket_.get(), part.data(), part.size(), MSG_DONTWAIT)) != 0;) {
            if (n < 0 && errno == EAGAIN) return;
            if (n < 0) break;
            std::string_view const bytes(part.data(), static_cast<std::size_t>(n));
            if (tls_) {
                tls_->feed(std::as_bytes(std::span(bytes)));
                got.append(secure_ ? tls_->read() : "");
            } else {
                got.append(bytes);
            }
        }
        ended = gone_ = true;
    }

    /// Reads until the other side has ended the stream.
    task<> read_to_end()
    {
        co_await until([&] { return take(), ended; });
        CHECK(ended);
    }

    /// Reads until `size` bytes have come in all, or the end.
    task<> read(std::size_t size)
    {
        co_await until([&] { return take(), ended || got.size() >= size; });
        CHECK(got.size() >= size);
    }

    /// Does its part of the opening handshake, and forgets the answer. `fields`: more of the request, in lines.
    task<> open(std::string fields = {})
    {
        co_await send(request_text(fields));
        co_await until([&] { return take(), ended || got.find("\r\n\r\n") != got.npos; });
        CHECK(got.starts_with("HTTP/1.1 101 "));
        got.clear();
    }

    void end()
    {
        if (tls_) {
            tls_->close_notify();
            flush();
        }
        ::shutdown(socket_.get(), SHUT_WR);
    }
    void close() { socket_.reset(); }
    void reset()
    {
        linger const now{1, 0};
        ::setsockopt(socket_.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
        socket_.reset();
    }

    /// The code of the close frame at the end of what came, whatever data and pongs came before; 0 without one.
    [[nodiscard]] unsigned close_code() const
    {
        for (std::size_t at = 0; at + 2 <= got.size();) {
            auto const byte = [&](std::size_t i) {
                return static_cast<unsigned>(static_cast<unsigned char>(got[at + i]));
            };
            std::size_t size = byte(1) & 0x7F, head = 2;
            if (size == 126) {
                size = byte(2) << 8 | byte(3);
                head = 4;
            } else if (size == 127) {
                size = std::size_t{byte(6)} << 24 | byte(7) << 16 | byte(8) << 8 | byte(9);
                head = 10;
            }
            if (byte(0) == 0x88) return size < 2 ? 1005 : byte(head) << 8 | byte(head + 1);
            at += head + size;
        }
        return 0;
    }

    /// The status of the HTTP answer that came; 0 without one.
    [[nodiscard]] int status() const { return got.starts_with("HTTP/1.1 ") ? std::atoi(got.c_str() + 9) : 0; }

    std::string got;
    bool ended = false;

private:
    std::size_t send_plain(std::string_view text)
    {
        auto const n = ::send(socket_.get(), text.data(), text.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
        gone_ = gone_ || (n < 0 && errno != EAGAIN);
        return n > 0 ? static_cast<std::size_t>(n) : 0;
    }
    /// Over TLS: sends records; true when none is left.
    bool flush()
    {
        auto const more = tls_->drain();
        records_.append(reinterpret_cast<char const*>(more.data()), more.size());
        records_.erase(0, records_.empty() ? 0 : send_plain(records_));
        return records_.empty();
    }

    net_test::raw_socket socket_;
    std::optional<tls_test::raw_peer> tls_;
    std::string records_; // that the system has not taken yet
    bool secure_ = false;
    bool gone_ = false;
};

inline std::string text_of(byte_string const& bytes)
{
    return test::to_text(bytes);
}
/// Frames of a client.
inline std::string client_frame(unsigned first, std::string_view payload = {})
{
    return text_of(masked(first, payload));
}

// ---- what is attacked -----------------------------------------------------------------------------------------------

/// A server on TCP whose sessions are counted.
class arena
{
public:
    using handler = std::function<task<>(arena&, ws::connection&)>;

    arena(ws::upgrade_options const& o, handler h)
        : options(o), handle(std::move(h)), server_(listener::bind("127.0.0.1:0").value()), where(server_.local())
    {
        if (over_tls())
            options.tls = &tls_test::pki().accepting;
    }

    task<> serve(scope& sessions)
    {
        while (auto s = co_await server_.accept()) {
            if (small_buffers) {
                int const small = 4096;
                int const window = 64 * 1024;
                ::setsockopt(s->native_handle(), SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
                ::setsockopt(s->native_handle(), SOL_SOCKET, SO_RCVBUF, &window, sizeof window);
            }
            sessions.spawn(session(std::move(*s)));
        }
    }
    void stop() { server_.close(); }
    [[nodiscard]] std::string url() const { return (over_tls() ? "wss://" : "ws://") + where.to_string() + "/"; }

    /// Sends a message and waits for its echo, until `over`.
    task<> honest()
    {
        auto const connecting = over_tls() ? secure_client(tls_test::pki().connecting) : quiet_client();
        auto ws = (co_await connect(url(), connecting)).value();
        for (std::size_t n = 0; n == 0 || !over; ++n) {
            std::string const text = "honest " + std::to_string(n) + std::string(50, 'h');
            auto const begin = clock::now();
            auto const sent = co_await ws.write(text);
            auto const m = co_await timeout(20s, ws.read());
            if (!sent || !m || m->text() != text) {
                ++errors;
                break;
            }
            slowest = std::max(slowest, clock::now() - begin);
            ++echoes;
            auto const slept = co_await sleep_for(1ms);
            (void)slept;
        }
        auto const closed = co_await ws.close();
        if (!closed) ++errors;
    }

    /// The sessions that are there besides the honest ones have ended.
    task<> settle(std::size_t honest_ones)
    {
        co_await until([&] { return live == honest_ones; });
        CHECK(live == honest_ones);
    }

    ws::upgrade_options options;
    handler handle;
    bool small_buffers = false;

private:
    listener server_;

public:
    endpoint where;
    std::size_t live = 0;             // sessions
    std::size_t accepted = 0;         // streams
    std::size_t opened = 0;           // connections
    std::size_t thrown = 0;           // exceptions that left a session
    std::error_code refusal;          // the last one's
    ws::connection* newest = nullptr; // while it lives
    std::size_t echoes = 0;           // of the honest ones
    std::size_t errors = 0;
    duration slowest{};
    bool over = false;

private:
    task<> session(stream s)
    {
        struct counted
        {
            explicit counted(arena& a) : all(a) { ++all.live, ++all.accepted; }
            ~counted() { --all.live; }
            arena& all;
        } const one(*this);
        try {
            auto ws = co_await upgrade(std::move(s), options);
            if (ws) {
                ++opened;
                newest = &*ws;
                co_await handle(*this, *ws);
                if (newest == &*ws) newest = nullptr;
            } else {
                refusal = ws.error();
            }
        } catch (std::exception const&) {
            ++thrown;
        }
    }
};

inline task<> echoing(arena&, ws::connection& ws)
{
    while (auto frame = co_await ws.read_frame()) {
        auto const sent = co_await ws.write_frame(*frame);
        if (!sent) break;
    }
}

struct plan
{
    ws::upgrade_options options = quiet_server();
    arena::handler handler = echoing;
    std::size_t honest = 3;
    bool small_buffers = false;
};

inline task<> attacked(std::function<task<>(arena&)> const& attacker, plan const& p)
{
    arena a(p.options, p.handler);
    a.small_buffers = p.small_buffers;
    scope sessions, accepting, honest;
    accepting.spawn(a.serve(sessions));
    for (std::size_t i = 0; i < p.honest; ++i)
        honest.spawn(a.honest());
    co_await until([&] { return a.echoes >= p.honest; });
    auto const descriptors = net_test::open_descriptors();
    auto const before = a.echoes;

    co_await attacker(a);

    co_await a.settle(p.honest);
    co_await until([&] { return net_test::open_descriptors() <= descriptors; });
    CHECK(net_test::open_descriptors() == descriptors);
    co_await until([&] { return p.honest == 0 || a.echoes > before; });
    CHECK((p.honest == 0 || a.echoes > before));
    a.over = true;
    co_await honest.join();
    CHECK(a.errors == 0);
    if (full())
        std::printf("slowest echo of an honest client: %.1f ms\n",
                    std::chrono::duration<double, std::milli>(a.slowest).count());
    a.stop();
    co_await accepting.join();
    co_await sessions.join();
    CHECK(a.live == 0);
}

/// Runs `attacker` against a server with honest clients, and checks that they do not suffer and that nothing is left.
inline void under_attack(std::function<task<>(arena&)> attacker, plan const& p = {})
{
    net_test::no_descriptor_leaks leaks;
    run_options options;
    options.handle_signals = false;
    options.receive_buffer_size = 16 * 1024; // so that what an attacker makes a server hold shows beside the loop's own
    int const status = run(attacked(attacker, p), options);
    CHECK(status == 0);
}

} // namespace attack
