// SPDX-License-Identifier: BSL-1.0
// A server that speaks TLS: pages and WebSockets beside plain ones, who the client is, times, limits, and the end. That
// everything else is as without shows in the other tests, which run on TLS streams too.
#include "http/harness.hpp"
#include "tls/certificates.hpp"

using namespace http_test;
using tls_test::pki;

namespace {

/// A client on a connection of its own, its handshake done.
task<stream> secure(endpoint at, tls::context with = pki().connecting)
{
    auto plain = (co_await connect_stream(at)).value();
    auto done = co_await tls::connect(std::move(plain), with, "localhost");
    co_return std::move(done).value();
}

/// Serves `app`, which listens with TLS, beside `body`, which ends the server itself or leaves that to this.
void with_tls(server& app, task<> (*body)(server&, endpoint), tls::context const& with = pki().accepting,
              std::string where = "127.0.0.1:0")
{
    endpoint at;
    app.on_listening([&](endpoint const& there) { at = there; });
    app.listen(std::move(where), with);
    on_loop([](server& a, endpoint& there, task<> (*f)(server&, endpoint)) -> task<> {
        scope serving;
        serving.spawn(a.serve());
        while (there.size() == 0)
            co_await turns(1);
        co_await f(a, there);
        a.stop();
        co_await serving.join();
    }(app, at, body));
    CHECK(app.connections() == 0);
}

task<> echo(ws::connection& ws)
{
    while (auto m = co_await ws.read())
        if (!co_await ws.write(*m)) break;
}

std::string url_of(endpoint const& at)
{
    return "wss://localhost:" + std::to_string(at.port()) + "/";
}

task<result<ws::connection>> open(std::string url, tls::context const& with = pki().connecting)
{
    return connect(std::move(url), {.tls = &with});
}

} // namespace

TEST_CASE("a server speaks TLS where it is told to, and plain HTTP elsewhere")
{
    server app;
    app.page("/", "page");
    app.ws("/", echo);
    static std::vector<endpoint> places;
    places.clear();
    app.listen("127.0.0.1:0");
    app.listen("127.0.0.1:0", pki().accepting);
    app.listen(net_test::abstract_endpoint(), pki().accepting);
    app.on_listening([](endpoint const& there) { places.push_back(there); });
    on_loop([](server& a) -> task<> {
        scope serving;
        serving.spawn(a.serve());
        while (places.size() < 3)
            co_await turns(1);
        auto plain = (co_await connect_stream(places[0])).value();
        conversation said;
        co_await converse(plain, request_for("/", "Connection: close\r\n"), 1, said);
        CHECK(said.replies.at(0).body == "page");
        for (std::size_t i : {1U, 2U}) {
            auto client = co_await secure(places[i]);
            CHECK(client.tls_info().value().alpn == "http/1.1");
            conversation all;
            co_await converse(client, request_for("/") + request_for("/", "Connection: close\r\n"), 2, all);
            CHECK(all.replies.at(0).body == "page");
            CHECK(all.replies.at(1).body == "page");
            CHECK(all.rest.empty()); // and a clean end: close_notify
        }
        auto ws = co_await open(url_of(places[1]));
        REQUIRE(ws.has_value());
        auto const sent = co_await ws->write("over TLS");
        CHECK(sent);
        auto const back = co_await ws->read();
        CHECK(back.value().text() == "over TLS");
        auto const closed = co_await ws->close();
        CHECK(closed);
        a.stop();
        co_await serving.join();
    }(app));
    CHECK(app.connections() == 0);
}

