// SPDX-License-Identifier: BSL-1.0
// Load generator: what messages, deliveries, connections cost a server, and how long they take. One thread, on wring's
// public interface alone.
#include "../common.hpp"
#include "proc.hpp"
#include "report.hpp"

#include <cerrno>
#include <cstring>
#include <malloc.h>

namespace load {

namespace {

wring::task<> go(run& r)
{
    if (r.how.server_pid != 0 && server_cpu(r.how.server_pid).total_ns == 0)
        throw failure("cannot read /proc/" + std::to_string(r.how.server_pid) + "/task/*/schedstat");
    co_await r.connect.prepare();
    switch (r.how.mode) {
    case mode::echo: co_await run_echo(r); break;
    case mode::broadcast: co_await run_broadcast(r); break;
    case mode::idle: co_await run_idle(r); break;
    case mode::churn:
    case mode::handshake: co_await run_churn(r); break;
    }
}

void report(run const& r)
{
    print_table(stdout, r);
    auto const& file = r.how.json;
    if (file == "-")
        return print_json(stdout, r);
    if (file.empty())
        return;
    std::FILE* const f = std::fopen(file.c_str(), "w");
    if (f)
        print_json(f, r);
    if (!f || std::fclose(f) != 0)
        throw failure("cannot write " + file + ": " + std::strerror(errno));
}

wring::task<> measure_and_report(options const& how, int& status)
{
    run r(how);
    try {
        co_await go(r);
        report(r);
        status = r.counts.errors == 0 ? 0 : 1;
    } catch (failure const& e) {
        std::fprintf(stderr, "load: %s\n", e.what());
    }
}

int start(int argc, char** argv)
{
    // Large messages come and go: their memory is kept, and not mapped anew for each.
    mallopt(M_MMAP_THRESHOLD, 32 << 20);
    mallopt(M_TRIM_THRESHOLD, 256 << 20);
    auto const how = read_options(argc, argv);
    auto const limit = bench::raise_descriptor_limit(how.connections + 64);
    if (limit < how.connections + 16)
        throw failure(std::to_string(how.connections) +
                      " connections need a higher limit of open files (ulimit -n is " + std::to_string(limit) + ")");
    int status = 1;
    wring::run_options loop;
    loop.engine = how.engine;
    int const failed = wring::run(measure_and_report(how, status), loop);
    return failed != 0 ? failed : status;
}

} // namespace

} // namespace load

int main(int argc, char** argv)
{
    try {
        return load::start(argc, argv);
    } catch (load::wrong_usage const& e) {
        std::fprintf(stderr, "load: %s\n", e.what());
        return 2;
    } catch (load::failure const& e) {
        std::fprintf(stderr, "load: %s\n", e.what());
        return 1;
    }
}
