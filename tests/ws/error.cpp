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
                   ws::errc::frame_timeout, ws::errc::close_timeout, ws::errc::handshake_timeout, ws::errc::forbidden,
                   ws::errc::answered, ws::errc::no_message, ws::errc::outbox_full}) {
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
    CHECK(make_error_code(ws::errc::frame_timeout) == std::errc::timed_out);
    CHECK(make_error_code(ws::errc::close_timeout) == std::errc::timed_out);
    CHECK(make_error_code(ws::errc::handshake_timeout) == std::errc::timed_out);
    CHECK(make_error_code(ws::errc::abnormal_closure) == std::errc::connection_aborted);
    CHECK(make_error_code(ws::errc::forbidden) == std::errc::permission_denied);
    CHECK(make_error_code(ws::errc::outbox_full) == std::errc::no_buffer_space);
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

TEST_CASE("a proxy's refusals say what they are")
{
    auto const e = [](int code) { return std::error_code(code, ws::proxy_category()); };
    std::set<std::string> messages;
    for (int code : {1, 2, 3, 4, 5, 6, 7, 8, 255, 407, 502})
        messages.insert(e(code).message());
    CHECK(messages.size() == 11);
    CHECK(e(407).message().find("407") != std::string::npos);
    CHECK(e(401) == std::errc::permission_denied);
    CHECK(e(407) == std::errc::permission_denied);
    CHECK(e(403) == std::errc::permission_denied);
    CHECK(e(255) == std::errc::permission_denied);
    CHECK(e(2) == std::errc::permission_denied);
    CHECK(e(3) == std::errc::network_unreachable);
    CHECK(e(4) == std::errc::host_unreachable);
    CHECK(e(5) == std::errc::connection_refused);
    CHECK(e(6) == std::errc::timed_out);
    CHECK(e(504) == std::errc::timed_out);
    CHECK(e(7) == std::errc::operation_not_supported);
    CHECK(e(8) == std::errc::address_family_not_supported);
    CHECK(e(1) != std::errc::permission_denied);
    CHECK(std::string(ws::proxy_category().name()) == "wring.ws.proxy");
}
