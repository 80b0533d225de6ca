// SPDX-License-Identifier: BSL-1.0
// connect() through proxies.
#include "core/core.hpp"
#include "proxies.hpp"

#include <cstdlib>

using namespace ws_test;
using namespace std::string_literals;

namespace {

/// Runs `body` with a server and a proxy that leads to it.
void with_proxy(test_proxy::kind k, task<> (*body)(test_proxy&, test_server&))
{
    net_test::no_descriptor_leaks const none;
    on_loop([](test_proxy::kind speaks, task<> (*b)(test_proxy&, test_server&)) -> task<> {
        test_server server;
        test_proxy proxy(speaks, server.at());
        scope serving;
        serving.spawn(server.serve());
        serving.spawn(proxy.serve());
        co_await b(proxy, server);
        serving.request_stop();
        co_await serving.join();
    }(k, body));
}

task<> expect_echo(result<ws::connection> ws)
{
    INFO(ws.error().message());
    CHECK(ws.has_value());
    if (!ws)
        co_return;
    auto const sent = co_await ws->write("through it");
    CHECK(sent.has_value());
    auto const m = co_await ws->read();
    CHECK(m.value().text() == "through it");
    auto const closed = co_await ws->close();
    CHECK(closed.has_value());
}

constexpr test_proxy::kind proxy_kinds[] = {test_proxy::kind::connect, test_proxy::kind::socks};

} // namespace

TEST_CASE("a connection goes through a proxy, which looks the name up")
{
    with_proxy(test_proxy::kind::connect, [](test_proxy& proxy, test_server& server) -> task<> {
        auto options = quiet_client();
        auto const url = proxy.url();
        options.proxy = url;
        auto ws = co_await connect("ws://server.test:8080/chat?a=b", options);
        co_await expect_echo(std::move(ws));
        CHECK(proxy.asked.at(0) == "CONNECT server.test:8080 HTTP/1.1\r\nHost: server.test:8080\r\n\r\n");
        CHECK(server.heads.at(0).starts_with("GET /chat?a=b HTTP/1.1\r\nHost: server.test:8080\r\n"));
    });
    with_proxy(test_proxy::kind::socks, [](test_proxy& proxy, test_server& server) -> task<> {
        auto options = quiet_client();
        auto const url = proxy.url();
        options.proxy = url;
        auto ws = co_await connect("ws://server.test:8080/chat", options);
        co_await expect_echo(std::move(ws));
        CHECK(proxy.asked.at(0) == "\x05\x01\x00\x03\x0bserver.test\x1f\x90"s);
        CHECK(server.heads.at(0).starts_with("GET /chat HTTP/1.1\r\nHost: server.test:8080\r\n"));
    });
}

TEST_CASE("a proxy gets the credentials of its URL, and the server does not")
{
    with_proxy(test_proxy::kind::connect, [](test_proxy& proxy, test_server& server) -> task<> {
        proxy.authorization = "Basic dXNlcjpwQHNz";
        auto options = quiet_client();
        auto const url = proxy.url("user:p%40ss");
        options.proxy = url;
        auto ws = co_await connect("ws://a:b@server.test/", options);
        co_await expect_echo(std::move(ws));
        CHECK(proxy.asked.at(0).find("YTpi") == std::string::npos);
        CHECK(server.heads.at(0).find("Proxy-") == std::string::npos);
        CHECK(server.heads.at(0).find("\r\nAuthorization: Basic YTpi\r\n") != std::string::npos);
    });
    with_proxy(test_proxy::kind::socks, [](test_proxy& proxy, test_server&) -> task<> {
        proxy.password = "\x01\x04user\x04p@ss"s;
        auto options = quiet_client();
        auto const url = proxy.url("user:p%40ss");
        options.proxy = url;
        auto ws = co_await connect("ws://server.test/", options);
        co_await expect_echo(std::move(ws));
    });
}

