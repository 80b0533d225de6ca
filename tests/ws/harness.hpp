// SPDX-License-Identifier: BSL-1.0
// What the WebSocket tests share: open connections over every kind of stream, and peers that speak in bytes.
#pragma once

#include "net/net.hpp"
#include "proto/bytes.hpp"

#include "proto/error.hpp"
#include "proto/handshake.hpp"

#include <wring/scope.hpp>
#include <wring/ws.hpp>

namespace ws_test {

using namespace wring;
using namespace std::chrono_literals;
using net_test::connected;
using net_test::kind;
using net_test::name_of;
using net_test::next_turn;
using net_test::pair_options;
using net_test::pattern;
using net_test::turns;
using test::byte_string;
using test::from_hex;
using test::from_text;
using test::make_frame;
using test::to_text;
using test::operator+;

/// The streams that most tests run on; the others differ in the address only.
constexpr kind kinds[] = {kind::memory, kind::tcp, kind::unix_path, kind::tls_memory, kind::tls_tcp};

inline task<> bounded(task<> body)
{
    auto const done = co_await timeout(60s, std::move(body));
    CHECK(done.has_value()); // else it hangs
}

/// Runs `body` on a loop of this thread, with the engine that WRING_ENGINE names.
inline void on_loop(task<> body, run_options options = {})
{
    options.handle_signals = false;
    int const status = run(bounded(std::move(body)), test::resources(options));
    CHECK(status == 0);
}

/// In place: many frames put together with + copy all of them each time.
inline void append(byte_string& to, byte_string const& more)
{
    auto const size = to.size();
    to.resize(size + more.size());
    if (!more.empty())
        std::memcpy(to.data() + size, more.data(), more.size());
}

inline std::error_code violation(proto::errc e)
{
    return {static_cast<int>(e), ws::protocol_category()};
}

/// Nothing but what a test asks for happens in the background.
template <class Options>
Options quiet()
{
    Options o;
    o.ping_interval = o.pong_timeout = o.idle_timeout = duration::zero();
    return o;
}
inline ws::upgrade_options quiet_server()
{
    return quiet<ws::upgrade_options>();
}
inline ws::connect_options quiet_client()
{
    return quiet<ws::connect_options>();
}

/// The same over TLS.
inline ws::upgrade_options secure_server(tls::context const& with)
{
    auto o = quiet_server();
    o.tls = &with;
    return o;
}
inline ws::connect_options secure_client(tls::context const& with)
{
    auto o = quiet_client();
    o.tls = &with;
    return o;
}

// ---- peers that speak in bytes ------------------------------------------------------------------------------------

constexpr std::string_view sample_key = "dGhlIHNhbXBsZSBub25jZQ==";
constexpr std::string_view sample_accept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="; // RFC 6455 section 1.3

/// A sound request; `more` are further lines.
inline std::string request_text(std::string_view more = {}, std::string_view target = "/")
{
    std::string text = "GET " + std::string(target) +
                       " HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                       "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ";
    return text.append(sample_key).append("\r\n").append(more).append("\r\n");
}

/// Reads an HTTP head, to its empty line.
inline task<std::string> read_head(stream& s)
{
    std::string head;
    while (!head.ends_with("\r\n\r\n")) {
        std::byte one[1];
        auto const got = co_await s.read_some(one);
        if (!got)
            co_return head + "<" + got.error().message() + ">";
        head.push_back(static_cast<char>(one[0]));
    }
    co_return head;
}

/// All that still comes.
inline task<std::string> read_rest(stream& s)
{
    std::string text;
    std::vector<std::byte> part(16 * 1024);
    for (;;) {
        auto const got = co_await s.read_some(part);
        if (!got && got.error() == errc::end_of_stream)
            co_return text;
        if (!got)
            co_return text + "<" + got.error().message() + ">";
        text.append(net_test::text_of(*got));
    }
}

/// A frame as it was on the wire.
struct wire_frame
{
    unsigned first = 0; ///< 0x81: a whole text message, and so on
    bool masked = false;
    std::uint32_t key = 0;
    std::string payload; ///< unmasked
    std::error_code end; ///< there was none

