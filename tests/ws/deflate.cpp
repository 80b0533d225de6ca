// SPDX-License-Identifier: BSL-1.0
#include "harness.hpp"

#include "core/allocations.hpp"
#include "ws/shared_message.hpp"

#include "engine/loop_core.hpp"

#include <zlib.h>

#include <algorithm>
#include <atomic>
#include <thread>

using namespace ws_test;

namespace {

/// Under tiny resources not with TLS, which would make a record of each few bytes.
void on_each_stream(task<> (*body)(kind))
{
    on_each(body, test::tiny() ? std::span(kinds).first(3) : std::span(kinds));
}

// ---- a peer of zlib's own ------------------------------------------------------------------------------------------

/// Compresses and decompresses on purpose without the library.
class zlib_peer
{
public:
    explicit zlib_peer(int bits = 15, int level = 6)
    {
        REQUIRE(deflateInit2(&out_, level, Z_DEFLATED, -bits, 8, Z_DEFAULT_STRATEGY) == Z_OK);
        REQUIRE(inflateInit2(&in_, -15) == Z_OK);
    }
    zlib_peer(zlib_peer const&) = delete;
    ~zlib_peer()
    {
        deflateEnd(&out_);
        inflateEnd(&in_);
    }

    /// A whole message's payload.
    std::string compress(std::string_view text)
    {
        auto payload = flush(text);
        return payload.empty() ? std::string(1, '\0') : payload.substr(0, payload.size() - 4);
    }
    /// All that there is to say of `text`, with its tail.
    std::string flush(std::string_view text)
    {
        return run(out_, text, [](z_stream* z) { return deflate(z, Z_SYNC_FLUSH); });
    }
    /// The text of a message's payload, or "invalid".
    std::string decompress(std::string_view payload)
    {
        return part(std::string(payload) + std::string("\0\0\xFF\xFF", 4));
    }
    /// What can be read of it so far.
    std::string part(std::string_view payload)
    {
        int result = Z_OK;
        auto text = run(in_, payload, [&](z_stream* z) { return result = inflate(z, Z_SYNC_FLUSH); });
        return result == Z_OK || result == Z_BUF_ERROR ? text : "invalid";
    }
    void forget() { deflateReset(&out_); }
    void forget_received() { inflateReset(&in_); }

private:
    template <class Step>
    static std::string run(z_stream& z, std::string_view input, Step step)
    {
        std::string output;
        std::vector<char> room(64 * 1024);
        z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(input.data()));
        z.avail_in = static_cast<uInt>(input.size());
        do {
            z.next_out = reinterpret_cast<Bytef*>(room.data());
            z.avail_out = static_cast<uInt>(room.size());
            int const result = step(&z);
            output.append(room.data(), room.size() - z.avail_out);
            if (result != Z_OK)
                break;
        } while (z.avail_out == 0);
        return output;
    }

    z_stream out_{};
    z_stream in_{};
};

// ---- connections ---------------------------------------------------------------------------------------------------

constexpr ws::deflate_options on{.on = true, .threshold = 64};
constexpr ws::deflate_options keeping{.on = true, .server_takeover = true, .client_takeover = true, .threshold = 64};

ws::upgrade_options server_with(ws::deflate_options d)
{
    auto o = quiet_server();
    o.deflate = d;
    return o;
}
ws::connect_options client_with(ws::deflate_options d)
{
    auto o = quiet_client();
    o.deflate = d;
    return o;
}

struct deflated_pair
{
    ws::connection ws;
    stream raw;
    std::string answer; ///< or the request, of a client's
};

/// Our server and a client that offers this.
task<deflated_pair> raw_deflated(kind k = kind::memory, ws::upgrade_options options = server_with(on),
                                 std::string offer = "permessage-deflate", pair_options pair = {})
{
    auto streams = co_await connected(k, pair);
    co_await send_text(streams.second, request_text("Sec-WebSocket-Extensions: " + offer + "\r\n"));
    auto ws = co_await upgrade(std::move(streams.first), options);
    auto answer = co_await read_head(streams.second);
    CHECK(answer.starts_with("HTTP/1.1 101 "));
    deflated_pair both{std::move(ws).value(), std::move(streams.second), std::move(answer)};
    co_return both;
}

/// Our client and a server that answers with this.
task<deflated_pair> raw_deflating_server(ws::connect_options options, std::string answer, kind k = kind::memory)
{
    auto streams = co_await connected(k, {});
    auto both = co_await when_all(connect_over(std::move(streams.first), "ws://test/", options),
                                  answer_handshake(streams.second, "Sec-WebSocket-Extensions: " + answer + "\r\n"));
    deflated_pair done{std::move(std::get<0>(both)).value(), std::move(streams.second), std::get<1>(both)};
    co_return done;
}

std::string extensions_in(std::string const& head)
{
    std::string_view const name = "Sec-WebSocket-Extensions: ";
    auto const at = head.find(name);
    if (at == head.npos)
        return "";
    auto const from = at + name.size();
    return head.substr(from, head.find("\r\n", from) - from);
}

/// Words, so that it compresses; different for each seed.
std::string some_text(std::size_t size, std::uint64_t seed = 1)
{
    static constexpr std::string_view words[] = {"one ", "two ", "three ", "four ", "five ", "six ", "seven "};
    test::random_source random{seed * 2654435761U + 1};
    std::string text;
    while (text.size() < size)
        text += random.below(9) == 0 ? std::to_string(random()) : std::string(words[random.below(std::size(words))]);
    text.resize(size);
    return text;
}

task<std::string> next_message(ws::connection& ws)
{
    auto const m = co_await ws.read();
    if (!m)
        co_return "error " + m.error().message();
    co_return (m->is_text ? "text " : "binary ") + m->to_string();
}

task<> write_all(ws::connection& ws, std::vector<std::string> const& texts)
{
    for (auto const& text : texts) {
        auto const sent = co_await ws.write(text);
        CHECK(sent.has_value());
    }
}

std::size_t lent_blocks()
{
    return detail::loop_core::require().blocks().lent();
}

/// What the server answers `bytes` with: 0 where all of `messages` are read and nothing else comes.
unsigned close_code_for(byte_string bytes, std::error_code expected, ws::upgrade_options options = server_with(on),
                        std::size_t messages = 0)
{
    unsigned code = 0;
    auto body = [](unsigned& c, byte_string b, std::error_code e, ws::upgrade_options o, std::size_t n) -> task<> {
        auto both = co_await raw_deflated(kind::memory, o, "permessage-deflate", {.chunk = 333});
        scope peer;
        peer.spawn(send(both.raw, std::move(b)));
        for (std::size_t i = 0; i < n; ++i) {
            auto const m = co_await both.ws.read();
            CHECK(m.has_value());
        }
        if (e) {
            auto const end = co_await both.ws.read();
            CHECK(end.error() == e);
            CHECK(both.ws.status().error == e);
            auto const close = co_await read_wire(both.raw);
            c = close.close_code();
        }
        both.raw.shutdown();
        co_await peer.join();
        both.ws.abort();
    };
    on_loop(body(code, std::move(bytes), expected, options, messages));
    return code;
}

} // namespace

// ---- the handshake -------------------------------------------------------------------------------------------------

TEST_CASE("deflate: a server agrees to it where it is on, and only there")
{
    struct
    {
        ws::deflate_options options;
        char const* offer;
        char const* answer;
    } const rows[] = {
        {{}, "permessage-deflate", ""},
        {on, "permessage-deflate; client_max_window_bits",
         "permessage-deflate; server_no_context_takeover; client_no_context_takeover"},
        {keeping, "permessage-deflate; client_max_window_bits", "permessage-deflate"},
        {keeping, "permessage-deflate; server_no_context_takeover; server_max_window_bits=9",
         "permessage-deflate; server_no_context_takeover; server_max_window_bits=9"},
        {keeping, "permessage-deflate; server_max_window_bits=8", ""},
        {keeping, "permessage-deflate; server_max_window_bits=8, permessage-deflate", "permessage-deflate"},
        {keeping, "permessage-deflate; server_max_window_bits=16", ""},
        {keeping, "x-other", ""},
        {{.on = true,
          .server_takeover = true,
          .client_takeover = true,
          .server_window_bits = 11,
          .client_window_bits = 10},
         "permessage-deflate; client_max_window_bits",
         "permessage-deflate; server_max_window_bits=11; client_max_window_bits=10"},
    };
    for (auto const& row : rows) {
        INFO(row.offer);
        on_loop([](ws::deflate_options o, std::string offer, std::string expected) -> task<> {
            auto both = co_await raw_deflated(kind::memory, server_with(o), offer);
            CHECK(extensions_in(both.answer) == expected);
            CHECK(both.ws.deflates() == !expected.empty());
            co_await send(both.raw, masked(0x81, "plain"));
            auto const m = co_await next_message(both.ws);
            CHECK(m == "text plain");
            both.ws.abort();
        }(row.options, row.offer, row.answer));
    }
}

