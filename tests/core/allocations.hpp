// SPDX-License-Identifier: BSL-1.0
// Counts what the library and the test take from the heap, and refuses it. Calls of malloc and its kin are counted where
// code of this program makes them (the linker's --wrap), those of operator new wherever they are made, in libstdc++ too.
// Under a sanitizer, which has operators of its own, the latter as the former.
#pragma once

#include <atomic>
#include <cstddef>

namespace wring::test {

extern std::atomic<std::size_t> mallocs; ///< and calloc, realloc, aligned_alloc, memalign, posix_memalign
extern std::atomic<std::size_t> news;    ///< every form of operator new
extern std::atomic<bool> malloc_fails;   ///< while set, every such malloc fails
extern std::atomic<long> mallocs_left;   ///< so many succeed, then they fail; negative: no limit
extern std::atomic<bool> new_fails;      ///< while set, every such operator new throws

/// Bytes that malloc, realloc and mmap have given to code of this program and not got back. What operator new takes is
/// not among them.
[[nodiscard]] std::size_t memory_in_use() noexcept;
/// The most that it was since the last reset.
[[nodiscard]] std::size_t memory_peak() noexcept;
void reset_memory_peak() noexcept;

/// Holds all that the free lists of frames have on this thread, so that a frame needs a malloc.
class no_free_frames
{
public:
    no_free_frames();
    no_free_frames(no_free_frames const&) = delete;
    no_free_frames& operator=(no_free_frames const&) = delete;
    ~no_free_frames();

private:
    struct frame
    {
        frame* next;
        std::size_t size;
    };
    frame* taken_ = nullptr;
};

} // namespace wring::test
