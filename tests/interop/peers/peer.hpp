// SPDX-License-Identifier: BSL-1.0
// What the peers in C++ have in common: messages, and a line of input after the other. README.md says what the words
// mean.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace peer {

/// The library has no way to do what the line says.
struct cannot : std::runtime_error
{
    using std::runtime_error::runtime_error;
};

/// A message of a line.
struct sample
{
    std::string word;
    std::string data;
    bool text = false;
    bool in_frames = false;

    /// What goes into each frame: one, or four of which the second is empty.
    std::vector<std::string> frames() const
    {
        if (!in_frames)
            return {data};
        auto const third = data.size() / 3;
        return {data.substr(0, third), "", data.substr(third, third), data.substr(2 * third)};
    }
};

struct job
{
    std::string url;
    std::string host;
    std::string port;
    std::string target;
    bool deflate = false;
    bool takeover = false;
    std::vector<sample> messages;
    std::string ending;
};

inline std::string text_of(std::size_t size)
{
    std::string text;
    while (text.size() + 10 <= size)
        text += "a\u00e9\u4e16\U0001f30d";
    return text.append(size - text.size(), 'x');
}

inline std::string bytes_of(std::size_t size)
{
    std::string bytes(size, '\0');
    std::uint32_t state = 1;
    for (char& byte : bytes) {
        state = state * 1103515245 + 12345;
        byte = static_cast<char>(state >> 28);
    }
    return bytes;
}

inline job parse(std::string const& line)
{
    job j;
    std::istringstream words(line);
    words >> j.url;
    auto const authority = j.url.substr(j.url.find("://") + 3);
    auto const slash = authority.find('/');
    auto const colon = authority.find(':');
    j.host = authority.substr(0, colon);
    j.port = authority.substr(colon + 1, slash - colon - 1);
    j.target = authority.substr(slash);
    for (std::string word; words >> word;) {
        auto const end = word.find(':');
        bool const text = word[0] == 't' || word[0] == 'T';
        if (word == "deflate" || word == "takeover") {
            j.deflate = true;
            j.takeover = j.takeover || word == "takeover";
        } else if (end == std::string::npos)
            j.ending = word;
        else {
            auto const size = std::stoul(word.substr(end + 1));
            j.messages.push_back({word, text ? text_of(size) : bytes_of(size), text, word[0] < 'a'});
        }
    }
    return j;
}

inline void say(std::string const& line)
{
    std::printf("%s\n", line.c_str());
    std::fflush(stdout);
}

inline void check(bool good, std::string const& what)
{
    if (!good)
        throw std::runtime_error(what);
}

inline void closed_as_wanted(job const& j, unsigned code, std::string const& reason)
{
    auto const how = std::to_string(code) + " '" + reason + "'";
    bool const good = j.ending == "close" ? how == "1000 'bye'" || how == "1000 ''"
                    : j.ending == "asked" ? how == "4001 'as asked'"
                                          : how == "1001 ''";
    check(good, "closed with " + how);
}

/// `serve` announces its port and never returns; `dial` returns when all was well.
template <class Serve, class Dial>
int main(int argc, char** argv, std::string const& version, Serve serve, Dial dial)
{
    std::string const what = argc == 2 ? argv[1] : "";
    if (what == "version")
        say(version);
    else if (what == "serve")
        serve();
    else if (what == "connect") {
        for (std::string line; std::getline(std::cin, line);) {
            try {
                dial(parse(line));
                say("ok");
            } catch (cannot const& why) {
                say(std::string("cannot: ") + why.what());
            } catch (std::exception const& problem) {
                say(std::string("not ok: ") + problem.what());
            }
        }
    } else {
        std::fprintf(stderr, "usage: %s version|serve|connect\n", argv[0]);
        return 2;
    }
    return 0;
}

} // namespace peer
