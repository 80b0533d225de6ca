// SPDX-License-Identifier: BSL-1.0
#include <wring/endpoint.hpp>

#include <arpa/inet.h>
#include <charconv>
#include <cstring>
#include <fmt/format.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

namespace wring {

namespace {

constexpr std::size_t path_offset = offsetof(sockaddr_un, sun_path);

template <class T>
T view_as(void const* storage) noexcept
{
    T address;
    std::memcpy(&address, storage, sizeof address);
    return address;
}

result<endpoint> parse_unix(std::string_view path) noexcept
{
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    bool const abstract = !path.empty() && path.front() == '@';
    // A path ends with a NUL, an abstract name begins with one.
    if (path.empty() || path.size() >= sizeof address.sun_path || path.find('\0') != path.npos ||
        (abstract && path.size() == 1))
        return errc::bad_endpoint;
    std::memcpy(address.sun_path, path.data(), path.size());
    if (abstract)
        address.sun_path[0] = '\0';
    return endpoint::from_sockaddr(&address, path_offset + path.size() + (abstract ? 0 : 1));
}

/// The number of an interface given by name or number; 0 where there is none.
unsigned zone_index(char const* zone) noexcept
{
    unsigned index = 0;
    auto const [end, error] = std::from_chars(zone, zone + std::strlen(zone), index);
    if (error == std::errc{} && *end == '\0')
        return index;
    return ::if_nametoindex(zone);
}

result<endpoint> parse_ip(host_port const& text) noexcept
{
    char host[INET6_ADDRSTRLEN + IF_NAMESIZE + 1];
    if (text.host.size() >= sizeof host)
        return errc::bad_endpoint;
    std::memcpy(host, text.host.data(), text.host.size());
    host[text.host.size()] = '\0';

    sockaddr_in v4{};
    v4.sin_family = AF_INET;
    v4.sin_port = htons(text.port);
    if (::inet_pton(AF_INET, host, &v4.sin_addr) == 1)
        return endpoint::from_sockaddr(&v4, sizeof v4);

    sockaddr_in6 v6{};
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(text.port);
    if (text.host == "*") // in6addr_any takes IPv4 too
        return endpoint::from_sockaddr(&v6, sizeof v6);
    if (char* zone = std::strchr(host, '%')) {
        *zone++ = '\0';
        v6.sin6_scope_id = zone_index(zone);
        if (v6.sin6_scope_id == 0)
            return errc::bad_endpoint;
    }
    if (::inet_pton(AF_INET6, host, &v6.sin6_addr) == 1)
        return endpoint::from_sockaddr(&v6, sizeof v6);
    return errc::bad_endpoint;
}

} // namespace

result<host_port> split_host_port(std::string_view text) noexcept
{
    auto const colon = text.rfind(':');
    if (colon == text.npos || colon == 0 || text.find('\0') != text.npos)
        return errc::bad_endpoint;
    std::string_view host = text.substr(0, colon);
    std::string_view const digits = text.substr(colon + 1);
    bool const brackets = host.front() == '[' && host.back() == ']';
    if (brackets)
        host = host.substr(1, host.size() - 2);
    if (brackets != (host.find(':') != host.npos))
        return errc::bad_endpoint; // they are for IPv6 addresses, which need them
    std::uint16_t port = 0;
    auto const [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
    if (host.empty() || digits.empty() || error != std::errc{} || end != digits.data() + digits.size())
        return errc::bad_endpoint;
    return host_port{host, port};
}

result<endpoint> endpoint::parse(std::string_view text) noexcept
{
    if (text.starts_with("unix:"))
        return parse_unix(text.substr(5));
    auto const parts = split_host_port(text);
    if (!parts)
        return parts.error();
    return parse_ip(*parts);
}

endpoint endpoint::from_sockaddr(void const* address, std::size_t size) noexcept
{
    endpoint e;
    if (size < sizeof(sa_family_t) || size > e.storage_.size())
        return e;
    // Equal addresses have equal bytes: no padding, nothing behind the end of a path.
    auto const take = [&](std::size_t n) {
        std::memcpy(e.storage_.data(), address, n);
        e.size_ = static_cast<std::uint8_t>(n);
    };
    switch (view_as<sa_family_t>(address)) {
    case AF_INET:
        if (size >= sizeof(sockaddr_in)) {
            take(offsetof(sockaddr_in, sin_zero));
            e.size_ = sizeof(sockaddr_in);
        }
        break;
    case AF_INET6:
        if (size >= sizeof(sockaddr_in6))
            take(sizeof(sockaddr_in6));
        break;
    case AF_UNIX: {
        auto const* path = static_cast<char const*>(address) + path_offset;
        std::size_t const n = size > path_offset ? size - path_offset : 0;
        bool const is_path = n > 0 && path[0] != '\0';
        std::size_t const length = is_path ? ::strnlen(path, n) : n;
        take(path_offset + length);
        if (is_path && length < sizeof(sockaddr_un::sun_path))
            ++e.size_; // the terminator; the bytes behind are zero
        break;
    }
    case AF_UNSPEC: break;
    default: take(size);
    }
    return e;
}

int endpoint::family() const noexcept
{
    return size_ ? view_as<sa_family_t>(storage_.data()) : AF_UNSPEC;
}

bool endpoint::is_ip() const noexcept
{
    return family() == AF_INET || family() == AF_INET6;
}

bool endpoint::is_unix() const noexcept
{
    return family() == AF_UNIX;
}

std::uint16_t endpoint::port() const noexcept
{
    switch (family()) {
    case AF_INET: return ntohs(view_as<sockaddr_in>(storage_.data()).sin_port);
    case AF_INET6: return ntohs(view_as<sockaddr_in6>(storage_.data()).sin6_port);
    default: return 0;
    }
}

void endpoint::set_port(std::uint16_t port) noexcept
{
    static_assert(offsetof(sockaddr_in, sin_port) == offsetof(sockaddr_in6, sin6_port));
    std::uint16_t const value = htons(port);
    if (is_ip())
        std::memcpy(storage_.data() + offsetof(sockaddr_in, sin_port), &value, sizeof value);
}

std::string endpoint::address() const
{
    char text[INET6_ADDRSTRLEN] = {};
    switch (family()) {
    case AF_INET: {
        auto const a = view_as<sockaddr_in>(storage_.data());
        return ::inet_ntop(AF_INET, &a.sin_addr, text, sizeof text);
    }
    case AF_INET6: {
        auto const a = view_as<sockaddr_in6>(storage_.data());
        std::string s = ::inet_ntop(AF_INET6, &a.sin6_addr, text, sizeof text);
        char name[IF_NAMESIZE];
        if (a.sin6_scope_id != 0 && ::if_indextoname(a.sin6_scope_id, name))
            s.append("%").append(name);
        else if (a.sin6_scope_id != 0)
            s.append("%").append(std::to_string(a.sin6_scope_id));
        return s;
    }
    case AF_UNIX: {
        if (size_ <= path_offset)
            return {}; // unnamed, as a client's side is
        auto const* path = reinterpret_cast<char const*>(storage_.data()) + path_offset;
        std::size_t const n = size_ - path_offset;
        if (path[0] == '\0')
            return "@" + std::string(path + 1, n - 1);
        return std::string(path, ::strnlen(path, n));
    }
    default: return {};
    }
}

std::string endpoint::to_string() const
{
    switch (family()) {
    case AF_INET: return fmt::format("{}:{}", address(), port());
    case AF_INET6: return fmt::format("[{}]:{}", address(), port());
    case AF_UNIX: return "unix:" + address();
    default: return "unknown";
    }
}

bool operator==(endpoint const& a, endpoint const& b) noexcept
{
    return a.size_ == b.size_ && std::memcmp(a.storage_.data(), b.storage_.data(), a.size_) == 0;
}

} // namespace wring
