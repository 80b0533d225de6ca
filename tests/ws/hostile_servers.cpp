// SPDX-License-Identifier: BSL-1.0
// Servers that mean harm, or speak something else: each is one test. In every one that is refused no frame is parsed (a
// ping behind the answer would be answered), nothing but the request is sent, and nothing is left behind.
#include "proxies.hpp"

#include <set>

using namespace ws_test;
using namespace std::string_literals;

namespace {

/// How a server's answer comes to the client.
struct way
{
    kind where;
    std::size_t chunk; ///< bytes that arrive at a time; 0: all
};
constexpr way ways[] = {{kind::memory, 0}, {kind::memory, 1}, {kind::memory, 7}, {kind::tcp, 0}};

struct met
{
    std::error_code error;
    std::string after_request; ///< what the client said besides
};

/// Answers a request and then waits for the client to go. `@@`: the right accept value.
task<> hostile(stream& s, std::string text, bool then_end, std::string& heard)
{
    auto const request = co_await read_head(s);
    auto const good = switching(request);
    auto const accept = good.substr(good.find("Accept: ") + 8, 28);
    for (auto at = text.find("@@"); at != text.npos; at = text.find("@@"))
        text.replace(at, 2, accept);
    co_await say(s, text);
    if (then_end)
        s.shutdown();
    heard = co_await read_rest(s);
}

task<> meet(met& out, std::string answer, ws::connect_options options, bool then_end, way w)
{
    auto streams = co_await connected(w.where, {.chunk = w.chunk});
    scope server;
    server.spawn(hostile(streams.second, std::move(answer), then_end, out.after_request));
    {
        auto ws = co_await connect_over(std::move(streams.first), "ws://test/", options);
        out.error = ws.error();
        if (ws)
            ws->abort();
    }
    co_await server.join();
}

/// What becomes of a connection to a server that answers so.
void expect(std::string const& answer, std::error_code wanted, ws::connect_options options = quiet_client(),
            bool then_end = false)
{
    std::string const ping = to_text(unmasked(0x89, "are you there"));
    for (auto const& w : ways) {
        INFO(name_of(w.where) << " " << w.chunk << "\n" << answer.substr(0, 500));
        net_test::no_descriptor_leaks const none;
        met m;
        on_loop(meet(m, then_end ? answer : answer + ping, options, then_end, w));
        CHECK(m.error == wanted);
        // Unread bytes make the end a reset; either way nothing was said.
        CHECK((m.after_request.empty() || m.after_request.starts_with("<")));
    }
}

void expect(std::string const& answer, proto::errc rule, ws::connect_options options = quiet_client(),
            bool then_end = false)
{
    expect(answer, violation(rule), options, then_end);
}

std::error_code status(int code)
{
    return {code, ws::http_category()};
}

std::string answer(std::string_view more = {}, std::string_view first_line = "HTTP/1.1 101 Switching Protocols")
{
    return std::string(first_line) +
           "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: @@\r\n" + std::string(more) + "\r\n";
}

std::string changed(std::string_view from, std::string_view to)
{
    std::string text = answer();
    auto const at = text.find(from);
    REQUIRE(at != text.npos);
    return text.replace(at, from.size(), to);
}

ws::connect_options offering(std::string_view subprotocols)
{
    auto options = quiet_client();
    options.subprotocols = subprotocols;
    return options;
}

/// Opens against a server that sends `behind` in the same breath as its 101, and gives what is read and how it ends.
struct opened
{
    std::vector<std::string> messages;
    std::error_code end;
    wire_frame close; ///< what the server is told
};

opened open_with(std::string const& behind, way w)
{
    opened out;
    on_loop([](opened& o, std::string text, way how) -> task<> {
        auto streams = co_await connected(how.where, {.chunk = how.chunk});
        scope server;
        server.spawn([](stream& s, std::string then, wire_frame& f) -> task<> {
            auto const request = co_await read_head(s);
            co_await say(s, switching(request) + then);
            f = co_await read_wire(s);
            s.shutdown();
        }(streams.second, text, o.close));
        auto ws = co_await connect_over(std::move(streams.first), "ws://test/", quiet_client());
        CHECK(ws.has_value());
        while (auto m = co_await ws->read())
            o.messages.push_back(m->to_string());
        o.end = ws->status().error;
        co_await server.join();
    }(out, behind, w));
    return out;
}

void expect_violation(std::string const& behind, proto::errc rule, unsigned code)
{
    for (auto const& w : ways) {
        INFO(name_of(w.where) << " " << w.chunk);
        auto const o = open_with(behind, w);
        CHECK(o.messages.empty());
        CHECK(o.end == violation(rule));
        CHECK(o.close.close_code() == code);
    }
}

/// What `connect` makes of arguments; nothing may be sent.
std::error_code asked_for(std::string const& url, ws::connect_options options)
{
    std::error_code e;
    on_loop([](std::error_code& out, std::string u, ws::connect_options o) -> task<> {
        auto streams = make_stream_pair();
        auto const ws = co_await connect_over(std::move(streams.first), u, o);
        out = ws.error();
        auto const rest = co_await read_rest(streams.second);
        CHECK(rest.empty());
    }(e, url, options));
    return e;
}

} // namespace

