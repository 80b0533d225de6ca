// SPDX-License-Identifier: BSL-1.0
// How often the loops of this program have entered the system to submit, to take or to wait for events: whether a loop
// sleeps is seen from how few turns it takes meanwhile. The program is linked with --wrap for each of these calls.
#pragma once

#include <cstddef>

namespace wring::test {

std::size_t waits() noexcept;

} // namespace wring::test
