// SPDX-License-Identifier: BSL-1.0
#include "proxies.hpp"

#include "child.hpp"

#include <wring/reconnect.hpp>

using namespace ws_test;
using namespace std::string_literals;
using ws::client_state;

namespace {

/// A server whose connections the test holds in its own hands, one after the other.
struct held_server
{
    explicit held_server(std::string const& where = "127.0.0.1:0", bool with_tls = false) :
        door(listener::bind(where).value()), secure(with_tls)
    {}

    [[nodiscard]] std::string url() const
    {
        if (door.local().is_unix())
            return "ws+" + door.local().to_string() + ":/";
        return (secure ? "wss://" : "ws://") + door.local().to_string() + "/";
    }

    /// The next connection, open.
    task<ws::connection> next()
    {
        auto s = co_await door.accept();
        auto const options = secure ? secure_server(tls_test::pki().accepting) : quiet_server();
        auto ws = co_await upgrade(std::move(s).value(), options);
        co_return std::move(ws).value();
    }

    /// The next one, refused.
    task<> refuse(std::string answer)
    {
        auto s = co_await door.accept();
        auto const head = co_await read_head(*s);
        co_await say(*s, answer);
        s->shutdown();
        auto const rest = co_await read_rest(*s);
        (void)rest;
    }

    listener door;
    bool secure;
};

/// What a client said of itself.
struct diary
{
    struct entry
    {
        client_state state;
        std::error_code error;
        ws::close_code code;
        std::string reason;
        duration delay;
        std::uint32_t failures;
    };
    void operator()(ws::client_change const& c)
    {
        entries.push_back({c.state, c.error, c.code, std::string(c.reason), c.delay, c.failures});
        changed.set();
        changed.reset();
    }
    [[nodiscard]] std::string text() const
    {
        std::string all;
        for (auto const& e : entries)
            all.append(all.empty() ? "" : " ").append(ws::to_string(e.state));
        return all;
    }
    [[nodiscard]] entry const& last() const { return entries.back(); }

    /// Waits until it has noted this state so many times.
    task<> reached(client_state s, int times = 1)
    {
        auto const count = [&] {
            return std::count_if(entries.begin(), entries.end(), [&](entry const& e) { return e.state == s; });
        };
        while (count() < times) {
            auto const more = co_await changed.wait();
            if (!more)
                co_return;
        }
    }

    std::vector<entry> entries;
    event changed;
};

/// Options for a client that comes back at once.
ws::reconnect_options eager(diary& d)
{
    ws::reconnect_options options;
    options.connect = quiet_client();
    options.min_delay = 1ms;
    options.max_delay = 2ms;
    options.on_change = d;
    return options;
}

/// Runs `body` with a server, leaving nothing behind.
void with_server(task<> (*body)(held_server&))
{
    net_test::no_descriptor_leaks const none;
    on_loop([](task<> (*b)(held_server&)) -> task<> {
        held_server server;
        co_await b(server);
    }(body));
}

std::error_code status(int code)
{
    return {code, ws::http_category()};
}

task<std::string> read_one(ws::reconnecting_client& client)
{
    auto const m = co_await client.read();
    if (!m)
        co_return "<" + m.error().message() + ">";
    co_return m->to_string();
}

task<std::string> read_one(ws::connection& ws)
{
    auto const m = co_await ws.read();
    if (!m)
        co_return "<" + m.error().message() + ">";
    co_return m->to_string();
}

} // namespace

TEST_CASE("a client comes back over TLS and on a Unix socket as well")
{
    for (bool const secure : {true, false}) {
        CAPTURE(secure);
        on_loop([](bool with_tls) -> task<> {
            net_test::temporary_folder folder;
            held_server server(with_tls ? "127.0.0.1:0" : "unix:" + folder / "door", with_tls);
            diary d;
            auto options = eager(d);
            if (with_tls)
                options.connect = secure_client(tls_test::pki().connecting);
            ws::reconnecting_client client(server.url(), options);
            scope running;
            running.spawn(client.run());
            for (int round = 0; round < 2; ++round) {
                auto ws = co_await server.next();
                CHECK(ws.tls_info().has_value() == with_tls);
                auto const sent = co_await ws.write("here");
                CHECK(sent.has_value());
                auto const got = co_await read_one(client);
                CHECK(got == "here");
                ws.abort();
                co_await d.reached(client_state::waiting, round + 1);
            }
            running.request_stop();
            co_await running.join();
        }(secure));
    }
}