// ---- the status ----------------------------------------------------------------------------------------------------

TEST_CASE("hostile server: 200 in place of 101")
{
    expect("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", status(200));
    expect(answer("", "HTTP/1.1 200 OK"), status(200));
}

TEST_CASE("hostile server: 204 in place of 101")
{
    expect(answer("", "HTTP/1.1 204 No Content"), status(204));
}

TEST_CASE("hostile server: 426, though the version was right")
{
    expect(answer("Sec-WebSocket-Version: 8\r\n", "HTTP/1.1 426 Upgrade Required"), status(426));
}

TEST_CASE("hostile server: a redirect that nobody has asked to follow")
{
    for (int code : {301, 302, 303, 307, 308})
        expect("HTTP/1.1 " + std::to_string(code) + " x\r\nLocation: ws://127.0.0.1:1/\r\n\r\n", status(code));
}

TEST_CASE("hostile server: an error of the server's, with all the fields of a 101")
{
    for (int code : {400, 401, 403, 404, 500, 503})
        expect(answer("", "HTTP/1.1 " + std::to_string(code) + " x"), status(code));
}

TEST_CASE("hostile server: interim answers without end")
{
    std::string many;
    for (int i = 0; i < 1000; ++i)
        many += "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n";
    expect(many, proto::errc::too_many_interim);
    many.clear();
    for (int i = 0; i < 1000; ++i)
        many += "HTTP/1.1 100 Continue\r\n\r\n";
    expect(many, proto::errc::too_many_interim);
}

TEST_CASE("hostile server: a 101 in HTTP/1.0")
{
    expect(answer("", "HTTP/1.0 101 Switching Protocols"), proto::errc::response_http_1_0);
}

TEST_CASE("hostile server: a 101 in another version of HTTP")
{
    for (auto const* version : {"HTTP/2.0", "HTTP/0.9", "HTTP/1.2", "HTTP/3.0"})
        expect(answer("", version + " 101 Switching Protocols"s), proto::errc::http_version_unsupported);
    expect(answer("", "http/1.1 101 x"), proto::errc::http_version_malformed);
    expect(answer("", "HTTP/11 101 x"), proto::errc::http_version_malformed);
}

TEST_CASE("hostile server: a status that is no number of three digits")
{
    for (auto const* line : {"HTTP/1.1 1O1 x", "HTTP/1.1 1010 x", "HTTP/1.1 10 x", "HTTP/1.1 -101 x", "HTTP/1.1  101 x",
                             "HTTP/1.1 001 x", "HTTP/1.1 601 x", "HTTP/1.1 101x"})
        expect(answer("", line), proto::errc::status_line);
}

// ---- Upgrade and Connection ----------------------------------------------------------------------------------------

TEST_CASE("hostile server: no Upgrade field")
{
    expect(changed("Upgrade: websocket\r\n", ""), proto::errc::response_upgrade);
}

TEST_CASE("hostile server: an Upgrade to something else, or to several things")
{
    for (auto const* value : {"h2c", "", "websocket, h2c", "h2c, websocket", "websocket/13", "web socket"})
        expect(changed("Upgrade: websocket", "Upgrade: "s + value), proto::errc::response_upgrade);
}

TEST_CASE("hostile server: two Upgrade fields")
{
    expect(answer("Upgrade: websocket\r\n"), proto::errc::response_upgrade);
}

TEST_CASE("hostile server: no Connection field")
{
    expect(changed("Connection: Upgrade\r\n", ""), proto::errc::response_connection);
}

TEST_CASE("hostile server: a Connection field without Upgrade")
{
    for (auto const* value : {"close", "keep-alive", "", "upgradex", "not upgrade"})
        expect(changed("Connection: Upgrade", "Connection: "s + value), proto::errc::response_connection);
}

// ---- Sec-WebSocket-Accept ------------------------------------------------------------------------------------------

TEST_CASE("hostile server: no Sec-WebSocket-Accept")
{
    expect(changed("Sec-WebSocket-Accept: @@\r\n", ""), proto::errc::accept_missing);
}

