// SPDX-License-Identifier: BSL-1.0
#include "options.hpp"

#include "failure.hpp"
#include "messages.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <string_view>

namespace load {

char const* to_string(mode m) noexcept
{
    switch (m) {
    case mode::echo: return "echo";
    case mode::broadcast: return "broadcast";
    case mode::idle: return "idle";
    case mode::churn: return "churn";
    case mode::handshake: break;
    }
    return "handshake";
}

char const* help() noexcept
{
    return "[OPTION]...\n"
           "  --url ws://HOST:PORT/PATH  server (tcp://HOST:PORT implies --raw; wss:// speaks TLS and trusts whoever\n"
           "                             answers); default ws://127.0.0.1:9001/\n"
           "  --mode NAME                echo: every connection sends and waits for its own messages (default);\n"
           "                             broadcast: what one sends all receive; idle: connections are only held;\n"
           "                             churn: each is opened, closed by both sides, and opened again;\n"
           "                             handshake: each is opened, reset when it is open, and opened again\n"
           "  --connections N            default 64\n"
           "  --in-flight N              closed loop: messages under way of each sender; default 1\n"
           "  --rate N                   open loop: N messages per second of all senders together, at constant\n"
           "                             intervals; latency counts from when a message was due\n"
           "  --senders N|all            broadcast: members that send; default 1\n"
           "  --size BYTES               payload of a message; default 64\n"
           "  --sizes FILE               a mixture: lines `BYTES WEIGHT`, # begins a comment\n"
           "  --text | --binary          text is UTF-8 with characters of 1 to 4 bytes; default binary\n"
           "  --deflate fresh|takeover   messages are words and go compressed; windows are kept by the server\n"
           "                             (takeover) or not (fresh), if it agrees\n"
           "  --touch                    idle: each connection has echoed a message before memory is looked at\n"
           "  --raw                      plain TCP without handshake or frames, for servers that parse nothing: as\n"
           "                             many bytes up as a masked frame has, the same number down\n"
           "  --seconds S --warmup S     measured time, default 3; time before it, default 1\n"
           "  --server-pid PID           report the CPU time (/proc/PID/task/*/schedstat) and memory of the server\n"
           "  --json FILE                write the results there too; - for standard output\n"
           "  --quiet                    no progress lines\n"
           "  --engine NAME              auto, uring or asio (default auto)\n"
           "Exit status: 0 measured without an error, 1 errors, 2 wrong usage.";
}

namespace {

/// The values of the command line, one after the other.
struct argument_list
{
    int argc;
    char** argv;
    int at = 0;

