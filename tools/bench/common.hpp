// SPDX-License-Identifier: BSL-1.0
// What the bench's servers and the load generator share. C++17, so that peers that need an older standard can use it.
#pragma once

#include <arpa/inet.h>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string>
#include <string_view>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

namespace bench {

[[noreturn]] inline void die(const std::string& what)
{
    std::fprintf(stderr, "%s: %s\n", program_invocation_short_name, what.c_str());
    std::exit(1);
}

[[noreturn]] inline void die_errno(const std::string& what)
{
    die(what + ": " + std::strerror(errno));
}

[[noreturn]] inline void usage(const char* text)
{
    std::fprintf(stderr, "usage: %s %s\n", program_invocation_short_name, text);
    std::exit(2);
}

// `HOST:PORT`, the host numeric or a name, IPv6 in brackets.
struct host_port
{
    std::string host;
    std::string port;
};

inline host_port split_host_port(std::string_view s)
{
    auto colon = s.rfind(':');
    if (colon == s.npos || colon + 1 == s.size()) die(std::string(s) + " is not HOST:PORT");
    auto host = s.substr(0, colon);
    if (host.size() > 1 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
    return {std::string(host), std::string(s.substr(colon + 1))};
}

struct address
{
    sockaddr_storage storage{};
    socklen_t length = 0;

    const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
    sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
    int family() const { return storage.ss_family; }
};

inline address resolve(const host_port& where)
{
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* list = nullptr;
    if (int e = getaddrinfo(where.host.c_str(), where.port.c_str(), &hints, &list); e != 0)
        die("cannot resolve " + where.host + ":" + where.port + ": " + gai_strerror(e));
    address out;
    std::memcpy(&out.storage, list->ai_addr, list->ai_addrlen);
    out.length = list->ai_addrlen;
    freeaddrinfo(list);
    return out;
}

inline std::string to_string(const address& a)
{
    char host[NI_MAXHOST], port[NI_MAXSERV];
    if (getnameinfo(a.get(), a.length, host, sizeof host, port, sizeof port, NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        return "?";
    std::string out;
    if (a.family() == AF_INET6)
        out.append("[").append(host).append("]");
    else
        out = host;
    return out.append(":").append(port);
}

// As many descriptors as this user may have: a load of 10,000 connections needs them on both sides.
inline rlim_t raise_descriptor_limit(rlim_t wanted = 0)
{
    rlimit lim{};
    getrlimit(RLIMIT_NOFILE, &lim);
    if (wanted > lim.rlim_max) { // root may go beyond the hard limit
        rlimit more{wanted, wanted};
        if (setrlimit(RLIMIT_NOFILE, &more) == 0) return wanted;
    }
    lim.rlim_cur = lim.rlim_max;
    setrlimit(RLIMIT_NOFILE, &lim);
    return lim.rlim_cur;
}

inline void set_nodelay(int fd)
{
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

// The servers hold nothing that must be saved, so a signal ends them at once, with success.
inline void exit_on_signals()
{
    auto handler = [](int) { _exit(0); };
    std::signal(SIGINT, handler);
    std::signal(SIGTERM, handler);
    std::signal(SIGPIPE, SIG_IGN);
}

inline void announce(const char* scheme, const std::string& where)
{
    std::printf("listening on %s://%s\n", scheme, where.c_str());
    std::fflush(stdout);
}

// Listening socket; TCP_NODELAY set here is inherited by every accepted socket, which saves a call per connection.
inline int listen_on(const std::string& where, bool nonblocking)
{
    address a = resolve(split_host_port(where));
    int fd = socket(a.family(), SOCK_STREAM | SOCK_CLOEXEC | (nonblocking ? SOCK_NONBLOCK : 0), 0);
    if (fd < 0) die_errno("socket");
    int one = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    set_nodelay(fd);
    if (bind(fd, a.get(), a.length) != 0) die_errno("cannot bind " + where);
    if (listen(fd, 4096) != 0) die_errno("cannot listen on " + where);
    return fd;
}

inline std::string local_name(int fd)
{
    address a;
    a.length = sizeof a.storage;
    getsockname(fd, a.get(), &a.length);
    return to_string(a);
}

// The options every server here takes.
struct server_options
{
    std::string bind = "127.0.0.1:0";
    bool broadcast = false; // what one connection sends goes to all; else back to it alone
};

// Reads `--name value`; returns the number of arguments eaten, 0 when argv[i] is not one of the common ones.
inline int common_option(server_options& o, int argc, char** argv, int i)
{
    std::string_view name = argv[i];
    if (i + 1 >= argc) return 0;
    std::string_view value = argv[i + 1];
    if (name == "--bind") {
        o.bind = value;
        return 2;
    }
    if (name == "--mode" && (value == "echo" || value == "broadcast")) {
        o.broadcast = value == "broadcast";
        return 2;
    }
    return 0;
}

} // namespace bench
