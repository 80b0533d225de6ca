// SPDX-License-Identifier: BSL-1.0
// README.md and docs/tutorial/7-server.md: a whole server in one object.
#include "program.hpp"

#include <map>

namespace shortest {

// [program]
#include <wring/wring.hpp>

using namespace wring;

task<> echo(ws::connection& ws) // one coroutine per connection
{
    while (auto frame = co_await ws.read_frame())
        if (!co_await ws.write_frame(*frame)) break;
}

int main(int argc, char** argv)
{
    server app;
    app.listen(argc > 1 ? argv[1] : "127.0.0.1:9001");
    app.ws("/", echo);
    return run(app.serve()); // until Ctrl-C
}
// [/program]

} // namespace shortest

using namespace wring;
using namespace std::chrono_literals;

// [room]
/// The rooms of a chat, by name: who is in them.
using rooms = std::map<std::string, std::vector<ws::connection*>, std::less<>>;

task<> chat(ws::connection& ws, request const& r, rooms& all)
{
    auto const name = std::string(r.param("room")); // of the pattern /chat/{room}
    auto const who = r.query_text("name").value_or("somebody");
    all[name].push_back(&ws);
    while (auto message = co_await ws.read()) {
        auto const shared = ws::shared_message::text(who + ": " + message->to_string());
        for (auto* member : all[name])
            if (member->post(shared) == ws::posted::full)
                member->abort();
    }
    std::erase(all[name], &ws);
}
// [/room]

// [say]
/// curl -d 'Hello' http://127.0.0.1:9001/say/blue
task<response> say(request& r, rooms& all)
{
    auto const text = (co_await r.body()).value(); // at most max_body bytes; what is wrong with it is answered
    auto const room = all.find(r.param("room"));
    if (room == all.end() || room->second.empty())
        co_return response::refuse(404, "nobody is there\n");
    for (auto* member : room->second)
        (void)member->post(ws::shared_message::text(text));
    co_return response(202, "said\n");
}
// [/say]

constexpr std::string_view page_html = "<!doctype html><title>chat</title>";

// [setup]
void set_up(server& app, rooms& all)
{
    app.page("/", page_html);
    app.ws("/chat/{room}", [&](ws::connection& ws, request const& r) { return chat(ws, r, all); });
    app.post("/say/{room}", [&](request& r) { return say(r, all); });
    app.health();
}
// [/setup]

// [serve]
int serve_chat(std::string where)
{
    rooms all;
    server app;
    set_up(app, all);
    app.listen(where);
    return run(app.serve());
}
// [/serve]

// [test]
task<> try_chat()
{
    rooms all;
    server app; // no listen(): each connection of the test is handed over
    set_up(app, all);
    scope serving;

    auto [ours, theirs] = make_stream_pair();
    serving.spawn(app.serve(std::move(theirs)));
    auto ann = (co_await connect_over(std::move(ours), "ws://test/chat/blue?name=ann")).value();
    (co_await ann.write("hello")).value();
    docs::expect((co_await ann.read()).value().text() == "ann: hello", "a member hears what is said");

    auto [client, other] = make_stream_pair();
    serving.spawn(app.serve(std::move(other)));
    (co_await client.write("POST /say/blue HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\n\r\nhi")).value();
    docs::expect((co_await ann.read()).value().text() == "hi", "and what comes by HTTP");

    app.stop(); // the drain: 1001 for ann, and the other connection has no request under way
    docs::expect((co_await ann.read()).error() == ws::closed, "the server closes");
    docs::expect(ann.status().code == ws::close_code::going_away, "with 1001");
    co_await serving.join();
}
// [/test]

task<> ask_echo(std::string url)
{
    auto ws = (co_await connect(url)).value();
    (co_await ws.write("hello")).value();
    docs::expect((co_await ws.read()).value().text() == "hello", "it comes back");
    (co_await ws.close()).value();
}

task<> ask_chat(std::string url)
{
    auto ws = (co_await connect(url + "chat/red?name=bob")).value();
    (co_await ws.write("hello")).value();
    docs::expect((co_await ws.read()).value().text() == "bob: hello", "the chat answers");
    (co_await ws.close()).value();
}

int main()
{
    if (int const status = docs::run_in_time(try_chat()))
        return status;
    if (int const status = docs::try_server(shortest::main, ask_echo))
        return status;
    return docs::try_server([](int, char** argv) { return serve_chat(argv[1]); }, ask_chat);
}