TEST_CASE("a client reads and writes on through the loss of its connection")
{
    with_server([](held_server& server) -> task<> {
        diary d;
        ws::reconnecting_client client(server.url(), eager(d));
        CHECK(client.state() == client_state::idle);
        scope running;
        running.spawn(client.run());
        for (int round = 0; round < 3; ++round) {
            auto ws = co_await server.next();
            auto const written = co_await client.write("question");
            CHECK(written.has_value());
            auto const question = co_await read_one(ws);
            CHECK(question == "question");
            auto const sent = co_await ws.write("answer");
            CHECK(sent.has_value());
            auto const answer = co_await read_one(client);
            CHECK(answer == "answer");
            CHECK(client.state() == client_state::open);
            ws.abort();
            co_await d.reached(client_state::waiting, round + 1); // what is written before may be lost with it
        }
        auto ws = co_await server.next();
        co_await d.reached(client_state::open, 4);
        auto both = co_await when_all(client.close(ws::close_code{4000}, "done"), ws.read());
        CHECK(std::get<0>(both).has_value());
        CHECK(std::get<1>(both).error() == ws::closed);
        CHECK(ws.status().code == ws::close_code{4000});
        CHECK(ws.status().reason == "done");
        co_await running.join();
        CHECK(client.state() == client_state::ended);
        CHECK(client.error() == ws::closed);
        CHECK(d.text() == "connecting open waiting connecting open waiting connecting open waiting "
                          "connecting open ended");
        CHECK(d.last().code == ws::close_code{4000});
        auto const after = co_await client.read();
        CHECK(after.error() == ws::closed);
        auto const refused = co_await client.write("late");
        CHECK(refused.error() == ws::closed);
        auto const again = co_await client.close();
        CHECK(again.has_value());
    });
}

TEST_CASE("a client waits for a server that is not there yet, and keeps what is written meanwhile")
{
    net_test::temporary_folder folder;
    on_loop([](std::string path) -> task<> {
        diary d;
        ws::reconnecting_client client("ws+unix:" + path + ":/", eager(d));
        scope running;
        running.spawn(client.run());
        co_await d.reached(client_state::waiting, 5);
        for (auto const& e : d.entries) {
            CHECK((e.state == client_state::connecting || e.error == std::errc::no_such_file_or_directory));
            CHECK(e.delay <= 2ms);
        }
        CHECK(d.last().failures == 5);
        for (char const* text : {"one", "two", "three"}) {
            auto const written = co_await client.write(text);
            CHECK(written.has_value());
        }
        CHECK(client.queued() == 3);
        held_server server("unix:" + path);
        auto ws = co_await server.next();
        for (char const* text : {"one", "two", "three"}) {
            auto const m = co_await read_one(ws);
            CHECK(m == text);
        }
        CHECK(client.queued() == 0);
        auto both = co_await when_all(client.close(), ws.read());
        CHECK(std::get<0>(both).has_value());
        co_await running.join();
    }(folder / "socket"));
}

TEST_CASE("the hook runs after each opening, before what is in the outbox and before read()")
{
    with_server([](held_server& server) -> task<> {
        diary d;
        int opened = 0;
        auto subscribe = [&opened](ws::connection& ws) -> task<result<>> {
            ++opened;
            auto const sent = co_await ws.write("subscribe");
            if (!sent)
                co_return sent.error();
            auto const granted = co_await ws.read();
            if (!granted)
                co_return granted.error();
            CHECK(granted->text() == "granted");
            co_return {};
        };
        auto options = eager(d);
        options.on_open = subscribe;
        ws::reconnecting_client client(server.url(), options);
        scope running;
        running.spawn(client.run());
        for (int round = 1; round <= 3; ++round) {
            auto const queued = co_await client.write("queued");
            CHECK(queued.has_value());
            auto ws = co_await server.next();
            auto const first = co_await read_one(ws);
            CHECK(first == "subscribe");
            auto const granted = co_await ws.write("granted");
            CHECK(granted.has_value());
            auto const news = co_await ws.write("news");
            CHECK(news.has_value());
            auto const got = co_await read_one(client);
            CHECK(got == "news");
            auto const second = co_await read_one(ws);
            CHECK(second == "queued");
            CHECK(opened == round);
            ws.abort();
            co_await d.reached(client_state::waiting, round); // what is written before may be lost with the connection
        }
        running.request_stop();
        co_await running.join();
        CHECK(client.error() == errc::canceled);
    });
}

TEST_CASE("a hook that fails makes the attempt a failed one")
{
    with_server([](held_server& server) -> task<> {
        diary d;
        int opened = 0;
        auto hook = [&opened](ws::connection&) -> task<result<>> {
            if (++opened == 1)
                co_return std::make_error_code(std::errc::bad_message);
            co_return {};
        };
        auto options = eager(d);
        options.on_open = hook;
        options.stable_after = 0s;
        ws::reconnecting_client client(server.url(), options);
        scope running;
        running.spawn(client.run());
        auto first = co_await server.next();
        auto const end = co_await first.read();
        CHECK(end.error() == ws::closed);
        CHECK(first.status().code == ws::close_code::normal);
        auto second = co_await server.next();
        co_await d.reached(client_state::open, 2);
        CHECK(d.text() == "connecting open waiting connecting open");
        CHECK(d.entries.at(2).error == std::errc::bad_message);
        CHECK(d.entries.at(2).failures == 1);
        second.abort();
        running.request_stop();
        co_await running.join();
    });
}

