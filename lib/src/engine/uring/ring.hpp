// SPDX-License-Identifier: BSL-1.0
// An io_uring instance set up as the engine wants it, and the provided-buffer ring beside it.
#pragma once

#include "engine/block.hpp"

#include <liburing.h>

#include <vector>

namespace wring::engine {

/// Set up with the richest flags that the kernel accepts. Owned by one thread.
class ring
{
public:
    /// Tries one rung of flags after another, from `first_rung` on: see `rungs`. Throws std::system_error: what the
    /// kernel said to the last, most modest attempt.
    ring(unsigned submission_entries, unsigned completion_entries, unsigned first_rung = 0);
    ~ring();
    ring(ring const&) = delete;
    ring& operator=(ring const&) = delete;

    [[nodiscard]] io_uring* get() noexcept { return &ring_; }

    static constexpr unsigned rungs = 3; ///< Linux 6.1, 6.0, 5.19

private:
    io_uring ring_;
};

/// Buffers that the kernel fills for multishot receives, shared by all sockets of a loop (IORING_REGISTER_PBUF_RING).
///
/// A slot is refilled with another block as soon as its block has been filled, so a block that somebody keeps
/// never starves the others: the ring is empty only within one batch of completions, or without memory. The kernel
/// takes the buffers in turn, so few are in use at first, which stay in the caches, and more when they did not suffice.
class buffer_ring
{
public:
    static constexpr unsigned short group = 0;

    /// `entries` must be a power of two, at most 32768. Throws std::system_error, std::bad_alloc.
    buffer_ring(io_uring* owner, unsigned entries, block_pool& blocks);
    ~buffer_ring();
    buffer_ring(buffer_ring const&) = delete;
    buffer_ring& operator=(buffer_ring const&) = delete;

    /// The block in slot `id`, now holding `size` received bytes, and puts a fresh one in its place.
    [[nodiscard]] block* take(unsigned short id, std::size_t size) noexcept;

    /// Fills slots that no memory could be had for; publishes what take() has put in. True where the ring has buffers.
    bool publish() noexcept;

    /// The buffers did not suffice: doubles their number, up to the ring's size. Takes effect with publish().
    void grow() noexcept;

private:
    bool fill(unsigned short id) noexcept;

    io_uring* owner_;
    io_uring_buf_ring* ring_ = nullptr;
    std::size_t ring_bytes_;
    unsigned entries_;
    unsigned used_; ///< slots that are filled, from the first on
    block_pool& blocks_;
    std::vector<block*> slots_;
    unsigned short added_ = 0; ///< and not yet published
    unsigned empty_ = 0;
};

} // namespace wring::engine
