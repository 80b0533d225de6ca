// SPDX-License-Identifier: BSL-1.0
// wring's broadcasting server for the bench: what one member sends all receive. It does as examples/broadcast_hub does,
// without its pages, names and greetings.
#include "../../examples/hub.hpp"
#include "../../examples/options.hpp"

using namespace wring;

namespace {

task<result<ws::connection>> open(stream peer, command_line const& options)
{
    auto how = options.ws;
    how.origins = "*";
    return upgrade(std::move(peer), how);
}

task<> session(stream peer, command_line const& options, hub& all)
{
    auto ws = co_await open(std::move(peer), options);
    if (!ws)
        co_return;
    hub::member const me(all, *ws);
    while (auto const m = co_await ws->read()) {
        auto const shared = m->is_text ? ws::shared_message::text(m->text()) : ws::shared_message::binary(m->payload);
        all.publish(shared);
    }
}

task<> serve(command_line const& options, hub& all)
{
    scope sessions;
    auto server = listen_on(options.bind.front(), options.ws.tls ? "wss://" : "ws://");
    while (auto peer = co_await server.accept())
        sessions.spawn(session(std::move(*peer), options, all));
    co_await sessions.join();
}

} // namespace

int main(int argc, char** argv)
{
    auto const options = parse_command_line(argc, argv, "Sends what a client sends to all.", speaks::websocket);
    hub all(options.run.threads);
    return run([&] { return serve(options, all); }, options.run);
}
