// SPDX-License-Identifier: BSL-1.0
// Shared messages as the connections of one loop send them.
#pragma once

#include "engine/loop_core.hpp"
#include "ws/shared_message.hpp"

namespace wring::detail {

/// Bytes that the queues of several connections of a loop refer to. Counted without atomics: however many members a
/// message has, its own count changes once per loop.
struct shared_bytes
{
    std::uint32_t references = 1;
    std::uint32_t allocated = sizeof(shared_bytes); ///< with what lies behind this head
    std::uint64_t turn = 0;                         ///< of the broadcast that made it
    ws::shared_message message;                     ///< whose bytes they are; none: copies, which lie behind this head

    [[nodiscard]] std::byte* memory() noexcept { return reinterpret_cast<std::byte*>(this + 1); }
    [[nodiscard]] std::byte* limit() noexcept { return reinterpret_cast<std::byte*>(this) + allocated; }
    void release() noexcept;
};

/// What is posted in one turn of a loop. Small frames are copied, once for all, one behind the other: so a connection
/// that gets several of them in a row refers to one piece, and sends it without gathering.
class broadcast final : public loop_extension, turn_end
{
public:
    static constexpr std::size_t copied = 1024; ///< bytes of a frame up to which a copy takes less than a reference

    /// That of a loop. Throws std::bad_alloc.
    static broadcast& of(loop_core& loop)
    {
        return loop.broadcast ? static_cast<broadcast&>(*loop.broadcast) : make_for(loop);
    }
    explicit broadcast(loop_core& loop) noexcept;
    ~broadcast() override { forget(); }

    struct place
    {
        shared_bytes& in;
        std::span<std::byte const> frame;
    };
    /// Where a form of `message` lies in this turn. Throws std::bad_alloc.
    [[nodiscard]] place place_of(ws::shared_message const& message, shared_form const& form)
    {
        if (form.frame.data() != source_) [[unlikely]] // the first member that is posted it
            take(message, form);
        return {*current_, frame_};
    }

    /// Whether `bytes` are of this turn.
    [[nodiscard]] bool made(shared_bytes const& bytes) const noexcept { return bytes.turn == turn_; }

private:
    static broadcast& make_for(loop_core& loop);
    void take(ws::shared_message const& message, shared_form const& form);
    void forget() noexcept;
    void copy(std::span<std::byte const> frame);
    void make(std::size_t room);

    loop_core& loop_;
    std::uint64_t turn_ = 1;
    shared_bytes* current_ = nullptr;
    std::byte* end_ = nullptr;           // of what was copied into it
    ws::shared_message last_;            // alive, so that no other can have its address
    std::byte const* source_ = nullptr;  // the form of it that was last asked for
    std::span<std::byte const> frame_;   // ... and where that lies
};

} // namespace wring::detail
