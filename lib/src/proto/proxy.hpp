// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "proto/error.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace wring::proto {

// What a proxy says about the connection that it passes on (the PROXY protocol, versions 1 and 2). Of the client only:
// where it was connected to matters to nobody here.
struct proxy_header
{
    // "192.0.2.1" or "2001:db8:0:0:0:0:0:1"; empty where the header names none: the proxy's own health check (LOCAL),
    // a client whose address is unknown, or one on a Unix socket.
    [[nodiscard]] std::string_view address() const noexcept { return {text.data(), size}; }

    std::array<char, 46> text{};
    std::uint8_t size = 0;
    std::uint16_t port = 0;
    bool ipv6 = false;
};

// Bytes of a version 2 header: more would be no address but somebody's attempt to have us keep things.
inline constexpr std::size_t max_proxy_header = 4096;

struct proxy_progress
{
    std::size_t size = 0;  // of the header, once all of it is there; 0: more must come
    errc error = errc::ok; // errc::proxy_header as soon as the bytes can't be one
};

// Looks at the first bytes of a stream, all of them from its start. `out` is set with `size`. A header whose checksum
// (CRC32c, version 2) is there and wrong is an error.
[[nodiscard]] proxy_progress read_proxy_header(std::string_view bytes, proxy_header& out) noexcept;

} // namespace wring::proto
