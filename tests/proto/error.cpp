// SPDX-License-Identifier: BSL-1.0
#include "proto/error.hpp"

#include "catch.hpp"

#include <set>
#include <string>

using wring::proto::errc;

namespace {

struct answer
{
    errc error;
    unsigned close;
    unsigned http;
};

// Written down again, from RFC 6455 section 7.4.1 and the RFCs of HTTP, rather than derived from the code.
constexpr answer answers[] = {
    {errc::ok, 0, 0},
    {errc::reserved_bit, 1002, 0},
    {errc::reserved_opcode, 1002, 0},
    {errc::control_fragmented, 1002, 0},
    {errc::control_too_long, 1002, 0},
    {errc::mask_missing, 1002, 0},
    {errc::mask_unexpected, 1002, 0},
    {errc::length_not_minimal, 1002, 0},
    {errc::length_msb, 1002, 0},
    {errc::continuation_stray, 1002, 0},
    {errc::continuation_expected, 1002, 0},
    {errc::close_payload_short, 1002, 0},
    {errc::close_code_invalid, 1002, 0},
    {errc::utf8_text, 1007, 0},
    {errc::utf8_close_reason, 1007, 0},
    {errc::deflate_invalid, 1007, 0},
    {errc::frame_too_large, 1009, 0},
    {errc::message_too_large, 1009, 0},
    {errc::too_many_fragments, 1008, 0},
    {errc::send_after_close, 0, 0},
    {errc::send_interleaved, 0, 0},
    {errc::send_no_message, 0, 0},
    {errc::send_control_fragmented, 0, 0},
    {errc::send_control_too_long, 0, 0},
    {errc::send_reserved_opcode, 0, 0},
    {errc::send_close_code, 0, 0},
    {errc::send_utf8, 0, 0},
    {errc::head_too_large, 0, 431},
    {errc::too_many_fields, 0, 431},
    {errc::target_too_long, 0, 414},
    {errc::empty_line, 0, 400},
    {errc::bare_lf, 0, 400},
    {errc::bare_cr, 0, 400},
    {errc::control_character, 0, 400},
    {errc::obs_fold, 0, 400},
    {errc::space_before_field, 0, 400},
    {errc::space_before_colon, 0, 400},
    {errc::field_name_invalid, 0, 400},
    {errc::field_no_colon, 0, 400},
    {errc::method_invalid, 0, 400},
    {errc::target_invalid, 0, 400},
    {errc::request_line, 0, 400},
    {errc::status_line, 0, 0},
    {errc::http_version_malformed, 0, 400},
    {errc::http_version_unsupported, 0, 505},
    {errc::tls_unexpected, 0, 400},
    {errc::target_form, 0, 400},
    {errc::host_missing, 0, 400},
    {errc::host_duplicate, 0, 400},
    {errc::host_invalid, 0, 400},
    {errc::host_mismatch, 0, 400},
    {errc::content_length_invalid, 0, 400},
    {errc::transfer_encoding_invalid, 0, 400},
    {errc::length_and_encoding, 0, 400},
    {errc::expectation, 0, 417},
    {errc::not_an_upgrade, 0, 426},
    {errc::method_not_allowed, 0, 405},
    {errc::http_1_0_upgrade, 0, 400},
    {errc::connection_not_upgrade, 0, 400},
    {errc::connection_close, 0, 400},
    {errc::version_missing, 0, 426},
    {errc::version_duplicate, 0, 400},
    {errc::version_unsupported, 0, 426},
    {errc::key_missing, 0, 400},
    {errc::key_duplicate, 0, 400},
    {errc::key_invalid, 0, 400},
    {errc::origin_duplicate, 0, 400},
    {errc::body_on_upgrade, 0, 400},
    {errc::subprotocol_invalid, 0, 400},
    {errc::subprotocol_duplicate, 0, 400},
    {errc::subprotocol_excess, 0, 400},
    {errc::extension_invalid, 0, 400},
    {errc::transfer_coding_unknown, 0, 501},
    {errc::path_escape, 0, 400},
    {errc::path_dots, 0, 400},
    {errc::chunk_size, 0, 400},
    {errc::chunk_extension, 0, 400},
    {errc::chunk_end, 0, 400},
    {errc::trailer, 0, 400},
    {errc::body_cut_short, 0, 400},
    {errc::proxy_header, 0, 0},
    {errc::origin_forbidden, 0, 403},
    {errc::not_found, 0, 404},
    {errc::handshake_timeout, 0, 408},
    {errc::body_timeout, 0, 408},
    {errc::content_too_large, 0, 413},
    {errc::overloaded, 0, 503},
    {errc::hash_unavailable, 0, 503},
    {errc::too_many_interim, 0, 0},
    {errc::status_not_101, 0, 0},
    {errc::response_http_1_0, 0, 0},
    {errc::response_upgrade, 0, 0},
    {errc::response_connection, 0, 0},
    {errc::accept_missing, 0, 0},
    {errc::accept_duplicate, 0, 0},
    {errc::accept_mismatch, 0, 0},
    {errc::extension_unoffered, 0, 0},
    {errc::extension_duplicate, 0, 0},
    {errc::extension_parameters, 0, 0},
    {errc::response_subprotocol_unoffered, 0, 0},
    {errc::response_subprotocol_multiple, 0, 0},
    {errc::redirect_location, 0, 0},
    {errc::redirect_insecure, 0, 0},
    {errc::socks_version, 0, 0},
    {errc::socks_method, 0, 0},
    {errc::socks_reply, 0, 0},
    {errc::header_name, 0, 0},
    {errc::header_value, 0, 0},
    {errc::header_reserved, 0, 0},
    {errc::host_argument, 0, 0},
    {errc::target_argument, 0, 0},
    {errc::key_argument, 0, 0},
    {errc::deflate_argument, 0, 0},
    {errc::url_scheme, 0, 0},
    {errc::url_host, 0, 0},
    {errc::url_port, 0, 0},
    {errc::url_userinfo, 0, 0},
    {errc::url_fragment, 0, 0},
    {errc::url_character, 0, 0},
    {errc::url_socket_path, 0, 0},
    {errc::proxy_url, 0, 0},
    {errc::proxy_credentials, 0, 0},
};

} // namespace

TEST_CASE("every error has its answer", "[proto][error]")
{
    STATIC_REQUIRE(std::size(answers) == wring::proto::errc_count);
    for (unsigned i = 0; i < std::size(answers); ++i) {
        auto const& a = answers[i];
        INFO(wring::proto::message(a.error));
        CHECK(static_cast<unsigned>(a.error) == i);
        CHECK(wring::proto::close_code_for(a.error) == a.close);
        CHECK(wring::proto::http_status_for(a.error) == a.http);
    }
}

TEST_CASE("what the application passed in is told from what a peer did", "[proto][error]")
{
    using wring::proto::is_argument;
    for (auto e : {errc::header_name, errc::header_reserved, errc::url_scheme, errc::url_socket_path, errc::proxy_url,
                   errc::proxy_credentials})
        CHECK(is_argument(e));
    for (auto e : {errc::ok, errc::mask_missing, errc::bare_lf, errc::status_not_101, errc::redirect_location,
                   errc::socks_reply})
        CHECK(!is_argument(e));
}

TEST_CASE("every error has a sentence of its own, without a full stop", "[proto][error]")
{
    std::set<std::string> seen;
    for (auto const& a : answers) {
        std::string const text = wring::proto::message(a.error);
        CHECK(text.size() >= 8);
        CHECK(text.back() != '.');
        CHECK(seen.insert(text).second);
    }
}
