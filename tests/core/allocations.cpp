// SPDX-License-Identifier: BSL-1.0
#include "allocations.hpp"

#include "catch.hpp"

#include <wring/task.hpp>

#include <algorithm>
#include <cstdlib>
#include <malloc.h>
#include <new>
#include <string>
#include <sys/mman.h>
#include <utility>

namespace wring::test {

namespace {
std::atomic<std::ptrdiff_t> in_use{0}; // what the C library took for itself may be freed here: below zero at times
std::atomic<std::ptrdiff_t> most{0};

void add(std::ptrdiff_t n) noexcept
{
    auto const now = in_use.fetch_add(n) + n;
    auto seen = most.load();
    while (seen < now && !most.compare_exchange_weak(seen, now)) {
    }
}

std::ptrdiff_t size_of(void* block) noexcept
{
    return block ? static_cast<std::ptrdiff_t>(malloc_usable_size(block)) : 0;
}

/// Whether this is one of the calls that fail.
bool refused() noexcept;
} // namespace

std::size_t memory_in_use() noexcept
{
    return static_cast<std::size_t>(in_use.load());
}

std::size_t memory_peak() noexcept
{
    return static_cast<std::size_t>(most.load());
}

void reset_memory_peak() noexcept
{
    most = in_use.load();
}

std::atomic<std::size_t> mallocs{0};
std::atomic<std::size_t> news{0};
std::atomic<bool> malloc_fails{false};
std::atomic<long> mallocs_left{-1};
std::atomic<bool> new_fails{false};

namespace {
bool refused() noexcept
{
    bool const none = mallocs_left >= 0 && mallocs_left-- == 0;
    if (none)
        mallocs_left = 0;
    return malloc_fails || none;
}
} // namespace

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

using namespace wring::test;

#define WRING_COUNTED(result, name, counter, parameters, ...)   \
    extern "C" result __real_##name parameters;                 \
    extern "C" result __wrap_##name parameters;                 \
    extern "C" result __wrap_##name parameters                  \
    {                                                           \
        ++counter;                                              \
        return __real_##name(__VA_ARGS__);                      \
    }

// ---- malloc and its kin: by the linker's --wrap --------------------------------------------------------------------

extern "C" void* __real_malloc(std::size_t size);
extern "C" void* __wrap_malloc(std::size_t size);
extern "C" void* __wrap_malloc(std::size_t size)
{
    ++mallocs;
    void* const block = refused() ? nullptr : __real_malloc(size);
    add(size_of(block));
    return block;
}

extern "C" void* __real_realloc(void* block, std::size_t size);
extern "C" void* __wrap_realloc(void* block, std::size_t size);
extern "C" void* __wrap_realloc(void* block, std::size_t size)
{
    ++mallocs;
    auto const before = size_of(block);
    void* const moved = __real_realloc(block, size);
    if (moved)
        add(size_of(moved) - before);
    return moved;
}

extern "C" void __real_free(void* block);
extern "C" void __wrap_free(void* block);
extern "C" void __wrap_free(void* block)
{
    add(-size_of(block));
    __real_free(block);
}

#define WRING_COUNTED_BLOCK(name, parameters, ...)          \
    extern "C" void* __real_##name parameters;              \
    extern "C" void* __wrap_##name parameters;              \
    extern "C" void* __wrap_##name parameters               \
    {                                                       \
        ++mallocs;                                          \
        void* const block = __real_##name(__VA_ARGS__);     \
        add(size_of(block));                                \
        return block;                                       \
    }

WRING_COUNTED_BLOCK(calloc, (std::size_t count, std::size_t size), count, size)
WRING_COUNTED_BLOCK(aligned_alloc, (std::size_t alignment, std::size_t size), alignment, size)
WRING_COUNTED_BLOCK(memalign, (std::size_t alignment, std::size_t size), alignment, size)

extern "C" int __real_posix_memalign(void** block, std::size_t alignment, std::size_t size);
extern "C" int __wrap_posix_memalign(void** block, std::size_t alignment, std::size_t size);
extern "C" int __wrap_posix_memalign(void** block, std::size_t alignment, std::size_t size)
{
    ++mallocs;
    int const error = __real_posix_memalign(block, alignment, size);
    if (error == 0)
        add(size_of(*block));
    return error;
}

// ---- pages ---------------------------------------------------------------------------------------------------------

extern "C" {
// What sys/mman.h makes of mmap, where file offsets have 64 bits.
void* __real_mmap64(void* at, std::size_t size, int protection, int flags, int fd, off_t offset);
void* __wrap_mmap64(void* at, std::size_t size, int protection, int flags, int fd, off_t offset);
void* __wrap_mmap64(void* at, std::size_t size, int protection, int flags, int fd, off_t offset)
{
    void* const pages = malloc_fails ? MAP_FAILED : __real_mmap64(at, size, protection, flags, fd, offset);
    if (pages != MAP_FAILED)
        add(static_cast<std::ptrdiff_t>(size));
    return pages;
}

void* __real_mremap(void* at, std::size_t size, std::size_t new_size, int flags);
void* __wrap_mremap(void* at, std::size_t size, std::size_t new_size, int flags);
void* __wrap_mremap(void* at, std::size_t size, std::size_t new_size, int flags)
{
    void* const pages = malloc_fails ? MAP_FAILED : __real_mremap(at, size, new_size, flags);
    if (pages != MAP_FAILED)
        add(static_cast<std::ptrdiff_t>(new_size) - static_cast<std::ptrdiff_t>(size));
    return pages;
}

int __real_munmap(void* at, std::size_t size);
int __wrap_munmap(void* at, std::size_t size);
int __wrap_munmap(void* at, std::size_t size)
{
    add(-static_cast<std::ptrdiff_t>(size));
    return __real_munmap(at, size);
}
}

// ---- operator new --------------------------------------------------------------------------------------------------

#ifdef WRING_WRAP_NEW // under a sanitizer: what is replaced it would no longer check

using nothrow = std::nothrow_t const&;
using alignment = std::align_val_t;
extern "C" void* __real__Znwm(std::size_t size);
extern "C" void* __wrap__Znwm(std::size_t size);
extern "C" void* __wrap__Znwm(std::size_t size)
{
    ++news;
    if (new_fails)
        throw std::bad_alloc();
    return __real__Znwm(size);
}
WRING_COUNTED(void*, _Znam, news, (std::size_t size), size)
WRING_COUNTED(void*, _ZnwmRKSt9nothrow_t, news, (std::size_t size, nothrow n), size, n)
WRING_COUNTED(void*, _ZnamRKSt9nothrow_t, news, (std::size_t size, nothrow n), size, n)
WRING_COUNTED(void*, _ZnwmSt11align_val_t, news, (std::size_t size, alignment a), size, a)
WRING_COUNTED(void*, _ZnamSt11align_val_t, news, (std::size_t size, alignment a), size, a)
WRING_COUNTED(void*, _ZnwmSt11align_val_tRKSt9nothrow_t, news, (std::size_t size, alignment a, nothrow n), size, a, n)
WRING_COUNTED(void*, _ZnamSt11align_val_tRKSt9nothrow_t, news, (std::size_t size, alignment a, nothrow n), size, a, n)

#else // the other forms of libstdc++ call these two

void* operator new(std::size_t size)
{
    ++news;
    void* const block = new_fails ? nullptr : __real_malloc(std::max<std::size_t>(size, 1));
    if (!block)
        throw std::bad_alloc();
    return block;
}

void* operator new(std::size_t size, std::align_val_t alignment)
{
    ++news;
    auto const unit = static_cast<std::size_t>(alignment);
    if (void* block = __real_aligned_alloc(unit, (std::max<std::size_t>(size, 1) + unit - 1) / unit * unit))
        return block;
    throw std::bad_alloc();
}

// libstdc++'s own would do; compilers want both of a pair.
void operator delete(void* block) noexcept
{
    __real_free(block);
}
void operator delete(void* block, std::size_t) noexcept
{
    __real_free(block);
}
void operator delete(void* block, std::align_val_t) noexcept
{
    __real_free(block);
}
void operator delete(void* block, std::size_t, std::align_val_t) noexcept
{
    __real_free(block);
}

#endif

// ---- and the test of it --------------------------------------------------------------------------------------------

namespace {

void* volatile kept; // so that no compiler leaves a pair out

template <class F>
std::size_t counted(std::atomic<std::size_t>& counter, F take)
{
    std::size_t const before = counter;
    take();
    return counter - before;
}

} // namespace

TEST_CASE("every way to take memory from the heap is counted", "[allocations]")
{
    auto const freed = [](void* block) {
        kept = block;
        std::free(kept);
    };
    CHECK(counted(mallocs, [&] { freed(std::malloc(10)); }) == 1);
    CHECK(counted(mallocs, [&] { freed(std::calloc(10, 1)); }) == 1);
    CHECK(counted(mallocs, [&] { freed(std::realloc(nullptr, 10)); }) == 1);
    CHECK(counted(mallocs, [&] { freed(std::aligned_alloc(64, 64)); }) == 1);
    CHECK(counted(mallocs, [&] { freed(::memalign(64, 64)); }) == 1);
    CHECK(counted(mallocs, [&] {
              void* block = nullptr;
              if (::posix_memalign(&block, 64, 64) == 0) freed(block);
          }) == 1);

    struct alignas(64) wide
    {
        char bytes[64];
    };
    auto const deleted = [](auto* object) {
        kept = object;
        delete static_cast<decltype(object)>(kept);
    };
    auto const all_deleted = [](auto* objects) {
        kept = objects;
        delete[] static_cast<decltype(objects)>(kept);
    };
    CHECK(counted(news, [&] { deleted(new int); }) == 1);
    CHECK(counted(news, [&] { deleted(new (std::nothrow) int); }) == 1);
    CHECK(counted(news, [&] { deleted(new wide); }) == 1);
    CHECK(counted(news, [&] { deleted(new (std::nothrow) wide); }) == 1);
    CHECK(counted(news, [&] { all_deleted(new int[10]); }) == 1);
    CHECK(counted(news, [&] { all_deleted(new (std::nothrow) int[10]); }) == 1);
    CHECK(counted(news, [&] { all_deleted(new wide[10]); }) == 1);
    CHECK(counted(news, [&] { all_deleted(new (std::nothrow) wide[10]); }) == 1);
#ifndef WRING_WRAP_NEW
    std::string text;
    CHECK(counted(news, [&] { text.append(1000, 'x'); }) == 1); // by code of libstdc++'s
#endif
}
