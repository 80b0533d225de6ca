// SPDX-License-Identifier: BSL-1.0
// Peer: wring itself, in both roles as the others; its server answers in several frames.
#include "../../../examples/input.hpp"
#include "peer.hpp"

#include <wring/wring.hpp>

using namespace wring;

static std::span<std::byte const> bytes(std::string const& data)
{
    return std::as_bytes(std::span(data));
}

static task<result<>> send(ws::connection& ws, peer::sample const& message)
{
    auto const frames = message.frames();
    for (std::size_t i = 0; i < frames.size(); ++i) {
        auto const op = i ? ws::opcode::continuation : message.text ? ws::opcode::text : ws::opcode::binary;
        auto sent = co_await ws.write_frame({op, i + 1 == frames.size(), bytes(frames[i])});
        if (!sent)
            co_return sent.error();
    }
    co_return {};
}

// ---- as a server ----------------------------------------------------------------------------------------------------

static task<result<ws::connection>> open(stream peer)
{
    return upgrade(std::move(peer), {.origins = "*", .deflate = {.on = true}});
}

static task<> echo(stream peer)
{
    auto ws = co_await open(std::move(peer));
    if (!ws)
        co_return;
    while (auto message = co_await ws->read()) {
        peer::sample const answer{"", message->to_string(), message->is_text, true};
        if (answer.data == "close, please") {
            (void)co_await ws->close(static_cast<ws::close_code>(4001), "as asked");
            co_return;
        }
        if (!co_await send(*ws, answer))
            co_return;
    }
}

static task<> serve()
{
    auto server = listener::bind("127.0.0.1:0").value();
    peer::say("listening on " + std::to_string(server.local().port()));
    scope sessions;
    while (auto peer = co_await server.accept())
        sessions.spawn(echo(std::move(*peer)));
    co_await sessions.join();
}

// ---- as a client ----------------------------------------------------------------------------------------------------

static task<> talk(peer::job const& j)
{
    ws::deflate_options const deflate{.on = j.deflate, .server_takeover = j.takeover, .client_takeover = j.takeover};
    auto ws = (co_await connect(j.url, {.deflate = deflate})).value();
    for (auto const& message : j.messages) {
        (co_await send(ws, message)).value();
        auto got = co_await ws.read();
        peer::check(got.value().is_text == message.text && got->to_string() == message.data,
                    message.word + " came back different");
    }
    if (j.ending == "close")
        (void)co_await ws.close(ws::close_code::normal, "bye"); // how that went is in ws.status()
    if (j.ending == "asked")
        (co_await ws.write("close, please")).value();
    auto const rest = co_await ws.read();
    peer::check(!rest, "a message instead of a close");
    peer::check(rest.error() == ws::closed, "lost: " + rest.error().message());
    auto const how = ws.status();
    peer::closed_as_wanted(j, static_cast<unsigned>(how.code), std::string(how.reason));
}

/// Each line in turn, with a word for how it went.
static task<> lines()
{
    input_lines input;
    while (auto line = co_await input.next()) {
        std::string verdict = "ok";
        try {
            auto const j = peer::parse(std::string(*line));
            co_await talk(j);
        } catch (peer::cannot const& why) {
            verdict = std::string("cannot: ") + why.what();
        } catch (std::exception const& problem) {
            verdict = std::string("not ok: ") + problem.what();
        }
        peer::say(verdict);
    }
}

int main(int argc, char** argv)
{
    std::string const what = argc == 2 ? argv[1] : "";
    if (what == "serve")
        return run(serve());
    if (what == "connect")
        return run(lines());
    std::fprintf(stderr, "usage: %s serve|connect; WRING_ENGINE chooses the engine\n", argv[0]);
    return 2;
}
