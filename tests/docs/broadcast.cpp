// SPDX-License-Identifier: BSL-1.0
// The tutorial's fourth page: broadcasting to many.
#include "program.hpp"

#include <vector>

using namespace wring;
using namespace std::chrono_literals;

// [room]
class room
{
public:
    void join(ws::connection& member) { members_.push_back(&member); }
    void leave(ws::connection& member) { std::erase(members_, &member); }

    void publish(ws::shared_message const& message)
    {
        for (ws::connection* member : members_)
            if (member->post(message) == ws::posted::full) // never waits: a slow member stalls nobody
                member->abort();                           // and is dropped; its own read() ends
    }

private:
    std::vector<ws::connection*> members_;
};
// [/room]

// [session]
task<> session(stream peer, room& here)
{
    auto ws = co_await upgrade(std::move(peer));
    if (!ws)
        co_return;
    here.join(*ws);
    while (auto message = co_await ws->read())
        here.publish(ws::shared_message::text(message->text())); // framed once, however many get it
    here.leave(*ws);
}
// [/session]

// [serve]
task<> accept_members(scope& sessions, listener* server, room* here)
{
    while (auto peer = co_await server->accept())
        sessions.spawn(session(std::move(*peer), *here));
}

task<> serve(listener& server)
{
    room here; // outlives the sessions, which end within with_scope
    co_await with_scope(accept_members, &server, &here);
}
// [/serve]

// [news]
/// Tells everybody the time once a second, until it is canceled.
task<> tell_time(room& here)
{
    for (int seconds = 0; auto slept = co_await sleep_for(1s); ++seconds)
        here.publish(ws::shared_message::text(std::to_string(seconds) + " s"));
}
// [/news]

/// A member that never reads: the limit makes it "full".
task<> lazy_session(stream peer, room& here)
{
    auto ws = co_await upgrade(std::move(peer), {.send_limit = 64 * 1024});
    if (!ws)
        co_return;
    here.join(*ws);
    auto message = co_await ws->read();
    docs::expect(!message, "a dropped member's read ends");
    here.leave(*ws);
}

task<> try_all()
{
    auto server = listener::bind("127.0.0.1:0").value();
    auto const url = "ws://" + server.local().to_string() + "/";
    scope children;
    children.spawn(serve(server));
    auto anna = (co_await connect(url)).value();
    auto bert = (co_await connect(url)).value();
    auto carl = (co_await connect(url)).value();
    for (auto* member : {&anna, &bert, &carl})
        (co_await member->ping()).value(); // so all have joined
    (co_await bert.write("hello")).value();
    for (auto* member : {&anna, &bert, &carl}) {
        auto message = (co_await member->read()).value();
        docs::expect(message.text() == "hello", "all get it");
    }
    for (auto* member : {&anna, &bert, &carl})
        (co_await member->close()).value();
    children.request_stop();
    co_await children.join();

    room here;
    scope slow;
    auto [ours, theirs] = make_stream_pair();
    slow.spawn(lazy_session(std::move(theirs), here));
    auto reader = (co_await connect_over(std::move(ours), "ws://test/", {.read_limit = 1024})).value();
    (co_await reader.ping()).value();
    auto const news = ws::shared_message::text(std::string(10'000, 'x'));
    for (int i = 0; i < 100; ++i) {
        here.publish(news);
        (void)co_await sleep_for(1ms);
    }
    co_await slow.join(); // the session has ended: it was dropped
    slow.spawn(tell_time(here));
    slow.request_stop();
    co_await slow.join();
}

int main()
{
    return docs::run_in_time(try_all());
}
