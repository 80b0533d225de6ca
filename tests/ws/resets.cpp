// SPDX-License-Identifier: BSL-1.0
// A peer that resets: after every byte of a session, and in every state that waits for it. Whatever waits ends, what is
// left goes, and no end passes for a clean one. On TCP and in memory; Unix sockets know no reset.
#include "harness.hpp"

#include "engine/loop_core.hpp"

using namespace ws_test;

namespace {

constexpr kind resetting[] = {kind::memory, kind::tcp};

/// No close handshake was completed: the system's error, or 1006.
bool abnormal(std::error_code e)
{
    return e == std::errc::connection_reset || e == std::errc::broken_pipe || e == ws::errc::abnormal_closure;
}

struct ending
{
    bool open = false;     ///< the handshake succeeded
    std::error_code error; ///< of the handshake, or what ended the connection
    ws::close_code code = ws::close_code::no_status;
};

task<> echo_to_the_end(result<ws::connection> ws, ending& end)
{
    end.open = ws.has_value();
    if (!ws) {
        end.error = ws.error();
        co_return;
    }
    while (auto frame = co_await ws->read_frame()) {
        auto const sent = co_await ws->write_frame(*frame);
        if (!sent)
            break;
    }
    auto const over = co_await ws->read();
    end.error = over.error();
    end.code = ws->status().code;
}

task<> serve(stream peer, ending& end)
{
    auto ws = co_await upgrade(std::move(peer), quiet_server());
    co_await echo_to_the_end(std::move(ws), end);
}

task<> visit(stream server, ending& end)
{
    auto ws = co_await connect_over(std::move(server), "ws://test/", quiet_client());
    co_await echo_to_the_end(std::move(ws), end);
}

/// Small frames, a fragmented message with a ping in it, a large frame, the close.
byte_string frames(bool mask)
{
    auto const frame = [mask](unsigned first, std::string_view payload) {
        return make_frame(first, from_text(payload), mask);
    };
    return frame(0x81, "hello") + frame(0x01, "in ") + frame(0x89, "ping") + frame(0x00, "three ") +
           frame(0x80, "parts") + frame(0x82, std::string(60'000, 'x')) + frame(0x88, close_payload(1000, "bye"));
}

/// Every byte near both ends, and now and then within the large frame.
std::vector<std::size_t> cuts(std::size_t size)
{
    std::vector<std::size_t> all;
    for (std::size_t at = 0; at <= size; at += at < 320 || at + 40 >= size ? 1 : 7001)
        all.push_back(at);
    return all;
}

task<> send_part(stream& s, byte_string bytes)
{
    auto const sent = co_await s.write(bytes);
    (void)sent; // the reset may come while it waits
}

task<> answer_part(stream& s, std::size_t cut, std::size_t& head)
{
    auto const request = co_await read_head(s);
    auto const answer = from_text(switching(request));
    head = answer.size();
    auto all = answer + frames(false);
    all.resize(std::min(cut, all.size()));
    co_await send_part(s, std::move(all));
}

void check_end(ending const& end, bool handshake, bool whole)
{
    CHECK((abnormal(end.error) || (whole && end.error == ws::closed)));
    if (handshake)
        CHECK(!end.open);
    else if (end.open && !whole)
        CHECK(end.code == ws::close_code::abnormal);
}

std::size_t lent_blocks()
{
    return detail::loop_core::require().blocks().lent();
}

} // namespace

TEST_CASE("a client that resets after any byte of its session ends it, and nothing is left")
{
    net_test::no_descriptor_leaks const check;
    on_each(
        [](kind k) -> task<> {
            auto const head = from_text(request_text());
            auto const all = head + frames(true);
            for (std::size_t cut : cuts(all.size()))
                for (int wait : {1, 4}) {
                    INFO(name_of(k) << ": byte " << cut << " of " << all.size() << ", " << wait << " turns later");
                    auto streams = co_await connected(k);
                    ending end;
                    scope running;
                    running.spawn(serve(std::move(streams.first), end));
                    byte_string part = all;
                    part.resize(cut);
                    running.spawn(send_part(streams.second, std::move(part)));
                    co_await turns(wait);
                    streams.second.abort();
                    co_await running.join();
                    check_end(end, cut < head.size(), cut == all.size());
                }
            co_await turns(3);
            CHECK(lent_blocks() <= 64); // what an engine has lent
        },
        resetting);
}

TEST_CASE("a server that resets after any byte of its session ends it, and nothing is left")
{
    net_test::no_descriptor_leaks const check;
    on_each(
        [](kind k) -> task<> {
            auto const whole = switching(request_text()).size() + frames(false).size();
            for (std::size_t cut : cuts(whole))
                for (int wait : {1, 4}) {
                    INFO(name_of(k) << ": byte " << cut << " of " << whole << ", " << wait << " turns later");
                    auto streams = co_await connected(k);
                    ending end;
                    std::size_t head = whole; // unless it came so far
                    scope running;
                    running.spawn(visit(std::move(streams.first), end));
                    running.spawn(answer_part(streams.second, cut, head));
                    co_await turns(wait);
                    streams.second.abort();
                    co_await running.join();
                    check_end(end, cut < head, cut == whole);
                }
            co_await turns(3);
            CHECK(lent_blocks() <= 64);
        },
        resetting);
}

namespace {

/// Operations that wait on a connection, and how they ended.
class waiting
{
public:
    explicit waiting(ws::connection& ws) noexcept : ws_(ws) {}
    void read() { running_.spawn(reading(ws_, ends)); }
    void write() { running_.spawn(writing(ws_, ends)); }
    void ping() { running_.spawn(pinging(ws_, ends)); }
    void close() { running_.spawn(closing(ws_, ends)); }
    auto join() { return running_.join(); }

    std::vector<std::error_code> ends;

private:
    using list = std::vector<std::error_code>;
    static task<> reading(ws::connection& ws, list& ends)
    {
        auto const message = co_await ws.read();
        ends.push_back(message.error());
    }
    static task<> writing(ws::connection& ws, list& ends)
    {
        std::string const text(500'000, 'x');
        auto const written = co_await ws.write(text);
        ends.push_back(written.error());
    }
    static task<> pinging(ws::connection& ws, list& ends)
    {
        auto const time = co_await ws.ping();
        ends.push_back(time.error());
    }
    static task<> closing(ws::connection& ws, list& ends)
    {
        auto const closed = co_await ws.close();
        ends.push_back(closed.error());
    }

    ws::connection& ws_;
    scope running_;
};

struct scene
{
    ws::connection& ws;
    stream& raw;
    waiting& ops;
};

struct state
{
    char const* name;
    std::size_t operations; ///< that wait
    task<> (*enter)(scene);
};

constexpr state states[] = {
    {"a reader waits", 1,
     [](scene s) -> task<> {
         s.ops.read();
         co_return;
     }},
    {"a reader waits within a large frame", 1,
     [](scene s) -> task<> {
         s.ops.read();
         auto const frame = masked(0x82, std::string(400'000, 'x'));
         co_await send(s.raw, {frame.begin(), frame.begin() + 50'000});
     }},
    {"writers wait", 3,
     [](scene s) -> task<> {
         for (int i = 0; i < 3; ++i)
             s.ops.write();
         co_return;
     }},
    {"pings wait", 2,
     [](scene s) -> task<> {
         for (int i = 0; i < 2; ++i)
             s.ops.ping();
         co_return;
     }},
    {"all of them wait", 3,
     [](scene s) -> task<> {
         s.ops.read();
         s.ops.ping();
         s.ops.write();
         co_return;
     }},
    {"messages are posted", 0,
     [](scene s) -> task<> {
         auto const message = ws::shared_message::text(std::string(30'000, 'x'));
         while (s.ws.post(message) == ws::posted::queued) {
         }
         co_return;
     }},
    {"a close waits for its answer", 1,
     [](scene s) -> task<> {
         s.ops.close();
         co_return;
     }},
    {"a close waits behind a write", 2,
     [](scene s) -> task<> {
         s.ops.write();
         s.ops.close();
         co_return;
     }},
    {"the peer has closed, and posted messages wait", 0,
     [](scene s) -> task<> {
         auto const message = ws::shared_message::text(std::string(500'000, 'x'));
         CHECK(s.ws.post(message) == ws::posted::queued);
         co_await send(s.raw, masked(0x88, close_payload(1000)));
     }},
    {"the peer has ended its direction, and posted messages wait", 0,
     [](scene s) -> task<> {
         auto const message = ws::shared_message::text(std::string(500'000, 'x'));
         CHECK(s.ws.post(message) == ws::posted::queued);
         s.raw.shutdown();
         co_return;
     }},
    {"the peer was refused a frame", 0,
     [](scene s) -> task<> {
         auto const bad = unmasked(0x81, "bad");
         co_await send(s.raw, bad);
     }},
    {"nobody reads, and receiving has paused", 0,
     [](scene s) -> task<> {
         auto const frame = masked(0x82, std::string(3000, 'x'));
         for (int i = 0; i < 100; ++i) { // until its peer would wait
             auto const sent = co_await timeout(1ms, s.raw.write(frame));
             if (!sent)
                 break;
         }
     }},
};

} // namespace

TEST_CASE("a reset ends whatever waits, in every state, and leaves nothing")
{
    net_test::no_descriptor_leaks const check;
    for (state const& s : states)
        for (kind k : resetting)
            for (bool destroyed : {false, true}) {
                INFO(name_of(k) << ", " << s.name << (destroyed ? ", and the connection goes first" : ""));
                if (destroyed && s.operations > 0)
                    continue; // may not go while somebody waits on it
                on_loop([](state const& in, kind where, bool goes_first) -> task<> {
                    auto options = quiet_server();
                    options.read_limit = 1000;
                    options.send_limit = 100'000;
                    auto both = co_await raw_client(where, options, {.small_buffers = true});
                    {
                        auto ws = std::move(both.ws);
                        waiting ops(ws);
                        co_await in.enter({ws, both.raw, ops});
                        co_await turns(3);
                        CHECK(ops.ends.empty());
                        if (!goes_first) {
                            both.raw.abort();
                            co_await ops.join();
                            CHECK(ops.ends.size() == in.operations);
                            for (auto const& error : ops.ends)
                                CHECK((abnormal(error) || error == ws.status().error));
                            for (auto m = co_await ws.read(); m; m = co_await ws.read()) {
                            } // what had come before is still given
                            CHECK(!ws.is_open());
                            CHECK(ws.status().error);
                            auto const late = co_await ws.write("late");
                            CHECK(late.error() == ws.status().error);
                        }
                    }
                    co_await turns(1); // it closes in the background
                    both.raw.abort();
                }(s, k, destroyed)); // which waits for it to be gone
            }
}
