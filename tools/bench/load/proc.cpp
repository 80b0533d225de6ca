// SPDX-License-Identifier: BSL-1.0
#include "proc.hpp"

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <sys/resource.h>
#include <system_error>

namespace load {

cpu_time server_cpu(int pid)
{
    cpu_time out;
    auto const base = "/proc/" + std::to_string(pid);
    std::error_code gone; // a server that has ended has no tasks
    for (auto const& task : std::filesystem::directory_iterator(base + "/task", gone)) {
        double ns = 0;
        if (std::ifstream(task.path() / "schedstat") >> ns)
            out.total_ns += ns;
    }
    std::string line;
    std::getline(std::ifstream(base + "/stat"), line);
    unsigned long user = 0, kernel = 0;
    if (auto const name_end = line.rfind(')'); name_end != line.npos)
        std::sscanf(line.c_str() + name_end, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &kernel);
    out.user = static_cast<double>(user);
    out.kernel = static_cast<double>(kernel);
    return out;
}

memory server_memory(int pid)
{
    memory out;
    std::ifstream file("/proc/" + std::to_string(pid) + "/smaps_rollup");
    for (std::string line; std::getline(file, line);) {
        double kib = 0;
        if (std::sscanf(line.c_str(), "Rss: %lf", &kib) == 1)
            out.resident = kib * 1024;
        if (std::sscanf(line.c_str(), "Private_Dirty: %lf", &kib) == 1)
            out.dirty = kib * 1024;
    }
    return out;
}

double own_cpu() noexcept
{
    rusage u{};
    getrusage(RUSAGE_SELF, &u);
    return static_cast<double>(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           static_cast<double>(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

} // namespace load
