// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace wring::proto {

// The four key bytes in the order they have on the wire.
using mask_key = std::array<std::uint8_t, 4>;

// XORs `data` with the key (RFC 6455 section 5.3); masking and unmasking are the same thing. `offset` is the position
// of data[0] in the frame's payload: a payload may be handled in pieces of any size.
void mask(std::span<std::byte> data, mask_key key, std::uint64_t offset = 0) noexcept;

// The same from `src` into `dst`, which has room for src.size() bytes and is either src itself or disjoint from it.
void mask_copy(std::byte* dst, std::span<std::byte const> src, mask_key key, std::uint64_t offset = 0) noexcept;

// The variants that mask() chooses from, one by one for tests and benchmarks.
namespace detail {

// `key` is the key as four bytes in memory order, already rotated so that its first byte belongs to src[0].
using mask_kernel = void (*)(std::byte* dst, std::byte const* src, std::size_t size, std::uint32_t key) noexcept;

void mask_words(std::byte* dst, std::byte const* src, std::size_t size, std::uint32_t key) noexcept;
void mask_vector(std::byte* dst, std::byte const* src, std::size_t size, std::uint32_t key) noexcept;
#if defined(__x86_64__)
void mask_avx2(std::byte* dst, std::byte const* src, std::size_t size, std::uint32_t key) noexcept;
#endif

// Whether the processor has what mask_avx2 needs.
[[nodiscard]] bool have_avx2() noexcept;

// The key as a kernel wants it.
[[nodiscard]] std::uint32_t rotated_key(mask_key key, std::uint64_t offset) noexcept;

} // namespace detail
} // namespace wring::proto
