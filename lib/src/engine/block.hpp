// SPDX-License-Identifier: BSL-1.0
// Buffers that bytes are received into: blocks of one size per loop, counted references, recycled.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <span>
#include <utility>

#if defined(__SANITIZE_ADDRESS__)
#define WRING_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WRING_ASAN 1
#endif
#endif
#ifdef WRING_ASAN
#include <sanitizer/asan_interface.h>
#define WRING_POISON(address, size) ASAN_POISON_MEMORY_REGION(address, size)
#define WRING_UNPOISON(address, size) ASAN_UNPOISON_MEMORY_REGION(address, size)
#else
#define WRING_POISON(address, size) ((void)(address), (void)(size))
#define WRING_UNPOISON(address, size) ((void)(address), (void)(size))
#endif

namespace wring::engine {

class block_pool;
class block_ref;

/// A buffer and the range of it that holds unread bytes. References are counted without atomics: a block stays
/// on its loop.
///
/// The bytes are preceded by `headroom`: the tail of an earlier block (a partial frame header or control frame)
/// can be put in front of the bytes, so that parsers always see it in one piece.
struct block
{
    static constexpr std::size_t headroom = 160;

    block* next = nullptr; ///< in a block_queue, or in the pool's free list
    block_pool* pool = nullptr;
    std::byte* begin = nullptr; ///< of the unread bytes
    std::byte* end = nullptr;
    std::uint32_t capacity = 0; ///< bytes behind the headroom
    std::uint32_t references = 0;
    bool growing = false; ///< of pages of its own: see block_pool::take_growing

    [[nodiscard]] std::byte* storage() noexcept { return reinterpret_cast<std::byte*>(this + 1); }
    [[nodiscard]] std::byte* data() noexcept { return storage() + headroom; }
    [[nodiscard]] std::byte* limit() noexcept { return data() + capacity; }
    [[nodiscard]] std::size_t size() const noexcept { return static_cast<std::size_t>(end - begin); }
    [[nodiscard]] std::span<std::byte> bytes() const noexcept { return {begin, end}; }
    [[nodiscard]] bool holds(std::span<std::byte const> b) noexcept
    {
        return std::less_equal<>()(storage(), b.data()) && std::less<>()(b.data(), limit());
    }
};

/// Blocks of one size; those given back are kept for the next taker. Smaller ones, for what waits while it is little, come
/// from the loop's free lists; larger ones are made to measure, and a few of them kept.
class block_pool
{
public:
    explicit block_pool(std::uint32_t capacity) noexcept : capacity_(capacity) {}
    block_pool(block_pool const&) = delete;
    block_pool& operator=(block_pool const&) = delete;
    ~block_pool();

    /// A block with one reference, empty; null where there is no memory.
    [[nodiscard]] block* take() noexcept;
    /// One of at least `capacity` bytes: a small one, where these are few.
    [[nodiscard]] block* take(std::size_t capacity) noexcept;
    /// One of at least `capacity` bytes that grow() can make larger without having it twice meanwhile.
    [[nodiscard]] block* take_growing(std::size_t capacity) noexcept;
    /// Makes room for at least `capacity` bytes; the block may move. False, and nothing done, where it is of another
    /// kind, where others refer to it as well, and where there is no memory.
    [[nodiscard]] bool grow(block_ref& b, std::size_t capacity) noexcept;
    void give_back(block* b) noexcept;

    [[nodiscard]] std::uint32_t capacity() const noexcept { return capacity_; }
    /// Of a small block: with its head 4 KiB.
    static constexpr std::uint32_t small = 4096 - sizeof(block) - block::headroom;
    [[nodiscard]] std::size_t lent() const noexcept { return lent_; }
    [[nodiscard]] std::size_t lent_small() const noexcept { return lent_small_; } ///< of these

private:
    block* make(std::uint32_t capacity) noexcept;
    block* make_small() noexcept;
    block* make_at(void* memory, std::size_t capacity) noexcept;
    block* lend(block* b) noexcept;

    block* free_ = nullptr;
    block* large_ = nullptr; ///< free ones of more than the usual capacity
    std::size_t large_bytes_ = 0;
    std::size_t free_count_ = 0;
    std::size_t lent_ = 0;
    std::size_t lent_small_ = 0;
    std::uint32_t capacity_;
};

inline void release(block* b) noexcept
{
    if (--b->references == 0)
        b->pool->give_back(b);
}

/// One counted reference.
class block_ref
{
public:
    block_ref() noexcept = default;
    /// Takes over a reference.
    explicit block_ref(block* b) noexcept : block_(b) {}
    static block_ref share(block* b) noexcept { return ++b->references, block_ref(b); }
    block_ref(block_ref&& other) noexcept : block_(std::exchange(other.block_, nullptr)) {}
    block_ref& operator=(block_ref&& other) noexcept
    {
        std::swap(block_, other.block_);
        return *this;
    }
    ~block_ref() { reset(); }
    void reset() noexcept
    {
        if (block_)
            wring::engine::release(std::exchange(block_, nullptr));
    }
    [[nodiscard]] block* get() const noexcept { return block_; }
    /// Hands the reference over.
    [[nodiscard]] block* release() noexcept { return std::exchange(block_, nullptr); }
    explicit operator bool() const noexcept { return block_ != nullptr; }

private:
    block* block_ = nullptr;
};

/// Unread bytes of a stream, in order.
class block_queue
{
public:
    block_queue() noexcept = default;
    block_queue(block_queue const&) = delete;
    block_queue& operator=(block_queue const&) = delete;
    ~block_queue() { clear(); }

    [[nodiscard]] bool empty() const noexcept { return !head_; }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    [[nodiscard]] block* front() const noexcept { return head_; }

    /// Takes over `b`. A small one is copied behind the last block's bytes, so that many small packets which nobody
    /// reads do not hold a block each.
    void push(block* b) noexcept;

    /// Copies bytes behind the last ones. False, and some of them may be there, where there is no memory.
    bool append(std::span<std::byte const> bytes, block_pool& pool) noexcept;

    /// Drops `n` bytes of the first block.
    void consume(std::size_t n) noexcept
    {
        head_->begin += n;
        size_ -= n;
        if (head_->begin == head_->end)
            pop();
    }

    /// Puts the first block's bytes in front of the second's, which nobody else may hold. False where there is no
    /// second block or no room.
    bool merge_front() noexcept;

    /// Copies up to out.size() bytes out and drops them.
    std::size_t read(std::span<std::byte> out) noexcept;

    /// Puts bytes back in front; null memory is reported as false and leaves the queue as it was.
    bool unread(std::span<std::byte const> bytes, block_pool& pool) noexcept;

    /// Moves bytes that are few into a small block, so that they hold no buffer while they wait for more.
    void shrink(block_pool& pool) noexcept;

    void clear() noexcept;

private:
    void pop() noexcept;

    block* head_ = nullptr;
    block* tail_ = nullptr;
    std::size_t size_ = 0;
};

} // namespace wring::engine
