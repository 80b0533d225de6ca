// SPDX-License-Identifier: BSL-1.0
#include "harness.hpp"

#include "core/allocations.hpp"
#include "ws/shared_message.hpp"

#include <atomic>
#include <mutex>
#include <sys/socket.h>

namespace {
std::atomic<std::size_t> sends_done_at_once{0};
}

// By the linker's --wrap, of what goes past the ring: send() with MSG_DONTWAIT.
extern "C" {
ssize_t __real_send(int fd, void const* bytes, std::size_t n, int flags);
ssize_t __wrap_send(int fd, void const* bytes, std::size_t n, int flags);
ssize_t __wrap_send(int fd, void const* bytes, std::size_t n, int flags)
{
    ++sends_done_at_once;
    return __real_send(fd, bytes, n, flags);
}
}

using namespace ws_test;

namespace {

task<> write_text(ws::connection& ws, std::string text, std::vector<std::string>* done = nullptr)
{
    auto const sent = co_await ws.write(text);
    if (done)
        done->push_back(sent ? text.substr(0, 8) : sent.error().message());
}

task<> write_frame(ws::connection& ws, ws::opcode op, bool fin, std::string text, std::error_code* error = nullptr)
{
    auto const sent = co_await ws.write_frame({op, fin, std::as_bytes(std::span(text))});
    if (error)
        *error = sent.error();
    else
        CHECK(sent.has_value());
}

/// Reads one frame's head and payload in one line: "81 hello".
task<std::string> wire_line(stream& s)
{
    auto const f = co_await read_wire(s);
    if (f.end)
        co_return "end: " + f.end.message();
    char head[4];
    std::snprintf(head, sizeof head, "%02X ", f.first);
    co_return head + f.payload;
}

} // namespace

TEST_CASE("a server's frames have the right bytes")
{
    on_each([](kind k) -> task<> {
        auto both = co_await raw_client(k);
        auto const text = co_await both.ws.write("hello");
        CHECK(text.has_value());
        std::byte const bytes[] = {std::byte{0}, std::byte{255}};
        auto const binary = co_await both.ws.write(std::span<std::byte const>(bytes));
        CHECK(binary.has_value());
        auto const empty = co_await both.ws.write("");
        CHECK(empty.has_value());
        auto const again = co_await both.ws.write(ws::message{true, std::as_bytes(std::span("m", 1))});
        CHECK(again.has_value());
        std::byte wire[7 + 4 + 2 + 3];
        auto const got = co_await both.raw.read(wire);
        CHECK(to_text(got.value()) == std::string("\x81\x05hello\x82\x02\0\xFF\x81\0\x81\x01m", 16));
        both.ws.abort();
    });
}

TEST_CASE("a client's frames are masked, each with a key of its own")
{
    on_each([](kind k) -> task<> {
        auto both = co_await raw_server(k);
        std::vector<std::uint32_t> keys;
        for (std::size_t size : {0U, 5U, 126U, 5000U, 65'536U, 200'000U}) {
            std::string const text(size, 'c');
            scope writing;
            writing.spawn(write_text(both.ws, text));
            auto const f = co_await read_wire(both.raw);
            CHECK(f.first == 0x81);
            CHECK(f.masked);
            CHECK(f.payload == text);
            keys.push_back(f.key);
            co_await writing.join();
        }
        auto const shared = ws::shared_message::text(std::string(1000, 's'));
        for (int i = 0; i < 2; ++i) {
            CHECK(both.ws.post(shared) == ws::posted::queued);
            auto const f = co_await read_wire(both.raw);
            CHECK(f.masked);
            CHECK(f.payload == std::string(1000, 's'));
            keys.push_back(f.key);
        }
        std::sort(keys.begin(), keys.end());
        CHECK(std::adjacent_find(keys.begin(), keys.end()) == keys.end());
        both.ws.abort();
    });
}

