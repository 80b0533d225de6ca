// SPDX-License-Identifier: BSL-1.0
// What the programs behind the documents share: a check, a way to run two sides in one program, and a way to try a
// server that is shown whole, with its main().
#pragma once

#include <wring/wring.hpp>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <utility>

namespace docs {

inline pid_t server = 0; ///< in a client of try_server(): the server's process

/// In a client of try_server(): what Ctrl-C does to the server, once. A second one would end it at once.
inline void press_ctrl_c()
{
    if (pid_t const process = std::exchange(server, 0))
        ::kill(process, SIGINT);
}

/// Ends the program with status 1 where what a page promises does not hold.
inline void expect(bool good, char const* what)
{
    if (good)
        return;
    std::fflush(stdout);
    std::fprintf(stderr, "not as the page says: %s\n", what);
    press_ctrl_c();
    std::_Exit(1);
}

/// Runs `root`, with a limit, so that a test that hangs ends.
inline int run_in_time(wring::task<> root)
{
    return wring::run([](wring::task<> body) -> wring::task<> {
        auto const done = co_await wring::timeout(std::chrono::seconds(30), std::move(body));
        expect(done.has_value(), "the program ends by itself");
    }(std::move(root)));
}

/// Whether somebody listens on a Unix socket.
inline bool is_served(std::string const& path)
{
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    expect(path.size() < sizeof address.sun_path, "the path fits in a socket's address");
    std::memcpy(address.sun_path, path.c_str(), path.size());
    int const fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool const served = ::connect(fd, reinterpret_cast<sockaddr const*>(&address), sizeof address) == 0;
    ::close(fd);
    return served;
}

/// Runs a server program that takes where to listen as its argument, and a client of it in a process of its own; then
/// stops the program.
inline int try_server(int (*program)(int, char**), wring::task<> (*client)(std::string url))
{
    std::string folder = (std::filesystem::temp_directory_path() / "wring-XXXXXX").string();
    expect(::mkdtemp(folder.data()) != nullptr, "a temporary folder can be made");
    std::string const path = folder + "/socket";
    pid_t const self = ::getpid();
    pid_t const other = ::fork();
    expect(other >= 0, "a process can be started");
    if (other == 0) {
        server = self;
        for (int i = 0; i < 3000 && !is_served(path); ++i)
            std::this_thread::sleep_for(std::chrono::milliseconds(10));
        int const status = run_in_time(client("ws+unix:" + path + ":/"));
        press_ctrl_c();
        std::_Exit(status);
    }
    std::string name = "server";
    std::string where = "unix:" + path;
    char* arguments[] = {name.data(), where.data(), nullptr};
    int const status = program(2, arguments);
    int client_status = 1;
    expect(::waitpid(other, &client_status, 0) == other, "the client ends");
    std::filesystem::remove_all(folder);
    return status != 0 || client_status != 0 ? 1 : 0;
}

} // namespace docs
