// SPDX-License-Identifier: BSL-1.0
#include "proto/close.hpp"

#include "bytes.hpp"
#include "catch.hpp"

using namespace wring::proto;
using namespace wring::test;

namespace {

// As listed in RFC 6455 section 7.4 and the IANA registry of close codes.
bool may_be_received(unsigned code)
{
    switch (code) {
    case 1000:
    case 1001:
    case 1002:
    case 1003:
    case 1007:
    case 1008:
    case 1009:
    case 1010:
    case 1011:
    case 1012:
    case 1013:
    case 1014:
        return true;
    default:
        return code / 1000 == 3 || code / 1000 == 4;
    }
}

byte_string with_code(unsigned code, std::string_view reason)
{
    return byte_string{static_cast<std::byte>(code >> 8), static_cast<std::byte>(code & 0xFF)} + from_text(reason);
}

} // namespace

TEST_CASE("all 65536 close codes with each kind of reason", "[proto][close]")
{
    std::string const longest(123, 'r');
    std::string const bad = "bad \xC3\x28";
    std::string const cut = "cut \xE2\x82";
    unsigned mismatches = 0;
    for (unsigned code = 0; code < 65536; ++code)
        for (std::string const& reason : {std::string{}, std::string{"r"}, longest, bad, cut}) {
            auto const payload = with_code(code, reason);
            close_payload out{7, "unset"};
            auto const e = parse_close(payload, out);
            bool const text_good = &reason != &bad && reason != bad && reason != cut;
            auto const expected = !may_be_received(code) ? errc::close_code_invalid
                                  : !text_good           ? errc::utf8_close_reason
                                                         : errc::ok;
            bool good = e == expected;
            if (e == errc::ok)
                good = good && out.code == code && out.reason == reason;
            else
                good = good && out.code == 7;
            good = good && valid_received_close_code(static_cast<std::uint16_t>(code)) == may_be_received(code);
            mismatches += good ? 0 : 1;
        }
    CHECK(mismatches == 0);
}

TEST_CASE("an empty close payload has no status, one byte is a violation", "[proto][close]")
{
    close_payload out{7, "unset"};
    CHECK(parse_close({}, out) == errc::ok);
    CHECK(out.code == close_no_status);
    CHECK(out.reason.empty());
    CHECK(parse_close(from_hex("03"), out) == errc::close_payload_short);
}

TEST_CASE("all 65536 close codes as something to send", "[proto][close]")
{
    unsigned mismatches = 0;
    std::array<std::byte, max_control_payload> out{};
    for (unsigned code = 0; code < 65536; ++code) {
        auto const r = write_close(static_cast<std::uint16_t>(code), "why", out);
        mismatches += (r.error == errc::ok) != may_be_received(code) ? 1 : 0;
        if (r.error != errc::ok) {
            mismatches += r.error != errc::send_close_code || r.size != 0 ? 1 : 0;
            continue;
        }
        close_payload back;
        mismatches += parse_close(std::span{out}.first(r.size), back) != errc::ok ? 1 : 0;
        mismatches += back.code != code || back.reason != "why" ? 1 : 0;
    }
    CHECK(mismatches == 0);
}

TEST_CASE("a close payload to send may be empty but not have a reason without a code", "[proto][close]")
{
    std::array<std::byte, max_control_payload> out{};
    for (std::uint16_t code : {std::uint16_t{0}, close_no_status}) {
        CHECK(write_close(code, "", out).error == errc::ok);
        CHECK(write_close(code, "", out).size == 0);
        CHECK(write_close(code, "why", out).error == errc::send_close_code);
    }
}

TEST_CASE("a reason to send has at most 123 bytes of UTF-8", "[proto][close]")
{
    std::array<std::byte, max_control_payload> out{};
    CHECK(write_close(1000, std::string(123, 'x'), out).size == 125);
    CHECK(write_close(1000, std::string(124, 'x'), out).error == errc::send_control_too_long);
    CHECK(write_close(1000, "\xFF", out).error == errc::send_utf8);
    CHECK(write_close(1000, "", out).size == 2);
}