TEST_CASE("messages of every size go out whole, in order")
{
    on_each([](kind k) -> task<> {
        for (bool server : {true, false}) {
            auto both = co_await open_pair(k);
            auto& from = server ? both.server : both.client;
            auto& to = server ? both.client : both.server;
            std::size_t const sizes[] = {0,      1,      125,    126,    4000,    4096,   16'383, 16'384,
                                         16'385, 65'535, 65'536, 65'537, 200'000, test::load(1 << 20, 100'000)};
            scope writing;
            writing.spawn([](ws::connection& ws, std::span<std::size_t const> all) -> task<> {
                for (std::size_t size : all) {
                    auto const bytes = pattern(size);
                    auto const sent = co_await ws.write(bytes);
                    CHECK(sent.has_value());
                }
            }(from, sizes));
            for (std::size_t size : sizes) {
                auto const m = co_await to.read();
                CHECK(m.value().payload.size() == size);
                CHECK(to_text(m->payload) == to_text(pattern(size)));
            }
            co_await writing.join();
            from.abort();
        }
    });
}

TEST_CASE("the bytes given to write() need to live only until it returns")
{
    on_each([](kind k) -> task<> {
        for (std::size_t size : {100U, 10'000U, 300'000U}) {
            auto both = co_await open_pair(k, quiet_server(), quiet_client(), {.small_buffers = true});
            scope writing;
            writing.spawn([](ws::connection& ws, std::size_t n) -> task<> {
                for (char c = 'a'; c < 'e'; ++c) {
                    auto text = std::make_unique<std::string>(n, c);
                    auto const sent = co_await ws.write(*text);
                    CHECK(sent.has_value());
                    std::fill(text->begin(), text->end(), '!');
                    text.reset();
                }
            }(both.server, size));
            for (char c = 'a'; c < 'e'; ++c) {
                auto const m = co_await both.client.read();
                bool const same = m && m->text() == std::string(size, c);
                CHECK(same);
            }
            co_await writing.join();
            both.server.abort();
        }
    });
}

