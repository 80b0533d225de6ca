// SPDX-License-Identifier: BSL-1.0
#include "net/system.hpp"

#include <cerrno>
#include <netdb.h>
#include <new>
#include <sys/epoll.h>
#include <sys/socket.h>

using namespace net_test;

engine_is_full::engine_is_full()
{
    system_calls.epoll_add_error = ENOSPC;
    system_calls.no_descriptors = true;
}

engine_is_full::~engine_is_full()
{
    system_calls.epoll_add_error = 0;
    system_calls.no_descriptors = false;
}

extern "C" {
int __real_getaddrinfo(char const* host, char const* service, addrinfo const* hints, addrinfo** list);
int __wrap_getaddrinfo(char const* host, char const* service, addrinfo const* hints, addrinfo** list);
int __real_epoll_ctl(int epoll, int operation, int fd, epoll_event* event);
int __wrap_epoll_ctl(int epoll, int operation, int fd, epoll_event* event);
int __real_accept4(int fd, sockaddr* address, socklen_t* size, int flags);
int __wrap_accept4(int fd, sockaddr* address, socklen_t* size, int flags);
ssize_t __real_sendto(int fd, void const* bytes, std::size_t n, int flags, sockaddr const* to, socklen_t size);
ssize_t __wrap_sendto(int fd, void const* bytes, std::size_t n, int flags, sockaddr const* to, socklen_t size);
void* __real__ZnwmRKSt9nothrow_t(std::size_t size, std::nothrow_t const& tag); // operator new(unsigned long, nothrow)
void* __wrap__ZnwmRKSt9nothrow_t(std::size_t size, std::nothrow_t const& tag);

int __wrap_getaddrinfo(char const* host, char const* service, addrinfo const* hints, addrinfo** list)
{
    if (system_calls.getaddrinfo_status == 0)
        return __real_getaddrinfo(host, service, hints, list);
    errno = EMFILE;
    return system_calls.getaddrinfo_status;
}

int __wrap_epoll_ctl(int epoll, int operation, int fd, epoll_event* event)
{
    if (operation != EPOLL_CTL_ADD || system_calls.epoll_add_error == 0)
        return __real_epoll_ctl(epoll, operation, fd, event);
    errno = system_calls.epoll_add_error;
    return -1;
}

int __wrap_accept4(int fd, sockaddr* address, socklen_t* size, int flags)
{
    if (system_calls.accept_errors == 0)
        return __real_accept4(fd, address, size, flags);
    --system_calls.accept_errors;
    errno = system_calls.accept_error;
    return -1;
}

ssize_t __wrap_sendto(int fd, void const* bytes, std::size_t n, int flags, sockaddr const* to, socklen_t size)
{
    ++system_calls.sendto_calls;
    if (system_calls.sendto_again > 0) {
        --system_calls.sendto_again;
        errno = EAGAIN;
        return -1;
    }
    return __real_sendto(fd, bytes, n, flags, to, size);
}

void* __wrap__ZnwmRKSt9nothrow_t(std::size_t size, std::nothrow_t const& tag)
{
    return system_calls.no_descriptors ? nullptr : __real__ZnwmRKSt9nothrow_t(size, tag);
}
}
