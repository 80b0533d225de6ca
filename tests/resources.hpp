// SPDX-License-Identifier: BSL-1.0
// What a test's loops and sockets have at hand. With WRING_TEST_TINY=1 it is so little that queues are full and buffers
// too small all the time: short sends, receives without a buffer, completions that overflow, peers that write single
// bytes. A case that counts on sizes of its own has the tag [sizes] and is left out then.
#pragma once

#include <wring/loop.hpp>

#include <cstddef>
#include <cstdlib>
#include <string_view>

namespace wring::test {

inline bool tiny() noexcept
{
    char const* const text = std::getenv("WRING_TEST_TINY");
    return text && std::string_view(text) == "1";
}

/// How much a test moves, of which with so little at hand a part is as telling: each receive brings 64 bytes.
inline std::size_t load(std::size_t usual, std::size_t with_little) noexcept
{
    return tiny() ? with_little : usual;
}

/// What a loop is run with; what a test has chosen itself stays.
inline run_options resources(run_options options = {}) noexcept
{
    if (!tiny())
        return options;
    run_options const usual;
    auto const lower = [](auto& value, auto usual_value, auto tiny_value) {
        if (value == usual_value)
            value = tiny_value;
    };
    lower(options.receive_buffer_size, usual.receive_buffer_size, 64U);
    lower(options.receive_buffers, usual.receive_buffers, 2U);
    lower(options.submission_entries, usual.submission_entries, 4U);
    lower(options.completion_entries, usual.completion_entries, 8U);
    return options;
}

} // namespace wring::test
