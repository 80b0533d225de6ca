// SPDX-License-Identifier: BSL-1.0
#include "proto/mask.hpp"

#include "bytes.hpp"
#include "catch.hpp"

#include <algorithm>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

using namespace wring::proto;
using namespace wring::test;

namespace {

constexpr mask_key key{0x37, 0xFA, 0x21, 0x3D};

byte_string pattern(std::size_t size)
{
    byte_string b(size);
    for (std::size_t i = 0; i < size; ++i)
        b[i] = static_cast<std::byte>((i * 7 + 13) & 0xFF);
    return b;
}

// RFC 6455 section 5.3, word for word.
byte_string reference(byte_string b, std::size_t offset)
{
    for (std::size_t i = 0; i < b.size(); ++i)
        b[i] ^= static_cast<std::byte>(key[(i + offset) % 4]);
    return b;
}

// For each alignment of both sides and each length: in place and copied, and not a byte outside touched.
unsigned mismatches(detail::mask_kernel kernel)
{
    unsigned wrong = 0;
    for (std::size_t size = 0; size <= 300; ++size)
        for (std::size_t offset = 0; offset < 4; ++offset) {
            auto const plain = pattern(size);
            auto const expected = reference(plain, offset);
            auto const rotated = detail::rotated_key(key, offset);
            for (std::size_t at = 0; at < 32; at += size < 80 ? 1 : 5) {
                byte_string room(size + 96, std::byte{0xEE});
                std::copy(plain.begin(), plain.end(), room.begin() + static_cast<std::ptrdiff_t>(at));
                kernel(room.data() + at, room.data() + at, size, rotated);
                bool good = std::equal(expected.begin(), expected.end(), room.data() + at);
                good = good && std::all_of(room.data(), room.data() + at, [](auto b) { return b == std::byte{0xEE}; });
                good = good && std::all_of(room.data() + at + size, room.data() + room.size(),
                                           [](auto b) { return b == std::byte{0xEE}; });
                byte_string copy(size + 64, std::byte{0xEE});
                kernel(copy.data() + (31 - at), plain.data(), size, rotated);
                good = good && std::equal(expected.begin(), expected.end(), copy.data() + (31 - at));
                wrong += good ? 0 : 1;
            }
        }
    return wrong;
}

} // namespace

TEST_CASE("the scalar mask equals the reference at all lengths, offsets and alignments", "[proto][mask]")
{
    CHECK(mismatches(&detail::mask_words) == 0);
}

TEST_CASE("the vector mask equals the reference at all lengths, offsets and alignments", "[proto][mask]")
{
    CHECK(mismatches(&detail::mask_vector) == 0);
}

#if defined(__x86_64__)
TEST_CASE("the AVX2 mask equals the reference at all lengths, offsets and alignments", "[proto][mask]")
{
    if (!detail::have_avx2()) {
        WARN("this processor has no AVX2");
        return;
    }
    CHECK(mismatches(&detail::mask_avx2) == 0);
}
#endif

TEST_CASE("mask and mask_copy choose a variant that is right at any size", "[proto][mask]")
{
    unsigned wrong = 0;
    for (std::size_t size :
         {0u, 1u, 3u, 4u, 7u, 8u, 15u, 16u, 17u, 31u, 32u, 33u, 63u, 64u, 127u, 128u, 129u, 1000u, 65536u, 65537u})
        for (std::uint64_t offset : {0ull, 1ull, 2ull, 3ull, 4ull, 0x100000001ull, ~0ull}) {
            auto const plain = pattern(size);
            auto const expected = reference(plain, static_cast<std::size_t>(offset % 4));
            auto data = plain;
            mask(data, key, offset);
            wrong += data == expected ? 0 : 1;
            byte_string copy(size);
            mask_copy(copy.data(), plain, key, offset);
            wrong += copy == expected ? 0 : 1;
            mask(data, key, offset);
            wrong += data == plain ? 0 : 1;
        }
    CHECK(wrong == 0);
}

TEST_CASE("a payload masked in pieces is the payload masked whole", "[proto][mask]")
{
    auto const plain = pattern(500);
    auto const expected = reference(plain, 0);
    unsigned wrong = 0;
    for (std::size_t cut = 0; cut <= plain.size(); ++cut) {
        auto data = plain;
        mask(std::span{data}.first(cut), key, 0);
        mask(std::span{data}.subspan(cut), key, cut);
        wrong += data == expected ? 0 : 1;
    }
    CHECK(wrong == 0);
}

#if defined(__x86_64__)
namespace {

// Whether a wide register's upper half is in use, by what the processor would have to save (XGETBV of 1).
__attribute__((target("xsave"))) bool upper_halves_in_use() noexcept
{
    return (__builtin_ia32_xgetbv(1) & 4) != 0;
}

__attribute__((target("avx2"))) void clear_upper_halves() noexcept
{
    __builtin_ia32_vzeroupper();
}

__attribute__((noinline)) void use_upper_halves() noexcept
{
    asm volatile("vpcmpeqd %%ymm0, %%ymm0, %%ymm0" ::: "xmm0");
}

// Where it says so at all: few processors do not, nor do some emulators.
bool can_tell() noexcept
{
    unsigned a = 0, b = 0, c = 0, d = 0;
    if (!detail::have_avx2() || !__get_cpuid_count(0xD, 1, &a, &b, &c, &d) || (a & 4) == 0) return false;
    use_upper_halves();
    bool const in_use = upper_halves_in_use();
    clear_upper_halves();
    return in_use && !upper_halves_in_use();
}

} // namespace

TEST_CASE("no kernel leaves the upper halves of registers in use, which makes all that follows slow", "[proto][mask]")
{
    if (!can_tell()) return;
    for (std::size_t size : {0U, 16U, 100U, 128U, 200U, 1000U, 100'000U}) {
        INFO(size << " bytes");
        auto bytes = pattern(size);
        detail::mask_avx2(bytes.data(), bytes.data(), size, 1);
        bool const after_kernel = upper_halves_in_use();
        mask(bytes, key);
        bool const after_mask = upper_halves_in_use();
        CHECK_FALSE(after_kernel);
        CHECK_FALSE(after_mask);
    }
}
#endif