    [[nodiscard]] unsigned close_code() const
    {
        return first != 0x88 || payload.size() < 2
                 ? 0
                 : static_cast<unsigned char>(payload[0]) * 256U + static_cast<unsigned char>(payload[1]);
    }
    [[nodiscard]] std::string reason() const { return payload.size() < 2 ? "" : payload.substr(2); }
};

/// Reads a frame, on purpose without the library's parser.
inline task<wire_frame> read_wire(stream& s)
{
    wire_frame f;
    unsigned char head[14];
    auto const bytes = std::as_writable_bytes(std::span(head));
    auto const start = co_await s.read(bytes.first(2));
    if (!start) {
        f.end = start.error();
        co_return f;
    }
    f.first = head[0];
    f.masked = (head[1] & 0x80) != 0;
    std::uint64_t size = head[1] & 0x7F;
    std::size_t const length_bytes = size == 126 ? 2 : size == 127 ? 8 : 0;
    std::size_t const more = length_bytes + (f.masked ? 4 : 0);
    if (more > 0) {
        auto const rest = co_await s.read(bytes.subspan(2, more));
        if (!rest) {
            f.end = rest.error();
            co_return f;
        }
    }
    if (length_bytes > 0) {
        size = 0;
        for (std::size_t i = 0; i < length_bytes; ++i)
            size = size << 8 | head[2 + i];
    }
    unsigned char const* const key = head + 2 + length_bytes;
    if (f.masked)
        std::memcpy(&f.key, key, 4);
    f.payload.resize(size);
    auto const payload = co_await s.read(std::as_writable_bytes(std::span(f.payload)));
    if (!payload) {
        f.end = payload.error();
        co_return f;
    }
    if (f.masked)
        for (std::size_t i = 0; i < f.payload.size(); ++i)
            f.payload[i] = static_cast<char>(f.payload[i] ^ key[i % 4]);
    co_return f;
}

/// A frame that a client sends.
inline byte_string masked(unsigned first, std::string_view payload = {})
{
    return make_frame(first, from_text(payload), true);
}
/// A frame that a server sends.
inline byte_string unmasked(unsigned first, std::string_view payload = {})
{
    return make_frame(first, from_text(payload), false);
}
inline std::string close_payload(unsigned code, std::string_view reason = {})
{
    std::string p;
    p.push_back(static_cast<char>(code >> 8));
    p.push_back(static_cast<char>(code & 0xFF));
    return p.append(reason);
}

/// Frames, to a connection that is open. With tiny resources single bytes at first, one a turn.
inline task<> send(stream& s, byte_string bytes)
{
    auto rest = std::span<std::byte const>(bytes);
    for (int singles = test::tiny() ? 200 : 0; singles > 0 && rest.size() > 1; --singles) {
        auto const one = co_await s.write(rest.first(1));
        if (!one)
            co_return; // what has come so far was answered with a close
        rest = rest.subspan(1);
        co_await next_turn();
    }
    auto const sent = co_await s.write(rest);
    CHECK((sent.has_value() || test::tiny()));
}
inline task<> send_text(stream& s, std::string text)
{
    auto const sent = co_await s.write(text);
    CHECK(sent.has_value());
}

// ---- open connections ---------------------------------------------------------------------------------------------

/// One of ours and a peer that speaks in bytes.
struct raw_pair
{
    ws::connection ws;
    stream raw;
};

/// A server's connection and its client.
inline task<raw_pair> raw_client(kind k = kind::memory, ws::upgrade_options options = quiet_server(),
                                 pair_options pair = {})
{
    auto streams = co_await connected(k, pair);
    co_await send_text(streams.second, request_text());
    auto ws = co_await upgrade(std::move(streams.first), options);
    auto const answer = co_await read_head(streams.second);
    CHECK(answer.starts_with("HTTP/1.1 101 "));
    raw_pair both{std::move(ws).value(), std::move(streams.second)};
    co_return both;
}

/// The answer that a server owes for a request.
inline std::string switching(std::string_view request, std::string_view more = {})
{
    std::string_view const name = "Sec-WebSocket-Key: ";
    auto const at = request.find(name);
    auto const key = proto::accept_key(request.substr(at == request.npos ? 0 : at + name.size(), 24));
    std::string text = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                       "Sec-WebSocket-Accept: ";
    return text.append(key->data(), key->size()).append("\r\n").append(more).append("\r\n");
}

inline task<std::string> answer_handshake(stream& s, std::string more)
{
    auto const request = co_await read_head(s);
    co_await send_text(s, switching(request, more));
    co_return request;
}

/// A client's connection and its server.
inline task<raw_pair> raw_server(kind k = kind::memory, ws::connect_options options = quiet_client(),
                                 pair_options pair = {})
{
    auto streams = co_await connected(k, pair);
    auto both = co_await when_all(connect_over(std::move(streams.first), "ws://test/", options),
                                  answer_handshake(streams.second, ""));
    raw_pair done{std::move(std::get<0>(both)).value(), std::move(streams.second)};
    co_return done;
}

/// Two of ours.
struct ws_pair
{
    ws::connection server;
    ws::connection client;
};

inline task<ws_pair> open_pair(kind k = kind::memory, ws::upgrade_options server = quiet_server(),
                               ws::connect_options client = quiet_client(), pair_options pair = {})
{
    auto streams = co_await connected(k, pair);
    auto both = co_await when_all(upgrade(std::move(streams.first), server),
                                  connect_over(std::move(streams.second), "ws://test/", client));
    ws_pair done{std::move(std::get<0>(both)).value(), std::move(std::get<1>(both)).value()};
    co_return done;
}

inline task<> echo(ws::connection& ws)
{
    while (auto m = co_await ws.read()) {
        auto const sent = co_await ws.write(*m);
        if (!sent)
            break;
    }
}

/// Runs the test body on each kind of stream.
inline void on_each(task<> (*body)(kind), std::span<kind const> which = kinds)
{
    for (kind k : which) {
        INFO(name_of(k));
        on_loop(body(k));
    }
}

} // namespace ws_test
