// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cstdint>

namespace wring::proto {

// Everything that can be wrong with bytes a peer sent, or with what an application asked to send. One value per rule,
// so that a log names the rule; what the peer is told is coarser and comes from the one table in error.cpp.
enum class errc : std::uint8_t
{
    ok = 0,

    // Received frames (RFC 6455 sections 5.2 to 5.6, 7.4, 8.1).
    reserved_bit,
    reserved_opcode,
    control_fragmented,
    control_too_long,
    mask_missing,
    mask_unexpected,
    length_not_minimal,
    length_msb,
    continuation_stray,
    continuation_expected,
    close_payload_short,
    close_code_invalid,
    utf8_text,
    utf8_close_reason,
    deflate_invalid,
    frame_too_large,
    message_too_large,
    too_many_fragments,

    // What the application asked to send breaks a rule. Nothing is told to the peer.
    send_after_close,
    send_interleaved,
    send_no_message,
    send_control_fragmented,
    send_control_too_long,
    send_reserved_opcode,
    send_close_code,
    send_utf8,

    // The text of an HTTP head, either role (RFC 9112 sections 2 to 5).
    head_too_large,
    too_many_fields,
    target_too_long,
    empty_line,
    bare_lf,
    bare_cr,
    control_character,
    obs_fold,
    space_before_field,
    space_before_colon,
    field_name_invalid,
    field_no_colon,
    method_invalid,
    target_invalid,
    request_line,
    status_line,
    http_version_malformed,
    http_version_unsupported,
    tls_unexpected,

    // A request as a whole (RFC 9110, RFC 9112, RFC 6455 section 4.2.1).
    target_form,
    host_missing,
    host_duplicate,
    host_invalid,
    host_mismatch,
    content_length_invalid,
    transfer_encoding_invalid,
    length_and_encoding,
    expectation,
    not_an_upgrade,
    method_not_allowed,
    http_1_0_upgrade,
    connection_not_upgrade,
    connection_close,
    version_missing,
    version_duplicate,
    version_unsupported,
    key_missing,
    key_duplicate,
    key_invalid,
    origin_duplicate,
    body_on_upgrade,
    subprotocol_invalid,
    subprotocol_duplicate,
    subprotocol_excess,
    extension_invalid,
    transfer_coding_unknown,
    path_escape,
    path_dots,

    // The body of a request (RFC 9112 section 7.1).
    chunk_size,
    chunk_extension,
    chunk_end,
    trailer,
    body_cut_short,

    // What a proxy says before the request.
    proxy_header,

    // Refusals decided above this layer; here because their answers belong to the same table.
    origin_forbidden,
    not_found,
    handshake_timeout,
    body_timeout,
    content_too_large,
    overloaded,
    hash_unavailable,

    // A response, as the client judges it (RFC 6455 section 4.1).
    too_many_interim,
    status_not_101,
    response_http_1_0,
    response_upgrade,
    response_connection,
    accept_missing,
    accept_duplicate,
    accept_mismatch,
    extension_unoffered,
    extension_duplicate,
    extension_parameters,
    response_subprotocol_unoffered,
    response_subprotocol_multiple,
    redirect_location,
    redirect_insecure,

    // What a proxy says, as the client judges it (RFC 1928, RFC 1929).
    socks_version,
    socks_method,
    socks_reply,

    // Header fields, targets and URLs an application passed in; from here on, see is_argument().
    header_name,
    header_value,
    header_reserved,
    host_argument,
    target_argument,
    key_argument,
    deflate_argument,
    url_scheme,
    url_host,
    url_port,
    url_userinfo,
    url_fragment,
    url_character,
    url_socket_path,
    proxy_url,
    proxy_credentials,
};

// Number of values above, for tables and tests.
inline constexpr unsigned errc_count = static_cast<unsigned>(errc::proxy_credentials) + 1;

// Whether it is the application that has to change something, and not the peer.
[[nodiscard]] constexpr bool is_argument(errc e) noexcept
{
    return e >= errc::header_name;
}

// Status code of the close frame that answers a received violation; 0 where no close frame is the answer.
[[nodiscard]] std::uint16_t close_code_for(errc e) noexcept;

// Status of the HTTP response that refuses a request for this reason; 0 where no response is the answer.
[[nodiscard]] std::uint16_t http_status_for(errc e) noexcept;

// One sentence that says what is wrong, without a full stop. Static storage.
[[nodiscard]] char const* message(errc e) noexcept;

} // namespace wring::proto
