// SPDX-License-Identifier: BSL-1.0
// What the programs behind the documents share: a check, a way to run two sides in one program, and a way to try a
// server that is shown whole, with its main().
#pragma once

#include <wring/wring.hpp>

#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>
#include <sys/socket.h>
#include <sys/un.h>
#include <thread>
#include <unistd.h>

namespace docs {

/// Ends the program with status 1 where what a page promises does not hold.
inline void expect(bool good, char const* what)
{
    if (good)
        return;
    std::fflush(stdout);
    std::fprintf(stderr, "not as the page says: %s\n", what);
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

/// What Ctrl-C does, once: a second one would end the program at once.
inline void press_ctrl_c()
{
    static std::atomic<bool> pressed{false};
    if (!pressed.exchange(true))
        ::kill(::getpid(), SIGINT);
}

/// Runs a server program that takes where to listen as its argument, and a client of it on another thread; then stops
/// the program.
inline int try_server(int (*program)(int, char**), wring::task<> (*client)(std::string url))
{
    std::string folder = (std::filesystem::temp_directory_path() / "wring-XXXXXX").string();
    expect(::mkdtemp(folder.data()) != nullptr, "a temporary folder can be made");
    std::string const path = folder + "/socket";
    std::string name = "server";
    std::string where = "unix:" + path;
    int client_status = 1;
    std::thread other([&] {
        for (int i = 0; i < 3000 && !is_served(path); ++i)
            std::this_thread::sleep_for(std::chrono::milliseconds(10));
        wring::run_options options;
        options.handle_signals = false;
        client_status = wring::run(client("ws+unix:" + path + ":/"), options);
        press_ctrl_c();
    });
    char* arguments[] = {name.data(), where.data(), nullptr};
    int const status = program(2, arguments);
    other.join();
    std::filesystem::remove_all(folder);
    return status != 0 ? status : client_status;
}

} // namespace docs