TEST_CASE("deflate: a client offers what its options say, and obeys the answer")
{
    struct
    {
        ws::deflate_options options;
        char const* offer;
        char const* answer;
        bool fails;
    } const rows[] = {
        {keeping, "permessage-deflate; client_max_window_bits", "permessage-deflate", false},
        {keeping, "permessage-deflate; client_max_window_bits",
         "permessage-deflate; client_no_context_takeover; client_max_window_bits=9", false},
        {on, "permessage-deflate; server_no_context_takeover; client_no_context_takeover; client_max_window_bits",
         "permessage-deflate", true},
        {on, "permessage-deflate; server_no_context_takeover; client_no_context_takeover; client_max_window_bits",
         "permessage-deflate; server_no_context_takeover", false},
        {keeping, "permessage-deflate; client_max_window_bits", "permessage-deflate; mystery", true},
        {keeping, "permessage-deflate; client_max_window_bits", "permessage-deflate; server_max_window_bits=7", true},
    };
    for (auto const& row : rows) {
        INFO(row.answer);
        on_loop([](ws::deflate_options o, std::string offer, std::string answer, bool fails) -> task<> {
            auto streams = make_stream_pair();
            auto both =
                co_await when_all(connect_over(std::move(streams.first), "ws://test/", client_with(o)),
                                  answer_handshake(streams.second, "Sec-WebSocket-Extensions: " + answer + "\r\n"));
            CHECK(extensions_in(std::get<1>(both)) == offer);
            auto& ws = std::get<0>(both);
            CHECK(ws.has_value() == !fails);
            if (fails) {
                CHECK(ws.error() == violation(proto::errc::extension_parameters));
                co_return;
            }
            CHECK(ws->deflates());
            ws->abort();
        }(row.options, row.offer, row.answer, row.fails));
    }
}

TEST_CASE("deflate: options out of their range are an error, before anything is sent")
{
    ws::deflate_options const bad[] = {
        {.on = true, .server_window_bits = 8},  {.on = true, .server_window_bits = 16},
        {.on = true, .client_window_bits = 8},  {.on = true, .client_window_bits = -1},
        {.on = true, .level = 10},              {.on = true, .level = -1},
        {.on = true, .mem_level = 0},           {.on = true, .mem_level = 10},
    };
    for (auto const& options : bad)
        on_loop([](ws::deflate_options o) -> task<> {
            auto streams = make_stream_pair();
            auto const client = co_await connect_over(std::move(streams.first), "ws://test/", client_with(o));
            CHECK(client.error() == violation(proto::errc::deflate_argument));
            auto const nothing = co_await read_rest(streams.second);
            CHECK(nothing.empty());

            auto others = make_stream_pair();
            co_await send_text(others.second, request_text("Sec-WebSocket-Extensions: permessage-deflate\r\n"));
            auto const server = co_await upgrade(std::move(others.first), server_with(o));
            CHECK(server.error() == violation(proto::errc::deflate_argument));
            auto const answer = co_await read_head(others.second);
            CHECK(answer.starts_with("HTTP/1.1 500 "));
        }(options));
}

// ---- messages ------------------------------------------------------------------------------------------------------

TEST_CASE("deflate: compressed messages are read, and sent")
{
    on_each_stream([](kind k) -> task<> {
        zlib_peer peer;
        auto both = co_await raw_deflated(k);
        auto const text = some_text(2000);
        auto const payload = peer.compress(text);
        CHECK(payload.size() < text.size() / 2);
        co_await send(both.raw, masked(0xC1, payload));
        auto const m = co_await next_message(both.ws);
        CHECK(m == "text " + text);
        auto const sent = co_await both.ws.write(text);
        CHECK(sent.has_value());
        auto const f = co_await read_wire(both.raw);
        CHECK(f.first == 0xC1);
        CHECK(f.payload.size() < text.size() / 2);
        CHECK(peer.decompress(f.payload) == text);
        both.ws.abort();
    });
}

