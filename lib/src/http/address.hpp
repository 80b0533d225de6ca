// SPDX-License-Identifier: BSL-1.0
// Addresses of peers as limits and trust see them.
#pragma once

#include <wring/endpoint.hpp>

#include <array>
#include <cstdint>
#include <vector>

namespace wring::detail {

/// The bytes of an IP address; IPv4 in its mapped form, so that a dual-stack listener makes no difference.
struct ip_address
{
    std::array<std::uint8_t, 16> bytes{};
    bool known = false; // false: no IP address (a Unix socket)

    [[nodiscard]] static ip_address of(endpoint const& at) noexcept;
    [[nodiscard]] bool is_v4() const noexcept;
};

/// Whom one limit is for: an IPv4 address, or an IPv6 network of /64, as one household or machine has. 0 for none.
using address_key = std::uint64_t;
[[nodiscard]] address_key key_of(endpoint const& at) noexcept;

/// A set of addresses, networks and `unix`.
class address_set
{
public:
    /// Adds the elements of a list separated by commas: `127.0.0.1, 10.0.0.0/8, ::1, fd00::/8, unix`. Throws
    /// std::invalid_argument.
    void add(std::string_view list);

    [[nodiscard]] bool contains(endpoint const& at) const noexcept;
    [[nodiscard]] bool empty() const noexcept { return networks_.empty() && !unix_; }

private:
    struct network
    {
        std::array<std::uint8_t, 16> bytes;
        unsigned bits; // of 128
    };
    std::vector<network> networks_;
    bool unix_ = false;
};

} // namespace wring::detail
