// SPDX-License-Identifier: BSL-1.0
#include "proto/mask.hpp"

#include <atomic>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <string_view>

namespace wring::proto {
namespace {

#ifdef WRING_ABLATION // as ablation.hpp has it
bool const simd = std::getenv("WRING_WITHOUT") == nullptr || std::getenv("WRING_WITHOUT") != std::string_view("simd");
#else
constexpr bool simd = true;
#endif

template <typename Word>
Word load(std::byte const* from) noexcept
{
    Word w;
    std::memcpy(&w, from, sizeof w);
    return w;
}

template <typename Word>
void store(std::byte* to, Word w) noexcept
{
    std::memcpy(to, &w, sizeof w);
}

std::uint64_t twice(std::uint32_t key) noexcept
{
    return std::uint64_t{key} << 32 | key;
}

// The key as it applies `shift` bytes further on.
std::uint32_t rotate(std::uint32_t key, std::size_t shift) noexcept
{
    auto const bits = 8 * (shift & 3);
    auto const right = std::endian::native == std::endian::little ? bits : 32 - bits;
    return static_cast<std::uint32_t>(twice(key) >> right & 0xFFFFFFFF);
}

// Up to 16 bytes: a word from the front and one from the back, which may overlap. Both are loaded before either is
// stored, so that in place no byte is masked twice.
void mask_short(std::byte* dst, std::byte const* src, std::size_t size, std::uint32_t key) noexcept
{
    if (size >= 8) {
        auto const front = load<std::uint64_t>(src) ^ twice(key);
        auto const back = load<std::uint64_t>(src + size - 8) ^ twice(rotate(key, size - 8));
        store(dst, front);
        store(dst + size - 8, back);
    } else if (size >= 4) {
        auto const front = load<std::uint32_t>(src) ^ key;
        auto const back = load<std::uint32_t>(src + size - 4) ^ rotate(key, size - 4);
        store(dst, front);
        store(dst + size - 4, back);
    } else {
        auto const bytes = std::bit_cast<std::array<std::byte, 4>>(key);
        for (std::size_t i = 0; i < size; ++i)
            dst[i] = src[i] ^ bytes[i];
    }
}

// Vectors of the compiler, which become SSE2, NEON or AVX2 registers.
using vector16 = std::uint32_t __attribute__((vector_size(16)));
using vector32 = std::uint32_t __attribute__((vector_size(32)));

#if defined(__x86_64__)
constexpr std::size_t small = 128; // below this the wider registers do not pay for the indirect call

void choose(std::byte* dst, std::byte const* src, std::size_t size, std::uint32_t key) noexcept;

// Constant initialised, so that it works before main() too. Threads that race store the same value.
constinit std::atomic<detail::mask_kernel> kernel{&choose};

void choose(std::byte* dst, std::byte const* src, std::size_t size, std::uint32_t key) noexcept
{
    auto const best = detail::have_avx2() ? &detail::mask_avx2 : &detail::mask_vector;
    kernel.store(best, std::memory_order_relaxed);
    best(dst, src, size, key);
}
#endif

void run(std::byte* dst, std::byte const* src, std::size_t size, std::uint32_t key) noexcept
{
    if (size <= 16) return mask_short(dst, src, size, key);
    if (!simd) return detail::mask_words(dst, src, size, key);
#if defined(__x86_64__)
    if (size >= small) return kernel.load(std::memory_order_relaxed)(dst, src, size, key);
#endif
    detail::mask_vector(dst, src, size, key);
}

} // namespace

namespace detail {

std::uint32_t rotated_key(mask_key key, std::uint64_t offset) noexcept
{
    return rotate(std::bit_cast<std::uint32_t>(key), static_cast<std::size_t>(offset & 3));
}

void mask_words(std::byte* dst, std::byte const* src, std::size_t size, std::uint32_t key) noexcept
{
    auto const key8 = twice(key);
    for (; size > 16; dst += 8, src += 8, size -= 8)
        store(dst, load<std::uint64_t>(src) ^ key8);
    mask_short(dst, src, size, key);
}

void mask_vector(std::byte* dst, std::byte const* src, std::size_t size, std::uint32_t key) noexcept
{
    if (size <= 16) return mask_short(dst, src, size, key);
    // The last ones first, as mask_short() does: what is stored before them overlaps them.
    vector16 const key16{key, key, key, key};
    auto const last_key = rotate(key, size);
    auto const last = load<vector16>(src + size - 16) ^ vector16{last_key, last_key, last_key, last_key};
    std::byte* const last_at = dst + size - 16;
    for (; size >= 80; dst += 64, src += 64, size -= 64) {
        auto const a = load<vector16>(src) ^ key16;
        auto const b = load<vector16>(src + 16) ^ key16;
        auto const c = load<vector16>(src + 32) ^ key16;
        auto const d = load<vector16>(src + 48) ^ key16;
        store(dst, a);
        store(dst + 16, b);
        store(dst + 32, c);
        store(dst + 48, d);
    }
    for (; size > 16; dst += 16, src += 16, size -= 16)
        store(dst, load<vector16>(src) ^ key16);
    store(last_at, last);
}

#if defined(__x86_64__)

// No helper takes or returns a vector32: callers without AVX2 would pass it in another way.
__attribute__((target("avx2"))) void mask_avx2(std::byte* dst, std::byte const* src, std::size_t size,
                                               std::uint32_t key) noexcept
{
    vector32 const key32{key, key, key, key, key, key, key, key};
    for (; size >= 128; dst += 128, src += 128, size -= 128) {
        vector32 a, b, c, d;
        std::memcpy(&a, src, 32);
        std::memcpy(&b, src + 32, 32);
        std::memcpy(&c, src + 64, 32);
        std::memcpy(&d, src + 96, 32);
        a ^= key32;
        b ^= key32;
        c ^= key32;
        d ^= key32;
        std::memcpy(dst, &a, 32);
        std::memcpy(dst + 32, &b, 32);
        std::memcpy(dst + 64, &c, 32);
        std::memcpy(dst + 96, &d, 32);
    }
    // g++ 12 forgets it before a tail call. With the upper halves in use the instructions of SSE that follow are slow, and
    // the system has more to save: a sixth of what an echo of 1 KiB costs with sixteen in flight.
    __builtin_ia32_vzeroupper();
    mask_vector(dst, src, size, key);
}

bool have_avx2() noexcept
{
    return simd && __builtin_cpu_supports("avx2") != 0;
}

#else

bool have_avx2() noexcept
{
    return false;
}

#endif

} // namespace detail

void mask(std::span<std::byte> data, mask_key key, std::uint64_t offset) noexcept
{
    run(data.data(), data.data(), data.size(), detail::rotated_key(key, offset));
}

void mask_copy(std::byte* dst, std::span<std::byte const> src, mask_key key, std::uint64_t offset) noexcept
{
    run(dst, src.data(), src.size(), detail::rotated_key(key, offset));
}

} // namespace wring::proto
