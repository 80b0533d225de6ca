// SPDX-License-Identifier: BSL-1.0
#include "ws/send_queue.hpp"

#include <algorithm>
#include <cstring>
#include <new>

namespace wring::detail {

namespace {
constexpr std::size_t first_room = 2048 - 64;
constexpr std::size_t most_room = 4096 - 64; // with its head a block of the free lists' largest class
}

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

void send_queue::destroy(segment* s) noexcept
{
    if (s->message)
        s->message->release();
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

std::byte* send_queue::extend(std::size_t n)
{
    if (!tail_ || room() < n) {
        // The more is queued, the larger the next piece.
        std::size_t const wanted = tail_ ? std::min(most_room, std::max(first_room, size_)) : first_room;
        push(make(std::max(wanted, n)));
    }
    std::byte* const at = tail_->end;
    tail_->end += n;
    size_ += n;
    return at;
}

void send_queue::add(ws::shared_message::representation& message)
{
    segment* s = make(0);
    message.add_reference();
    s->message = &message;
    auto const bytes = message.frame();
    s->begin = const_cast<std::byte*>(bytes.data());
    s->end = s->limit = s->begin + bytes.size();
    push(s);
    size_ += bytes.size();
}

void send_queue::add(std::span<std::byte const> bytes, owner& writer)
{
    segment* s = make(0);
    s->writer = &writer;
    s->begin = const_cast<std::byte*>(bytes.data());
    s->end = s->limit = s->begin + bytes.size();
    push(s);
    size_ += bytes.size();
}

std::size_t send_queue::gather(std::span<iovec> out) const noexcept
{
    std::size_t n = 0;
    for (segment* s = head_; s && n < out.size(); s = s->next)
        out[n++] = {s->begin, s->left()};
    return n;
}

bool send_queue::refers_to(owner const& writer) const noexcept
{
    for (segment* s = head_; s; s = s->next)
        if (s->writer == &writer)
            return true;
    return false;
}

bool send_queue::has_writer() const noexcept
{
    for (segment* s = head_; s; s = s->next)
        if (s->writer)
            return true;
    return false;
}

bool send_queue::leave(owner const& writer) noexcept
{
    for (segment* s = head_; s; s = s->next)
        if (s->writer == &writer)
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
