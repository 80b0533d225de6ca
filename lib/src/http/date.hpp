// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <ctime>
#include <string>

namespace wring::detail {

/// `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110 section 5.6.7), whatever the locale.
[[nodiscard]] std::string http_date(std::time_t at);

} // namespace wring::detail
