// SPDX-License-Identifier: BSL-1.0
// The command line of the example servers.
#pragma once

#include <wring/wring.hpp>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <getopt.h>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

struct command_line
{
    std::vector<std::string> bind;
    std::string subprotocols;
    std::string trusted; // proxies, of server::trust_proxies
    wring::run_options run;
};

/// Reads the options that all the example servers have, and those that only servers of WebSocket have. Ends the program
/// on --help (0) and on bad usage (2).
inline command_line parse_command_line(int argc, char** argv, char const* about, bool websocket = true)
{
    auto const* const websocket_usage =
        "  --subprotocol NAME    spoken here, picked if the client offers it; may repeat, preferred first\n"
        "  --trust-proxies LIST  whose PROXY headers to believe: addresses, networks, unix\n";
    auto usage = [&](std::FILE* to) {
        std::fprintf(to,
                     "usage: %s [--bind HOST:PORT]... [--threads N] [--engine auto|uring|asio]\n\n%s\n\n"
                     "  --bind HOST:PORT  where to listen; may repeat; port 0 lets the system choose;\n"
                     "                    unix:/path or unix:@name for a Unix socket (default 127.0.0.1:9001)\n"
                     "  --threads N       event loops, each on a thread of its own (default 1; 0: one per processor)\n"
                     "  --engine NAME     auto, uring or asio (default auto: io_uring where it works, else epoll)\n"
                     "%s  --help            this text\n",
                     argv[0], about, websocket ? websocket_usage : "");
    };
    auto refuse = [&](char const* what, char const* value) {
        std::fprintf(stderr, "%s: %s: %s\n\n", argv[0], what, value);
        usage(stderr);
        std::exit(2);
    };
    option const known[] = {{"bind", required_argument, nullptr, 'b'},
                            {"threads", required_argument, nullptr, 't'},
                            {"engine", required_argument, nullptr, 'e'},
                            {"help", no_argument, nullptr, 'h'},
                            {websocket ? "subprotocol" : nullptr, required_argument, nullptr, 's'}, // null: the end
                            {"trust-proxies", required_argument, nullptr, 'p'},
                            {}};
    command_line options;
    for (int c = 0; (c = getopt_long(argc, argv, "", known, nullptr)) != -1;) {
        switch (c) {
        case 'b': options.bind.emplace_back(optarg); break;
        case 't': {
            char* end = nullptr;
            unsigned long const n = std::strtoul(optarg, &end, 10);
            if (end == optarg || *end || n > 1024)
                refuse("not a number of threads", optarg);
            options.run.threads = n ? static_cast<unsigned>(n) : std::max(1U, std::thread::hardware_concurrency());
            break;
        }
        case 'e':
            if (auto const engine = wring::parse_engine(optarg))
                options.run.engine = *engine;
            else
                refuse("not an engine", optarg);
            break;
        case 's': options.subprotocols.append(options.subprotocols.empty() ? "" : ",").append(optarg); break;
        case 'p': options.trusted = optarg; break;
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

inline void say_listening(wring::endpoint const& at, char const* scheme)
{
    std::printf("listening on %s%s\n", at.is_unix() ? "" : scheme, at.to_string().c_str());
    std::fflush(stdout);
}

/// Listens, or throws what a user should read. The first loop says so in one line.
inline wring::listener listen_on(std::string const& where, char const* scheme)
{
    auto bound = wring::listener::bind(where);
    if (!bound)
        throw std::runtime_error("can't listen on " + where + ": " + bound.error().message());
    if (wring::this_loop().index() == 0)
        say_listening(bound->local(), scheme);
    return std::move(*bound);
}

/// Sets a server up to listen where the command line says, and to say so in a line for each place.
inline void listen(wring::server& app, command_line const& options)
{
    for (auto const& where : options.bind)
        app.listen(where);
    try {
        app.trust_proxies(options.trusted);
    } catch (std::invalid_argument const& e) {
        std::fprintf(stderr, "--trust-proxies: %s\n", e.what());
        std::exit(2);
    }
    app.on_listening([](wring::endpoint const& at) { say_listening(at, "ws://"); });
}
