// SPDX-License-Identifier: BSL-1.0
#include "ws/broadcast.hpp"

#include <new>

namespace wring::detail {

namespace {
constexpr std::size_t chunk = 4096; // of copies, with its head: the free lists' largest class
}

void shared_bytes::release() noexcept
{
    if (--references > 0)
        return;
    std::size_t const size = allocated;
    this->~shared_bytes();
    frame_deallocate(this, size);
}

broadcast& broadcast::make_for(loop_core& loop)
{
    loop.broadcast = std::make_unique<broadcast>(loop);
    return of(loop);
}

broadcast::broadcast(loop_core& loop) noexcept : loop_(loop)
{
    call = [](turn_end& entry) noexcept { static_cast<broadcast&>(entry).forget(); };
}

void broadcast::take(ws::shared_message const& message, shared_form const& form)
{
    loop_.at_turn_end(*this);
    if (form.frame.size() <= copied) {
        copy(form.frame);
    } else {
        make(0);
        current_->message = message;
        frame_ = form.frame;
    }
    last_ = message;
    source_ = form.frame.data();
}

void broadcast::copy(std::span<std::byte const> frame)
{
    if (!current_ || static_cast<std::size_t>(current_->limit() - end_) < frame.size()) // one that refers has no room
        make(chunk - sizeof(shared_bytes));
    std::memcpy(end_, frame.data(), frame.size());
    frame_ = {end_, frame.size()};
    end_ += frame.size();
}

void broadcast::make(std::size_t room)
{
    auto* const fresh = new (frame_allocate(sizeof(shared_bytes) + room)) shared_bytes;
    fresh->allocated = static_cast<std::uint32_t>(sizeof(shared_bytes) + room);
    fresh->turn = turn_;
    if (current_)
        current_->release();
    current_ = fresh;
    end_ = fresh->memory();
}

void broadcast::forget() noexcept
{
    if (current_)
        std::exchange(current_, nullptr)->release();
    last_ = {};
    source_ = nullptr;
    ++turn_;
}

} // namespace wring::detail
