// SPDX-License-Identifier: BSL-1.0
// Counts the calls of malloc and operator new by the library and the test (the program is linked with --wrap for both).
#pragma once

#include <atomic>
#include <cstddef>

namespace wring::test {

extern std::atomic<std::size_t> mallocs;
extern std::atomic<std::size_t> news;
extern std::atomic<bool> malloc_fails; ///< while set, every such malloc fails

} // namespace wring::test
