// SPDX-License-Identifier: BSL-1.0
// A hierarchical timer wheel: arming, disarming and expiring cost O(1); the loop's wait takes its timeout from it, so a
// timer needs no system call and no submission of its own.
#pragma once

#include <wring/timeout.hpp>

#include <array>
#include <cstdint>
#include <limits>

namespace wring::engine {

/// Time is in ticks of one millisecond since some start.
class timer_wheel
{
public:
    static constexpr std::int64_t never = std::numeric_limits<std::int64_t>::max();

    explicit timer_wheel(std::int64_t now) noexcept : now_(now) {}
    ~timer_wheel();
    timer_wheel(timer_wheel const&) = delete;
    timer_wheel& operator=(timer_wheel const&) = delete;

    /// Arms `node` (again): it fires in an advance() to `tick` or later. A tick in the past fires in the next one.
    void arm(detail::timer_node& node, std::int64_t tick) noexcept;
    static void disarm(detail::timer_node& node) noexcept;

    /// Moves time to `now` and fires what is due, in order of their ticks. A fired node may be armed again at once.
    void advance(std::int64_t now) noexcept;

    /// No timer fires before this tick; `never` where none is armed. May be earlier than the first timer.
    [[nodiscard]] std::int64_t next() const noexcept;

    [[nodiscard]] std::int64_t now() const noexcept { return now_; }

private:
    static constexpr unsigned bits = 6;
    static constexpr unsigned slots = 1U << bits;
    static constexpr unsigned levels = 6; // 64^6 ms, two years; later timers wait in the last level and move on

    using list = detail::timer_node*;
    static void link(list& head, detail::timer_node& node) noexcept;
    void place(detail::timer_node& node) noexcept;
    void cascade(unsigned level) noexcept;

    std::int64_t now_;
    std::array<std::array<list, slots>, levels> wheel_{};
    list due_ = nullptr;
};

} // namespace wring::engine
