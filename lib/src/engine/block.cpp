// SPDX-License-Identifier: BSL-1.0
#include "engine/block.hpp"

#include <wring/task.hpp>

#include <algorithm>
#include <cassert>
#include <cstdlib>
#include <limits>
#include <new>
#include <sys/mman.h>
#include <unistd.h>

namespace wring::engine {

namespace {
constexpr std::size_t max_free_bytes = 16 << 20;  // of blocks kept; more go back to the heap
constexpr std::size_t max_large_bytes = 8 << 20;  // the same of larger ones: new pages for each message would cost more
                                                  // than all else that is done with it
constexpr std::uint32_t least_large = 128 << 10; // below, malloc has them at hand
constexpr std::size_t small_size = sizeof(block) + block::headroom + block_pool::small;

/// Bytes of whole pages for a block with at least so many; 0 where that is too large for one.
std::size_t pages_for(std::size_t capacity) noexcept
{
    static std::size_t const page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    if (capacity > std::numeric_limits<std::uint32_t>::max() - 2 * page)
        return 0;
    return (sizeof(block) + block::headroom + capacity + page - 1) / page * page;
}

#ifdef WRING_ASAN // which watches the heap only
void* new_pages(std::size_t size) noexcept { return std::malloc(size); }
void* more_pages(void* pages, std::size_t, std::size_t size) noexcept { return std::realloc(pages, size); }
void free_pages(void* pages, std::size_t) noexcept { std::free(pages); }
#else
void* new_pages(std::size_t size) noexcept
{
    void* const pages = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return pages == MAP_FAILED ? nullptr : pages;
}
void* more_pages(void* pages, std::size_t old_size, std::size_t size) noexcept
{
    void* const moved = ::mremap(pages, old_size, size, MREMAP_MAYMOVE);
    return moved == MAP_FAILED ? nullptr : moved;
}
void free_pages(void* pages, std::size_t size) noexcept { ::munmap(pages, size); }
#endif
}

block_pool::~block_pool()
{
    assert(lent_ == 0 && "blocks outlive their loop");
    for (block** list : {&free_, &large_})
        while (block* b = *list) {
            *list = b->next;
            WRING_UNPOISON(b->storage(), block::headroom + b->capacity);
            std::free(b);
        }
}

block* block_pool::take() noexcept
{
    block* b = free_;
    if (!b)
        return make(capacity_);
    free_ = b->next;
    --free_count_;
    WRING_UNPOISON(b->storage(), block::headroom + b->capacity);
    return lend(b);
}

block* block_pool::take(std::size_t capacity) noexcept
{
    if (capacity <= small && small < capacity_)
        return make_small();
    if (capacity <= capacity_)
        return take();
    constexpr std::size_t most = std::numeric_limits<std::uint32_t>::max();
    if (capacity > most)
        return nullptr;
    for (block** link = &large_; *link; link = &(*link)->next) {
        block* const b = *link;
        if (b->capacity < capacity || b->capacity / 4 > capacity)
            continue;
        *link = b->next;
        large_bytes_ -= b->capacity;
        WRING_UNPOISON(b->storage(), block::headroom + b->capacity);
        return lend(b);
    }
    return make(static_cast<std::uint32_t>(capacity));
}

block* block_pool::make(std::uint32_t capacity) noexcept
{
    void* memory = std::malloc(sizeof(block) + block::headroom + capacity);
    return memory ? make_at(memory, capacity) : nullptr;
}

block* block_pool::make_small() noexcept
{
    try {
        block* const b = make_at(detail::frame_allocate(small_size), small);
        ++lent_small_;
        return b;
    } catch (std::bad_alloc const&) {
        return nullptr;
    }
}

block* block_pool::make_at(void* memory, std::size_t capacity) noexcept
{
    auto* b = new (memory) block;
    b->pool = this;
    b->capacity = static_cast<std::uint32_t>(capacity);
    return lend(b);
}

block* block_pool::take_growing(std::size_t capacity) noexcept
{
    std::size_t const size = pages_for(capacity);
    void* const memory = size == 0 ? nullptr : new_pages(size);
    if (!memory)
        return nullptr;
    block* const b = make_at(memory, size - sizeof(block) - block::headroom);
    b->growing = true;
    return b;
}

bool block_pool::grow(block_ref& ref, std::size_t capacity) noexcept
{
    block* const old = ref.get();
    std::size_t const size = pages_for(capacity);
    if (!old->growing || old->references != 1 || size == 0)
        return false;
    auto const begin = old->begin - old->storage();
    auto const end = old->end - old->storage();
    void* const memory = more_pages(old, pages_for(old->capacity), size);
    if (!memory)
        return false;
    (void)ref.release(); // it is where it was no more
    auto* const b = static_cast<block*>(memory);
    b->capacity = static_cast<std::uint32_t>(size - sizeof(block) - block::headroom);
    b->begin = b->storage() + begin;
    b->end = b->storage() + end;
    ref = block_ref(b);
    return true;
}

block* block_pool::lend(block* b) noexcept
{
    ++lent_;
    b->next = nullptr;
    b->references = 1;
    b->begin = b->end = b->data();
    return b;
}

void block_pool::give_back(block* b) noexcept
{
    --lent_;
    if (b->growing)
        return free_pages(b, pages_for(b->capacity));
    if (b->capacity == small && small < capacity_) {
        --lent_small_;
        return detail::frame_deallocate(b, small_size);
    }
    bool const usual = b->capacity == capacity_;
    bool const larger = b->capacity > std::max(capacity_, least_large) && large_bytes_ + b->capacity <= max_large_bytes;
    if (usual ? free_count_ >= max_free_bytes / capacity_ : !larger) {
        std::free(b);
        return;
    }
    WRING_POISON(b->storage(), block::headroom + b->capacity);
    block*& list = usual ? free_ : large_;
    b->next = list;
    list = b;
    if (usual)
        ++free_count_;
    else
        large_bytes_ += b->capacity;
}

void block_queue::push(block* b) noexcept
{
    std::size_t const n = b->size();
    size_ += n;
    if (tail_ && n <= b->capacity / 4 && n <= static_cast<std::size_t>(tail_->limit() - tail_->end)) {
        std::memcpy(tail_->end, b->begin, n);
        tail_->end += n;
        release(b);
        return;
    }
    b->next = nullptr;
    (tail_ ? tail_->next : head_) = b;
    tail_ = b;
}

bool block_queue::append(std::span<std::byte const> bytes, block_pool& pool) noexcept
{
    while (!bytes.empty()) {
        if (!tail_ || tail_->end == tail_->limit()) {
            block* b = pool.take(std::min<std::size_t>(bytes.size(), pool.capacity()));
            if (!b)
                return false;
            (tail_ ? tail_->next : head_) = b;
            tail_ = b;
        }
        std::size_t const n = std::min(bytes.size(), static_cast<std::size_t>(tail_->limit() - tail_->end));
        std::memcpy(tail_->end, bytes.data(), n);
        tail_->end += n;
        size_ += n;
        bytes = bytes.subspan(n);
    }
    return true;
}

void block_queue::pop() noexcept
{
    block* b = head_;
    head_ = b->next;
    if (!head_)
        tail_ = nullptr;
    release(b);
}

bool block_queue::merge_front() noexcept
{
    block* second = head_ ? head_->next : nullptr;
    if (!second)
        return false;
    // What lies in front of its bytes is written to. Of a block that somebody else holds that may be his: one received
    // directly (engine::descriptor::receive_into) comes behind what its holder has, but then it is the first.
    assert(second->references == 1 && "a block that somebody holds is never behind another");
    std::size_t const n = head_->size();
    if (n > static_cast<std::size_t>(second->begin - second->storage()))
        return false;
    second->begin -= n;
    std::memcpy(second->begin, head_->begin, n);
    pop();
    return true;
}

std::size_t block_queue::read(std::span<std::byte> out) noexcept
{
    std::size_t done = 0;
    while (head_ && done < out.size()) {
        std::size_t const n = std::min(head_->size(), out.size() - done);
        std::memcpy(out.data() + done, head_->begin, n);
        done += n;
        consume(n);
    }
    return done;
}

bool block_queue::unread(std::span<std::byte const> bytes, block_pool& pool) noexcept
{
    // From the back, so that each new first block is in its place.
    block* made = nullptr;
    block* last = nullptr;
    std::size_t left = bytes.size();
    while (left > 0) {
        block* b = pool.take(std::min<std::size_t>(left, pool.capacity()));
        if (!b) {
            while (made)
                release(std::exchange(made, made->next));
            return false;
        }
        std::size_t const n = std::min<std::size_t>(left, b->capacity);
        left -= n;
        std::memcpy(b->data(), bytes.data() + left, n);
        b->end = b->data() + n;
        b->next = made;
        made = b;
        if (!last)
            last = b;
    }
    if (made) {
        last->next = head_;
        if (!tail_)
            tail_ = last;
        head_ = made;
    }
    size_ += bytes.size();
    return true;
}

void block_queue::shrink(block_pool& pool) noexcept
{
    if (!head_ || head_ != tail_ || size_ > block_pool::small || head_->capacity <= block_pool::small)
        return;
    block* const b = pool.take(size_);
    if (!b)
        return;
    std::memcpy(b->begin, head_->begin, size_);
    b->end = b->begin + size_;
    release(head_);
    head_ = tail_ = b;
}

void block_queue::clear() noexcept
{
    while (head_)
        pop();
    size_ = 0;
}

} // namespace wring::engine