TEST_CASE("an exception of a hook leaves run(), and ends the client")
{
    with_server([](held_server& server) -> task<> {
        for (bool in_change : {false, true}) {
            auto options = ws::reconnect_options();
            auto throws_late = [](ws::connection&) -> task<result<>> { throw std::runtime_error("hook"); };
            auto throws_at_once = [](ws::client_change const& c) {
                if (c.state == client_state::open)
                    throw std::runtime_error("hook");
            };
            options.connect = quiet_client();
            if (in_change)
                options.on_change = throws_at_once;
            else
                options.on_open = throws_late;
            ws::reconnecting_client client(server.url(), options);
            auto const run_it = [](ws::reconnecting_client& c, std::string& what) -> task<> {
                try {
                    co_await c.run();
                } catch (std::runtime_error const& e) {
                    what = e.what();
                }
            };
            std::string what;
            scope running;
            running.spawn(run_it(client, what));
            auto ws = co_await server.next();
            auto const end = co_await ws.read();
            CHECK(end.error() == ws::closed);
            CHECK(ws.status().code == ws::close_code::internal_error);
            co_await running.join();
            CHECK(what == "hook");
            CHECK(client.state() == client_state::ended);
            auto const m = co_await client.read();
            CHECK(m.error() == errc::closed);
            auto const w = co_await client.write("x");
            CHECK(w.error() == errc::closed);
        }
    });
}

TEST_CASE("what is final ends the client: by the peer's close code")
{
    struct row
    {
        unsigned code;
        bool final;
    };
    for (row const& r : {row{1000, true}, row{1001, false}, row{1002, true}, row{1003, true}, row{1005, false},
                         row{1007, true}, row{1008, true}, row{1009, true}, row{1010, true}, row{1011, false},
                         row{1012, false}, row{1013, false}, row{1014, false}, row{3000, false}, row{4999, false}}) {
        INFO(r.code);
        CHECK(ws::reconnecting_client::is_final(ws::closed, ws::close_code{static_cast<std::uint16_t>(r.code)}) ==
              r.final);
    }
    with_server([](held_server& server) -> task<> {
        diary d;
        ws::reconnecting_client client(server.url(), eager(d));
        scope running;
        running.spawn(client.run());
        auto first = co_await server.next();
        auto const restart = co_await first.close(ws::close_code::service_restart, "again, please");
        CHECK(restart.has_value());
        auto second = co_await server.next();
        auto const done = co_await second.close(ws::close_code::normal, "enough");
        CHECK(done.has_value());
        co_await running.join();
        CHECK(client.error() == ws::closed);
        CHECK(d.text() == "connecting open waiting connecting open ended");
        CHECK(d.entries.at(2).code == ws::close_code::service_restart);
        CHECK(d.entries.at(2).reason == "again, please");
        CHECK(d.entries.at(2).error == ws::closed);
        CHECK(d.last().code == ws::close_code::normal);
        CHECK(d.last().reason == "enough");
    });
}

TEST_CASE("what the outbox keeps is compressed or not, as write() was told")
{
    with_server([](held_server& server) -> task<> {
        diary d;
        auto options = eager(d);
        options.connect.deflate = {.on = true, .server_takeover = true, .client_takeover = true, .threshold = 0};
        ws::reconnecting_client client(server.url(), options);
        std::string const text(100, 'x');
        auto const bytes = std::as_bytes(std::span(text));
        for (bool const compress : {true, false}) { // before there is a connection
            auto const as_text = co_await client.write(text, {.compress = compress});
            auto const as_bytes = co_await client.write(bytes, {.compress = compress});
            auto const as_message = co_await client.write(ws::message{true, bytes}, {.compress = compress});
            CHECK((as_text && as_bytes && as_message));
        }
        scope running;
        running.spawn(client.run());
        auto peer = co_await server.door.accept();
        auto const request = co_await answer_handshake(*peer, "Sec-WebSocket-Extensions: permessage-deflate\r\n");
        for (int const first : {0xC1, 0xC2, 0xC1, 0x81, 0x82, 0x81}) {
            auto const head = co_await read_bytes(*peer, 2);
            CHECK(static_cast<unsigned char>(head.at(0)) == first);
            std::size_t const size = head.at(1) & 0x7F;
            CHECK((size == text.size()) == (first < 0xC0));
            auto const rest = co_await read_bytes(*peer, 4 + size);
            CHECK(rest.size() == 4 + size);
        }
        running.request_stop();
        co_await say(*peer, to_text(unmasked(0x88, "")));
        peer->shutdown();
        co_await running.join();
    });
}

