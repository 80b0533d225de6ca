// SPDX-License-Identifier: BSL-1.0
//
// How much is done for a head, counted and not timed: this program and the protocol core in it are compiled with
// -fsanitize-coverage=trace-pc, so that each basic block calls a function, and linked with --wrap for what looks at
// many bytes in one call.
#include "catch.hpp"
#include "heads.hpp"

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
using namespace wring::test;

namespace {

// Steps that it takes to read and judge a request that comes in pieces of `piece` bytes.
std::uint64_t steps_for(std::string_view text, std::size_t piece)
{
    std::uint64_t const before = steps;
    auto const head = read_head(text, piece);
    (void)check_upgrade(head);
    (void)choose_subprotocol(head, "a, b");
    return steps - before;
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
    auto const head = upgrade();
    CHECK(steps_for(head, head.size()) >= 100);
}

TEST_CASE("CVE-2021-32640, CVE-2020-7662, CVE-2023-43669: B7, reading a head takes steps in proportion to its size, "
          "whole and byte by byte",
          "[steps]")
{
    auto const shorter = laborious_heads(2000), longer = laborious_heads(16'000);
    for (std::size_t i = 0; i < longer.size(); ++i) {
        auto const &small = shorter[i].text, &large = longer[i].text;
        INFO(small.substr(140, 40));
        for (std::size_t const piece : {large.size(), std::size_t{1}}) {
            auto const few = steps_for(small, piece), many = steps_for(large, piece);
            INFO(few << " steps for " << small.size() << " bytes, " << many << " for " << large.size());
            CHECK(many * small.size() <= few * large.size() * 5 / 4);
            CHECK(many <= large.size() * 64); // byte by byte each call has its own cost
        }
    }
}
