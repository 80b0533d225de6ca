// SPDX-License-Identifier: BSL-1.0
// connect() and servers that redirect.
#include "proxies.hpp"

using namespace ws_test;

namespace {

/// Runs `body` with two servers, of different origins as their ports differ.
void with_servers(task<> (*body)(test_server&, test_server&))
{
    net_test::no_descriptor_leaks const none;
    on_loop([](task<> (*b)(test_server&, test_server&)) -> task<> {
        test_server first;
        test_server second;
        scope serving;
        serving.spawn(first.serve());
        serving.spawn(second.serve());
        co_await b(first, second);
        serving.request_stop();
        co_await serving.join();
    }(body));
}

std::string redirect(std::string const& location, int status = 302)
{
    return "HTTP/1.1 " + std::to_string(status) + " There\r\nLocation: " + location +
           "\r\nContent-Length: 0\r\n\r\n";
}

ws::connect_options following(std::uint32_t count)
{
    auto options = quiet_client();
    options.max_redirects = count;
    return options;
}

std::error_code refused(int status)
{
    return {status, ws::http_category()};
}

bool has(std::string const& head, std::string_view line)
{
    return head.find("\r\n" + std::string(line) + "\r\n") != head.npos;
}

} // namespace

TEST_CASE("redirects are followed as often as is allowed")
{
    with_servers([](test_server& first, test_server& second) -> task<> {
        for (int status : {301, 302, 303, 307, 308}) {
            first.heads.clear();
            second.heads.clear();
            first.answers = {redirect("/elsewhere?x=1", status), redirect(second.url("/there"), status)};
            auto ws = co_await connect(first.url(), following(2));
            CHECK(ws.has_value());
            CHECK(first.heads.size() == 2);
            CHECK(first.heads.at(1).starts_with("GET /elsewhere?x=1 HTTP/1.1\r\nHost: " + first.at() + "\r\n"));
            CHECK(second.heads.at(0).starts_with("GET /there HTTP/1.1\r\nHost: " + second.at() + "\r\n"));
            auto const closed = co_await ws->close();
            CHECK(closed.has_value());
        }
    });
}

TEST_CASE("a redirect too many is the error, with its Location")
{
    with_servers([](test_server& first, test_server& second) -> task<> {
        for (std::uint32_t allowed : {0U, 1U, 5U}) {
            first.heads.clear();
            first.answers.assign(20, redirect("/again")); // a loop
            ws::refusal said;
            auto options = following(allowed);
            options.refusal = &said;
            auto const ws = co_await connect(first.url(), options);
            CHECK(ws.error() == refused(302));
            CHECK(first.heads.size() == allowed + 1);
            CHECK(said.status == 302);
            CHECK(said.field("location").value_or("") == "/again");
        }
        first.heads.clear();
        second.heads.clear();
        first.answers.assign(20, redirect(second.url()));
        second.answers.assign(20, redirect(first.url()));
        auto const ws = co_await connect(first.url(), following(9));
        CHECK(ws.error() == refused(302));
        CHECK(first.heads.size() + second.heads.size() == 10);
    });
}

TEST_CASE("other answers of the 300s are not followed")
{
    with_servers([](test_server& first, test_server&) -> task<> {
        for (int status : {300, 304, 305, 306, 399, 201}) {
            first.heads.clear();
            first.answers = {redirect("/x", status)};
            auto const ws = co_await connect(first.url(), following(5));
            CHECK(ws.error() == refused(status));
            CHECK(first.heads.size() == 1);
        }
    });
}

