// SPDX-License-Identifier: BSL-1.0
// udp_socket: datagrams.
#pragma once

#include <wring/endpoint.hpp>
#include <wring/loop.hpp>

#include <memory>
#include <span>

namespace wring {

namespace detail {
class udp_core;
}

/// A UDP socket (or a Unix datagram socket) on the loop it was made on. Closed when destroyed; a Unix path is
/// removed then. Not to be moved while a coroutine waits on it, nor destroyed: that aborts with a message.
class udp_socket
{
public:
    udp_socket(udp_socket&&) noexcept;
    udp_socket& operator=(udp_socket&&) noexcept;
    ~udp_socket();

    /// Binds to `text` (see endpoint::parse); `0.0.0.0:0` or `[::]:0` for a socket that only needs to send.
    [[nodiscard]] static result<udp_socket> bind(std::string_view text);

    struct datagram
    {
        std::span<std::byte> bytes; ///< the part of the buffer that was filled
        endpoint from;
    };

    /// Completes with the next datagram, put in `buffer`, which must live until then. One that is larger than
    /// `buffer` is dropped with errc::message_too_large. One coroutine at a time (errc::busy). A cancel completes it
    /// with errc::canceled and loses no datagram.
    task<result<datagram>> receive_from(std::span<std::byte> buffer);

    /// Completes when the system has taken the datagram: at once, but for a Unix receiver whose queue is full, which is
    /// tried again every few milliseconds. `bytes` must live until then. An error of an earlier datagram (ECONNREFUSED)
    /// may be reported here. One coroutine at a time (errc::busy), beside one that receives. A cancel before that sends
    /// nothing.
    task<result<>> send_to(std::span<std::byte const> bytes, endpoint to);

    [[nodiscard]] endpoint local() const;
    [[nodiscard]] int native_handle() const noexcept;

private:
    explicit udp_socket(std::unique_ptr<detail::udp_core> core) noexcept;
    std::unique_ptr<detail::udp_core> core_;
};

} // namespace wring
