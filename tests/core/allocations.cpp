// SPDX-License-Identifier: BSL-1.0
#include "allocations.hpp"

#include <wring/task.hpp>

#include <new>
#include <utility>

namespace wring::test {

std::atomic<std::size_t> mallocs{0};
std::atomic<std::size_t> news{0};
std::atomic<bool> malloc_fails{false};
std::atomic<long> mallocs_left{-1};
std::atomic<bool> new_fails{false};

no_free_frames::no_free_frames()
{
    bool const before = malloc_fails.exchange(true);
    for (std::size_t size = 16; size <= 4096; size += 16)
        try {
            for (;;)
                taken_ = new (detail::frame_allocate(size)) frame{taken_, size};
        } catch (std::bad_alloc const&) { // that was the last one of its size
        }
    malloc_fails = before;
}

no_free_frames::~no_free_frames()
{
    while (taken_) {
        frame* const f = std::exchange(taken_, taken_->next);
        detail::frame_deallocate(f, f->size);
    }
}

} // namespace wring::test

// By the linker's --wrap: the sanitizers have these functions themselves.
extern "C" {
void* __real_malloc(std::size_t size);
void* __wrap_malloc(std::size_t size);
void* __real__Znwm(std::size_t size); // operator new(unsigned long)
void* __wrap__Znwm(std::size_t size);

void* __wrap_malloc(std::size_t size)
{
    ++wring::test::mallocs;
    bool const none = wring::test::mallocs_left >= 0 && wring::test::mallocs_left-- == 0;
    if (none)
        wring::test::mallocs_left = 0;
    return wring::test::malloc_fails || none ? nullptr : __real_malloc(size);
}

void* __wrap__Znwm(std::size_t size)
{
    ++wring::test::news;
    if (wring::test::new_fails)
        throw std::bad_alloc();
    return __real__Znwm(size);
}
}
