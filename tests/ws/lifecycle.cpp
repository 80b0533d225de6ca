// SPDX-License-Identifier: BSL-1.0
#include "harness.hpp"

#include "child.hpp"

#include "ws/connection_core.hpp"

#include <ctime>
#include <thread>

using namespace ws_test;

namespace {

task<> close_it(ws::connection& ws, ws::close_code code, std::string reason, std::error_code* end = nullptr)
{
    auto const closed = co_await ws.close(code, reason);
    if (end)
        *end = closed.error();
    else
        CHECK(closed.has_value());
}

duration cpu_time()
{
    timespec t{};
    ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return std::chrono::seconds(t.tv_sec) + std::chrono::nanoseconds(t.tv_nsec);
}

/// The next frame that is no ping.
task<wire_frame> skip_pings(stream& s)
{
    for (;;) {
        auto f = co_await read_wire(s);
        if (f.end || f.first != 0x89)
            co_return f;
    }
}

} // namespace

TEST_CASE("an idle connection is small")
{
    INFO("sizeof(connection_core) = " << sizeof(detail::connection_core));
    CHECK(sizeof(detail::connection_core) <= 512);
    CHECK(sizeof(ws::connection) == sizeof(void*));
}

// ---- close --------------------------------------------------------------------------------------------------------

TEST_CASE("either side closes, and both know code, reason and who")
{
    on_each([](kind k) -> task<> {
        for (bool server : {true, false}) {
            auto both = co_await open_pair(k);
            auto& from = server ? both.server : both.client;
            auto& to = server ? both.client : both.server;
            CHECK(from.is_open());
            CHECK(from.status().open);
            CHECK(!from.status().error);
            co_await close_it(from, ws::close_code{4001}, "bye, all");
            CHECK(!from.is_open());
            CHECK(from.status().code == ws::close_code{4001});
            CHECK(!from.status().closed_by_peer);
            CHECK(from.status().error == ws::closed);
            auto const end = co_await to.read();
            CHECK(end.error() == ws::closed);
            CHECK(to.status().code == ws::close_code{4001});
            CHECK(to.status().reason == "bye, all");
            CHECK(to.status().closed_by_peer);
            CHECK(!to.status().open);
            auto const again = co_await from.close();
            CHECK(again.has_value());
            auto const other = co_await to.close();
            CHECK(other.has_value());
        }
    });
}

TEST_CASE("the peer's code is echoed, without its reason")
{
    for (unsigned code : {1000U, 1001U, 1003U, 1008U, 1011U, 1014U, 3000U, 4999U})
        on_loop([](unsigned c) -> task<> {
            auto both = co_await raw_client();
            co_await send(both.raw, masked(0x88, close_payload(c, "reason")));
            auto const reply = co_await read_wire(both.raw);
            CHECK(reply.close_code() == c);
            CHECK(reply.reason().empty());
            both.raw.shutdown();
            auto const end = co_await both.ws.read();
            CHECK(end.error() == ws::closed);
            CHECK(both.ws.status().code == static_cast<ws::close_code>(c));
            CHECK(both.ws.status().reason == "reason");
        }(code));
}

TEST_CASE("a close without a code is answered by one without")
{
    on_loop([]() -> task<> {
        auto both = co_await raw_client();
        co_await send(both.raw, masked(0x88));
        auto const reply = co_await read_wire(both.raw);
        CHECK(reply.first == 0x88);
        CHECK(reply.payload.empty());
        CHECK(both.ws.status().code == ws::close_code::no_status);
        auto const end = co_await both.ws.read();
        CHECK(end.error() == ws::closed);
    }());
}

TEST_CASE("a server ends its stream after the close frames, a client waits for that")
{
    on_each([](kind k) -> task<> {
        auto server = co_await raw_client(k);
        co_await send(server.raw, masked(0x88, close_payload(1000)));
        auto const rest = co_await read_rest(server.raw);
        CHECK(rest == "\x88\x02\x03\xE8");

        auto client = co_await raw_server(k);
        scope closing;
        closing.spawn(close_it(client.ws, ws::close_code::normal, ""));
        auto const close = co_await read_wire(client.raw);
        CHECK(close.close_code() == 1000);
        co_await send(client.raw, unmasked(0x88, close_payload(1000)));
        co_await closing.join();
        std::byte one[1];
        auto const early = co_await timeout(20ms, client.raw.read_some(one));
        CHECK(early.error() == errc::timed_out); // it is the server's to end the stream first
        client.raw.shutdown();
        auto const end = co_await read_rest(client.raw);
        CHECK(end.empty());
    });
}

TEST_CASE("closes that cross are clean on both sides")
{
    on_each([](kind k) -> task<> {
        auto both = co_await open_pair(k);
        scope closing;
        closing.spawn(close_it(both.server, ws::close_code{4001}, "server"));
        closing.spawn(close_it(both.client, ws::close_code{4002}, "client"));
        co_await closing.join();
        CHECK(both.server.status().code == ws::close_code{4002});
        CHECK(both.server.status().reason == "client");
        CHECK(both.client.status().code == ws::close_code{4001});
        CHECK(both.client.status().reason == "server");
        CHECK(!both.server.status().closed_by_peer);
        CHECK(!both.client.status().closed_by_peer);
    });
}

TEST_CASE("the reason in status() belongs to its code")
{
    on_loop([]() -> task<> {
        auto both = co_await raw_client();
        scope closing;
        closing.spawn(close_it(both.ws, ws::close_code{4001}, "ours"));
        co_await send(both.raw, masked(0x88, close_payload(4002)));
        co_await closing.join();
        CHECK(both.ws.status().code == ws::close_code{4002});
        CHECK(both.ws.status().reason.empty());
    }());
}