TEST_CASE("handlers and hooks see what TLS has agreed on, and who the client is")
{
    auto const alice = pki().ca.issue({.common_name = "alice", .names = {}});
    std::string const authority = pki().ca.certificate();
    auto const asking =
        pki().accepting_with({.clients = tls::client_certificates::require, .client_ca = authority});
    static std::optional<tls::context> connecting;
    connecting = pki().connecting_with({.certificate = alice.certificate, .key = alice.key});

    server app;
    app.get("/who", [](request& r) -> task<response> {
        auto const info = r.tls_info().value();
        co_return response(200, info.peer_subject + " " + info.version + " " + info.server_name);
    });
    ws::upgrade_options options;
    options.authorize = [](request const& r) -> task<response> {
        co_return r.tls_info().value().peer_subject == "CN=alice" ? response::accept() : response::refuse(403);
    };
    static int after = 0;
    after = 0;
    app.ws(
        "/ws",
        [](ws::connection& ws, request const& r) -> task<> {
            CHECK(r.tls_info().value().peer_subject == "CN=alice");
            CHECK(ws.tls_info().value().peer_subject == "CN=alice");
            auto end = co_await ws.read();
            CHECK(end.error() == ws::closed);
            ++after;
            ws.abort();
            CHECK(!r.tls_info()); // it has gone with the stream
        },
        options);
    with_tls(
        app,
        [](server&, endpoint at) -> task<> {
            auto client = co_await secure(at, *connecting);
            conversation all;
            co_await converse(client, request_for("/who", "Connection: close\r\n"), 1, all);
            CHECK(all.replies.at(0).body == "CN=alice TLSv1.3 localhost");
            auto ws = co_await open(url_of(at) + "ws", *connecting);
            REQUIRE(ws.has_value());
            auto const end = co_await ws->close();
            (void)end; // the handler cuts it off
            auto const nobody = co_await open(url_of(at) + "ws"); // without a certificate
            CHECK(!nobody);
        },
        asking);
    CHECK(after == 1);
}

TEST_CASE("a client's context is none to listen with")
{
    server app;
    CHECK_THROWS_AS(app.listen("127.0.0.1:0", pki().connecting), std::invalid_argument);
    CHECK_THROWS_AS(app.listen_inherited({}, pki().connecting), std::invalid_argument);
}

TEST_CASE("without TLS there is nothing to know of it")
{
    server app;
    app.get("/", [](request& r) -> task<response> { co_return response(200, r.tls_info() ? "TLS" : "plain"); });
    CHECK(ask(app, request_for("/"), kind::tcp).body == "plain");
}

TEST_CASE("who speaks plain HTTP to a TLS port is told so, and who speaks TLS to a plain one gets an error")
{
    server app;
    app.page("/", "page");
    with_tls(app, [](server&, endpoint at) -> task<> {
        auto client = (co_await connect_stream(at)).value();
        co_await send_text(client, request_for("/"));
        auto const r = co_await read_reply(client);
        CHECK(r.status() == 400);
        CHECK(r.body.find("TLS") != std::string::npos);
    });
    server plain;
    plain.page("/", "page");
    with_listening(plain, "127.0.0.1:0", [](server&, endpoint at) -> task<> {
        auto client = (co_await connect_stream(at)).value();
        auto const done = co_await tls::connect(std::move(client), pki().connecting, "localhost");
        CHECK(!done);
        CHECK(done.error() == tls::errc::not_tls);
    });
}

TEST_CASE("one time counts for the handshake of TLS and the head of the request")
{
    server app({.handshake_timeout = 150ms});
    app.page("/", "page");
    with_tls(app, [](server& a, endpoint at) -> task<> {
        auto const begin = clock::now();
        auto silent = (co_await connect_stream(at)).value();
        auto slow = (co_await connect_stream(at)).value();
        co_await send_text(slow, "\x16\x03\x01"); // the begin of a ClientHello
        auto idle = co_await secure(at);
        auto talking = co_await secure(at);
        co_await send_text(talking, "GET / HT");
        for (auto* s : {&silent, &slow, &idle}) {
            std::byte b;
            auto const got = co_await s->read_some(std::span(&b, 1));
            CHECK(!got);
        }
        auto const r = co_await read_reply(talking);
        CHECK(r.status() == 408);
        CHECK(clock::now() - begin < 5s);
        while (a.connections() > 0)
            co_await turns(1);
    });
}

TEST_CASE("one too many is told 503 by TLS")
{
    server app({.max_connections = 1, .max_unopened = 1});
    app.page("/", "page");
    app.ws("/", echo);
    with_tls(app, [](server& a, endpoint at) -> task<> {
        auto ws = co_await open(url_of(at));
        REQUIRE(ws.has_value());
        {
            auto late = co_await secure(at);
            co_await send_text(late, request_for("/"));
            auto const r = co_await read_reply(late);
            CHECK(r.status() == 503);
            CHECK(r.has("Retry-After: 1"));
            auto const rest = co_await read_rest(late);
            CHECK(rest.empty());
        }
        CHECK(a.connections() == 1);
        auto const refused = co_await open(url_of(at));
        REQUIRE(!refused);
        CHECK(refused.error().value() == 503);
        auto const closed = co_await ws->close();
        CHECK(closed);
    });
}