TEST_CASE("a proxy that refuses is told from a server that does")
{
    with_proxy(test_proxy::kind::connect, [](test_proxy& proxy, test_server& server) -> task<> {
        proxy.authorization = "Basic dXNlcjpwQHNz";
        ws::refusal said;
        auto options = quiet_client();
        options.refusal = &said;
        auto const url = proxy.url("user:wrong");
        options.proxy = url;
        auto const ws = co_await connect("ws://server.test/", options);
        CHECK(ws.error() == std::error_code(407, ws::proxy_category()));
        CHECK(ws.error() == std::errc::permission_denied);
        CHECK(said.by_proxy);
        CHECK(said.status == 407);
        CHECK(said.field("Proxy-Authenticate").value_or("") == "Basic realm=\"x\"");
        CHECK(said.body == "who are?");
        CHECK(server.heads.empty());

        auto const right = proxy.url("user:p%40ss");
        options.proxy = right;
        server.answers = {"HTTP/1.1 407 x\r\nContent-Length: 2\r\n\r\nno"};
        auto const by_server = co_await connect("ws://server.test/", options);
        CHECK(by_server.error() == std::error_code(407, ws::http_category()));
        CHECK(!said.by_proxy);
        CHECK(said.body == "no");
    });
    with_proxy(test_proxy::kind::socks, [](test_proxy& proxy, test_server&) -> task<> {
        auto options = quiet_client();
        auto const url = proxy.url();
        options.proxy = url;
        proxy.code = 2;
        auto const forbidden = co_await connect("ws://server.test/", options);
        CHECK(forbidden.error() == std::error_code(2, ws::proxy_category()));
        CHECK(forbidden.error() == std::errc::permission_denied);
        proxy.password = "\x01\x04user\x04p@ss"s;
        auto const anonymous = co_await connect("ws://server.test/", options);
        CHECK(anonymous.error() == std::error_code(255, ws::proxy_category()));
    });
}

TEST_CASE("a proxy that can't be reached is the system's error, and said to be the proxy's")
{
    on_loop([]() -> task<> {
        endpoint at;
        auto const bound = net_test::bound_socket(at, -1);
        for (std::string const scheme : {"http://", "socks5://", ""}) {
            ws::refusal said;
            auto options = quiet_client();
            options.refusal = &said;
            auto const url = scheme + at.to_string();
            options.proxy = url;
            auto const ws = co_await connect("ws://server.test/", options);
            CHECK(ws.error() == std::errc::connection_refused);
            CHECK(said.by_proxy);
            CHECK(said.status == 0);
        }
    }());
}

TEST_CASE("a bad proxy URL is refused before anything is done")
{
    on_loop([]() -> task<> {
        for (char const* url : {"ftp://p", "http://", "http://p\r\nX: y", "socks4://p"}) {
            auto options = quiet_client();
            options.proxy = url;
            auto const ws = co_await connect("ws://127.0.0.1:1/", options);
            CHECK(ws.error() == violation(proto::errc::proxy_url));
        }
    }());
}

TEST_CASE("a Unix socket and a stream that is there need no proxy")
{
    net_test::temporary_folder folder;
    on_loop([](std::string path) -> task<> {
        test_server server("unix:" + path);
        scope serving;
        serving.spawn(server.serve());
        auto options = quiet_client();
        options.proxy = "http://127.0.0.1:1";
        auto ws = co_await connect("ws+unix:" + path + ":/", options);
        co_await expect_echo(std::move(ws));
        auto direct = co_await connect_stream("unix:" + path);
        auto over = co_await connect_over(std::move(direct).value(), "ws://server.test/", options);
        co_await expect_echo(std::move(over));
        serving.request_stop();
        co_await serving.join();
    }(folder / "socket"));
}

TEST_CASE("the environment's proxy is used where that is asked for, and no_proxy spares hosts")
{
    with_proxy(test_proxy::kind::connect, [](test_proxy& proxy, test_server& server) -> task<> {
        ::setenv("http_proxy", proxy.url().c_str(), 1);
        ::setenv("no_proxy", "127.0.0.0/8", 1);
        auto options = quiet_client();
        options.proxy_from_environment = true;
        auto ws = co_await connect("ws://server.test/", options);
        co_await expect_echo(std::move(ws));
        CHECK(proxy.connections == 1);
        auto direct = co_await connect(server.url(), options);
        co_await expect_echo(std::move(direct));
        CHECK(proxy.connections == 1);
        ::unsetenv("no_proxy");
        options.proxy_from_environment = false;
        auto unasked = co_await connect(server.url(), options);
        co_await expect_echo(std::move(unasked));
        CHECK(proxy.connections == 1);
        ::unsetenv("http_proxy");
    });
}

TEST_CASE("the handshake's time includes a proxy that does not answer")
{
    for (bool socks : {false, true})
        on_loop([](bool s) -> task<> {
            endpoint at;
            auto const silent = net_test::bound_socket(at, 1); // the system accepts, nobody speaks
            ws::refusal said;
            auto options = quiet_client();
            options.refusal = &said;
            auto const url = (s ? "socks5://" : "http://") + at.to_string();
            options.proxy = url;
            options.handshake_timeout = 30ms;
            auto const ws = co_await connect("ws://server.test/", options);
            CHECK(ws.error() == ws::errc::handshake_timeout);
            CHECK(said.by_proxy);
        }(socks));
}

