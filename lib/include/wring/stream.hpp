// SPDX-License-Identifier: BSL-1.0
// stream: a connected byte stream. TCP, Unix and in-memory streams are one type, with TLS on them or without.
#pragma once

#include <wring/endpoint.hpp>
#include <wring/loop.hpp>

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <type_traits>

namespace wring {

namespace detail {
class stream_core;
class transport;
struct stream_access;
} // namespace detail

namespace tls {
struct info;
}

struct keepalive_options
{
    bool on = true;
    std::chrono::seconds idle{60};     ///< without traffic before the first probe
    std::chrono::seconds interval{10}; ///< between probes
    int probes = 5;                    ///< unanswered ones that end the connection with ETIMEDOUT
};
static_assert(std::is_trivially_destructible_v<keepalive_options>);

/// A connected stream socket, or one end of an in-memory pair. Movable; belongs to the loop it was made on.
///
/// One coroutine may read while others write. Errors are sticky in their direction: after an error or the end
/// of the stream later calls give the same. Destroying the stream closes it: what was written is
/// still delivered by the system; what was received and not read is dropped. It must not be destroyed while a coroutine
/// waits on it, which aborts with a message; it may be moved. One that was moved from can only be assigned to or
/// destroyed.
///
/// Once something has been read, receiving goes on by itself until 64 KiB are unread; then the peer has to wait.
class stream
{
public:
    stream(stream&&) noexcept;
    stream& operator=(stream&&) noexcept;
    ~stream();

    class read_operation;
    class write_operation;

    /// Completes when at least one byte has come; gives the part of `buffer` that was filled. An empty `buffer`
    /// completes it at once. errc::end_of_stream at the end, a system error (ECONNRESET ...) after a failure,
    /// errc::busy where another coroutine is reading. `buffer` must live until the await returns. A cancel completes it
    /// with errc::canceled and loses no byte: a later read gets them.
    [[nodiscard]] read_operation read_some(std::span<std::byte> buffer) noexcept;

    /// As read_some, but completes when the whole of `buffer` is filled. errc::end_of_stream where the
    /// stream ends before; the bytes that came are lost then. A cancel loses no byte.
    [[nodiscard]] read_operation read(std::span<std::byte> buffer) noexcept;

    /// Completes when the system has taken all of `bytes`, which must live until then. Any number of coroutines
    /// may write; each write goes out whole, in the order of the calls.
    /// A cancel completes it with errc::canceled. Before the first byte was sent that has no effect on the stream;
    /// afterwards the stream can no longer be written to (errc::closed), as the peer has a part of something.
    /// errc::busy while release() runs.
    [[nodiscard]] write_operation write(std::span<std::byte const> bytes) noexcept;
    [[nodiscard]] write_operation write(std::string_view text) noexcept;

    /// Half-close: the peer sees the end of the stream after what was written so far. Reading goes on.
    /// Returns at once.
    void shutdown() noexcept;

    /// Closes at once; a TCP or in-memory peer sees a reset (ECONNRESET), a Unix peer an end of the stream. Pending
    /// operations end with errc::closed.
    void abort() noexcept;

    [[nodiscard]] endpoint local() const;
    [[nodiscard]] endpoint remote() const;

    /// Bytes received and not yet read.
    [[nodiscard]] std::size_t buffered() const noexcept;

    /// What TLS has agreed on and who the peer is (wring/tls.hpp); none on a plain stream, or a closed one.
    [[nodiscard]] std::optional<tls::info> tls_info() const;

    /// TCP_NODELAY; on by default. An error where the stream is not TCP is not reported.
    result<> set_no_delay(bool on) noexcept;
    /// SO_KEEPALIVE with its times; off by default. No effect on Unix and in-memory streams.
    result<> set_keepalive(keepalive_options options) noexcept;

    /// The file descriptor, still owned by the stream; -1 for an in-memory one. With TLS that of the stream below.
    [[nodiscard]] int native_handle() const noexcept;

    /// Takes over a connected stream socket, on the calling thread's loop; made non-blocking and close-on-exec. An
    /// error leaves `fd` open and with the caller.
    [[nodiscard]] static result<stream> adopt(int fd);