TEST_CASE("a long reason is cut at a character")
{
    struct
    {
        std::string reason;
        std::size_t sent;
    } const rows[] = {
        {std::string(123, 'r'), 123},
        {std::string(124, 'r'), 123},
        {std::string(122, 'r') + "\xC3\xA9", 122},
        {std::string(121, 'r') + "\xC3\xA9", 123},
        {std::string(120, 'r') + "\xF0\x9F\x98\x80", 120},
        {std::string(1000, 'r'), 123},
    };
    for (auto const& row : rows)
        on_loop([](std::string const& reason, std::size_t sent) -> task<> {
            auto both = co_await raw_client();
            scope closing;
            closing.spawn(close_it(both.ws, ws::close_code::normal, reason));
            auto const close = co_await read_wire(both.raw);
            CHECK(close.close_code() == 1000);
            CHECK(close.reason() == reason.substr(0, sent));
            CHECK(both.ws.status().reason == reason.substr(0, sent));
            co_await send(both.raw, masked(0x88, close_payload(1000)));
            co_await closing.join();
        }(row.reason, row.sent));
}

TEST_CASE("a code that may not be sent becomes 1011, a reason that is not UTF-8 is left out")
{
    struct
    {
        unsigned code;
        std::string_view reason;
        unsigned sent;
        std::string_view sent_reason;
    } const rows[] = {
        {0, "r", 1011, ""},         {999, "r", 1011, ""},   {1004, "", 1011, ""},  {1005, "r", 1011, ""},
        {1006, "r", 1011, ""},      {1015, "r", 1011, ""},  {2999, "", 1011, ""},  {5000, "r", 1011, ""},
        {1000, "\xFF", 1000, ""},   {4000, "\xC3", 4000, ""}, {1005, "", 0, ""},   {1000, "fine", 1000, "fine"},
    };
    for (auto const& row : rows) {
        INFO(row.code);
        on_loop([](unsigned code, std::string_view reason, unsigned sent, std::string_view sent_reason) -> task<> {
            auto both = co_await raw_client();
            scope closing;
            closing.spawn(close_it(both.ws, static_cast<ws::close_code>(code), std::string(reason)));
            auto const close = co_await read_wire(both.raw);
            CHECK(close.first == 0x88);
            CHECK(close.close_code() == sent);
            CHECK(close.reason() == sent_reason);
            co_await send(both.raw, masked(0x88));
            co_await closing.join();
        }(row.code, row.reason, row.sent, row.sent_reason));
    }
}

TEST_CASE("what is queued is sent before the close frame")
{
    on_each([](kind k) -> task<> {
        auto both = co_await raw_client(k, quiet_server(), {.small_buffers = true});
        for (int i = 0; i < 100; ++i) {
            auto const sent = co_await both.ws.write(std::string(1000, 'x'));
            CHECK(sent.has_value());
        }
        scope closing;
        closing.spawn(close_it(both.ws, ws::close_code::normal, ""));
        for (int i = 0; i < 100; ++i) {
            auto const f = co_await read_wire(both.raw);
            CHECK(f.payload.size() == 1000);
        }
        auto const close = co_await read_wire(both.raw);
        CHECK(close.close_code() == 1000);
        co_await send(both.raw, masked(0x88, close_payload(1000)));
        co_await closing.join();
    });
}

TEST_CASE("what is queued reaches a peer that has closed and ended its sending side")
{
    on_each([](kind k) -> task<> {
        auto both = co_await raw_client(k, quiet_server(), {.small_buffers = true});
        co_await send(both.raw, masked(0x81, "question") + masked(0x88, close_payload(1000)));
        both.raw.shutdown();
        auto const m = co_await both.ws.read();
        CHECK(m.value().text() == "question");
        auto const sent = co_await timeout(2s, both.ws.write(std::string_view("answer")));
        // The close may have been seen already where it came at once; then nothing was queued.
        auto const end = co_await both.ws.read();
        CHECK(end.error() == ws::closed);
        auto const rest = co_await read_rest(both.raw);
        CHECK(rest == (sent ? "\x81\x06" "answer\x88\x02\x03\xE8" : "\x88\x02\x03\xE8"));
    });
}

TEST_CASE("much that is queued reaches a peer that has closed and ended its sending side")
{
    on_each([](kind k) -> task<> {
        auto both = co_await raw_client(k, quiet_server(), {.small_buffers = true});
        std::size_t size = 0;
        for (int i = 0; i < 500; ++i) {
            auto const sent = co_await both.ws.write(std::string(1000, 'x'));
            CHECK(sent.has_value());
            size += 1004;
        }
        co_await send(both.raw, masked(0x88, close_payload(1000)));
        both.raw.shutdown();
        auto const end = co_await both.ws.read();
        CHECK(end.error() == ws::closed);
        co_await turns(20); // the end of the stream arrives
        auto const rest = co_await read_rest(both.raw);
        CHECK(rest.size() == size + 4);
        CHECK(rest.ends_with(std::string_view("\x88\x02\x03\xE8")));
    });
}

TEST_CASE("data that comes after close() is dropped, what came before it is given")
{
    on_loop([]() -> task<> {
        auto both = co_await raw_client();
        co_await send(both.raw, masked(0x81, "unread"));
        co_await turns(2);
        scope closing;
        closing.spawn(close_it(both.ws, ws::close_code::normal, ""));
        co_await send(both.raw, masked(0x81, "late") + masked(0x89, "ping") + masked(0x02, "half"));
        co_await turns(5);
        co_await send(both.raw, masked(0x88, close_payload(1000)) + masked(0x81, "after"));
        auto const m = co_await both.ws.read();
        CHECK(m.value().text() == "unread");
        auto const end = co_await both.ws.read();
        CHECK(end.error() == ws::closed);
        co_await closing.join();
        both.raw.shutdown();
        auto const rest = co_await read_rest(both.raw);
        CHECK(rest == "\x88\x02\x03\xE8"); // no pong behind a close frame
    }());
}

TEST_CASE("data after the peer's close frame is ignored")
{
    on_loop([]() -> task<> {
        auto both = co_await raw_client();
        co_await send(both.raw, masked(0x88, close_payload(1000)) + masked(0x81, "after") + from_text("garbage"));
        auto const end = co_await both.ws.read();
        CHECK(end.error() == ws::closed);
        auto const reply = co_await read_wire(both.raw);
        CHECK(reply.close_code() == 1000);
        CHECK(both.ws.status().error == ws::closed);
    }());
}