TEST_CASE("hostile server: an accept value that is another key's")
{
    expect(changed("@@", sample_accept), proto::errc::accept_mismatch);
}

TEST_CASE("hostile server: an accept value that is nearly right")
{
    for (auto const* value : {"@@x", "@@=", "\"@@\"", "@@, @@", "", "x@@"})
        expect(changed("@@", value), proto::errc::accept_mismatch);
}

TEST_CASE("hostile server: an accept value that is right but for the case of its letters")
{
    for (auto const& w : ways)
        on_loop([](way how) -> task<> {
            auto streams = co_await connected(how.where, {.chunk = how.chunk});
            scope server;
            server.spawn([](stream& s) -> task<> {
                auto const request = co_await read_head(s);
                auto text = switching(request);
                auto const at = text.find("Accept: ") + 8;
                for (std::size_t i = at; i < at + 28; ++i)
                    if (std::isalpha(static_cast<unsigned char>(text[i])))
                        text[i] = static_cast<char>(text[i] ^ 0x20);
                co_await say(s, text);
            }(streams.second));
            auto const ws = co_await connect_over(std::move(streams.first), "ws://test/", quiet_client());
            CHECK(ws.error() == violation(proto::errc::accept_mismatch));
            co_await server.join();
        }(w));
}

TEST_CASE("hostile server: the accept value twice, right both times")
{
    expect(answer("Sec-WebSocket-Accept: @@\r\n"), proto::errc::accept_duplicate);
}

TEST_CASE("hostile server: a right accept value and a wrong one")
{
    expect(answer("Sec-WebSocket-Accept: " + std::string(sample_accept) + "\r\n"), proto::errc::accept_duplicate);
}

TEST_CASE("hostile server: the key that was sent in place of what it must become")
{
    on_each([](kind k) -> task<> {
        auto streams = co_await connected(k);
        scope server;
        server.spawn([](stream& s) -> task<> {
            auto const request = co_await read_head(s);
            auto const key = request.substr(request.find("Sec-WebSocket-Key: ") + 19, 24);
            auto text = switching(request);
            co_await say(s, text.replace(text.find("Accept: ") + 8, 28, key));
        }(streams.second));
        auto const ws = co_await connect_over(std::move(streams.first), "ws://test/", quiet_client());
        CHECK(ws.error() == violation(proto::errc::accept_mismatch));
        co_await server.join();
    });
}

// ---- extensions and subprotocols -----------------------------------------------------------------------------------

TEST_CASE("hostile server: an extension that was not offered")
{
    expect(answer("Sec-WebSocket-Extensions: x-webkit-deflate-frame\r\n"), proto::errc::extension_unoffered);
    expect(answer("Sec-WebSocket-Extensions: foo; bar=1\r\n"), proto::errc::extension_unoffered);
}

TEST_CASE("hostile server: extensions that are no list of extensions")
{
    for (auto const* value : {"a b", ";x", "a;", "a; =1", "a; b=\"", "a; b=c d", "a/b", "\"a\""})
        expect(answer("Sec-WebSocket-Extensions: "s + value + "\r\n"), proto::errc::extension_invalid);
}

namespace {

ws::connect_options compressing(ws::deflate_options deflate)
{
    auto options = quiet_client();
    options.deflate = deflate;
    return options;
}

std::string extensions(std::string const& value)
{
    return answer("Sec-WebSocket-Extensions: " + value + "\r\n");
}

} // namespace

TEST_CASE("hostile server: compression that was not offered")
{
    expect(extensions("permessage-deflate"), proto::errc::extension_unoffered, compressing({}));
    expect(extensions("permessage-deflate, x"), proto::errc::extension_unoffered, compressing({.on = true}));
}

TEST_CASE("hostile server: compression agreed on twice")
{
    std::string const once = "permessage-deflate; server_no_context_takeover";
    expect(extensions(once + ", " + once), proto::errc::extension_duplicate);
    expect(extensions(once + ", Permessage-Deflate"), proto::errc::extension_duplicate);
    expect(extensions(once + "\r\nSec-WebSocket-Extensions: " + once), proto::errc::extension_duplicate);
}

TEST_CASE("hostile server: parameters of compression that do not exist, are bad, or come twice")
{
    auto const keeping = compressing({.on = true, .server_takeover = true, .client_takeover = true});
    for (auto const* parameter :
         {"mystery", "mystery=1", "server_no_context_takeover=1", "client_no_context_takeover=\"x\"",
          "server_no_context_takeover; server_no_context_takeover", "server_max_window_bits",
          "client_max_window_bits", "server_max_window_bits=12; server_max_window_bits=12",
          "server_max_window_bits=abc", "server_max_window_bits=+9", "server_max_window_bits=09",
          "server_max_window_bits=-9"})
        expect(extensions("permessage-deflate; "s + parameter), proto::errc::extension_parameters, keeping);
}

