// SPDX-License-Identifier: BSL-1.0
// WebSocket over TLS: what upgrade() and connect() do about it, and how such connections end. That everything else is as
// without shows in the other tests, which run on TLS streams too.
#include "harness.hpp"
#include "tls/raw_stream.hpp"

using namespace ws_test;
using tls_test::pki;
using tls_test::raw_peer;
using tls_test::raw_stream;

namespace {

task<> serve_one(listener& server, ws::upgrade_options options, std::optional<result<ws::connection>>& out)
{
    auto s = co_await server.accept();
    out.emplace(co_await upgrade(std::move(s).value(), options));
}

task<> upgrade_it(stream s, ws::upgrade_options options, std::optional<result<ws::connection>>& out)
{
    out.emplace(co_await upgrade(std::move(s), options));
}

/// A server's connection of ours, and its client of OpenSSL's.
struct secure_pair
{
    ws::connection ws;
    raw_stream raw;
};

task<secure_pair> raw_tls_client(kind k)
{
    auto streams = co_await connected(k);
    std::optional<result<ws::connection>> opened;
    scope server;
    server.spawn(upgrade_it(std::move(streams.first), secure_server(pki().accepting), opened));
    raw_stream raw(std::move(streams.second), raw_peer::role::client);
    auto const done = co_await raw.handshake();
    CHECK(done);
    co_await raw.write(request_text());
    co_await server.join();
    auto const answer = co_await raw.read(1);
    CHECK(answer.starts_with("HTTP/1.1 101 "));
    secure_pair pair{std::move(*opened).value(), std::move(raw)};
    co_return pair;
}

std::string_view as_text(byte_string const& bytes)
{
    return {reinterpret_cast<char const*>(bytes.data()), bytes.size()};
}

} // namespace

// ---- opening -------------------------------------------------------------------------------------------------------

TEST_CASE("connect() speaks wss: to names and addresses, and both sides know of it")
{
    for (std::string const& at : {std::string("127.0.0.1:0"), std::string("[::1]:0"), std::string("localhost:0")}) {
        INFO(at);
        on_loop([](std::string where) -> task<> {
            auto server = listener::bind(where).value();
            auto options = secure_server(pki().accepting);
            options.authorize = [](wring::request const& r) -> task<response> {
                auto const tls = r.tls_info();
                CHECK(tls.has_value());
                CHECK(tls->version == "TLSv1.3");
                CHECK(tls->alpn == "http/1.1");
                co_return response::accept();
            };
            std::optional<result<ws::connection>> accepted;
            scope serving;
            serving.spawn(serve_one(server, options, accepted));
            std::string url = "wss://" + server.local().to_string() + "/chat";
            if (where.starts_with("localhost"))
                url = "wss://localhost:" + std::to_string(server.local().port()) + "/chat";
            auto ws = co_await connect(url, secure_client(pki().connecting));
            REQUIRE(ws.has_value());
            co_await serving.join();
            REQUIRE(accepted->has_value());
            CHECK(ws->tls_info().value().peer_subject == "CN=test");
            CHECK((*accepted)->tls_info().value().server_name == (where.starts_with("localhost") ? "localhost" : ""));
            auto const sent = co_await ws->write("over TLS");
            CHECK(sent);
            auto const m = co_await (*accepted)->read();
            CHECK(m.value().text() == "over TLS");
            auto const both = co_await when_all(ws->close(), (*accepted)->read());
            CHECK(std::get<0>(both).has_value());
            CHECK(std::get<1>(both).error() == ws::closed);
            CHECK(!ws->tls_info());
        }(at));
    }
}