TEST_CASE("what is final ends the client: by what connecting gave")
{
    auto const final_error = [](std::error_code e) {
        return ws::reconnecting_client::is_final(e, ws::close_code::no_status);
    };
    for (int code : {200, 204, 301, 302, 400, 401, 403, 404, 405, 410, 426, 501, 505})
        CHECK(final_error(status(code)));
    for (int code : {408, 425, 429, 500, 502, 503, 504})
        CHECK(!final_error(status(code)));
    auto const proxy = [](int code) { return std::error_code(code, ws::proxy_category()); };
    for (int code : {2, 7, 8, 255, 401, 403, 407})
        CHECK(final_error(proxy(code)));
    for (int code : {1, 3, 4, 5, 6, 502, 503, 504})
        CHECK(!final_error(proxy(code)));
    CHECK(final_error(violation(proto::errc::url_host)));
    CHECK(final_error(violation(proto::errc::header_value)));
    CHECK(final_error(violation(proto::errc::proxy_url)));
    CHECK(!final_error(violation(proto::errc::accept_mismatch)));
    CHECK(!final_error(violation(proto::errc::utf8_text)));
    CHECK(!final_error(violation(proto::errc::http_version_malformed)));
    for (auto e : {std::errc::connection_refused, std::errc::connection_reset, std::errc::network_unreachable,
                   std::errc::timed_out})
        CHECK(!final_error(std::make_error_code(e)));
    CHECK(!final_error(errc::host_not_found));
    CHECK(!final_error(ws::errc::handshake_timeout));
    CHECK(!final_error(ws::errc::abnormal_closure));
    CHECK(!final_error(ws::errc::pong_timeout));
    CHECK(final_error(errc::bad_endpoint));
    auto const no_file = tls::context::client({.ca = "/nonexistent/ca.pem"});
    CHECK(final_error(no_file.error())); // of TLS: only what this side can't use

    with_server([](held_server& server) -> task<> {
        diary d;
        ws::refusal said;
        auto options = eager(d);
        options.connect.refusal = &said;
        ws::reconnecting_client client(server.url(), options);
        scope running;
        running.spawn(client.run());
        co_await server.refuse("HTTP/1.1 503 x\r\nContent-Length: 0\r\n\r\n");
        co_await server.refuse("HTTP/1.1 403 x\r\nContent-Length: 3\r\n\r\nno!");
        co_await running.join();
        CHECK(client.error() == status(403));
        CHECK(said.body == "no!");
        CHECK(d.text() == "connecting waiting connecting ended");
        CHECK(d.entries.at(1).error == status(503));
        CHECK(d.last().error == status(403));
        auto const m = co_await client.read();
        CHECK(m.error() == status(403));
    });
    on_loop([]() -> task<> {
        ws::reconnecting_client client("ws://a b/");
        co_await client.run();
        CHECK(client.error() == violation(proto::errc::url_host));
    }());
}

TEST_CASE("the application may decide what is final")
{
    with_server([](held_server& server) -> task<> {
        diary d;
        auto options = eager(d);
        options.is_final = [](std::error_code e, ws::close_code code) {
            if (code == ws::close_code{4001})
                return true;
            return code != ws::close_code::normal && ws::reconnecting_client::is_final(e, code);
        };
        ws::reconnecting_client client(server.url(), options);
        scope running;
        running.spawn(client.run());
        auto first = co_await server.next();
        auto const normal = co_await first.close(ws::close_code::normal);
        CHECK(normal.has_value());
        auto second = co_await server.next();
        auto const logged_out = co_await second.close(ws::close_code{4001}, "logged out");
        CHECK(logged_out.has_value());
        co_await running.join();
        CHECK(d.text() == "connecting open waiting connecting open ended");
    });
}

TEST_CASE("a client gives up after max_failures in a row")
{
    on_loop([]() -> task<> {
        endpoint at;
        auto const bound = net_test::bound_socket(at, -1);
        diary d;
        auto options = eager(d);
        options.max_failures = 3;
        ws::reconnecting_client client("ws://" + at.to_string() + "/", options);
        co_await client.run();
        CHECK(client.error() == std::errc::connection_refused);
        CHECK(d.text() == "connecting waiting connecting waiting connecting ended");
        CHECK(d.last().failures == 3);
    }());
}

TEST_CASE("a connection that lasted makes the delays short again, others do not")
{
    with_server([](held_server& server) -> task<> {
        for (bool lasting : {false, true}) {
            diary d;
            auto options = eager(d);
            options.stable_after = lasting ? 0s : 1h;
            options.max_failures = 4;
            ws::reconnecting_client client(server.url(), options);
            scope running;
            running.spawn(client.run());
            for (int i = 0; i < (lasting ? 6 : 4); ++i) {
                auto ws = co_await server.next();
                ws.abort();
            }
            if (lasting) {
                co_await d.reached(client_state::waiting, 6);
                for (auto const& e : d.entries)
                    CHECK(e.failures == 0);
                running.request_stop();
            }
            co_await running.join();
            if (!lasting)
                CHECK(d.last().failures == 4);
        }
    });
}

TEST_CASE("a server that says when to come back is heard, up to max_delay")
{
    with_server([](held_server& server) -> task<> {
        diary d;
        auto options = eager(d);
        options.min_delay = 0s;
        options.max_delay = 20ms;
        ws::reconnecting_client client(server.url(), options);
        scope running;
        running.spawn(client.run());
        for (char const* value : {"3600", "0", "x", "-1", "Wed, 21 Oct 2015 07:28:00 GMT", "99999999999999999999"})
            co_await server.refuse("HTTP/1.1 503 x\r\nContent-Length: 0\r\nRetry-After: "s + value + "\r\n\r\n");
        co_await d.reached(client_state::waiting, 6);
        running.request_stop();
        co_await running.join();
        CHECK(d.entries.at(1).delay == 20ms);
        for (std::size_t i = 3; i < 12; i += 2)
            CHECK(d.entries.at(i).delay == 0ms);
    });
}

