// SPDX-License-Identifier: BSL-1.0
// What /proc says about the server, and the system about ourselves.
#pragma once

namespace load {

struct cpu_time
{
    double total_ns = 0; // of all its tasks, exact; 0: it is not there, or may not be looked at
    double user = 0;     // clock ticks, so only the proportion to `kernel` means something
    double kernel = 0;
};
[[nodiscard]] cpu_time server_cpu(int pid);

struct memory
{
    double resident = 0;
    double dirty = 0; // Private_Dirty: what this process alone has written, without shared and unchanged pages
};
[[nodiscard]] memory server_memory(int pid);

/// Seconds.
[[nodiscard]] double own_cpu() noexcept;

} // namespace load
