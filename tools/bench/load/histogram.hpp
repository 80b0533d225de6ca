// SPDX-License-Identifier: BSL-1.0
// A histogram of times in the manner of HdrHistogram: buckets that widen with the value, so any quantile of any number
// of samples is known to less than 1 %, in 40 KiB.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <vector>

namespace load {

class histogram
{
public:
    void add(std::uint64_t value) noexcept
    {
        ++counts_[index(value)];
        ++total_;
        sum_ += static_cast<double>(value);
        max_ = std::max(max_, value);
    }

    [[nodiscard]] std::uint64_t count() const noexcept { return total_; }
    [[nodiscard]] std::uint64_t max() const noexcept { return max_; }
    [[nodiscard]] double mean() const noexcept { return total_ ? sum_ / static_cast<double>(total_) : 0; }

    /// The value that a share `q` of the samples does not exceed: never too low, and less than 1 % too high.
    [[nodiscard]] std::uint64_t quantile(double q) const noexcept
    {
        auto const wanted = static_cast<std::uint64_t>(std::ceil(q * static_cast<double>(total_)));
        std::uint64_t seen = 0;
        for (std::size_t i = 0; i < counts_.size() && seen < total_; ++i)
            if ((seen += counts_[i]) >= std::max<std::uint64_t>(wanted, 1))
                return std::min(highest(i), max_);
        return max_;
    }

    struct point
    {
        double quantile;
        std::uint64_t value;
    };

    /// The curve of all quantiles, with as many points in each half of what is left up to the maximum.
    [[nodiscard]] std::vector<point> curve(unsigned points_per_half = 5) const
    {
        std::vector<point> out;
        for (unsigned i = 0; total_ > 0; ++i) {
            double const rest = std::exp2(-static_cast<double>(i) / points_per_half);
            if (rest * static_cast<double>(total_) < 1)
                break;
            out.push_back({1 - rest, quantile(1 - rest)});
        }
        out.push_back({1, max_});
        return out;
    }

private:
    static constexpr unsigned bits = 7; // buckets for each power of two: 2^bits, so one is 1/128 of its value wide
    static constexpr std::uint64_t steps = 1U << bits;
    static constexpr std::size_t buckets = steps * (42 - bits); // up to 2^41 ns, half an hour

    static std::size_t index(std::uint64_t v) noexcept
    {
        if (v < 2 * steps)
            return v;
        auto const shift = static_cast<unsigned>(std::bit_width(v)) - (bits + 1);
        return std::min<std::size_t>(shift * steps + (v >> shift), buckets - 1);
    }
    static std::uint64_t highest(std::size_t i) noexcept
    {
        if (i == buckets - 1)
            return UINT64_MAX;
        if (i < 2 * steps)
            return i;
        auto const shift = i / steps - 1;
        return ((i - shift * steps + 1) << shift) - 1;
    }

    std::array<std::uint64_t, buckets> counts_{};
    std::uint64_t total_ = 0;
    std::uint64_t max_ = 0;
    double sum_ = 0;
};

} // namespace load