TEST_CASE("credentials are sent again to the same origin only")
{
    with_servers([](test_server& first, test_server& second) -> task<> {
        // to the same origin; then away, and back: what was left out stays out
        first.answers = {redirect("/same"), redirect(second.url("/away"))};
        second.answers = {redirect(first.url("/back"))};
        header const headers[] = {{"authorization", "Bearer abc"},
                                  {"Proxy-Authorization", "Basic x"},
                                  {"COOKIE", "a=b"},
                                  {"X-Other", "1"}};
        auto options = following(3);
        options.headers = headers;
        options.origin = "https://page.test";
        options.subprotocols = "chat";
        first.answers.resize(2);
        auto ws = co_await connect(first.url(), options);
        CHECK(ws.has_value());
        CHECK(first.heads.size() == 3);
        CHECK(second.heads.size() == 1);
        for (auto const& head : {first.heads.at(0), first.heads.at(1)}) {
            CHECK(has(head, "authorization: Bearer abc"));
            CHECK(has(head, "Proxy-Authorization: Basic x"));
            CHECK(has(head, "COOKIE: a=b"));
        }
        for (auto const& head : {second.heads.at(0), first.heads.at(2)}) {
            CHECK(head.find("Bearer") == head.npos);
            CHECK(head.find("Basic") == head.npos);
            CHECK(head.find("a=b") == head.npos);
            CHECK(has(head, "X-Other: 1"));
            CHECK(has(head, "Origin: https://page.test"));
            CHECK(has(head, "Sec-WebSocket-Protocol: chat"));
        }
        ws->abort();
    });
}

TEST_CASE("user and password of the URL, and cookies, likewise")
{
    with_servers([](test_server& first, test_server& second) -> task<> {
        first.answers = {redirect("/same"), redirect("ws://evil:x@" + second.at() + "/away")};
        auto options = following(2);
        options.cookies = "session=1; theme=dark";
        auto ws = co_await connect("ws://user:p%40ss@" + first.at() + "/", options);
        CHECK(ws.has_value());
        for (auto const& head : {first.heads.at(0), first.heads.at(1)}) {
            CHECK(has(head, "Authorization: Basic dXNlcjpwQHNz"));
            CHECK(has(head, "Cookie: session=1; theme=dark"));
        }
        CHECK(second.heads.at(0).find("Authorization") == std::string::npos); // nor what the Location said
        CHECK(second.heads.at(0).find("Cookie") == std::string::npos);
        ws->abort();
    });
}

TEST_CASE("a redirect to nowhere is an error that says so")
{
    with_servers([](test_server& first, test_server&) -> task<> {
        for (std::string const& answer :
             {redirect(""), redirect("ftp://x/"), redirect("ws+unix:/run/app.sock:/"), redirect("ws://"),
              redirect("ws://x:0/"), redirect("/a b"), redirect("/a\r\nLocation: /b"),
              std::string("HTTP/1.1 302 x\r\nContent-Length: 0\r\n\r\n")}) {
            INFO(answer);
            first.heads.clear();
            first.answers = {answer};
            ws::refusal said;
            auto options = following(3);
            options.refusal = &said;
            auto const ws = co_await connect(first.url(), options);
            CHECK(ws.error() == violation(proto::errc::redirect_location));
            CHECK(said.status == 302);
            CHECK(first.heads.size() == 1);
        }
    });
}

TEST_CASE("a redirect to a server that refuses gives that server's answer")
{
    with_servers([](test_server& first, test_server& second) -> task<> {
        first.answers = {redirect(second.url())};
        second.answers = {"HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno"};
        ws::refusal said;
        auto options = following(1);
        options.refusal = &said;
        auto const ws = co_await connect(first.url(), options);
        CHECK(ws.error() == refused(403));
        CHECK(said.status == 403);
        CHECK(said.body == "no");
        CHECK(!said.field("Location"));
    });
}

TEST_CASE("after a redirect that was followed there is no refusal")
{
    with_servers([](test_server& first, test_server&) -> task<> {
        first.answers = {redirect("/x")};
        ws::refusal said;
        auto options = following(1);
        options.refusal = &said;
        auto ws = co_await connect(first.url(), options);
        CHECK(ws.has_value());
        CHECK(said.status == 0);
        CHECK(said.headers.empty());
        ws->abort();
    });
}

