// SPDX-License-Identifier: BSL-1.0
// The threads that offload() and name resolution run on.
#pragma once

#include <asio/thread_pool.hpp>

#include <mutex>

namespace wring::detail {

/// Threads for blocking work, started at the first use. Must never be destroyed: a name resolution that nobody waits
/// for any more may still run at exit.
class thread_pool
{
public:
    /// Starts a thread that runs the pool's attach(), or throws std::system_error.
    using starter = void (*)(asio::thread_pool& pool);

    explicit thread_pool(unsigned threads, starter start = &start_thread);

    /// Where to post work. Starts the threads that are missing: with some of them the pool works, and the next call
    /// tries again. Throws what start_thread did where there is none at all.
    asio::thread_pool& ready();

private:
    static void start_thread(asio::thread_pool& pool);

    std::mutex mutex_;
    asio::thread_pool pool_{0};
    starter start_;
    unsigned missing_;
    bool has_thread_ = false;
};

} // namespace wring::detail
