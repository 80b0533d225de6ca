// SPDX-License-Identifier: BSL-1.0
// System calls on sockets, with results in place of errno.
#pragma once

#include <wring/endpoint.hpp>
#include <wring/stream.hpp>

namespace wring::detail {

/// A non-blocking, close-on-exec socket for an endpoint's family.
[[nodiscard]] result<int> open_socket(int family, int type) noexcept;
[[nodiscard]] endpoint local_endpoint(int fd) noexcept;
[[nodiscard]] endpoint remote_endpoint(int fd) noexcept;
result<> set_option(int fd, int level, int name, int value) noexcept;
/// Makes a descriptor that comes from elsewhere non-blocking and close-on-exec.
result<> prepare_adopted(int fd) noexcept;
/// TCP_NODELAY where the socket is TCP.
void set_no_delay(int fd, bool on) noexcept;
[[nodiscard]] std::error_code last_error() noexcept;

/// Closes on the way out, unless released.
class unique_fd
{
public:
    explicit unique_fd(int fd) noexcept : fd_(fd) {}
    unique_fd(unique_fd&& other) noexcept : fd_(other.release()) {}
    unique_fd& operator=(unique_fd&& other) noexcept
    {
        std::swap(fd_, other.fd_);
        return *this;
    }
    ~unique_fd();
    [[nodiscard]] int get() const noexcept { return fd_; }
    [[nodiscard]] int release() noexcept { return std::exchange(fd_, -1); }

private:
    int fd_;
};

} // namespace wring::detail
