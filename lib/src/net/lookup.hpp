// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <wring/endpoint.hpp>

namespace wring::detail {

/// Blocking name resolution: fills `found`, or gives the error.
[[nodiscard]] std::error_code look_up(std::string const& host, std::uint16_t port, std::vector<endpoint>& found);

} // namespace wring::detail
