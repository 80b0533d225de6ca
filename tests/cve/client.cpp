// SPDX-License-Identifier: BSL-1.0
// Row B10: servers that a client must not believe, one after another. What follows the handshake is never read as a
// frame.
#include "attack.hpp"

#include "proto/handshake.hpp"

using namespace attack;

namespace {

enum class end
{
    stays,
    ends,
    resets
};

/// A server that answers one request: "@@" stands for the right accept key, "\1" for a pause of a turn.
struct server_of_lies
{
    std::string answer;
    end how = end::stays;
    std::string request; // that it got

    task<> run(stream s)
    {
        request = co_await read_head(s);
        auto const good = switching(request);
        std::string_view const name = "Sec-WebSocket-Accept: ";
        auto const accept = good.substr(good.find(name) + name.size(), 28);
        for (auto at = answer.find("@@"); at != answer.npos; at = answer.find("@@"))
            answer.replace(at, 2, accept);
        auto const sent = co_await s.write(answer);
        (void)sent;
        if (how == end::resets) co_return s.abort();
        if (how == end::ends) s.shutdown();
        auto const rest = co_await read_rest(s); // until the client has gone
        (void)rest;
    }
};

task<> meet(server_of_lies& lies, ws::connect_options options, std::error_code& error, bool& open)
{
    auto server = listener::bind("127.0.0.1:0").value();
    scope serving;
    serving.spawn([](listener& l, server_of_lies& s) -> task<> {
        auto peer = co_await l.accept();
        if (peer) co_await s.run(std::move(*peer));
    }(server, lies));
    auto ws = co_await connect("ws://" + server.local().to_string() + "/", options);
    error = ws.error();
    open = ws.has_value();
    if (ws) ws->abort();
    server.close();
    co_await serving.join();
}

std::error_code believed(std::string answer, end how = end::stays, ws::connect_options options = quiet_client())
{
    server_of_lies lies{std::move(answer), how, {}};
    std::error_code error;
    bool open = false;
    on_loop(meet(lies, options, error, open));
    CHECK(open == !error);
    return error;
}

std::string answer(std::string_view more = {}, std::string_view first = "HTTP/1.1 101 Switching Protocols")
{
    return std::string(first) + "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: @@\r\n" +
           std::string(more) + "\r\n";
}

std::string changed(std::string_view from, std::string_view to)
{
    std::string text = answer();
    return text.replace(text.find(from), from.size(), to);
}

std::error_code status(int code)
{
    return {code, ws::http_category()};
}

} // namespace

