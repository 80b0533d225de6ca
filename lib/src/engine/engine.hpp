// SPDX-License-Identifier: BSL-1.0
// The seam between the loop and what moves the bytes. uring/ and asio/ implement it; nothing above knows which.
#pragma once

#include "engine/block.hpp"

#include <wring/loop.hpp>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <sys/socket.h>
#include <sys/uio.h>
#include <system_error>

namespace wring::engine {

class descriptor;

/// What an engine reports of an operation.
struct completion
{
    int result;             ///< what the operation's comment says, or -errno
    bool last;              ///< the operation has ended; it may be started again or destroyed
    block* data = nullptr;  ///< received bytes, with one reference that the handler takes over
};

/// A place in one of an engine's lists (operation_list.hpp).
struct operation_link
{
    operation_link* next_ = nullptr;
    operation_link* previous_ = nullptr;
};

/// One operation that an engine may have in flight. It lives in its owner, at a fixed address, and must not be
/// destroyed before its last completion: that, and nothing else, ends it (a cancel's own answer proves nothing).
/// The handler runs inside engine::wait, never inside a start or a cancel, and never resumes a coroutine itself.
class operation : public operation_link
{
public:
    using handler = void (*)(operation&, completion const&) noexcept;

    explicit operation(handler h) noexcept : on_completion_(h) {}
    operation(operation const&) = delete;
    operation& operator=(operation const&) = delete;
    ~operation()
    {
        if (in_flight_)
            detail::fatal("wring: an operation was destroyed while the kernel may still use it");
    }

    [[nodiscard]] bool in_flight() const noexcept { return in_flight_; }
    [[nodiscard]] bool listed() const noexcept { return next_ != nullptr; }

    // For engines.

    enum class kind : std::uint8_t { none, accept, connect, receive, receive_into, send, send_message, poll };

    void begin(kind k, descriptor& d) noexcept
    {
        in_flight_ = true;
        canceling_ = false;
        kind_ = k;
        io_ = &d;
    }
    void complete(completion const& c) noexcept
    {
        if (c.last)
            in_flight_ = canceling_ = false;
        on_completion_(*this, c);
    }

    /// Of receive_into.
    [[nodiscard]] block* block_argument() const noexcept { return static_cast<block*>(const_cast<void*>(argument_)); }

    descriptor* io_ = nullptr;
    /// connect: the address; receive_into: the block; send: the bytes; send_message: the msghdr
    void const* argument_ = nullptr;
    std::uint32_t argument_size_ = 0;    ///< connect: of the address; receive_into, send: bytes; poll: the events
    kind kind_ = kind::none;
    bool canceling_ = false;             ///< a cancel was asked for
    bool awaited_ = false;               ///< Asio: a wait of the descriptor, whose handler will come, runs for it

private:
    bool in_flight_ = false;
    handler on_completion_;
};

/// An open file descriptor on an engine, which it owns. Each start needs the operation not to be in flight; several
/// operations may be, one of each kind. All on the loop's thread.
class descriptor
{
public:
    explicit descriptor(int fd) noexcept : fd_(fd) {}
    descriptor(descriptor const&) = delete;
    descriptor& operator=(descriptor const&) = delete;
    /// Closes. No operation may be in flight.
    virtual ~descriptor();

    [[nodiscard]] int fd() const noexcept { return fd_; }
    /// Gives the file descriptor up unclosed. No operation may be in flight.
    virtual int release() noexcept;

    /// Accepts connections until canceled or failed. result: a new file descriptor (non-blocking, close-on-exec).
    virtual void accept(operation& op) noexcept = 0;
    /// Connects; `address` must live until the completion. result: 0.
    virtual void connect(operation& op, sockaddr const* address, socklen_t size) noexcept = 0;
    /// Receives into blocks of the loop until canceled, the end of the stream (result 0) or an error.
    /// result: the number of bytes in `data`.
    virtual void receive(operation& op) noexcept = 0;
    /// Receives once, up to `size` bytes into a block of the caller's, behind its end; takes over the reference.
    /// result: as for receive, and `data` is that block, its unread bytes being just those received.
    virtual void receive_into(operation& op, block* into, std::size_t size) noexcept = 0;
    /// Sends. The bytes must stay until the completion, the array of iovec need not. result: the number of bytes
    /// sent, fewer than asked for where the engine only waited until the descriptor was writable, or lacked memory.
    virtual void send(operation& op, std::span<iovec const> buffers) noexcept = 0;
    /// Waits for poll(2) events. result: the events.
    virtual void poll(operation& op, short events) noexcept = 0;
    /// Asks a running operation to end soon. Its last completion comes in any case: with -ECANCELED, or with
    /// what it did before the cancel reached it.
    virtual void cancel(operation& op) noexcept = 0;

protected:
    int fd_;
};

/// One per loop, made and used on the loop's thread.
class engine
{
public:
    virtual ~engine();
    engine(engine const&) = delete;
    engine& operator=(engine const&) = delete;
    [[nodiscard]] virtual engine_kind kind() const noexcept = 0;

    /// Puts `fd` (non-blocking) on this engine. An error, of the system or of memory, leaves it with the caller.
    [[nodiscard]] virtual result<std::unique_ptr<descriptor>> open(int fd) noexcept = 0;

    /// Submits what was started and completes what is finished; waits for something to happen for at most
    /// `limit` (negative: without limit, 0: not at all) or until wake(). May return early, as it does every few
    /// milliseconds where something waits for memory.
    virtual void wait(std::chrono::nanoseconds limit) = 0;

    /// Ends a wait, or the next one. From any thread and from signal handlers.
    void wake() noexcept;

protected:
    engine();
    /// A limit for wait() that is as short as `most` at least.
    [[nodiscard]] static std::chrono::nanoseconds at_most(std::chrono::nanoseconds most,
                                                          std::chrono::nanoseconds limit) noexcept
    {
        return limit.count() < 0 ? most : std::min(limit, most);
    }
    static constexpr std::chrono::milliseconds memory_delay{10}; ///< before what had no memory is tried again
    int wake_fd_; ///< an eventfd; the engine reads it
};

struct settings
{
    std::uint32_t receive_buffers;
    std::uint32_t submission_entries;
    std::uint32_t completion_entries;
    unsigned first_rung = 0; ///< the ring's set-up flags: 0 the richest, as kernels of today have them (uring/ring.hpp)
};

/// Throws std::system_error where the kernel refuses.
[[nodiscard]] std::unique_ptr<engine> make_uring_engine(block_pool& blocks, settings const& s);
[[nodiscard]] std::unique_ptr<engine> make_asio_engine(block_pool& blocks);

/// Why io_uring can't be used here: an errno and what it most likely means; code 0 where it can be.
struct refusal
{
    int code = 0;
    std::string cause;
};
/// Tries in earnest what the engine uses: set-up flags, opcodes, a buffer ring, a multishot receive on a socket pair
/// and its cancel. Once per process; later calls give the same answer.
[[nodiscard]] refusal const& probe_uring();
/// What an error of io_uring's set-up most likely means.
[[nodiscard]] refusal explain(std::system_error const& e);

} // namespace wring::engine
