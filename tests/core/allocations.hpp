// SPDX-License-Identifier: BSL-1.0
// Counts what the library and the test take from the heap. Calls of malloc and its kin are counted where code of this
// program makes them (the linker's --wrap), those of operator new wherever they are made, in libstdc++ too. Under a
// sanitizer, which has operators of its own, the latter as the former.
#pragma once

#include <atomic>
#include <cstddef>

namespace wring::test {

extern std::atomic<std::size_t> mallocs; ///< and calloc, realloc, aligned_alloc, memalign, posix_memalign
extern std::atomic<std::size_t> news;    ///< every form of operator new
extern std::atomic<bool> malloc_fails;   ///< while set, every such malloc fails

} // namespace wring::test
