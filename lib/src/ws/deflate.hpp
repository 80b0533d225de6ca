// SPDX-License-Identifier: BSL-1.0
// permessage-deflate on connections: what was agreed on, compressors that the connections of a loop share, and what a
// connection has of them while it uses them.
#pragma once

#include "engine/block.hpp"
#include "proto/deflate.hpp"
#include "proto/frame.hpp"
#include "proto/utf8.hpp"

#include <wring/timeout.hpp>
#include <wring/ws.hpp>

#include <memory>

namespace wring::detail {

/// Whether zlib and the RFC know such options.
[[nodiscard]] bool valid(ws::deflate_options const& o) noexcept;
/// Of valid ones: what this side wishes for.
[[nodiscard]] proto::deflate_parameters parameters_of(ws::deflate_options const& o) noexcept;

/// What both have agreed on, as one side sees it. Every connection has one, so it is small.
struct deflate_agreement
{
    std::uint8_t own_bits : 4 = 0; ///< of the window that this side compresses with; 0: nothing was agreed on
    std::uint8_t peer_bits : 4 = 0;
    bool own_takeover : 1 = false;
    bool peer_takeover : 1 = false;

    deflate_agreement() noexcept = default;
    deflate_agreement(proto::deflate_parameters const& p, proto::role self) noexcept;

    explicit operator bool() const noexcept { return own_bits != 0; }
    /// Messages may be sent compressed: not where zlib has no window so small.
    [[nodiscard]] bool may_compress() const noexcept { return own_bits >= proto::min_window_bits; }
};

/// Compressors and decompressors go back to those of the thread, which keeps a few for the next who needs one.
struct give_back
{
    void operator()(proto::deflater* d) const noexcept;
    void operator()(proto::inflater* i) const noexcept;
};
using lent_deflater = std::unique_ptr<proto::deflater, give_back>;
using lent_inflater = std::unique_ptr<proto::inflater, give_back>;

/// One that knows of no message. Throws std::bad_alloc.
[[nodiscard]] lent_deflater lend_deflater(proto::deflate_shape const& shape);
[[nodiscard]] lent_inflater lend_inflater(int bits);

class connection_core;

/// What a connection has of compression while it uses it. Without takeovers that is for the time of a message.
struct deflate_state
{
    explicit deflate_state(connection_core& c) noexcept;
    deflate_state(deflate_state const&) = delete;
    deflate_state& operator=(deflate_state const&) = delete;
    ~deflate_state();
    static void* operator new(std::size_t size) { return frame_allocate(size); }
    static void operator delete(void* memory, std::size_t size) noexcept { frame_deallocate(memory, size); }

    // sending
    lent_deflater deflater; ///< with a takeover, or while a compressed message in frames is open
    bool sending = false;   ///< one is
    bool stale = false;     ///< the peer has got messages of another compressor: this one's window is not the peer's
    clock::time_point sent;

    // receiving
    bool input_waits = false;   ///< of a frame: there is a part that has not been decompressed, perhaps an empty one
    bool frame_end = false;     ///< that part ends it
    bool message_end = false;   ///< ... and the message
    bool tail_given = false;    ///< the decompressor has been told of the message's end
    bool message_start = false; ///< nothing of the message has been given to anybody
    proto::utf8_validator utf8;
    ws::opcode op = ws::opcode::binary;
    lent_inflater inflater;
    std::span<std::byte const> input;
    engine::block_ref block;                ///< that it lies in
    std::uint64_t size = 0;                 ///< of the message so far, decompressed
    std::unique_ptr<std::byte[]> window;    ///< what is left of a decompressor that was freed
    std::size_t window_size = 0;
    clock::time_point received;

    [[nodiscard]] bool in_use() const noexcept { return deflater || inflater || window || input_waits; }

    struct waiting final : timer_node
    {
        connection_core* core = nullptr;
    } timer;
};

} // namespace wring::detail