TEST_CASE("a violation while closing ends in its error")
{
    on_loop([]() -> task<> {
        auto both = co_await raw_client();
        std::error_code end;
        scope closing;
        closing.spawn(close_it(both.ws, ws::close_code::normal, "", &end));
        co_await send(both.raw, unmasked(0x81, "bad"));
        co_await closing.join();
        CHECK(end == violation(proto::errc::mask_missing));
    }());
}

TEST_CASE("a reader that waits hears of a close by either side")
{
    on_each([](kind k) -> task<> {
        for (bool by_peer : {true, false}) {
            auto both = co_await open_pair(k);
            std::error_code end;
            scope reading;
            reading.spawn([](ws::connection& ws, std::error_code& e) -> task<> {
                auto const m = co_await ws.read();
                e = m.error();
            }(both.server, end));
            co_await turns(2);
            co_await close_it(by_peer ? both.client : both.server, ws::close_code::normal, "");
            co_await reading.join();
            CHECK(end == ws::closed);
        }
    });
}

TEST_CASE("several coroutines may close")
{
    on_loop([]() -> task<> {
        auto both = co_await open_pair();
        scope closing;
        for (int i = 0; i < 3; ++i)
            closing.spawn(close_it(both.server, ws::close_code{static_cast<std::uint16_t>(4000 + i)}, ""));
        co_await closing.join();
        CHECK(both.client.status().code == ws::close_code{4000});
    }());
}

TEST_CASE("the end can be waited for, by any number, without closing or reading")
{
    on_each([](kind k) -> task<> {
        auto const wait = [](ws::connection& ws, int& ended) -> task<> {
            auto const end = co_await ws.wait_closed();
            CHECK(end.has_value());
            CHECK(ws.status().code == ws::close_code{4002});
            ++ended;
        };
        auto both = co_await open_pair(k);
        int ended = 0;
        scope waiting;
        waiting.spawn(wait(both.server, ended));
        waiting.spawn(wait(both.server, ended));
        waiting.spawn(wait(both.client, ended));
        co_await turns(3);
        CHECK(ended == 0);
        CHECK(both.server.is_open());
        co_await close_it(both.client, ws::close_code{4002}, "bye");
        co_await waiting.join();
        CHECK(ended == 3);
        auto const again = co_await both.server.wait_closed(); // at once
        CHECK(again.has_value());
    });
}

TEST_CASE("waiting for the end tells how it came, and can be canceled")
{
    on_each([](kind k) -> task<> {
        auto pair = co_await raw_client(k);
        auto const early = co_await timeout(1ms, pair.ws.wait_closed());
        CHECK(early.error() == errc::timed_out);
        CHECK(pair.ws.is_open());
        co_await send(pair.raw, masked(0x81, "unread"));
        pair.raw.shutdown();
        auto const end = co_await pair.ws.wait_closed();
        CHECK(end.error() == ws::errc::abnormal_closure);
        auto const m = co_await pair.ws.read(); // what came before is still there
        CHECK(m.value().text() == "unread");
        auto const after = co_await pair.ws.read();
        CHECK(after.error() == ws::errc::abnormal_closure);
        auto const again = co_await pair.ws.wait_closed();
        CHECK(again.error() == ws::errc::abnormal_closure);
    });
}

TEST_CASE("a canceled close goes on by itself")
{
    on_each([](kind k) -> task<> {
        auto both = co_await raw_client(k);
        auto const early = co_await timeout(1ms, both.ws.close(ws::close_code{4000}));
        CHECK(early.error() == errc::timed_out);
        auto const close = co_await read_wire(both.raw);
        CHECK(close.close_code() == 4000);
        co_await send(both.raw, masked(0x88, close_payload(4000)));
        auto const done = co_await both.ws.close();
        CHECK(done.has_value());
    });
}

TEST_CASE("a peer that does not answer a close is given up after close_timeout")
{
    on_each([](kind k) -> task<> {
        auto options = quiet_server();
        options.close_timeout = 20ms;
        auto both = co_await raw_client(k, options);
        auto const start = clock::now();
        std::error_code end;
        co_await close_it(both.ws, ws::close_code::normal, "", &end);
        CHECK(end == ws::errc::close_timeout);
        CHECK(end == std::errc::timed_out);
        CHECK(clock::now() - start >= 20ms);
        CHECK(both.ws.status().code == ws::close_code::abnormal);
        auto const close = co_await read_wire(both.raw);
        CHECK((close.close_code() == 1000 || close.end == std::errc::connection_reset));
    });
}

TEST_CASE("without a close_timeout a close waits")
{
    on_loop([]() -> task<> {
        auto options = quiet_server();
        options.close_timeout = duration::zero();
        auto both = co_await raw_client(kind::memory, options);
        auto const early = co_await timeout(20ms, both.ws.close());
        CHECK(early.error() == errc::timed_out);
        auto const close = co_await read_wire(both.raw);
        CHECK(close.close_code() == 1000);
        co_await send(both.raw, masked(0x88, close_payload(1000)));
        auto const done = co_await both.ws.close();
        CHECK(done.has_value());
        co_await turns(3);
        both.raw.shutdown();
        auto const rest = co_await read_rest(both.raw);
        CHECK(rest.empty());
    }());
}

TEST_CASE("a peer that closes but never ends its stream is given up after close_timeout")
{
    on_each([](kind k) -> task<> {
        auto options = quiet_server();
        options.close_timeout = 20ms;
        auto both = co_await raw_client(k, options);
        co_await send(both.raw, masked(0x88, close_payload(1000)));
        auto const reply = co_await read_wire(both.raw);
        CHECK(reply.close_code() == 1000);
        auto const end = co_await both.ws.read();
        CHECK(end.error() == ws::closed);
        {
            ws::connection over = std::move(both.ws);
        }
        // The stream goes on until the time is up: then sending fails.
        std::error_code broken;
        while (!broken) {
            auto const sent = co_await both.raw.write("x");
            broken = sent.error();
            auto const slept = co_await sleep_for(1ms);
            CHECK(slept.has_value());
        }
        CHECK((broken == std::errc::broken_pipe || broken == std::errc::connection_reset));
    });
}

