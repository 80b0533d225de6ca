// SPDX-License-Identifier: BSL-1.0
#include "waits.hpp"

#include <atomic>

#include <liburing.h>
#include <sys/epoll.h>

namespace {
std::atomic<std::size_t> count;
}

std::size_t wring::test::waits() noexcept
{
    return count;
}

#define COUNT_CALLS(name, parameters, arguments)                                                                       \
    int __real_##name parameters;                                                                                      \
    int __wrap_##name parameters;                                                                                      \
    int __wrap_##name parameters                                                                                       \
    {                                                                                                                  \
        ++count;                                                                                                       \
        return __real_##name arguments;                                                                                \
    }

extern "C" {

COUNT_CALLS(io_uring_submit_and_get_events, (io_uring * ring), (ring))
COUNT_CALLS(io_uring_submit_and_wait, (io_uring * ring, unsigned completions), (ring, completions))
COUNT_CALLS(io_uring_submit_and_wait_timeout,
            (io_uring * ring, io_uring_cqe** first, unsigned completions, __kernel_timespec* limit, sigset_t* mask),
            (ring, first, completions, limit, mask))
COUNT_CALLS(epoll_wait, (int epoll, epoll_event* events, int most, int limit), (epoll, events, most, limit))

} // extern "C"
