// SPDX-License-Identifier: BSL-1.0
#include "net/socket.hpp"

#include <cerrno>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

namespace wring::detail {

std::error_code last_error() noexcept
{
    return {errno, std::system_category()};
}

result<int> open_socket(int family, int type) noexcept
{
    int const fd = ::socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return last_error();
    return fd;
}

endpoint local_endpoint(int fd) noexcept
{
    sockaddr_storage address{};
    socklen_t size = sizeof address;
    if (::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0)
        return {};
    return endpoint::from_sockaddr(&address, size);
}

endpoint remote_endpoint(int fd) noexcept
{
    sockaddr_storage address{};
    socklen_t size = sizeof address;
    if (::getpeername(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0)
        return {};
    return endpoint::from_sockaddr(&address, size);
}

result<> set_option(int fd, int level, int name, int value) noexcept
{
    if (::setsockopt(fd, level, name, &value, sizeof value) != 0)
        return last_error();
    return {};
}

result<> prepare_adopted(int fd) noexcept
{
    int const status = ::fcntl(fd, F_GETFL);
    if (status < 0 || ::fcntl(fd, F_SETFL, status | O_NONBLOCK) != 0)
        return last_error();
    int const flags = ::fcntl(fd, F_GETFD);
    if (flags < 0 || ::fcntl(fd, F_SETFD, flags | FD_CLOEXEC) != 0)
        return last_error();
    return {};
}

void set_no_delay(int fd, bool on) noexcept
{
    int const value = on ? 1 : 0;
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &value, sizeof value); // fails on Unix sockets, which have no delay
}

unique_fd::~unique_fd()
{
    if (fd_ >= 0)
        ::close(fd_);
}

} // namespace wring::detail
