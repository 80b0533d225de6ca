// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <wring/ws.hpp>

namespace wring::detail {

/// A frame on its way out.
struct outgoing_frame
{
    std::span<std::byte const> payload;
    ws::opcode op;
    bool fin;
    bool compress; ///< the message that it begins may be
};

/// What waits for its turn to be queued: a writing coroutine, or a posted message.
struct queued_write
{
    queued_write* next_write = nullptr;
    bool is_posted = false;
};

/// A write that could not be done at once: it waits for its turn, or until its bytes, which are not copied, are sent.
struct write_waiter : suspension, queued_write
{
    write_waiter(connection_core& c, outgoing_frame const& f) noexcept : core(c), frame(f) {}
    connection_core& core;
    outgoing_frame frame;
    std::error_code error;
};

} // namespace wring::detail