TEST_CASE("what a connection had received before its end is read before what the next one brings")
{
    with_server([](held_server& server) -> task<> {
        diary d;
        ws::reconnecting_client client(server.url(), eager(d));
        scope running;
        running.spawn(client.run());
        auto first = co_await server.next();
        for (char const* text : {"one", "two"}) {
            auto const sent = co_await first.write(text);
            CHECK(sent.has_value());
        }
        auto const restart = co_await first.close(ws::close_code::service_restart);
        CHECK(restart.has_value());
        auto second = co_await server.next();
        auto const sent = co_await second.write("three");
        CHECK(sent.has_value());
        co_await d.reached(client_state::open, 2);
        for (char const* text : {"one", "two", "three"}) {
            auto const m = co_await read_one(client);
            CHECK(m == text);
        }
        running.request_stop();
        co_await running.join();
    });
}

TEST_CASE("where nobody reads, the unread messages of all but the last two connections are dropped")
{
    with_server([](held_server& server) -> task<> {
        diary d;
        ws::reconnecting_client client(server.url(), eager(d));
        scope running;
        running.spawn(client.run());
        for (int i = 0; i < 5; ++i) {
            auto ws = co_await server.next();
            auto const sent = co_await ws.write(std::to_string(i));
            CHECK(sent.has_value());
            auto const restart = co_await ws.close(ws::close_code::service_restart);
            CHECK(restart.has_value());
        }
        auto last = co_await server.next();
        auto const sent = co_await last.write("5");
        CHECK(sent.has_value());
        co_await d.reached(client_state::open, 6);
        co_await turns(5);
        for (char const* text : {"4", "5"}) {
            auto const m = co_await read_one(client);
            CHECK(m == text);
        }
        running.request_stop();
        co_await running.join();
    });
}

