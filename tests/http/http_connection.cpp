// SPDX-License-Identifier: BSL-1.0
#include "http/harness.hpp"

using namespace http_test;

namespace {

task<response> hello(request& r)
{
    co_return response(200, "hello from " + std::string(r.path()));
}

task<response> echo_body(request& r)
{
    auto const body = (co_await r.body()).value();
    co_return response(200, "got " + body);
}

} // namespace

TEST_CASE("a request is answered, and the connection goes on")
{
    for (kind k : kinds) {
        INFO(name_of(k));
        server app;
        app.get("/a", hello);
        auto const all = ask_all(app, request_for("/a") + request_for("/a") + request_for("/a", "Connection: close\r\n"), 9, k);
        REQUIRE(all.replies.size() == 3);
        for (auto const& r : all.replies) {
            CHECK(r.status() == 200);
            CHECK(r.body == "hello from /a");
            CHECK(r.has("Content-Length: 13"));
            CHECK(r.has("Content-Type: text/plain; charset=utf-8"));
            CHECK(r.field("Date").value_or("").ends_with(" GMT"));
        }
        CHECK(!all.replies[0].closes());
        CHECK(!all.replies[1].closes());
        CHECK(all.replies[2].closes());
        CHECK(all.rest.empty());
        CHECK(app.connections() == 0);
    }
}
