// SPDX-License-Identifier: BSL-1.0
#include "proto/error.hpp"

#include <array>
#include <cstddef>

namespace wring::proto {
namespace {

struct row
{
    errc code;
    std::uint16_t close; // answer on an open connection, 0: none
    std::uint16_t http;  // answer before it is open, 0: none
    char const* text;
};

// In the order of the enumeration; checked below.
constexpr std::array<row, errc_count> table{{
    {errc::ok, 0, 0, "no error"},

    {errc::reserved_bit, 1002, 0, "frame has a reserved bit set that no extension uses"},
    {errc::reserved_opcode, 1002, 0, "frame has a reserved opcode"},
    {errc::control_fragmented, 1002, 0, "control frame is fragmented"},
    {errc::control_too_long, 1002, 0, "control frame has more than 125 bytes"},
    {errc::mask_missing, 1002, 0, "client's frame is not masked"},
    {errc::mask_unexpected, 1002, 0, "server's frame is masked"},
    {errc::length_not_minimal, 1002, 0, "frame length is not in its shortest form"},
    {errc::length_msb, 1002, 0, "frame length has its highest bit set"},
    {errc::continuation_stray, 1002, 0, "continuation frame without a message to continue"},
    {errc::continuation_expected, 1002, 0, "new message begins before the last one has ended"},
    {errc::close_payload_short, 1002, 0, "close frame has a payload of one byte"},
    {errc::close_code_invalid, 1002, 0, "close frame has a code that must not be sent"},
    {errc::utf8_text, 1007, 0, "text message is not valid UTF-8"},
    {errc::utf8_close_reason, 1007, 0, "close reason is not valid UTF-8"},
    {errc::deflate_invalid, 1007, 0, "compressed message cannot be decompressed"},
    {errc::frame_too_large, 1009, 0, "frame is larger than the limit"},
    {errc::message_too_large, 1009, 0, "message is larger than the limit"},
    {errc::too_many_fragments, 1008, 0, "message has more fragments than the limit"},

    {errc::send_after_close, 0, 0, "nothing may be sent after a close frame"},
    {errc::send_interleaved, 0, 0, "a new message may not begin before the last one has ended"},
    {errc::send_no_message, 0, 0, "there is no message to continue"},
    {errc::send_control_fragmented, 0, 0, "a control frame may not be fragmented"},
    {errc::send_control_too_long, 0, 0, "a control frame's payload may not exceed 125 bytes"},
    {errc::send_reserved_opcode, 0, 0, "a reserved opcode may not be sent"},
    {errc::send_close_code, 0, 0, "this close code may not be sent"},
    {errc::send_utf8, 0, 0, "text to send is not valid UTF-8"},

    {errc::head_too_large, 0, 431, "header block is larger than the limit"},
    {errc::too_many_fields, 0, 431, "more header fields than the limit"},
    {errc::target_too_long, 0, 414, "request target is longer than the limit"},
    {errc::empty_line, 0, 400, "more than one empty line before the request"},
    {errc::bare_lf, 0, 400, "line ends in a bare LF"},
    {errc::bare_cr, 0, 400, "CR without LF"},
    {errc::control_character, 0, 400, "control character in a field value"},
    {errc::obs_fold, 0, 400, "folded header field"},
    {errc::space_before_field, 0, 400, "white space before the first header field"},
    {errc::space_before_colon, 0, 400, "white space in or after a field name"},
    {errc::field_name_invalid, 0, 400, "field name is empty or not a token"},
    {errc::field_no_colon, 0, 400, "header field without a colon"},
    {errc::method_invalid, 0, 400, "request method is not a token"},
    {errc::target_invalid, 0, 400, "character in the request target that is not allowed there"},
    {errc::request_line, 0, 400, "request line is malformed"},
    {errc::status_line, 0, 0, "status line is malformed"},
    {errc::http_version_malformed, 0, 400, "HTTP version is malformed"},
    {errc::http_version_unsupported, 0, 505, "HTTP version is not 1.0 or 1.1"},
    {errc::tls_unexpected, 0, 400, "peer speaks TLS where TLS is not spoken"},

    {errc::target_form, 0, 400, "request target is neither a path nor a URL"},
    {errc::host_missing, 0, 400, "Host field is missing"},
    {errc::host_duplicate, 0, 400, "more than one Host field"},
    {errc::host_invalid, 0, 400, "Host field is not a host and port"},
    {errc::host_mismatch, 0, 400, "Host field differs from the host in the request target"},
    {errc::content_length_invalid, 0, 400, "Content-Length is not one decimal number"},
    {errc::transfer_encoding_invalid, 0, 400, "Transfer-Encoding is not chunked alone at the end of HTTP/1.1 codings"},
    {errc::length_and_encoding, 0, 400, "both Content-Length and Transfer-Encoding"},
    {errc::expectation, 0, 417, "Expect field: expectations are not met here"},
    {errc::not_an_upgrade, 0, 426, "request does not ask for an upgrade to WebSocket"},
    {errc::method_not_allowed, 0, 405, "WebSocket handshake with a method other than GET"},
    {errc::http_1_0_upgrade, 0, 400, "WebSocket handshake in HTTP/1.0"},
    {errc::connection_not_upgrade, 0, 400, "Connection field does not name Upgrade"},
    {errc::connection_close, 0, 400, "Connection field names both close and Upgrade"},
    {errc::version_missing, 0, 426, "Sec-WebSocket-Version is missing"},
    {errc::version_duplicate, 0, 400, "more than one Sec-WebSocket-Version"},
    {errc::version_unsupported, 0, 426, "Sec-WebSocket-Version is not 13"},
    {errc::key_missing, 0, 400, "Sec-WebSocket-Key is missing"},
    {errc::key_duplicate, 0, 400, "more than one Sec-WebSocket-Key"},
    {errc::key_invalid, 0, 400, "Sec-WebSocket-Key is not 16 bytes in base64"},
    {errc::origin_duplicate, 0, 400, "more than one Origin field"},
    {errc::body_on_upgrade, 0, 400, "WebSocket handshake with a request body"},
    {errc::subprotocol_invalid, 0, 400, "subprotocol is not a token"},
    {errc::subprotocol_duplicate, 0, 400, "subprotocol is named twice"},
    {errc::subprotocol_excess, 0, 400, "more subprotocols than a handshake may offer"},
    {errc::extension_invalid, 0, 400, "Sec-WebSocket-Extensions is malformed"},

    {errc::transfer_coding_unknown, 0, 501, "Transfer-Encoding names a coding other than chunked"},
    {errc::path_escape, 0, 400, "path has a percent escape that is incomplete or stands for NUL"},
    {errc::path_dots, 0, 400, "path has a segment that is one dot or two"},

    {errc::chunk_size, 0, 400, "chunk size is not a hexadecimal number"},
    {errc::chunk_extension, 0, 400, "chunk extension is malformed or too long"},
    {errc::chunk_end, 0, 400, "chunk does not end where its size says"},
    {errc::trailer, 0, 400, "trailer section is malformed or too long"},
    {errc::body_cut_short, 0, 400, "stream ended before the request body did"},

    {errc::proxy_header, 0, 0, "PROXY header is missing or malformed"},

    {errc::origin_forbidden, 0, 403, "origin is not allowed"},
    {errc::not_found, 0, 404, "nothing is served at this path"},
    {errc::handshake_timeout, 0, 408, "handshake took too long"},
    {errc::body_timeout, 0, 408, "request body took too long"},
    {errc::content_too_large, 0, 413, "request body is larger than the limit"},
    {errc::overloaded, 0, 503, "server is at its limit of connections"},
    {errc::hash_unavailable, 0, 503, "the cryptographic library refuses SHA-1"},

    {errc::too_many_interim, 0, 0, "too many interim responses before the final one"},
    {errc::status_not_101, 0, 0, "server did not switch protocols"},
    {errc::response_http_1_0, 0, 0, "server switched protocols in HTTP/1.0"},
    {errc::response_upgrade, 0, 0, "Upgrade field of the response is not websocket"},
    {errc::response_connection, 0, 0, "Connection field of the response does not name Upgrade"},
    {errc::accept_missing, 0, 0, "Sec-WebSocket-Accept is missing"},
    {errc::accept_duplicate, 0, 0, "more than one Sec-WebSocket-Accept"},
    {errc::accept_mismatch, 0, 0, "Sec-WebSocket-Accept does not match the key that was sent"},
    {errc::extension_unoffered, 0, 0, "server chose an extension that was not offered"},
    {errc::extension_duplicate, 0, 0, "server chose an extension twice"},
    {errc::extension_parameters, 0, 0, "server chose parameters of an extension that are bad or were not offered"},
    {errc::response_subprotocol_unoffered, 0, 0, "server chose a subprotocol that was not offered"},
    {errc::response_subprotocol_multiple, 0, 0, "server chose more than one subprotocol"},
    {errc::redirect_location, 0, 0, "server redirects to what is no ws: or wss: URL"},
    {errc::redirect_insecure, 0, 0, "server redirects from wss: to ws:, which is not allowed"},

    {errc::socks_version, 0, 0, "proxy does not speak SOCKS version 5"},
    {errc::socks_method, 0, 0, "proxy chose a way to authenticate that was not offered"},
    {errc::socks_reply, 0, 0, "proxy's SOCKS reply is malformed"},

    {errc::header_name, 0, 0, "header field name is not a token"},
    {errc::header_value, 0, 0, "header field value holds a control character"},
    {errc::header_reserved, 0, 0, "header field is set by the protocol itself"},
    {errc::host_argument, 0, 0, "host to connect to is not a host and port"},
    {errc::target_argument, 0, 0, "request target is not a path and query"},
    {errc::key_argument, 0, 0, "handshake key is not 16 bytes in base64"},
    {errc::deflate_argument, 0, 0, "an option of permessage-deflate is out of its range"},
    {errc::url_scheme, 0, 0, "URL does not begin with ws://, wss:// or ws+unix:"},
    {errc::url_host, 0, 0, "URL has no valid host"},
    {errc::url_port, 0, 0, "port in the URL is not a number from 1 to 65535"},
    {errc::url_userinfo, 0, 0, "user information in the URL has a character that must be percent-encoded"},
    {errc::url_fragment, 0, 0, "a WebSocket URL has no fragment (#)"},
    {errc::url_character, 0, 0, "path or query of the URL has a character that must be percent-encoded"},
    {errc::url_socket_path, 0, 0, "ws+unix URL has no absolute socket path"},
    {errc::proxy_url, 0, 0, "proxy is not http://, https:// or socks5:// with a host"},
    {errc::proxy_credentials, 0, 0, "user or password for the SOCKS proxy is empty or longer than 255 bytes"},
}};

constexpr bool in_order()
{
    for (std::size_t i = 0; i < table.size(); ++i)
        if (static_cast<std::size_t>(table[i].code) != i || table[i].text == nullptr) return false;
    return true;
}
static_assert(in_order(), "each errc has its row, at its own index");

constexpr row const& row_of(errc e) noexcept
{
    return table[static_cast<std::size_t>(e) % errc_count];
}

} // namespace

std::uint16_t close_code_for(errc e) noexcept
{
    return row_of(e).close;
}

std::uint16_t http_status_for(errc e) noexcept
{
    return row_of(e).http;
}

char const* message(errc e) noexcept
{
    return row_of(e).text;
}

} // namespace wring::proto
