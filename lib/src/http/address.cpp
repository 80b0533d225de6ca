// SPDX-License-Identifier: BSL-1.0
#include "http/address.hpp"

#include "proto/http.hpp"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <netinet/in.h>
#include <stdexcept>

namespace wring::detail {

namespace {

constexpr std::array<std::uint8_t, 12> mapped{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF};

bool same_bits(std::array<std::uint8_t, 16> const& a, std::array<std::uint8_t, 16> const& b, unsigned bits) noexcept
{
    unsigned const whole = bits / 8;
    if (!std::equal(a.begin(), a.begin() + whole, b.begin()))
        return false;
    unsigned const rest = bits % 8;
    return rest == 0 || (a[whole] ^ b[whole]) >> (8 - rest) == 0;
}

} // namespace

ip_address ip_address::of(endpoint const& at) noexcept
{
    ip_address a;
    if (at.family() == AF_INET) {
        sockaddr_in v4{};
        std::memcpy(&v4, at.data(), sizeof v4);
        std::copy(mapped.begin(), mapped.end(), a.bytes.begin());
        std::memcpy(a.bytes.data() + mapped.size(), &v4.sin_addr, 4);
        a.known = true;
    } else if (at.family() == AF_INET6) {
        sockaddr_in6 v6{};
        std::memcpy(&v6, at.data(), sizeof v6);
        std::memcpy(a.bytes.data(), &v6.sin6_addr, 16);
        a.known = true;
    }
    return a;
}

bool ip_address::is_v4() const noexcept
{
    return known && std::equal(mapped.begin(), mapped.end(), bytes.begin());
}

address_key key_of(endpoint const& at) noexcept
{
    auto const a = ip_address::of(at);
    if (!a.known)
        return 0;
    address_key key = 0;
    // The last eight bytes of a mapped IPv4 address: no IPv6 network in use begins with 0000:FFFF as they do.
    std::memcpy(&key, a.bytes.data() + (a.is_v4() ? 8 : 0), sizeof key);
    return key != 0 ? key : 1; // ::1 and the like
}

void address_set::add(std::string_view list)
{
    for (auto const element : proto::list_range(list, ',', proto::quotes::plain)) {
        if (element == "unix") {
            unix_ = true;
            continue;
        }
        auto const refuse = [&] {
            throw std::invalid_argument("not an address or network: " + std::string(element));
        };
        auto const slash = std::min(element.find('/'), element.size());
        auto const host = element.substr(0, slash);
        bool const v6 = host.find(':') != host.npos;
        auto const at = endpoint::parse(v6 ? "[" + std::string(host) + "]:0" : std::string(host) + ":0");
        auto const address = at ? ip_address::of(*at) : ip_address();
        if (!address.known || host == "*")
            refuse();
        unsigned bits = v6 ? 128 : 32;
        if (slash < element.size()) {
            auto const digits = element.substr(slash + 1);
            unsigned given = 0;
            auto const [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), given);
            if (digits.empty() || error != std::errc() || end != digits.data() + digits.size() || given > bits)
                refuse();
            bits = given;
        }
        networks_.push_back({address.bytes, v6 ? bits : bits + 96});
    }
}

bool address_set::contains(endpoint const& at) const noexcept
{
    auto const address = ip_address::of(at);
    if (!address.known)
        return unix_ && at.is_unix();
    return std::any_of(networks_.begin(), networks_.end(),
                       [&](network const& n) { return same_bits(n.bytes, address.bytes, n.bits); });
}

} // namespace wring::detail
