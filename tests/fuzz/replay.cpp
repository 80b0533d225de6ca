// SPDX-License-Identifier: BSL-1.0
//
// Runs each target over its seeds, over what is left of them when they are cut short, and over a few mutations of each;
// one line per target. Built by any compiler, run with all the other tests.
//
// usage: fuzz_replay FOLDER [TARGET]     FOLDER holds TARGET.txt, a seed per line (README.md)
#include "targets.hpp"

#include <cstring>
#include <fstream>
#include <stdexcept>
#include <vector>

namespace {

using wring::fuzz::input;
using bytes = std::vector<std::uint8_t>;

struct target
{
    char const* name;
    void (*run)(input);
    std::size_t mutations; // of each seed
};

constexpr target targets[] = {
    {"request_head", wring::fuzz::fuzz_request_head, 100},
    {"response_head", wring::fuzz::fuzz_response_head, 100},
    {"server_frames", wring::fuzz::fuzz_server_frames, 100},
    {"client_frames", wring::fuzz::fuzz_client_frames, 100},
    {"connection", wring::fuzz::fuzz_connection, 5},
    {"conversation", wring::fuzz::fuzz_conversation, 100},
    {"lists", wring::fuzz::fuzz_lists, 100},
    {"utf8", wring::fuzz::fuzz_utf8, 100},
    {"close_payload", wring::fuzz::fuzz_close_payload, 100},
    {"url", wring::fuzz::fuzz_url, 100},
    {"inflate", wring::fuzz::fuzz_inflate, 30},
    {"deflate", wring::fuzz::fuzz_deflate, 20},
    {"parameters", wring::fuzz::fuzz_parameters, 100},
    {"proxy_header", wring::fuzz::fuzz_proxy_header, 100},
    {"body", wring::fuzz::fuzz_body, 100},
    {"percent", wring::fuzz::fuzz_percent, 100},
};

std::uint8_t digit(char c)
{
    if (c >= '0' && c <= '9') return static_cast<std::uint8_t>(c - '0');
    if (c >= 'a' && c <= 'f') return static_cast<std::uint8_t>(c - 'a' + 10);
    throw std::runtime_error("a \\x in a seed without two hexadecimal digits, in small letters");
}

bytes unescaped(std::string const& line)
{
    bytes seed;
    for (std::size_t i = 0; i < line.size(); ++i) {
        if (line[i] != '\\') {
            seed.push_back(static_cast<std::uint8_t>(line[i]));
            continue;
        }
        switch (line.at(++i)) {
        case 'r':
            seed.push_back('\r');
            break;
        case 'n':
            seed.push_back('\n');
            break;
        case '\\':
            seed.push_back('\\');
            break;
        case 'x':
            seed.push_back(static_cast<std::uint8_t>(digit(line.at(i + 1)) << 4 | digit(line.at(i + 2))));
            i += 2;
            break;
        default:
            throw std::runtime_error("unknown escape in the seed " + line);
        }
    }
    return seed;
}

void mutate(bytes& b, std::uint64_t& state)
{
    auto const random = [&](std::size_t n) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        return static_cast<std::size_t>(state >> 33) % n;
    };
    constexpr std::uint8_t telling[] = {0, 1, 0x7D, 0x7E, 0x7F, 0x80, 0x81, 0x88, 0xFE, 0xFF, '\r', '\n', ' ', ','};
    for (std::size_t n = 1 + random(3); n > 0 && !b.empty(); --n) {
        auto const at = static_cast<std::ptrdiff_t>(random(b.size()));
        switch (random(4)) {
        case 0:
            b[static_cast<std::size_t>(at)] ^= static_cast<std::uint8_t>(1u << random(8));
            break;
        case 1:
            b[static_cast<std::size_t>(at)] = telling[random(sizeof telling)];
            break;
        case 2:
            b.insert(b.begin() + at, telling[random(sizeof telling)]);
            break;
        default:
            b.erase(b.begin() + at);
        }
    }
}

std::size_t replay(target const& t, std::string const& folder)
{
    std::ifstream file(folder + "/" + t.name + ".txt");
    if (!file) throw std::runtime_error("no seeds of " + std::string(t.name) + " in " + folder);
    std::size_t inputs = 0;
    std::uint64_t state = 1;
    auto const run = [&](bytes const& b) {
        bytes const exact(b); // of its own size on the heap, so that a sanitizer sees a read beyond the end
        t.run(exact);
        ++inputs;
    };
    for (std::string line; std::getline(file, line);) {
        if (line.starts_with('#')) continue;
        bytes const seed = unescaped(line);
        std::size_t const step = t.mutations < 10 ? seed.size() / 4 + 1 : seed.size() / 200 + 1;
        for (std::size_t size = 0; size < seed.size(); size += step)
            run(bytes(seed.begin(), seed.begin() + static_cast<std::ptrdiff_t>(size)));
        run(seed);
        for (std::size_t i = 0; i < t.mutations; ++i) {
            bytes changed = seed;
            mutate(changed, state);
            run(changed);
        }
    }
    return inputs;
}

} // namespace

int main(int argc, char** argv)
{
    if (argc < 2) {
        std::fprintf(stderr, "usage: %s FOLDER [TARGET]\n", argv[0]);
        return 2;
    }
    try {
        for (auto const& t : targets) {
            if (argc > 2 && std::strcmp(argv[2], t.name) != 0) continue;
            std::fprintf(stderr, "%s\n", t.name); // a target that does not hold ends the program
            std::printf("ok - fuzz %s: %zu inputs\n", t.name, replay(t, argv[1]));
            std::fflush(stdout);
        }
    } catch (std::exception const& e) {
        std::fprintf(stderr, "%s\n", e.what());
        return 1;
    }
    return 0;
}
