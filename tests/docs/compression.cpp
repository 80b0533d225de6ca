// SPDX-License-Identifier: BSL-1.0
// docs/howto/compression.md
#include "program.hpp"

using namespace wring;
using namespace std::chrono_literals;

// [on]
task<result<ws::connection>> open(stream peer)
{
    return upgrade(std::move(peer), {.deflate = {.on = true}});
}
// [/on]

// [takeover]
task<result<ws::connection>> open_for_many_small_messages(stream peer)
{
    return upgrade(std::move(peer), {.deflate = {
        .on = true,
        .server_takeover = true,
        .client_takeover = true,
        .server_window_bits = 12,
        .client_window_bits = 12,
        .mem_level = 5,
        .threshold = 32,
        .free_when_idle = 30s,
    }});
}
// [/takeover]

// [choice]
task<> answer(ws::connection& ws, std::string_view page, std::string_view token)
{
    if (!co_await ws.write(page))
        co_return;
    auto sent = co_await ws.write(token, {.compress = false}); // a secret: see below
    if (!sent)
        co_return;
}
// [/choice]

// [stream]
/// A frame for each part: the client can read it when it has arrived, and nobody has the whole in memory.
task<result<>> send_parts(ws::connection& ws, std::span<std::string const> parts)
{
    for (std::size_t i = 0; i < parts.size(); ++i) {
        auto const op = i == 0 ? ws::opcode::text : ws::opcode::continuation;
        ws::frame const part{op, i + 1 == parts.size(), std::as_bytes(std::span(parts[i]))};
        if (auto sent = co_await ws.write_frame(part); !sent)
            co_return sent;
    }
    co_return {};
}
// [/stream]

task<> session(stream peer, bool small)
{
    auto opening = small ? open_for_many_small_messages(std::move(peer)) : open(std::move(peer));
    auto ws = co_await std::move(opening);
    if (!ws)
        co_return;
    docs::expect(ws->deflates(), "the client offers compression, the server agrees");
    co_await answer(*ws, std::string(5000, 'p'), "secret");
    std::string const parts[] = {"one, ", "two, ", "three"};
    auto const sent = co_await send_parts(*ws, parts);
    docs::expect(sent.has_value(), "parts are sent");
    (void)ws->post(ws::shared_message::text(std::string(5000, 's')));
    auto const end = co_await ws->read();
    docs::expect(end.error() == ws::closed, "the client closes");
}

task<> try_all()
{
    for (bool small : {false, true}) {
        auto both = make_stream_pair();
        scope server;
        server.spawn(session(std::move(both.first), small));
        ws::connect_options options;
        options.deflate.server_takeover = options.deflate.client_takeover = small;
        auto ws = (co_await connect_over(std::move(both.second), "ws://test/", options)).value();
        docs::expect(ws.deflates(), "and knows that");
        for (std::string const& expected :
             {std::string(5000, 'p'), std::string("secret"), std::string("one, two, three"), std::string(5000, 's')}) {
            auto const message = (co_await ws.read()).value();
            docs::expect(message.text() == expected, "messages arrive as they were sent");
        }
        (void)co_await ws.close();
        co_await server.join();
    }
}

int main()
{
    return docs::run_in_time(try_all());
}
