// SPDX-License-Identifier: BSL-1.0
// A broadcast hub: what one client sends reaches all, framed once. GET / is a page for phones and desktops.
#include "hub_page.hpp"
#include "options.hpp"

#include <atomic>
#include <mutex>

using namespace wring;

// [hub]
/// The members, by loop. A message is framed once; each loop is handed a reference and posts it to its own members.
class hub
{
public:
    explicit hub(std::size_t loops) : rooms_(loops) {}

    void join(ws::connection& member) { change([&](auto& members) { members.push_back(&member); }); }
    void leave(ws::connection& member) { change([&](auto& members) { std::erase(members, &member); }); }

    void publish(ws::shared_message const& message)
    {
        std::lock_guard lock(mutex_);
        for (auto& r : rooms_) {
            if (r.home == &this_loop())
                deliver(r, message);
            else if (r.home)
                r.home->post([&r, message] { deliver(r, message); });
        }
    }
    void announce(std::string const& text) { publish(ws::shared_message::text("* " + text)); }

    std::atomic<unsigned> last_number{0};
    std::atomic<unsigned> here{0};

private:
    struct room
    {
        std::vector<ws::connection*> members; // touched by its loop only
        loop* home = nullptr;                 // while it has members; under the mutex
    };

    static void deliver(room& r, ws::shared_message const& message)
    {
        for (auto* member : r.members)
            if (member->post(message) == ws::posted::full) // never waits: a slow client stalls nobody
                member->abort();                           // and is dropped; its read() ends
    }
    void change(auto edit)
    {
        std::lock_guard lock(mutex_);
        auto& mine = rooms_[this_loop().index()];
        edit(mine.members);
        mine.home = mine.members.empty() ? nullptr : &this_loop();
    }

    std::mutex mutex_;
    std::vector<room> rooms_;
};
// [/hub]

task<response> page(request const&)
{
    co_return response::html(hub_page);
}

/// Takes the name asked for by `?name=`, if it is a plain one.
struct name_hook
{
    std::string name = "guest";
    task<response> operator()(request const& r)
    {
        auto const wanted = r.query_value("name").value_or("");
        auto const plain = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        if (!wanted.empty() && wanted.size() <= 32 && wanted.find_first_not_of(plain) == wanted.npos)
            name = wanted;
        co_return response::accept();
    }
};

// [session]
task<> session(stream peer, hub& all)
{
    name_hook name;
    auto ws = co_await upgrade(std::move(peer), {.authorize = name, .page = page});
    if (!ws)
        co_return;
    std::string const who = name.name + " " + std::to_string(++all.last_number);
    all.join(*ws);
    all.announce(who + " joined, " + std::to_string(++all.here) + " here");
    while (auto message = co_await ws->read())
        all.publish(message->is_text ? ws::shared_message::text(who + ": " + message->to_string())
                                     : ws::shared_message::binary(message->payload));
    all.leave(*ws);
    all.announce(who + " left, " + std::to_string(--all.here) + " here");
}
// [/session]

task<> accept_sessions(scope& sessions, std::string where, hub& all)
{
    auto server = listen_on(where, "ws://");
    while (auto peer = co_await server.accept())
        sessions.spawn(session(std::move(*peer), all));
}

task<> serve(server_options const& options, hub& all)
{
    scope sessions;
    for (auto const& where : options.bind)
        sessions.spawn(accept_sessions(sessions, where, all));
    co_await sessions.join();
}

int main(int argc, char** argv)
{
    auto const options = parse_server_options(argc, argv, "Sends what a client sends to all; GET / is a page to try it.");
    hub all(options.run.threads);
    return run([&] { return serve(options, all); }, options.run);
}
