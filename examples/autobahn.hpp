// SPDX-License-Identifier: BSL-1.0
// The client's part of a conformance run: a fuzzing server, the Autobahn|Testsuite's or that of tests/conformance, has
// cases, and the client echoes what each of them sends.
#pragma once

#include "options.hpp"

#include <cstdio>
#include <cstdlib>
#include <string>

/// Runs all cases of the server and asks it for its reports. What came of a case is the server's to judge.
inline wring::task<> run_cases(client_options const& options)
{
    using namespace wring;
    ws::connect_options limits; // there are messages of 16 MiB, and such in 262,144 frames
    limits.max_message = limits.max_frame = 16 << 20;
    limits.max_fragments = 262'144;
    limits.tls = options.tls;
    limits.deflate = options.deflate;
    limits.deflate.server_takeover = limits.deflate.client_takeover = true; // then a server may ask for anything
    std::string url = options.url;
    if (url.ends_with('/'))
        url.pop_back();
    auto counting = (co_await connect(url + "/getCaseCount", limits)).value();
    auto const answer = (co_await counting.read()).value();
    auto const count = std::strtoul(answer.to_string().c_str(), nullptr, 10);
    for (unsigned long n = 1; n <= count; ++n) {
        auto ws = co_await connect(url + "/runCase?case=" + std::to_string(n) + "&agent=wring", limits);
        auto end = ws.error();
        if (ws) {
            while (auto message = co_await ws->read())
                if (!co_await ws->write(*message))
                    break;
            end = ws->status().error;
        }
        std::printf("case %lu of %lu: %s\n", n, count, end.message().c_str());
        std::fflush(stdout);
    }
    auto reports = (co_await connect(url + "/updateReports?agent=wring", limits)).value();
    while (auto message = co_await reports.read()) // it closes when they are written
        std::printf("%s\n", message->to_string().c_str());
}
