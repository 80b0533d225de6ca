// SPDX-License-Identifier: BSL-1.0
#include "catch.hpp"

#include <wring/result.hpp>

#include <memory>
#include <set>
#include <string>

using namespace wring;

static_assert(!std::is_convertible_v<result<int>, bool>);
static_assert(std::is_nothrow_move_constructible_v<result<std::unique_ptr<int>>>);

TEST_CASE("a result holds a value", "[result]")
{
    result<std::string> r = std::string("text");
    CHECK(r);
    CHECK(r.has_value());
    CHECK(*r == "text");
    CHECK(r->size() == 4);
    CHECK(r.value() == "text");
    CHECK_FALSE(r.error());
    CHECK(std::as_const(r).value() == "text");
    CHECK(std::as_const(r)->size() == 4);
    CHECK(std::move(r).value_or("other") == "text");
}

TEST_CASE("a result holds an error, and value() throws it", "[result]")
{
    result<int> r = errc::timed_out;
    CHECK_FALSE(r);
    CHECK(r.error() == errc::timed_out);
    CHECK(r.error() == std::errc::timed_out);
    try {
        (void)r.value();
        FAIL("value() did not throw");
    } catch (std::system_error const& e) {
        CHECK(e.code() == errc::timed_out);
    }
    CHECK_THROWS_AS(std::as_const(r).value(), std::system_error);
    CHECK_THROWS_AS(std::move(r).value(), std::system_error);
    CHECK(result<int>(errc::closed).value_or(7) == 7);
}

TEST_CASE("a result takes any std::error_code", "[result]")
{
    result<int> const from_system = std::error_code(ECONNRESET, std::system_category());
    CHECK(from_system.error() == std::errc::connection_reset);
    result<int> const from_enum = std::io_errc::stream;
    CHECK(from_enum.error() == std::io_errc::stream);
}

TEST_CASE("a result moves what can only be moved", "[result]")
{
    result<std::unique_ptr<int>> r = std::make_unique<int>(5);
    result<std::unique_ptr<int>> moved = std::move(r);
    auto const owner = std::move(moved).value();
    CHECK(*owner == 5);
    result<std::unique_ptr<int>> another = std::make_unique<int>(6);
    auto const taken = *std::move(another);
    CHECK(*taken == 6);
}

TEST_CASE("a result without a value is success or an error", "[result]")
{
    result<> good;
    CHECK(good);
    CHECK_NOTHROW(good.value());
    CHECK_FALSE(good.error());
    result<> bad = errc::canceled;
    CHECK_FALSE(bad.has_value());
    CHECK(bad.error() == errc::canceled);
    CHECK(bad.error() == std::errc::operation_canceled);
    CHECK_THROWS_AS(bad.value(), std::system_error);
    result<> const from_empty_code = std::error_code();
    CHECK(from_empty_code);
}

TEST_CASE("every error of wring has a text of its own", "[result]")
{
    CHECK(std::string(error_category().name()) == "wring");
    std::set<std::string> texts;
    int const last = static_cast<int>(errc::message_too_large);
    for (int code = 1; code <= last; ++code) {
        auto const text = error_category().message(code);
        INFO(code << ": " << text);
        CHECK(text != "unknown wring error");
        CHECK(texts.insert(text).second);
    }
    CHECK(error_category().message(last + 1) == "unknown wring error");
}

TEST_CASE("errors of wring equal the std::errc that mean the same and no others", "[result]")
{
    CHECK(make_error_code(errc::busy) == std::errc::operation_in_progress);
    CHECK(make_error_code(errc::closed) == std::errc::not_connected);
    CHECK(make_error_code(errc::bad_endpoint) == std::errc::invalid_argument);
    CHECK(make_error_code(errc::message_too_large) == std::errc::message_size);
    CHECK(make_error_code(errc::end_of_stream) != std::errc::operation_canceled);
    CHECK(make_error_code(errc::canceled) != errc::timed_out);
    CHECK(std::error_code(static_cast<int>(errc::canceled), std::generic_category()) != errc::canceled);
}
