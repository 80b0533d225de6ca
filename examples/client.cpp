// SPDX-License-Identifier: BSL-1.0
// A WebSocket client: sends the lines of standard input, prints the messages that come back.
#include "autobahn.hpp"
#include "input.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <getopt.h>
#include <stdexcept>
#include <string>
#include <vector>

using namespace wring;

struct client_options
{
    std::string url;
    bool autobahn = false;
    std::string origin;
    std::string subprotocols;
    std::vector<header> headers; // views of the command line
    run_options run;
};

header parse_header(std::string_view line)
{
    auto const colon = std::min(line.find(':'), line.size());
    auto const value = std::min(line.find_first_not_of(" \t", colon + 1), line.size());
    return {line.substr(0, colon), line.substr(value)};
}

client_options parse(int argc, char** argv)
{
    auto usage = [&](std::FILE* to, int status) {
        std::fprintf(to,
                     "usage: %s URL [--origin ORIGIN] [--header 'Name: value']... [--subprotocol NAME]...\n"
                     "       [--engine auto|uring|asio]\n"
                     "       %s --autobahn URL   runs all cases of a fuzzing server, as the Autobahn|Testsuite has one\n\n"
                     "Sends each line of standard input to ws://HOST[:PORT]/PATH, prints what comes back, and closes\n"
                     "at the end of the input. Exit status: 0 after a clean close, 1 otherwise.\n",
                     argv[0], argv[0]);
        std::exit(status);
    };
    option const known[] = {{"origin", required_argument, nullptr, 'o'},
                            {"header", required_argument, nullptr, 'H'},
                            {"subprotocol", required_argument, nullptr, 's'},
                            {"autobahn", no_argument, nullptr, 'a'},
                            {"engine", required_argument, nullptr, 'e'},
                            {"help", no_argument, nullptr, 'h'},
                            {}};
    client_options options;
    for (int c = 0; (c = getopt_long(argc, argv, "", known, nullptr)) != -1;) {
        auto const engine = c == 'e' ? parse_engine(optarg) : engine_kind::automatic;
        if (c == 'h')
            usage(stdout, 0);
        else if (c == 'a')
            options.autobahn = true;
        else if (c == 'o')
            options.origin = optarg;
        else if (c == 's')
            options.subprotocols += (options.subprotocols.empty() ? "" : ",") + std::string(optarg);
        else if (c == 'H' && std::string_view(optarg).find(':') != std::string_view::npos)
            options.headers.push_back(parse_header(optarg));
        else if (c == 'e' && engine)
            options.run.engine = *engine;
        else
            usage(stderr, 2);
    }
    if (argc - optind != 1)
        usage(stderr, 2);
    options.url = argv[optind];
    return options;
}

// [send]
task<> send_lines(ws::connection& ws)
{
    input_lines input;
    auto line = co_await input.next();
    for (; line; line = co_await input.next())
        if (!co_await ws.write(*line))
            co_return;
    if (line.error() == errc::end_of_stream)
        (void)co_await ws.close(); // how that went is in ws.status()
}
// [/send]

// [talk]
task<> talk(client_options const& options)
{
    auto ws = co_await connect(
        options.url, {.subprotocols = options.subprotocols, .origin = options.origin, .headers = options.headers});
    if (!ws)
        throw std::runtime_error("can't connect to " + options.url + ": " + ws.error().message());
    scope sending;
    sending.spawn(send_lines(*ws));
    while (auto message = co_await ws->read()) {
        std::fwrite(message->payload.data(), 1, message->payload.size(), stdout);
        std::putchar('\n'), std::fflush(stdout);
    }
    sending.request_stop(); // there may be more input, but nobody to send it to
    co_await sending.join();

    auto const how = ws->status();
    if (how.open)
        co_return; // Ctrl-C. The end of `ws` closes the connection with 1001, and run() waits for that.
    if (how.error != ws::closed)
        throw std::runtime_error("lost the connection: " + how.error.message());
    if (how.closed_by_peer)
        std::fprintf(stderr, "client: closed by the server: %u%s%.*s\n", static_cast<unsigned>(how.code),
                     how.reason.empty() ? "" : " ", static_cast<int>(how.reason.size()), how.reason.data());
}
// [/talk]

int main(int argc, char** argv)
{
    auto const options = parse(argc, argv);
    return run(options.autobahn ? run_cases(options.url) : talk(options), options.run);
}