TEST_CASE("hostile server: windows of compression that no window can have, or larger ones than were offered")
{
    auto const keeping = compressing({.on = true, .server_takeover = true, .client_takeover = true});
    for (auto const* bits : {"0", "1", "7", "16", "150", "99999999999999999999"})
        for (auto const* parameter : {"server_max_window_bits=", "client_max_window_bits="})
            expect(extensions("permessage-deflate; "s + parameter + bits), proto::errc::extension_parameters, keeping);
    ws::deflate_options const small{
        .on = true, .server_takeover = true, .server_window_bits = 10, .client_window_bits = 11};
    expect(extensions("permessage-deflate; server_max_window_bits=11"), proto::errc::extension_parameters,
           compressing(small));
    expect(extensions("permessage-deflate; server_max_window_bits=10; client_max_window_bits=12"),
           proto::errc::extension_parameters, compressing(small));
    expect(extensions("permessage-deflate"), proto::errc::extension_parameters, compressing(small));
}

TEST_CASE("hostile server: a window that is kept though the offer forbids it")
{
    expect(extensions("permessage-deflate"), proto::errc::extension_parameters, compressing({.on = true}));
    expect(extensions("permessage-deflate; client_no_context_takeover"), proto::errc::extension_parameters,
           compressing({.on = true}));
}

TEST_CASE("hostile server: a subprotocol though none was offered")
{
    expect(answer("Sec-WebSocket-Protocol: chat\r\n"), proto::errc::response_subprotocol_unoffered);
}

TEST_CASE("hostile server: a subprotocol other than those that were offered")
{
    for (auto const* name : {"chat.v3", "Chat.v1", "chat", "chat.v1x", "\"chat.v1\""})
        expect(answer("Sec-WebSocket-Protocol: "s + name + "\r\n"), proto::errc::response_subprotocol_unoffered,
               offering("chat.v2, chat.v1"));
}

TEST_CASE("hostile server: an empty subprotocol")
{
    expect(answer("Sec-WebSocket-Protocol: \r\n"), proto::errc::response_subprotocol_unoffered,
           offering("chat.v2, chat.v1"));
}

TEST_CASE("hostile server: two subprotocols of those that were offered")
{
    expect(answer("Sec-WebSocket-Protocol: chat.v2, chat.v1\r\n"), proto::errc::response_subprotocol_multiple,
           offering("chat.v2, chat.v1"));
    expect(answer("Sec-WebSocket-Protocol: chat.v2\r\nSec-WebSocket-Protocol: chat.v1\r\n"),
           proto::errc::response_subprotocol_multiple, offering("chat.v2, chat.v1"));
    expect(answer("Sec-WebSocket-Protocol: chat.v2\r\nSec-WebSocket-Protocol: chat.v2\r\n"),
           proto::errc::response_subprotocol_multiple, offering("chat.v2, chat.v1"));
}

// ---- the head ------------------------------------------------------------------------------------------------------

