// SPDX-License-Identifier: BSL-1.0
// The open loop: messages are due at a constant rate whatever the server does. A latency is counted from when its
// message was due, so the time that a late one had to wait is in it: nothing is omitted.
#pragma once

#include <chrono>
#include <cstdint>

namespace load {

class schedule
{
public:
    using clock = std::chrono::steady_clock;

    schedule(clock::time_point start, double messages_per_second, unsigned senders) noexcept :
        start_(start), interval_(1e9 / messages_per_second), senders_(senders)
    {}

    /// When message `k` of all is due.
    [[nodiscard]] clock::time_point due(std::uint64_t k) const noexcept
    {
        return start_ + std::chrono::nanoseconds(static_cast<std::int64_t>(static_cast<double>(k) * interval_));
    }

    /// Message `k` is sent by this one: they take turns.
    [[nodiscard]] unsigned sender(std::uint64_t k) const noexcept { return static_cast<unsigned>(k % senders_); }

    /// When the sender's own message `n` is due.
    [[nodiscard]] clock::time_point due(unsigned sender, std::uint64_t n) const noexcept
    {
        return due(n * senders_ + sender);
    }

private:
    clock::time_point start_;
    double interval_; // nanoseconds
    unsigned senders_;
};

} // namespace load
