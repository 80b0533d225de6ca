// SPDX-License-Identifier: BSL-1.0
// What a run counts.
#pragma once

#include "histogram.hpp"

#include <wring/loop.hpp>

#include <map>
#include <string>

namespace load {

struct tally
{
    histogram latency;          // nanoseconds
    histogram send_delay;       // open loop: how late the generator itself was
    std::uint64_t messages = 0; // echoed, delivered to a member, or connections opened
    std::uint64_t bytes = 0;    // of payload received
    unsigned open = 0;          // connections, now
    std::uint64_t errors = 0;
    std::string first_error;
    std::map<std::string, std::uint64_t> error_counts;

    void done(wring::clock::duration latency_of_one) noexcept
    {
        ++messages;
        latency.add(static_cast<std::uint64_t>(std::max(latency_of_one, wring::duration::zero()).count()));
    }
    void failed(unsigned id, std::string const& what);
};

/// What was measured.
struct results
{
    double seconds = 0;
    std::uint64_t messages = 0;
    double cpu_ns = 0; // of the server
    double user_share = 0;
    double generator_share = 0;
    double connect_seconds = 0;
    double rss_per_connection = 0;
    double dirty_per_connection = 0;
};

} // namespace load
