// SPDX-License-Identifier: BSL-1.0
#include "harness.hpp"

#include "child.hpp"

using namespace ws_test;

namespace {

task<> served(stream s)
{
    auto ws = co_await upgrade(std::move(s), quiet_server());
    if (!ws) co_return;
    co_await echo(*ws);
}

task<> traced_session(kind k)
{
    auto streams = co_await connected(k);
    scope server;
    server.spawn(served(std::move(streams.first)));
    auto& raw = streams.second;
    co_await send_text(raw, request_text("Authorization: Basic c2VjcmV0\r\nProxy-Authorization: secret\r\n"
                                         "cookie: id=secret; b=c\r\nX-Other: gr\xFC\xDF e\r\n",
                                         "/chat?q=1"));
    auto const answer = co_await read_head(raw);
    CHECK(answer.starts_with("HTTP/1.1 101 "));
    co_await send(raw, masked(0x81, "say \"hello\"\n") + masked(0x01, "gr\xC3\xBC") + masked(0x80, "\xC3\x9F") +
                           masked(0x82, std::string_view("\0\x01\xFF", 3)) + masked(0x89, "there?") +
                           masked(0x82, std::string(100, 'x')) + masked(0x81, std::string(63, '.') + "\xC3\xBC"));
    for (int frames = 0; frames < 6; ++frames) // five messages and a pong
        co_await read_wire(raw);
    co_await send(raw, masked(0x88, close_payload(1001, "bye")));
    co_await read_wire(raw);
    {
        stream const gone = std::move(raw);
    }
    co_await server.join();
}

task<> shared_and_compressed()
{
    auto both = co_await open_pair(kind::memory, [] {
        auto o = quiet_server();
        o.deflate.on = true;
        return o;
    }());
    std::string const text(5000, 'z');
    both.server.post(ws::shared_message::text(text));
    auto const got = co_await both.client.read();
    CHECK(got->text() == text);
    both.server.post(ws::shared_message::text(text, {.compress = false}));
    both.server.post(ws::shared_message::binary(std::as_bytes(std::span("\x01", 1))));
    (void)co_await both.client.read();
    (void)co_await both.client.read();
}

task<> violating(kind k)
{
    auto both = co_await raw_client(k);
    co_await send(both.raw, masked(0x83, "reserved"));
    auto const got = co_await both.ws.read();
    CHECK(got.error() == violation(proto::errc::reserved_opcode));
}

test::child_end trace_of(char const* topics, char const* test_case)
{
    ::setenv("WRING_TRACE", topics, 1);
    auto end = test::in_fresh_process(test_case);
    ::unsetenv("WRING_TRACE");
    return end;
}

} // namespace

TEST_CASE("a session to trace", "[.fresh]")
{
    on_each(traced_session, std::array{kind::tcp});
}
TEST_CASE("shared and compressed messages to trace", "[.fresh]")
{
    on_loop(shared_and_compressed());
}
TEST_CASE("a violation to trace", "[.fresh]")
{
    on_each(violating, std::array{kind::memory});
}

TEST_CASE("WRING_TRACE=handshake prints request and response, but no secret")
{
    auto const end = trace_of("handshake", "a session to trace");
    INFO(end.output);
    CHECK(end.exited_with(0));
    for (char const* line :
         {" < GET /chat?q=1 HTTP/1.1\n", " < Host: test\n", " < Authorization: Basic ***\n",
          " < Proxy-Authorization: ***\n", " < cookie: ***\n", " < X-Other: gr\\xfc\\xdf e\n",
          " > HTTP/1.1 101 Switching Protocols\n", " > Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\n"})
        CHECK(end.says(line));
    CHECK(end.says("wring: 127.0.0.1:"));
    CHECK_FALSE(end.says("secret"));
    CHECK_FALSE(end.says("c2VjcmV0"));
    CHECK_FALSE(end.says("FIN"));
}

TEST_CASE("WRING_TRACE=frames prints each frame and the beginning of its payload", "[sizes]")
{
    auto const end = trace_of("frames", "a session to trace");
    INFO(end.output);
    CHECK(end.exited_with(0));
    for (char const* line :
         {" < text FIN 12 bytes: \"say \\\"hello\\\"\\n\"\n", " > text FIN 12 bytes: \"say \\\"hello\\\"\\n\"\n",
          " < text 4 bytes: \"gr\xC3\xBC\"\n", " < continuation FIN 2 bytes: \"\xC3\x9F\"\n",
          " < binary FIN 3 bytes: 00 01 ff\n", " > binary FIN 3 bytes: 00 01 ff\n", " < ping FIN 6 bytes: \"there?\"\n",
          " > pong FIN 6 bytes: \"there?\"\n",
          " < text FIN 65 bytes: \"...............................................................\" ...\n",
          " < close FIN 5 bytes: 1001 \"bye\"\n", " > close FIN 2 bytes: 1001 \"\"\n"})
        CHECK(end.says(line));
    CHECK(end.says((" < binary FIN 100 bytes: \"" + std::string(64, 'x') + "\" ...\n").c_str()));
    CHECK_FALSE(end.says("HTTP"));
}

TEST_CASE("WRING_TRACE shows shared messages and what is compressed as it is on the wire")
{
    auto const end = trace_of("handshake,frames", "shared and compressed messages to trace");
    INFO(end.output);
    CHECK(end.exited_with(0));
    CHECK(end.says("unknown > Sec-WebSocket-Extensions: permessage-deflate"));
    CHECK(end.says("unknown > text FIN RSV1 "));
    CHECK(end.says("unknown < text FIN RSV1 "));
    CHECK(end.says("unknown > text FIN 5000 bytes: \"zzz"));
    CHECK(end.says("unknown > binary FIN 1 byte: 01\n"));
    CHECK(end.says("unknown < binary FIN 1 byte: 01\n"));
}

TEST_CASE("WRING_TRACE=frames says which rule a peer violated")
{
    auto const end = trace_of("frames", "a violation to trace");
    INFO(end.output);
    CHECK(end.exited_with(0));
    CHECK(end.says(
        (std::string("unknown ! ") + std::string(proto::message(proto::errc::reserved_opcode)) + "\n").c_str()));
    CHECK(end.says(" > close FIN "));
}

TEST_CASE("without WRING_TRACE nothing is traced, and unknown topics do nothing")
{
    for (char const* topics : {"", "frame", "all,", "handshakes frames"}) {
        auto const end = trace_of(topics, "a session to trace");
        INFO(topics << end.output);
        CHECK(end.exited_with(0));
        CHECK_FALSE(end.says(" < "));
        CHECK_FALSE(end.says(" > "));
    }
}
