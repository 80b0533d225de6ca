// SPDX-License-Identifier: BSL-1.0
#include "proto/frame.hpp"

#include "bytes.hpp"
#include "catch.hpp"

#include <set>

using namespace wring::proto;
using namespace wring::test;

namespace {

constexpr role roles[] = {role::server, role::client};

// The rules that a header's first two bytes break, as a set; what follows them is assumed well-formed. Written from the
// tables of RFC 6455 section 5.2, not from the parser.
std::set<errc> broken_rules(unsigned first, unsigned second, header_rules rules)
{
    enum
    {
        data,
        bad,
        control
    } const kinds[16] = {data, data, data, bad, bad, bad, bad, bad, control, control, control, bad, bad, bad, bad, bad};
    auto const kind = kinds[first % 16];
    std::set<errc> broken;
    if (kind == bad) broken.insert(errc::reserved_opcode);
    if (first / 16 % 4 != 0) broken.insert(errc::reserved_bit);
    bool const starts_message = first % 16 == 1 || first % 16 == 2;
    if (first / 64 % 2 == 1 && !(rules.rsv1_allowed && starts_message)) broken.insert(errc::reserved_bit);
    if (kind == control && first < 128) broken.insert(errc::control_fragmented);
    if (kind == control && second % 128 > 125) broken.insert(errc::control_too_long);
    if (rules.self == role::server && second < 128) broken.insert(errc::mask_missing);
    if (rules.self == role::client && second >= 128) broken.insert(errc::mask_unexpected);
    return broken;
}

// Two bytes continued so that the length is in its shortest form.
byte_string continued(unsigned first, unsigned second)
{
    byte_string b{static_cast<std::byte>(first), static_cast<std::byte>(second)};
    if (second % 128 == 126) b = b + from_hex("01 2C");
    if (second % 128 == 127) b = b + from_hex("00 00 00 00 00 01 00 00");
    if (second >= 128) b = b + from_hex("01 02 03 04");
    return b;
}

header_result parse(byte_string const& b, role self = role::server)
{
    frame_header h;
    return parse_header(b, {self, false}, h);
}

} // namespace

TEST_CASE("all 65536 first two bytes agree with the table model", "[proto][frame]")
{
    unsigned mismatches = 0;
    for (auto self : roles)
        for (bool const rsv1 : {false, true})
            for (unsigned first = 0; first < 256; ++first)
                for (unsigned second = 0; second < 256; ++second) {
                    header_rules const rules{self, rsv1};
                    auto const broken = broken_rules(first, second, rules);
                    auto const input = continued(first, second);
                    frame_header h;
                    auto const r = parse_header(input, rules, h);
                    bool good = false;
                    if (broken.empty()) {
                        unsigned const short_length = second % 128;
                        auto const length = short_length < 126 ? short_length : short_length == 126 ? 300u : 65536u;
                        good = r.error == errc::ok && r.size == input.size() && h.fin == (first >= 128) &&
                               h.rsv1 == (first / 64 % 2 == 1) && static_cast<unsigned>(h.op) == first % 16 &&
                               h.masked == (second >= 128) && h.length == length;
                    } else {
                        good = r.size == 0 && broken.count(r.error) == 1;
                    }
                    mismatches += good ? 0 : 1;
                }
    CHECK(mismatches == 0);
}

TEST_CASE("a header cut short asks for more, and the verdict does not depend on the cut", "[proto][frame]")
{
    unsigned mismatches = 0;
    for (auto self : roles)
        for (unsigned first = 0; first < 256; ++first)
            for (unsigned second = 0; second < 256; ++second) {
                auto const input = continued(first, second);
                frame_header h;
                auto const whole = parse_header(input, {self, false}, h);
                bool failed = false;
                for (std::size_t cut = 0; cut < input.size(); ++cut) {
                    auto const part = parse_header(std::span{input}.first(cut), {self, false}, h);
                    mismatches += part.size != 0 ? 1 : 0;
                    mismatches += part.error != errc::ok && part.error != whole.error ? 1 : 0;
                    mismatches += failed && part.error == errc::ok ? 1 : 0;
                    failed = part.error != errc::ok;
                }
            }
    CHECK(mismatches == 0);
}