// ---- other ends ---------------------------------------------------------------------------------------------------

TEST_CASE("a stream that ends without a close frame is an abnormal closure")
{
    on_each([](kind k) -> task<> {
        auto both = co_await raw_client(k);
        both.raw.shutdown();
        auto const end = co_await both.ws.read();
        CHECK(end.error() == ws::errc::abnormal_closure);
        auto const status = both.ws.status();
        CHECK(!status.open);
        CHECK(status.code == ws::close_code::abnormal);
        CHECK(status.closed_by_peer);
        CHECK(status.error == ws::errc::abnormal_closure);
        auto const closed = co_await both.ws.close();
        CHECK(closed.error() == ws::errc::abnormal_closure);
    });
}

TEST_CASE("the end in the middle of a frame, a header or a close frame is abnormal")
{
    for (std::string_view hex :
         {"81", "81 85", "81 85 01 02 03", "81 85 01 02 03 04 05", "82 FE 01", "88", "88 82 00 00"})
        on_loop([](std::string_view h) -> task<> {
            auto both = co_await raw_client();
            co_await send(both.raw, from_hex(h));
            both.raw.shutdown();
            auto const end = co_await both.ws.read();
            CHECK(end.error() == ws::errc::abnormal_closure);
        }(hex));
}

TEST_CASE("a reset is the system's error")
{
    constexpr kind resetting[] = {kind::memory, kind::tcp, kind::tls_memory, kind::tls_tcp};
    on_each(
        [](kind k) -> task<> {
            auto both = co_await raw_client(k);
            both.raw.abort();
            auto const end = co_await both.ws.read();
            CHECK(end.error() == std::errc::connection_reset);
            CHECK(both.ws.status().code == ws::close_code::abnormal);
            CHECK(both.ws.status().error == std::errc::connection_reset);
        },
        resetting);
}

TEST_CASE("abort() ends everything at once, and the peer sees a reset")
{
    on_each([](kind k) -> task<> {
        auto both = co_await raw_client(k);
        std::error_code read_end;
        std::error_code ping_end;
        scope pending;
        pending.spawn([](ws::connection& ws, std::error_code& e) -> task<> {
            auto const m = co_await ws.read();
            e = m.error();
        }(both.ws, read_end));
        pending.spawn([](ws::connection& ws, std::error_code& e) -> task<> {
            auto const round_trip = co_await ws.ping();
            e = round_trip.error();
        }(both.ws, ping_end));
        co_await turns(2);
        both.ws.abort();
        CHECK(!both.ws.is_open());
        both.ws.abort();
        co_await pending.join();
        CHECK(read_end == ws::closed);
        CHECK(ping_end == ws::closed);
        CHECK(both.ws.status().code == ws::close_code::abnormal);
        CHECK(!both.ws.status().closed_by_peer);
        auto const ping = co_await read_wire(both.raw);
        if (!ping.end)
            CHECK(ping.first == 0x89);
        auto const end = co_await read_rest(both.raw);
        if (k != kind::unix_path)
            CHECK(end == "<" + std::make_error_code(std::errc::connection_reset).message() + ">");
    });
}

TEST_CASE("a client whose server leaves without a close frame sees 1006")
{
    on_each([](kind k) -> task<> {
        auto both = co_await open_pair(k);
        both.server.abort();
        auto const end = co_await both.client.read();
        CHECK(end.error());
        CHECK(end.error() != ws::closed);
        CHECK(both.client.status().code == ws::close_code::abnormal);
        CHECK(both.client.status().closed_by_peer);
    });
}

// ---- pings --------------------------------------------------------------------------------------------------------

TEST_CASE("ping() gives the round-trip time, of both sides")
{
    on_each([](kind k) -> task<> {
        auto both = co_await open_pair(k);
        for (auto* ws : {&both.server, &both.client}) {
            CHECK(ws->status().round_trip == duration::zero());
            auto const time = co_await ws->ping();
            CHECK(time.value() > duration::zero());
            CHECK(time.value() < 10s);
            CHECK(ws->status().round_trip == std::chrono::floor<std::chrono::microseconds>(*time));
        }
        both.server.abort();
    });
}

TEST_CASE("several pings wait at a time, and a pong answers those before it")
{
    on_loop([]() -> task<> {
        auto both = co_await raw_client();
        int answered = 0;
        auto ping = [](ws::connection& ws, int& count) -> task<> {
            auto const time = co_await ws.ping();
            CHECK(time.has_value());
            ++count;
        };
        scope pinging;
        for (int i = 0; i < 3; ++i)
            pinging.spawn(ping(both.ws, answered));
        std::string payloads[3];
        for (auto& p : payloads) {
            auto const f = co_await read_wire(both.raw);
            CHECK(f.first == 0x89);
            p = f.payload;
        }
        co_await send(both.raw, masked(0x8A, "what?") + masked(0x8A, std::string(8, '\xFF')) + masked(0x8A));
        co_await turns(3);
        CHECK(answered == 0);
        co_await send(both.raw, masked(0x8A, payloads[1]));
        co_await turns(3);
        CHECK(answered == 2);
        co_await send(both.raw, masked(0x8A, payloads[1]) + masked(0x8A, payloads[0]));
        co_await turns(3);
        CHECK(answered == 2);
        co_await send(both.raw, masked(0x8A, payloads[2]));
        co_await pinging.join();
        both.ws.abort();
    }());
}

TEST_CASE("a canceled ping does not disturb the others")
{
    on_loop([]() -> task<> {
        auto both = co_await raw_client();
        auto const canceled = co_await timeout(1ms, both.ws.ping());
        CHECK(canceled.error() == errc::timed_out);
        auto const first = co_await read_wire(both.raw);
        scope pinging;
        pinging.spawn([](ws::connection& ws) -> task<> {
            auto const time = co_await ws.ping();
            CHECK(time.has_value());
        }(both.ws));
        auto const second = co_await read_wire(both.raw);
        co_await send(both.raw, masked(0x8A, first.payload));
        co_await turns(3);
        CHECK(pinging.size() == 1);
        co_await send(both.raw, masked(0x8A, second.payload));
        co_await pinging.join();
        both.ws.abort();
    }());
}