    /// Gives the socket up: completes with its file descriptor (non-blocking), and the stream is closed.
    /// errc::busy where received bytes are unread or an operation is pending, another release() included; the stream
    /// stays as it was then. An in-memory one, and one with TLS, gives ENOTSUP. Not to be moved or destroyed meanwhile. A
    /// cancel has no effect: it completes soon in any case.
    task<result<int>> release();

private:
    friend detail::stream_access;
    explicit stream(std::unique_ptr<detail::stream_core> core) noexcept;
    std::unique_ptr<detail::stream_core> core_;
};

class [[nodiscard]] stream::read_operation : detail::suspension
{
public:
    bool await_ready() const noexcept { return false; }
    template <detail::coroutine_promise P>
    bool await_suspend(std::coroutine_handle<P> h) noexcept
    {
        return start(h, h.promise().env);
    }
    result<std::span<std::byte>> await_resume() const noexcept
    {
        if (error_)
            return error_;
        return buffer_.first(done_);
    }

private:
    friend stream;
    friend detail::stream_core;
    read_operation(detail::stream_core& core, std::span<std::byte> buffer, bool whole) noexcept :
        core_(core), buffer_(buffer), whole_(whole)
    {}
    bool start(std::coroutine_handle<> h, detail::context const& env) noexcept;
    static void cancel(detail::suspension& self) noexcept;

    detail::stream_core& core_;
    std::span<std::byte> buffer_;
    std::size_t done_ = 0;
    std::error_code error_;
    bool whole_;
};

class [[nodiscard]] stream::write_operation : detail::suspension
{
public:
    bool await_ready() const noexcept { return false; }
    template <detail::coroutine_promise P>
    bool await_suspend(std::coroutine_handle<P> h) noexcept
    {
        return start(h, h.promise().env);
    }
    result<> await_resume() const noexcept { return error_ ? result<>(error_) : result<>(); }

private:
    friend stream;
    friend detail::stream_core;
    write_operation(detail::stream_core& core, std::span<std::byte const> bytes) noexcept : core_(core), bytes_(bytes)
    {}
    bool start(std::coroutine_handle<> h, detail::context const& env) noexcept;
    static void cancel(detail::suspension& self) noexcept;

    detail::stream_core& core_;
    std::span<std::byte const> bytes_;
    std::size_t done_ = 0;
    std::error_code error_;
    write_operation* next_ = nullptr;
};

struct connect_stream_options
{
    bool no_delay = true;
    duration attempt_delay = std::chrono::milliseconds(250); ///< before the next address is tried too (RFC 8305)
};
static_assert(std::is_trivially_destructible_v<connect_stream_options>);

/// Connects to `text`: `host:port`, a literal address, `unix:/path` or `unix:@abstract`. A name's addresses are tried
/// in the manner of RFC 8305 (happy eyeballs): families interleaved, the next one started when the last has
/// failed or attempt_delay has passed; the first that connects wins. Completes with the stream, on the calling
/// coroutine's loop, or with the error of the look-up (see resolve) or of the last attempt. It has no time limit but
/// the system's, minutes for TCP, and none where the queue of a Unix listener is full: see timeout(). A cancel ends
/// every attempt and completes it with errc::canceled.
task<result<stream>> connect_stream(std::string text, connect_stream_options options = {});
task<result<stream>> connect_stream(endpoint to, connect_stream_options options = {});

struct stream_pair_options
{
    std::size_t capacity = 64 * 1024; ///< bytes on their way, written and not yet arrived, before a write waits
    std::size_t chunk = 0;            ///< at most so many bytes arrive at a time; 0: all there are
};
static_assert(std::is_trivially_destructible_v<stream_pair_options>);

struct stream_pair;

/// Two connected in-memory streams, for tests of handlers: no socket, no file descriptor, and the same behaviour:
/// back pressure, half-close, reset, cancellation. On the calling thread's loop.
[[nodiscard]] stream_pair make_stream_pair(stream_pair_options options = {});

struct stream_pair
{
    stream first;
    stream second;
};

} // namespace wring
