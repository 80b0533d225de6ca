// SPDX-License-Identifier: BSL-1.0
#include "harness.hpp"

#include "core/allocations.hpp"

#include "engine/loop_core.hpp"

using namespace ws_test;

namespace {


/// What read_frame() gives, in one line.
task<std::string> next_frame(ws::connection& ws)
{
    auto const f = co_await ws.read_frame();
    if (!f)
        co_return "error " + f.error().message();
    char const* const op = f->op == ws::opcode::text ? "text" : f->op == ws::opcode::binary ? "binary" : "continuation";
    co_return std::string(op) + (f->fin ? " fin " : " ") + f->to_string();
}

task<std::string> next_message(ws::connection& ws)
{
    auto const m = co_await ws.read();
    if (!m)
        co_return "error " + m.error().message();
    co_return (m->is_text ? "text " : "binary ") + m->to_string();
}

/// Buffers in use, those included that an engine has lent to the system.
std::size_t lent_blocks()
{
    return detail::loop_core::require().blocks().lent();
}

} // namespace

// ---- messages and frames ------------------------------------------------------------------------------------------

TEST_CASE("messages of every kind are read")
{
    on_each([](kind k) -> task<> {
        auto both = co_await raw_client(k);
        co_await send(both.raw, masked(0x81, "hello") + masked(0x82, "bytes") + masked(0x81) + masked(0x82));
        auto m = co_await next_message(both.ws);
        CHECK(m == "text hello");
        m = co_await next_message(both.ws);
        CHECK(m == "binary bytes");
        m = co_await next_message(both.ws);
        CHECK(m == "text ");
        m = co_await next_message(both.ws);
        CHECK(m == "binary ");
        both.ws.abort();
    });
}

TEST_CASE("a fragmented message is read whole, with control frames between its fragments")
{
    on_each([](kind k) -> task<> {
        auto both = co_await raw_client(k);
        co_await send(both.raw, masked(0x01, "one,") + masked(0x89, "a") + masked(0x00, "two,") + masked(0x00) +
                                    masked(0x8A, "unasked") + masked(0x80, "three"));
        auto const m = co_await next_message(both.ws);
        CHECK(m == "text one,two,three");
        auto const pong = co_await read_wire(both.raw);
        CHECK(pong.first == 0x8A);
        CHECK(pong.payload == "a");
        both.ws.abort();
    });
}

TEST_CASE("frames are read as they were sent")
{
    on_each([](kind k) -> task<> {
        auto both = co_await raw_client(k);
        co_await send(both.raw, masked(0x01, "one,") + masked(0x00, "two,") + masked(0x00) + masked(0x80, "three") +
                                    masked(0x82, "next"));
        for (char const* expected : {"text one,", "continuation two,", "continuation ", "continuation fin three",
                                     "binary fin next"}) {
            auto const f = co_await next_frame(both.ws);
            CHECK(f == expected);
        }
        both.ws.abort();
    });
}

TEST_CASE("read() after read_frame() gives the rest of the message")
{
    on_loop([]() -> task<> {
        auto both = co_await raw_client();
        co_await send(both.raw, masked(0x01, "one,") + masked(0x00, "two,") + masked(0x80, "three") +
                                    masked(0x82, "next") + masked(0x01, "a") + masked(0x80, "b"));
        auto const f = co_await next_frame(both.ws);
        CHECK(f == "text one,");
        auto m = co_await next_message(both.ws);
        CHECK(m == "text two,three");
        auto const g = co_await next_frame(both.ws);
        CHECK(g == "binary fin next");
        m = co_await next_message(both.ws);
        CHECK(m == "text ab");
        both.ws.abort();
    }());
}

TEST_CASE("frames up to the size of a receive buffer come whole, larger ones in fragments")
{
    run_options small;
    small.receive_buffer_size = 1024;
    for (std::size_t chunk : {0U, 1U, 100U, 700U})
        for (std::size_t size : {1U, 125U, 126U, 1000U, 1023U, 1024U, 1025U, 2048U, 2049U, 5000U}) {
            INFO("a frame of " << size << " bytes in chunks of " << chunk);
            on_loop([](std::size_t bytes, std::size_t at_once) -> task<> {
                auto both = co_await raw_client(kind::memory, quiet_server(), {.chunk = at_once});
                auto const payload = pattern(bytes);
                scope sending;
                sending.spawn(send(both.raw, make_frame(0x02, payload, true) + make_frame(0x80, payload, true)));
                std::string all;
                std::size_t parts = 0;
                for (bool fin = false; !fin; ++parts) {
                    auto const f = co_await both.ws.read_frame();
                    fin = f.value().fin;
                    CHECK(f->op == (parts == 0 ? ws::opcode::binary : ws::opcode::continuation));
                    CHECK(f->payload.size() <= 1024 + 64); // a buffer has room for the header beside a whole frame
                    if (bytes > 1024 && !fin && all.size() + f->payload.size() != bytes)
                        CHECK(f->payload.size() >= 256); // no crumbs
                    all += f->text();
                }
                CHECK(all == to_text(payload) + to_text(payload));
                if (bytes <= 1024)
                    CHECK(parts == 2);
                co_await sending.join();
                both.ws.abort();
            }(size, chunk), small);
        }
}

TEST_CASE("messages of every length form arrive, whatever the cuts")
{
    for (kind k : kinds)
        for (std::size_t chunk : {0U, 1U, 7U, 4096U}) {
            if (k != kind::memory && chunk != 0)
                continue;
            INFO(name_of(k) << ", chunks of " << chunk);
            on_loop([](kind where, std::size_t at_once) -> task<> {
                auto both = co_await raw_client(where, quiet_server(), {.chunk = at_once});
                std::size_t const sizes[] = {0, 1, 125, 126, 127, 16'383, 16'384, 16'385, 65'535, 65'536, 65'537};
                byte_string all;
                for (std::size_t size : sizes)
                    append(all, make_frame(0x82, pattern(size), true));
                scope sending;
                sending.spawn(send(both.raw, all));
                for (std::size_t size : sizes) {
                    auto const m = co_await both.ws.read();
                    CHECK(to_text(m.value().payload) == to_text(pattern(size)));
                }
                co_await sending.join();
                both.ws.abort();
            }(k, chunk));
        }
}

