// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

namespace wring::proto {

// An IP address in network byte order.
struct ip_address
{
    std::array<std::uint8_t, 16> bytes{};
    std::uint8_t size = 0; // 4, 16, or 0: no address

    [[nodiscard]] bool empty() const noexcept { return size == 0; }
    [[nodiscard]] std::span<std::uint8_t const> span() const noexcept { return {bytes.data(), size}; }
    [[nodiscard]] bool operator==(ip_address const&) const = default;
};

// Four decimal numbers without leading zeros; anything else is no address.
[[nodiscard]] ip_address parse_ipv4(std::string_view text) noexcept;

// One of the forms of RFC 4291 section 2.2, without brackets and without a zone.
[[nodiscard]] ip_address parse_ipv6(std::string_view text) noexcept;

// Either of them.
[[nodiscard]] ip_address parse_ip(std::string_view text) noexcept;

// Whether the first `bits` bits of two addresses of one family are equal; false where `bits` exceeds what they have.
[[nodiscard]] bool same_network(ip_address const& a, ip_address const& b, unsigned bits) noexcept;

} // namespace wring::proto