TEST_CASE("a length in a longer form than needed is refused", "[proto][frame]")
{
    CHECK(parse(from_hex("82 FE 00 00 00000000")).error == errc::length_not_minimal);
    CHECK(parse(from_hex("82 FE 00 7D 00000000")).error == errc::length_not_minimal);
    CHECK(parse(from_hex("82 FE 00 7E 00000000")).size == 8);
    CHECK(parse(from_hex("82 FE FF FF 00000000")).size == 8);
    CHECK(parse(from_hex("82 FF 0000000000000000 00000000")).error == errc::length_not_minimal);
    CHECK(parse(from_hex("82 FF 000000000000007E 00000000")).error == errc::length_not_minimal);
    CHECK(parse(from_hex("82 FF 000000000000FFFF 00000000")).error == errc::length_not_minimal);
    CHECK(parse(from_hex("82 FF 0000000000010000 00000000")).size == 14);
}

TEST_CASE("a 64-bit length with its highest bit set is refused at that byte", "[proto][frame]")
{
    for (auto const* length : {"8000000000000000", "FFFFFFFFFFFFFFFF", "FFFFFFFFFFFFFFFC"})
        CHECK(parse(from_hex(std::string{"82 FF "} + length)).error == errc::length_msb);
    CHECK(parse(from_hex("82 FF 80")).error == errc::length_msb);
    frame_header h;
    CHECK(parse_header(from_hex("82 FF 7FFFFFFFFFFFFFFF 00000000"), {}, h).size == 14);
    CHECK(h.length == 0x7FFFFFFFFFFFFFFF);
}

TEST_CASE("what write_header writes is read back, at every length boundary", "[proto][frame]")
{
    std::uint64_t const lengths[] = {0,
                                     1,
                                     125,
                                     126,
                                     127,
                                     128,
                                     65534,
                                     65535,
                                     65536,
                                     65537,
                                     1u << 20,
                                     (1u << 20) - 1,
                                     (1u << 20) + 1,
                                     0xFFFFFFFF,
                                     0x100000000,
                                     0x7FFFFFFFFFFFFFFF};
    for (auto const length : lengths)
        for (auto const op : {opcode::continuation, opcode::text, opcode::binary})
            for (auto self : roles)
                for (bool const fin : {false, true})
                    for (bool const rsv1 : {false, true}) {
                        bool const masked = self == role::server;
                        frame_header const h{fin, rsv1 && op != opcode::continuation, masked, op, {1, 2, 3, 4}, length};
                        std::array<std::byte, max_header_size> out{};
                        auto const size = write_header(h, out.data());
                        CHECK(size == header_size(length, masked));
                        frame_header back;
                        auto const r = parse_header(std::span{out}.first(size), {self, true}, back);
                        CHECK(r.error == errc::ok);
                        CHECK(r.size == size);
                        CHECK(back.fin == h.fin);
                        CHECK(back.rsv1 == h.rsv1);
                        CHECK(back.masked == h.masked);
                        CHECK(back.op == h.op);
                        CHECK(back.length == h.length);
                        CHECK((!masked || back.key == h.key));
                    }
}

TEST_CASE("header sizes follow from length and masking", "[proto][frame]")
{
    CHECK(header_size(0, false) == 2);
    CHECK(header_size(125, true) == 6);
    CHECK(header_size(126, false) == 4);
    CHECK(header_size(65535, true) == 8);
    CHECK(header_size(65536, false) == 10);
    CHECK(header_size(1ull << 62, true) == max_header_size);
}

TEST_CASE("the examples of RFC 6455 section 5.7 are read and written", "[proto][frame]")
{
    frame_header h;
    CHECK(parse_header(from_hex("81 05 48 65 6c 6c 6f"), {role::client, false}, h).size == 2);
    CHECK(h.length == 5);
    CHECK(parse_header(from_hex("81 85 37 fa 21 3d 7f 9f 4d 51 58"), {}, h).size == 6);
    CHECK(h.key == mask_key{0x37, 0xfa, 0x21, 0x3d});
    std::array<std::byte, max_header_size> out{};
    CHECK(write_header({true, false, false, opcode::binary, {}, 256}, out.data()) == 4);
    CHECK(to_text(std::span{out}.first(4)) == to_text(from_hex("82 7E 01 00")));
    CHECK(write_header({true, false, false, opcode::binary, {}, 65536}, out.data()) == 10);
    CHECK(to_text(std::span{out}.first(10)) == to_text(from_hex("82 7F 00 00 00 00 00 01 00 00")));
}