TEST_CASE("b10_hostile_servers: forty servers that a client does not believe", "[cve]")
{
    net_test::no_descriptor_leaks leaks;
    auto const frame = text_of(unmasked(0x81, "a frame"));
    std::string interim;
    for (unsigned i = 0; i <= proto::max_interim_responses; ++i)
        interim += "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n";
    struct
    {
        char const* what;
        std::string answer;
        std::error_code error;
        end how = end::stays;
    } const rows[] = {
        {"200", answer("", "HTTP/1.1 200 OK"), status(200)}, // CVE-2024-23326
        {"204", answer("", "HTTP/1.1 204 No Content"), status(204)},
        {"301 elsewhere", answer("Location: ws://127.0.0.1:1/\r\n", "HTTP/1.1 301 Moved"), status(301)},
        {"307 elsewhere", answer("Location: ws://127.0.0.1:1/\r\n", "HTTP/1.1 307 Moved"), status(307)},
        {"401", answer("WWW-Authenticate: Basic\r\n", "HTTP/1.1 401 Unauthorized"), status(401)},
        {"403", answer("", "HTTP/1.1 403 Forbidden"), status(403)},
        {"404", answer("", "HTTP/1.1 404 Not Found"), status(404)},
        {"426", answer("", "HTTP/1.1 426 Upgrade Required"), status(426)},
        {"503", answer("Retry-After: 1\r\n", "HTTP/1.1 503 Service Unavailable"), status(503)},
        {"interim answers without end", interim + answer(), violation(proto::errc::too_many_interim)},
        {"HTTP/1.0", answer("", "HTTP/1.0 101 Switching Protocols"), violation(proto::errc::response_http_1_0)},
        {"HTTP/2.0", answer("", "HTTP/2.0 101 Switching Protocols"), violation(proto::errc::http_version_unsupported)},
        {"http/1.1", answer("", "http/1.1 101 Switching Protocols"), violation(proto::errc::http_version_malformed)},
        {"no Upgrade", changed("Upgrade: websocket\r\n", ""), violation(proto::errc::response_upgrade)},
        {"another Upgrade", changed("websocket", "h2c"), violation(proto::errc::response_upgrade)},
        {"Upgrade: websocketx", changed("websocket", "websocketx"), violation(proto::errc::response_upgrade)},
        {"no Connection", changed("Connection: Upgrade\r\n", ""), violation(proto::errc::response_connection)},
        {"Connection: close", changed("Connection: Upgrade", "Connection: close"),
         violation(proto::errc::response_connection)},
        {"no accept key", changed("Sec-WebSocket-Accept: @@\r\n", ""), violation(proto::errc::accept_missing)},
        {"another accept key", changed("@@", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), // CVE-2026-107284
         violation(proto::errc::accept_mismatch)},
        {"the accept key and more", changed("@@", "@@="), violation(proto::errc::accept_mismatch)},
        {"an empty accept key", changed("@@", ""), violation(proto::errc::accept_mismatch)},
        {"two accept keys", answer("Sec-WebSocket-Accept: @@\r\n"), violation(proto::errc::accept_duplicate)},
        {"an extension that was not offered", answer("Sec-WebSocket-Extensions: x-evil\r\n"),
         violation(proto::errc::extension_unoffered)},
        {"a window of 16 bits", answer("Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=16\r\n"),
         violation(proto::errc::extension_parameters)}, // CVE-2026-2229
        {"a window of 7 bits", answer("Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=7\r\n"),
         violation(proto::errc::extension_parameters)},
        {"a takeover that was not offered", answer("Sec-WebSocket-Extensions: permessage-deflate\r\n"),
         violation(proto::errc::extension_parameters)},
        {"compression twice", answer("Sec-WebSocket-Extensions: permessage-deflate, permessage-deflate\r\n"),
         violation(proto::errc::extension_duplicate)},
        {"half an extension", answer("Sec-WebSocket-Extensions: a; b=\"c\r\n"),
         violation(proto::errc::extension_invalid)},
        {"a subprotocol that was not offered", answer("Sec-WebSocket-Protocol: evil\r\n"),
         violation(proto::errc::response_subprotocol_unoffered)},
        {"two subprotocols", answer("Sec-WebSocket-Protocol: a, b\r\n"),
         violation(proto::errc::response_subprotocol_multiple)},
        {"a subprotocol twice", answer("Sec-WebSocket-Protocol: a\r\nSec-WebSocket-Protocol: a\r\n"),
         violation(proto::errc::response_subprotocol_multiple)},
        {"a head that is too large", answer("X: " + std::string(17'000, 'x') + "\r\n"),
         violation(proto::errc::head_too_large)},
        {"too many fields", answer(repeated("X: y\r\n", 200)), violation(proto::errc::too_many_fields)},
        {"a head without end", "HTTP/1.1 101 Switching Protocols\r\nX: " + std::string(1 << 20, 'x'),
         violation(proto::errc::head_too_large)},
        {"a bare LF", "HTTP/1.1 101 Switching Protocols\nUpgrade: websocket\n\n", violation(proto::errc::bare_lf)},
        {"a folded field", answer("X: a\r\n b\r\n"), violation(proto::errc::obs_fold)},
        {"NUL in a value", answer("X: a" + std::string(1, '\0') + "\r\n"), violation(proto::errc::control_character)},
        {"a space before a colon", answer("X : a\r\n"), violation(proto::errc::space_before_colon)},
        {"a status that is none", "HTTP/1.1 abc Oops\r\n\r\n", violation(proto::errc::status_line)},
        {"an SSH server", "SSH-2.0-OpenSSH_9.2p1\r\n", violation(proto::errc::http_version_malformed)},
        {"a TLS server's alert", text_of(from_hex("15 03 03 00 02 02 46")),
         violation(proto::errc::tls_unexpected)},
        {"nothing, and the end", "", errc::end_of_stream, end::ends},
        {"half a head, and the end", "HTTP/1.1 101 Switching Prot", errc::end_of_stream, end::ends},
        {"nothing, and a reset", "", std::error_code(ECONNRESET, std::system_category()), end::resets},
        {"frames and no head", frame + frame, violation(proto::errc::http_version_malformed)},
    };
    static_assert(std::size(rows) >= 40);
    for (auto const& row : rows) {
        INFO(row.what);
        auto const before = heap_in_use();
        CHECK(believed(row.answer + (row.how == end::stays ? frame : ""), row.how) == row.error);
        CHECK(grown(before) <= 256 * 1024);
    }
}

TEST_CASE("b10_silent_servers: one that says nothing, or drips, is given up after handshake_timeout", "[cve]")
{
    auto options = quiet_client();
    options.handshake_timeout = 50ms;
    CHECK(believed("", end::stays, options) == ws::errc::handshake_timeout);
    CHECK(believed("HTTP/1.1 101 Switching", end::stays, options) == ws::errc::handshake_timeout);
    CHECK(believed("HTTP/1.1 103 Early Hints\r\n\r\n", end::stays, options) == ws::errc::handshake_timeout);
}

TEST_CASE("b10_frames_behind_the_head: what follows a sound answer is frames, none lost and none before", "[cve]")
{
    on_loop([]() -> task<> {
        auto streams = co_await connected(kind::tcp);
        server_of_lies honest{answer() + text_of(unmasked(0x81, "first") + unmasked(0x82, "second")), end::ends, {}};
        scope serving;
        serving.spawn(honest.run(std::move(streams.second)));
        auto ws = co_await connect_over(std::move(streams.first), "ws://test/", quiet_client());
        CHECK(ws.has_value());
        for (auto const* text : {"first", "second"}) {
            auto const m = co_await ws->read();
            CHECK(m.value().text() == text);
        }
        auto const end = co_await ws->read();
        CHECK(end.error() == ws::errc::abnormal_closure);
        ws->abort();
        co_await serving.join();
    }());
}

TEST_CASE("cve_2020_35678_crlf_in_arguments: nothing from the application ends a line of the request", "[cve]")
{
    header const bad_headers[] = {
        {"X", "a\r\nY: b"}, {"X\r\nY", "b"}, {"X", "a\nb"}, {"X", std::string_view("a\0b", 3)}};
    std::vector<std::pair<std::string, ws::connect_options>> attempts;
    for (auto const& h : bad_headers) {
        attempts.emplace_back("ws://test/", quiet_client());
        attempts.back().second.headers = {&h, 1};
    }
    for (auto const* text : {"a\r\nX: y", "a\nb", "a\rb"}) { // CVE-2026-1527
        attempts.emplace_back("ws://test/", quiet_client());
        attempts.back().second.subprotocols = text;
        attempts.emplace_back("ws://test/", quiet_client());
        attempts.back().second.origin = text;
        attempts.emplace_back("ws://test/" + std::string(text), quiet_client());
        attempts.emplace_back("ws://te" + std::string(text) + "st/", quiet_client());
        attempts.emplace_back("ws://" + std::string(text) + "@test/", quiet_client());
    }
    for (auto const& [url, options] : attempts) {
        INFO(url);
        on_loop([](std::string where, ws::connect_options o) -> task<> {
            auto streams = co_await connected(kind::memory);
            auto const ws = co_await connect_over(std::move(streams.first), where, o);
            CHECK(ws.error().category() == ws::protocol_category());
            auto const sent = co_await read_rest(streams.second);
            CHECK(sent.empty());
        }(url, options));
    }
}