TEST_CASE("hostile server: a head that is larger than the limit")
{
    expect(answer("X: " + std::string(17'000, 'x') + "\r\n"), proto::errc::head_too_large);
}

TEST_CASE("hostile server: a reason phrase without end")
{
    expect("HTTP/1.1 101 " + std::string(17'000, 'x'), proto::errc::head_too_large);
}

TEST_CASE("hostile server: more fields than the limit")
{
    std::string fields;
    for (int i = 0; i < 200; ++i)
        fields += "X: 1\r\n";
    expect(answer(fields), proto::errc::too_many_fields);
}

TEST_CASE("hostile server: a head without end is not taken in without end")
{
    on_each([](kind k) -> task<> {
        auto streams = co_await connected(k, {.small_buffers = true});
        scope server;
        std::size_t sent = 0;
        server.spawn([](stream& s, std::size_t& n) -> task<> {
            auto const request = co_await read_head(s);
            co_await say(s, "HTTP/1.1 101 x\r\n");
            for (;;) {
                auto const written = co_await s.write("X-Header: 0123456789abcdef0123456789abcdef\r\n");
                if (!written)
                    break;
                n += 44;
            }
        }(streams.second, sent));
        auto const ws = co_await connect_over(std::move(streams.first), "ws://test/", quiet_client());
        CHECK((ws.error() == violation(proto::errc::head_too_large) ||
               ws.error() == violation(proto::errc::too_many_fields)));
        co_await server.join();
        if (!net_test::is_tls(k)) // what that takes in at its end it drops, for a second at the most
            CHECK(sent < 8 << 20); // what the system's own buffers take
    });
}

TEST_CASE("hostile server: lines that end in LF alone")
{
    expect("HTTP/1.1 101 x\nUpgrade: websocket\nConnection: Upgrade\nSec-WebSocket-Accept: @@\n\n",
           proto::errc::bare_lf);
    expect(changed("websocket\r\n", "websocket\n"), proto::errc::bare_lf);
}

TEST_CASE("hostile server: CR alone")
{
    expect(changed("websocket\r\n", "websocket\rX"), proto::errc::bare_cr);
}

TEST_CASE("hostile server: a field that goes on in the next line")
{
    expect(answer("X: a\r\n b\r\n"), proto::errc::obs_fold);
    expect(changed("Protocols\r\n", "Protocols\r\n X: y\r\n"), proto::errc::space_before_field);
}

TEST_CASE("hostile server: white space before the colon")
{
    expect(changed("Upgrade: ", "Upgrade : "), proto::errc::space_before_colon);
}

TEST_CASE("hostile server: control characters in a field")
{
    for (char c : {'\0', '\x01', '\x7f', '\x1b'})
        expect(answer("X: a"s + c + "b\r\n"), proto::errc::control_character);
}

TEST_CASE("hostile server: a line that is no field")
{
    expect(answer("no field\r\n"), proto::errc::space_before_colon);
    expect(answer("nofield\r\n"), proto::errc::field_no_colon);
    expect(answer(": x\r\n"), proto::errc::field_name_invalid);
    expect(answer("X(y): x\r\n"), proto::errc::field_name_invalid);
}

TEST_CASE("hostile server: an empty line before the answer")
{
    expect("\r\n" + answer(), proto::errc::http_version_malformed);
}

TEST_CASE("hostile server: it speaks SSH")
{
    expect("SSH-2.0-OpenSSH_9.2p1\r\n", proto::errc::http_version_malformed);
}

TEST_CASE("hostile server: it speaks TLS")
{
    expect("\x15\x03\x01\x00\x02\x02\x46"s, proto::errc::tls_unexpected);
}

TEST_CASE("hostile server: it speaks HTTP/2")
{
    expect("\x00\x00\x12\x04\x00\x00\x00\x00\x00"s, proto::errc::http_version_malformed);
}

TEST_CASE("hostile server: random bytes")
{
    for (std::uint32_t seed = 1; seed <= 20; ++seed) {
        auto const bytes = pattern(2000, seed);
        std::string const text = to_text(bytes);
        if (!text.starts_with("H"))
            expect(text, proto::errc::http_version_malformed);
    }
}

TEST_CASE("hostile server: frames without an answer before them")
{
    expect(to_text(unmasked(0x81, "hello")), proto::errc::http_version_malformed);
}

// ---- time ----------------------------------------------------------------------------------------------------------

TEST_CASE("hostile server: it says nothing")
{
    auto options = quiet_client();
    options.handshake_timeout = 20ms;
    for (auto const& w : ways) {
        met m;
        on_loop(meet(m, "", options, false, w));
        CHECK(m.error == ws::errc::handshake_timeout);
    }
}

TEST_CASE("hostile server: a byte now and then does not put the deadline off")
{
    on_each([](kind k) -> task<> {
        auto streams = co_await connected(k);
        scope server;
        server.spawn([](stream& s) -> task<> {
            auto const request = co_await read_head(s);
            auto const text = answer("X: " + std::string(10'000, 'x') + "\r\n");
            for (char const& c : text) {
                auto const sent = co_await s.write(std::string_view(&c, 1));
                if (!sent)
                    break;
                auto const slept = co_await sleep_for(2ms);
                if (!slept)
                    break;
            }
        }(streams.second));
        auto options = quiet_client();
        options.handshake_timeout = 50ms;
        auto const start = clock::now();
        auto const ws = co_await connect_over(std::move(streams.first), "ws://test/", options);
        CHECK(ws.error() == ws::errc::handshake_timeout);
        CHECK(clock::now() - start < 3s); // the answer takes twenty
        server.request_stop();
        co_await server.join();
    });
}

TEST_CASE("hostile server: it leaves in the middle of its answer")
{
    auto const text = answer();
    for (std::size_t n : {std::size_t(0), std::size_t(1), std::size_t(20), text.size() - 3})
        expect(text.substr(0, n), errc::end_of_stream, quiet_client(), true);
}

TEST_CASE("hostile server: it resets the connection in the middle of its answer")
{
    on_each(
        [](kind k) -> task<> {
            auto streams = co_await connected(k);
            scope server;
            server.spawn([](stream& s) -> task<> {
                auto const request = co_await read_head(s);
                co_await say(s, "HTTP/1.1 101 Swi");
                s.abort();
            }(streams.second));
            auto const ws = co_await connect_over(std::move(streams.first), "ws://test/", quiet_client());
            CHECK(!ws);
            bool const told = ws.error() == std::errc::connection_reset || ws.error() == errc::end_of_stream;
            CHECK(told); // a Unix socket knows no reset
            co_await server.join();
        });
}

// ---- behind the head -----------------------------------------------------------------------------------------------

TEST_CASE("hostile server: frames in the same segment as the answer are frames, and none is lost")
{
    auto const frames = to_text(unmasked(0x81, "one") + unmasked(0x01, "t") + unmasked(0x80, "wo") +
                                unmasked(0x82, std::string(70'000, 'x')) + unmasked(0x88, close_payload(1000)));
    for (auto const& w : ways) {
        auto const o = open_with(frames, w);
        CHECK(o.messages == std::vector<std::string>{"one", "two", std::string(70'000, 'x')});
        CHECK(o.end == ws::closed);
        CHECK(o.close.close_code() == 1000);
    }
}

TEST_CASE("hostile server: a length or coding of the 101's body hides no frame")
{
    on_each([](kind k) -> task<> {
        auto streams = co_await connected(k);
        scope server;
        server.spawn([](stream& s) -> task<> {
            auto const request = co_await read_head(s);
            co_await say(s, switching(request, "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n") +
                                to_text(unmasked(0x81, "seen")));
        }(streams.second));
        auto ws = co_await connect_over(std::move(streams.first), "ws://test/", quiet_client());
        CHECK(ws.has_value());
        auto const m = co_await ws->read();
        CHECK(m.value().text() == "seen");
        co_await server.join();
        ws->abort();
    });
}

TEST_CASE("hostile server: a masked frame")
{
    expect_violation(to_text(masked(0x81, "hello")), proto::errc::mask_unexpected, 1002);
}

TEST_CASE("hostile server: a second answer behind the first")
{
    expect_violation("HTTP/1.1 101 Switching Protocols\r\n\r\n", proto::errc::reserved_bit, 1002);
}

TEST_CASE("hostile server: a compressed frame though nothing was agreed on")
{
    expect_violation(to_text(unmasked(0xC1, "hello")), proto::errc::reserved_bit, 1002);
}

TEST_CASE("hostile server: a reserved opcode")
{
    expect_violation(to_text(unmasked(0x83, "hello")), proto::errc::reserved_opcode, 1002);
    expect_violation(to_text(unmasked(0x8B, "hello")), proto::errc::reserved_opcode, 1002);
}

TEST_CASE("hostile server: a frame that claims nine exabytes")
{
    expect_violation("\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff"s, proto::errc::frame_too_large, 1009);
    expect_violation("\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff"s, proto::errc::length_msb, 1002);
}

TEST_CASE("hostile server: a continuation of nothing")
{
    expect_violation(to_text(unmasked(0x80, "hello")), proto::errc::continuation_stray, 1002);
}

TEST_CASE("hostile server: text that is no UTF-8")
{
    expect_violation(to_text(unmasked(0x81, "\xff")), proto::errc::utf8_text, 1007);
}

TEST_CASE("hostile server: pings without end are answered with no queue of pongs")
{
    std::string pings;
    for (int i = 0; i < 20'000; ++i)
        pings += to_text(unmasked(0x89, std::to_string(i)));
    on_loop([](std::string text) -> task<> {
        auto streams = co_await connected(kind::tcp, {.small_buffers = true});
        scope server;
        server.spawn([](stream& s, std::string p) -> task<> {
            auto const request = co_await read_head(s);
            co_await say(s, switching(request) + p + to_text(unmasked(0x81, "the end"))); // and reads nothing
        }(streams.second, text));
        auto ws = co_await connect_over(std::move(streams.first), "ws://test/", quiet_client());
        CHECK(ws.has_value());
        auto const m = co_await ws->read();
        CHECK(m.value().text() == "the end");
        CHECK(ws->buffered() < 8192);
        co_await server.join();
        ws->abort();
    }(pings));
}

// ---- TLS -----------------------------------------------------------------------------------------------------------

namespace {

/// What a client that trusts the usual authority makes of a server with this certificate.
std::error_code meets_certificate(tls_test::identity const& identity, std::string const& host)
{
    std::error_code e;
    on_loop([](std::error_code& out, tls_test::identity const& who, std::string name) -> task<> {
        auto const context = tls::context::server(who.certificate, who.key).value();
        test_server server;
        server.tls = &context;
        scope serving;
        serving.spawn(server.serve());
        auto options = quiet_client();
        options.tls = &tls_test::pki().connecting;
        auto to = co_await connect_stream(server.at());
        auto ws = co_await connect_over(std::move(to).value(), "wss://" + name + "/", options);
        out = ws.error();
        CHECK(server.heads.empty() == !ws); // not even the request is sent
        if (ws)
            ws->abort();
        serving.request_stop();
        co_await serving.join();
    }(e, identity, host));
    return e;
}

tls_test::certificate_request wanting(std::string names, long from = -3600, long to = 3600)
{
    tls_test::certificate_request r;
    r.names = std::move(names);
    r.from = from;
    r.to = to;
    return r;
}

} // namespace

TEST_CASE("hostile server: a certificate for another host")
{
    auto const& ca = tls_test::pki().ca;
    CHECK(!meets_certificate(ca.issue(wanting("DNS:good.test")), "good.test"));
    for (auto const* host : {"bad.test", "www.good.test", "good.test.evil", "127.0.0.1", "[::1]"}) {
        INFO(host);
        CHECK(meets_certificate(ca.issue(wanting("DNS:good.test")), host) == tls::errc::untrusted);
    }
    CHECK(meets_certificate(ca.issue(wanting("DNS:127.0.0.1")), "127.0.0.1") == tls::errc::untrusted);
    CHECK(!meets_certificate(ca.issue(wanting("IP:127.0.0.1")), "127.0.0.1"));
}

TEST_CASE("hostile server: an expired certificate, and one that is not valid yet")
{
    auto const& ca = tls_test::pki().ca;
    CHECK(meets_certificate(ca.issue(wanting("DNS:good.test", -7200, -3600)), "good.test") == tls::errc::untrusted);
    CHECK(meets_certificate(ca.issue(wanting("DNS:good.test", 3600, 7200)), "good.test") == tls::errc::untrusted);
}

TEST_CASE("hostile server: a certificate of its own making, or of an unknown authority")
{
    CHECK(meets_certificate(tls_test::authority::self_signed(wanting("DNS:good.test")), "good.test") ==
          tls::errc::untrusted);
    tls_test::authority const unknown;
    CHECK(meets_certificate(unknown.issue(wanting("DNS:good.test")), "good.test") == tls::errc::untrusted);
}

TEST_CASE("hostile server: plain HTTP where TLS was asked for")
{
    on_loop([]() -> task<> {
        test_server server; // speaks when it is spoken to: a TLS hello is no request
        scope serving;
        serving.spawn([](listener& door) -> task<> {
            auto peer = co_await door.accept();
            co_await say(*peer, "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
            peer->shutdown();
            auto const rest = co_await read_rest(*peer);
            (void)rest;
        }(server.door));
        auto options = quiet_client();
        options.tls = &tls_test::pki().connecting;
        auto const ws = co_await connect("wss://" + server.at() + "/", options);
        CHECK(ws.error() == tls::errc::not_tls);
        co_await serving.join();
    }());
}

// ---- redirects -----------------------------------------------------------------------------------------------------

TEST_CASE("hostile server: a redirect to another origin does not get the credentials")
{
    on_loop([]() -> task<> {
        test_server server;
        test_server thief;
        server.answers = {"HTTP/1.1 307 x\r\nLocation: " + thief.url("/give") + "\r\n\r\n"};
        scope serving;
        serving.spawn(server.serve());
        serving.spawn(thief.serve());
        header const headers[] = {{"Authorization", "Bearer secret"}, {"Cookie", "id=secret"},
                                  {"Proxy-Authorization", "secret"}};
        auto options = quiet_client();
        options.headers = headers;
        options.cookies = "other=secret";
        options.max_redirects = 3;
        auto ws = co_await connect("ws://secret:secret@" + server.at() + "/", options);
        CHECK(ws.has_value());
        CHECK(server.heads.at(0).find("secret") != std::string::npos);
        CHECK(thief.heads.at(0).find("secret") == std::string::npos);
        CHECK(thief.heads.at(0).find("uthorization") == std::string::npos);
        ws->abort();
        serving.request_stop();
        co_await serving.join();
    }());
}

TEST_CASE("hostile server: a redirect into this machine's Unix sockets, or out of WebSocket")
{
    on_loop([]() -> task<> {
        for (char const* location : {"ws+unix:/run/docker.sock:/", "file:/etc/passwd", "ftp://h/", "javascript:1"}) {
            test_server server;
            server.answers = {"HTTP/1.1 302 x\r\nLocation: "s + location + "\r\n\r\n"};
            scope serving;
            serving.spawn(server.serve());
            auto options = quiet_client();
            options.max_redirects = 3;
            auto const ws = co_await connect(server.url(), options);
            CHECK(ws.error() == violation(proto::errc::redirect_location));
            serving.request_stop();
            co_await serving.join();
        }
    }());
}

TEST_CASE("hostile server: redirects in a circle")
{
    on_loop([]() -> task<> {
        test_server server;
        server.answers.assign(100, "HTTP/1.1 302 x\r\nLocation: /\r\n\r\n");
        scope serving;
        serving.spawn(server.serve());
        auto options = quiet_client();
        options.max_redirects = 10;
        auto const ws = co_await connect(server.url(), options);
        CHECK(ws.error() == status(302));
        CHECK(server.heads.size() == 11);
        serving.request_stop();
        co_await serving.join();
    }());
}

// ---- what the application is given by others -----------------------------------------------------------------------

TEST_CASE("hostile input: line ends and NUL in the URL")
{
    for (auto const& url : {"ws://test/\r\nX: y"s, "ws://test/a\nb"s, "ws://test/a\0b"s, "ws://te\r\nst/"s,
                            "ws://test/?q=\r"s, "ws://u\r\nX: y@test/"s, "\r\nws://test/"s, "ws://test:80\r\n/"s}) {
        auto const e = asked_for(url, quiet_client());
        CHECK(e.category() == ws::protocol_category());
        CHECK(proto::is_argument(static_cast<proto::errc>(e.value())));
    }
}

TEST_CASE("hostile input: line ends and NUL in a header's name or value")
{
    for (auto const& value : {"a\r\nY: b"s, "a\nb"s, "a\rb"s, "a\0b"s, "\x7f"s}) {
        header const field{"X", value};
        auto options = quiet_client();
        options.headers = std::span(&field, 1);
        CHECK(asked_for("ws://test/", options) == violation(proto::errc::header_value));
    }
    for (auto const& name : {""s, "X Y"s, "X:"s, "X\r\nY"s, "X\0"s, "X\xc3\xa9"s}) {
        header const field{name, "a"};
        auto options = quiet_client();
        options.headers = std::span(&field, 1);
        CHECK(asked_for("ws://test/", options) == violation(proto::errc::header_name));
    }
}

TEST_CASE("hostile input: a header that is the handshake's own")
{
    for (auto const* name : {"Host", "connection", "Upgrade", "Sec-WebSocket-Key", "Sec-WebSocket-Version",
                             "Sec-WebSocket-Extensions", "sec-websocket-protocol", "Content-Length",
                             "Transfer-Encoding"}) {
        header const field{name, "a"};
        auto options = quiet_client();
        options.headers = std::span(&field, 1);
        CHECK(asked_for("ws://test/", options) == violation(proto::errc::header_reserved));
    }
}

TEST_CASE("hostile input: line ends and NUL in subprotocols, origin and cookies")
{
    for (auto const& text : {"a\r\nX: y"s, "a\nb"s, "a\0b"s}) {
        CHECK(asked_for("ws://test/", offering(text)).category() == ws::protocol_category());
        auto options = quiet_client();
        options.origin = text;
        CHECK(asked_for("ws://test/", options) == violation(proto::errc::header_value));
        options = quiet_client();
        options.cookies = text;
        CHECK(asked_for("ws://test/", options) == violation(proto::errc::header_value));
    }
    CHECK(asked_for("ws://test/", offering("a, b, a")) == violation(proto::errc::subprotocol_duplicate));
    CHECK(asked_for("ws://test/", offering("a b")) == violation(proto::errc::subprotocol_invalid));
}

TEST_CASE("hostile input: a URL with a fragment, or with user information that is none")
{
    CHECK(asked_for("ws://test/#f", quiet_client()) == violation(proto::errc::url_fragment));
    CHECK(asked_for("ws://a@b@test/", quiet_client()) == violation(proto::errc::url_userinfo));
    CHECK(asked_for("ws://a b@test/", quiet_client()) == violation(proto::errc::url_userinfo));
}

TEST_CASE("each handshake has a fresh key of 16 bytes, which no answer can have been made for before")
{
    std::set<std::string> keys;
    on_loop([](std::set<std::string>& all) -> task<> {
        for (int i = 0; i < 100; ++i) {
            auto streams = make_stream_pair();
            auto both = co_await when_all(connect_over(std::move(streams.first), "ws://test/", quiet_client()),
                                          answer_handshake(streams.second, ""));
            auto const& request = std::get<1>(both);
            auto const key = request.substr(request.find("Sec-WebSocket-Key: ") + 19, 26);
            CHECK(key.substr(22) == "==\r\n");
            all.insert(key);
            std::get<0>(both)->abort();
        }
    }(keys));
    CHECK(keys.size() == 100);
}
