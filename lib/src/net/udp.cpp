// SPDX-License-Identifier: BSL-1.0
#include <wring/udp.hpp>

#include "net/io_operation.hpp"
#include "net/socket.hpp"

#include <wring/timeout.hpp>

#include <algorithm>
#include <unistd.h>

namespace wring {

namespace detail {

class udp_core
{
public:
    udp_core(loop_core& l, std::unique_ptr<engine::descriptor> d, std::string path) noexcept :
        loop(l), io(std::move(d)), unlink_path(std::move(path))
    {
        loop.retain(lasting::udp_socket);
    }
    udp_core(udp_core const&) = delete;
    udp_core& operator=(udp_core const&) = delete;
    ~udp_core()
    {
        if (receiving || sending)
            fatal("wring: a udp_socket was destroyed while a coroutine waits on it; children must end before their "
                  "parents");
        if (!unlink_path.empty())
            ::unlink(unlink_path.c_str());
        loop.drop(lasting::udp_socket);
    }
    loop_core& loop;
    std::unique_ptr<engine::descriptor> io;
    std::string unlink_path;
    bool receiving = false;
    bool sending = false;
};

namespace {
constexpr auto longest_pause = std::chrono::milliseconds(16); // between two tries to send to a queue that is full

/// Sets a flag for as long as an operation runs.
class while_running
{
public:
    explicit while_running(bool& flag) noexcept : flag_(flag) { flag_ = true; }
    while_running(while_running const&) = delete;
    while_running& operator=(while_running const&) = delete;
    ~while_running() { flag_ = false; }

private:
    bool& flag_;
};
} // namespace

} // namespace detail

udp_socket::udp_socket(std::unique_ptr<detail::udp_core> core) noexcept : core_(std::move(core)) {}
udp_socket::udp_socket(udp_socket&&) noexcept = default;
udp_socket& udp_socket::operator=(udp_socket&&) noexcept = default;
udp_socket::~udp_socket() = default;

result<udp_socket> udp_socket::bind(std::string_view text)
{
    auto at = endpoint::parse(text);
    if (!at)
        return at.error();
    auto opened = detail::open_socket(at->family(), SOCK_DGRAM);
    if (!opened)
        return opened.error();
    detail::unique_fd fd(*opened);
    if (::bind(fd.get(), static_cast<sockaddr const*>(at->data()), static_cast<socklen_t>(at->size())) != 0)
        return detail::last_error();
    auto& loop = detail::loop_core::require();
    std::string path = at->is_unix() && !at->address().starts_with('@') ? at->address() : std::string();
    auto io = loop.io().open(fd.get());
    if (!io) {
        if (!path.empty())
            ::unlink(path.c_str());
        return io.error();
    }
    (void)fd.release();
    return udp_socket(std::make_unique<detail::udp_core>(loop, std::move(*io), std::move(path)));
}

task<result<udp_socket::datagram>> udp_socket::receive_from(std::span<std::byte> buffer)
{
    auto& core = *core_;
    if (core.receiving)
        co_return errc::busy;
    detail::while_running guard(core.receiving);
    for (;;) {
        co_await detail::at_once(); // a peer that never rests must not keep the loop
        if (co_await stop_requested())
            co_return errc::canceled;
        sockaddr_storage from{};
        iovec part{buffer.data(), buffer.size()};
        msghdr message{};
        message.msg_name = &from;
        message.msg_namelen = sizeof from;
        message.msg_iov = &part;
        message.msg_iovlen = 1;
        ssize_t const n = ::recvmsg(core.io->fd(), &message, MSG_DONTWAIT);
        if (n >= 0 && (message.msg_flags & MSG_TRUNC))
            co_return errc::message_too_large;
        if (n >= 0)
            co_return datagram{buffer.first(static_cast<std::size_t>(n)),
                               endpoint::from_sockaddr(&from, message.msg_namelen)};
        if (errno == EINTR)
            continue;
        if (errno != EAGAIN)
            co_return detail::last_error();
        auto readable = detail::io_operation::poll_in(*core.io);
        int const events = co_await readable;
        if (events < 0)
            co_return detail::io_error(events);
    }
}

task<result<>> udp_socket::send_to(std::span<std::byte const> bytes, endpoint to)
{
    auto& core = *core_;
    if (core.sending)
        co_return errc::busy;
    detail::while_running guard(core.sending);
    auto pause = std::chrono::milliseconds(1);
    for (;;) {
        co_await detail::at_once();
        if (co_await stop_requested())
            co_return errc::canceled;
        ssize_t const n = ::sendto(core.io->fd(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL,
                                   static_cast<sockaddr const*>(to.data()), static_cast<socklen_t>(to.size()));
        if (n >= 0)
            co_return {};
        if (errno == EINTR)
            continue;
        if (errno != EAGAIN)
            co_return detail::last_error();
        if (to.is_unix()) {
            // The receiver's queue is full: this socket is writable nevertheless, and nothing tells when there is room.
            auto const waited = co_await sleep_for(pause);
            if (!waited)
                co_return waited.error();
            pause = std::min(2 * pause, detail::longest_pause);
            continue;
        }
        auto writable = detail::io_operation::poll_out(*core.io);
        int const events = co_await writable;
        if (events < 0)
            co_return detail::io_error(events);
    }
}

endpoint udp_socket::local() const
{
    return detail::local_endpoint(core_->io->fd());
}

int udp_socket::native_handle() const noexcept
{
    return core_->io->fd();
}

} // namespace wring