TEST_CASE("deflate: every window, kept or not, in one frame and in many, both ways")
{
    for (int bits = 8; bits <= 15; ++bits)
        for (int other : {9, 12, 15})
            for (bool takeover : {false, true})
                for (int fragments : {1, 3}) {
                    INFO("windows of " << bits << " and " << other << " bits, takeover " << takeover << ", "
                                       << fragments << " frames");
                    on_loop([](int client_bits, int server_bits, bool keeps, int frames) -> task<> {
                        std::string const offer = "permessage-deflate; client_max_window_bits=" +
                                                  std::to_string(client_bits) +
                                                  "; server_max_window_bits=" + std::to_string(server_bits);
                        auto both = co_await raw_deflated(kind::memory, server_with(keeps ? keeping : on), offer,
                                                          {.chunk = 1000});
                        CHECK(both.ws.deflates());
                        // zlib has no compressor of 8 bits, so what peers call that has 9.
                        zlib_peer peer(std::max(client_bits, 9));
                        scope sending;
                        for (std::size_t size : {0U, 1U, 100U, 5000U, 70'000U}) {
                            auto const text = some_text(size, size + 7);
                            if (!keeps)
                                peer.forget();
                            byte_string bytes;
                            auto const whole = peer.compress(text);
                            for (int f = 0; f < frames; ++f) {
                                auto const from =
                                    whole.size() * static_cast<std::size_t>(f) / static_cast<std::size_t>(frames);
                                auto const to =
                                    whole.size() * static_cast<std::size_t>(f + 1) / static_cast<std::size_t>(frames);
                                unsigned const first = (f == 0 ? 0x42U : 0U) | (f + 1 == frames ? 0x80U : 0U);
                                append(bytes, masked(first, whole.substr(from, to - from)) + masked(0x89, "p"));
                            }
                            sending.spawn(send(both.raw, bytes));
                            auto const m = co_await next_message(both.ws);
                            bool const same = m == "binary " + text;
                            CHECK(same);
                            co_await sending.join();
                            co_await turns(2);

                            std::size_t const half = size / 2;
                            if (frames == 1) {
                                auto const sent = co_await both.ws.write(text);
                                CHECK(sent.has_value());
                            } else {
                                auto const one = co_await both.ws.write_frame(
                                    {ws::opcode::text, false, std::as_bytes(std::span(text).first(half))});
                                CHECK(one.has_value());
                                auto const two = co_await both.ws.write_frame(
                                    {ws::opcode::continuation, true, std::as_bytes(std::span(text).subspan(half))});
                                CHECK(two.has_value());
                            }
                            std::string payload;
                            bool compressed = false;
                            bool fin = false;
                            for (bool first = true; !fin;) {
                                auto const f = co_await read_wire(both.raw);
                                CHECK(!f.end);
                                if (f.end)
                                    break;
                                if (f.first == 0x8A)
                                    continue;
                                if (first)
                                    compressed = (f.first & 0x40) != 0;
                                else
                                    CHECK((f.first & 0x70) == 0);
                                first = false;
                                payload += f.payload;
                                fin = (f.first & 0x80) != 0;
                            }
                            CHECK(compressed == (size >= 64 || frames > 1));
                            if (!keeps)
                                peer.forget_received();
                            bool const back = (compressed ? peer.decompress(payload) : payload) == text;
                            CHECK(back);
                        }
                        co_await sending.join();
                        both.ws.abort();
                    }(bits, other, takeover, fragments));
                }
}

TEST_CASE("deflate: our two roles understand each other, whatever their options")
{
    for (kind k : kinds)
        for (bool server_keeps : {false, true})
            for (bool client_keeps : {false, true})
                for (int bits : {9, 15}) {
                    if (k == kind::unix_path && (bits == 9 || server_keeps))
                        continue;
                    INFO(name_of(k) << ", takeovers " << server_keeps << client_keeps << ", " << bits << " bits");
                    ws::deflate_options options{.on = true,
                                                .server_takeover = server_keeps,
                                                .client_takeover = client_keeps,
                                                .server_window_bits = bits,
                                                .client_window_bits = bits,
                                                .level = 1,
                                                .mem_level = 1};
                    on_loop([](kind where, ws::deflate_options o) -> task<> {
                        auto both = co_await open_pair(where, server_with(o), client_with(o));
                        CHECK(both.server.deflates());
                        CHECK(both.client.deflates());
                        scope echoing;
                        echoing.spawn(echo(both.server));
                        std::size_t seed = 0;
                        for (std::size_t size : {0U, 1U, 63U, 64U, 300U, 16'384U, 16'385U, test::tiny() ? 30'000U : 300'000U}) {
                            auto const text = some_text(size, ++seed);
                            auto const sent = co_await both.client.write(text);
                            CHECK(sent.has_value());
                            auto const back = co_await both.client.read();
                            bool const same = back.value().is_text && back->text() == text;
                            CHECK(same);
                            auto const bytes = pattern(size, static_cast<std::uint32_t>(seed)); // does not compress
                            auto const also_sent = co_await both.client.write(bytes);
                            CHECK(also_sent.has_value());
                            auto const also_back = co_await both.client.read();
                            bool const also = to_text(also_back.value().payload) == to_text(bytes);
                            CHECK(also);
                        }
                        auto const closed = co_await both.client.close();
                        CHECK(closed.has_value());
                        co_await echoing.join();
                    }(k, options));
                }
}

TEST_CASE("deflate: small windows are kept, also where the peer's is the smaller one")
{
    // Incompressible bytes that come again after more than 512 and less than 32 Ki bytes: only the larger window sees.
    on_loop([]() -> task<> {
        for (bool small : {false, true}) {
            auto both =
                co_await raw_deflated(kind::memory, server_with(keeping),
                                      small ? "permessage-deflate; server_max_window_bits=9" : "permessage-deflate");
            auto const bytes = pattern(3000);
            auto const twice = to_text(bytes) + to_text(bytes);
            auto const sent = co_await both.ws.write(std::as_bytes(std::span(twice)));
            CHECK(sent.has_value());
            auto const f = co_await read_wire(both.raw);
            CHECK((f.payload.size() > 5000) == small);
            zlib_peer peer;
            CHECK(peer.decompress(f.payload) == twice);
            both.ws.abort();
        }
    }());
}

TEST_CASE("deflate: a client whose window may have 8 bits sends nothing compressed")
{
    on_loop([]() -> task<> {
        auto both = co_await raw_deflating_server(client_with(keeping), "permessage-deflate; client_max_window_bits=8");
        auto const text = some_text(1000);
        auto const sent = co_await both.ws.write(text);
        CHECK(sent.has_value());
        CHECK(both.ws.post(ws::shared_message::text(text)) == ws::posted::queued);
        for (int i = 0; i < 2; ++i) {
            auto const f = co_await read_wire(both.raw);
            CHECK(f.first == 0x81);
            CHECK(f.payload == text);
        }
        zlib_peer peer;
        co_await send(both.raw, unmasked(0xC1, peer.compress(text)));
        auto const m = co_await next_message(both.ws);
        CHECK(m == "text " + text);
        both.ws.abort();
    }());
}

TEST_CASE("deflate: empty messages, stored blocks, last blocks, and messages that are not compressed between")
{
    on_loop([]() -> task<> {
        auto both = co_await raw_deflated(kind::memory, server_with(keeping));
        auto const hex = [](unsigned first, char const* payload) { return make_frame(first, from_hex(payload), true); };
        co_await send(both.raw, hex(0xC1, "f2 48 cd c9 c9 07 00") + masked(0x81, "plain") +
                                    hex(0xC1, "f2 00 11 00 00") + hex(0xC2, "00") +
                                    hex(0xC1, "00 05 00 fa ff 48 65 6c 6c 6f 00") + hex(0x41, "f3 48 cd") +
                                    hex(0x00, "") + hex(0x80, "c9 c9 07 00 00") +
                                    hex(0xC1, "f2 48 05 00 00 00 ff ff ca c9 c9 07 00") + hex(0xC1, "") +
                                    hex(0x41, "") + hex(0x00, "00") + hex(0x80, "") + hex(0xC1, "f2 00 11 00 00"));
        for (char const* expected : {"text Hello", "text plain", "text Hello", "binary ", "text Hello", "text Hello",
                                     "text Hello", "text ", "text ", "text Hello"}) {
            auto const m = co_await next_message(both.ws);
            CHECK(m == expected);
        }
        both.ws.abort();
    }());
}

TEST_CASE("deflate: RSV1 belongs to the first frame of a data message, and only where it was agreed on")
{
    zlib_peer peer;
    auto const payload = peer.compress("hello");
    auto const reserved = violation(proto::errc::reserved_bit);
    CHECK(close_code_for(masked(0x41, payload.substr(0, 3)) + masked(0xC0, payload.substr(3)), reserved) == 1002);
    CHECK(close_code_for(masked(0x01, "plain") + masked(0xC0, "more"), reserved) == 1002);
    CHECK(close_code_for(masked(0xC9, "ping"), reserved) == 1002);
    CHECK(close_code_for(masked(0xC8, close_payload(1000)), reserved) == 1002);
    CHECK(close_code_for(masked(0xA1, payload), reserved) == 1002);
    CHECK(close_code_for(masked(0xC1, payload), reserved, server_with({})) == 1002);
    CHECK(close_code_for(masked(0x41, payload.substr(0, 3)) + masked(0x80, payload.substr(3)), {}, server_with(on),
                         1) == 0);
}

// ---- reading -------------------------------------------------------------------------------------------------------

TEST_CASE("deflate: a large message is read in pieces, and its frames as they were sent", "[sizes]")
{
    on_each_stream([](kind k) -> task<> {
        auto options = server_with(keeping);
        options.max_message = options.max_frame = 0;
        auto both = co_await raw_deflated(k, options);
        zlib_peer peer;
        auto const large = some_text(3'000'000);
        scope sending;
        sending.spawn(send(both.raw, masked(0xC1, peer.compress(large))));
        std::string all;
        std::size_t parts = 0;
        std::size_t largest = 0;
        for (bool fin = false; !fin; ++parts) {
            auto const f = co_await both.ws.read_frame();
            CHECK(f.value().op == (parts == 0 ? ws::opcode::text : ws::opcode::continuation));
            fin = f->fin;
            largest = std::max(largest, f->payload.size());
            all += f->text();
        }
        bool const same = all == large;
        CHECK(same);
        CHECK(largest <= 256 * 1024);
        CHECK(parts < 300);
        co_await sending.join();

        // Frames whose bytes can be read as soon as they are there.
        byte_string frames;
        std::vector<std::string> const texts = {"one, ", "", "three, ", std::string(16'384, 'x'), "end"};
        for (std::size_t i = 0; i < texts.size(); ++i) {
            bool const last = i + 1 == texts.size();
            auto const payload = last ? peer.compress(texts[i]) : peer.flush(texts[i]);
            append(frames, masked((i == 0 ? 0x42U : 0U) | (last ? 0x80U : 0U), payload));
        }
        sending.spawn(send(both.raw, frames));
        for (std::size_t i = 0; i < texts.size(); ++i) {
            auto const f = co_await both.ws.read_frame();
            CHECK(f.value().op == (i == 0 ? ws::opcode::binary : ws::opcode::continuation));
            CHECK(f->text() == texts[i]);
            CHECK(f->fin == (i + 1 == texts.size()));
        }
        co_await sending.join();
        both.ws.abort();
    });
}

TEST_CASE("deflate: what becomes just as large as a receive buffer comes whole")
{
    run_options small;
    small.receive_buffer_size = 1024;
    for (std::size_t size : {1023U, 1024U, 1025U, 2048U, 5000U})
        on_loop([](std::size_t n) -> task<> {
            auto both = co_await raw_deflated();
            zlib_peer peer;
            auto const text = some_text(n);
            co_await send(both.raw, masked(0xC1, peer.compress(text)));
            std::string all;
            std::size_t parts = 0;
            for (bool fin = false; !fin; ++parts) {
                auto const f = co_await both.ws.read_frame();
                fin = f.value().fin;
                all += f->text();
                CHECK(!f->payload.empty());
            }
            CHECK(all == text);
            if (n <= 1024)
                CHECK(parts == 1);
            both.ws.abort();
        }(size), small);
}

TEST_CASE("deflate: a ping between the frames of a compressed message is answered before its end", "[sizes]")
{
    on_each_stream([](kind k) -> task<> {
        auto both = co_await raw_deflated(k);
        zlib_peer peer;
        auto const payload = peer.compress(some_text(100'000));
        auto const half = payload.size() / 2;
        co_await send(both.raw, masked(0x41, payload.substr(0, half)) + masked(0x89, "between"));
        auto const pong = co_await read_wire(both.raw);
        CHECK(pong.first == 0x8A);
        CHECK(pong.payload == "between");
        co_await send(both.raw, masked(0x80, payload.substr(half)));
        auto const m = co_await both.ws.read();
        CHECK(m.value().text() == some_text(100'000));
        both.ws.abort();
    });
}

TEST_CASE("deflate: a message at its limit passes, one byte more is answered with 1009")
{
    auto options = server_with(on);
    options.max_message = options.max_frame = 100'000;
    auto const too_large = violation(proto::errc::message_too_large);
    zlib_peer peer;
    auto const frame = [&](std::string const& text) {
        peer.forget();
        return masked(0xC2, peer.compress(text));
    };
    auto const fragments = [&](std::string const& text, std::size_t count) {
        peer.forget();
        auto const payload = peer.compress(text);
        byte_string all;
        for (std::size_t i = 0; i < count; ++i) {
            auto const from = payload.size() * i / count;
            append(all, masked((i == 0 ? 0x42U : 0U) | (i + 1 == count ? 0x80U : 0U),
                               payload.substr(from, payload.size() * (i + 1) / count - from)));
        }
        return all;
    };
    // Zeros, words, and bytes that become more when they are compressed.
    auto const noise = [](std::size_t n) { return to_text(pattern(n)); };
    CHECK(close_code_for(frame(std::string(100'000, '\0')), {}, options, 1) == 0);
    CHECK(close_code_for(frame(std::string(100'001, '\0')), too_large, options) == 1009);
    CHECK(close_code_for(frame(some_text(100'000)), {}, options, 1) == 0);
    CHECK(close_code_for(frame(some_text(100'001)), too_large, options) == 1009);
    CHECK(close_code_for(frame(noise(100'000)), {}, options, 1) == 0);
    CHECK(close_code_for(frame(noise(100'001)), too_large, options) == 1009);
    CHECK(close_code_for(fragments(some_text(100'000), 10), {}, options, 1) == 0);
    CHECK(close_code_for(fragments(some_text(100'001), 10), too_large, options) == 1009);
    CHECK(close_code_for(fragments(some_text(100'000), 10) + fragments(noise(100'000), 2) + frame(noise(100'001)),
                         too_large, options, 2) == 1009);
    peer.forget();
    CHECK(close_code_for(frame(std::string(100'000, '\0')) + masked(0x82, noise(100'000)), {}, options, 2) == 0);
    CHECK(close_code_for(masked(0x82, noise(100'001)), violation(proto::errc::frame_too_large), options) == 1009);
    // A frame far over the limit is refused by its header; so are frames of a message that say nothing for ever.
    CHECK(close_code_for(masked(0xC2, std::string(113'000, '\0')), violation(proto::errc::frame_too_large), options) ==
          1009);
    byte_string nothing;
    for (int i = 0; i < 3; ++i) { // empty blocks
        std::string blocks;
        while (blocks.size() < 50'000)
            blocks.append("\0\0\0\xFF\xFF", 5);
        append(nothing, masked(i == 0 ? 0x42 : 0x00, blocks));
    }
    CHECK(close_code_for(nothing, too_large, options) == 1009);
}

TEST_CASE("deflate: the fragment limit counts what came")
{
    auto options = server_with(on);
    options.max_fragments = 10;
    zlib_peer peer;
    auto const payload = peer.compress(some_text(3000));
    auto const in = [&](std::size_t count) {
        byte_string all;
        for (std::size_t i = 0; i < count; ++i)
            append(all, masked((i == 0 ? 0x41U : 0U) | (i + 1 == count ? 0x80U : 0U),
                               i == 0 ? payload : std::string()));
        return all;
    };
    CHECK(close_code_for(in(10), {}, options, 1) == 0);
    CHECK(close_code_for(in(11), violation(proto::errc::too_many_fragments), options) == 1008);
}

TEST_CASE("deflate: what cannot be decompressed is answered with 1007")
{
    auto const invalid = violation(proto::errc::deflate_invalid);
    for (auto const* hex :
         {"07", "ff ff ff", "f2 48 cd c9", "00 05 00 fb ff 48 65 6c 6c 6f 00", "f2 00 11 00 00", "de ad be ef"}) {
        INFO(hex);
        CHECK(close_code_for(make_frame(0xC2, from_hex(hex), true), invalid) == 1007);
        CHECK(close_code_for(masked(0x81, "before") + make_frame(0xC2, from_hex(hex), true), invalid,
                             server_with(keeping), 1) == 1007);
    }
    // Noise after a good start, in a second frame, and the reader who waits hears of it.
    zlib_peer peer;
    auto const payload = peer.compress(some_text(5000));
    CHECK(close_code_for(masked(0x42, payload.substr(0, 1000)) + masked(0x80, std::string(500, '\xFF')), invalid) ==
          1007);
    // Without a takeover a message may not refer to the one before.
    (void)peer.compress(some_text(100));
    CHECK(close_code_for(masked(0xC1, peer.compress(some_text(5000))), invalid) == 1007);
}

TEST_CASE("deflate: compressed text is checked as it comes")
{
    auto const bad_text = violation(proto::errc::utf8_text);
    zlib_peer peer;
    auto const frame = [&](unsigned first, std::string_view text) {
        peer.forget();
        return masked(first, peer.compress(text));
    };
    CHECK(close_code_for(frame(0xC1, "\xE2\x82\xAC"), {}, server_with(on), 1) == 0);
    CHECK(close_code_for(frame(0xC1, "good \xC0\x80"), bad_text) == 1007);
    CHECK(close_code_for(frame(0xC1, "cut short \xE2\x82"), bad_text) == 1007);
    CHECK(close_code_for(frame(0xC2, "\xC0\x80"), {}, server_with(on), 1) == 0);
    // At once, though the message never ends.
    peer.forget();
    CHECK(close_code_for(masked(0x41, peer.flush("so far, so good \xFF")), bad_text) == 1007);
    // A character in two frames, and one that the second does not go on with.
    peer.forget();
    auto const begun = masked(0x41, peer.flush("\xE2\x82"));
    CHECK(close_code_for(begun + masked(0x80, peer.compress("\xAC")), {}, server_with(on), 1) == 0);
    peer.forget();
    auto const again = masked(0x41, peer.flush("\xE2\x82"));
    CHECK(close_code_for(again + masked(0x80, peer.compress("A")), bad_text) == 1007);
}

namespace {

/// A gigabyte of zeros, a frame of each mebibyte.
task<> send_zeros(stream& s, zlib_peer& peer, int mebibytes, std::size_t& wire)
{
    std::string const zeros(1 << 20, '\0');
    auto const first = peer.flush(zeros);
    auto const later = peer.flush(zeros); // with zeros before, so of use any number of times
    auto const last = peer.compress(zeros);
    for (int i = 0; i < mebibytes; ++i) {
        bool const fin = i + 1 == mebibytes;
        auto const& payload = i == 0 ? first : fin ? last : later;
        wire += payload.size();
        auto const sent = co_await s.write(masked((i == 0 ? 0x42U : 0U) | (fin ? 0x80U : 0U), payload));
        if (!sent)
            co_return; // the connection has had enough
    }
}

} // namespace

TEST_CASE("deflate: a gigabyte of zeros is streamed in constant memory", "[sizes]")
{
    on_loop([]() -> task<> {
        auto options = server_with(keeping);
        options.max_message = 0;
        auto both = co_await raw_deflated(kind::memory, options);
        zlib_peer peer(15, 9);
        co_await send(both.raw, masked(0xC2, peer.compress("warm")));
        auto const warm = co_await both.ws.read();
        CHECK(warm.has_value());
        auto const before = test::memory_in_use();
        test::reset_memory_peak();
        std::size_t wire = 0;
        scope sending;
        sending.spawn(send_zeros(both.raw, peer, 1024, wire));
        std::uint64_t total = 0;
        std::size_t largest = 0;
        for (bool fin = false; !fin;) {
            auto const f = co_await both.ws.read_frame();
            CHECK(f.has_value());
            if (!f)
                break;
            total += f->payload.size();
            fin = f->fin;
            largest = std::max(largest, f->payload.size());
        }
        co_await sending.join();
        CHECK(total == std::uint64_t{1} << 30);
        CHECK(wire < 2 << 20);
        CHECK(largest <= 256 * 1024);
        CHECK(test::memory_peak() - before <= 512 * 1024); // a few buffers of the pair's and ours
        both.ws.abort();
    }());
}

TEST_CASE("deflate: bombs are refused at the limit, and never take more than it and 256 KiB", "[sizes]")
{
    for (std::size_t limit : {std::size_t{10'000}, std::size_t{100'000}, std::size_t{1} << 20, std::size_t{5} << 20})
        for (int how : {0, 1, 2}) {
            INFO("limit " << limit << ", way " << how);
            on_loop([](std::size_t most, int way) -> task<> {
                auto options = server_with(way == 1 ? keeping : on);
                options.max_message = most;
                options.max_frame = 1 << 20;
                auto both = co_await raw_deflated(kind::memory, options, "permessage-deflate", {.small_buffers = true});
                zlib_peer peer(15, 9);
                co_await send(both.raw, masked(0xC2, peer.compress("warm")));
                auto const warm = co_await both.ws.read();
                CHECK(warm.has_value());
                co_await turns(3);
                auto const before = test::memory_in_use();
                test::reset_memory_peak();
                scope sending;
                if (way == 1) { // many that pass, with one window, before the one that does not
                    byte_string many;
                    byte_string last; // with zeros before, so of use any number of times
                    for (int i = 0; i < 100; ++i)
                        append(many, i < 2 ? (last = masked(0xC2, peer.compress(std::string(most, '\0')))) : last);
                    append(many, masked(0xC2, peer.compress(std::string(most + 1, '\0'))));
                    sending.spawn([](stream& s, byte_string b) -> task<> {
                        for (std::size_t i = 0; i < b.size(); i += 8192)
                            if (!co_await s.write(std::span(b).subspan(i, std::min<std::size_t>(8192, b.size() - i))))
                                co_return;
                    }(both.raw, std::move(many)));
                    for (int i = 0; i < 100; ++i) {
                        auto const m = co_await both.ws.read();
                        CHECK(m.has_value());
                        if (m)
                            CHECK(m->payload.size() == most);
                    }
                } else { // one in one frame, one in many
                    peer.forget();
                    byte_string bomb;
                    if (way == 0) {
                        bomb = masked(0xC2, peer.compress(std::string(16 << 20, '\0')));
                    } else {
                        for (int i = 0; i < 1000; ++i)
                            append(bomb, masked(i == 0 ? 0x42 : 0x00, peer.flush(std::string(1 << 16, '\0'))));
                    }
                    sending.spawn([](stream& s, byte_string b) -> task<> {
                        for (std::size_t i = 0; i < b.size(); i += 8192)
                            if (!co_await s.write(std::span(b).subspan(i, std::min<std::size_t>(8192, b.size() - i))))
                                co_return;
                    }(both.raw, std::move(bomb)));
                }
                auto const end = co_await both.ws.read();
                CHECK(end.error() == violation(proto::errc::message_too_large));
                INFO("peak " << test::memory_peak() - before);
                CHECK(test::memory_peak() - before <= most + 256 * 1024);
                auto const close = co_await read_wire(both.raw);
                CHECK(close.close_code() == 1009);
                both.raw.shutdown();
                co_await sending.join();
                both.ws.abort();
            }(limit, how));
        }
}

TEST_CASE("deflate: what nobody reads is held up to read_limit, decompressed")
{
    on_each_stream([](kind k) -> task<> {
        auto both = co_await raw_deflated(k, server_with(keeping), "permessage-deflate", {.small_buffers = true});
        zlib_peer peer(15, 9);
        std::string const large(1 << 20, 'z');
        byte_string all;
        for (int i = 0; i < 50; ++i)
            append(all, masked(0xC1, peer.compress(large)));
        co_await turns(3);
        auto const before = test::memory_in_use();
        test::reset_memory_peak();
        scope sending;
        sending.spawn(send(both.raw, all));
        co_await turns(50);
        CHECK(test::memory_peak() - before <= 512 * 1024);
        for (int i = 0; i < 50; ++i) {
            auto const m = co_await both.ws.read();
            bool const same = m && m->text() == large;
            CHECK(same);
        }
        co_await sending.join();
        both.ws.abort();
    });
}

TEST_CASE("deflate: one who sends bombs does not keep the loop from the others")
{
    on_loop([]() -> task<> {
        auto bomber = co_await raw_deflated(kind::memory, server_with(keeping));
        auto other = co_await raw_client();
        zlib_peer peer(15, 9);
        std::string const large(1 << 20, '\0');
        byte_string all;
        for (int i = 0; i < 40; ++i)
            append(all, masked(0xC2, peer.compress(large)));
        int read = 0;
        scope children;
        children.spawn([](ws::connection& ws, int& n) -> task<> {
            while (auto const m = co_await ws.read())
                ++n;
        }(bomber.ws, read));
        children.spawn(echo(other.ws));
        co_await turns(2);
        co_await send(bomber.raw, all);
        int at_once = 0;
        for (int i = 0; i < 400 && read < 40; ++i) {
            int const before = read;
            co_await send(other.raw, masked(0x81, "still there?"));
            auto const back = co_await read_wire(other.raw);
            CHECK(back.payload == "still there?");
            at_once = std::max(at_once, read - before);
        }
        CHECK(read == 40);
        CHECK(at_once <= 3);
        bomber.ws.abort();
        other.ws.abort();
        co_await children.join();
    }());
}

// ---- cancel, ends --------------------------------------------------------------------------------------------------

namespace {

struct script
{
    byte_string bytes;
    std::string transcript;
};

script make_script()
{
    zlib_peer peer;
    script s;
    std::size_t const sizes[] = {0, 1, 100, 1024, 3000, test::load(20'000, 4000), test::load(70'000, 9000)};
    unsigned number = 0;
    for (std::size_t size : sizes) {
        auto const text = some_text(size, ++number);
        append(s.bytes, masked(0xC2, peer.compress(text)) + masked(0x89, "p"));
        s.transcript += "<binary " + text + ">";
        if (number % 2 == 0) {
            auto const payload = peer.compress(text);
            auto const cut = payload.size() / 3;
            append(s.bytes, masked(0x41, payload.substr(0, cut)) + masked(0x89, "between") + masked(0x00) +
                                masked(0x80, payload.substr(cut)) + masked(0x81, "plain"));
            s.transcript += "<text " + text + "><text plain>";
        }
    }
    append(s.bytes, masked(0x88, close_payload(1000, "done")));
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
    auto both = co_await raw_deflated(k, server_with(keeping), "permessage-deflate", {.chunk = chunk});
    static script const s = make_script();
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
    co_return plan.suspensions;
}

} // namespace

TEST_CASE("deflate: a cancel at any suspension of a scripted session loses no byte")
{
    for (kind k : kinds)
        for (std::size_t chunk : {std::size_t{0}, std::size_t{700}})
            for (int how : {0, 1, 2})
                for (int delay : {0, 1}) {
                    if (k != kind::memory && chunk != 0)
                        continue;
                    INFO(name_of(k) << ", chunks of " << chunk << ", way " << how << ", delay " << delay);
                    std::size_t suspensions = 1;
                    for (std::size_t at = 0; at < suspensions && at < 60; ++at)
                        on_loop([](kind w, std::size_t c, std::size_t n, int d, int h, std::size_t& out) -> task<> {
                            out = co_await scripted(w, c, n, d, h);
                        }(k, chunk, at, delay, how, suspensions));
                }
}

TEST_CASE("deflate: bytes one by one make the same messages")
{
    for (int by_frames : {0, 1})
        on_loop([](int how) -> task<> {
            auto both = co_await raw_deflated(kind::memory, server_with(keeping), "permessage-deflate", {.chunk = 1});
            static script const s = make_script();
            scope peer;
            peer.spawn(send(both.raw, s.bytes));
            net_test::cancel_plan never;
            never.at = static_cast<std::size_t>(-1);
            auto const transcript = co_await read_under(both.ws, never, how);
            bool const same = transcript == s.transcript + make_error_code(ws::closed).message();
            CHECK(same);
            both.raw.shutdown();
            co_await peer.join();
        }(by_frames));
}

TEST_CASE("deflate: a message stays valid until the next read, whatever arrives")
{
    on_each_stream([](kind k) -> task<> {
        auto both = co_await raw_deflated(k, server_with(keeping));
        zlib_peer peer;
        auto const first = some_text(10'000, 1);
        co_await send(both.raw, masked(0xC1, peer.compress(first)));
        auto const m = co_await both.ws.read();
        byte_string many;
        for (unsigned i = 0; i < 20; ++i)
            append(many, masked(0xC1, peer.compress(some_text(9000, i + 2))));
        scope sending;
        sending.spawn(send(both.raw, many));
        co_await turns(10);
        CHECK(m.value().text() == first);
        for (unsigned i = 0; i < 20; ++i) {
            auto const next = co_await both.ws.read();
            CHECK(next.value().text() == some_text(9000, i + 2));
        }
        co_await sending.join();
        both.ws.abort();
    });
}

TEST_CASE("deflate: a connection that goes in the middle of a message gives everything back", "[sizes]")
{
    on_each_stream([](kind k) -> task<> {
        for (int how = 0; how < 6; ++how) {
            INFO(name_of(k) << ", way " << how);
            std::size_t const before = lent_blocks();
            {
                auto both = co_await raw_deflated(k, server_with(how % 2 ? keeping : on));
                zlib_peer peer;
                auto const payload = peer.compress(some_text(2'000'000));
                co_await send(both.raw, masked(0x41, payload.substr(0, payload.size() / 2)));
                auto const part = co_await both.ws.read_frame();
                CHECK(part.has_value());
                auto const begun = co_await both.ws.write_frame({ws::opcode::text, false, part->payload});
                CHECK(begun.has_value());
                switch (how) {
                case 0:
                case 1: both.ws.abort(); break;
                case 2: both.raw.abort(); break;
                case 3: both.raw.shutdown(); break;
                default: break; // it is destroyed
                }
                if (how == 2 || how == 3)
                    while (auto const rest = co_await both.ws.read_frame()) {
                    }
            }
            for (int i = 0; i < 1000 && lent_blocks() > before + 64; ++i)
                co_await next_turn();
            CHECK(lent_blocks() <= before + 64);
        }
    });
}

TEST_CASE("deflate: data that comes while this side closes is dropped, or given to one who waits, in its window")
{
    on_loop([]() -> task<> {
        auto both = co_await raw_deflated(kind::memory, server_with(keeping));
        zlib_peer peer;
        auto const early = co_await timeout(duration::zero(), both.ws.close());
        CHECK(!early);
        co_await send(both.raw, masked(0xC1, peer.compress("this is dropped")));
        co_await turns(5);
        scope waiting;
        std::string got;
        waiting.spawn([](ws::connection& ws, std::string& out) -> task<> {
            auto m = co_await next_message(ws);
            out = std::move(m);
        }(both.ws, got));
        co_await turns(2);
        co_await send(both.raw, masked(0xC1, peer.compress("this is not dropped")) + masked(0x88, close_payload(1000)));
        co_await waiting.join();
        CHECK(got == "text this is not dropped");
        auto const end = co_await both.ws.read();
        CHECK(end.error() == ws::closed);
    }());
}

// ---- writing -------------------------------------------------------------------------------------------------------

TEST_CASE("deflate: small messages and those that are told not to go as they are")
{
    on_loop([]() -> task<> {
        for (auto d : {on, keeping}) {
            d.threshold = 100;
            auto both = co_await raw_deflated(kind::memory, server_with(d));
            auto const small = some_text(99);
            auto const large = some_text(100);
            zlib_peer peer;
            struct
            {
                std::string text;
                bool compress;
                bool compressed;
            } const rows[] = {{small, true, false}, {large, true, true}, {large, false, false}, {"", true, false},
                              {large, true, true}};
            for (auto const& row : rows) {
                auto const sent = co_await both.ws.write(row.text, {.compress = row.compress});
                CHECK(sent.has_value());
                auto const posted = both.ws.post(ws::shared_message::text(row.text, {.compress = row.compress}));
                CHECK(posted == ws::posted::queued);
                for (int i = 0; i < 2; ++i) {
                    auto const f = co_await read_wire(both.raw);
                    CHECK(f.first == (row.compressed ? 0xC1 : 0x81));
                    if (!d.server_takeover)
                        peer.forget_received();
                    CHECK((row.compressed ? peer.decompress(f.payload) : f.payload) == row.text);
                }
            }
            both.ws.abort();
        }
    }());
}

TEST_CASE("deflate: with a threshold of 0 even what is empty is compressed, if there is a window or it becomes smaller")
{
    on_loop([]() -> task<> {
        for (auto d : {on, keeping}) {
            d.threshold = 0;
            auto both = co_await raw_deflated(kind::memory, server_with(d));
            zlib_peer peer;
            for (std::string const& text : {std::string(), std::string("a"), to_text(pattern(5000)),
                                            std::string(50, 'x'), std::string(), std::string()}) {
                auto const sent = co_await both.ws.write(text);
                CHECK(sent.has_value());
                auto const f = co_await read_wire(both.raw);
                CHECK((f.first == 0xC1) == (d.server_takeover || text.size() == 50));
                if (!d.server_takeover)
                    peer.forget_received();
                CHECK((f.first == 0xC1 ? peer.decompress(f.payload) : f.payload) == text);
            }
            both.ws.abort();
        }
    }());
}

TEST_CASE("deflate: takeovers make small messages smaller, and those without do not depend on each other")
{
    on_loop([]() -> task<> {
        auto const text = some_text(500);
        for (bool keeps : {false, true}) {
            auto both = co_await raw_deflated(kind::memory, server_with(keeps ? keeping : on));
            std::vector<std::string> payloads;
            for (int i = 0; i < 3; ++i) {
                auto const sent = co_await both.ws.write(text);
                CHECK(sent.has_value());
                auto const f = co_await read_wire(both.raw);
                payloads.push_back(f.payload);
            }
            CHECK((payloads[0] == payloads[1]) == !keeps);
            CHECK((payloads[2].size() < 30) == keeps);
            both.ws.abort();
        }
    }());
}

TEST_CASE("deflate: what a frame of a message says can be read when it has arrived")
{
    on_each_stream([](kind k) -> task<> {
        for (bool keeps : {false, true}) {
            auto both = co_await raw_deflated(k, server_with(keeps ? keeping : on));
            zlib_peer peer;
            for (int round = 0; round < 3; ++round) {
                std::vector<std::string> const texts = {"one", "", some_text(40'000), "", "five", some_text(100), ""};
                for (std::size_t i = 0; i < texts.size(); ++i) {
                    bool const last = i + 1 == texts.size();
                    scope writing;
                    writing.spawn([](ws::connection& ws, std::string_view text, bool first, bool fin) -> task<> {
                        auto const sent = co_await ws.write_frame(
                            {first ? ws::opcode::text : ws::opcode::continuation, fin, std::as_bytes(std::span(text))});
                        CHECK(sent.has_value());
                    }(both.ws, texts[i], i == 0, last));
                    auto const f = co_await read_wire(both.raw);
                    CHECK(f.first == ((i == 0 ? 0x41U : 0U) | (last ? 0x80U : 0U)));
                    auto const text = last ? peer.decompress(f.payload) : peer.part(f.payload);
                    CHECK(text == texts[i]);
                    co_await writing.join();
                }
                if (!keeps)
                    peer.forget_received();
            }
            both.ws.abort();
        }
    });
}

TEST_CASE("deflate: of a message in frames the first one decides")
{
    on_loop([]() -> task<> {
        auto both = co_await raw_deflated(kind::memory, server_with(keeping));
        auto const text = some_text(200);
        zlib_peer peer;
        for (bool compress : {false, true}) {
            auto const one = co_await both.ws.write_frame({ws::opcode::text, false, std::as_bytes(std::span(text))},
                                                          {.compress = compress});
            CHECK(one.has_value());
            auto const two = co_await both.ws.write_frame(
                {ws::opcode::continuation, true, std::as_bytes(std::span(text))}, {.compress = !compress});
            CHECK(two.has_value());
            auto const first = co_await read_wire(both.raw);
            auto const second = co_await read_wire(both.raw);
            CHECK(first.first == (compress ? 0x41 : 0x01));
            CHECK(second.first == 0x80);
            auto const all = first.payload + second.payload;
            CHECK((compress ? peer.decompress(all) : all) == text + text);
        }
        both.ws.abort();
    }());
}

TEST_CASE("deflate: any number of coroutines write, and one window follows their order")
{
    on_each_stream([](kind k) -> task<> {
        for (bool server : {true, false}) {
            auto options = server_with(keeping);
            auto client = client_with(keeping);
            options.send_limit = client.send_limit = 2000; // so that most have to wait for their turn
            auto both = co_await open_pair(k, options, client, {.small_buffers = true});
            auto& from = server ? both.server : both.client;
            auto& to = server ? both.client : both.server;
            scope writers;
            std::vector<std::string> texts;
            for (unsigned i = 0; i < 60; ++i)
                texts.push_back(std::to_string(1000 + i) +
                                (i % 5 == 4 ? to_text(pattern(30'000, i)) : some_text(i * 61, i)));
            for (auto const& text : texts)
                writers.spawn([](ws::connection& ws, std::string const& t) -> task<> {
                    auto const sent = co_await ws.write(std::as_bytes(std::span(t)), {.compress = t.size() % 7 != 0});
                    CHECK(sent.has_value());
                }(from, text));
            for (auto const& text : texts) {
                auto const m = co_await to.read();
                bool const same = m && m->text() == text;
                CHECK(same);
            }
            co_await writers.join();
            from.abort();
        }
    });
}

TEST_CASE("deflate: a canceled write that waits for its turn leaves the window as it is")
{
    on_loop([]() -> task<> {
        auto options = server_with(keeping);
        options.send_limit = 100;
        auto both = co_await open_pair(kind::memory, options, client_with(keeping), {.small_buffers = true});
        auto const filler = to_text(pattern(100'000));
        scope writing;
        writing.spawn([](ws::connection& ws, std::string const& t) -> task<> {
            auto const sent = co_await ws.write(std::as_bytes(std::span(t)));
            CHECK(sent.has_value());
        }(both.server, filler));
        co_await turns(2);
        auto const never = co_await timeout(1ms, both.server.write(some_text(5000)));
        CHECK(never.error() == errc::timed_out);
        std::vector<std::string> const twice(2, some_text(3000, 1));
        writing.spawn(write_all(both.server, twice));
        auto m = co_await both.client.read();
        bool const same = m.value().text() == filler;
        CHECK(same);
        for (int i = 0; i < 2; ++i) {
            m = co_await both.client.read();
            CHECK(m.value().text() == some_text(3000, 1));
        }
        co_await writing.join();
        both.server.abort();
    }());
}

TEST_CASE("deflate: what was read is sent as it was, by frames, compressed or not", "[sizes]")
{
    on_each_stream([](kind k) -> task<> {
        for (bool compress : {true, false}) {
            auto both = co_await open_pair(k, server_with(keeping), client_with(on));
            std::vector<std::string> texts;
            for (unsigned i = 0; i < 40; ++i)
                texts.push_back(some_text(i % 4 == 0 ? 300 : i % 4 == 1 ? 15'000 : i % 4 == 2 ? 16'384 : 300'000, i));
            scope children;
            children.spawn(write_all(both.client, texts));
            children.spawn([](ws::connection& ws, bool c) -> task<> {
                while (auto const frame = co_await ws.read_frame())
                    if (!co_await ws.write_frame(*frame, {.compress = c}))
                        break;
            }(both.server, compress));
            for (auto const& text : texts) {
                auto const m = co_await both.client.read();
                bool const same = m && m->text() == text;
                CHECK(same);
            }
            both.server.abort();
            co_await children.join();
        }
    });
}

// ---- shared messages -----------------------------------------------------------------------------------------------

TEST_CASE("deflate: a shared message is compressed once for each kind of connection")
{
    auto const m = ws::shared_message::text(some_text(5000));
    auto& rep = *m.rep();
    auto const a = rep.compressed({15, 6, 8});
    auto const calls = test::mallocs.load();
    auto const again = rep.compressed({15, 6, 8});
    CHECK(test::mallocs == calls);
    CHECK(a.compressed);
    CHECK(a.frame.data() == again.frame.data());
    CHECK(a.frame.size() < 2500);
    auto const b = rep.compressed({9, 6, 8});
    auto const c = rep.compressed({15, 1, 8});
    CHECK(b.frame.data() != a.frame.data());
    CHECK(c.frame.data() != a.frame.data());
    CHECK(rep.compressed({9, 6, 8}).frame.data() == b.frame.data());
    for (auto const& form : {a, b, c}) {
        zlib_peer peer;
        CHECK(peer.decompress(to_text(form.payload)) == some_text(5000));
        CHECK(to_text(form.frame.first(2)) == "\xC1\x7E");
    }
    for (std::string const& text : {std::string(), std::string("a"), to_text(pattern(3000))}) { // no smaller
        auto const plain = ws::shared_message::text(text);
        CHECK_FALSE(plain.rep()->compressed({}).compressed);
        auto const before = test::mallocs.load();
        CHECK(plain.rep()->compressed({}).frame.data() == plain.rep()->frame().data());
        CHECK(test::mallocs == before); // it is not tried again
    }
    auto const never = ws::shared_message::text(some_text(5000), {.compress = false});
    CHECK_FALSE(never.rep()->compressed({}).compressed);
}

TEST_CASE("deflate: without memory a shared message goes as it is")
{
    auto const m = ws::shared_message::text(some_text(5000));
    for (std::size_t granted = 0; granted < 3; ++granted) {
        test::mallocs_left = static_cast<long>(granted);
        auto const form = m.rep()->compressed({14, 2, 3}); // a compressor that nobody has had
        test::mallocs_left = -1;
        CHECK_FALSE(form.compressed);
        CHECK(form.payload.size() == 5000);
    }
    CHECK(m.rep()->compressed({14, 2, 3}).compressed);
}

TEST_CASE("deflate: threads that want a shared message compressed get the same one")
{
    for (int round = 0; round < 20; ++round) {
        auto const m = ws::shared_message::text(some_text(20'000, static_cast<std::uint64_t>(round)));
        std::atomic<std::byte const*> seen{nullptr};
        std::atomic<int> different{0};
        std::vector<std::thread> threads;
        for (int t = 0; t < 4; ++t)
            threads.emplace_back([&, m] {
                std::byte const* const mine = m.rep()->compressed({}).frame.data();
                std::byte const* expected = nullptr;
                if (!seen.compare_exchange_strong(expected, mine) && expected != mine)
                    ++different;
            });
        for (auto& t : threads)
            t.join();
        CHECK(different == 0);
    }
}

TEST_CASE("deflate: writes and posts in any order reach peers of every kind, whatever they keep")
{
    on_each_stream([](kind k) -> task<> {
        std::vector<ws_pair> pairs;
        for (auto d : {ws::deflate_options{}, on, keeping,
                       ws::deflate_options{.on = true,
                       .server_takeover = true,
                       .client_takeover = true,
                       .server_window_bits = 9,
                       .client_window_bits = 10,
                       .level = 9,
                       .mem_level = 2},
                       ws::deflate_options{.on = true, .server_takeover = true, .threshold = 1000}}) {
            auto pair = co_await open_pair(k, server_with(d), client_with(d));
            pairs.push_back(std::move(pair));
        }
        test::random_source random{4711};
        for (int round = 0; round < 60; ++round) {
            // Each connection gets some messages of its own, each role; then all get the same one.
            std::vector<std::vector<std::string>> down(pairs.size());
            std::vector<std::vector<std::string>> up(pairs.size());
            for (std::size_t i = 0; i < pairs.size(); ++i)
                for (std::size_t n = random.below(3); n > 0; --n) {
                    auto const text = some_text(random.below(3000), random.below(10));
                    auto const sent = co_await pairs[i].server.write(text, {.compress = random.below(5) != 0});
                    CHECK(sent.has_value());
                    down[i].push_back(text);
                    auto const also = co_await pairs[i].client.write(text);
                    CHECK(also.has_value());
                    up[i].push_back(text);
                }
            auto const text = some_text(random.below(5000), random.below(10));
            auto const m = ws::shared_message::text(text, {.compress = random.below(5) != 0});
            for (std::size_t i = 0; i < pairs.size(); ++i) {
                for (std::size_t n = random.below(3); n > 0; --n) {
                    CHECK(pairs[i].server.post(m) == ws::posted::queued);
                    down[i].push_back(text);
                    CHECK(pairs[i].client.post(m) == ws::posted::queued);
                    up[i].push_back(text);
                }
                auto const mine = some_text(random.below(500), 3);
                auto const begun = co_await pairs[i].server.write_frame(
                    {ws::opcode::text, false, std::as_bytes(std::span(mine))});
                CHECK(begun.has_value());
                CHECK(pairs[i].server.post(m) == ws::posted::queued); // behind the open message
                auto const ended = co_await pairs[i].server.write_frame(
                    {ws::opcode::continuation, true, std::as_bytes(std::span(mine))});
                CHECK(ended.has_value());
                down[i].push_back(mine + mine);
                down[i].push_back(text);
            }
            for (std::size_t i = 0; i < pairs.size(); ++i) {
                for (auto const& expected : down[i]) {
                    auto const got = co_await pairs[i].client.read();
                    bool const same = got && got->text() == expected;
                    CHECK(same);
                }
                for (auto const& expected : up[i]) {
                    auto const got = co_await pairs[i].server.read();
                    bool const same = got && got->text() == expected;
                    CHECK(same);
                }
            }
            co_await turns(2);
            CHECK(m.rep()->references == 1);
        }
        for (auto& p : pairs)
            p.server.abort();
    });
}

TEST_CASE("deflate: post() counts a message for the limit as it is sent")
{
    on_loop([]() -> task<> {
        auto options = server_with(on);
        options.send_limit = 6000;
        auto both = co_await raw_deflated(kind::memory, options);
        auto const m = ws::shared_message::text(std::string(100'000, 'm'));
        int posted = 0;
        while (both.ws.post(m) == ws::posted::queued)
            ++posted;
        CHECK(posted > 10);
        CHECK(both.ws.buffered() <= 6000);
        for (int i = 0; i < posted; ++i) {
            zlib_peer peer;
            auto const f = co_await read_wire(both.raw);
            bool const same = peer.decompress(f.payload) == std::string(100'000, 'm');
            CHECK(same);
        }
        both.ws.abort();
    }());
}

// ---- memory --------------------------------------------------------------------------------------------------------

TEST_CASE("deflate: without takeovers steady state takes nothing from the heap", "[sizes]")
{
    for (kind k : {kind::memory, kind::tcp})
        for (std::size_t size : {100U, 1000U, 16'000U})
            for (bool frames : {false, true}) {
                INFO(name_of(k) << ", " << size << " bytes, by frames " << frames);
                on_loop([](kind where, std::size_t bytes, bool by_frames) -> task<> {
                    auto both = co_await open_pair(where, server_with(on), client_with(on));
                    scope echoing;
                    echoing.spawn([](ws::connection& ws, bool f) -> task<> {
                        for (bool more = true; more;) {
                            if (f) {
                                auto const frame = co_await ws.read_frame();
                                more = frame && co_await ws.write_frame(*frame);
                            } else {
                                auto const m = co_await ws.read();
                                more = m && co_await ws.write(*m);
                            }
                        }
                    }(both.server, by_frames));
                    auto const text = some_text(bytes);
                    std::size_t calls = 1;
                    for (int round = 0; round < 5 && calls > 0; ++round) {
                        auto const before = test::mallocs + test::news;
                        bool good = true;
                        for (int i = 0; i < 400; ++i) {
                            auto const sent = co_await both.client.write(text);
                            auto const back = co_await both.client.read();
                            good = good && sent && back && back->payload.size() == bytes;
                        }
                        calls = test::mallocs + test::news - before;
                        CHECK(good);
                    }
                    CHECK(calls == 0);
                    both.client.abort();
                    co_await echoing.join();
                }(k, size, frames));
            }
}

namespace {

/// Bytes that a pair keeps, after both have taken and sent messages, and that is left of them after free_when_idle.
std::pair<std::size_t, std::size_t> kept_by(int count, ws::deflate_options d)
{
    std::pair<std::size_t, std::size_t> kept;
    on_loop([](int n, ws::deflate_options o, std::pair<std::size_t, std::size_t>& out) -> task<> {
        std::vector<ws_pair> pairs;
        std::size_t before = 0;
        std::size_t const at_first = test::memory_in_use();
        for (int i = -8; i < n; ++i) { // the first ones fill what the loop keeps
            if (i == 0)
                before = test::memory_in_use();
            auto pair = co_await open_pair(kind::memory, server_with(o), client_with(o));
            pairs.push_back(std::move(pair));
            auto& p = pairs.back();
            for (auto* from : {&p.server, &p.client}) {
                auto& to = from == &p.server ? p.client : p.server;
                for (int m = 0; m < 2; ++m) {
                    auto const sent = co_await from->write(some_text(300));
                    CHECK(sent.has_value());
                    auto const got = co_await to.read();
                    CHECK(got.has_value());
                }
                auto const none = co_await timeout(duration::zero(), to.read()); // gives its buffer back
                CHECK(!none);
            }
        }
        out.first = (test::memory_in_use() - before) / static_cast<std::size_t>(n);
        out.second = out.first;
        for (int i = 0; i < 2000 && o.free_when_idle > duration::zero() && out.second > 30 * 1024; ++i) {
            auto const slept = co_await sleep_for(5ms);
            CHECK(slept.has_value());
            out.second = (test::memory_in_use() - at_first) / static_cast<std::size_t>(n + 8);
        }
        for (int m = 0; m < 2; ++m)
            for (auto& p : pairs) {
                auto const sent = co_await p.server.write(some_text(400));
                CHECK(sent.has_value());
                auto const got = co_await p.client.read();
                CHECK(got.value().text() == some_text(400));
                auto const back = co_await p.client.write(some_text(400));
                CHECK(back.has_value());
                auto const there = co_await p.server.read();
                CHECK(there.value().text() == some_text(400));
            }
        for (auto& p : pairs)
            p.server.abort();
    }(count, d, kept));
    return kept;
}

} // namespace

TEST_CASE("deflate: connections without takeovers keep nothing, those with one what the documents say")
{
    auto const none = kept_by(32, {}).first;
    auto const fresh = kept_by(32, on).first;
    auto const with_both = kept_by(32, keeping).first;
    auto with_windows = [](int bits, int mem_level) {
        auto o = keeping;
        o.server_window_bits = o.client_window_bits = bits;
        o.mem_level = mem_level;
        return kept_by(32, o).first;
    };
    auto const with_12 = with_windows(12, 5);
    auto const with_small = with_windows(10, 2);
    auto one_side = keeping;
    one_side.client_takeover = false;
    auto const with_one = kept_by(32, one_side).first;
    INFO("a pair keeps: " << none << " without, " << fresh << " without takeovers, " << with_one << " with the server's, "
                          << with_both << " with both, " << with_12 << " with windows of 12 bits, " << with_small
                          << " with windows of 10");
    CHECK(fresh <= none + 64);
    CHECK(with_both > none + 2 * 256 * 1024); // two compressors
    CHECK(with_both < none + 2 * (270 + 8 + 33) * 1024 + 4096);
    CHECK(with_one < none + (270 + 8 + 33) * 1024 + 4096);
    CHECK(with_12 < none + 2 * 51 * 1024);
    CHECK(with_small < none + 2 * 20 * 1024);
}

TEST_CASE("deflate: what is not used for long is freed, and nothing is lost")
{
    auto options = keeping;
    options.free_when_idle = 20ms;
    auto const idle = kept_by(64, options).second;
    INFO("a pair that is idle keeps " << idle);
    CHECK(idle < 30 * 1024); // the most of it is what the loop keeps
}

TEST_CASE("deflate: a window that was put away is there when the peer refers to it", "[sizes]")
{
    on_loop([]() -> task<> {
        for (std::size_t size : {100U, 20'000U, 100'000U}) {
            auto options = keeping;
            options.free_when_idle = 1ms;
            auto both = co_await raw_deflated(kind::memory, server_with(options));
            zlib_peer peer; // which never forgets
            auto const text = some_text(size);
            for (int round = 0; round < 4; ++round) {
                auto const before = test::memory_in_use();
                co_await send(both.raw, masked(0xC1, peer.compress(text)));
                auto const m = co_await both.ws.read();
                CHECK(m.value().text() == text);
                auto const none = co_await timeout(duration::zero(), both.ws.read());
                CHECK(!none);
                for (int i = 0; i < 2000 && test::memory_in_use() > before + 1000; ++i) {
                    auto const slept = co_await sleep_for(2ms);
                    CHECK(slept.has_value());
                    if (round == 0 && i == 20)
                        break; // the loop keeps the first one
                }
            }
            both.ws.abort();
        }
    }());
}

TEST_CASE("deflate: a message in the middle is no idle one", "[sizes]")
{
    on_loop([]() -> task<> {
        auto options = keeping;
        options.free_when_idle = 1ms;
        auto both = co_await open_pair(kind::memory, server_with(options), client_with(options));
        auto const text = some_text(2000);
        for (int round = 0; round < 3; ++round) {
            auto const begun =
                co_await both.server.write_frame({ws::opcode::text, false, std::as_bytes(std::span(text))});
            CHECK(begun.has_value());
            auto const part = co_await both.client.read_frame();
            CHECK(part.value().text() == text);
            for (int i = 0; i < 5; ++i) {
                auto const slept = co_await sleep_for(3ms);
                CHECK(slept.has_value());
            }
            auto const ended =
                co_await both.server.write_frame({ws::opcode::continuation, true, std::as_bytes(std::span(text))});
            CHECK(ended.has_value());
            auto const rest = co_await both.client.read_frame();
            CHECK(rest.value().text() == text);
            auto const slept = co_await sleep_for(round * 5ms);
            CHECK(slept.has_value());
        }
        both.server.abort();
    }());
}

TEST_CASE("deflate: without memory for zlib a connection ends with 1011, and only that one")
{
    on_loop([]() -> task<> {
        auto options = keeping;
        options.server_window_bits = 13; // of a kind that the loop has none of
        options.client_window_bits = 13;
        options.mem_level = 3;
        for (bool reading : {true, false}) {
            auto both =
                co_await raw_deflated(kind::memory, server_with(options), "permessage-deflate; client_max_window_bits");
            auto other = co_await raw_client();
            zlib_peer peer(13);
            co_await send(both.raw, masked(0x82, std::string(20'000, 'a'))); // fills the free lists
            auto const warm = co_await both.ws.read();
            CHECK(warm.has_value());
            auto const sent = co_await both.ws.write("b");
            CHECK(sent.has_value());
            auto const got = co_await read_wire(both.raw);
            CHECK(got.payload == "b");
            if (reading)
                co_await send(both.raw, masked(0xC1, peer.compress(some_text(1000))));
            co_await turns(reading ? 0 : 2);
            test::malloc_fails = true;
            std::error_code error;
            if (reading) {
                auto const m = co_await both.ws.read();
                error = m.error();
            } else {
                auto const w = co_await both.ws.write(some_text(1000));
                error = w.error();
            }
            test::malloc_fails = false;
            CHECK(error == std::errc::not_enough_memory);
            auto const close = co_await read_wire(both.raw);
            CHECK(close.close_code() == 1011);
            co_await send(other.raw, masked(0x81, "well"));
            auto const unharmed = co_await next_message(other.ws);
            CHECK(unharmed == "text well");
            other.ws.abort();
            both.ws.abort();
        }
    }());
}