TEST_CASE("keep-alive pings are sent and answered without a reader on either side")
{
    on_each([](kind k) -> task<> {
        auto options = quiet_server();
        options.ping_interval = 5ms;
        options.pong_timeout = 5s;
        auto both = co_await open_pair(k, options);
        while (both.server.status().round_trip == duration::zero()) {
            auto const slept = co_await sleep_for(1ms);
            CHECK(slept.has_value());
        }
        CHECK(both.server.is_open());
        CHECK(both.client.is_open());
        both.server.abort();
    });
}

TEST_CASE("keep-alive pings come again and again")
{
    on_loop([]() -> task<> {
        auto options = quiet_client();
        options.ping_interval = 3ms;
        options.pong_timeout = 5s;
        auto both = co_await raw_server(kind::memory, options);
        std::string last;
        for (int i = 0; i < 4; ++i) {
            auto const ping = co_await read_wire(both.raw);
            CHECK(ping.first == 0x89);
            CHECK(ping.masked);
            CHECK(ping.payload != last);
            last = ping.payload;
            co_await send(both.raw, unmasked(0x8A, ping.payload));
        }
        both.ws.abort();
    }());
}

TEST_CASE("a peer that does not answer keep-alive pings is closed with 1011")
{
    on_each([](kind k) -> task<> {
        auto options = quiet_server();
        options.ping_interval = 5ms;
        options.pong_timeout = 20ms;
        options.close_timeout = 20ms;
        auto both = co_await raw_client(k, options);
        auto const end = co_await both.ws.read();
        CHECK(end.error() == ws::errc::pong_timeout);
        CHECK(end.error() == std::errc::timed_out);
        auto const ping = co_await read_wire(both.raw);
        CHECK(ping.first == 0x89);
        auto const close = co_await skip_pings(both.raw);
        CHECK(close.close_code() == 1011);
        CHECK(!both.ws.status().closed_by_peer);
    });
}

TEST_CASE("data does not stand for a pong")
{
    on_loop([]() -> task<> {
        auto options = quiet_server();
        options.ping_interval = 3ms;
        options.pong_timeout = 30ms;
        options.close_timeout = 20ms;
        auto both = co_await raw_client(kind::memory, options);
        auto const ping = co_await read_wire(both.raw);
        CHECK(ping.first == 0x89);
        while (both.ws.is_open()) {
            co_await send(both.raw, masked(0x81, "alive"));
            auto const m = co_await both.ws.read();
            if (!m)
                break;
            auto const slept = co_await sleep_for(1ms);
            CHECK(slept.has_value());
        }
        CHECK(both.ws.status().error == ws::errc::pong_timeout);
    }());
}

TEST_CASE("waiting for a pong costs no processor time")
{
    on_loop([]() -> task<> {
        for (duration pong_timeout : {duration(10s), duration::zero()}) {
            auto options = quiet_server();
            options.ping_interval = 20ms;
            options.pong_timeout = pong_timeout;
            auto both = co_await raw_client(kind::memory, options);
            auto const before = cpu_time();
            auto const nothing = co_await timeout(300ms, both.ws.read()); // the peer never answers
            CHECK(nothing.error() == errc::timed_out);
            CHECK(cpu_time() - before < 100ms);
            both.ws.abort();
        }
    }());
}

TEST_CASE("without a pong_timeout keep-alive pings go on unanswered")
{
    on_loop([]() -> task<> {
        auto options = quiet_server();
        options.ping_interval = 3ms;
        auto both = co_await raw_client(kind::memory, options);
        for (int i = 0; i < 4; ++i) {
            auto const ping = co_await read_wire(both.raw);
            CHECK(ping.first == 0x89);
        }
        CHECK(both.ws.is_open());
        both.ws.abort();
    }());
}

TEST_CASE("a peer that sends nothing is closed after idle_timeout")
{
    on_each([](kind k) -> task<> {
        auto options = quiet_server();
        options.idle_timeout = 20ms;
        options.close_timeout = 20ms;
        auto both = co_await raw_client(k, options);
        auto const end = co_await both.ws.read();
        CHECK(end.error() == ws::errc::idle_timeout);
        auto const close = co_await read_wire(both.raw);
        CHECK(close.close_code() == 1011);
        CHECK(close.reason() == "idle timeout");
    });
}

TEST_CASE("whatever arrives puts the idle timeout off")
{
    on_loop([]() -> task<> {
        auto options = quiet_server();
        options.idle_timeout = 500ms;
        auto both = co_await raw_client(kind::memory, options);
        auto const start = clock::now();
        while (clock::now() - start < 1200ms) {
            co_await send(both.raw, masked(0x8A, "pong"));
            auto const slept = co_await sleep_for(2ms);
            CHECK(slept.has_value());
        }
        CHECK(both.ws.is_open());
        both.ws.abort();
    }());
}

TEST_CASE("what arrives after a long sleep of the loop counts from when it arrives")
{
    on_loop([]() -> task<> {
        auto options = quiet_server();
        options.idle_timeout = 600ms;
        auto both = co_await raw_client(kind::unix_path, options);
        int const fd = both.raw.native_handle();
        auto const frame = masked(0x8A, "alive");
        std::jthread const late([fd, &frame] { // nothing else wakes the loop meanwhile
            std::this_thread::sleep_for(400ms);
            (void)!::write(fd, frame.data(), frame.size());
        });
        auto const nothing = co_await timeout(800ms, both.ws.read());
        CHECK(nothing.error() == errc::timed_out);
        CHECK(both.ws.is_open());
        both.ws.abort();
    }());
}

