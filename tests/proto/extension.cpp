// SPDX-License-Identifier: BSL-1.0
#include "proto/extension.hpp"

#include "catch.hpp"

#include <string>

using namespace wring::proto;

namespace {

/// The element as "name|parameter|parameter=value", or "malformed".
std::string read(std::string_view element)
{
    extension_reader reader(element);
    std::string text(reader.name());
    for (extension_parameter p; reader.next(p);) {
        text.append("|").append(p.name);
        if (p.value) text.append("=").append(*p.value);
    }
    return reader.valid() ? text : "malformed";
}

bool valid(std::string const& lines)
{
    return valid_extensions(field_range(lines));
}

} // namespace

TEST_CASE("an extension is read with its parameters", "[proto][extension]")
{
    CHECK(read("x") == "x");
    CHECK(read(" permessage-deflate ; a=1;b ;\tc = \"10\" ") == "permessage-deflate|a=1|b|c=10");
    CHECK(read("x; a=\"\\1\\0\"") == "x|a=\\1\\0"); // escapes are left as they are
    CHECK(read("x;a;a") == "x|a|a");                 // what a parameter means is for the extension to say
}

TEST_CASE("malformed extensions are recognised", "[proto][extension]")
{
    for (char const* text : {"", " ", ";", ";a", "x;", "x; ", "x;;a", "x a", "x,", "x=1", "x;a=", "x;a= ;b", "x;=1",
                             "x;a=\"", "x;a=\"1", "x;a=\"\"", "x;a=\"1 2\"", "x;a=\"1\"2", "x;a=1 2", "x;a=\"\\",
                             "x;a=\"\\\"\"", "\"x\"", "x;\"a\"", "x;a=1=2", "x\x80", "x;a=\x01"}) {
        INFO(text);
        CHECK(read(text) == "malformed");
    }
}

TEST_CASE("the lists of all lines are judged together", "[proto][extension]")
{
    CHECK(valid(""));
    CHECK(valid("Sec-WebSocket-Extensions: a; b=\"c\", d\r\nHost: x\r\nsec-websocket-extensions: e\r\n"));
    CHECK(valid("Sec-WebSocket-Extensions: a, , b\r\n")); // RFC 9110 section 5.6.1: empty elements are passed over
    CHECK_FALSE(valid("Sec-WebSocket-Extensions: a\r\nSec-WebSocket-Extensions: b; ;\r\n"));
    CHECK_FALSE(valid("Sec-WebSocket-Extensions: ;;=,\"\r\n"));
    CHECK_FALSE(valid("Sec-WebSocket-Extensions: a; b=\"c, d\r\n"));
}
