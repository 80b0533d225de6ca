// SPDX-License-Identifier: BSL-1.0
// wring's broadcasting server for the bench: what one member sends all receive. It does as examples/broadcast_hub does,
// without its pages, names and greetings.
#include "../../examples/options.hpp"

#include <mutex>

using namespace wring;

namespace {

/// The members, by loop. A message is framed once; each loop posts it to its own members.
class hub
{
    struct room
    {
        std::vector<ws::connection*> members; // touched by its loop only
        std::optional<loop_handle> home;      // once somebody has been there
    };

public:
    explicit hub(std::size_t loops) : rooms_(loops) {}

    struct member
    {
        member(hub& h, ws::connection& c) : where(h.here()), self(&c) { where.members.push_back(self); }
        ~member() { std::erase(where.members, self); }
        room& where;
        ws::connection* self;
    };

    void publish(ws::shared_message const& message)
    {
        std::lock_guard lock(mutex_);
        for (auto& r : rooms_) {
            if (&r == &rooms_[this_loop().index()])
                deliver(r, message);
            else if (r.home)
                r.home->post([&r, message] { deliver(r, message); });
        }
    }

private:
    room& here()
    {
        std::lock_guard lock(mutex_);
        auto& mine = rooms_[this_loop().index()];
        mine.home = this_loop().handle();
        return mine;
    }
    static void deliver(room const& r, ws::shared_message const& message)
    {
        for (auto* m : r.members)
            if (m->post(message) == ws::posted::full)
                m->abort(); // too slow; its read() ends
    }

    std::mutex mutex_; // where each room's loop is
    std::vector<room> rooms_;
};

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