    std::string value()
    {
        if (at + 1 >= argc)
            throw wrong_usage(std::string(argv[at]) + " needs a value");
        return argv[++at];
    }
    double number(double low, double high)
    {
        std::string const name = argv[at];
        auto const text = value();
        char* end = nullptr;
        double const n = std::strtod(text.c_str(), &end);
        if (end == text.c_str() || *end != '\0' || !(n >= low && n <= high))
            throw wrong_usage(name + ": '" + text + "' is not a number in its range");
        return n;
    }
    template <class T>
    T whole(double low, double high)
    {
        return static_cast<T>(number(low, high));
    }
    template <class T>
    T one_of(std::map<std::string_view, T> const& known)
    {
        std::string const name = argv[at];
        auto const text = value();
        auto const found = known.find(text);
        if (found == known.end())
            throw wrong_usage(name + ": '" + text + "' is not one of its values");
        return found->second;
    }
};

constexpr unsigned all_of_them = ~0U;

void parse_url(options& o)
{
    std::string_view rest = o.url;
    o.raw = o.raw || rest.starts_with("tcp://");
    o.tls = rest.starts_with("wss://");
    if (!rest.starts_with("tcp://") && !rest.starts_with("ws://") && !o.tls)
        throw wrong_usage("'" + o.url + "' is no ws://, wss:// or tcp:// URL");
    if (o.raw && o.tls)
        throw wrong_usage("--raw speaks no TLS");
    rest.remove_prefix(rest.find("//") + 2);
    o.address = rest.substr(0, rest.find('/'));
}

void check(options const& o)
{
    if (o.raw && (o.deflate || o.opens_again()))
        throw wrong_usage(o.deflate ? "--raw has no messages to compress" : "--raw has no handshake");
    if (o.mode == mode::idle && o.connections < 2)
        throw wrong_usage("--mode idle needs at least 2 connections");
    if (o.mode == mode::idle && o.server_pid == 0)
        throw wrong_usage("--mode idle measures memory: it needs --server-pid");
    if (o.rate > 0 && (o.mode == mode::idle || o.opens_again()))
        throw wrong_usage(std::string("--mode ") + to_string(o.mode) + " has no messages for a --rate");
    if (o.senders != 1 && o.mode != mode::broadcast)
        throw wrong_usage("--senders is for --mode broadcast");
    if (o.senders > o.connections)
        throw wrong_usage("--senders: there are fewer connections");
    auto const smaller = [](size_share const& a, size_share const& b) { return a.bytes < b.bytes; };
    auto const smallest = o.sizes.empty() ? o.size : std::ranges::min_element(o.sizes, smaller)->bytes;
    if (o.senders > 1 && smallest < message_pool::stamp_size)
        throw wrong_usage("messages of several --senders have 12 bytes at least");
    if (o.senders > 1 && o.raw && !o.sizes.empty())
        throw wrong_usage("--raw messages of several --senders have one size");
}

} // namespace

options read_options(int argc, char** argv)
{
    options o;
    argument_list next{argc, argv};
    std::map<std::string_view, std::function<void()>> const known{
        {"--url", [&] { o.url = next.value(); }},
        {"--mode",
         [&] {
             o.mode = next.one_of<mode>({{"echo", mode::echo},
                                         {"broadcast", mode::broadcast},
                                         {"idle", mode::idle},
                                         {"churn", mode::churn},
                                         {"handshake", mode::handshake}});
         }},
        {"--connections", [&] { o.connections = next.whole<unsigned>(1, 1e6); }},
        {"--in-flight", [&] { o.in_flight = next.whole<unsigned>(1, 65536); }},
        {"--rate", [&] { o.rate = next.number(0.001, 1e8); }},
        {"--senders",
         [&] {
             bool const all = next.at + 1 < argc && std::string_view(argv[next.at + 1]) == "all";
             o.senders = all ? (++next.at, all_of_them) : next.whole<unsigned>(1, 1e6);
         }},
        {"--size", [&] { o.size = next.whole<std::size_t>(0, largest_message); }},
        {"--sizes", [&] { o.sizes_file = next.value(); }},
        {"--text", [&] { o.text = true; }},
        {"--binary", [&] { o.text = false; }},
        {"--deflate",
         [&] {
             o.deflate = true;
             o.takeover = next.one_of<bool>({{"fresh", false}, {"takeover", true}});
         }},
        {"--touch", [&] { o.touch = true; }},
        {"--raw", [&] { o.raw = true; }},
        {"--seconds", [&] { o.seconds = next.number(0.01, 3600); }},
        {"--warmup", [&] { o.warmup = next.number(0, 3600); }},
        {"--server-pid", [&] { o.server_pid = next.whole<int>(1, 1 << 30); }},
        {"--json", [&] { o.json = next.value(); }},
        {"--quiet", [&] { o.quiet = true; }},
        {"--engine",
         [&] {
             using wring::engine_kind;
             o.engine = next.one_of<engine_kind>(
                 {{"auto", engine_kind::automatic}, {"uring", engine_kind::uring}, {"asio", engine_kind::asio}});
         }},
        {"--help",
         [&] {
             std::printf("usage: %s %s\n", argv[0], help());
             std::exit(0);
         }},
    };
    for (next.at = 1; next.at < argc; ++next.at) {
        auto const found = known.find(argv[next.at]);
        if (found == known.end())
            throw wrong_usage(std::string("unknown option ") + argv[next.at] + "; --help lists them");
        found->second();
    }
    if (o.senders == all_of_them)
        o.senders = o.connections;
    if (!o.sizes_file.empty()) {
        std::ifstream file(o.sizes_file);
        if (!file)
            throw failure("cannot read " + o.sizes_file);
        o.sizes = read_sizes(file, std::filesystem::path(o.sizes_file).filename());
    }
    parse_url(o);
    check(o);
    return o;
}

} // namespace load
