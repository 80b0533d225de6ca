// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "proto/error.hpp"
#include "proto/mask.hpp"

#include <cstddef>
#include <cstdint>
#include <span>

namespace wring::proto {

// Which side of the connection this endpoint is. A client masks what it sends, a server does not (section 5.1).
enum class role : std::uint8_t
{
    server,
    client
};

enum class opcode : std::uint8_t
{
    continuation = 0,
    text = 1,
    binary = 2,
    close = 8,
    ping = 9,
    pong = 10
};

[[nodiscard]] constexpr bool is_control(opcode op) noexcept
{
    return (static_cast<unsigned>(op) & 8) != 0;
}

// A frame header as it is on the wire (RFC 6455 section 5.2).
struct frame_header
{
    bool fin = true;
    bool rsv1 = false;
    bool masked = false;
    opcode op = opcode::binary;
    mask_key key{};
    std::uint64_t length = 0;
};

inline constexpr std::size_t max_header_size = 14;
inline constexpr std::size_t max_control_payload = 125;
inline constexpr std::size_t max_control_frame = 6 + max_control_payload;

// What a header is held against besides the grammar.
struct header_rules
{
    role self = role::server;  // a server wants masked frames, a client unmasked ones
    bool rsv1_allowed = false; // an extension that uses RSV1 was negotiated
};

// size > 0: a header of so many bytes was read. size == 0 and ok: `in` ends inside the header. Otherwise the violation.
struct header_result
{
    std::uint8_t size = 0;
    errc error = errc::ok;
};

// Reads the header at the start of `in`. A violation is reported as soon as its byte is there, whatever follows; the
// bytes are judged in wire order, so the verdict does not depend on how the input was cut. `out` is set only on
// success.
[[nodiscard]] header_result parse_header(std::span<std::byte const> in, header_rules rules, frame_header& out) noexcept;

// Bytes that write_header() will write.
[[nodiscard]] constexpr std::size_t header_size(std::uint64_t length, bool masked) noexcept
{
    return (length < 126 ? 2u : length <= 0xFFFF ? 4u : 10u) + (masked ? 4u : 0u);
}

// Writes `h` in its shortest form and returns its size. h.length is below 2^63.
std::size_t write_header(frame_header const& h, std::span<std::byte, max_header_size> out) noexcept;

} // namespace wring::proto
