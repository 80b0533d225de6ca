// SPDX-License-Identifier: BSL-1.0
// System calls of the library that fail where a test says so. The program is linked with --wrap for each.
#pragma once

#include <atomic>
#include <cstddef>

namespace net_test {

struct system_calls_
{
    std::atomic<int> getaddrinfo_status{0};  ///< what it gives; 0: what it says itself
    std::atomic<int> epoll_add_error{0};     ///< of epoll_ctl with EPOLL_CTL_ADD
    std::atomic<bool> no_descriptors{false}; ///< operator new(nothrow) has no memory: the io_uring engine's descriptors
    std::atomic<int> accept_error{0};        ///< of accept4 ...
    std::atomic<int> accept_errors{0};       ///< ... so often
    std::atomic<std::size_t> sendto_calls{0};
    std::atomic<int> sendto_again{0}; ///< so many give EAGAIN
};
inline system_calls_ system_calls;

/// Neither engine takes another descriptor while it lives.
struct engine_is_full
{
    engine_is_full();
    ~engine_is_full();
    engine_is_full(engine_is_full const&) = delete;
    engine_is_full& operator=(engine_is_full const&) = delete;
};

} // namespace net_test
