// SPDX-License-Identifier: BSL-1.0
#include "ws/send_queue.hpp"

#include <algorithm>
#include <cstring>
#include <new>

namespace wring::detail {

send_queue::segment* send_queue::make(std::size_t room)
{
    std::size_t const size = sizeof(segment) + room;
    auto* s = new (frame_allocate(size)) segment;
    s->allocated = size;
    if (room > 0) {
        s->begin = s->end = s->memory();
        s->limit = s->begin + room;
    }
    return s;
}

/// Null where there is none.
send_queue::segment* send_queue::make_in_block(std::size_t room, engine::block_pool& pool) noexcept
{
    std::size_t const wanted = std::max(sizeof(segment) + room, engine::block::headroom + 1);
    engine::block* b = pool.take(wanted - engine::block::headroom); // which serves as well
    if (!b)
        return nullptr;
    auto* s = new (b->storage()) segment;
    s->allocated = 0;
    s->begin = s->end = s->memory();
    s->limit = b->limit();
    return s;
}

void send_queue::destroy(segment* s) noexcept
{
    if (auto* const shared = std::get_if<shared_bytes*>(&s->keeper))
        (*shared)->release();
    if (auto* const block = std::get_if<engine::block*>(&s->keeper))
        engine::release(*block);
    if (s->allocated == 0)
        engine::release(reinterpret_cast<engine::block*>(s) - 1);
    else
        frame_deallocate(s, s->allocated);
}

void send_queue::push(segment* s) noexcept
{
    (tail_ ? tail_->next : head_) = s;
    tail_ = s;
}

void send_queue::pop() noexcept
{
    segment* s = head_;
    head_ = s->next;
    if (!head_)
        tail_ = nullptr;
    destroy(s);
}

void send_queue::make_room(std::size_t n, engine::block_pool& pool)
{
    // The more is queued, the larger the next piece: at most, with its head, one of the free lists' largest class.
    constexpr std::size_t first_room = 2048 - sizeof(segment);
    constexpr std::size_t most_room = 4096 - sizeof(segment);
    std::size_t const wanted = tail_ ? std::min(most_room, std::max(first_room, size_)) : first_room;
    segment* const large = n > most_room ? make_in_block(n, pool) : nullptr;
    push(large ? large : make(std::max(wanted, n)));
}

send_queue::segment* send_queue::refer_to(std::span<std::byte const> bytes)
{
    segment* s = make(0);
    s->begin = const_cast<std::byte*>(bytes.data());
    s->end = s->limit = s->begin + bytes.size();
    push(s);
    size_ += bytes.size();
    return s;
}

void send_queue::add_reference(std::span<std::byte const> bytes, shared_bytes& in)
{
    refer_to(bytes)->keeper = &in;
    ++in.references;
}

void send_queue::add(std::span<std::byte const> bytes, engine::block_ref block)
{
    segment* const s = refer_to(bytes); // may throw
    s->keeper = block.release();
}

void send_queue::add(std::span<std::byte const> bytes, owner& writer)
{
    refer_to(bytes)->keeper = &writer;
}

std::size_t send_queue::gather(std::span<iovec> out, std::size_t most) const noexcept
{
    std::size_t n = 0;
    for (segment* s = head_; s && n < out.size() && most > 0; s = s->next) {
        out[n] = {s->begin, std::min(s->left(), most)};
        most -= out[n++].iov_len;
    }
    return n;
}

bool send_queue::refers_to(owner const& writer) const noexcept
{
    for (segment* s = head_; s; s = s->next)
        if (s->writer() == &writer)
            return true;
    return false;
}

bool send_queue::has_writer() const noexcept
{
    for (segment* s = head_; s; s = s->next)
        if (s->writer())
            return true;
    return false;
}

bool send_queue::leave(owner const& writer) noexcept
{
    for (segment* s = head_; s; s = s->next)
        if (s->writer() == &writer)
            return s->leaving = true;
    return false;
}

void send_queue::replace_by_copy(segment** link)
{
    segment* const old = *link;
    segment* const copy = make(old->left());
    std::memcpy(copy->begin, old->begin, old->left());
    copy->end = copy->limit;
    copy->next = old->next;
    *link = copy;
    if (tail_ == old)
        tail_ = copy;
    destroy(old);
}

} // namespace wring::detail
