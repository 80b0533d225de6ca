// SPDX-License-Identifier: BSL-1.0
#include "engine/block.hpp"

#include <algorithm>
#include <cassert>
#include <cstdlib>
#include <limits>
#include <new>

namespace wring::engine {

namespace {
constexpr std::size_t max_free = 1024; // blocks kept; more go back to the heap
}

block_pool::~block_pool()
{
    assert(lent_ == 0 && "blocks outlive their loop");
    while (block* b = free_) {
        free_ = b->next;
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
    if (capacity <= capacity_)
        return take();
    constexpr std::size_t most = std::numeric_limits<std::uint32_t>::max();
    return capacity <= most ? make(static_cast<std::uint32_t>(capacity)) : nullptr;
}

block* block_pool::make(std::uint32_t capacity) noexcept
{
    void* memory = std::malloc(sizeof(block) + block::headroom + capacity);
    if (!memory)
        return nullptr;
    auto* b = new (memory) block;
    b->pool = this;
    b->capacity = capacity;
    return lend(b);
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
    if (free_count_ >= max_free || b->capacity != capacity_) {
        std::free(b);
        return;
    }
    WRING_POISON(b->storage(), block::headroom + b->capacity);
    b->next = free_;
    free_ = b;
    ++free_count_;
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
            block* b = pool.take();
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
        block* b = pool.take();
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

void block_queue::clear() noexcept
{
    while (head_)
        pop();
    size_ = 0;
}

} // namespace wring::engine
