// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "proto/error.hpp"
#include "proto/http.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace wring::proto {

// The value of Sec-WebSocket-Accept for a key (RFC 6455 section 4.2.2, item 5.4); nothing if libcrypto refuses SHA-1.
[[nodiscard]] std::optional<std::array<char, 28>> accept_key(std::string_view key) noexcept;

// A client's key: the base64 form of 16 fresh random bytes.
[[nodiscard]] std::array<char, 24> encode_key(std::span<std::byte const, 16> random) noexcept;

// The text with its percent escapes replaced by what they stand for; incomplete ones are left as they are.
[[nodiscard]] std::string percent_decoded(std::string_view text);

// The Authorization value for a URL's userinfo, "user:password" percent-encoded (RFC 7617 section 2).
[[nodiscard]] std::string basic_authorization(std::string_view userinfo);

// --- Server ---

// What every request must satisfy, WebSocket or not: target form, Host, message framing, no expectation
// (RFC 9112 sections 3.2 and 6, RFC 9110 section 10.1.1).
[[nodiscard]] errc check_request(request_head const& request) noexcept;

// check_request() and RFC 6455 section 4.2.1. errc::not_an_upgrade: a sound request that does not ask for WebSocket,
// for an HTTP page or a 426. Origin, path and credentials are the application's to judge, before the 101.
[[nodiscard]] errc check_upgrade(request_head const& request) noexcept;

struct subprotocol_choice
{
    errc error = errc::ok;
    std::string_view name; // view of `preferred`; empty: none in common, or none offered
};

// The first of `preferred` (comma separated, the server's order) that the client offers. Names compare with case. An
// offer with a bad token, a repeated name or more than 64 names is an error.
[[nodiscard]] subprotocol_choice choose_subprotocol(request_head const& request, std::string_view preferred) noexcept;

struct switching_protocols
{
    std::string_view key;         // of a request that passed check_upgrade()
    std::string_view subprotocol; // empty: none
    std::string_view extensions;  // the Sec-WebSocket-Extensions value; empty: none
    std::span<field const> extra; // the application's own fields
};

// Appends the 101 response to `out`. On an error (a bad name or value, a field that is the protocol's) `out` is
// unchanged.
[[nodiscard]] errc write_switching_protocols(std::string& out, switching_protocols const& answer);

struct refusal
{
    std::uint16_t status = 400;
    std::string_view body;
    std::string_view content_type = "text/plain; charset=utf-8";
    std::uint32_t retry_after = 1; // seconds, for 503
    std::span<field const> extra;
};

// Appends a complete response to `out`, of a status from 200 to 599: `Connection: close` always, Content-Length (but
// for 204 and 304, which have no body), and what the status calls for: 405 Allow, 426 Sec-WebSocket-Version and
// Upgrade, 503 Retry-After. As above on errors.
[[nodiscard]] errc write_refusal(std::string& out, refusal const& answer);

// --- Client ---

struct client_request
{
    std::string_view host;         // the Host field: url::authority
    std::string_view target = "/"; // url::target; one that begins with '?' gets its '/' here
    std::string_view key;          // encode_key()
    std::string_view subprotocols; // comma separated offer; empty: none
    std::string_view extensions;   // the Sec-WebSocket-Extensions offer; empty: none
    std::string_view origin;
    std::span<field const> extra;
};

// Appends the request to `out`; on an error `out` is unchanged. Nothing from the application can end a line early.
[[nodiscard]] errc write_request(std::string& out, client_request const& request);

// How many 1xx responses other than 101 a client puts up with.
inline constexpr unsigned max_interim_responses = 8;

// For each response head before check_response(): ok, and `skip` says whether to throw this head away and read the
// next. `seen` starts at 0 and belongs to one handshake.
[[nodiscard]] errc skip_interim(response_head const& response, unsigned& seen, bool& skip) noexcept;

struct accepted
{
    std::string_view subprotocol; // views of the response; empty: none
    std::string_view extensions;  // for the extension to judge its parameters
};

// The client's list, RFC 6455 section 4.1: `sent` is what write_request() was given. `out` is set only on ok. Bytes
// behind the head are frames.
[[nodiscard]] errc check_response(response_head const& response, client_request const& sent, accepted& out) noexcept;

// --- Both ---

// errc::ok, errc::header_name, errc::header_value, or errc::header_reserved for fields that frame the message or belong
// to the handshake.
[[nodiscard]] errc check_field(field const& f) noexcept;

} // namespace wring::proto
