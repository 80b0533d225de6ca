// SPDX-License-Identifier: BSL-1.0
// A broadcast hub: what one client sends reaches all, framed once. GET / is a page for phones and desktops. Where the
// network breaks WebSocket, the page falls back to server-sent events, and where it holds those up to long polling.
#include "guests.hpp"
#include "hub.hpp"
#include "hub_page.hpp"
#include "options.hpp"

#include <cctype>
#include <charconv>

using namespace wring;
using namespace std::chrono_literals;

/// The name asked for by `?name=`, if it is a plain one.
std::string name_of(request const& r)
{
    auto const wanted = r.query_value("name").value_or("");
    auto const plain = [](unsigned char c) { return std::isalnum(c) || c == '-' || c == '_'; };
    bool const good = !wanted.empty() && wanted.size() <= 32 && std::all_of(wanted.begin(), wanted.end(), plain);
    return good ? std::string(wanted) : "guest";
}

task<> session(ws::connection& ws, std::string name, hub& all)
{
    std::string who;
    {
        hub::member const me(all, ws);
        who = all.enter(name);
        while (auto message = co_await ws.read()) {
            if (message->is_text)
                all.publish(who + ": " + message->to_string());
            else
                all.publish(ws::shared_message::binary(message->payload));
        }
    }
    all.leave(who);
}

/// Everything that is published, as events, until the page leaves.
task<> send_events(body_writer& out, std::string name, hub& all, guest_book& guests)
{
    auto seen = all.last();
    auto const key = guests.enter(name);
    auto sent = co_await out.write(server_sent_event(key, "key")); // to send with
    while (sent) {
        auto const texts = co_await timeout(20s, all.after(seen));
        if (!texts && texts.error() != errc::timed_out)
            break;
        std::string events = ":\n\n"; // a sign of life, where there is nothing else
        for (std::size_t i = 0; texts && i < texts->size(); ++i)
            events += server_sent_event((*texts)[i]);
        (void)guests.who(key); // still here
        sent = co_await out.write(events);
    }
    guests.leave(key);
}

/// Answers when something was published since number `after`, or in 20 seconds: the guest's key, the new number, and
/// the texts, each on a line of its own.
task<response> poll(request& r, hub& all, guest_book& guests)
{
    std::string key(r.query_value("key").value_or(""));
    auto seen = all.last();
    if (key.empty()) {
        key = guests.enter(name_of(r));
    } else {
        auto const after = r.query_value("after").value_or("");
        std::from_chars(after.data(), after.data() + after.size(), seen);
        if (guests.who(key).empty())
            co_return response::refuse(410, "you have been away for too long\n");
    }
    auto const texts = co_await timeout(20s, all.after(seen));
    response answer(200, key + "\n" + std::to_string(seen) + "\n");
    for (std::size_t i = 0; texts && i < texts->size(); ++i)
        answer.body += percent_encode((*texts)[i]) + "\n";
    answer.headers.emplace_back("Cache-Control", "no-store");
    co_return answer;
}

task<response> send(request& r, hub& all, guest_book& guests)
{
    auto const who = guests.who(r.query_value("key").value_or(""));
    if (who.empty())
        co_return response::refuse(410, "you have been away for too long\n");
    auto const text = (co_await r.body()).value();
    all.publish(who + ": " + text);
    co_return response(204);
}

int main(int argc, char** argv)
{
    auto const options = parse_command_line(argc, argv, "Sends what a client sends to all; GET / is a page to try it.",
                                            speaks::http);
    hub all(options.run.threads);
    guest_book guests(all);
    server app;
    app.page("/", hub_page);
    app.health();
    app.ws("/*", [&](ws::connection& ws, request const& r) { return session(ws, name_of(r), all); }, options.ws);
    app.get("/events", [&](request& r) -> task<response> {
        auto const stream = [&all, &guests, name = name_of(r)](body_writer& out) {
            return send_events(out, name, all, guests);
        };
        auto answer = response::streamed("text/event-stream", stream);
        answer.headers.emplace_back("X-Accel-Buffering", "no"); // tells nginx to hand on at once what comes
        co_return answer;
    });
    app.get("/poll", [&](request& r) { return poll(r, all, guests); });
    app.post("/send", [&](request& r) { return send(r, all, guests); }, {.max_body = 64 * 1024});
    app.post("/leave", [&](request& r) -> task<response> {
        guests.leave(r.query_value("key").value_or(""));
        co_return response(204);
    });
    listen(app, options);
    return run([&] { return serve(app, options); }, options.run);
}
