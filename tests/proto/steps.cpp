// SPDX-License-Identifier: BSL-1.0
//
// How much is done for a head, counted and not timed: this program and the protocol core in it are compiled with
// -fsanitize-coverage=trace-pc, so that each basic block calls a function, and linked with --wrap for what looks at
// many bytes in one call.
#include "proto/handshake.hpp"

#include "catch.hpp"

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#if defined(__clang__)
#define UNCOUNTED __attribute__((no_sanitize("coverage")))
#else
#define UNCOUNTED __attribute__((no_sanitize_coverage))
#endif

namespace {
// Basic blocks and bytes. Compilers know that memchr changes nothing.
volatile std::uint64_t steps;
} // namespace

extern "C" {

void __sanitizer_cov_trace_pc();
UNCOUNTED void __sanitizer_cov_trace_pc()
{
    steps = steps + 1;
}

#define COUNT_BYTES(result, name, parameters, arguments)                                                               \
    result __real_##name parameters;                                                                                   \
    result __wrap_##name parameters;                                                                                   \
    UNCOUNTED result __wrap_##name parameters                                                                          \
    {                                                                                                                  \
        steps = steps + size;                                                                                          \
        return __real_##name arguments;                                                                                \
    }

COUNT_BYTES(void*, memchr, (void const* bytes, int byte, std::size_t size), (bytes, byte, size))
COUNT_BYTES(void*, memrchr, (void const* bytes, int byte, std::size_t size), (bytes, byte, size))
COUNT_BYTES(int, memcmp, (void const* one, void const* other, std::size_t size), (one, other, size))
COUNT_BYTES(void*, memcpy, (void* to, void const* from, std::size_t size), (to, from, size))
COUNT_BYTES(void*, memmove, (void* to, void const* from, std::size_t size), (to, from, size))

} // extern "C"

using namespace wring::proto;

namespace {

std::string repeated(std::string_view text, std::size_t times)
{
    std::string all;
    for (std::size_t i = 0; i < times; ++i)
        all += text;
    return all;
}

std::string upgrade(std::string const& fields)
{
    return "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
           "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n" +
           fields + "\r\n";
}

// Steps that it takes to read and judge a request that comes in pieces of `piece` bytes.
std::uint64_t steps_for(std::string_view text, std::size_t piece)
{
    std::uint64_t const before = steps;
    head_scanner scanner{head_scanner::kind::request};
    head_scanner::progress p;
    for (std::size_t at = 0; at < text.size() && !p.complete && p.error == errc::ok; at += piece)
        p = scanner.feed(text.substr(at, piece));
    if (p.complete) {
        auto const head = scanner.request(text);
        (void)check_upgrade(head);
        (void)choose_subprotocol(head, "a, b");
    }
    std::uint64_t const taken = steps - before;
    REQUIRE(p.complete);
    return taken;
}

} // namespace

TEST_CASE("steps are counted, in the protocol core and over bytes", "[steps]")
{
    std::string const text(1000, 'x');
    std::uint64_t const before = steps;
    auto const found = std::string_view{text}.find('y');
    std::uint64_t const taken = steps - before;
    CHECK(found == text.npos);
    CHECK(taken >= text.size());
    auto const head = upgrade("");
    CHECK(steps_for(head, head.size()) >= 100);
}

TEST_CASE("CVE-2021-32640, CVE-2020-7662, CVE-2023-43669: B7, reading a head takes steps in proportion to its size, "
          "whole and byte by byte",
          "[steps]")
{
    std::string const name = "Sec-WebSocket-Extensions: ";
    std::function<std::string(std::size_t)> const forms[] = {
        [&](std::size_t n) { return name + "a;b=\"" + repeated("\\c", n / 2) + "\"\r\n"; },
        [&](std::size_t n) { return name + "a;b=\"" + repeated("\\c", n / 2) + "\r\n"; },
        [&](std::size_t n) { return name + "a" + std::string(n, ' ') + "b\r\n"; },
        [&](std::size_t n) { return name + repeated("a;", n / 2) + "\r\n"; },
        [&](std::size_t n) { return name + repeated("a,", n / 2) + "\r\n"; },
        [&](std::size_t n) { return name + repeated("\"", n) + "\r\n"; },
        [](std::size_t n) { return "Sec-WebSocket-Protocol: " + repeated(", ", n / 2) + "\r\n"; },
        [](std::size_t n) { return "Connection: " + repeated("a,", n / 2) + "\r\n"; },
        [](std::size_t n) { return "Cookie: " + repeated("a=b;", n / 4) + "\r\n"; },
        [](std::size_t n) { return "X: " + std::string(n, ' ') + "x" + std::string(n / 4, ' ') + "\r\n"; },
        [](std::size_t n) { return "X: " + std::string(n, 'x') + "\r\n"; },
        [](std::size_t n) { return "X: " + std::string(n, ',') + "\r\n"; },
    };
    for (auto const& form : forms) {
        auto const small = upgrade(form(1700)), large = upgrade(form(12'000));
        INFO(small.substr(150, 40));
        for (std::size_t const piece : {large.size(), std::size_t{1}}) {
            auto const few = steps_for(small, piece), many = steps_for(large, piece);
            INFO(few << " steps for " << small.size() << " bytes, " << many << " for " << large.size());
            CHECK(many * small.size() <= few * large.size() * 5 / 4);
            CHECK(many <= large.size() * 64); // byte by byte each call has its own cost
        }
    }
}
