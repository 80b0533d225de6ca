// SPDX-License-Identifier: BSL-1.0
// The tutorial's second page: messages, frames, and how a connection ends.
#include "program.hpp"

#include <cctype>
#include <string>

using namespace wring;

// [whole]
task<> shout(ws::connection& ws)
{
    while (auto message = co_await ws.read()) {
        std::string text = message->to_string(); // a copy: the view ends with the next read
        for (char& c : text)
            c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
        if (!co_await ws.write(text))
            break;
    }
}
// [/whole]

// [binary]
task<> reply_in_kind(ws::connection& ws)
{
    while (auto message = co_await ws.read()) {
        if (message->is_text)
            std::printf("text of %zu bytes: %s\n", message->payload.size(), message->to_string().c_str());
        else
            std::printf("%zu bytes\n", message->payload.size());
        if (!co_await ws.write(*message)) // text as text, binary as binary
            break;
    }
}
// [/binary]

// [stream]
/// Counts the bytes of one message, however large, without ever holding more than a part of it.
task<result<std::size_t>> count_bytes(ws::connection& ws)
{
    std::size_t bytes = 0;
    for (;;) {
        auto frame = co_await ws.read_frame();
        if (!frame)
            co_return frame.error();
        bytes += frame->payload.size(); // valid until the next read
        if (frame->fin)
            co_return bytes;
    }
}
// [/stream]

// [no-limit]
task<result<ws::connection>> open_for_large_messages(stream peer)
{
    return upgrade(std::move(peer), {.max_message = 0, .max_frame = 0}); // 0: no limit
}
// [/no-limit]

// [parts]
task<result<>> write_in_parts(ws::connection& ws, std::string_view first, std::string_view second)
{
    ws::frame const begin{ws::opcode::text, false, std::as_bytes(std::span(first))};
    if (auto sent = co_await ws.write_frame(begin); !sent)
        co_return sent.error();
    ws::frame const end{ws::opcode::continuation, true, std::as_bytes(std::span(second))};
    auto sent = co_await ws.write_frame(end);
    co_return sent;
}
// [/parts]

// [end]
void tell_how_it_ended(ws::connection const& ws)
{
    auto const how = ws.status();
    if (how.error == ws::closed)
        std::printf("closed by %s: %u %.*s\n", how.closed_by_peer ? "the peer" : "us",
                    static_cast<unsigned>(how.code), static_cast<int>(how.reason.size()), how.reason.data());
    else
        std::printf("lost: %s\n", how.error.message().c_str());
}
// [/end]

// [ping]
task<> measure(ws::connection& ws)
{
    auto const time = co_await ws.ping();
    if (time)
        std::printf("there and back in %.3f ms\n", std::chrono::duration<double, std::milli>(*time).count());
}
// [/ping]

task<> shouting_server(stream peer)
{
    auto ws = (co_await upgrade(std::move(peer))).value();
    co_await shout(ws);
    docs::expect(ws.status().error == ws::closed && ws.status().closed_by_peer, "the client closed");
    docs::expect(ws.status().code == ws::close_code::normal && ws.status().reason == "bye", "with 1000 and a reason");
    tell_how_it_ended(ws);
}

task<> echoing_server(stream peer)
{
    auto ws = (co_await upgrade(std::move(peer))).value();
    co_await reply_in_kind(ws);
}

std::size_t counted = 0;

task<> counting_server(stream peer)
{
    auto ws = (co_await open_for_large_messages(std::move(peer))).value();
    counted = (co_await count_bytes(ws)).value();
}

task<> try_all()
{
    auto const url = std::string("ws://test/");
    scope servers;
    {
        auto [ours, theirs] = make_stream_pair();
        servers.spawn(shouting_server(std::move(theirs)));
        auto ws = (co_await connect_over(std::move(ours), url)).value();
        (co_await write_in_parts(ws, "in two ", "parts")).value();
        auto reply = (co_await ws.read()).value();
        docs::expect(reply.is_text && reply.text() == "IN TWO PARTS", "two frames are one message");
        co_await measure(ws);
        docs::expect(ws.status().round_trip > duration::zero(), "a ping is answered without a reader");
        (co_await ws.close(ws::close_code::normal, "bye")).value();
        co_await servers.join();
    }
    {
        auto [ours, theirs] = make_stream_pair();
        servers.spawn(echoing_server(std::move(theirs)));
        auto ws = (co_await connect_over(std::move(ours), url)).value();
        (co_await ws.write("text")).value();
        std::byte const bytes[] = {std::byte{1}, std::byte{2}};
        (co_await ws.write(std::span(bytes))).value();
        auto first = (co_await ws.read()).value();
        docs::expect(first.is_text && first.text() == "text", "text comes back as text");
        auto second = (co_await ws.read()).value();
        docs::expect(!second.is_text && second.payload.size() == 2, "binary as binary");
        (co_await ws.close()).value();
        co_await servers.join();
    }
    {
        auto [ours, theirs] = make_stream_pair();
        servers.spawn(counting_server(std::move(theirs)));
        auto ws = (co_await connect_over(std::move(ours), url)).value();
        std::string const large(5'000'000, 'x');
        (co_await ws.write(large)).value();
        auto end = co_await ws.read();
        docs::expect(end.error() == ws::closed, "the server closes when it is done");
        co_await servers.join();
        docs::expect(counted == large.size(), "a large message is counted frame by frame");
    }
}

int main()
{
    return docs::run_in_time(try_all());
}
