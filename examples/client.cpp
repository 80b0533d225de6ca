// SPDX-License-Identifier: BSL-1.0
// A WebSocket client: sends the lines of standard input, prints the messages that come back.
#include <wring/wring.hpp>

#include <cstdio>
#include <cstdlib>
#include <getopt.h>
#include <iostream>
#include <optional>
#include <string>
#include <vector>

using namespace wring;

struct client_options
{
    std::string url;
    std::string origin;
    std::string subprotocols;
    std::vector<std::string> headers;
    run_options run;
};

client_options parse(int argc, char** argv)
{
    auto usage = [&](std::FILE* to, int status) {
        std::fprintf(to, "usage: %s URL [--origin ORIGIN] [--header 'Name: value']... [--subprotocol NAME]...\n"
                         "       [--engine auto|uring|asio]\n\n"
                         "Sends each line of standard input to ws://HOST[:PORT]/PATH, prints what comes back, and closes\n"
                         "at the end of the input. Exit status: 0 after a clean close, 1 otherwise.\n", argv[0]);
        std::exit(status);
    };
    option const known[] = {{"origin", required_argument, nullptr, 'o'},
                            {"header", required_argument, nullptr, 'H'},
                            {"subprotocol", required_argument, nullptr, 's'},
                            {"engine", required_argument, nullptr, 'e'},
                            {"help", no_argument, nullptr, 'h'},
                            {}};
    client_options options;
    for (int c = 0; (c = getopt_long(argc, argv, "", known, nullptr)) != -1;) {
        auto const engine = c == 'e' ? parse_engine(optarg) : engine_kind::automatic;
        if (c == 'h')
            usage(stdout, 0);
        else if (c == 'o')
            options.origin = optarg;
        else if (c == 's')
            options.subprotocols += (options.subprotocols.empty() ? "" : ",") + std::string(optarg);
        else if (c == 'H' && std::string_view(optarg).find(':') != std::string_view::npos)
            options.headers.emplace_back(optarg);
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

std::vector<header> split_headers(std::vector<std::string> const& lines)
{
    std::vector<header> headers;
    for (std::string_view line : lines) {
        auto const colon = line.find(':');
        auto const value = line.find_first_not_of(" \t", colon + 1);
        headers.push_back({line.substr(0, colon), value == line.npos ? "" : line.substr(value)});
    }
    return headers;
}

std::optional<std::string> read_line()
{
    std::string line;
    return std::getline(std::cin, line) ? std::optional(line) : std::nullopt;
}

// [send]
task<> send_lines(ws::connection& ws)
{
    while (auto line = co_await offload(read_line)) // blocks, so on the thread pool
        if (!co_await ws.write(*line))
            co_return;
    auto const closed = co_await ws.close();
    if (!closed)
        std::fprintf(stderr, "client: %s\n", closed.error().message().c_str());
}
// [/send]

// [talk]
task<> talk(client_options const& options)
{
    auto const headers = split_headers(options.headers);
    auto ws = co_await connect(
        options.url, {.subprotocols = options.subprotocols, .origin = options.origin, .headers = headers});
    if (!ws)
        throw std::runtime_error("can't connect to " + options.url + ": " + ws.error().message());
    scope sending;
    sending.spawn(send_lines(*ws));
    while (auto message = co_await ws->read())
        std::printf("%.*s\n", static_cast<int>(message->payload.size()), message->text().data()), std::fflush(stdout);

    auto const how = ws->status();
    if (how.error != ws::closed)
        std::fprintf(stderr, "client: %s\n", how.error.message().c_str());
    else if (how.closed_by_peer)
        std::fprintf(stderr, "client: closed by the server: %u %.*s\n", static_cast<unsigned>(how.code),
                     static_cast<int>(how.reason.size()), how.reason.data());
    if (sending.size() > 0) // standard input still blocks a thread, and nothing can cancel that
        std::_Exit(how.error == ws::closed ? 0 : 1);
    co_await sending.join();
    if (how.error != ws::closed)
        throw std::runtime_error("the connection did not end cleanly");
}
// [/talk]

int main(int argc, char** argv)
{
    auto const options = parse(argc, argv);
    return run(talk(options), options.run);
}