TEST_CASE("timeouts do not fire while this side does not listen, nor as soon as it does again", "[sizes]")
{
    on_each([](kind k) -> task<> {
        auto options = quiet_server();
        options.idle_timeout = 300ms;
        options.ping_interval = 100ms;
        options.pong_timeout = 200ms;
        options.read_limit = 1000;
        auto both = co_await raw_client(k, options);
        byte_string bytes = masked(0x81, std::string(2000, 'x')) + masked(0x81, "next");
        co_await send(both.raw, bytes);
        auto const start = clock::now();
        while (clock::now() - start < 700ms) {
            auto const slept = co_await sleep_for(20ms);
            CHECK(slept.has_value());
        }
        CHECK(both.ws.is_open());
        for (std::size_t size : {2000U, 4U}) {
            auto const m = co_await both.ws.read();
            CHECK(m.value().payload.size() == size);
        }
        CHECK(both.ws.is_open());
        auto const nothing = co_await timeout(1ms, both.ws.read());
        CHECK(nothing.error() == errc::timed_out);
        both.ws.abort();
    });
}

namespace {

byte_string part_of(byte_string const& bytes, std::size_t from, std::size_t size = SIZE_MAX)
{
    auto const part = std::span(bytes).subspan(from, std::min(size, bytes.size() - from));
    return {part.begin(), part.end()};
}

task<> drip(stream& peer, ws::connection& ws, byte_string const& bytes)
{
    for (std::size_t i = 0; i < bytes.size() && ws.is_open(); ++i) {
        co_await send(peer, part_of(bytes, i, 1));
        auto const slept = co_await sleep_for(2ms);
        CHECK(slept.has_value());
    }
}

} // namespace

