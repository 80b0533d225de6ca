// SPDX-License-Identifier: BSL-1.0
// The tutorial's fifth page: timeouts and cancellation.
#include "program.hpp"

#include <variant>

using namespace wring;
using namespace std::chrono_literals;

// [timeout]
task<> ask_name(ws::connection& ws)
{
    if (!co_await ws.write("who are you?"))
        co_return; // the client has gone: ws.status() says how
    auto name = co_await timeout(200ms, ws.read());
    if (name)
        (void)co_await ws.write("hello, " + name->to_string());
    else if (name.error() == errc::timed_out)
        (void)co_await ws.close(ws::close_code::policy_violation, "too shy");
}
// [/timeout]

// [children]
task<> ticker(ws::connection& ws)
{
    while (auto slept = co_await sleep_for(100ms)) // ends when it is canceled
        if (!co_await ws.write("tick"))
            break;
}

task<> listen_until(ws::connection& ws, std::string word)
{
    while (auto message = co_await ws.read())
        if (message->text() == word)
            break;
}

task<> tick_until_stop(ws::connection& ws)
{
    scope children;
    children.spawn(ticker(ws));
    co_await listen_until(ws, "stop");
    children.request_stop(); // asks: the sleep ends with errc::canceled
    co_await children.join(); // waits until it has
}
// [/children]

// [with-scope]
task<> tick(scope& children, ws::connection* ws)
{
    children.spawn(ticker(*ws));
    co_await listen_until(*ws, "stop");
}

task<> tick_until_stop_short(ws::connection& ws)
{
    co_await with_scope(tick, &ws); // stops and joins the children on every way out, exceptions included
}
// [/with-scope]

// [any]
/// The next message, unless `news` is set before.
task<std::string> message_or_news(ws::connection& ws, event& news)
{
    auto first = co_await when_any(ws.read(), news.wait());
    if (auto* message = std::get_if<0>(&first); message && *message)
        co_return (*message)->to_string();
    co_return "news";
}
// [/any]

// [guard]
task<> survive(stream peer, task<> (*handler)(ws::connection&))
{
    try {
        auto ws = co_await upgrade(std::move(peer));
        if (ws)
            co_await handler(*ws);
    } catch (std::exception const& e) { // one session's fault shall not end the others
        std::fprintf(stderr, "session: %s\n", e.what());
    }
}
// [/guard]

// [blocking]
task<> slow_answer(ws::connection& ws)
{
    auto size = co_await offload([] { return std::filesystem::file_size("/proc/self/exe"); });
    (void)co_await ws.write(std::to_string(size)); // the client may have gone meanwhile
}
// [/blocking]

// [cleanup]
task<> work(bool& flushed)
{
    (void)co_await sleep_for(1h); // canceled
    // From here on every operation of this coroutine ends with errc::canceled at once.
    auto nap = co_await sleep_for(10ms);
    flushed = nap.has_value();
}
// [/cleanup]

task<> faulty(ws::connection& ws)
{
    auto message = (co_await ws.read()).value();
    throw std::runtime_error("a bug, met after " + message.to_string());
}

struct pair_of_connections
{
    ws::connection client;
    ws::connection server;
};

task<> open_server(stream peer, std::optional<ws::connection>& ws)
{
    ws.emplace((co_await upgrade(std::move(peer))).value());
}

task<pair_of_connections> open_pair()
{
    auto [ours, theirs] = make_stream_pair();
    std::optional<ws::connection> server;
    scope opening;
    opening.spawn(open_server(std::move(theirs), server));
    auto client = (co_await connect_over(std::move(ours), "ws://test/")).value();
    co_await opening.join();
    pair_of_connections both{std::move(client), std::move(*server)};
    co_return both;
}

task<> try_all()
{
    scope running;
    {
        auto both = co_await open_pair();
        running.spawn(ask_name(both.server));
        docs::expect((co_await both.client.read()).value().text() == "who are you?", "it asks");
        (co_await both.client.write("Anna")).value();
        docs::expect((co_await both.client.read()).value().text() == "hello, Anna", "it greets");
        co_await running.join();
    }
    {
        auto both = co_await open_pair();
        running.spawn(ask_name(both.server));
        docs::expect((co_await both.client.read()).has_value(), "it asks");
        auto end = co_await both.client.read(); // says nothing
        docs::expect(end.error() == ws::closed, "the shy are sent away");
        docs::expect(both.client.status().code == ws::close_code::policy_violation, "with 1008");
        docs::expect(both.client.status().reason == "too shy", "and a reason");
        co_await running.join();
    }
    for (auto* program : {&tick_until_stop, &tick_until_stop_short}) {
        auto both = co_await open_pair();
        running.spawn((*program)(both.server));
        for (int i = 0; i < 3; ++i)
            docs::expect((co_await both.client.read()).value().text() == "tick", "it ticks");
        (co_await both.client.write("stop")).value();
        co_await running.join();
    }
    {
        auto both = co_await open_pair();
        event news;
        (co_await both.client.write("hello")).value();
        docs::expect(co_await message_or_news(both.server, news) == "hello", "a message was first");
        news.set();
        docs::expect(co_await message_or_news(both.server, news) == "news", "news were first");
    }
    {
        auto [ours, theirs] = make_stream_pair();
        running.spawn(survive(std::move(theirs), faulty));
        auto ws = (co_await connect_over(std::move(ours), "ws://test/")).value();
        (co_await ws.write("this")).value();
        docs::expect((co_await ws.read()).error() == ws::closed, "the connection is closed");
        docs::expect(ws.status().code == ws::close_code::internal_error, "with 1011");
        co_await running.join();
    }
    {
        auto both = co_await open_pair();
        running.spawn(slow_answer(both.server));
        docs::expect((co_await both.client.read()).has_value(), "an answer from the thread pool");
        co_await running.join();
    }
    bool flushed = true;
    running.spawn(work(flushed));
    (void)co_await sleep_for(1ms);
    running.request_stop();
    co_await running.join();
    docs::expect(!flushed, "a canceled coroutine can wait for nothing more");
}

int main()
{
    return docs::run_in_time(try_all());
}
