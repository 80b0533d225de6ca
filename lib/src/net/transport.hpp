// SPDX-License-Identifier: BSL-1.0
// The inside of a stream: what stream, upgrade and connection stand on. Sockets and in-memory pairs implement it, and
// TLS, on top of another transport.
#pragma once

#include "engine/loop_core.hpp"

#include <wring/stream.hpp>

#include <cerrno>
#include <sys/types.h>
#include <sys/uio.h>

namespace wring::detail {

class tls_session;

/// Whoever owns a transport at the moment. Called from the engine: only schedules coroutines, never resumes one.
class transport_user
{
public:
    /// Bytes were added to inbound(), or it has ended.
    virtual void on_readable() noexcept = 0;
    /// The send that was started has ended: bytes sent (0 means: writable now), or -errno.
    virtual void on_sent(ssize_t result) noexcept = 0;

protected:
    ~transport_user() = default;
};

/// What goes along with a connection for as long as its socket lives: whoever counts it, and knows whom it is from.
class transport_rider
{
public:
    virtual ~transport_rider() = default;
    /// The peer's address where it is not the socket's (a proxy has said so); null otherwise.
    [[nodiscard]] virtual endpoint const* remote() const noexcept { return nullptr; }
    std::unique_ptr<transport_rider> next;
};

/// A connected byte stream of one loop. Owned through transport_ptr, whose end abandons it: the object lives on
/// until the kernel has let go of it.
class transport
{
public:
    explicit transport(loop_core& loop) noexcept : loop_(loop) { loop_.retain(lasting::stream); }
    transport(transport const&) = delete;
    transport& operator=(transport const&) = delete;

    [[nodiscard]] loop_core& loop() const noexcept { return loop_; }
    void set_user(transport_user* user) noexcept { user_ = user; }

    /// Destroyed with the transport, once the socket is closed, as are those before. The last one's remote() counts.
    void set_rider(std::unique_ptr<transport_rider> rider) noexcept
    {
        rider->next = std::move(rider_);
        rider_ = std::move(rider);
    }

    /// Received bytes that nobody has taken.
    [[nodiscard]] engine::block_queue& inbound() noexcept { return inbound_; }
    /// No more bytes will come: the end of the stream (end_error() 0) or an error. Errors are an errno, or one of TLS
    /// (tls/error.hpp): system_error() makes a code of either.
    [[nodiscard]] bool ended() const noexcept { return ended_; }
    [[nodiscard]] int end_error() const noexcept { return ended_ ? end_error_ : 0; }

    /// Receiving goes on until it is paused: what arrives is added to inbound(). Both may be called in any state.
    /// Some bytes may still arrive after a pause.
    virtual void resume_receiving() noexcept = 0;
    virtual void pause_receiving() noexcept = 0;

    /// Whether it knows receive_into().
    [[nodiscard]] virtual bool receives_directly() const noexcept { return false; }
    /// Whether nothing is being received: a pause is through, of which on_readable() tells.
    [[nodiscard]] virtual bool rests() const noexcept { return false; }
    /// Receives once, up to `size` bytes into `into`, behind its end, instead of blocks of the loop's; takes over the
    /// reference. Only while receiving rests, as it does again afterwards until it is resumed. The block is added to
    /// inbound() with just these bytes unread.
    virtual void receive_into(engine::block*, std::size_t) noexcept {}

    /// Sends what goes out without waiting: the number of bytes, -EAGAIN or another -errno.
    [[nodiscard]] virtual ssize_t try_send(std::span<iovec const> buffers) noexcept = 0;
    /// Sends, waiting where necessary; ends in on_sent(). The bytes must live until then, the array need not.
    /// One at a time. Gives 0, or -ENOMEM where it could not be started: then no on_sent() comes.
    [[nodiscard]] virtual int start_send(std::span<iovec const> buffers) noexcept = 0;
    /// Asks a started send to end soon; it still ends in on_sent().
    virtual void cancel_send() noexcept = 0;
    /// Sends the end of the stream.
    virtual void shutdown_send() noexcept = 0;

    /// Ends everything and, when nothing is in flight, deletes the object. The user hears nothing more.
    /// reset: the peer is to see ECONNRESET rather than an end.
    virtual void abandon(bool reset) noexcept = 0;

    [[nodiscard]] virtual endpoint local() const = 0;
    [[nodiscard]] virtual endpoint remote() const = 0;
    [[nodiscard]] virtual int fd() const noexcept { return -1; }
    /// Where TLS is spoken on it.
    [[nodiscard]] virtual tls_session const* tls() const noexcept { return nullptr; }

    /// Whether nothing is in flight; where receiving is paused and no send runs it soon becomes so.
    [[nodiscard]] virtual bool quiet() const noexcept = 0;
    /// Gives the file descriptor up; the transport must be quiet and is only good for abandon() afterwards.
    [[nodiscard]] virtual int release_fd() noexcept { return -1; }

protected:
    virtual ~transport() { loop_.drop(lasting::stream); }

    void arrived(engine::block* b) noexcept
    {
        inbound_.push(b);
        if (user_)
            user_->on_readable();
    }
    void end(int error) noexcept
    {
        ended_ = true;
        end_error_ = error;
        if (user_)
            user_->on_readable();
    }

    /// What the rider knows better than the socket.
    [[nodiscard]] endpoint const* told_remote() const noexcept { return rider_ ? rider_->remote() : nullptr; }

    loop_core& loop_;
    transport_user* user_ = nullptr;
    std::unique_ptr<transport_rider> rider_;
    engine::block_queue inbound_;
    int end_error_ = 0; // before the end: what a send was told, for sockets
    bool ended_ = false;
    bool receiving_ = false; // resumed, not paused
    bool abandoned_ = false;
};

struct abandon_transport
{
    void operator()(transport* t) const noexcept { t->abandon(false); }
};
using transport_ptr = std::unique_ptr<transport, abandon_transport>;

[[nodiscard]] std::error_code system_error(int error) noexcept;

/// A transport on a connected socket. Without memory it throws, and leaves `io` as it is.
[[nodiscard]] transport_ptr make_socket_transport(loop_core& loop, std::unique_ptr<engine::descriptor>&& io);
/// A stream on one. An error, of the engine or of memory, leaves `fd` with the caller.
[[nodiscard]] result<stream> make_socket_stream(loop_core& loop, int fd) noexcept;

/// What other rooms need of a stream.
struct stream_access
{
    /// Without memory it throws, and leaves `t` as it is.
    [[nodiscard]] static stream make(transport_ptr&& t);
    /// Takes the transport out; the stream is closed then. Null where an operation is pending.
    [[nodiscard]] static transport_ptr take(stream&& s) noexcept;
    static void set_rider(stream& s, std::unique_ptr<transport_rider> rider) noexcept;
};

} // namespace wring::detail