TEST_CASE("connecting through a proxy can be canceled at any time")
{
    for (auto k : proxy_kinds) {
        net_test::no_descriptor_leaks const none;
        for (int at = 0; at < 40; ++at)
            on_loop([](test_proxy::kind speaks, int stop_at) -> task<> {
                test_server server;
                test_proxy proxy(speaks, server.at());
                scope serving;
                serving.spawn(server.serve());
                serving.spawn(proxy.serve());
                scope client;
                std::error_code end = errc::busy;
                client.spawn([](std::string proxy_url, std::error_code& e) -> task<> {
                    auto options = quiet_client();
                    options.proxy = proxy_url;
                    auto ws = co_await connect("ws://server.test/", options);
                    e = ws.error();
                    if (ws)
                        ws->abort();
                }(proxy.url(), end));
                co_await turns(stop_at);
                client.request_stop();
                co_await client.join();
                CHECK((!end || end == errc::canceled));
                serving.request_stop();
                co_await serving.join();
            }(k, at));
    }
}

// ---- with TLS ------------------------------------------------------------------------------------------------------

TEST_CASE("wss: goes through a proxy, and the certificate must be the server's own")
{
    for (auto k : proxy_kinds)
        with_proxy(k, [](test_proxy& proxy, test_server& server) -> task<> {
            server.tls = &tls_test::pki().accepting;
            auto options = quiet_client();
            options.tls = &tls_test::pki().connecting;
            auto const url = proxy.url();
            options.proxy = url;
            auto ws = co_await connect("wss://test/chat", options);
            co_await expect_echo(std::move(ws));
            CHECK(server.heads.at(0).starts_with("GET /chat HTTP/1.1\r\nHost: test\r\n"));
            // a name that the certificate is not for, though the proxy leads to the same server
            auto const other = co_await connect("wss://other.test/", options);
            CHECK(other.error() == tls::errc::untrusted);
            CHECK(server.heads.size() == 1);
        });
}

TEST_CASE("an https: proxy is spoken to over TLS, with trust of its own")
{
    with_proxy(test_proxy::kind::connect, [](test_proxy& proxy, test_server& server) -> task<> {
        proxy.tls = &tls_test::pki().accepting;
        proxy.authorization = "Basic dXNlcjpwQHNz";
        auto options = quiet_client();
        auto const url = proxy.url("user:p%40ss");
        options.proxy = url;
        options.proxy_tls = &tls_test::pki().connecting;
        auto plain = co_await connect("ws://server.test/", options);
        co_await expect_echo(std::move(plain));

        server.tls = &tls_test::pki().accepting;
        options.tls = &tls_test::pki().connecting;
        auto both = co_await connect("wss://test/", options); // TLS in TLS
        co_await expect_echo(std::move(both));
        CHECK(proxy.connections == 2);

        ws::refusal said;
        options.refusal = &said;
        options.proxy_tls = nullptr; // the system does not trust the test's authority
        auto const untrusted = co_await connect("wss://test/", options);
        CHECK(untrusted.error() == tls::errc::untrusted);
        CHECK(said.by_proxy);
        CHECK(proxy.asked.size() == 2);

        options.proxy_tls = &tls_test::pki().connecting;
        options.tls = nullptr;
        auto const server_untrusted = co_await connect("wss://test/", options);
        CHECK(server_untrusted.error() == tls::errc::untrusted);
        CHECK(!said.by_proxy);
    });
}

TEST_CASE("connecting through TLS in TLS can be canceled at any time, and has one deadline")
{
    net_test::no_descriptor_leaks const none;
    auto const once = [](int stop_at, duration limit, std::error_code& end) -> task<> {
        test_server server;
        server.tls = &tls_test::pki().accepting;
        test_proxy proxy(test_proxy::kind::connect, server.at());
        proxy.tls = &tls_test::pki().accepting;
        scope serving;
        serving.spawn(server.serve());
        serving.spawn(proxy.serve());
        scope client;
        client.spawn([](std::string proxy_url, duration time, std::error_code& e) -> task<> {
            auto options = quiet_client();
            options.proxy = proxy_url;
            options.tls = options.proxy_tls = &tls_test::pki().connecting;
            options.handshake_timeout = time;
            auto ws = co_await connect("wss://test/", options);
            e = ws.error();
            if (ws)
                ws->abort();
        }(proxy.url(), limit, end));
        if (stop_at >= 0) {
            co_await turns(stop_at);
            client.request_stop();
        }
        co_await client.join();
        serving.request_stop();
        co_await serving.join();
    };
    std::error_code end;
    on_loop(once(-1, 10s, end));
    CHECK(!end);
    for (int at = 0; at < 40; ++at) {
        end = errc::busy;
        on_loop(once(at, 10s, end));
        CHECK((!end || end == errc::canceled));
    }
    on_loop(once(-1, 1ns, end));
    CHECK(end == ws::errc::handshake_timeout);
}
