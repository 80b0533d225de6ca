// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <wring/loop.hpp>

#include <algorithm>
#include <cstdint>

namespace wring::detail {

/// Delays that grow by a factor, each drawn between 0 and its bound ("full jitter"). Whatever it is given, the bounds
/// stay between 0 and `most`.
class backoff
{
public:
    backoff(duration least, duration most, double factor) noexcept :
        least_(std::clamp(least, duration::zero(), std::max(most, duration::zero()))),
        most_(std::max(most, duration::zero())), factor_(factor >= 1 ? factor : 1), bound_(least_)
    {}

    /// The next delay; `random` is 64 random bits.
    [[nodiscard]] duration next(std::uint64_t random) noexcept
    {
        auto const share = static_cast<double>(random >> 11) * 0x1p-53; // below 1
        auto const drawn = static_cast<double>(bound_.count()) * share;
        auto const grown = static_cast<double>(bound_.count()) * factor_;
        bound_ = grown < static_cast<double>(most_.count()) ? duration(static_cast<duration::rep>(grown)) : most_;
        return duration(static_cast<duration::rep>(drawn));
    }

    void reset() noexcept { bound_ = least_; }
    [[nodiscard]] duration bound() const noexcept { return bound_; }

private:
    duration least_;
    duration most_;
    double factor_;
    duration bound_;
};

} // namespace wring::detail