TEST_CASE("what was read is sent as it was, though the next read comes before it has left")
{
    on_each([](kind k) -> task<> {
        auto both = co_await raw_client(k);
        std::vector<std::string> texts;
        std::size_t const sizes[] = {300, 15'000, test::load(70'000, 20'000)};
        for (std::size_t i = 0; i < 40; ++i)
            texts.emplace_back(sizes[i % 3], static_cast<char>('A' + i));
        scope children;
        children.spawn([](stream& s, std::vector<std::string> const& all) -> task<> {
            for (auto const& text : all)
                co_await send(s, masked(0x82, text));
        }(both.raw, texts));
        children.spawn([](ws::connection& ws) -> task<> {
            while (auto const frame = co_await ws.read_frame())
                if (!co_await ws.write_frame(*frame))
                    break;
        }(both.ws));
        for (auto const& text : texts) {
            std::string got;
            for (bool fin = false; !fin;) {
                auto const f = co_await read_wire(both.raw);
                fin = (f.first & 0x80) != 0 || f.end;
                got += f.payload;
            }
            CHECK(got == text);
        }
        both.ws.abort();
        co_await children.join();
    });
}

TEST_CASE("frames written in one turn leave in one send", "[sizes]")
{
    on_loop([]() -> task<> {
        auto both = co_await raw_client();
        scope writers;
        for (int i = 0; i < 50; ++i)
            writers.spawn(write_text(both.ws, "message " + std::to_string(i)));
        auto const shared = ws::shared_message::text(std::string(300, 's'));
        CHECK(both.ws.post(shared) == ws::posted::queued);
        // In memory one send arrives as one piece.
        std::vector<std::byte> piece(16 * 1024);
        auto const got = co_await both.raw.read_some(piece);
        std::string expected;
        expected += "\x81\x7E\x01\x2C" + std::string(300, 's');
        for (int i = 0; i < 50; ++i) {
            std::string const text = "message " + std::to_string(i);
            expected += "\x81" + std::string(1, static_cast<char>(text.size())) + text;
        }
        CHECK(to_text(got.value()) == expected);
        co_await writers.join();
        both.ws.abort();
    }());
}

TEST_CASE("small messages posted in one turn leave in one send, and cost little more than their bytes", "[sizes]")
{
    on_loop([]() -> task<> {
        auto both = co_await raw_client();
        std::string expected;
        for (int i = 0; i < 100; ++i) {
            auto const m = ws::shared_message::text("posted " + std::to_string(i));
            CHECK(both.ws.post(m) == ws::posted::queued);
            expected += "\x81" + std::string(1, static_cast<char>(m.size())) + "posted " + std::to_string(i);
        }
        std::vector<std::byte> piece(16 * 1024);
        auto const got = co_await both.raw.read_some(piece);
        CHECK(to_text(got.value()) == expected);

        auto options = quiet_server();
        auto never_read = co_await raw_client(kind::memory, options, {.small_buffers = true});
        auto const tiny = ws::shared_message::text("x");
        co_await turns(3);
        std::size_t const before = test::mallocs + test::news;
        std::size_t posted = 0;
        while (never_read.ws.post(tiny) == ws::posted::queued)
            ++posted;
        CHECK(posted > options.send_limit / 3 - 10);
        CHECK(test::mallocs + test::news - before < 1000); // pieces of some KiB
        never_read.ws.abort();
        both.ws.abort();
    }());
}

TEST_CASE("small sends of many connections are submitted together, large ones done at once", "[sizes]")
{
    on_loop([]() -> task<> {
        std::vector<raw_pair> pairs;
        for (int i = 0; i < 20; ++i) {
            auto both = co_await raw_client(kind::unix_path);
            pairs.push_back(std::move(both));
        }
        bool const uring = this_loop().engine() == engine_kind::uring;
        for (std::size_t size : {100U, 20'000U}) {
            auto const m = ws::shared_message::text(std::string(size, 'm'));
            std::size_t const before = sends_done_at_once;
            for (auto& p : pairs)
                CHECK(p.ws.post(m) == ws::posted::queued);
            co_await turns(2);
            CHECK(sends_done_at_once - before == (uring && size == 100 ? 0 : pairs.size()));
            for (auto& p : pairs) {
                auto const f = co_await read_wire(p.raw);
                CHECK(f.payload.size() == size);
            }
        }
        for (auto& p : pairs)
            p.ws.abort();
    }());
}

TEST_CASE("any number of coroutines write, first come, first out, whole messages")
{
    on_each([](kind k) -> task<> {
        auto options = quiet_server();
        options.send_limit = 5000;
        auto both = co_await raw_client(k, options, {.small_buffers = true});
        scope writers;
        std::vector<std::string> done;
        for (int i = 0; i < 40; ++i)
            writers.spawn(
                write_text(both.ws, std::to_string(1000 + i) + std::string(i % 3 == 0 ? 20'000 : 500, 'x'), &done));
        for (int i = 0; i < 40; ++i) {
            auto const f = co_await read_wire(both.raw);
            CHECK(f.first == 0x81);
            CHECK(f.payload.substr(0, 5) == std::to_string(1000 + i) + "x");
            CHECK(f.payload.size() == (i % 3 == 0 ? 20'004U : 504U));
        }
        co_await writers.join();
        CHECK(done.size() == 40);
        CHECK(both.ws.buffered() == 0);
        both.ws.abort();
    });
}

// ---- fragments ----------------------------------------------------------------------------------------------------

TEST_CASE("other messages wait until a message in frames is complete, control frames do not")
{
    on_loop([]() -> task<> {
        auto both = co_await raw_client();
        co_await write_frame(both.ws, ws::opcode::text, false, "one,");
        scope others;
        std::vector<std::string> done;
        others.spawn(write_text(both.ws, "waiting", &done));
        auto const shared = ws::shared_message::text("posted");
        co_await turns(2);
        CHECK(both.ws.post(shared) == ws::posted::queued);
        co_await send(both.raw, masked(0x89, "ping"));
        co_await turns(2);
        CHECK(done.empty());
        co_await write_frame(both.ws, ws::opcode::continuation, false, "two,");
        co_await turns(2);
        CHECK(done.empty());
        co_await write_frame(both.ws, ws::opcode::continuation, true, "three");
        co_await others.join();
        CHECK(done.size() == 1);
        for (char const* expected : {"01 one,", "8A ping", "00 two,", "80 three", "81 waiting", "81 posted"}) {
            auto const line = co_await wire_line(both.raw);
            CHECK(line == expected);
        }
        both.ws.abort();
    }());
}

TEST_CASE("large frames of one message keep their order")
{
    on_each([](kind k) -> task<> {
        auto both = co_await open_pair(k, quiet_server(), quiet_client(), {.small_buffers = true});
        scope writing;
        writing.spawn([](ws::connection& ws) -> task<> {
            co_await write_frame(ws, ws::opcode::binary, false, std::string(50'000, 'a'));
            co_await write_frame(ws, ws::opcode::continuation, false, std::string(10, 'b'));
            co_await write_frame(ws, ws::opcode::continuation, false, "");
            co_await write_frame(ws, ws::opcode::continuation, true, std::string(50'000, 'c'));
        }(both.server));
        auto const m = co_await both.client.read();
        CHECK(m.value().text() == std::string(50'000, 'a') + std::string(10, 'b') + std::string(50'000, 'c'));
        co_await writing.join();
        both.server.abort();
    });
}

TEST_CASE("a continuation where no message is open is refused")
{
    on_loop([]() -> task<> {
        auto both = co_await raw_client();
        std::error_code error;
        co_await write_frame(both.ws, ws::opcode::continuation, true, "x", &error);
        CHECK(error == ws::errc::no_message);
        co_await write_frame(both.ws, ws::opcode::text, true, "whole");
        co_await write_frame(both.ws, ws::opcode::continuation, true, "x", &error);
        CHECK(error == ws::errc::no_message);
        co_await write_frame(both.ws, ws::opcode::text, false, "a");
        co_await write_frame(both.ws, ws::opcode::continuation, true, "b");
        co_await write_frame(both.ws, ws::opcode::continuation, true, "c", &error);
        CHECK(error == ws::errc::no_message);
        for (char const* expected : {"81 whole", "01 a", "80 b"}) {
            auto const line = co_await wire_line(both.raw);
            CHECK(line == expected);
        }
        both.ws.abort();
    }());
}

TEST_CASE("a continuation that waited for room behind the end of its message is refused, and blocks nobody")
{
    on_loop([]() -> task<> {
        auto options = quiet_server();
        options.send_limit = 10;
        auto both = co_await raw_client(kind::memory, options, {.small_buffers = true});
        co_await write_frame(both.ws, ws::opcode::text, false, std::string(9000, 'a')); // more than the pair holds
        scope writers;
        std::error_code first;
        std::error_code second;
        std::vector<std::string> done;
        writers.spawn(write_frame(both.ws, ws::opcode::continuation, true, "b", &first));
        writers.spawn(write_frame(both.ws, ws::opcode::continuation, true, "c", &second));
        writers.spawn(write_text(both.ws, "after", &done));
        co_await turns(2);
        CHECK(done.empty());
        auto line = co_await wire_line(both.raw);
        CHECK(line == "01 " + std::string(9000, 'a'));
        line = co_await wire_line(both.raw);
        CHECK(line == "80 b");
        line = co_await wire_line(both.raw);
        CHECK(line == "81 after");
        co_await writers.join();
        CHECK(!first);
        CHECK(second == ws::errc::no_message);
        both.ws.abort();
    }());
}

// ---- back pressure ------------------------------------------------------------------------------------------------

TEST_CASE("write() waits and post() is full while more than send_limit is queued")
{
    on_each([](kind k) -> task<> {
        auto options = quiet_server();
        options.send_limit = 4000;
        auto both = co_await raw_client(k, options, {.small_buffers = true});
        std::string const text(1000, 'x');
        int written = 0;
        scope writer;
        writer.spawn([](ws::connection& ws, std::string const& t, int& count) -> task<> {
            while (count < 100'000) {
                auto const sent = co_await ws.write(t);
                if (!sent)
                    co_return;
                ++count;
            }
        }(both.ws, text, written));
        int before = -1;
        while (before != written) { // until it waits
            before = written;
            co_await turns(20);
        }
        CHECK(written < 100'000);
        CHECK(both.ws.buffered() >= 4000 - 1004);
        CHECK(both.ws.buffered() <= 4000 + 1004);
        auto const shared = ws::shared_message::text(text);
        CHECK(both.ws.post(shared) == ws::posted::full);
        CHECK(shared.rep()->references == 1);
        for (int i = 0; i < before + 100; ++i) {
            auto const f = co_await read_wire(both.raw);
            CHECK(f.payload.size() == 1000);
        }
        CHECK(written > before);
        both.ws.abort();
        co_await writer.join();
    });
}

TEST_CASE("post() takes what fits, and one message larger than the limit where nothing is queued")
{
    on_loop([]() -> task<> {
        auto options = quiet_server();
        options.send_limit = 1000;
        auto both = co_await raw_client(kind::memory, options);
        auto const small = ws::shared_message::text(std::string(400, 's'));
        auto const large = ws::shared_message::text(std::string(5000, 'l'));
        CHECK(both.ws.post(small) == ws::posted::queued);
        CHECK(both.ws.post(small) == ws::posted::queued);
        CHECK(both.ws.post(small) == ws::posted::full);
        CHECK(both.ws.post(large) == ws::posted::full);
        co_await turns(2);
        CHECK(both.ws.buffered() == 0);
        CHECK(both.ws.post(large) == ws::posted::queued);
        CHECK(both.ws.post(small) == ws::posted::full);
        CHECK(both.ws.post({}) == ws::posted::closed);
        co_await turns(2);
        both.ws.abort();
        CHECK(both.ws.post(small) == ws::posted::closed);
        CHECK(small.rep()->references == 1);
        CHECK(large.rep()->references == 1);
    }());
}

TEST_CASE("posted messages that wait count for the limit")
{
    on_loop([]() -> task<> {
        auto options = quiet_server();
        options.send_limit = 1000;
        auto both = co_await raw_client(kind::memory, options);
        co_await write_frame(both.ws, ws::opcode::text, false, "open");
        co_await turns(2);
        auto const m = ws::shared_message::text(std::string(400, 's'));
        CHECK(both.ws.post(m) == ws::posted::queued);
        CHECK(both.ws.post(m) == ws::posted::queued);
        CHECK(both.ws.post(m) == ws::posted::full);
        CHECK(m.rep()->references == 3);
        co_await write_frame(both.ws, ws::opcode::continuation, true, "");
        for (char const* expected : {"01 open", "80 "}) {
            auto const line = co_await wire_line(both.raw);
            CHECK(line == expected);
        }
        for (int i = 0; i < 2; ++i) {
            auto const f = co_await read_wire(both.raw);
            CHECK(f.payload.size() == 400);
        }
        CHECK(m.rep()->references == 1);
        both.ws.abort();
    }());
}

TEST_CASE("without a send limit nothing waits")
{
    on_loop([]() -> task<> {
        auto options = quiet_server();
        options.send_limit = 0;
        auto both = co_await raw_client(kind::memory, options, {.small_buffers = true});
        for (int i = 0; i < 1000; ++i) {
            auto const sent = co_await timeout(duration::zero(), both.ws.write(std::string_view("0123456789")));
            CHECK(sent.has_value());
        }
        both.ws.abort();
    }());
}

// ---- cancel -------------------------------------------------------------------------------------------------------

TEST_CASE("a canceled write that waits for room sends nothing")
{
    on_loop([]() -> task<> {
        auto options = quiet_server();
        options.send_limit = 100;
        auto both = co_await raw_client(kind::memory, options, {.small_buffers = true});
        std::string const filler(200'000, 'f');
        scope filling;
        filling.spawn(write_text(both.ws, filler));
        co_await turns(2);
        CHECK(both.ws.buffered() > 100);
        scope others;
        std::vector<std::string> done;
        others.spawn(write_text(both.ws, "first", &done));
        auto const canceled = co_await timeout(1ms, both.ws.write("never"));
        CHECK(canceled.error() == errc::timed_out);
        others.spawn(write_text(both.ws, "second", &done));
        auto line = co_await wire_line(both.raw);
        CHECK(line == "81 " + filler);
        line = co_await wire_line(both.raw);
        CHECK(line == "81 first");
        line = co_await wire_line(both.raw);
        CHECK(line == "81 second");
        co_await others.join();
        co_await filling.join();
        both.ws.abort();
    }());
}

TEST_CASE("a canceled large write is still sent whole")
{
    for (int delay : {0, 1, 2, 5})
        for (kind k : kinds) {
            INFO(name_of(k) << ", after " << delay << " turns");
            on_loop([](kind where, int turns_later) -> task<> {
                auto both = co_await raw_client(where, quiet_server(), {.small_buffers = true});
                auto text = std::make_unique<std::string>(500'000, 'l');
                auto writer = std::make_unique<scope>();
                std::error_code end;
                writer->spawn([](ws::connection& ws, std::string_view t, std::error_code& e) -> task<> {
                    auto const sent = co_await ws.write(t);
                    e = sent.error();
                }(both.ws, *text, end));
                scope others;
                std::vector<std::string> done;
                others.spawn(write_text(both.ws, "behind", &done));
                co_await turns(turns_later);
                writer->request_stop();
                co_await writer->join();
                CHECK(end == errc::canceled);
                std::fill(text->begin(), text->end(), '!');
                text.reset();
                auto const f = co_await read_wire(both.raw);
                bool const same = f.payload == std::string(500'000, 'l');
                CHECK(same);
                auto const line = co_await wire_line(both.raw);
                CHECK(line == "81 behind");
                co_await others.join();
                both.ws.abort();
            }(k, delay));
        }
}

TEST_CASE("writers that wait hear of the end")
{
    for (int how : {0, 1, 2, 3}) {
        INFO("way " << how);
        on_loop([](int way) -> task<> {
            auto options = quiet_server();
            options.send_limit = 100;
            auto both = co_await raw_client(kind::memory, options, {.small_buffers = true});
            scope writers;
            std::vector<std::string> done;
            std::error_code large = errc::busy;
            writers.spawn(write_frame(both.ws, ws::opcode::text, true, std::string(50'000, 'f'), &large));
            for (int i = 0; i < 3; ++i)
                writers.spawn(write_text(both.ws, "waiting", &done));
            co_await turns(2);
            CHECK(done.empty());
            if (way == 0)
                both.ws.abort();
            if (way == 1)
                both.raw.abort();
            if (way == 2)
                both.raw.shutdown();
            if (way == 3)
                co_await send(both.raw, masked(0x88, close_payload(1001)));
            if (way == 3) { // what was queued before is still sent
                auto line = co_await wire_line(both.raw);
                CHECK(line == "81 " + std::string(50'000, 'f'));
                line = co_await wire_line(both.raw);
                CHECK(line == "88 \x03\xE9");
            }
            co_await writers.join();
            std::error_code const expected = way == 1   ? std::make_error_code(std::errc::connection_reset)
                                             : way == 2 ? make_error_code(ws::errc::abnormal_closure)
                                                        : make_error_code(ws::closed);
            CHECK(done == std::vector<std::string>(3, both.ws.status().error.message()));
            if (way == 1)
                CHECK(both.ws.status().error == std::errc::connection_reset);
            else
                CHECK(both.ws.status().error == expected);
            if (way != 3)
                CHECK(large == both.ws.status().error);
            auto const late = co_await both.ws.write("late");
            CHECK(late.error() == both.ws.status().error);
        }(how));
    }
}

TEST_CASE("a write to a connection that closes is refused")
{
    on_loop([]() -> task<> {
        auto both = co_await raw_client();
        auto const early = co_await timeout(1ms, both.ws.close());
        CHECK(early.error() == errc::timed_out);
        auto const sent = co_await both.ws.write("late");
        CHECK(sent.error() == ws::closed);
        CHECK(both.ws.post(ws::shared_message::text("late")) == ws::posted::closed);
        auto const ping = co_await both.ws.ping();
        CHECK(ping.error() == ws::closed);
        both.ws.abort();
    }());
}

TEST_CASE("a pending pong goes out when the queue has run empty")
{
    // Whatever the moment at which the pings come, the last one is answered in the end.
    for (std::size_t size : {1000U, 70'000U, 72'000U, 80'000U, 100'000U}) {
        INFO(size);
        on_loop([](std::size_t n) -> task<> {
            auto both = co_await raw_client(kind::memory, quiet_server(), {.small_buffers = true});
            scope writing;
            writing.spawn(write_text(both.ws, std::string(n, 'x')));
            for (int i = 0; i < 5; ++i) {
                co_await send(both.raw, masked(0x89, std::to_string(i)));
                co_await turns(1);
            }
            std::string last;
            while (last != "4") {
                auto const f = co_await timeout(500ms, read_wire(both.raw));
                CHECK(f.has_value());
                if (!f || f->end)
                    break;
                if (f->first == 0x8A)
                    last = f->payload;
            }
            CHECK(last == "4");
            co_await writing.join();
            both.ws.abort();
        }(size));
    }
}

// ---- shared messages ----------------------------------------------------------------------------------------------

TEST_CASE("a shared message reaches many, of either role")
{
    on_each([](kind k) -> task<> {
        std::vector<ws_pair> pairs;
        for (int i = 0; i < 8; ++i) {
            auto pair = co_await open_pair(k);
            pairs.push_back(std::move(pair));
        }
        for (std::size_t size : {0U, 100U, 127U, 128U, 70'000U}) {
            auto const m = ws::shared_message::text(std::string(size, 's'));
            for (auto& p : pairs) {
                CHECK(p.server.post(m) == ws::posted::queued);
                CHECK(p.client.post(m) == ws::posted::queued);
            }
            for (auto& p : pairs) {
                auto const down = co_await p.client.read();
                CHECK(down.value().text() == std::string(size, 's'));
                auto const up = co_await p.server.read();
                CHECK(up.value().text() == std::string(size, 's'));
            }
            co_await turns(2);
            CHECK(m.rep()->references == 1);
        }
        for (auto& p : pairs)
            p.server.abort();
    });
}

namespace {

task<> listen_for(ws::connection& ws, int count, int& good)
{
    for (int i = 0; i < count; ++i) {
        auto const m = co_await ws.read();
        if (m && m->text() == std::string(500, 'x'))
            ++good;
    }
}

struct across
{
    std::mutex mutex;
    std::vector<loop*> loops;
    std::atomic<int> good{0};
    std::atomic<int> waiting{0};
};

/// On each loop: a pair, and a broadcaster that posts to the pairs of both.
task<> on_one_loop(across& shared)
{
    static thread_local ws::connection* here = nullptr;
    auto both = co_await open_pair(kind::memory); // loops of one run() share their ports
    here = &both.server;
    {
        std::lock_guard lock(shared.mutex);
        shared.loops.push_back(&this_loop());
    }
    ++shared.waiting;
    while (shared.waiting < 2) {
        auto const slept = co_await sleep_for(1ms);
        (void)slept;
    }
    int good = 0;
    scope listening;
    listening.spawn(listen_for(both.client, 200, good));
    for (int i = 0; i < 100; ++i) {
        auto const m = ws::shared_message::text(std::string(500, 'x'));
        for (loop* l : shared.loops)
            l->post([m] { (void)here->post(m); });
        co_await turns(1);
    }
    co_await listening.join();
    shared.good += good;
    ++shared.waiting;
    while (shared.waiting < 4) { // neither loop ends while the other may post to it
        auto const slept = co_await sleep_for(1ms);
        (void)slept;
    }
    here = nullptr;
    both.server.abort();
}

} // namespace

TEST_CASE("a shared message is posted on two loops at the same time")
{
    across shared;
    run_options options;
    options.threads = 2;
    options.handle_signals = false;
    CHECK(run([&shared] { return on_one_loop(shared); }, options) == 0);
    CHECK(shared.good == 400);
}

// ---- fairness -----------------------------------------------------------------------------------------------------

namespace {

/// Ends what goes on beside it, when the loop has had its turns; or gives up.
task<> one_sleep(bool& over)
{
    auto const slept = co_await sleep_for(2ms);
    over = slept.has_value();
}

} // namespace

TEST_CASE("operations that fail at once, and nobody looks, leave the loop its turns")
{
    for (int which : {0, 1, 2, 3})
        on_loop([](int w) -> task<> {
            auto both = co_await raw_client();
            both.ws.abort();
            bool over = false;
            scope beside;
            beside.spawn(one_sleep(over));
            auto const end = clock::now() + 5s;
            while (!over && clock::now() < end) {
                std::error_code error;
                if (w == 0) {
                    auto const done = co_await both.ws.read();
                    error = done.error();
                } else if (w == 1) {
                    auto const done = co_await both.ws.write("x");
                    error = done.error();
                } else if (w == 2) {
                    auto const done = co_await both.ws.ping();
                    error = done.error();
                } else {
                    auto const done = co_await both.ws.close();
                    error = done.error();
                }
                if (w != 3 && error != ws::closed)
                    break;
            }
            CHECK(over);
            co_await beside.join();
        }(which));
}

TEST_CASE("a peer that takes large messages as fast as they are written leaves the loop its turns", "[sizes]")
{
    on_loop([]() -> task<> {
        auto both = co_await raw_client(kind::unix_path);
        int const fd = both.raw.native_handle();
        std::string const large(20'000, 'l');
        std::vector<char> taken(100'000);
        bool over = false;
        scope beside;
        beside.spawn(one_sleep(over));
        auto const end = clock::now() + 5s;
        while (!over && clock::now() < end) {
            auto const sent = co_await both.ws.write(large);
            CHECK(sent.has_value());
            while (::recv(fd, taken.data(), taken.size(), MSG_DONTWAIT) > 0) {
            }
        }
        CHECK(over);
        co_await beside.join();
        both.ws.abort();
    }());
}
