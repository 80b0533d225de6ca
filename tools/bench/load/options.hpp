// SPDX-License-Identifier: BSL-1.0
// What a run is asked to do.
#pragma once

#include "sizes.hpp"

#include <wring/loop.hpp>

#include <string>
#include <vector>

namespace load {

enum class mode { echo, broadcast, idle, churn, handshake };
[[nodiscard]] char const* to_string(mode m) noexcept;

struct options
{
    std::string url = "ws://127.0.0.1:9001/";
    std::string address; // HOST:PORT, of the URL
    load::mode mode = load::mode::echo;
    unsigned connections = 64;
    unsigned in_flight = 1;
    unsigned senders = 1; // of a broadcast
    double rate = 0;      // messages per second of all; 0: the next one follows a reply
    std::size_t size = 64;
    std::string sizes_file;
    std::vector<size_share> sizes; // empty: all have `size`
    bool text = false;
    bool raw = false;
    bool tls = false;
    bool deflate = false;
    bool takeover = false;
    bool touch = false;
    double seconds = 3;
    double warmup = 1;
    int server_pid = 0;
    std::string json;
    bool quiet = false;
    wring::engine_kind engine = wring::engine_kind::automatic;

    [[nodiscard]] bool opens_again() const noexcept { return mode == mode::churn || mode == mode::handshake; }
    /// Connections that send.
    [[nodiscard]] unsigned sending() const noexcept { return mode == mode::broadcast ? senders : connections; }
};

[[nodiscard]] char const* help() noexcept;

/// Throws wrong_usage, or failure for a file that can't be used. Ends the program after --help.
[[nodiscard]] options read_options(int argc, char** argv);

} // namespace load
