// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "proto/deflate.hpp"
#include "proto/frame.hpp"

#include <wring/ws.hpp>

#include <atomic>
#include <cstring>
#include <mutex>

namespace wring {

namespace detail {

/// What a shared message can be sent as: a frame as a server sends it, and the payload, which lies in it.
struct shared_form
{
    std::span<std::byte const> frame;
    std::span<std::byte const> payload;
    bool compressed = false;
};

} // namespace detail

/// The block behind a shared_message: this head, then the frame as a server sends it.
struct ws::shared_message::representation
{
    ~representation();

    std::atomic<std::size_t> references{1};
    std::size_t payload_size = 0;
    proto::opcode op = proto::opcode::binary;
    std::uint8_t header_size = 0;
    bool compress = true; ///< may be

    [[nodiscard]] std::byte* storage() noexcept { return reinterpret_cast<std::byte*>(this + 1); }
    [[nodiscard]] std::span<std::byte const> frame() noexcept { return {storage(), header_size + payload_size}; }
    [[nodiscard]] std::span<std::byte const> payload() noexcept { return {storage() + header_size, payload_size}; }
    [[nodiscard]] detail::shared_form plain() noexcept { return {frame(), payload(), false}; }

    /// Compressed by a compressor of this shape that knows of no other message, at most once for all who ask, on any
    /// thread. plain(), where that would not make it smaller, and where there is no memory.
    [[nodiscard]] detail::shared_form compressed(proto::deflate_shape const& shape) noexcept;

    void add_reference() noexcept { references.fetch_add(1, std::memory_order_relaxed); }
    void release() noexcept;

private:
    /// A compressed form, made once: this head, then its frame.
    struct variant
    {
        variant* next = nullptr;
        proto::deflate_shape shape;
        std::uint8_t header_size = 0;
        std::size_t payload_size = 0; ///< 0: it would not be smaller

        [[nodiscard]] std::byte* storage() noexcept { return reinterpret_cast<std::byte*>(this + 1); }
    };
    [[nodiscard]] detail::shared_form form_of(variant& v) noexcept;
    [[nodiscard]] variant* make_variant(proto::deflate_shape const& shape);

    std::atomic<variant*> variants_{nullptr};
    std::mutex making_;
};

} // namespace wring
