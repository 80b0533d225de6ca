// SPDX-License-Identifier: BSL-1.0
// Sizes of messages: a mixture, as applications send it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <istream>
#include <string>
#include <vector>

namespace load {

inline constexpr std::size_t largest_message = 64 << 20;

struct size_share
{
    std::size_t bytes;
    double weight;
};

/// Reads lines `BYTES WEIGHT`; what follows a # is a comment. Throws failure with `name` and the line.
[[nodiscard]] std::vector<size_share> read_sizes(std::istream& in, std::string const& name);

/// `count` sizes in the proportions of `shares`, as near as whole numbers come, in an order that looks random and is
/// the same each time.
[[nodiscard]] std::vector<std::size_t> draw_sizes(std::vector<size_share> const& shares, std::size_t count);

} // namespace load
