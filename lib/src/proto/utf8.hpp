// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace wring::proto {

// Validates UTF-8 (RFC 3629) that arrives in pieces. Overlong forms, surrogates and anything above U+10FFFF are refused
// at the earliest byte that rules out every valid continuation, so that a peer is told before the rest arrives.
class utf8_validator
{
public:
    // False as soon as no continuation could make the input valid; the object is then of use only after reset().
    [[nodiscard]] bool feed(std::span<std::byte const> piece) noexcept;

    // Whether the input so far ends at the end of a character.
    [[nodiscard]] bool complete() const noexcept { return state_ == initial; }

    void reset() noexcept { state_ = initial; }

    // How utf8.cpp encodes the state between two characters.
    static constexpr std::uint8_t initial = 6;

private:
    std::uint8_t state_ = initial;
};

// Whether `text` is valid and complete.
[[nodiscard]] bool valid_utf8(std::span<std::byte const> text) noexcept;

} // namespace wring::proto
