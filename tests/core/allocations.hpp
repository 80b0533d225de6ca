// SPDX-License-Identifier: BSL-1.0
// Counts the library's calls of malloc (the program is linked with --wrap=malloc), and everybody's of operator new.
#pragma once

#include <atomic>
#include <cstddef>

namespace wring::test {

extern std::atomic<std::size_t> mallocs;
extern std::atomic<std::size_t> news;
extern std::atomic<bool> malloc_fails; ///< while set, every malloc of the library fails

} // namespace wring::test
