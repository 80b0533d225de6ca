// SPDX-License-Identifier: BSL-1.0
// The command line of the example servers.
#pragma once

#include <wring/wring.hpp>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <getopt.h>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

struct server_options
{
    std::vector<std::string> bind;
    std::string subprotocols;
    wring::run_options run;
    std::size_t max_message = wring::ws::upgrade_options{}.max_message;
    std::uint32_t max_fragments = wring::ws::upgrade_options{}.max_fragments;
};

/// Reads the options that all the example servers have, and with `websocket` those of its connections.
/// Ends the program on --help (0) and on bad usage (2).
inline server_options parse_server_options(int argc, char** argv, char const* about, bool websocket = true)
{
    constexpr char const* about_websocket =
        "  --subprotocol NAME  spoken here, picked if the client offers it; may repeat, preferred first\n"
        "  --max-message N   bytes of a message at most (default 1048576; 0: any number)\n"
        "  --max-fragments N frames of a message at most (default 1024; 0: any number)\n";
    auto usage = [&](std::FILE* to) {
        std::fprintf(to,
                     "usage: %s [--bind HOST:PORT]... [--threads N] [--engine auto|uring|asio]\n\n%s\n\n"
                     "  --bind HOST:PORT  where to listen; may repeat; port 0 lets the system choose;\n"
                     "                    unix:/path or unix:@name for a Unix socket (default 127.0.0.1:9001)\n"
                     "  --threads N       event loops, each on a thread of its own (default 1; 0: one per processor)\n"
                     "  --engine NAME     auto, uring or asio (default auto: io_uring where it works, else epoll)\n"
                     "%s  --help            this text\n",
                     argv[0], about, websocket ? about_websocket : "");
    };
    auto refuse = [&](char const* what, char const* value) {
        std::fprintf(stderr, "%s: %s: %s\n\n", argv[0], what, value);
        usage(stderr);
        std::exit(2);
    };
    auto number = [&](unsigned long most, char const* what) {
        char* end = nullptr;
        unsigned long const n = std::strtoul(optarg, &end, 10);
        if (end == optarg || *end || *optarg == '-' || n > most)
            refuse(what, optarg);
        return n;
    };
    option const known[] = {{"max-message", required_argument, nullptr, 'm'}, // these three: `websocket`
                            {"max-fragments", required_argument, nullptr, 'f'},
                            {"subprotocol", required_argument, nullptr, 's'},
                            {"bind", required_argument, nullptr, 'b'},
                            {"threads", required_argument, nullptr, 't'},
                            {"engine", required_argument, nullptr, 'e'},
                            {"help", no_argument, nullptr, 'h'},
                            {}};
    server_options options;
    for (int c = 0; (c = getopt_long(argc, argv, "", websocket ? known : known + 3, nullptr)) != -1;) {
        switch (c) {
        case 'b': options.bind.emplace_back(optarg); break;
        case 't':
            options.run.threads = static_cast<unsigned>(number(1024, "not a number of threads"));
            if (options.run.threads == 0)
                options.run.threads = std::max(1U, std::thread::hardware_concurrency());
            break;
        case 'm': options.max_message = number(SIZE_MAX, "not a number of bytes"); break;
        case 'f':
            options.max_fragments = static_cast<std::uint32_t>(number(UINT32_MAX, "not a number of fragments"));
            break;
        case 'e':
            if (auto const engine = wring::parse_engine(optarg))
                options.run.engine = *engine;
            else
                refuse("not an engine", optarg);
            break;
        case 's': options.subprotocols.append(options.subprotocols.empty() ? "" : ",").append(optarg); break;
        case 'h': usage(stdout); std::exit(0);
        default: usage(stderr); std::exit(2);
        }
    }
    if (optind < argc)
        refuse("unexpected argument", argv[optind]);
    if (options.bind.empty())
        options.bind.emplace_back("127.0.0.1:9001");
    return options;
}

/// Listens, or throws what a user should read. The first loop says so in one line.
inline wring::listener listen_on(std::string const& where, char const* scheme)
{
    auto bound = wring::listener::bind(where);
    if (!bound)
        throw std::runtime_error("can't listen on " + where + ": " + bound.error().message());
    auto const at = bound->local();
    if (wring::this_loop().index() == 0) {
        std::printf("listening on %s%s\n", at.is_unix() ? "" : scheme, at.to_string().c_str());
        std::fflush(stdout);
    }
    return std::move(*bound);
}