TEST_CASE("a large message is read, in one frame and in many")
{
    on_each([](kind k) -> task<> {
        auto both = co_await raw_client(k);
        auto const payload = pattern(test::load(64, 9) << 14);
        byte_string many;
        std::size_t const last = (payload.size() >> 14) - 1;
        for (std::size_t i = 0; i <= last; ++i) {
            byte_string const part(payload.begin() + static_cast<std::ptrdiff_t>(i << 14),
                                   payload.begin() + static_cast<std::ptrdiff_t>((i + 1) << 14));
            append(many, make_frame((i == 0 ? 2U : 0U) | (i == last ? 0x80U : 0U), part, true));
        }
        scope sending;
        sending.spawn(send(both.raw, make_frame(0x82, payload, true) + many));
        for (int i = 0; i < 2; ++i) {
            auto const m = co_await both.ws.read();
            CHECK(m.value().payload.size() == payload.size());
            CHECK(to_text(m->payload) == to_text(payload));
        }
        co_await sending.join();
        both.ws.abort();
    });
}

// What is received straight into its place is the rest of a large frame: these make sure that there is one.
TEST_CASE("large frames arrive whole, though their headers come alone and their bytes in any cut")
{
    on_each([](kind k) -> task<> {
        auto options = quiet_server();
        options.max_message = options.max_frame = 3'000'000;
        auto both = co_await raw_client(k, options);
        int round = 0;
        auto const sizes = test::tiny() ? std::vector<std::size_t>{20'000, 560'000}
                                        : std::vector<std::size_t>{40'000, 100'000, 300'000, 2'500'000};
        for (std::size_t size : sizes)
            for (std::size_t cut : {1U, 10U, 14U, 15U, 20'000U})
                for (bool by_frames : {false, true}) {
                    if (by_frames && size > 20'000 && test::tiny())
                        continue; // thousands of parts
                    bool const is_text = ++round % 2;
                    INFO(name_of(k) << ": " << size << " bytes cut at " << cut << ", by frames: " << by_frames);
                    std::string const text(size, static_cast<char>('a' + round % 26));
                    auto const frame = masked(is_text ? 0x81 : 0x82, text) + masked(0x89, "p") + masked(0x82, "next");
                    scope sending;
                    sending.spawn([](stream& s, byte_string bytes, std::size_t at) -> task<> {
                        auto const first = co_await s.write(std::span(bytes).first(at));
                        CHECK(first.has_value());
                        co_await turns(5); // for the reader to see just that
                        auto const rest = co_await s.write(std::span(bytes).subspan(at));
                        CHECK(rest.has_value());
                    }(both.raw, frame, cut));
                    std::string got;
                    std::size_t largest_part = 0;
                    bool kind_is_right = true;
                    bool whole = false;
                    while (!whole) {
                        if (by_frames) {
                            auto const f = co_await both.ws.read_frame();
                            auto const expected = is_text ? ws::opcode::text : ws::opcode::binary;
                            auto const of_this_part = got.empty() ? expected : ws::opcode::continuation;
                            kind_is_right = kind_is_right && f.value().op == of_this_part;
                            got += f->text();
                            largest_part = std::max(largest_part, f->payload.size());
                            whole = f->fin;
                        } else {
                            auto const m = co_await both.ws.read();
                            kind_is_right = m.value().is_text == is_text;
                            got += m->text();
                            whole = true;
                        }
                    }
                    CHECK(kind_is_right);
                    CHECK(got == text);
                    CHECK(largest_part <= detail::loop_core::require().blocks().capacity());
                    auto const next = co_await next_message(both.ws);
                    CHECK(next == "binary next");
                    auto const pong = co_await read_wire(both.raw);
                    CHECK(pong.payload == "p");
                    co_await sending.join();
                }
        both.ws.abort();
    });
}

TEST_CASE("reads of a large frame that are canceled at every moment lose nothing of it")
{
    for (kind k : {kind::tcp, kind::unix_path, kind::tls_tcp})
        for (bool by_frames : {false, true})
            for (int patience : {0, 1, 2, 3, 7}) {
                if (patience == 0 && test::tiny())
                    continue; // fills every turn before it receives: as good as endless where a turn brings 128 bytes
                INFO(name_of(k) << ", by frames: " << by_frames << ", canceled after " << patience << " turns");
                on_loop([](kind where, bool frames, int n) -> task<> {
                    auto both = co_await raw_client(where);
                    std::string text(!test::tiny() ? 800'000 : frames ? 20'000 : 560'000, ' ');
                    for (std::size_t i = 0; i < text.size(); ++i)
                        text[i] = static_cast<char>('a' + i % 23 + i / 70'000 % 3);
                    scope sending;
                    sending.spawn(send(both.raw, masked(0x82, text) + masked(0x81, "end")));
                    std::string got;
                    for (bool whole = false; !whole;) {
                        auto done = co_await when_any(
                            [](ws::connection& ws, bool f, std::string& all, bool& fin) -> task<bool> {
                                if (f) {
                                    auto const part = co_await ws.read_frame();
                                    if (!part)
                                        co_return false;
                                    all += part->text();
                                    fin = part->fin;
                                } else {
                                    auto const m = co_await ws.read();
                                    if (!m)
                                        co_return false;
                                    all += m->text();
                                    fin = true;
                                }
                                co_return true;
                            }(both.ws, frames, got, whole),
                            turns(n));
                        (void)done;
                    }
                    CHECK(got == text);
                    auto const end = co_await next_message(both.ws);
                    CHECK(end == "text end");
                    co_await sending.join();
                    both.ws.abort();
                }(k, by_frames, patience));
            }
}

TEST_CASE("a connection that goes in the middle of a large frame gives everything back", "[sizes]")
{
    on_each([](kind k) -> task<> {
        for (int how : {0, 1, 2, 3}) {
            INFO(name_of(k) << ", way " << how);
            std::size_t const before = lent_blocks();
            {
                auto both = co_await raw_client(k);
                auto const frame = masked(0x82, std::string(400'000, 'x'));
                byte_string const part(frame.begin(), frame.begin() + 60'000);
                co_await send(both.raw, part);
                auto const got = co_await timeout(20ms, both.ws.read());
                CHECK(!got);
                switch (how) {
                case 0: both.ws.abort(); break;
                case 1: both.raw.abort(); break;
                case 2: both.raw.shutdown(); break;
                default: break; // it is destroyed
                }
                if (how == 1 || how == 2) {
                    auto const end = co_await both.ws.read();
                    CHECK(!end);
                }
            }
            for (int i = 0; i < 1000 && lent_blocks() > before + 64; ++i)
                co_await next_turn();
            CHECK(lent_blocks() <= before + 64); // what an engine has lent, and nothing large
        }
    });
}

TEST_CASE("a message stays valid until the next read, whatever arrives")
{
    on_each([](kind k) -> task<> {
        auto both = co_await raw_client(k);
        co_await send(both.raw, masked(0x81, "first") + masked(0x01, "sec") + masked(0x80, "ond"));
        auto const first = co_await both.ws.read();
        std::string const flood(100, 'x');
        byte_string many;
        for (int i = 0; i < 100; ++i)
            append(many, masked(0x81, flood) + masked(0x89, "ping"));
        co_await send(both.raw, many);
        co_await turns(5);
        CHECK(first.value().text() == "first");
        auto const second = co_await both.ws.read();
        co_await send(both.raw, many);
        co_await turns(5);
        CHECK(second.value().text() == "second");
        auto const closed = co_await timeout(0ms, both.ws.close());
        (void)closed;
        CHECK(second->text() == "second");
        both.ws.abort();
        CHECK(second->text() == "second");
    });
}

TEST_CASE("what was received before the end is given first")
{
    for (bool clean : {true, false})
        for (bool wait_first : {true, false})
            on_loop([](bool close_frame, bool late) -> task<> {
                auto both = co_await raw_client();
                byte_string bytes = masked(0x81, "one") + masked(0x01, "two") + masked(0x80, "!");
                if (close_frame)
                    append(bytes, masked(0x88, close_payload(1000)));
                co_await send(both.raw, bytes);
                both.raw.shutdown();
                if (late) {
                    co_await turns(10);
                    CHECK(!both.ws.is_open());
                }
                auto m = co_await next_message(both.ws);
                CHECK(m == "text one");
                m = co_await next_message(both.ws);
                CHECK(m == "text two!");
                for (int i = 0; i < 2; ++i) {
                    auto const end = co_await both.ws.read();
                    CHECK(end.error() == (close_frame ? ws::closed : ws::errc::abnormal_closure));
                    auto const frame_end = co_await both.ws.read_frame();
                    CHECK(frame_end.error() == end.error());
                }
            }(clean, wait_first));
}

TEST_CASE("an unfinished message at the end is not given")
{
    on_loop([]() -> task<> {
        auto both = co_await raw_client();
        co_await send(both.raw, masked(0x81, "whole") + masked(0x01, "half"));
        both.raw.shutdown();
        auto m = co_await next_message(both.ws);
        CHECK(m == "text whole");
        auto const end = co_await both.ws.read();
        CHECK(end.error() == ws::errc::abnormal_closure);
    }());
}

// ---- one reader ---------------------------------------------------------------------------------------------------

namespace {
task<> read_into(ws::connection& ws, std::string& out)
{
    auto m = co_await next_message(ws);
    out = std::move(m);
}
} // namespace

TEST_CASE("a second reader is told that the connection is busy")
{
    on_loop([]() -> task<> {
        auto both = co_await raw_client();
        std::string first;
        scope readers;
        readers.spawn(read_into(both.ws, first));
        co_await turns(1);
        auto const second = co_await both.ws.read();
        CHECK(second.error() == errc::busy);
        auto const third = co_await both.ws.read_frame();
        CHECK(third.error() == errc::busy);
        co_await send(both.raw, masked(0x81, "for the first"));
        co_await readers.join();
        CHECK(first == "text for the first");
        both.ws.abort();
    }());
}

namespace {
/// Goes to the end of the loop's ready queue.
struct later : detail::suspension
{
    bool await_ready() const noexcept { return false; }
    template <detail::coroutine_promise P>
    void await_suspend(std::coroutine_handle<P> h) noexcept
    {
        suspend(h, nullptr);
        wake();
    }
    void await_resume() const noexcept {}
};

} // namespace

TEST_CASE("a second reader never takes the message away from under the first")
{
    on_loop([]() -> task<> {
        auto both = co_await raw_client();
        std::string first;
        scope readers;
        readers.spawn(read_into(both.ws, first));
        co_await turns(1);
        co_await send(both.raw, masked(0x81, "number 1") + masked(0x81, "number 2"));
        // The bytes arrive, and the reader is made ready, in this coroutine's own turn.
        for (int i = 0; i < 10 && first.empty(); ++i) {
            auto const second = co_await both.ws.read();
            CHECK(second.error() == errc::busy);
            if (second)
                break;
            later next;
            co_await next;
        }
        co_await readers.join();
        CHECK(first == "text number 1");
        both.ws.abort();
    }());
}

// ---- cancel -------------------------------------------------------------------------------------------------------

TEST_CASE("a canceled read loses nothing")
{
    on_each([](kind k) -> task<> {
        auto both = co_await raw_client(k);
        auto const nothing = co_await timeout(1ms, both.ws.read());
        CHECK(nothing.error() == errc::timed_out);
        co_await send(both.raw, masked(0x01, "begin,"));
        auto const begun = co_await timeout(1ms, both.ws.read());
        CHECK(begun.error() == errc::timed_out);
        co_await send(both.raw, masked(0x80, "end"));
        auto const m = co_await next_message(both.ws);
        CHECK(m == "text begin,end");
        both.ws.abort();
    });
}

TEST_CASE("after a canceled read() read_frame() goes on with what was assembled")
{
    on_loop([]() -> task<> {
        auto both = co_await raw_client();
        co_await send(both.raw, masked(0x01, "begin,"));
        auto const begun = co_await timeout(1ms, both.ws.read());
        CHECK(begun.error() == errc::timed_out);
        co_await send(both.raw, masked(0x00, "middle,") + masked(0x80, "end"));
        std::string all;
        for (bool fin = false; !fin;) {
            auto const f = co_await both.ws.read_frame();
            CHECK(f.value().op == (all.empty() ? ws::opcode::text : ws::opcode::continuation));
            fin = f->fin;
            all += f->text();
        }
        CHECK(all == "begin,middle,end");
        both.ws.abort();
    }());
}

TEST_CASE("a read that is asked to stop already does not take a message")
{
    on_loop([]() -> task<> {
        auto both = co_await raw_client();
        co_await send(both.raw, masked(0x81, "kept"));
        co_await turns(3);
        detail::context& env = co_await detail::get_context();
        {
            detail::own_stop own(env);
            own.stop.request();
            auto const m = co_await both.ws.read();
            CHECK(m.error() == errc::canceled);
        }
        auto const m = co_await next_message(both.ws);
        CHECK(m == "text kept");
        both.ws.abort();
    }());
}

namespace {

struct script
{
    byte_string bytes;
    std::string transcript; ///< messages and their kinds
};

script make_script()
{
    script s;
    std::size_t const sizes[] = {0, 1, 125, 126, 900, 1024, 1025, 3000, 7000};
    unsigned number = 0;
    auto put = [&](byte_string const& frame) { s.bytes = s.bytes + frame; };
    for (std::size_t size : sizes) {
        auto const payload = pattern(size, ++number);
        put(make_frame(0x82, payload, true));
        s.transcript += "<binary " + to_text(payload) + ">";
        if (number % 2 == 0)
            put(masked(0x89, "ping " + std::to_string(number)));
        if (number % 3 == 0) { // the same again, in three fragments with a ping between
            std::string const text(size, 'a' + static_cast<char>(number));
            put(masked(0x01, text));
            put(masked(0x89, "between"));
            put(masked(0x00, ""));
            put(masked(0x80, text));
            s.transcript += "<text " + text + text + ">";
        }
    }
    put(masked(0x88, close_payload(1000, "done")));
    return s;
}

/// Reads by messages, by frames, or by both in turn.
task<std::string> read_under(ws::connection& ws, net_test::cancel_plan& plan, int how)
{
    std::string transcript;
    bool inside = false;
    for (int i = 0;; ++i) {
        if (how == 0 || (how == 2 && i % 2 == 0)) {
            auto const m = co_await net_test::under(plan, ws.read());
            if (!m && m.error() == errc::canceled)
                continue;
            if (!m)
                co_return transcript + m.error().message();
            if (!inside)
                transcript += m->is_text ? "<text " : "<binary ";
            inside = false;
            transcript.append(m->text()) += ">";
        } else {
            auto const f = co_await net_test::under(plan, ws.read_frame());
            if (!f && f.error() == errc::canceled)
                continue;
            if (!f)
                co_return transcript + f.error().message();
            if (f->op != ws::opcode::continuation)
                transcript += f->op == ws::opcode::text ? "<text " : "<binary ";
            inside = !f->fin;
            transcript.append(f->text());
            if (f->fin)
                transcript += ">";
        }
    }
}

task<> take_all(stream& s, std::string& out)
{
    out = co_await read_rest(s);
}

task<std::size_t> scripted(kind k, std::size_t chunk, std::size_t at, int delay, int how)
{
    auto both = co_await raw_client(k, quiet_server(), {.chunk = chunk});
    script const s = make_script();
    std::string answers;
    scope peer;
    peer.spawn(send(both.raw, s.bytes));
    peer.spawn(take_all(both.raw, answers));
    net_test::cancel_plan plan;
    plan.at = at;
    plan.delay = delay;
    auto const transcript = co_await read_under(both.ws, plan, how);
    bool const same = transcript == s.transcript + make_error_code(ws::closed).message();
    CHECK(same);
    both.raw.shutdown();
    co_await peer.join();
    CHECK(answers.substr(answers.size() - std::min<std::size_t>(answers.size(), 4)) == "\x88\x02\x03\xE8");
    CHECK(both.ws.status().reason == "done");
    co_return plan.suspensions;
}

} // namespace

TEST_CASE("a cancel at any suspension of a scripted session loses no byte")
{
    run_options small;
    small.receive_buffer_size = 1024;
    for (std::size_t chunk : {61U, 500U})
        for (int how : {0, 1, 2})
            for (int delay : {0, 1}) {
                INFO("chunks of " << chunk << ", way " << how << ", canceled " << delay << " turns later");
                std::size_t count = 1;
                for (std::size_t at = 0; at < count; ++at)
                    on_loop([](std::size_t c, std::size_t a, int d, int h, std::size_t& n) -> task<> {
                        n = co_await scripted(kind::memory, c, a, d, h);
                    }(chunk, at, delay, how, count), small);
                CHECK(count > 5);
            }
}

TEST_CASE("a cancel at any suspension loses no byte of a socket either")
{
    for (kind k : {kind::tcp, kind::unix_path, kind::tls_tcp})
        for (int how : {0, 2}) {
            std::size_t count = 1;
            for (std::size_t at = 0; at < count && at < 20; ++at)
                on_loop([](kind where, std::size_t a, int h, std::size_t& n) -> task<> {
                    n = co_await scripted(where, 0, a, 0, h);
                }(k, at, how, count));
        }
}

// ---- reading pauses -----------------------------------------------------------------------------------------------

TEST_CASE("receiving pauses when more than read_limit is unread, and goes on when it is read", "[sizes]")
{
    on_each([](kind k) -> task<> {
        std::size_t const before = lent_blocks();
        auto options = quiet_server();
        options.read_limit = 8 * 1024;
        auto both = co_await raw_client(k, options, {.small_buffers = true});
        byte_string all;
        for (int i = 0; i < 2000; ++i)
            append(all, masked(0x82, std::to_string(i) + std::string(1000, 'x')));
        bool sent = false;
        scope peer;
        peer.spawn([](stream& s, byte_string bytes, bool& done) -> task<> {
            co_await send(s, std::move(bytes));
            done = true;
        }(both.raw, all, sent));
        for (int round = 0; round < 50; ++round)
            co_await turns(10);
        CHECK(!sent); // 2 MB can't have been taken in
        CHECK(lent_blocks() < before + 64);
        for (int i = 0; i < 2000; ++i) {
            auto const m = co_await both.ws.read();
            if (!m || !m->text().starts_with(std::to_string(i) + "x")) {
                CHECK(m.has_value());
                CHECK(false);
                break;
            }
        }
        co_await peer.join();
        CHECK(sent);
        both.ws.abort();
    });
}

TEST_CASE("with a limit of one byte every message still arrives")
{
    on_loop([]() -> task<> {
        auto options = quiet_server();
        options.read_limit = 1;
        auto both = co_await raw_client(kind::memory, options, {.chunk = 10});
        byte_string all;
        for (int i = 0; i < 100; ++i)
            append(all, masked(0x81, std::to_string(i)));
        co_await send(both.raw, all + masked(0x88));
        for (int i = 0; i < 100; ++i) {
            co_await turns(3);
            auto const m = co_await next_message(both.ws);
            CHECK(m == "text " + std::to_string(i));
        }
        auto const end = co_await both.ws.read();
        CHECK(end.error() == ws::closed);
    }());
}

TEST_CASE("without a read limit all is taken in")
{
    on_loop([]() -> task<> {
        auto options = quiet_server();
        options.read_limit = 0;
        auto both = co_await raw_client(kind::memory, options);
        byte_string all;
        for (int i = 0; i < 300; ++i)
            append(all, masked(0x82, std::string(1000, 'x')));
        co_await send(both.raw, all);
        both.raw.shutdown();
        co_await turns(20);
        CHECK(!both.ws.is_open());
        int count = 0;
        while (auto m = co_await both.ws.read())
            ++count;
        CHECK(count == 300);
    }());
}

TEST_CASE("small messages that nobody reads do not hold a buffer each")
{
    on_loop([]() -> task<> {
        std::size_t const before = lent_blocks();
        auto both = co_await raw_client(kind::memory, quiet_server(), {.chunk = 7});
        byte_string all;
        for (int i = 0; i < 400; ++i)
            append(all, masked(0x81, "x")); // 7 bytes, so each comes in a buffer of its own
        co_await send(both.raw, all);
        co_await turns(1000);
        CHECK(lent_blocks() < before + 8);
        for (int i = 0; i < 400; ++i) {
            auto const m = co_await next_message(both.ws);
            CHECK(m == "text x");
        }
        both.ws.abort();
    }());
}

TEST_CASE("an idle connection holds no buffer")
{
    on_loop([]() -> task<> {
        std::size_t const before = lent_blocks();
        auto both = co_await open_pair();
        scope echoing;
        echoing.spawn(echo(both.server));
        for (std::size_t size : {10U, 1000U, 100'000U}) {
            auto const bytes = pattern(size);
            auto const sent = co_await both.client.write(bytes);
            CHECK(sent.has_value());
            auto const back = co_await both.client.read();
            CHECK(back.value().payload.size() == size);
        }
        auto const nothing = co_await timeout(1ms, both.client.read());
        CHECK(nothing.error() == errc::timed_out);
        CHECK(lent_blocks() == before);
        both.client.abort();
        co_await echoing.join();
    }());
}

// ---- limits -------------------------------------------------------------------------------------------------------

namespace {

/// Sends `bytes`; gives the close code of the answer, or 0 where all of `messages` were read.
task<unsigned> answer_to(byte_string bytes, ws::upgrade_options options, std::size_t messages, std::error_code expected)
{
    auto both = co_await raw_client(kind::memory, options, {.chunk = 333});
    scope peer;
    peer.spawn(send(both.raw, std::move(bytes)));
    for (std::size_t i = 0; i < messages; ++i) {
        auto const m = co_await both.ws.read();
        CHECK(m.has_value());
    }
    if (!expected) {
        co_await peer.join();
        both.ws.abort();
        co_return 0;
    }
    auto const end = co_await both.ws.read();
    CHECK(end.error() == expected);
    CHECK(both.ws.status().error == expected);
    CHECK(!both.ws.status().closed_by_peer);
    auto const close = co_await read_wire(both.raw);
    both.raw.shutdown();
    co_await peer.join();
    CHECK(static_cast<unsigned>(both.ws.status().code) == close.close_code());
    co_return close.close_code();
}

unsigned close_code_for(byte_string bytes, std::error_code expected, ws::upgrade_options options = quiet_server(),
                        std::size_t messages = 0)
{
    unsigned code = 0;
    on_loop([](unsigned& c, byte_string b, std::error_code e, ws::upgrade_options o, std::size_t n) -> task<> {
        c = co_await answer_to(std::move(b), o, n, e);
    }(code, std::move(bytes), expected, options, messages));
    return code;
}

byte_string fragments(std::size_t count, std::string_view each)
{
    byte_string all = masked(0x02, each);
    for (std::size_t i = 1; i < count; ++i)
        append(all, masked(i + 1 == count ? 0x80 : 0x00, each));
    return all;
}

} // namespace

TEST_CASE("each violation is answered with the code of the map")
{
    struct
    {
        char const* what;
        byte_string bytes;
        unsigned code;
        proto::errc rule;
    } const rows[] = {
        {"reserved bit 1", masked(0xC1, "a"), 1002, proto::errc::reserved_bit},
        {"reserved bit 2", masked(0xA1, "a"), 1002, proto::errc::reserved_bit},
        {"reserved opcode", masked(0x83, "a"), 1002, proto::errc::reserved_opcode},
        {"reserved control opcode", masked(0x8B, "a"), 1002, proto::errc::reserved_opcode},
        {"length not minimal", from_hex("82 FE 00 05 01 02 03 04"), 1002, proto::errc::length_not_minimal},
        {"length with its highest bit", from_hex("82 FF 80 00 00 00 00 00 00 00 01 02 03 04"), 1002,
         proto::errc::length_msb},
        {"fragmented ping", masked(0x09, "a"), 1002, proto::errc::control_fragmented},
        {"ping of 126 bytes", masked(0x89, std::string(126, 'a')), 1002, proto::errc::control_too_long},
        {"unmasked", unmasked(0x81, "a"), 1002, proto::errc::mask_missing},
        {"stray continuation", masked(0x80, "a"), 1002, proto::errc::continuation_stray},
        {"missing continuation", masked(0x01, "a") + masked(0x81, "b"), 1002, proto::errc::continuation_expected},
        {"close of 1 byte", masked(0x88, "a"), 1002, proto::errc::close_payload_short},
        {"close code 999", masked(0x88, close_payload(999)), 1002, proto::errc::close_code_invalid},
        {"close code 1005", masked(0x88, close_payload(1005)), 1002, proto::errc::close_code_invalid},
        {"close code 1006", masked(0x88, close_payload(1006)), 1002, proto::errc::close_code_invalid},
        {"close code 5000", masked(0x88, close_payload(5000)), 1002, proto::errc::close_code_invalid},
        {"close reason not UTF-8", masked(0x88, close_payload(1000, "\xFF")), 1007, proto::errc::utf8_close_reason},
        {"text not UTF-8", masked(0x81, "\xC0\x80"), 1007, proto::errc::utf8_text},
        {"text cut short", masked(0x81, "\xE2\x82"), 1007, proto::errc::utf8_text},
        {"text not UTF-8, never finished", masked(0x01, "\xFF"), 1007, proto::errc::utf8_text},
    };
    for (auto const& row : rows) {
        INFO(row.what);
        CHECK(close_code_for(row.bytes, violation(row.rule)) == row.code);
        CHECK(close_code_for(masked(0x81, "before") + row.bytes, violation(row.rule), quiet_server(), 1) == row.code);
    }
}

TEST_CASE("a client answers a masked frame with 1002")
{
    on_loop([]() -> task<> {
        auto both = co_await raw_server();
        co_await send(both.raw, masked(0x81, "a"));
        auto const end = co_await both.ws.read();
        CHECK(end.error() == violation(proto::errc::mask_unexpected));
        auto const close = co_await read_wire(both.raw);
        CHECK(close.close_code() == 1002);
        CHECK(close.masked);
        CHECK(close.reason() == proto::message(proto::errc::mask_unexpected));
    }());
}

TEST_CASE("message and frame limits are exact")
{
    auto options = quiet_server();
    options.max_message = 1000;
    options.max_frame = 600;
    auto const too_large = violation(proto::errc::message_too_large);
    CHECK(close_code_for(masked(0x82, std::string(600, 'x')), {}, options, 1) == 0);
    CHECK(close_code_for(masked(0x82, std::string(601, 'x')), violation(proto::errc::frame_too_large), options) ==
          1009);
    CHECK(close_code_for(fragments(2, std::string(500, 'x')), {}, options, 1) == 0);
    CHECK(close_code_for(fragments(2, std::string(500, 'x')) + masked(0x82, std::string(600, 'x')), {}, options, 2) ==
          0);
    CHECK(close_code_for(masked(0x02, std::string(500, 'x')) + masked(0x80, std::string(501, 'x')), too_large,
                         options) == 1009);
    CHECK(close_code_for(masked(0x02, std::string(600, 'x')) + masked(0x00, std::string(600, 'x')), too_large,
                         options) == 1009);
    options.max_message = options.max_frame = 0;
    CHECK(close_code_for(masked(0x82, std::string(2 << 20, 'x')), {}, options, 1) == 0);
}

TEST_CASE("the fragment limit is exact and counts empty ones")
{
    auto options = quiet_server();
    options.max_fragments = 10;
    CHECK(close_code_for(fragments(10, "x"), {}, options, 1) == 0);
    CHECK(close_code_for(fragments(10, ""), {}, options, 1) == 0);
    CHECK(close_code_for(fragments(11, "x"), violation(proto::errc::too_many_fragments), options) == 1008);
    CHECK(close_code_for(fragments(11, ""), violation(proto::errc::too_many_fragments), options) == 1008);
    options.max_fragments = 0;
    CHECK(close_code_for(fragments(5000, ""), {}, options, 1) == 0);
    CHECK(close_code_for(fragments(1025, ""), violation(proto::errc::too_many_fragments)) == 1008); // the default
}

TEST_CASE("promised lengths are refused or waited for, never allocated")
{
    struct
    {
        char const* header;
        proto::errc rule;
        unsigned code;
    } const rows[] = {
        {"82 FF 80 00 00 00 00 00 00 00 00 00 00 00", proto::errc::length_msb, 1002},
        {"82 FF FF FF FF FF FF FF FF FF 00 00 00 00", proto::errc::length_msb, 1002},
        {"82 FF FF FF FF FF FF FF FF FC 00 00 00 00", proto::errc::length_msb, 1002},
        {"82 FF 7F FF FF FF FF FF FF FF 00 00 00 00", proto::errc::frame_too_large, 1009},
        {"82 FF 00 00 00 01 00 00 00 00 00 00 00 00", proto::errc::frame_too_large, 1009},
        {"82 FF 00 00 00 00 00 10 00 01 00 00 00 00", proto::errc::frame_too_large, 1009},
    };
    for (auto const& row : rows) {
        INFO(row.header);
        CHECK(close_code_for(from_hex(row.header), violation(row.rule)) == row.code);
    }
    on_loop([]() -> task<> { // allowed, promised, never sent
        std::size_t const before = lent_blocks();
        auto options = quiet_server();
        options.max_message = options.max_frame = 0;
        auto both = co_await raw_client(kind::memory, options);
        co_await send(both.raw, from_hex("82 FF 7F FF FF FF FF FF FF FF 00 00 00 00") + from_text("abc"));
        auto const nothing = co_await timeout(5ms, both.ws.read());
        CHECK(nothing.error() == errc::timed_out);
        CHECK(lent_blocks() <= before + 2);
        both.ws.abort();
    }());
}

TEST_CASE("a message for which there is no memory is answered with 1011, and ends only its connection", "[sizes]")
{
    on_loop([]() -> task<> {
        auto both = co_await raw_client();
        auto other = co_await raw_client();
        // Fills the free lists of what is needed besides: buffers in memory, pieces of the send queue.
        co_await send(both.raw, masked(0x82, std::string(200'000, 'a')));
        auto const warm = co_await next_message(both.ws);
        CHECK(warm.size() > 200'000);
        auto const sent = co_await both.ws.write("b");
        CHECK(sent.has_value());
        auto const got = co_await read_wire(both.raw);
        CHECK(got.payload == "b");
        co_await send(both.raw, masked(0x82, "small")); // the large one's memory goes back to the loop
        auto const small = co_await next_message(both.ws);
        CHECK(small == "binary small");

        co_await send(both.raw, masked(0x02, std::string(100'000, 'c')));
        test::malloc_fails = true;
        auto& blocks = detail::loop_core::require().blocks();
        std::vector<engine::block_ref> kept; // what the loop has of large ones
        while (auto* const b = blocks.take(100'000))
            kept.push_back(engine::block_ref(b));
        auto const m = co_await both.ws.read();
        test::malloc_fails = false;
        CHECK(m.error() == std::errc::not_enough_memory);
        CHECK(both.ws.status().error == std::errc::not_enough_memory);
        auto const close = co_await read_wire(both.raw);
        CHECK(close.close_code() == 1011);
        CHECK(close.reason() == "out of memory");

        co_await send(other.raw, masked(0x81, "well"));
        auto const unharmed = co_await next_message(other.ws);
        CHECK(unharmed == "text well");
        other.ws.abort();
    }());
}

TEST_CASE("text is checked across fragments and cuts")
{
    std::string const text = "\xE2\x82\xAC \xF0\x9F\x98\x80"; // a euro sign and a face
    byte_string all;
    for (std::size_t i = 0; i < text.size(); ++i)
        append(all, masked((i == 0 ? 1U : 0U) | (i + 1 == text.size() ? 0x80U : 0U), text.substr(i, 1)));
    CHECK(close_code_for(all, {}, quiet_server(), 1) == 0);
    CHECK(close_code_for(masked(0x01, "\xE2\x82") + masked(0x80, "\x41"), violation(proto::errc::utf8_text)) == 1007);
}

TEST_CASE("nothing is parsed behind a violation")
{
    on_loop([]() -> task<> {
        auto both = co_await raw_client();
        co_await send(both.raw,
                      masked(0x81, "good") + unmasked(0x81, "bad") + masked(0x81, "after") + masked(0x89, "p"));
        auto const m = co_await next_message(both.ws);
        CHECK(m == "text good");
        auto const end = co_await both.ws.read();
        CHECK(end.error() == violation(proto::errc::mask_missing));
        auto const close = co_await read_wire(both.raw);
        CHECK(close.close_code() == 1002);
        both.raw.shutdown();
        auto const rest = co_await read_rest(both.raw);
        CHECK(rest.empty());
    }());
}

// ---- pings and pongs ----------------------------------------------------------------------------------------------

TEST_CASE("a ping is answered with its payload, without a reader")
{
    on_each([](kind k) -> task<> {
        auto both = co_await raw_client(k);
        for (std::string const& payload : {std::string(), std::string("hello"), std::string(125, 'p')}) {
            co_await send(both.raw, masked(0x89, payload));
            auto const pong = co_await read_wire(both.raw);
            CHECK(pong.first == 0x8A);
            CHECK(pong.payload == payload);
            CHECK(!pong.masked);
        }
        both.ws.abort();
    });
}

TEST_CASE("a ping behind unread messages is answered")
{
    on_each([](kind k) -> task<> {
        auto both = co_await raw_client(k);
        co_await send(both.raw, masked(0x81, "unread") + masked(0x02, "half") + masked(0x89, "p"));
        auto const pong = co_await read_wire(both.raw);
        CHECK(pong.payload == "p");
        auto const m = co_await next_message(both.ws);
        CHECK(m == "text unread");
        both.ws.abort();
    });
}

TEST_CASE("pings that come at once are each answered, in their order")
{
    on_each([](kind k) -> task<> {
        auto both = co_await raw_client(k);
        byte_string all;
        for (int i = 0; i < 50; ++i)
            append(all, masked(0x89, std::to_string(i)));
        co_await send(both.raw, all);
        for (int i = 0; i < 50; ++i) {
            auto const pong = co_await read_wire(both.raw);
            CHECK(pong.first == 0x8A);
            CHECK(pong.payload == std::to_string(i));
        }
        both.ws.abort();
    });
}

TEST_CASE("a ping is answered before what is written in answer to what comes behind it")
{
    on_each([](kind k) -> task<> {
        auto both = co_await raw_client(k);
        scope echoing;
        echoing.spawn(echo(both.ws));
        co_await send(both.raw, masked(0x01, "one ") + masked(0x89, "p") + masked(0x80, "two") + masked(0x89, "q") +
                                    masked(0x82, "three"));
        for (auto const* expected : {"p", "one two", "q", "three"}) {
            auto const f = co_await read_wire(both.raw);
            CHECK(f.payload == expected);
        }
        both.ws.abort();
        co_await echoing.join();
    });
}

TEST_CASE("the pong that waits for room goes before a close frame", "[sizes]")
{
    on_each([](kind k) -> task<> {
        for (bool const violation : {false, true}) {
            auto both = co_await raw_client(k);
            scope echoing;
            echoing.spawn(echo(both.ws));
            auto const last = masked(violation ? 0x83 : 0x88);
            co_await send(both.raw, masked(0x82, std::string(300'000, 'x')) + masked(0x89, "p") + masked(0x89, "q") + last);
            co_await turns(20); // all of it is queued
            std::string pongs;
            auto f = co_await read_wire(both.raw);
            for (; !f.end && f.first != 0x88; f = co_await read_wire(both.raw))
                if (f.first == 0x8A)
                    pongs += f.payload;
            CHECK(pongs == "pq");
            CHECK(f.first == 0x88);
            both.raw.shutdown();
            co_await echoing.join();
        }
    });
}

TEST_CASE("of more pings at once than there is room for pongs the newest is answered", "[sizes]")
{
    on_loop([]() -> task<> {
        auto both = co_await raw_client();
        byte_string all;
        for (int i = 1000; i < 2000; ++i)
            append(all, masked(0x89, std::to_string(i)));
        co_await send(both.raw, all);
        std::string last;
        int pongs = 0;
        while (last != "1999") {
            auto const pong = co_await read_wire(both.raw);
            if (pong.end)
                break;
            CHECK(pong.payload > last);
            last = pong.payload;
            ++pongs;
        }
        CHECK(last == "1999");
        CHECK(pongs < 1000);
        co_await send(both.raw, masked(0x89, "after"));
        auto const after = co_await read_wire(both.raw);
        CHECK(after.payload == "after");
        both.ws.abort();
    }());
}

TEST_CASE("unsolicited pongs are ignored")
{
    on_each([](kind k) -> task<> {
        auto both = co_await raw_client(k);
        byte_string all;
        for (int i = 0; i < 1000; ++i)
            append(all, masked(0x8A, "12345678"));
        co_await send(both.raw, all + masked(0x8A) + masked(0x81, "after"));
        auto const m = co_await next_message(both.ws);
        CHECK(m == "text after");
        CHECK(both.ws.status().round_trip == duration::zero());
        both.ws.abort();
    });
}

// With tiny buffers every ping gets a pong of its own: they fill the peer's receive buffer, and its TCP, out of memory,
// no longer hears what this side acknowledges.
TEST_CASE("a flood of pings from a peer that never reads holds a bounded amount of memory", "[sizes]")
{
    on_each([](kind k) -> task<> {
        auto both = co_await raw_client(k, quiet_server(), {.small_buffers = true});
        byte_string part;
        for (int i = 0; i < 100; ++i)
            append(part, masked(0x89, std::string(125, 'p')));
        std::size_t most = 0;
        for (int i = 0; i < 1000; ++i) { // 10^5 pings
            co_await send(both.raw, part);
            most = std::max(most, both.ws.buffered());
        }
        CHECK(most <= 1024 + 131); // a few pongs queued, and one that waits is kept elsewhere
        CHECK(both.ws.is_open());
        // When the peer reads again, the newest ping is answered.
        co_await send(both.raw, masked(0x89, "newest"));
        std::string last;
        while (last != "newest") {
            auto const pong = co_await read_wire(both.raw);
            if (pong.end)
                break;
            CHECK(pong.first == 0x8A);
            last = pong.payload;
        }
        CHECK(last == "newest");
        both.ws.abort();
    });
}

TEST_CASE("pings are answered while a message is under way to a slow reader")
{
    on_loop([]() -> task<> {
        auto options = quiet_server();
        options.send_limit = 30'000;
        auto both = co_await raw_client(kind::memory, options, {.small_buffers = true});
        std::string const large(10'000, 'x');
        std::string received;
        int pongs = 0;
        auto writer = [](ws::connection& ws, std::string const& text, int count) -> task<> {
            for (int i = 0; i < count; ++i) {
                auto const sent = co_await ws.write(text);
                CHECK(sent.has_value());
            }
        };
        scope writing;
        writing.spawn(writer(both.ws, large, 200)); // the queue is never empty from here on
        for (int i = 0; i < 200;) {
            co_await send(both.raw, masked(0x89, "still there?"));
            auto const f = co_await read_wire(both.raw);
            if (f.end)
                break;
            if (f.first == 0x8A)
                ++pongs;
            else
                ++i;
        }
        co_await writing.join();
        CHECK(pongs > 1);
        both.ws.abort();
    }());
}

// ---- memory --------------------------------------------------------------------------------------------------------

TEST_CASE("what waits for more, or for a reader, holds no receive buffer while it is little", "[sizes]")
{
    for (kind k : {kind::memory, kind::tcp, kind::unix_path}) {
        on_loop([](kind which) -> task<> {
            auto& blocks = detail::loop_core::require().blocks();
            auto const large = [&] { return blocks.lent() - blocks.lent_small(); };
            std::vector<raw_pair> peers;
            for (int i = 0; i < 60; ++i) {
                auto peer = co_await raw_client(which);
                peers.push_back(std::move(peer));
            }
            co_await turns(5);
            auto const before = large(); // lent to the kernel
            byte_string const parts[] = {from_hex("81"), from_hex("89 E4 00000000 6869"), make_frame(0x01, from_text("begun"), true)};
            for (std::size_t i = 0; i < peers.size(); ++i) {
                auto const sent = co_await peers[i].raw.write(parts[i % std::size(parts)]);
                CHECK(sent);
                co_await turns(2);
            }
            co_await turns(5);
            CHECK(large() <= before + 16); // the kernel may have got more of them
            for (auto& p : peers)
                p.ws.abort();
        }(k));
    }
}
