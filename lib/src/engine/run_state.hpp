// SPDX-License-Identifier: BSL-1.0
// What the loops of one run() share.
#pragma once

#include "engine/loop_core.hpp"

#include <wring/endpoint.hpp>

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

namespace wring::detail {

class listener_group;

struct shared_run
{
    std::uint64_t number = 0; ///< of this run in the process, from 1
    std::mutex mutex;
    std::vector<loop_core*> loops;             ///< those that run; under the mutex
    bool stopping = false;                     ///< under the mutex; a loop that starts late looks at it
    struct listening_socket
    {
        endpoint at;
        int fd = -1;        ///< a copy of the first loop's socket, where the others accept from it too
        unsigned users = 0; ///< listeners on such a socket; the last one closes the copy
        std::shared_ptr<listener_group> group; ///< of them, where they balance their connections
    };
    std::map<std::string, listening_socket> listening; ///< "text#n"; under the mutex
    std::set<std::string> reported; ///< causes of failure, as several loops often fail alike; under the mutex

    void request_stop() noexcept;
};

} // namespace wring::detail
