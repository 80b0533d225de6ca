// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "proto/error.hpp"

#include <cstdint>
#include <string>
#include <string_view>

namespace wring::proto {

// A WebSocket URL (RFC 6455 section 3) taken apart. Views of the text that was parsed.
struct url
{
    enum class scheme : std::uint8_t
    {
        ws,
        wss,
        unix_socket
    };

    scheme kind = scheme::ws;
    std::uint16_t port = 0;
    std::string_view host;        // a name, an IPv4 address, or an IPv6 address without its brackets
    std::string_view authority;   // for the Host field: host, brackets included, and the port unless it is the default
    std::string_view userinfo;    // "user:password" as written, still percent-encoded; empty without one
    std::string_view target;      // path and query; "/" without a path, begins with '?' for a query without a path
    std::string_view socket_path; // of ws+unix:/path/to.sock:/target
};

// Accepts ws://, wss:// and ws+unix:, schemes in any case. A fragment is refused (section 3), and so is every character
// that RFC 3986 does not allow in a URL. `out` is set only on ok.
[[nodiscard]] errc parse_url(std::string_view text, url& out) noexcept;

// Where a response with this Location leads from `base` (RFC 3986 section 5, RFC 9110 section 10.2.2): a WebSocket URL
// without user information and fragment. http: and https: stand for ws: and wss:. errc::redirect_location where it is
// none, and where it names a Unix socket, which is not a server's to choose. `out` is set only on ok.
[[nodiscard]] errc redirect_target(url const& base, std::string_view location, std::string& out);

// Whether two URLs have the same scheme, host and port, or Unix socket (RFC 6454 section 5).
[[nodiscard]] bool same_origin(url const& a, url const& b) noexcept;

// host [ ":" port ] of a Host field or a URL (RFC 3986 section 3.2.2, without sub-delims in names).
struct authority
{
    std::string_view host;      // without brackets
    std::string_view host_text; // with them
    std::string_view port;      // digits, possibly none
};

// errc::url_host or errc::url_port when `text` is no authority. An empty port is legal, an empty host is not.
[[nodiscard]] errc parse_authority(std::string_view text, authority& out) noexcept;

// Whether each character may stand in the path and query of a URL: RFC 3986's, with complete percent escapes.
[[nodiscard]] bool valid_url_target(std::string_view text) noexcept;

// The same for user and password.
[[nodiscard]] bool valid_userinfo(std::string_view text) noexcept;

} // namespace wring::proto
