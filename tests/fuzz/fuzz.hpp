// SPDX-License-Identifier: BSL-1.0
//
// What the fuzz targets share. A target is a function that takes any bytes and ends the program where an invariant does
// not hold. README.md says how they are run.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <source_location>
#include <span>
#include <string>
#include <string_view>

namespace wring::fuzz {

using input = std::span<std::uint8_t const>;

inline void require(bool holds, char const* invariant,
                    std::source_location where = std::source_location::current()) noexcept
{
    if (holds) return;
    std::fprintf(stderr, "%s:%u: does not hold: %s\n", where.file_name(), static_cast<unsigned>(where.line()),
                 invariant);
    std::abort();
}

// Takes an input apart from its front: first the choices, then what is left. An input that has ended gives zeros.
class reader
{
public:
    explicit reader(input in) noexcept : left_(in) {}

    std::uint8_t byte() noexcept
    {
        if (left_.empty()) return 0;
        auto const b = left_.front();
        left_ = left_.subspan(1);
        return b;
    }
    std::size_t below(std::size_t n) noexcept { return byte() % n; }
    [[nodiscard]] input rest() const noexcept { return left_; }
    [[nodiscard]] bool empty() const noexcept { return left_.empty(); }

private:
    input left_;
};

inline std::string_view as_text(input in) noexcept
{
    return {reinterpret_cast<char const*>(in.data()), in.size()};
}

// How an input is cut into pieces: 0 not at all, 1 at each byte, others at places that the number decides.
class cutter
{
public:
    explicit cutter(std::uint8_t how) noexcept : how_(how), state_(how * 0x9E3779B97F4A7C15u + 1) {}

    [[nodiscard]] std::size_t next(std::size_t left) noexcept
    {
        if (how_ < 2) return how_ == 0 ? left : std::min<std::size_t>(left, 1);
        state_ ^= (state_ & (~std::uint64_t{0} >> 13)) << 13;
        state_ ^= state_ >> 7;
        state_ ^= (state_ & (~std::uint64_t{0} >> 17)) << 17;
        std::size_t const most = how_ % 3 == 0 ? 3 : how_ % 3 == 1 ? 20 : 200;
        return std::min<std::size_t>(left, 1 + state_ % most);
    }

private:
    std::uint8_t how_;
    std::uint64_t state_;
};

} // namespace wring::fuzz
