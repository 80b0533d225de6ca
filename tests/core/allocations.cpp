// SPDX-License-Identifier: BSL-1.0
#include "allocations.hpp"

#include <cstdlib>
#include <new>

namespace wring::test {

std::atomic<std::size_t> mallocs{0};
std::atomic<std::size_t> news{0};
std::atomic<bool> malloc_fails{false};

} // namespace wring::test

extern "C" {
void* __real_malloc(std::size_t size);
void* __wrap_malloc(std::size_t size);

void* __wrap_malloc(std::size_t size)
{
    ++wring::test::mallocs;
    return wring::test::malloc_fails ? nullptr : __real_malloc(size);
}
}

void* operator new(std::size_t size)
{
    ++wring::test::news;
    if (void* block = __real_malloc(size)) return block;
    throw std::bad_alloc();
}

void* operator new(std::size_t size, std::nothrow_t const&) noexcept
{
    ++wring::test::news;
    return __real_malloc(size);
}

void operator delete(void* block) noexcept
{
    std::free(block);
}

void operator delete(void* block, std::nothrow_t const&) noexcept
{
    std::free(block);
}

void operator delete(void* block, std::size_t) noexcept
{
    std::free(block);
}
