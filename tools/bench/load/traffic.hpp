// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "messages.hpp"

namespace load {

class connection;

/// What the connections of a run say, and what they make of what they hear.
class traffic
{
public:
    explicit traffic(message_pool const& pool) noexcept : pool_(pool) {}
    [[nodiscard]] message_pool const& pool() const noexcept { return pool_; }

    struct outgoing
    {
        std::span<std::byte const> bytes;
        std::uint64_t messages = 1;                        // in there
        wring::ws::shared_message const* framed = nullptr; // the same, where it is of the pool
    };
    /// Message `n` of the connection; on plain TCP also those behind it, up to `most` in all. Valid until the next
    /// call. From its own place in the pool, where a mode does not say otherwise.
    virtual outgoing next(connection const& c, std::uint64_t n, std::uint64_t most);

    /// Plain TCP: the size of what comes next.
    [[nodiscard]] virtual std::size_t size_of_next(connection const& c) const;

    /// A whole message has come. Throws failure where it should not have.
    virtual void received(connection& c, std::span<std::byte const> message, bool is_text) = 0;

protected:
    [[nodiscard]] outgoing of_pool(std::uint64_t i, std::uint64_t most) const noexcept
    {
        auto const& first = pool_.at(i);
        if (!first.framed.empty())
            return {first.bytes, 1, &first.framed};
        auto const row = pool_.several(i, most);
        return {row.bytes, row.count};
    }
    ~traffic() = default;
    message_pool const& pool_;
};

} // namespace load