TEST_CASE("a message stays valid until the next read, whatever becomes of its connection")
{
    with_server([](held_server& server) -> task<> {
        diary d;
        ws::reconnecting_client client(server.url(), eager(d));
        scope running;
        running.spawn(client.run());
        auto const small = std::string(1000, 's');
        auto const large = std::string(100'000, 'l');
        for (auto const& text : {small, large}) {
            auto ws = co_await server.next();
            auto const sent = co_await ws.write(text);
            CHECK(sent.has_value());
            auto const m = co_await client.read();
            CHECK(m.has_value());
            ws.abort();
            for (int i = 0; i < 3; ++i) { // and three more come and go
                auto other = co_await server.next();
                auto const said = co_await other.write("other");
                CHECK(said.has_value());
                other.abort();
            }
            CHECK(m->text() == text);
            auto next = co_await server.next();
            auto const end = co_await next.write("end");
            CHECK(end.has_value());
            std::string got;
            while (got != "end")
                got = co_await read_one(client);
            next.abort();
        }
        running.request_stop();
        co_await running.join();
    });
}

TEST_CASE("reading can be canceled, and loses nothing; two coroutines can't read")
{
    with_server([](held_server& server) -> task<> {
        diary d;
        ws::reconnecting_client client(server.url(), eager(d));
        auto const early = co_await timeout(1ms, client.read()); // before run()
        CHECK(early.error() == errc::timed_out);
        scope running;
        running.spawn(client.run());
        auto ws = co_await server.next();
        auto const nothing = co_await timeout(1ms, client.read());
        CHECK(nothing.error() == errc::timed_out);
        auto both = co_await when_all(client.read(), client.read(), ws.write("hello"));
        CHECK(std::get<0>(both).value().text() == "hello");
        CHECK(std::get<1>(both).error() == errc::busy);
        running.request_stop();
        co_await running.join();
        auto const after = co_await client.read();
        CHECK(after.error() == errc::canceled);
    });
}

// ---- the outbox ----------------------------------------------------------------------------------------------------

namespace {

/// A client that never gets a connection, with room for four messages of one byte.
struct shut_in
{
    explicit shut_in(ws::outbox_policy p) : bound(net_test::bound_socket(at, -1))
    {
        options = eager(d);
        options.outbox_limit = 4 * 65;
        options.when_full = p;
        client.emplace("ws://" + at.to_string() + "/", options);
    }
    endpoint at;
    net_test::raw_socket bound;
    diary d;
    ws::reconnect_options options;
    std::optional<ws::reconnecting_client> client;
};

task<> write_letters(ws::reconnecting_client& client, std::string letters, std::vector<std::error_code>& ends)
{
    for (char const& c : letters) {
        auto const written = co_await client.write(std::string_view(&c, 1));
        ends.push_back(written.error());
    }
}

/// What a server gets of it.
task<std::string> drain(ws::reconnecting_client& client, held_server& server, std::size_t n)
{
    scope running;
    running.spawn(client.run());
    auto ws = co_await server.next();
    std::string all;
    for (std::size_t i = 0; i < n; ++i)
        all += co_await read_one(ws);
    co_await turns(5);
    CHECK(client.queued() == 0);
    auto both = co_await when_all(client.close(), ws.read());
    CHECK(std::get<0>(both).has_value());
    CHECK(std::get<1>(both).error() == ws::closed); // and nothing more has come
    co_await running.join();
    co_return all;
}

} // namespace

TEST_CASE("a full outbox: the writer waits, in turn, and can be canceled")
{
    with_server([](held_server& server) -> task<> {
        diary d;
        auto options = eager(d);
        options.outbox_limit = 4 * 65;
        ws::reconnecting_client client(server.url(), options);
        std::vector<std::error_code> ends;
        co_await write_letters(client, "abcd", ends);
        CHECK(client.queued() == 4);
        auto const impatient = co_await timeout(1ms, client.write("x"));
        CHECK(impatient.error() == errc::timed_out);
        CHECK(client.queued() == 4);
        scope writers;
        std::vector<std::error_code> first;
        std::vector<std::error_code> second;
        writers.spawn(write_letters(client, "eg", first));
        writers.spawn(write_letters(client, "fh", second));
        co_await turns(2);
        CHECK(first.empty());
        auto const all = co_await drain(client, server, 8);
        CHECK(all == "abcdefgh");
        co_await writers.join();
        CHECK(first == std::vector<std::error_code>(2));
        CHECK(second == std::vector<std::error_code>(2));
        CHECK(client.dropped() == 0);
    });
}

TEST_CASE("a full outbox: the oldest messages go")
{
    with_server([](held_server& server) -> task<> {
        diary d;
        auto options = eager(d);
        options.outbox_limit = 4 * 65;
        options.when_full = ws::outbox_policy::drop_oldest;
        ws::reconnecting_client client(server.url(), options);
        std::vector<std::error_code> ends;
        co_await write_letters(client, "abcdefg", ends);
        CHECK(ends == std::vector<std::error_code>(7));
        CHECK(client.queued() == 4);
        CHECK(client.dropped() == 3);
        auto const all = co_await drain(client, server, 4);
        CHECK(all == "defg");
    });
}

TEST_CASE("a full outbox: the newest message goes")
{
    with_server([](held_server& server) -> task<> {
        diary d;
        auto options = eager(d);
        options.outbox_limit = 4 * 65;
        options.when_full = ws::outbox_policy::drop_newest;
        ws::reconnecting_client client(server.url(), options);
        std::vector<std::error_code> ends;
        co_await write_letters(client, "abcdefg", ends);
        CHECK(ends == std::vector<std::error_code>(7));
        CHECK(client.dropped() == 3);
        auto const all = co_await drain(client, server, 4);
        CHECK(all == "abcd");
    });
}

TEST_CASE("a full outbox: writing fails")
{
    with_server([](held_server& server) -> task<> {
        diary d;
        auto options = eager(d);
        options.outbox_limit = 4 * 65;
        options.when_full = ws::outbox_policy::fail;
        ws::reconnecting_client client(server.url(), options);
        std::vector<std::error_code> ends;
        co_await write_letters(client, "abcde", ends);
        CHECK(!ends.at(3));
        CHECK(ends.at(4) == ws::errc::outbox_full);
        CHECK(client.dropped() == 0);
        auto const all = co_await drain(client, server, 4);
        CHECK(all == "abcd");
    });
}

TEST_CASE("messages without bytes fill the outbox too, and one that is larger than it goes into an empty one")
{
    on_loop([]() -> task<> {
        shut_in s(ws::outbox_policy::fail);
        for (int i = 0; i < 4; ++i) {
            auto const written = co_await s.client->write("");
            CHECK(written.has_value());
        }
        auto const full = co_await s.client->write("");
        CHECK(full.error() == ws::errc::outbox_full);

        shut_in large(ws::outbox_policy::fail);
        std::string const text(10'000, 'x');
        auto const written = co_await large.client->write(text);
        CHECK(written.has_value());
        auto const refused = co_await large.client->write("");
        CHECK(refused.error() == ws::errc::outbox_full);

        shut_in oldest(ws::outbox_policy::drop_oldest);
        std::vector<std::error_code> ends;
        co_await write_letters(*oldest.client, "abcd", ends);
        auto const all_go = co_await oldest.client->write(text);
        CHECK(all_go.has_value());
        CHECK(oldest.client->dropped() == 4);
        CHECK(oldest.client->queued() == 1);
    }());
}

TEST_CASE("text and bytes keep their kind in the outbox")
{
    with_server([](held_server& server) -> task<> {
        diary d;
        ws::reconnecting_client client(server.url(), eager(d));
        auto const bytes = pattern(100);
        auto const text = co_await client.write("text");
        auto const binary = co_await client.write(bytes);
        auto const m = co_await client.write(ws::message{true, std::as_bytes(std::span("three", 5))});
        CHECK((text && binary && m));
        scope running;
        running.spawn(client.run());
        auto ws = co_await server.next();
        auto const first = co_await ws.read();
        CHECK((first.value().is_text && first->text() == "text"));
        auto const second = co_await ws.read();
        CHECK((!second.value().is_text && net_test::same_bytes(second->payload, bytes)));
        auto const third = co_await ws.read();
        CHECK((third.value().is_text && third->text() == "three"));
        running.request_stop();
        co_await running.join();
    });
}

TEST_CASE("a message that no connection has taken is sent by the next one, once")
{
    with_server([](held_server& server) -> task<> {
        diary d;
        auto options = eager(d);
        options.connect.send_limit = 1;
        options.outbox_limit = 64 << 20;
        ws::reconnecting_client client(server.url(), options);
        scope running;
        running.spawn(client.run());
        // The first server reads nothing: its buffers fill, and the connection takes no more.
        auto s = co_await server.door.accept();
        auto const head = co_await read_head(*s);
        co_await say(*s, switching(head));
        std::size_t const count = 300;
        for (std::size_t i = 0; i < count; ++i) {
            std::string text(100'000, 'x');
            text += std::to_string(i);
            auto const written = co_await client.write(text);
            CHECK(written.has_value());
        }
        std::size_t before = 0;
        do {
            before = client.queued();
            auto const slept = co_await sleep_for(10ms);
            CHECK(slept.has_value());
        } while (client.queued() != before);
        CHECK(before > 0);
        CHECK(before < count);
        s->abort();
        auto ws = co_await server.next();
        for (std::size_t i = count - before; i < count; ++i) {
            auto const m = co_await ws.read();
            CHECK(m.value().text().substr(100'000) == std::to_string(i));
        }
        CHECK(client.queued() == 0);
        running.request_stop();
        co_await running.join();
    });
}

// ---- closing and canceling -----------------------------------------------------------------------------------------

TEST_CASE("close() sends what is in the outbox first")
{
    with_server([](held_server& server) -> task<> {
        diary d;
        ws::reconnecting_client client(server.url(), eager(d));
        scope running;
        running.spawn(client.run());
        auto ws = co_await server.next();
        co_await d.reached(client_state::open);
        std::string const text(100'000, 'x');
        for (int i = 0; i < 50; ++i) {
            auto const written = co_await client.write(text);
            CHECK(written.has_value());
        }
        scope closing;
        closing.spawn([](ws::reconnecting_client& c) -> task<> {
            auto const closed = co_await c.close(ws::close_code::normal, "bye");
            CHECK(closed.has_value());
        }(client));
        co_await turns(1);
        auto const late = co_await client.write("late");
        CHECK(late.error() == ws::closed);
        for (int i = 0; i < 50; ++i) {
            auto const m = co_await ws.read();
            CHECK(m.value().payload.size() == text.size());
        }
        auto const end = co_await ws.read();
        CHECK(end.error() == ws::closed);
        CHECK(ws.status().reason == "bye");
        co_await closing.join();
        co_await running.join();
    });
}

TEST_CASE("close() while there is no connection ends the client at once")
{
    on_loop([]() -> task<> {
        endpoint at;
        auto const bound = net_test::bound_socket(at, -1);
        endpoint silent_at;
        auto const silent = net_test::bound_socket(silent_at, 1);
        for (auto const& where : {at, silent_at}) { // waiting; connecting
            diary d;
            auto options = eager(d);
            options.min_delay = options.max_delay = 1h;
            ws::reconnecting_client client("ws://" + where.to_string() + "/", options);
            auto const written = co_await client.write("never sent");
            CHECK(written.has_value());
            scope running;
            running.spawn(client.run());
            co_await d.reached(where == at ? client_state::waiting : client_state::connecting);
            co_await turns(3);
            auto const closed = co_await client.close();
            CHECK(closed.has_value());
            CHECK(client.state() == client_state::ended);
            CHECK(client.error() == ws::closed);
            CHECK(client.queued() == 0);
            co_await running.join();
            CHECK(d.last().error == ws::closed);
        }
    }());
}

TEST_CASE("close() in the hook's time cancels the hook")
{
    with_server([](held_server& server) -> task<> {
        diary d;
        auto options = eager(d);
        options.on_open = [](ws::connection& ws) -> task<result<>> {
            auto const never = co_await ws.read();
            CHECK(never.error() == errc::canceled);
            co_return never.error();
        };
        ws::reconnecting_client client(server.url(), options);
        scope running;
        running.spawn(client.run());
        auto ws = co_await server.next();
        co_await d.reached(client_state::open);
        co_await turns(2);
        auto both = co_await when_all(client.close(ws::close_code{4003}, "never mind"), ws.read());
        CHECK(std::get<0>(both).has_value());
        CHECK(std::get<1>(both).error() == ws::closed);
        CHECK(ws.status().code == ws::close_code{4003});
        CHECK(ws.status().reason == "never mind");
        co_await running.join();
    });
}

TEST_CASE("a client closed before it runs, or run to its end, is over")
{
    on_loop([]() -> task<> {
        diary d;
        ws::reconnecting_client client("ws://127.0.0.1:1/", eager(d));
        auto const closed = co_await client.close();
        CHECK(closed.has_value());
        co_await client.run();
        CHECK(client.error() == ws::closed);
        CHECK(d.text() == "ended");
        ws::reconnecting_client never("ws://127.0.0.1:1/"); // neither run nor closed
    }());
}

TEST_CASE("waiting writers and readers hear of the end")
{
    on_loop([]() -> task<> {
        for (bool cancel : {false, true}) {
            shut_in s(ws::outbox_policy::wait);
            s.options.min_delay = s.options.max_delay = 1h;
            scope running;
            running.spawn(s.client->run());
            co_await s.d.reached(client_state::waiting);
            scope others;
            std::vector<std::error_code> ends;
            std::string read;
            others.spawn(write_letters(*s.client, "abcde", ends));
            others.spawn([](ws::reconnecting_client& c, std::string& out) -> task<> { out = co_await read_one(c); }(
                *s.client, read));
            co_await turns(3);
            CHECK(ends.size() == 4);
            if (cancel) {
                running.request_stop();
            } else {
                auto const closed = co_await s.client->close();
                CHECK(closed.has_value());
            }
            co_await running.join();
            co_await others.join();
            std::error_code const expected = cancel ? make_error_code(errc::canceled) : make_error_code(ws::closed);
            CHECK(ends.at(4) == expected);
            CHECK(read == "<" + expected.message() + ">");
        }
    }());
}

TEST_CASE("a cancel of run() closes the connection: 1000, or 1001 where the loop is to stop")
{
    for (bool stopping : {false, true})
        on_loop([](bool loop_stops) -> task<> {
            held_server server;
            diary d;
            ws::reconnecting_client client(server.url(), eager(d));
            scope running; // which hears nothing of the loop's stop by itself
            running.spawn(client.run());
            auto ws = co_await server.next();
            co_await d.reached(client_state::open);
            scope peer;
            std::error_code end;
            peer.spawn([](ws::connection& c, std::error_code& e) -> task<> {
                auto const m = co_await c.read();
                e = m.error();
            }(ws, end));
            if (loop_stops)
                this_loop().request_stop();
            running.request_stop();
            co_await running.join();
            CHECK(client.error() == errc::canceled);
            while (!end)
                co_await turns(1);
            CHECK(end == ws::closed);
            CHECK(ws.status().code == (loop_stops ? ws::close_code::going_away : ws::close_code::normal));
            co_await peer.join();
        }(stopping));
}

TEST_CASE("run() can be canceled at any time, and leaves nothing behind")
{
    net_test::no_descriptor_leaks const none;
    for (int at = 0; at < 60; ++at)
        on_loop([](int stop_at) -> task<> {
            held_server server;
            diary d;
            auto options = eager(d);
            options.on_open = [](ws::connection& ws) -> task<result<>> {
                auto const sent = co_await ws.write("subscribe");
                if (!sent)
                    co_return sent.error();
                auto const granted = co_await ws.read();
                co_return granted.error() ? result<>(granted.error()) : result<>();
            };
            ws::reconnecting_client client(server.url(), options);
            scope others;
            others.spawn([](held_server& s) -> task<> {
                for (;;) {
                    auto peer = co_await s.door.accept();
                    if (!peer)
                        co_return;
                    auto ws = co_await upgrade(std::move(*peer), quiet_server());
                    if (!ws)
                        continue;
                    for (int i = 0; i < 3; ++i) { // "subscribe" and two more, then it goes
                        auto const m = co_await ws->read();
                        auto const sent = co_await ws->write("yes");
                        (void)sent;
                        (void)m;
                    }
                    ws->abort();
                }
            }(server));
            others.spawn([](ws::reconnecting_client& c) -> task<> {
                for (;;) {
                    auto const sent = co_await c.write("something");
                    auto const m = co_await c.read();
                    if (!m || !sent)
                        co_return;
                }
            }(client));
            scope running;
            running.spawn(client.run());
            co_await turns(stop_at);
            running.request_stop();
            co_await running.join();
            CHECK(client.state() == client_state::ended);
            others.request_stop();
            co_await others.join();
        }(at));
}

TEST_CASE("a fresh token for each attempt, by way of on_change")
{
    on_loop([]() -> task<> {
        test_server server;
        scope serving;
        serving.spawn(server.serve());
        server.answers = {"HTTP/1.1 503 x\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 503 x\r\nContent-Length: 0\r\n\r\n"};
        std::string token;
        header field{"Authorization", ""};
        int number = 0;
        event open;
        auto change = [&](ws::client_change const& c) {
            if (c.state == client_state::connecting) {
                token = "Bearer " + std::to_string(++number);
                field.value = token;
            }
            if (c.state == client_state::open)
                open.set();
        };
        ws::reconnect_options options;
        options.connect = quiet_client();
        options.connect.headers = std::span(&field, 1);
        options.min_delay = 0s;
        options.max_delay = 1ms;
        options.on_change = change;
        ws::reconnecting_client client(server.url(), options);
        scope running;
        running.spawn(client.run());
        auto const opened = co_await open.wait();
        CHECK(opened.has_value());
        CHECK(server.heads.size() == 3);
        for (int i = 0; i < 3; ++i)
            CHECK(server.heads.at(static_cast<std::size_t>(i)).find("Bearer " + std::to_string(i + 1) + "\r\n") !=
                  std::string::npos);
        running.request_stop();
        co_await running.join();
        serving.request_stop();
        co_await serving.join();
    }());
}

TEST_CASE("a client that is destroyed while it runs, or run twice, ends the program with a message")
{
    auto const destroyed = test::in_child([] {
        return run([]() -> task<> {
            auto client = std::make_unique<ws::reconnecting_client>("ws://127.0.0.1:1/");
            scope running;
            running.spawn(client->run());
            co_await turns(1);
            client.reset();
        }());
    });
    CHECK(destroyed.aborted());
    CHECK(destroyed.says("reconnecting_client was destroyed while its run() goes on"));
    auto const twice = test::in_child([] {
        return run([]() -> task<> {
            ws::reconnecting_client client("ws://127.0.0.1:1/");
            (void)co_await client.close();
            co_await client.run();
            co_await client.run();
        }());
    });
    CHECK(twice.aborted());
    CHECK(twice.says("called twice"));
}
