// SPDX-License-Identifier: BSL-1.0
#include "harness.hpp"

#include "ws/handshake_io.hpp"

using namespace ws_test;

namespace {

detail::transport_ptr transport_of(stream&& s)
{
    return detail::stream_access::take(std::move(s));
}

} // namespace

TEST_CASE("a head is read and what follows it is left")
{
    for (std::size_t chunk : {0U, 1U, 3U})
        on_loop([](std::size_t c) -> task<> {
            auto streams = make_stream_pair({.chunk = c});
            std::string const head = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
            co_await send_text(streams.second, head + "what follows");
            detail::handshake_io io(transport_of(std::move(streams.first)));
            proto::head_scanner scanner(proto::head_scanner::kind::request);
            std::string text;
            auto const read = co_await io.read_head(scanner, text);
            CHECK(read.has_value());
            CHECK(text == head);
            auto transport = io.take();
            CHECK(!transport->ended());
            auto rest = detail::stream_access::make(std::move(transport));
            auto const following = co_await net_test::read_text(rest, 12);
            CHECK(following == "what follows");
        }(chunk));
}

TEST_CASE("something to read is waited for, and so is the end")
{
    on_loop([]() -> task<> {
        auto streams = make_stream_pair();
        detail::handshake_io io(transport_of(std::move(streams.first)));
        auto const nothing = co_await timeout(1ms, io.readable());
        CHECK(nothing.error() == errc::timed_out);
        co_await send_text(streams.second, "x");
        auto const something = co_await io.readable();
        CHECK(something.has_value());
        CHECK(io.get().inbound().size() == 1);
        streams.second.shutdown();
        auto const still = co_await io.readable();
        CHECK(still.has_value());
        io.get().inbound().clear();
        auto const end = co_await io.readable();
        CHECK(end.error() == errc::end_of_stream);
    }());
}

TEST_CASE("a large text is written to a slow reader, and a cancel ends that")
{
    for (bool cancel : {false, true})
        on_loop([](bool stop) -> task<> {
            auto streams = make_stream_pair({.capacity = 1000});
            detail::handshake_io io(transport_of(std::move(streams.first)));
            std::string const text(100'000, 't');
            if (stop) {
                auto const sent = co_await timeout(1ms, io.write(text));
                CHECK(sent.error() == errc::timed_out);
            } else {
                auto both = co_await when_all(io.write(text), net_test::read_text(streams.second, text.size()));
                CHECK(std::get<0>(both).has_value());
                CHECK(std::get<1>(both) == text);
            }
        }(cancel));
}

TEST_CASE("the peer's end asks a stop state to stop, at once where it has come already")
{
    for (bool before : {false, true})
        on_loop([](bool early) -> task<> {
            auto streams = make_stream_pair();
            detail::handshake_io io(transport_of(std::move(streams.first)));
            detail::stop_state stop;
            if (early) {
                streams.second.shutdown();
                co_await turns(2);
            }
            io.stop_at_end(&stop);
            CHECK(stop.requested() == early);
            streams.second.shutdown();
            co_await turns(2);
            CHECK(stop.requested());
            io.stop_at_end(nullptr);
        }(before));
}

TEST_CASE("a lingering close sends the end, drops what comes and goes with the peer")
{
    for (kind k : kinds) {
        INFO(name_of(k));
        auto const start = clock::now();
        on_loop([](kind where) -> task<> {
            auto streams = co_await connected(where);
            co_await send_text(streams.first, "last words");
            detail::close_lingering(transport_of(std::move(streams.first)));
            co_await send_text(streams.second, std::string(test::load(300'000, 1000), 'x'));
            auto const rest = co_await read_rest(streams.second);
            CHECK(rest == "last words");
            streams.second.shutdown();
        }(k));
        CHECK(clock::now() - start < 1s); // which it takes if it does not
    }
}

TEST_CASE("a lingering close ends after a second")
{
    auto const start = clock::now();
    on_loop([]() -> task<> {
        auto streams = co_await connected(kind::tcp);
        detail::close_lingering(transport_of(std::move(streams.first)));
        std::error_code broken;
        while (!broken) {
            auto const sent = co_await streams.second.write("x");
            broken = sent.error();
            auto const slept = co_await sleep_for(5ms);
            CHECK(slept.has_value());
        }
        CHECK((broken == std::errc::broken_pipe || broken == std::errc::connection_reset));
    }());
    CHECK(clock::now() - start >= 1s);
}