TEST_CASE("connect_over() speaks wss: on any stream")
{
    on_each([](kind k) -> task<> {
        auto streams = co_await connected(k);
        auto both = co_await when_all(upgrade(std::move(streams.first), secure_server(pki().accepting)),
                                      connect_over(std::move(streams.second), "wss://test/", secure_client(pki().connecting)));
        auto server = std::move(std::get<0>(both)).value();
        auto client = std::move(std::get<1>(both)).value();
        std::string const text(300'000, 't');
        auto const moved = co_await when_all(client.write(text), server.read());
        CHECK(std::get<0>(moved).has_value());
        CHECK(std::get<1>(moved).value().text() == text);
        client.abort();
        server.abort();
    });
}

TEST_CASE("without TLS nothing is known of it")
{
    on_loop([]() -> task<> {
        auto options = quiet_server();
        options.authorize = [](wring::request const& r) -> task<response> {
            CHECK(!r.tls_info());
            co_return response::accept();
        };
        auto both = co_await open_pair(kind::memory, options);
        CHECK(!both.server.tls_info());
        both.client.abort();
        both.server.abort();
    }());
}

TEST_CASE("a hook knows a client by its certificate")
{
    on_loop([]() -> task<> {
        tls_test::authority const people("People");
        auto const alice = people.issue({.common_name = "alice", .names = "email:alice@example.org"});
        std::string const people_pem = people.certificate();
        tls::server_options server;
        server.clients = tls::client_certificates::require;
        server.client_ca = people_pem;
        auto const accepting = pki().accepting_with(server);
        tls::client_options client;
        client.certificate = alice.certificate;
        client.key = alice.key;
        auto const connecting = pki().connecting_with(client);
        auto options = secure_server(accepting);
        options.authorize = [](wring::request const& r) -> task<response> {
            auto const who = r.tls_info().value();
            co_return who.peer_subject == "CN=alice" && who.peer_names.at(0) == "email:alice@example.org"
                ? response::accept()
                : response::refuse(403);
        };
        auto streams = co_await connected(kind::memory);
        auto both = co_await when_all(upgrade(std::move(streams.first), options),
                                      connect_over(std::move(streams.second), "wss://test/", secure_client(connecting)));
        CHECK(std::get<0>(both).has_value());
        CHECK(std::get<1>(both).has_value());
        CHECK(std::get<0>(both)->tls_info().value().peer_subject == "CN=alice");

        // Without one a client of TLS 1.3 hears of it while it waits for its answer.
        auto others = co_await connected(kind::memory);
        auto const refused =
            co_await when_all(upgrade(std::move(others.first), options),
                              connect_over(std::move(others.second), "wss://test/", secure_client(pki().connecting)));
        CHECK(std::get<0>(refused).error() == tls::errc::untrusted);
        CHECK(std::get<1>(refused).error() == tls::errc::refused);
    }());
}

TEST_CASE("D5: a wss: client refuses by default whom it has no reason to trust")
{
    on_loop([]() -> task<> {
        struct
        {
            char const* host;
            bool by_default;
        } const rows[] = {{"test", true}, {"other", false}, {"127.0.0.2", false}};
        for (auto const& row : rows) {
            CAPTURE(row.host);
            auto streams = co_await connected(kind::memory);
            auto options = row.by_default ? quiet_client() : secure_client(pki().connecting);
            auto const both = co_await when_all(
                upgrade(std::move(streams.first), secure_server(pki().accepting)),
                connect_over(std::move(streams.second), "wss://" + std::string(row.host) + "/", options));
            CHECK(std::get<1>(both).error() == tls::errc::untrusted);
            CHECK(std::get<0>(both).error() == tls::errc::refused);
        }
    }());
}

TEST_CASE("D2: plain HTTP at a wss: server, and TLS at a ws: server, are told apart from the rest")
{
    on_each([](kind k) -> task<> {
        auto streams = co_await connected(k);
        auto const both =
            co_await when_all(upgrade(std::move(streams.first), secure_server(pki().accepting)),
                              connect_over(std::move(streams.second), "ws://test/", quiet_client()));
        CHECK(std::get<0>(both).error() == tls::errc::not_tls);
        CHECK(std::get<1>(both).error() == std::error_code(400, ws::http_category()));

        auto others = co_await connected(k);
        auto const reverse =
            co_await when_all(upgrade(std::move(others.first), quiet_server()),
                              connect_over(std::move(others.second), "wss://test/", secure_client(pki().connecting)));
        CHECK(std::get<0>(reverse).error() == violation(proto::errc::tls_unexpected));
        CHECK(std::get<1>(reverse).error() == tls::errc::not_tls);
    });
}

TEST_CASE("TLS, request and answer have one time together")
{
    on_loop([]() -> task<> {
        for (auto const stage : {0, 1, 2}) {
            CAPTURE(stage);
            auto streams = co_await connected(kind::tcp);
            auto options = secure_server(pki().accepting);
            options.handshake_timeout = 1s;
            std::optional<result<ws::connection>> end;
            scope server;
            auto const before = clock::now();
            server.spawn(upgrade_it(std::move(streams.first), options, end));
            raw_stream raw(std::move(streams.second), raw_peer::role::client);
            if (stage > 0) {
                auto const slept = co_await sleep_for(700ms);
                CHECK(slept);
                auto const done = co_await raw.handshake();
                CHECK(done);
            }
            if (stage == 2)
                co_await raw.write("GET / HTTP/1.1\r\n");
            co_await server.join();
            auto const took = clock::now() - before;
            CHECK(end->error() == ws::errc::handshake_timeout);
            CHECK(took >= 1s);
            CHECK(took < 1700ms); // not 700 and 1000
            auto const answer = co_await raw.read(1000);
            CHECK(answer.starts_with("HTTP/1.1 408 ") == (stage > 0));
        }
    }());
}

TEST_CASE("a wss: client gives a silent server its time, and no more")
{
    on_loop([]() -> task<> {
        auto streams = co_await connected(kind::memory);
        auto options = secure_client(pki().connecting);
        options.handshake_timeout = 30ms;
        auto const ws = co_await connect_over(std::move(streams.second), "wss://test/", options);
        CHECK(ws.error() == ws::errc::handshake_timeout);
    }());
}

TEST_CASE("an upgrade with TLS can be canceled at each of its suspensions")
{
    for (int at = 0; at < 25; ++at)
        on_loop([](int stop_at) -> task<> {
            auto streams = co_await connected(kind::memory, {.chunk = 200});
            std::optional<result<ws::connection>> end;
            std::optional<result<ws::connection>> other;
            scope server;
            scope client;
            server.spawn(upgrade_it(std::move(streams.first), secure_server(pki().accepting), end));
            client.spawn([](stream s, std::optional<result<ws::connection>>& out) -> task<> {
                out.emplace(co_await connect_over(std::move(s), "wss://test/", secure_client(pki().connecting)));
            }(std::move(streams.second), other));
            co_await turns(stop_at);
            server.request_stop();
            co_await server.join();
            if (!*end)
                CHECK(end->error() == errc::canceled);
            else
                (*end)->abort();
            co_await client.join();
            if (*other)
                (*other)->abort();
        }(at));
}

TEST_CASE("frames in one record with the request are delivered")
{
    on_loop([]() -> task<> {
        auto streams = co_await connected(kind::memory);
        std::optional<result<ws::connection>> opened;
        scope server;
        server.spawn(upgrade_it(std::move(streams.first), secure_server(pki().accepting), opened));
        raw_stream raw(std::move(streams.second), raw_peer::role::client);
        auto const done = co_await raw.handshake();
        CHECK(done);
        co_await raw.write(request_text() + std::string(as_text(masked(0x81, "early"))));
        co_await server.join();
        auto ws = std::move(*opened).value();
        auto const m = co_await ws.read();
        CHECK(m.value().text() == "early");
        ws.abort();
    }());
}

// ---- D1: the end ---------------------------------------------------------------------------------------------------

TEST_CASE("D1: an end without close_notify before the close frames is abnormal, and says why")
{
    for (kind k : {kind::memory, kind::tcp, kind::unix_path})
        for (std::string_view const cut : {"between frames", "in a frame", "in a record"}) {
            CAPTURE(name_of(k), cut);
            on_loop([](kind where, std::string_view how) -> task<> {
                auto both = co_await raw_tls_client(where);
                co_await both.raw.write(as_text(masked(0x81, "whole")));
                auto const frame = masked(0x81, "half of this");
                if (how == "in a frame")
                    co_await both.raw.write(as_text(frame).substr(0, 10));
                if (how == "in a record") {
                    CHECK(both.raw.tls.write(as_text(frame)));
                    auto record = both.raw.tls.drain();
                    record.resize(record.size() - 1);
                    auto const sent = co_await both.raw.below.write(record);
                    CHECK(sent);
                }
                both.raw.below.shutdown();
                auto const m = co_await both.ws.read();
                CHECK(m.value().text() == "whole");
                auto const end = co_await both.ws.read();
                CHECK(end.error() == tls::errc::truncated);
                CHECK(both.ws.status().code == ws::close_code::abnormal);
                CHECK(both.ws.status().closed_by_peer);
            }(k, cut));
        }
}

TEST_CASE("D1: a close_notify before the close frames is abnormal too")
{
    on_loop([]() -> task<> {
        auto both = co_await raw_tls_client(kind::memory);
        co_await both.raw.close_notify();
        auto const end = co_await both.ws.read();
        CHECK(end.error() == ws::errc::abnormal_closure);
        CHECK(both.ws.status().code == ws::close_code::abnormal);
    }());
}

TEST_CASE("D1: after both close frames the end is clean, with close_notify or without")
{
    for (bool const notify : {true, false})
        for (bool const reset : {true, false})
            for (kind k : {kind::memory, kind::tcp}) {
                CAPTURE(name_of(k), notify, reset);
                on_loop([](kind where, bool with_notify, bool with_reset) -> task<> {
                    auto both = co_await raw_tls_client(where);
                    co_await both.raw.write(as_text(masked(0x88, close_payload(1000, "done"))));
                    auto const end = co_await both.ws.read();
                    CHECK(end.error() == ws::closed);
                    auto const heard = co_await both.raw.read(1000); // the close frame, and then close_notify
                    CHECK(heard.size() == 4);
                    CHECK(both.raw.tls.last_error() == SSL_ERROR_ZERO_RETURN);
                    if (with_notify)
                        co_await both.raw.close_notify();
                    if (with_reset)
                        both.raw.below.abort();
                    else
                        both.raw.below.shutdown();
                    co_await turns(3);
                    CHECK(both.ws.status().code == ws::close_code::normal);
                    CHECK(both.ws.status().reason == "done");
                    CHECK(both.ws.status().error == ws::closed);
                }(k, notify, reset));
            }
}

// ---- sending -------------------------------------------------------------------------------------------------------

TEST_CASE("frames written in one turn leave in one record, as far as it holds them")
{
    on_loop([]() -> task<> {
        auto both = co_await raw_tls_client(kind::memory);
        for (std::size_t const size : {10, 2000}) {
            std::string const text(size, 'f');
            auto const shared = ws::shared_message::text(text);
            for (int i = 0; i < 50; ++i)
                if (i % 3 == 0) {
                    CHECK(both.ws.post(shared) == ws::posted::queued);
                } else {
                    auto const sent = co_await both.ws.write(text);
                    CHECK(sent);
                }
            std::size_t const frames = 50 * (size + (size > 125 ? 4 : 2));
            std::vector<std::byte> wire;
            std::vector<std::byte> part(200'000);
            std::size_t records = 0;
            std::string got;
            while (got.size() < frames) {
                auto const some = co_await both.raw.below.read_some(part);
                REQUIRE(some.has_value());
                wire.insert(wire.end(), some->begin(), some->end());
                both.raw.tls.feed(*some);
                got += both.raw.tls.read();
            }
            for (std::size_t at = 0; at + 5 <= wire.size(); ++records)
                at += 5 + (std::to_integer<std::size_t>(wire[at + 3]) << 8 | std::to_integer<std::size_t>(wire[at + 4]));
            CHECK(got.size() == frames);
            CHECK(records == (frames + 16 * 1024 - 1) / (16 * 1024));
        }
        both.ws.abort();
    }());
}

TEST_CASE("a flood of KeyUpdates ends a connection")
{
    on_loop([]() -> task<> {
        auto both = co_await raw_tls_client(kind::memory);
        scope flood;
        flood.spawn([](raw_stream& raw) -> task<> {
            for (int i = 0; i < 1000; ++i) {
                CHECK(raw.tls.key_update());
                auto const bytes = raw.tls.drain();
                auto const sent = co_await raw.below.write(bytes);
                if (!sent)
                    co_return;
            }
        }(both.raw));
        auto const end = co_await both.ws.read();
        CHECK(end.error() == tls::errc::flooded);
        co_await flood.join();
    }());
}
