// SPDX-License-Identifier: BSL-1.0
#include "catch.hpp"

#include <wring/fmt.hpp>

namespace ws_test {

using namespace wring;

TEST_CASE("fmt: endpoints and engines as their own to_string()", "[fmt]")
{
    CHECK(fmt::format("{}", endpoint::parse("127.0.0.1:9001").value()) == "127.0.0.1:9001");
    CHECK(fmt::format("{}", endpoint::parse("unix:@name").value()) == "unix:@name");
    CHECK(fmt::format("{}", endpoint()) == "unknown");
    CHECK(fmt::format("{}", engine_kind::uring) == to_string(engine_kind::uring));
    CHECK(fmt::format("{}", engine_kind::asio) == to_string(engine_kind::asio));
}

TEST_CASE("fmt: the format of a string", "[fmt]")
{
    CHECK(fmt::format("[{:>16}]", endpoint::parse("127.0.0.1:9001").value()) == "[  127.0.0.1:9001]");
    CHECK(fmt::format("[{:-<6}]", ws::opcode::text) == "[text--]");
    CHECK(fmt::format("{:.4}", ws::close_code::normal) == "1000");
}

TEST_CASE("fmt: errors by their message", "[fmt]")
{
    for (errc e : {errc::canceled, errc::timed_out, errc::end_of_stream})
        CHECK(fmt::format("{}", e) == make_error_code(e).message());
    for (ws::errc e : {ws::errc::closed, ws::errc::pong_timeout, ws::errc::no_message})
        CHECK(fmt::format("{}", e) == ws::make_error_code(e).message());
}

TEST_CASE("fmt: close codes by number, and by name where they have one", "[fmt]")
{
    CHECK(fmt::format("{}", ws::close_code::normal) == "1000 (normal)");
    CHECK(fmt::format("{}", ws::close_code::message_too_big) == "1009 (message too big)");
    CHECK(fmt::format("{}", ws::close_code::bad_gateway) == "1014 (bad gateway)");
    CHECK(fmt::format("{}", ws::close_code{4000}) == "4000");
}

TEST_CASE("fmt: frames and messages without their payload", "[fmt]")
{
    std::byte const secret[] = {std::byte{'a'}, std::byte{'b'}, std::byte{'c'}};
    ws::frame frame{ws::opcode::text, true, secret};
    CHECK(fmt::format("{}", frame) == "text, 3 bytes");
    frame = {ws::opcode::continuation, false, std::span(secret, 1)};
    CHECK(fmt::format("{}", frame) == "continuation, 1 byte, more to come");
    frame.op = ws::opcode{9};
    CHECK(fmt::format("{}", frame) == "reserved, 1 byte, more to come");
    CHECK(fmt::format("{}", ws::message{false, {}}) == "binary, 0 bytes");
    CHECK(fmt::format("{}", ws::message{true, secret}) == "text, 3 bytes");
}

} // namespace ws_test
