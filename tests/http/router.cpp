// SPDX-License-Identifier: BSL-1.0
#include "http/router.hpp"

#include "proto/percent.hpp"

#include "catch.hpp"

#include <stdexcept>

using namespace wring;
using detail::path_pattern;
using detail::router;
using detail::routing;

namespace {

std::vector<std::string> segments_of(std::string_view path)
{
    std::vector<std::string> all;
    (void)proto::each_segment(path, [&](std::string_view s) { all.emplace_back(s); });
    return all;
}

/// "name=value, ..." or "no".
std::string match(std::string_view pattern, std::string_view path)
{
    path_pattern const pattern_of(pattern); // names in `params` are views of it
    path_pattern::params params;
    params.emplace_back("before", "x"); // what is there already stays
    if (!pattern_of.matches(segments_of(path), params)) {
        CHECK(params.size() == 1);
        return "no";
    }
    std::string text = "yes";
    for (std::size_t i = 1; i < params.size(); ++i)
        text.append(" ").append(params[i].first).append("=").append(params[i].second);
    return text;
}

struct table
{
    router::answer find(std::string_view method, std::string_view path, bool upgrade = false) const
    {
        return routes.find(method, upgrade, segments_of(path));
    }
    /// The pattern that answers, or what else there is to say.
    std::string says(std::string_view method, std::string_view path, bool upgrade = false) const
    {
        auto const a = find(method, path, upgrade);
        switch (a.what) {
        case routing::found:
            return routes.pattern(a.index);
        case routing::no_path:
            return "404";
        case routing::no_method:
            return "405 " + a.allow;
        case routing::needs_upgrade:
            return "426";
        }
        return "?";
    }
    router routes;
};

} // namespace

TEST_CASE("a pattern matches its paths, and no others")
{
    CHECK(match("/", "/") == "yes");
    CHECK(match("/", "/a") == "no");
    CHECK(match("/a", "/a") == "yes");
    CHECK(match("/a", "/a/") == "no");
    CHECK(match("/a/", "/a/") == "yes");
    CHECK(match("/a/", "/a") == "no");
    CHECK(match("/a/b", "/a/b") == "yes");
    CHECK(match("/a/b", "/a/B") == "no");
    CHECK(match("/a%20b", "/a b") == "yes");
    CHECK(match("/a", "/%61") == "yes");
}

TEST_CASE("a parameter stands for one segment, decoded")
{
    CHECK(match("/chat/{room}", "/chat/blue") == "yes room=blue");
    CHECK(match("/chat/{room}", "/chat/a%2Fb%20c") == "yes room=a/b c");
    CHECK(match("/chat/{room}", "/chat/") == "no");
    CHECK(match("/chat/{room}", "/chat") == "no");
    CHECK(match("/chat/{room}", "/chat/a/b") == "no");
    CHECK(match("/{a}/x/{b}", "/1/x/2") == "yes a=1 b=2");
    CHECK(match("/{a}/x/{b}", "/1/y/2") == "no");
}

TEST_CASE("a star at the end stands for everything behind")
{
    CHECK(match("/docs/*", "/docs/") == "yes *=");
    CHECK(match("/docs/*", "/docs/a") == "yes *=a");
    CHECK(match("/docs/*", "/docs/a/b/") == "yes *=a/b/");
    CHECK(match("/docs/*", "/docs") == "no");
    CHECK(match("/*", "/") == "yes *=");
    CHECK(match("/*", "/x/y") == "yes *=x/y");
    CHECK(match("/{user}/files/*", "/ann/files/x") == "yes user=ann *=x");
}

TEST_CASE("patterns that are none are refused, with a reason")
{
    for (char const* bad : {"",     "a",   "/{",  "/{}",  "/{a",  "/a}", "/x{a}", "/{a}x", "/{a b}", "/{a}/{a}",
                            "/*/a", "/a*", "/**", "/a?b", "/a#b", "/..", "/./a",  "/%zz",  "/%",     "/a%00"}) {
        INFO(bad);
        CHECK_THROWS_AS(path_pattern(bad), std::invalid_argument);
    }
    try {
        path_pattern("/a/{");
        FAIL("it was accepted");
    } catch (std::invalid_argument const& e) {
        CHECK(std::string(e.what()) == "route /a/{: a parameter is {name}, alone in its segment");
    }
}

