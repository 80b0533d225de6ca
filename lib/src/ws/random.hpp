// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "proto/mask.hpp"

#include <cstddef>
#include <span>

namespace wring::detail {

/// Fills `out` from the system's generator, through a pool per thread that a forked child does not share.
/// Ends the process where the system has no randomness to give: a predictable mask is no mask (RFC 6455 section 10.3).
void random_bytes(std::span<std::byte> out) noexcept;

/// A fresh key for one frame (RFC 6455 section 5.3).
[[nodiscard]] proto::mask_key fresh_mask() noexcept;

} // namespace wring::detail
