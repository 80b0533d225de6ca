// SPDX-License-Identifier: BSL-1.0
// Where a frame or message is put together that did not come in one piece.
#pragma once

#include "engine/block.hpp"

#include <wring/ws.hpp>

#include <memory>
#include <vector>

namespace wring::detail {

/// Up to a block's size it is a block of the loop, beyond that memory of its own, which grows with what has been
/// received, never with what a header promises. Owns nothing while empty.
class assembly
{
public:
    [[nodiscard]] bool empty() const noexcept { return !block_ && !large_; }
    [[nodiscard]] std::span<std::byte const> bytes() const noexcept
    {
        if (large_)
            return *large_;
        return block_ ? std::span<std::byte const>(block_.get()->bytes()) : std::span<std::byte const>();
    }

    /// Throws std::bad_alloc.
    void append(std::span<std::byte const> bytes, engine::block_pool& pool)
    {
        if (!large_ && !block_) {
            block_ = engine::block_ref(pool.take());
            if (!block_)
                throw std::bad_alloc();
        }
        if (!large_) {
            engine::block& b = *block_.get();
            if (bytes.size() <= static_cast<std::size_t>(b.limit() - b.end)) {
                if (!bytes.empty())
                    std::memcpy(b.end, bytes.data(), bytes.size());
                b.end += bytes.size();
                return;
            }
            auto grown = std::make_unique<std::vector<std::byte>>();
            grown->reserve(2 * (b.size() + bytes.size()));
            grown->assign(b.begin, b.end);
            large_ = std::move(grown);
            block_.reset();
        }
        large_->insert(large_->end(), bytes.begin(), bytes.end());
    }

    void clear() noexcept
    {
        block_.reset();
        large_.reset();
    }

private:
    engine::block_ref block_;
    std::unique_ptr<std::vector<std::byte>> large_;
};

} // namespace wring::detail
