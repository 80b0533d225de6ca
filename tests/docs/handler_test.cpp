// SPDX-License-Identifier: BSL-1.0
// The tutorial's sixth page: testing a handler without a network.
#include "program.hpp"

using namespace wring;

// [handler]
/// Adds up the numbers it is sent, and says the sum after each.
task<> adder(stream peer)
{
    auto ws = co_await upgrade(std::move(peer), {.subprotocols = "sum"});
    if (!ws)
        co_return;
    long sum = 0;
    while (auto message = co_await ws->read()) {
        char* end = nullptr;
        std::string const text = message->to_string();
        long const number = std::strtol(text.c_str(), &end, 10);
        if (text.empty() || *end) {
            auto closed = co_await ws->close(ws::close_code::unsupported_data, "not a number");
            (void)closed; // whatever came of it, the session is over
            co_return;
        }
        sum += number;
        if (!co_await ws->write(std::to_string(sum)))
            co_return;
    }
}
// [/handler]

// [expect]
void expect(bool good, char const* what)
{
    if (!good)
        throw std::runtime_error(what); // leaves the root task: run() prints it and returns 1
}
// [/expect]

// [test]
task<> adds_up(stream_pair_options options)
{
    auto [ours, theirs] = make_stream_pair(options);
    scope server;
    server.spawn(adder(std::move(theirs)));

    auto ws = (co_await connect_over(std::move(ours), "ws://test/", {.subprotocols = "sum"})).value();
    expect(ws.subprotocol() == "sum", "the subprotocol is agreed on");
    (co_await ws.write("40")).value();
    (co_await ws.write("2")).value();
    expect((co_await ws.read()).value().text() == "40", "the first sum");
    expect((co_await ws.read()).value().text() == "42", "the second sum");
    (co_await ws.close()).value();
    co_await server.join();
}
// [/test]

// [refusal]
task<> refuses_words()
{
    auto [ours, theirs] = make_stream_pair();
    scope server;
    server.spawn(adder(std::move(theirs)));

    auto ws = (co_await connect_over(std::move(ours), "ws://test/")).value();
    (co_await ws.write("forty")).value();
    auto end = co_await ws.read();
    expect(end.error() == ws::closed, "a word ends the connection");
    expect(ws.status().code == ws::close_code::unsupported_data, "with 1003");
    expect(ws.status().reason == "not a number", "and a reason");
    co_await server.join();
}
// [/refusal]

// [raw]
task<> survives_a_reset()
{
    auto [ours, theirs] = make_stream_pair();
    scope server;
    server.spawn(adder(std::move(theirs)));

    (co_await ours.write("GET / HTTP/1.1\r\nHost: te")).value(); // half a request, and then nothing
    ours.abort();
    co_await server.join(); // the session ends, without a word
}
// [/raw]

// [main]
task<> all_tests()
{
    co_await adds_up({});
    co_await adds_up({.chunk = 1});                 // every byte arrives alone
    co_await adds_up({.capacity = 16, .chunk = 7}); // and the way is narrow
    co_await refuses_words();
    co_await survives_a_reset();
}

int main()
{
    return run(all_tests());
}
// [/main]
