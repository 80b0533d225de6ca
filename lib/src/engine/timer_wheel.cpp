// SPDX-License-Identifier: BSL-1.0
#include "engine/timer_wheel.hpp"

#include <algorithm>

namespace wring::engine {

using detail::timer_node;

timer_wheel::~timer_wheel()
{
    for (auto& level : wheel_)
        for (list head : level)
            while (head) {
                timer_node* node = head;
                head = node->next;
                disarm(*node);
            }
    while (due_)
        disarm(*due_);
}

void timer_wheel::link(list& head, timer_node& node) noexcept
{
    node.next = head;
    if (head)
        head->pprev = &node.next;
    head = &node;
    node.pprev = &head;
}

void timer_wheel::disarm(timer_node& node) noexcept
{
    if (!node.pprev)
        return;
    *node.pprev = node.next;
    if (node.next)
        node.next->pprev = node.pprev;
    node.pprev = nullptr;
    node.next = nullptr;
}

void timer_wheel::arm(timer_node& node, std::int64_t tick) noexcept
{
    disarm(node);
    node.tick = tick;
    if (tick <= now_)
        link(due_, node);
    else
        place(node);
}

// A node stands in the level whose slots are just fine enough to tell its tick from now: level 0 has a slot for each
// of the ticks up to the next multiple of 64, level 1 for each multiple of 64 up to the next of 4096, and so on.
void timer_wheel::place(timer_node& node) noexcept
{
    auto const differing = static_cast<std::uint64_t>(node.tick ^ now_);
    unsigned level = differing == 0 ? 0 : (63U - static_cast<unsigned>(__builtin_clzll(differing))) / bits;
    std::int64_t tick = node.tick;
    if (level >= levels) {
        level = levels - 1;
        tick = std::min(tick, now_ + (std::int64_t{slots - 1} << (bits * level)));
    }
    link(wheel_[level][static_cast<std::size_t>(tick >> (bits * level)) % slots], node);
}

void timer_wheel::cascade(unsigned level) noexcept
{
    auto const slot = static_cast<std::size_t>(now_ >> (bits * level)) % slots;
    list moving = std::exchange(wheel_[level][slot], nullptr);
    while (moving) {
        timer_node* node = moving;
        moving = node->next;
        node->pprev = nullptr;
        if (node->tick <= now_)
            link(due_, *node);
        else
            place(*node);
    }
}

void timer_wheel::advance(std::int64_t now) noexcept
{
    auto fire_due = [this] {
        list firing = std::exchange(due_, nullptr); // what is armed meanwhile for now or before waits for the next call
        if (firing)
            firing->pprev = &firing;
        while (timer_node* node = firing) {
            disarm(*node);
            node->fire(*node);
        }
    };
    fire_due();
    while (now_ < now) {
        // Skip the ticks at which nothing can happen.
        std::int64_t const step = next();
        now_ = std::min(now, std::max(step, now_ + 1));
        unsigned top = 0;
        while (top + 1 < levels && (now_ & ((std::int64_t{1} << (bits * (top + 1))) - 1)) == 0)
            ++top;
        for (unsigned level = top + 1; level-- > 0;)
            cascade(level);
        fire_due();
    }
}

std::int64_t timer_wheel::next() const noexcept
{
    if (due_)
        return now_;
    for (unsigned level = 0; level < levels; ++level) {
        std::int64_t const base = now_ >> (bits * level);
        // The rest of this level's turn; what lies behind its end stands in a higher level.
        for (std::int64_t i = base + 1; i % slots != 0; ++i)
            if (wheel_[level][static_cast<std::size_t>(i) % slots])
                return i << (bits * level);
        if (level == levels - 1)
            for (std::int64_t i = base + 1; i < base + slots; ++i) // this level goes round
                if (wheel_[level][static_cast<std::size_t>(i) % slots])
                    return i << (bits * level);
    }
    return never;
}

} // namespace wring::engine
