// SPDX-License-Identifier: BSL-1.0
// The command lines of the examples, and what they have in common.
#pragma once

#include <wring/wring.hpp>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <getopt.h>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

struct command_line
{
    std::vector<std::string> bind;
    wring::run_options run;
    wring::ws::upgrade_options ws; // of each connection
    std::string trusted;           // proxies, of server::trust_proxies
};

/// What the options ask for, for as long as the program runs. Where it can't be had the program ends and says why.
inline wring::tls::context const* keep_tls(wring::result<wring::tls::context> asked_for)
{
    static auto const kept = std::move(asked_for);
    if (!kept) {
        std::fprintf(stderr, "can't speak TLS: %s\n", kept.error().message().c_str());
        std::exit(1);
    }
    return &*kept;
}

enum class speaks { tcp, websocket, http };

/// Reads the options of an example server. Ends the program on --help (0) and on bad usage (2).
inline command_line parse_command_line(int argc, char** argv, char const* about, speaks protocol)
{
    bool const websocket = protocol != speaks::tcp;
    auto usage = [&](std::FILE* to) {
        std::fprintf(to,
                     "usage: %s [--bind HOST:PORT]... [--threads N] [--engine auto|uring|asio]%s\n\n%s\n\n"
                     "  --bind HOST:PORT  where to listen; may repeat; port 0 lets the system choose;\n"
                     "                    unix:/path or unix:@name for a Unix socket (default 127.0.0.1:9001)\n"
                     "  --threads N       event loops, each on a thread of its own (default 1; 0: one per processor)\n"
                     "  --engine NAME     auto, uring or asio (default auto: io_uring where it works, else epoll)\n"
                     "%s%s"
                     "  --help            this text\n",
                     argv[0], websocket ? " [OPTION]..." : "", about,
                     !websocket ? "" :
                     "  --tls-cert FILE   the server's certificate and its chain (PEM): then wss:// is spoken\n"
                     "  --tls-key FILE    its private key; SIGHUP reads both files again\n"
                     "  --deflate         compress messages where the client can (permessage-deflate)\n"
                     "  --takeover        the same, with windows that are kept, so small messages become smaller too\n"
                     "  --max-message N   bytes of a message at most (default 1048576; 0: no limit)\n"
                     "  --max-fragments N frames of a message at most (default 1024; 0: no limit)\n"
                     "  --subprotocol NAME  picked if the client offers it; may repeat, preferred first\n",
                     protocol != speaks::http ? "" :
                     "  --trust-proxies LIST  whose PROXY headers to believe: addresses, networks, unix\n");
    };
    auto refuse = [&](char const* what, char const* value) {
        std::fprintf(stderr, "%s: %s: %s\n\n", argv[0], what, value);
        usage(stderr);
        std::exit(2);
    };
    auto number = [&](char const* what, unsigned long most) {
        char* end = nullptr;
        unsigned long const n = std::strtoul(optarg, &end, 10);
        if (end == optarg || *end || n > most || *optarg == '-')
            refuse(what, optarg);
        return static_cast<unsigned>(n);
    };
    option const known[] = {{"bind", required_argument, nullptr, 'b'},
                            {"threads", required_argument, nullptr, 't'},
                            {"engine", required_argument, nullptr, 'e'},
                            {"help", no_argument, nullptr, 'h'},
                            {websocket ? "tls-cert" : nullptr, required_argument, nullptr, 'c'}, // null: the last one
                            {"tls-key", required_argument, nullptr, 'k'},
                            {"deflate", no_argument, nullptr, 'd'},
                            {"takeover", no_argument, nullptr, 'o'},
                            {"max-message", required_argument, nullptr, 'm'},
                            {"max-fragments", required_argument, nullptr, 'f'},
                            {"subprotocol", required_argument, nullptr, 's'},
                            {protocol == speaks::http ? "trust-proxies" : nullptr, required_argument, nullptr, 'p'},
                            {}};
    static std::string subprotocols; // the options are views of it
    std::string cert, key;
    command_line options;
    for (int c = 0; (c = getopt_long(argc, argv, "", known, nullptr)) != -1;) {
        switch (c) {
        case 'b': options.bind.emplace_back(optarg); break;
        case 't': {
            unsigned const n = number("not a number of threads", 1024);
            options.run.threads = n ? n : std::max(1U, std::thread::hardware_concurrency());
            break;
        }
        case 'e':
            if (auto const engine = wring::parse_engine(optarg))
                options.run.engine = *engine;
            else
                refuse("not an engine", optarg);
            break;
        case 'c': cert = optarg; break;
        case 'k': key = optarg; break;
        case 'd': options.ws.deflate.on = true; break;
        case 'o':
            options.ws.deflate = {.on = true, .server_takeover = true, .client_takeover = true, .threshold = 32};
            break;
        case 'm': options.ws.max_message = options.ws.max_frame = number("not a number of bytes", 1UL << 31); break;
        case 'f': options.ws.max_fragments = number("not a number of frames", 1UL << 31); break;
        case 's': subprotocols.append(subprotocols.empty() ? "" : ",").append(optarg); break;
        case 'p': options.trusted = optarg; break;
        case 'h': usage(stdout); std::exit(0);
        default: usage(stderr); std::exit(2);
        }
    }
    if (optind < argc)
        refuse("unexpected argument", argv[optind]);
    if (cert.empty() != key.empty())
        refuse("missing", cert.empty() ? "--tls-cert" : "--tls-key");
    if (!cert.empty())
        options.ws.tls = keep_tls(wring::tls::context::server(cert, key));
    options.ws.subprotocols = subprotocols;
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

/// Reads the files of TLS again on each SIGHUP: new connections use them, open ones go on. On the first loop only.
inline wring::task<> reload_on_hangup(wring::tls::context const* tls)
{
    if (!tls || wring::this_loop().index() != 0)
        co_return;
    wring::signals hangup(SIGHUP);
    while (auto signal = co_await hangup.next()) {
        auto files = *tls;
        auto const done = co_await wring::offload([&] { return files.reload(); });
        std::fprintf(stderr, "certificates: %s\n", done ? "read again" : done.error().message().c_str());
    }
}

/// Sets a server up to listen where the command line says, and to say so in a line for each place.
inline void listen(wring::server& app, command_line const& options)
{
    for (auto const& where : options.bind)
        if (options.ws.tls)
            app.listen(where, *options.ws.tls);
        else
            app.listen(where);
    try {
        app.trust_proxies(options.trusted);
    } catch (std::invalid_argument const& e) {
        std::fprintf(stderr, "--trust-proxies: %s\n", e.what());
        std::exit(2);
    }
    app.on_listening([tls = options.ws.tls](wring::endpoint const& at) { say_listening(at, tls ? "wss://" : "ws://"); });
}

/// Serves on the loop that calls it.
inline wring::task<> serve(wring::server& app, command_line const& options)
{
    wring::scope both;
    both.spawn(reload_on_hangup(options.ws.tls));
    both.spawn(app.serve());
    co_await both.join();
}

inline wring::header parse_header(std::string_view line)
{
    auto const colon = std::min(line.find(':'), line.size());
    auto const value = std::min(line.find_first_not_of(" \t", colon + 1), line.size());
    return {line.substr(0, colon), line.substr(value)};
}

struct client_options
{
    std::string url;
    bool autobahn = false;
    std::string origin;
    std::string subprotocols;
    std::string proxy;
    std::vector<wring::header> headers; // views of the command line
    wring::tls::context const* tls = nullptr; // null: the system's trust
    wring::ws::deflate_options deflate{.on = true};
    std::uint32_t max_redirects = 0;
    bool environment = false; // names the proxy
    bool reconnect = false;
    wring::run_options run;

    /// What connect() takes; views of this.
    [[nodiscard]] wring::ws::connect_options connecting(wring::ws::refusal* refused = nullptr) const
    {
        wring::ws::connect_options o;
        o.subprotocols = subprotocols;
        o.origin = origin;
        o.headers = headers;
        o.tls = o.proxy_tls = tls;
        o.deflate = deflate;
        o.refusal = refused;
        o.max_redirects = max_redirects;
        o.proxy = proxy;
        o.proxy_from_environment = environment;
        return o;
    }
};

/// Reads the client's options. Ends the program on --help (0) and on bad usage (2).
inline client_options parse_client_options(int argc, char** argv)
{
    auto usage = [&](std::FILE* to, int status) {
        std::fprintf(to,
                     "usage: %s URL [OPTION]...\n\n"
                     "Sends each line of standard input to ws://HOST[:PORT]/PATH or wss://..., prints what comes\n"
                     "back, and closes at the end of the input. Exit status: 0 after a clean close, 1 otherwise.\n\n"
                     "  --origin ORIGIN           the page that it claims to come from\n"
                     "  --header 'Name: value'    added to the request; may repeat\n"
                     "  --subprotocol NAME        offered to the server; may repeat\n"
                     "  --ca FILE                 authorities to trust (PEM) in place of the system's\n"
                     "  --insecure-skip-verify    trust whoever answers: for tests only\n"
                     "  --no-deflate              do not offer to compress messages\n"
                     "  --takeover                compress them with reference to those before\n"
                     "  --max-redirects N         follow so many (default 0)\n"
                     "  --proxy URL               http://, https:// or socks5://[USER:PASSWORD@]HOST[:PORT];\n"
                     "                            env: what http_proxy, https_proxy, all_proxy and no_proxy say\n"
                     "  --reconnect               connect again when the connection is lost\n"
                     "  --autobahn                run all cases of the fuzzing server at URL, as the\n"
                     "                            Autobahn|Testsuite has one, and echo what it sends\n"
                     "  --engine NAME             auto, uring or asio (default auto)\n"
                     "  --help                    this text\n",
                     argv[0]);
        std::exit(status);
    };
    option const known[] = {{"origin", required_argument, nullptr, 'o'},
                            {"header", required_argument, nullptr, 'H'},
                            {"subprotocol", required_argument, nullptr, 's'},
                            {"ca", required_argument, nullptr, 'a'},
                            {"insecure-skip-verify", no_argument, nullptr, 'i'},
                            {"no-deflate", no_argument, nullptr, 'n'},
                            {"takeover", no_argument, nullptr, 'k'},
                            {"max-redirects", required_argument, nullptr, 'm'},
                            {"proxy", required_argument, nullptr, 'p'},
                            {"reconnect", no_argument, nullptr, 'r'},
                            {"autobahn", no_argument, nullptr, 'A'},
                            {"engine", required_argument, nullptr, 'e'},
                            {"help", no_argument, nullptr, 'h'},
                            {}};
    client_options options;
    wring::tls::client_options trust;
    for (int c = 0; (c = getopt_long(argc, argv, "", known, nullptr)) != -1;) {
        std::string_view const value = optarg ? optarg : "";
        auto const engine = c == 'e' ? wring::parse_engine(value) : wring::engine_kind::automatic;
        if (c == 'h')
            usage(stdout, 0);
        else if (c == 'A')
            options.autobahn = true;
        else if (c == 'o')
            options.origin = value;
        else if (c == 's')
            options.subprotocols.append(options.subprotocols.empty() ? "" : ",").append(value);
        else if (c == 'H' && value.find(':') != value.npos)
            options.headers.push_back(parse_header(value));
        else if (c == 'a')
            trust.ca = value;
        else if (c == 'i')
            trust.dangerously_skip_verification = true;
        else if (c == 'n' || c == 'k')
            options.deflate = {.on = c == 'k', .server_takeover = true, .client_takeover = true, .threshold = 32};
        else if (c == 'm' && !value.empty() && value.size() < 6 && value.find_first_not_of("0123456789") == value.npos)
            options.max_redirects = static_cast<std::uint32_t>(std::stoul(std::string(value)));
        else if (c == 'p' && value == "env")
            options.environment = true;
        else if (c == 'p')
            options.proxy = value;
        else if (c == 'r')
            options.reconnect = true;
        else if (c == 'e' && engine)
            options.run.engine = *engine;
        else
            usage(stderr, 2);
    }
    if (argc - optind != 1)
        usage(stderr, 2);
    options.url = argv[optind];
    if (!trust.ca.empty() || trust.dangerously_skip_verification)
        options.tls = keep_tls(wring::tls::context::client(trust));
    return options;
}
