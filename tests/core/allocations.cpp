// SPDX-License-Identifier: BSL-1.0
#include "allocations.hpp"

namespace wring::test {

std::atomic<std::size_t> mallocs{0};
std::atomic<std::size_t> news{0};
std::atomic<bool> malloc_fails{false};

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
    return wring::test::malloc_fails ? nullptr : __real_malloc(size);
}

void* __wrap__Znwm(std::size_t size)
{
    ++wring::test::news;
    return __real__Znwm(size);
}
}