TEST_CASE("the most specific route answers, in whatever order they were added")
{
    std::vector<std::string> patterns = {"/*", "/a/*", "/a/{x}", "/a/b", "/{x}/b", "/{x}/{y}", "/a/{x}/*"};
    for (int turn = 0; turn < 7; ++turn) {
        std::rotate(patterns.begin(), patterns.begin() + 1, patterns.end());
        table t;
        for (auto const& p : patterns)
            t.routes.add("GET", p);
        CHECK(t.says("GET", "/a/b") == "/a/b");
        CHECK(t.says("GET", "/a/c") == "/a/{x}");
        CHECK(t.says("GET", "/c/b") == "/{x}/b");
        CHECK(t.says("GET", "/c/d") == "/{x}/{y}");
        CHECK(t.says("GET", "/a/") == "/a/*");
        CHECK(t.says("GET", "/a/c/d") == "/a/{x}/*");
        CHECK(t.says("GET", "/a") == "/*");
        CHECK(t.says("GET", "/") == "/*");
        CHECK(t.says("GET", "/c/d/e") == "/*");
    }
}

TEST_CASE("a route that does not know the method leaves the request to a less specific one")
{
    table t;
    t.routes.add("GET", "/a/b");
    t.routes.add("POST", "/a/{x}");
    t.routes.add("DELETE", "/a/*");
    CHECK(t.says("GET", "/a/b") == "/a/b");
    CHECK(t.says("POST", "/a/b") == "/a/{x}");
    CHECK(t.find("POST", "/a/b").params.at(0).second == "b");
    CHECK(t.says("DELETE", "/a/b") == "/a/*");
    CHECK(t.says("PUT", "/a/b") == "405 GET, HEAD, POST, DELETE");
    CHECK(t.says("PUT", "/a/b/c") == "405 DELETE");
    CHECK(t.says("PUT", "/b") == "404");
    CHECK(t.says("get", "/a/b") == "405 GET, HEAD, POST, DELETE"); // methods have case
}

TEST_CASE("HEAD goes where GET goes, unless it has a route of its own")
{
    table t;
    t.routes.add("GET", "/a");
    CHECK(t.says("HEAD", "/a") == "/a");
    auto const own = t.routes.add("HEAD", "/b");
    t.routes.add("GET", "/*");
    CHECK(t.find("HEAD", "/b").index == own);
    CHECK(t.says("GET", "/b") == "/*");
}

TEST_CASE("a route for upgrades beside one for pages")
{
    table t;
    auto const page = t.routes.add("GET", "/");
    auto const any = t.routes.add("", "/*");
    auto const chat = t.routes.add("", "/chat/{room}");
    CHECK(t.find("GET", "/").index == page);
    CHECK(t.find("GET", "/", true).index == any);
    CHECK(t.find("GET", "/chat/x", true).index == chat);
    CHECK(t.find("POST", "/chat/x", true).index == chat); // which refuses it
    CHECK(t.says("GET", "/chat/x") == "426");
    CHECK(t.says("HEAD", "/chat/x") == "426");
    CHECK(t.says("POST", "/chat/x") == "405 GET");
    // Nothing to upgrade to: a plain request.
    table plain;
    plain.routes.add("GET", "/a");
    CHECK(plain.says("GET", "/a", true) == "/a");
    CHECK(plain.says("GET", "/b", true) == "404");
}

TEST_CASE("the same paths twice, and methods that are none, are refused")
{
    table t;
    t.routes.add("GET", "/a/{x}");
    CHECK_THROWS_AS(t.routes.add("GET", "/a/{y}"), std::invalid_argument);
    CHECK_THROWS_AS(t.routes.add("GET", "/a/{x}"), std::invalid_argument);
    CHECK_THROWS_AS(t.routes.add("G T", "/b"), std::invalid_argument);
    CHECK(t.routes.add("POST", "/a/{y}") == 1);
    CHECK(t.routes.add("GET", "/a/*") == 2);
    CHECK(t.routes.add("GET", "/a/y") == 3);
    CHECK(t.routes.add("", "/a/{x}") == 4);
}
