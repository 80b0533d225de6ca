// SPDX-License-Identifier: BSL-1.0
#include "proto/percent.hpp"

#include "catch.hpp"

#include <string>
#include <vector>

using namespace wring::proto;

namespace {

std::string decoded(std::string_view text, bool plus_is_space = false)
{
    std::string out = ">";
    return percent_decode(out, text, plus_is_space) ? out.substr(1) : "bad, after " + out;
}

std::vector<std::string> segments(std::string_view path)
{
    std::vector<std::string> all;
    auto const fault = each_segment(path, [&](std::string_view s) { all.emplace_back(s); });
    if (fault == path_fault::escape) all = {"escape!"};
    if (fault == path_fault::dots) all = {"dots!"};
    return all;
}

using list = std::vector<std::string>;

} // namespace

TEST_CASE("percent escapes are undone", "[proto][percent]")
{
    CHECK(decoded("") == "");
    CHECK(decoded("a%20b+c") == "a b+c");
    CHECK(decoded("a%20b+c", true) == "a b c");
    CHECK(decoded("%41%7a%7A%2B", true) == "Azz+");
    CHECK(decoded("%c3%bc") == "\xC3\xBC");
    CHECK(decoded("%2541") == "%41"); // once
    CHECK(decoded("%00") == std::string(1, '\0'));
}

TEST_CASE("an incomplete percent escape is none", "[proto][percent]")
{
    for (char const* text : {"%", "%4", "%g1", "%1g", "%%", "% 1", "%+1", "%-1", "%0x"}) {
        INFO(text);
        CHECK(decoded(std::string{"ab"} + text) == "bad, after >ab");
    }
}

TEST_CASE("a path is taken apart before it is decoded", "[proto][percent]")
{
    CHECK(segments("/") == list{""});
    CHECK(segments("/a") == list{"a"});
    CHECK(segments("/a/") == list{"a", ""});
    CHECK(segments("//a") == list{"", "a"});
    CHECK(segments("/a/b%2Fc/%64") == list{"a", "b/c", "d"});
    CHECK(segments("/...") == list{"..."});
}

TEST_CASE("paths that a client would not send are recognised", "[proto][percent]")
{
    for (char const* path : {"/..", "/.", "/a/../b", "/a/%2e%2e/b", "/a/.%2E", "/%2e", "/a/./b"}) {
        INFO(path);
        CHECK(segments(path) == list{"dots!"});
    }
    for (char const* path : {"/%", "/a%2", "/a%00b", "/a/%zz"}) {
        INFO(path);
        CHECK(segments(path) == list{"escape!"});
    }
}
