// SPDX-License-Identifier: BSL-1.0
#include "catch.hpp"

#include "proto/error.hpp"

#include <wring/ws.hpp>

#include <set>
#include <string>

using namespace wring;

TEST_CASE("each WebSocket error has a message of its own")
{
    std::set<std::string> messages;
    int count = 0;
    for (auto e : {ws::errc::closed, ws::errc::abnormal_closure, ws::errc::pong_timeout, ws::errc::idle_timeout,
                   ws::errc::close_timeout, ws::errc::handshake_timeout, ws::errc::forbidden, ws::errc::answered,
                   ws::errc::no_message}) {
        std::error_code const code = e;
        CHECK(code.category() == ws::error_category());
        messages.insert(code.message());
        ++count;
    }
    CHECK(messages.size() == static_cast<std::size_t>(count));
    CHECK(std::error_code(999, ws::error_category()).message() == "unknown WebSocket error");
    CHECK(std::string(ws::error_category().name()) == "wring.ws");
}

TEST_CASE("WebSocket errors compare with the conditions of the system")
{
    CHECK(make_error_code(ws::errc::pong_timeout) == std::errc::timed_out);
    CHECK(make_error_code(ws::errc::idle_timeout) == std::errc::timed_out);
    CHECK(make_error_code(ws::errc::close_timeout) == std::errc::timed_out);
    CHECK(make_error_code(ws::errc::handshake_timeout) == std::errc::timed_out);
    CHECK(make_error_code(ws::errc::abnormal_closure) == std::errc::connection_aborted);
    CHECK(make_error_code(ws::errc::forbidden) == std::errc::permission_denied);
    CHECK(make_error_code(ws::errc::closed) != std::errc::timed_out);
    CHECK(make_error_code(ws::errc::closed) == ws::closed);
}

TEST_CASE("a violation is a protocol error and says which rule was broken")
{
    std::error_code const e(static_cast<int>(proto::errc::mask_missing), ws::protocol_category());
    CHECK(e == std::errc::protocol_error);
    CHECK(e.message() == proto::message(proto::errc::mask_missing));
    CHECK(std::string(ws::protocol_category().name()) == "wring.ws.protocol");
}

TEST_CASE("a refused upgrade names its HTTP status")
{
    std::error_code const e(426, ws::http_category());
    CHECK(e.message().find("426") != std::string::npos);
    CHECK(std::string(ws::http_category().name()) == "wring.ws.http");
}