TEST_CASE("a redirect from a Unix socket may stay there or lead away, without credentials")
{
    net_test::temporary_folder folder;
    on_loop([](std::string path) -> task<> {
        test_server local("unix:" + path);
        test_server away;
        scope serving;
        serving.spawn(local.serve());
        serving.spawn(away.serve());
        local.answers = {redirect("/same?x"), redirect(away.url("/y"))};
        auto options = following(2);
        options.cookies = "a=b";
        auto ws = co_await connect("ws+unix:" + path + ":/start", options);
        CHECK(ws.has_value());
        CHECK(local.heads.at(1).starts_with("GET /same?x HTTP/1.1\r\nHost: localhost\r\n"));
        CHECK(has(local.heads.at(1), "Cookie: a=b"));
        CHECK(away.heads.at(0).find("Cookie") == std::string::npos);
        ws->abort();
        serving.request_stop();
        co_await serving.join();
    }(folder / "socket"));
}

TEST_CASE("connect_over() follows no redirect")
{
    on_loop([]() -> task<> {
        test_server server;
        server.answers = {redirect("/x")};
        scope serving;
        serving.spawn(server.serve());
        auto to = co_await connect_stream(server.at());
        auto const ws = co_await connect_over(std::move(to).value(), "ws://server.test/", following(5));
        CHECK(ws.error() == refused(302));
        CHECK(server.heads.size() == 1);
        serving.request_stop();
        co_await serving.join();
    }());
}

TEST_CASE("the handshake's time is one for all the redirects")
{
    on_loop([]() -> task<> {
        test_server server;
        server.answers.assign(100'000, redirect("/again"));
        scope serving;
        serving.spawn(server.serve());
        auto options = following(100'000);
        options.handshake_timeout = 100ms;
        auto const start = clock::now();
        auto const ws = co_await connect(server.url(), options);
        CHECK(ws.error() == ws::errc::handshake_timeout);
        CHECK(clock::now() - start < 2s);
        serving.request_stop();
        co_await serving.join();
    }());
}

// ---- with TLS ------------------------------------------------------------------------------------------------------

TEST_CASE("a redirect may lead from ws: to wss:, as servers do it, without credentials as the origin changes")
{
    with_servers([](test_server& plain, test_server& secure) -> task<> {
        secure.tls = &tls_test::pki().accepting;
        plain.answers = {redirect("https://" + secure.at() + "/x", 301)};
        auto options = following(1);
        options.tls = &tls_test::pki().connecting;
        options.cookies = "a=b";
        auto ws = co_await connect(plain.url(), options);
        INFO(ws.error().message());
        CHECK(ws.has_value());
        CHECK(secure.heads.at(0).starts_with("GET /x HTTP/1.1\r\n"));
        CHECK(secure.heads.at(0).find("Cookie") == std::string::npos);
        if (ws)
            ws->abort();
    });
}

TEST_CASE("a redirect from wss: to ws: is refused, unless it is allowed")
{
    with_servers([](test_server& plain, test_server& secure) -> task<> {
        secure.tls = &tls_test::pki().accepting;
        for (std::string const& location : {plain.url("/x"), "http://" + plain.at() + "/x"}) {
            secure.heads.clear();
            secure.answers = {redirect(location), redirect(location)};
            auto options = following(5);
            options.tls = &tls_test::pki().connecting;
            header const headers[] = {{"Authorization", "Bearer secret"}};
            options.headers = headers;
            auto const refused_one = co_await connect(secure.url(), options);
            CHECK(refused_one.error() == violation(proto::errc::redirect_insecure));
            CHECK(plain.heads.empty());
            options.insecure_redirects = true;
            auto ws = co_await connect(secure.url(), options);
            CHECK(ws.has_value());
            CHECK(plain.heads.at(0).find("secret") == std::string::npos);
            ws->abort();
            plain.heads.clear();
        }
    });
}

TEST_CASE("a relative redirect on wss: stays on wss:")
{
    with_servers([](test_server&, test_server& secure) -> task<> {
        secure.tls = &tls_test::pki().accepting;
        secure.answers = {redirect("/x"), redirect("//" + secure.at() + "/y")};
        auto options = following(2);
        options.tls = &tls_test::pki().connecting;
        options.cookies = "a=b";
        auto ws = co_await connect(secure.url(), options);
        CHECK(ws.has_value());
        for (auto const& head : secure.heads)
            CHECK(has(head, "Cookie: a=b"));
        CHECK(secure.heads.size() == 3);
        ws->abort();
    });
}