TEST_CASE("a frame that comes byte by byte is given up after frame_timeout, be it its message's first or last")
{
    on_each([](kind k) -> task<> {
        for (auto const& before : {byte_string(), masked(0x01, "begin")}) {
            auto options = quiet_server();
            options.frame_timeout = 30ms;
            options.close_timeout = 20ms;
            auto both = co_await raw_client(k, options);
            auto const bytes = before + masked(before.empty() ? 0x82 : 0x80, std::string(60'000, 'x'));
            scope peer;
            peer.spawn(drip(both.raw, both.ws, bytes)); // would take two minutes
            auto const end = co_await both.ws.read();
            CHECK(end.error() == ws::errc::frame_timeout);
            co_await peer.join();
            auto const close = co_await read_wire(both.raw);
            CHECK(close.close_code() == 1011);
            CHECK(close.reason() == "frame timeout");
        }
    });
}

TEST_CASE("half a header and half a control frame are given up as well, also where nobody reads")
{
    on_each([](kind k) -> task<> {
        for (auto const& part : {part_of(masked(0x82, std::string(1000, 'x')), 0, 3), part_of(masked(0x8A, "pong"), 0, 7),
                                 part_of(masked(0x89, "ping"), 0, 1)}) {
            auto options = quiet_server();
            options.frame_timeout = 20ms;
            options.close_timeout = 20ms;
            auto both = co_await raw_client(k, options);
            co_await send(both.raw, part);
            auto const end = co_await both.ws.wait_closed();
            CHECK(end.error() == ws::errc::frame_timeout);
        }
    });
}

TEST_CASE("a large frame has frame_timeout for each 64 KiB", "[sizes]")
{
    on_each([](kind k) -> task<> {
        auto options = quiet_server();
        options.frame_timeout = 500ms;
        auto both = co_await raw_client(k, options);
        auto const whole = masked(0x82, std::string(1'000'000, 'x'));
        std::size_t at = 0;
        scope reader;
        std::optional<std::size_t> received;
        reader.spawn([](ws::connection& ws, std::optional<std::size_t>& n) -> task<> {
            auto const m = co_await ws.read();
            n = m ? m->payload.size() : 0;
        }(both.ws, received));
        for (auto const start = clock::now(); clock::now() - start < 1200ms && at + 80'000 < whole.size();) {
            co_await send(both.raw, part_of(whole, at, 80'000));
            at += 80'000;
            auto const slept = co_await sleep_for(100ms);
            CHECK(slept.has_value());
        }
        CHECK(both.ws.is_open());
        co_await send(both.raw, part_of(whole, at));
        co_await reader.join();
        CHECK(received == 1'000'000U);
        both.ws.abort();
    });
}

TEST_CASE("frames of a message may come as they like", "[sizes]")
{
    on_each([](kind k) -> task<> {
        auto options = quiet_server();
        options.frame_timeout = 20ms;
        auto both = co_await raw_client(k, options);
        for (int i = 0; i < 10; ++i) {
            co_await send(both.raw, masked(i == 0 ? 0x01 : 0x00, "token"));
            auto const slept = co_await sleep_for(10ms);
            CHECK(slept.has_value());
        }
        co_await send(both.raw, masked(0x80, "."));
        auto const m = co_await both.ws.read();
        CHECK(m.value().payload.size() == 51);
        both.ws.abort();
    });
}

TEST_CASE("frame_timeout does not count while this side does not listen", "[sizes]")
{
    on_each([](kind k) -> task<> {
        auto options = quiet_server();
        options.frame_timeout = 300ms;
        options.read_limit = 1000;
        auto both = co_await raw_client(k, options);
        auto const whole = masked(0x82, std::string(4000, 'x'));
        co_await send(both.raw, part_of(whole, 0, 100));
        auto slept = co_await sleep_for(10ms); // now the rest is awaited
        co_await send(both.raw, part_of(whole, 100, 3000));
        for (auto const start = clock::now(); clock::now() - start < 700ms && both.ws.is_open();)
            slept = co_await sleep_for(20ms);
        CHECK(both.ws.is_open());
        auto const early = co_await timeout(10ms, both.ws.read()); // listens again
        CHECK(early.error() == errc::timed_out);
        co_await send(both.raw, part_of(whole, 3100));
        auto const m = co_await both.ws.read();
        REQUIRE(m);
        CHECK(m->payload.size() == 4000);
        both.ws.abort();
    });
}

TEST_CASE("a peer that floods and never reads is closed after idle_timeout", "[sizes]")
{
    on_each([](kind k) -> task<> {
        auto options = quiet_server();
        options.idle_timeout = 100ms;
        options.ping_interval = 20ms;
        options.pong_timeout = 20ms;
        options.close_timeout = 20ms;
        options.send_limit = 10'000;
        options.read_limit = 1000;
        auto both = co_await raw_client(k, options, {.small_buffers = true});
        scope children;
        std::error_code end;
        children.spawn([](ws::connection& ws, std::error_code& why) -> task<> {
            while (auto const m = co_await ws.read())
                if (!co_await ws.write(*m))
                    break;
            why = ws.status().error;
        }(both.ws, end));
        byte_string flood;
        for (int i = 0; i < 200; ++i)
            append(flood, masked(0x82, std::string(900, 'x')));
        for (std::error_code broken; !broken;) {
            auto const sent = co_await both.raw.write(flood);
            broken = sent.error();
        }
        co_await children.join();
        CHECK(end == ws::errc::idle_timeout);
    });
}

TEST_CASE("a slow reader is not taken for a dead one while it takes what is queued", "[sizes]")
{
    // Not TCP, which with buffers as small as here rests for longer than these times.
    constexpr kind which[] = {kind::memory, kind::unix_path};
    on_each([](kind k) -> task<> {
        auto options = quiet_server();
        options.idle_timeout = 200ms;
        options.ping_interval = 30ms;
        options.pong_timeout = 200ms;
        auto both = co_await raw_client(k, options, {.small_buffers = true});
        std::string const text(3'000'000, 'q');
        scope children;
        children.spawn([](ws::connection& ws, std::string const& t) -> task<> {
            auto const sent = co_await ws.write(t);
            (void)sent; // it is not all taken before the end
        }(both.ws, text));
        // Nothing but reading for much longer than any of these times; the ping waits behind it all.
        std::vector<std::byte> part(16'000);
        std::size_t got = 0;
        auto const start = clock::now();
        while (clock::now() - start < 900ms && got + part.size() < text.size()) {
            auto const n = co_await both.raw.read_some(part);
            if (!n)
                break;
            got += n->size();
            auto const slept = co_await sleep_for(15ms);
            CHECK(slept.has_value());
        }
        CHECK(both.ws.is_open());
        both.ws.abort();
        both.raw.abort();
        co_await children.join();
    }, which);
}

TEST_CASE("a peer in the middle of a slow frame, which no pong can interrupt, is not taken for a dead one")
{
    on_each([](kind k) -> task<> {
        auto options = quiet_server();
        options.ping_interval = 30ms;
        options.pong_timeout = 300ms;
        auto both = co_await raw_client(k, options);
        auto const frame = masked(0x82, std::string(100, 's'));
        auto const start = clock::now();
        std::size_t at = 0;
        auto step = [&]() -> task<> {
            auto const sent = co_await both.raw.write(std::span(frame).subspan(at++, 1));
            CHECK(sent.has_value());
        };
        while (at < 20)
            co_await step();
        auto const ping = co_await read_wire(both.raw); // after a silence
        CHECK(ping.first == 0x89);
        while (clock::now() - start < 900ms && at < frame.size() - 1) {
            auto const slept = co_await sleep_for(15ms);
            CHECK(slept.has_value());
            co_await step();
        }
        CHECK(both.ws.is_open());
        both.ws.abort();
    });
}

TEST_CASE("the time of a close begins when what is queued has gone", "[sizes]")
{
    on_each([](kind k) -> task<> {
        auto options = quiet_server();
        options.close_timeout = net_test::is_tls(k) ? 1500ms : 400ms; // what is encrypted is out of the queue, not yet away
        auto both = co_await raw_client(k, options, {.small_buffers = true});
        std::string const text(1'500'000, 'c');
        auto const shared = ws::shared_message::text(text);
        CHECK(both.ws.post(shared) == ws::posted::queued);
        scope closing;
        closing.spawn(close_it(both.ws, ws::close_code::normal, ""));
        std::string got;
        std::vector<std::byte> part(20'000);
        while (got.size() < text.size() + 14) {
            auto const n = co_await both.raw.read_some(part);
            if (!n)
                break;
            got += net_test::text_of(*n);
            auto const slept = co_await sleep_for(10ms);
            CHECK(slept.has_value());
        }
        CHECK(got.size() == text.size() + 14); // header, and the close frame
        co_await send(both.raw, masked(0x88, close_payload(1000)));
        co_await closing.join();
    });
}

TEST_CASE("times without end are none")
{
    on_loop([]() -> task<> {
        auto options = quiet_server();
        options.idle_timeout = options.ping_interval = options.pong_timeout = options.close_timeout = duration::max();
        auto both = co_await raw_client(kind::memory, options);
        auto const before = cpu_time();
        auto const nothing = co_await timeout(300ms, both.ws.read());
        CHECK(nothing.error() == errc::timed_out);
        CHECK(cpu_time() - before < 100ms);
        auto const early = co_await timeout(20ms, both.ws.close());
        CHECK(early.error() == errc::timed_out);
        both.ws.abort();
    }());
}

TEST_CASE("after a pause the idle time begins anew")
{
    on_loop([]() -> task<> {
        auto options = quiet_server();
        options.idle_timeout = 200ms;
        options.read_limit = 1000;
        auto both = co_await raw_client(kind::memory, options);
        co_await send(both.raw, masked(0x81, std::string(2000, 'x')));
        auto const slept = co_await sleep_for(150ms); // of the 200
        CHECK(slept.has_value());
        auto const resumed = clock::now(); // by this read
        auto const m = co_await both.ws.read();
        CHECK(m.has_value());
        auto const end = co_await both.ws.read();
        CHECK(end.error() == ws::errc::idle_timeout);
        CHECK(clock::now() - resumed >= 190ms);
    }());
}

// ---- the owner goes -----------------------------------------------------------------------------------------------

TEST_CASE("destroying an open connection closes it in the background")
{
    on_each([](kind k) -> task<> {
        auto both = co_await raw_client(k);
        for (int i = 0; i < 10; ++i) {
            auto const sent = co_await both.ws.write("queued");
            CHECK(sent.has_value());
        }
        co_await send(both.raw, masked(0x81, "unread"));
        {
            ws::connection over = std::move(both.ws);
        }
        for (int i = 0; i < 10; ++i) {
            auto const f = co_await read_wire(both.raw);
            CHECK(f.payload == "queued");
        }
        auto const close = co_await read_wire(both.raw);
        CHECK(close.close_code() == 1000);
        co_await send(both.raw, masked(0x88, close_payload(1000)));
        both.raw.shutdown();
        auto const rest = co_await read_rest(both.raw);
        CHECK(rest.empty());
    });
}

TEST_CASE("a connection destroyed while its loop stops says that it goes away")
{
    on_loop([]() -> task<> {
        auto both = co_await raw_client();
        this_loop().request_stop();
        {
            ws::connection over = std::move(both.ws);
        }
        detail::context& env = co_await detail::get_context();
        detail::stop_state none;
        auto* const stop = std::exchange(env.stop, &none); // this test goes on
        auto const close = co_await read_wire(both.raw);
        CHECK(close.close_code() == 1001);
        co_await send(both.raw, masked(0x88, close_payload(1001)));
        env.stop = stop;
    }());
}

TEST_CASE("a connection that an exception destroys says 1011")
{
    on_loop([]() -> task<> {
        auto both = co_await raw_client();
        auto handler = [](ws::connection ws) -> task<> {
            auto const sent = co_await ws.write("before");
            CHECK(sent.has_value());
            throw std::runtime_error("in the handler");
        };
        bool thrown = false;
        try {
            co_await handler(std::move(both.ws));
        } catch (std::runtime_error const&) {
            thrown = true;
        }
        CHECK(thrown);
        auto const f = co_await read_wire(both.raw);
        CHECK(f.payload == "before");
        auto const close = co_await read_wire(both.raw);
        CHECK(close.close_code() == 1011);
        co_await send(both.raw, masked(0x88, close_payload(1011)));
    }());
}

TEST_CASE("run() waits for closes in the background, and no longer than for the drain")
{
    for (bool answers : {true, false}) {
        INFO("the peer answers: " << answers);
        run_options options;
        options.drain = std::chrono::milliseconds(answers ? 60'000 : 30);
        int ends[2];
        REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
        std::string heard;
        std::thread peer([&] { // outlives the root task
            auto put = [&](byte_string const& bytes) {
                return ::write(ends[1], bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size());
            };
            bool good = put(from_text(request_text()));
            char part[1000];
            for (ssize_t n = 0; (n = ::read(ends[1], part, sizeof part)) > 0;) {
                heard.append(part, static_cast<std::size_t>(n));
                if (answers && heard.ends_with("\x88\x02\x03\xE8") && good)
                    good = put(masked(0x88, close_payload(1000))) && ::shutdown(ends[1], SHUT_WR) == 0;
            }
        });
        auto const start = clock::now();
        on_loop([](int fd) -> task<> {
            auto ws = co_await upgrade(stream::adopt(fd).value(), quiet_server());
            CHECK(ws.has_value());
        }(ends[0]), options);
        auto const took = clock::now() - start;
        peer.join();
        ::close(ends[1]);
        CHECK(heard.ends_with("\x88\x02\x03\xE8"));
        if (answers)
            CHECK(took < 4s); // less than the close_timeout, too
        else
            CHECK((took >= 30ms && took < 3s));
    }
}

TEST_CASE("connections of every state can be destroyed")
{
    for (int state = 0; state < 8; ++state)
        for (kind k : kinds) {
            INFO("state " << state << ", " << name_of(k));
            run_options options;
            options.drain = std::chrono::milliseconds(50);
            on_loop([](kind where, int way) -> task<> {
                auto both = co_await raw_client(where, quiet_server(), {.small_buffers = true});
                switch (way) {
                case 0: co_await send(both.raw, masked(0x88)); break;
                case 1: co_await send(both.raw, unmasked(0x81, "bad")); break;
                case 2: both.raw.shutdown(); break;
                case 3: both.raw.abort(); break;
                case 4: both.ws.abort(); break;
                case 5: {
                    auto const closed = co_await timeout(1ms, both.ws.close());
                    CHECK(closed.error() == errc::timed_out);
                    break;
                }
                case 6: {
                    auto const sent = co_await timeout(1ms, both.ws.write(std::string(500'000, 'x')));
                    CHECK(sent.error() == errc::timed_out);
                    break;
                }
                default: co_await send(both.raw, masked(0x02, "half a message"));
                }
                co_await turns(way);
            }(k, state), options);
        }
}

TEST_CASE("posted messages that still wait are dropped with the connection")
{
    auto const m = ws::shared_message::text("never sent");
    on_loop([](ws::shared_message const& message) -> task<> {
        auto both = co_await raw_client();
        auto const begun = co_await both.ws.write_frame({ws::opcode::text, false, {}});
        CHECK(begun.has_value());
        CHECK(both.ws.post(message) == ws::posted::queued);
        {
            ws::connection over = std::move(both.ws);
        }
        auto const begin = co_await read_wire(both.raw);
        CHECK(begin.first == 0x01);
        auto const close = co_await read_wire(both.raw);
        CHECK(close.close_code() == 1000);
        co_await send(both.raw, masked(0x88, close_payload(1000)));
    }(m));
    CHECK(m.size() == 10);
}

TEST_CASE("destroying a connection on which a coroutine waits ends the program with a message")
{
    for (int what : {0, 1, 2, 3}) {
        INFO("operation " << what);
        auto const end = test::in_child([what] {
            run_options options;
            options.handle_signals = false;
            return run([](int which) -> task<> {
                auto both = co_await raw_client(kind::memory, quiet_server(), {.small_buffers = true});
                auto over = std::make_unique<ws::connection>(std::move(both.ws));
                scope waiting;
                waiting.spawn([](ws::connection& ws, int op) -> task<> {
                    std::string const large(500'000, 'x');
                    if (op == 0) {
                        auto const m = co_await ws.read();
                        (void)m;
                    } else if (op == 1) {
                        auto const time = co_await ws.ping();
                        (void)time;
                    } else if (op == 2) {
                        auto const closed = co_await ws.close();
                        (void)closed;
                    } else {
                        auto const sent = co_await ws.write(large);
                        (void)sent;
                    }
                }(*over, which));
                co_await turns(2);
                over.reset();
                co_await waiting.join();
            }(what), options);
        });
        CHECK(end.aborted());
        CHECK(end.says("a connection was destroyed while a coroutine waits on it"));
    }
}
