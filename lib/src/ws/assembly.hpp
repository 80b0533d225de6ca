// SPDX-License-Identifier: BSL-1.0
// Where a frame or message is put together that did not come in one piece.
#pragma once

#include "engine/block.hpp"

#include <wring/ws.hpp>

#include <algorithm>
#include <cstring>
#include <new>

namespace wring::detail {

/// A block of the loop, and beyond its size a larger one, which grows with what has been received, never with what a
/// header promises. Owns nothing while empty.
class assembly
{
public:
    [[nodiscard]] bool empty() const noexcept { return !block_; }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    [[nodiscard]] engine::block_ref const& block() const noexcept { return block_; }
    [[nodiscard]] std::span<std::byte const> bytes() const noexcept
    {
        return block_ ? std::span<std::byte const>(block_.get()->data(), size_) : std::span<std::byte const>();
    }

    /// How it becomes larger than a block: `doubled` copies least; `in_place` never has much more than the bytes.
    enum class growth : std::uint8_t { doubled, in_place };

    /// Bytes that reserve() left room for and that were received there need no copy. Throws std::bad_alloc.
    void append(std::span<std::byte const> bytes, engine::block_pool& pool, growth how = growth::doubled)
    {
        if (!block_ || bytes.data() != end()) {
            reserve(bytes.size(), pool, how);
            if (!bytes.empty())
                std::memcpy(end(), bytes.data(), bytes.size());
        }
        size_ += bytes.size();
    }

    /// The block with room for `n` bytes more, and its end where they belong. Throws std::bad_alloc.
    engine::block& reserve(std::size_t n, engine::block_pool& pool, growth how = growth::doubled)
    {
        if (!block_ || n > static_cast<std::size_t>(block_.get()->limit() - end()))
            grow(n, pool, how);
        block_.get()->end = end();
        return *block_.get();
    }

    void clear() noexcept
    {
        block_.reset();
        size_ = 0;
    }

private:
    void grow(std::size_t n, engine::block_pool& pool, growth how)
    {
        // Twice what there is, so that a message in many frames is not copied for each.
        std::size_t const twice = block_ ? std::max(2 * size_, size_ + n) : n;
        bool const in_place = how == growth::in_place && twice > 64 * 1024;
        std::size_t const tight = size_ + n + std::clamp<std::size_t>(size_ / 8, 32 * 1024, 96 * 1024);
        if (in_place && block_ && pool.grow(block_, tight))
            return;
        engine::block_ref grown(in_place ? pool.take_growing(tight) : pool.take(twice));
        if (!grown)
            throw std::bad_alloc();
        if (size_ > 0)
            std::memcpy(grown.get()->data(), block_.get()->data(), size_);
        block_ = std::move(grown);
    }

    // Not the block's own end: that serves its receiver.
    [[nodiscard]] std::byte* end() const noexcept { return block_.get()->data() + size_; }

    engine::block_ref block_;
    std::size_t size_ = 0;
};

} // namespace wring::detail
