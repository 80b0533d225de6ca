// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "proto/frame.hpp"

#include <wring/ws.hpp>

#include <atomic>
#include <cstring>

namespace wring::ws {

/// The block behind a shared_message: this head, then the frame as a server sends it.
struct shared_message::representation
{
    std::atomic<std::size_t> references{1};
    std::size_t payload_size = 0;
    proto::opcode op = proto::opcode::binary;
    std::uint8_t header_size = 0;

    [[nodiscard]] std::byte* storage() noexcept { return reinterpret_cast<std::byte*>(this + 1); }
    [[nodiscard]] std::span<std::byte const> frame() noexcept { return {storage(), header_size + payload_size}; }
    [[nodiscard]] std::span<std::byte const> payload() noexcept { return {storage() + header_size, payload_size}; }

    void add_reference() noexcept { references.fetch_add(1, std::memory_order_relaxed); }
    void release() noexcept;
};

} // namespace wring::ws
