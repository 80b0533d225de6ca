// SPDX-License-Identifier: BSL-1.0
// What WRING_TRACE prints on standard error: handshakes and frames, as they are on the wire.
#pragma once

#include "net/transport.hpp"
#include "proto/frame.hpp"

#include <string_view>

namespace wring::detail::trace {

// What the environment asked for when the program began: WRING_TRACE=handshake,frames or one of them.
extern bool const handshakes;
extern bool const frames;

enum class direction : char
{
    received = '<',
    sent = '>'
};

/// The lines of a request's or a response's head, without what is secret in them. Of a body only the size is told.
void head(transport const& with, direction d, std::string_view text) noexcept;

/// A frame, and its first bytes as far as they are there, unmasked: as text where they are readable.
void frame(transport const& with, direction d, proto::frame_header const& h,
           std::span<std::byte const> payload) noexcept;

/// What the peer sent in breach of the protocol.
void violation(transport const& with, std::string_view rule) noexcept;

} // namespace wring::detail::trace
