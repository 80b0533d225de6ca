// SPDX-License-Identifier: BSL-1.0
#include "harness.hpp"

#include "core/allocations.hpp"

using namespace ws_test;

namespace {

task<> echo_frames(ws::connection& ws)
{
    while (auto frame = co_await ws.read_frame()) {
        auto const sent = co_await ws.write_frame(*frame);
        if (!sent)
            break;
    }
}

} // namespace

TEST_CASE("messages of every kind and size are echoed")
{
    on_each([](kind k) -> task<> {
        for (bool by_frames : {false, true}) {
            auto both = co_await open_pair(k);
            scope echoing;
            echoing.spawn(by_frames ? echo_frames(both.server) : echo(both.server));
            for (std::size_t size : {0U, 1U, 125U, 126U, 16'384U, 65'535U, 65'536U, 1U << 20}) {
                if (test::tiny() && size > (by_frames ? 16'384 : 100'000))
                    continue; // more parts than a message may have
                std::string const text(size, 't');
                auto const sent = co_await both.client.write(text);
                CHECK(sent.has_value());
                auto const back = co_await both.client.read();
                CHECK(back.value().is_text);
                CHECK(back->text() == text);
                auto const bytes = pattern(size);
                auto const also_sent = co_await both.client.write(bytes);
                CHECK(also_sent.has_value());
                auto const also_back = co_await both.client.read();
                CHECK(!also_back.value().is_text);
                CHECK(to_text(also_back->payload) == to_text(bytes));
            }
            auto const closed = co_await both.client.close();
            CHECK(closed.has_value());
            co_await echoing.join();
        }
    });
}

TEST_CASE("a fragmented message is echoed in either direction")
{
    on_each([](kind k) -> task<> {
        auto both = co_await open_pair(k);
        for (auto* from : {&both.server, &both.client}) {
            auto& to = from == &both.server ? both.client : both.server;
            for (int i = 0; i < 10; ++i) {
                std::string const part = "part " + std::to_string(i) + ",";
                auto const sent = co_await from->write_frame(
                    {i == 0 ? ws::opcode::text : ws::opcode::continuation, i == 9, std::as_bytes(std::span(part))});
                CHECK(sent.has_value());
            }
            auto const m = co_await to.read();
            CHECK(m.value().text().starts_with("part 0,part 1,"));
            CHECK(m->text().ends_with("part 9,"));
            CHECK(m->is_text);
        }
        both.server.abort();
    });
}

TEST_CASE("both sides write at the same time")
{
    on_each([](kind k) -> task<> {
        auto both = co_await open_pair(k, quiet_server(), quiet_client(), {.small_buffers = true});
        auto talk = [](ws::connection& ws) -> task<> {
            for (int i = 0; i < 200; ++i) {
                auto const sent = co_await ws.write(std::to_string(i) + std::string(test::load(5000, 1000), 'x'));
                CHECK(sent.has_value());
            }
        };
        auto listen = [](ws::connection& ws) -> task<> {
            for (int i = 0; i < 200; ++i) {
                auto const m = co_await ws.read();
                CHECK(m.value().text().starts_with(std::to_string(i) + "x"));
            }
        };
        scope all;
        for (auto* ws : {&both.server, &both.client}) {
            all.spawn(talk(*ws));
            all.spawn(listen(*ws));
        }
        co_await all.join();
        both.server.abort();
    });
}

TEST_CASE("a connection can be moved, also while a coroutine waits on it")
{
    on_loop([]() -> task<> {
        auto both = co_await open_pair();
        std::string got;
        scope reading;
        reading.spawn([](ws::connection& ws, std::string& text) -> task<> {
            auto const m = co_await ws.read();
            text = m.value().to_string();
        }(both.server, got));
        co_await turns(2);
        ws::connection moved = std::move(both.server);
        auto const sent = co_await both.client.write("to the moved one");
        CHECK(sent.has_value());
        co_await reading.join();
        CHECK(got == "to the moved one");
        CHECK(moved.is_open());

        auto other = co_await open_pair();
        moved = std::move(other.server); // the first one is closed with the object it was moved to
        {
            ws::connection gone = std::move(other.server);
        }
        auto const end = co_await both.client.read();
        CHECK(end.error() == ws::closed);
        auto const again = co_await other.client.write("still there");
        CHECK(again.has_value());
        auto const m = co_await moved.read();
        CHECK(m.value().text() == "still there");
        moved.abort();
    }());
}

TEST_CASE("a connection knows its endpoints")
{
    on_loop([]() -> task<> {
        auto both = co_await open_pair(kind::tcp);
        CHECK(both.server.remote() == both.client.local());
        CHECK(both.server.local() == both.client.remote());
        both.server.abort();
        CHECK(both.server.remote() == endpoint());
    }());
}

TEST_CASE("buffered() counts what the system has not taken")
{
    on_loop([]() -> task<> {
        auto both = co_await raw_client();
        CHECK(both.ws.buffered() == 0);
        auto const sent = co_await both.ws.write("12345");
        CHECK(sent.has_value());
        CHECK(both.ws.buffered() == 7);
        co_await turns(2);
        CHECK(both.ws.buffered() == 0);
        both.ws.abort();
    }());
}

// ---- memory -------------------------------------------------------------------------------------------------------

namespace {

/// Keeps `in_flight` messages on their way until `count` have come back. Takes nothing from the heap itself.
task<bool> ping_pong(ws::connection& ws, std::string_view text, int in_flight, int count, bool by_frames)
{
    bool good = true;
    int sent = 0;
    for (; sent < in_flight; ++sent) {
        auto const written = co_await ws.write(text);
        good = good && written.has_value();
    }
    for (int received = 0; received < count;) {
        if (by_frames) {
            auto const f = co_await ws.read_frame();
            good = good && f.has_value();
            if (!good)
                break;
            received += f->fin;
            if (!f->fin)
                continue;
        } else {
            auto const m = co_await ws.read();
            good = good && m.has_value() && m->payload.size() == text.size();
            if (!good)
                break;
            ++received;
        }
        if (sent < count) {
            auto const written = co_await ws.write(text);
            good = good && written.has_value();
            ++sent;
        }
    }
    co_return good;
}

std::size_t allocations_of(kind k, std::size_t size, int in_flight, bool by_frames)
{
    std::size_t calls = 1;
    on_loop([](kind where, std::size_t bytes, int flying, bool frames, std::size_t& out) -> task<> {
        auto both = co_await open_pair(where);
        scope echoing;
        echoing.spawn(frames ? echo_frames(both.server) : echo(both.server));
        std::string const text(bytes, 'x');
        auto const warm = co_await ping_pong(both.client, text, flying, 2000, frames); // fills the free lists
        CHECK(warm);
        // Chance may bring more together than ever before, and so one more buffer: then the round after that counts.
        for (int round = 0; round < 5 && out > 0; ++round) {
            std::size_t const before = test::mallocs + test::news;
            auto const good = co_await ping_pong(both.client, text, flying, 10'000, frames);
            out = test::mallocs + test::news - before;
            CHECK(good);
        }
        both.client.abort();
        co_await echoing.join();
    }(k, size, in_flight, by_frames, calls));
    return calls;
}

} // namespace

TEST_CASE("steady state takes nothing from the heap", "[sizes]")
{
    for (kind k : {kind::tcp, kind::tls_tcp}) // what OpenSSL takes is not counted here
        for (std::size_t size : {64U, 1000U, 5000U, 16'384U})
            for (int in_flight : {1, 16})
                for (bool by_frames : {false, true}) {
                    INFO(name_of(k) << ", " << in_flight << " messages of " << size << " bytes, by frames: " << by_frames);
                    CHECK(allocations_of(k, size, in_flight, by_frames) == 0);
                }
}