TEST_CASE("a trusted proxy speaks ahead of TLS")
{
    server app;
    app.trust_proxies("127.0.0.1");
    app.get("/", [](request& r) -> task<response> { co_return response(200, r.remote().to_string()); });
    with_tls(app, [](server&, endpoint at) -> task<> {
        auto plain = (co_await connect_stream(at)).value();
        co_await send_text(plain, "PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n");
        auto done = co_await tls::connect(std::move(plain), pki().connecting, "localhost");
        REQUIRE(done.has_value());
        conversation all;
        co_await converse(*done, request_for("/", "Connection: close\r\n"), 1, all);
        CHECK(all.replies.at(0).body == "192.0.2.1:56324");
    });
}

TEST_CASE("the drain reaches connections in every state of TLS")
{
    server app({.drain_timeout = 5s});
    app.page("/", "page");
    app.ws("/", echo);
    static clock::time_point begin;
    with_tls(app, [](server& a, endpoint at) -> task<> {
        auto ws = co_await open(url_of(at));
        REQUIRE(ws.has_value());
        auto silent = (co_await connect_stream(at)).value();
        auto idle = co_await secure(at);
        while (a.connections() < 3)
            co_await turns(1);
        begin = clock::now();
        a.stop();
        auto const end = co_await ws->read();
        CHECK(!end);
        CHECK(ws->status().code == ws::close_code::going_away);
        std::byte b;
        auto const last = co_await idle.read_some(std::span(&b, 1));
        CHECK(last.error() == errc::end_of_stream);
        auto const gone = co_await silent.read_some(std::span(&b, 1));
        CHECK(!gone);
    });
    CHECK(clock::now() - begin < 4s);
}

TEST_CASE("a response that is cut off is seen to be")
{
    server app;
    app.get("/", [](request&) -> task<response> {
        co_return response::streamed("text/plain", [](body_writer& out) -> task<> {
            (void)co_await out.write("some of it");
            throw std::runtime_error("no more");
        });
    });
    app.on_error([](server_error const&) {});
    with_tls(app, [](server&, endpoint at) -> task<> {
        auto client = co_await secure(at);
        co_await send_text(client, "GET / HTTP/1.0\r\nHost: test\r\n\r\n"); // whose end is the connection's
        (void)co_await read_head(client);
        std::byte bytes[64];
        result<std::span<std::byte>> got = co_await client.read_some(bytes);
        while (got)
            got = co_await client.read_some(bytes);
        CHECK(got.error() != errc::end_of_stream);
    });
}

TEST_CASE("certificates are read again for new connections while a server runs")
{
    static std::optional<tls::context> serving;
    static std::string file;
    net_test::temporary_folder const folder;
    file = folder / "server.pem";
    auto const write = [](std::string const& text) {
        auto* const f = std::fopen(file.c_str(), "w");
        REQUIRE(f);
        std::fputs(text.c_str(), f);
        std::fclose(f);
    };
    auto const first = pki().ca.issue({.common_name = "first"});
    static tls_test::identity second;
    second = pki().ca.issue({.common_name = "second"});
    write(first.certificate + first.key);
    serving = tls::context::server(file, file).value();
    static void (*again)(std::string const&) = write;
    server app;
    app.ws("/", echo);
    with_tls(
        app,
        [](server&, endpoint at) -> task<> {
            auto ws = co_await open(url_of(at));
            CHECK(ws.value().tls_info().value().peer_subject == "CN=first");
            again(second.certificate + second.key);
            CHECK(serving->reload());
            auto late = co_await open(url_of(at));
            CHECK(late.value().tls_info().value().peer_subject == "CN=second");
            auto const sent = co_await ws->write("still here");
            CHECK(sent);
            auto const back = co_await ws->read();
            CHECK(back.value().text() == "still here");
            auto const ends = co_await when_all(ws->close(), late->close());
            CHECK(std::get<0>(ends).has_value());
            CHECK(std::get<1>(ends).has_value());
        },
        *serving);
}
