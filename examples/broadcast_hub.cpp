// SPDX-License-Identifier: BSL-1.0
// A broadcast hub: what one client sends reaches all, framed once. GET / is a page for phones and desktops.
#include "hub_page.hpp"
#include "options.hpp"

#include <atomic>
#include <cctype>
#include <mutex>

using namespace wring;

// [hub]
/// The members, by loop. A message is framed once; each loop is handed a reference and posts it to its own members.
class hub
{
public:
    explicit hub(std::size_t loops) : rooms_(loops) {}

    /// While it lives, a connection gets what is published: a session leaves on every way out.
    struct member
    {
        member(hub& h, ws::connection& c) : all(h), self(&c) { all.change([&](auto& m) { m.push_back(self); }); }
        ~member() { all.change([&](auto& m) { std::erase(m, self); }); }
        hub& all;
        ws::connection* self;
    };

    void publish(ws::shared_message const& message)
    {
        std::lock_guard lock(mutex_);
        for (auto& r : rooms_) {
            auto deliver = [&r, message] {
                for (auto* m : r.members)
                    if (m->post(message) == ws::posted::full) // never waits: a slow client stalls nobody
                        m->abort();                           // and is dropped; its read() ends
            };
            if (r.home == &this_loop())
                deliver();
            else if (r.home)
                r.home->post(deliver);
        }
    }
    void announce(std::string const& text) { publish(ws::shared_message::text("* " + text)); }

    std::atomic<unsigned> last_number{0}, here{0};
private:
    struct room
    {
        std::vector<ws::connection*> members; // touched by its loop only
        loop* home = nullptr;                 // while it has members; under the mutex
    };
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

constexpr auto page = [](request const&) -> task<response> { co_return response::html(hub_page); };

/// Takes the name asked for by `?name=`, if it is a plain one.
struct name_hook
{
    std::string name = "guest";
    task<response> operator()(request const& r)
    {
        auto const wanted = r.query_value("name").value_or("");
        auto const plain = [](unsigned char c) { return std::isalnum(c) || c == '-' || c == '_'; };
        if (!wanted.empty() && wanted.size() <= 32 && std::all_of(wanted.begin(), wanted.end(), plain))
            name = wanted;
        co_return response::accept();
    }
};

task<> session(stream peer, hub& all, server_options const& options)
{
    name_hook name;
    auto ws = co_await upgrade(std::move(peer), with_hooks(options.ws, name, page));
    if (!ws) co_return;
    std::string const who = name.name + " " + std::to_string(++all.last_number);
    {
        hub::member const me(all, *ws);
        all.announce(who + " joined, " + std::to_string(++all.here) + " here");
        while (auto message = co_await ws->read())
            all.publish(message->is_text ? ws::shared_message::text(who + ": " + message->to_string())
                                         : ws::shared_message::binary(message->payload));
    }
    all.announce(who + " left, " + std::to_string(--all.here) + " here");
}

task<> accept_sessions(scope& sessions, std::string where, hub& all, server_options const& options)
{
    auto server = listen_on(where, options.ws.tls ? "wss://" : "ws://");
    while (auto peer = co_await server.accept())
        sessions.spawn(session(std::move(*peer), all, options));
}

task<> serve(server_options const& options, hub& all)
{
    scope sessions;
    for (auto const& where : options.bind) sessions.spawn(accept_sessions(sessions, where, all, options));
    sessions.spawn(reload_on_hangup(options.ws.tls));
    co_await sessions.join();
}

int main(int argc, char** argv)
{
    auto const options = parse_server_options(argc, argv, "What one sends reaches all; GET / is a page.");
    hub all(options.run.threads);
    return run([&] { return serve(options, all); }, options.run);
}
