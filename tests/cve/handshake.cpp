// SPDX-License-Identifier: BSL-1.0
// Holes of servers before a connection is open, one test each, and the strict reading of requests, on TCP with honest
// clients beside.
#include "attack.hpp"

#include "proto/error.hpp"
#include "proto/handshake.hpp"

#include <fstream>

using namespace attack;

namespace {

/// A sound request with a part of its text replaced.
std::string changed(std::string_view from, std::string_view to)
{
    std::string text = request_text();
    auto const at = text.find(from);
    if (at == text.npos) throw std::runtime_error("no " + std::string(from) + " in a request");
    return text.replace(at, from.size(), to);
}

/// All that a server answers to `bytes`, to the end of the stream.
task<std::string> all_of_answer(arena& a, std::string bytes, std::size_t piece = SIZE_MAX, bool stays = false)
{
    hostile h(a.where);
    co_await h.send(std::move(bytes), piece);
    if (!stays) h.end(); // from then on it counts as gone
    co_await h.read_to_end();
    co_return h.got;
}

int status_of(std::string const& answer)
{
    return answer.starts_with("HTTP/1.1 ") ? std::atoi(answer.c_str() + 9) : 0;
}

std::size_t answers_in(std::string const& text)
{
    std::size_t n = 0;
    for (auto at = text.find("HTTP/1.1 "); at != text.npos; at = text.find("HTTP/1.1 ", at + 1))
        n += at + 9 < text.size() && text[at + 9] >= '1' && text[at + 9] <= '5' ? 1 : 0; // a status line
    return n;
}

std::size_t pages; // that were asked for
task<response> page(request const&)
{
    ++pages;
    co_return response::html("<p>a page</p>");
}

} // namespace

// ---- strict reading -------------------------------------------------------------------------------------------------

TEST_CASE("b1_strict_requests: each request that breaks a rule has its status, whole and byte by byte", "[cve]")
{
    struct row
    {
        char const* what;
        std::string request;
        int status;
    };
    auto const more = [](std::string const& lines) { return request_text(lines); };
    std::string const target_of_9000 = "GET /" + std::string(9000, 't') + " HTTP/1.1\r\n";
    row const rows[] = {
        {"sound", request_text(), 101},
        {"another method", changed("GET", "POST"), 405},
        {"a method in small letters", changed("GET", "get"), 405},
        {"CONNECT", changed("GET / ", "CONNECT test:80 "), 400},
        {"HTTP/1.0", changed("HTTP/1.1", "HTTP/1.0"), 400},
        {"HTTP/2.0", changed("HTTP/1.1", "HTTP/2.0"), 505},
        {"HTTP/1.2", changed("HTTP/1.1", "HTTP/1.2"), 505},
        {"HTTP/3.0", changed("HTTP/1.1", "HTTP/3.0"), 505},
        {"http/1.1", changed("HTTP/1.1", "http/1.1"), 400},
        {"HTTP/1.10", changed("HTTP/1.1", "HTTP/1.10"), 400},
        {"HTTP/11", changed("HTTP/1.1", "HTTP/11"), 400},
        {"no version", changed(" HTTP/1.1", ""), 400},
        {"two spaces in the request line", changed("GET / ", "GET  / "), 400},
        {"a tab in the request line", changed("GET / ", "GET\t/ "), 400},
        {"a space at its end", changed("HTTP/1.1\r", "HTTP/1.1 \r"), 400},
        {"a space before it", " " + request_text(), 400},
        {"one empty line before it", "\r\n" + request_text(), 101},
        {"two empty lines before it", "\r\n\r\n" + request_text(), 400},
        {"a control character in the target", changed("GET / ", "GET /\x01 "), 400},
        {"NUL in the target", changed("GET / ", "GET /" + std::string(1, '\0') + " "), 400},
        {"a byte above ASCII in the target", changed("GET / ", "GET /\xC3\xA9 "), 400},
        {"a fragment in the target", changed("GET / ", "GET /#part "), 400},
        {"a target of *", changed("GET / ", "GET * "), 400},
        {"a target that is an authority", changed("GET / ", "GET test:80 "), 400},
        {"an absolute target", changed("GET / ", "GET http://test/ "), 101},
        {"an absolute target of another host", changed("GET / ", "GET http://other/ "), 400},
        {"an absolute target of another scheme", changed("GET / ", "GET ftp://test/ "), 400},
        {"a target that is too long", target_of_9000, 414},
        {"a bare LF", changed("Host: test\r\n", "Host: test\n"), 400},
        {"a bare LF at the end", request_text().substr(0, request_text().size() - 2) + "\n", 400},
        {"a bare CR", changed("Host: test\r\n", "Host: te\rst\r\n"), 400},
        {"NUL in a value", more("X: a" + std::string(1, '\0') + "b\r\n"), 400},
        {"a control character in a value", more("X: a\x08z\r\n"), 400},
        {"DEL in a value", more("X: a\x7F\r\n"), 400},
        {"a tab in a value", more("X: a\tb\r\n"), 101},
        {"a byte above ASCII in a value", more("X: \xE9\r\n"), 101},
        {"a folded value", more("X: a\r\n b\r\n"), 400},
        {"a folded value by a tab", more("X: a\r\n\tb\r\n"), 400},
        {"a space before the first field", changed("Host: test", " Host: test"), 400},
        {"a space before a colon", changed("Host: test", "Host : test"), 400},
        {"a tab before a colon", changed("Host: test", "Host\t: test"), 400},
        {"an empty name", more(": x\r\n"), 400},
        {"a name that is no token", more("X(y): z\r\n"), 400},
        {"a name with a byte above ASCII", more("X\xE9: z\r\n"), 400},
        {"a field without a colon", more("nonsense\r\n"), 400},
        {"no Host", changed("Host: test\r\n", ""), 400},
        {"two Hosts", changed("Host: test\r\n", "Host: test\r\nHost: other\r\n"), 400},
        {"two equal Hosts", changed("Host: test\r\n", "Host: test\r\nHost: test\r\n"), 400},
        {"two Hosts, one in small letters", changed("Host: test\r\n", "Host: test\r\nhost: test\r\n"), 400},
        {"an empty Host", changed("Host: test", "Host:"), 400},
        {"a Host with a user", changed("Host: test", "Host: me@test"), 400},
        {"a Host with a path", changed("Host: test", "Host: test/x"), 400},
        {"a Host with a comma", changed("Host: test", "Host: test, other"), 400},
        {"a Host with a port that is none", changed("Host: test", "Host: test:x"), 400},
        {"a Host with a port that is too large", changed("Host: test", "Host: test:65536"), 400},
        {"a Host with a port", changed("Host: test", "Host: test:8080"), 101},
        {"a Host that is an IPv6 address", changed("Host: test", "Host: [::1]:8080"), 101},
        {"a Host that is half an IPv6 address", changed("Host: test", "Host: [::1"), 400},
        {"two keys", more("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"), 400},
        {"two versions", more("Sec-WebSocket-Version: 13\r\n"), 400},
        {"two origins", more("Origin: http://test\r\nOrigin: http://test\r\n"), 400},
        {"no key", changed("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", ""), 400},
        {"an empty key", changed("dGhlIHNhbXBsZSBub25jZQ==", ""), 400},
        {"a key of 15 bytes", changed("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25j"), 400},
        {"a key of 17 bytes", changed("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZWU="), 400},
        {"a key that is not canonical", changed("ZQ==", "ZR=="), 400},
        {"a key without its padding", changed("ZQ==", "ZQ"), 400},
        {"a key in the alphabet of URLs", changed("dGhl", "d-hl"), 400},
        {"a key with spaces around it", changed("Key: dGhl", "Key: \t dGhl"), 101},
        {"version 013", changed("Version: 13", "Version: 013"), 426},
        {"versions 13 and 8", changed("Version: 13", "Version: 13, 8"), 426},
        {"no version of the protocol", changed("Sec-WebSocket-Version: 13\r\n", ""), 426},
        {"draft 8", changed("Version: 13", "Version: 8"), 426},
        {"Connection with others", changed("Connection: Upgrade", "Connection: keep-alive, Upgrade"), 101},
        {"Connection in two lines", changed("Connection: Upgrade", "Connection: keep-alive\r\nConnection: uPGRADE"),
         101},
        {"Connection: upgradex", changed("Connection: Upgrade", "Connection: upgradex"), 400},
        {"Connection: xupgrade", changed("Connection: Upgrade", "Connection: xupgrade"), 400},
        {"Connection: close, upgrade", changed("Connection: Upgrade", "Connection: close, upgrade"), 400},
        {"no Connection", changed("Connection: Upgrade\r\n", ""), 400},
        {"Upgrade: h2c, WebSocket", changed("Upgrade: websocket", "Upgrade: h2c, WebSocket"), 101},
        {"Upgrade: websocket/1", changed("Upgrade: websocket", "Upgrade: websocket/1"), 426},
        {"Upgrade: websockets", changed("Upgrade: websocket", "Upgrade: websockets"), 426},
        {"no Upgrade", changed("Upgrade: websocket\r\n", ""), 426},
        {"a body by its length", more("Content-Length: 5\r\n") + "hello", 400},
        {"a length of 0", more("Content-Length: 0\r\n"), 101},
        {"a body in chunks", more("Transfer-Encoding: chunked\r\n") + "0\r\n\r\n", 400},
        {"both", more("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"), 400},
        {"both the other way round", more("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"), 400},
        {"an encoding that does not end in chunks", more("Transfer-Encoding: chunked, gzip\r\n"), 400},
        {"chunks twice", more("Transfer-Encoding: chunked, chunked\r\n"), 400},
        {"an encoding of a version without it", changed("HTTP/1.1\r\n", "HTTP/1.0\r\nTransfer-Encoding: chunked\r\n"),
         400},
        {"a length of +5", more("Content-Length: +5\r\n"), 400},
        {"a length of 0x5", more("Content-Length: 0x5\r\n"), 400},
        {"a length of 5,5", more("Content-Length: 5,5\r\n"), 400},
        {"a length of -0", more("Content-Length: -0\r\n"), 400},
        {"a length of nothing", more("Content-Length: \r\n"), 400},
        {"two equal lengths", more("Content-Length: 0\r\nContent-Length: 0\r\n"), 400},
        {"two lengths", more("Content-Length: 0\r\nContent-Length: 5\r\n"), 400},
        {"a length of 2^63", more("Content-Length: 9223372036854775808\r\n"), 400},
        {"a length of 2^64", more("Content-Length: 18446744073709551616\r\n"), 400},
        {"an expectation", more("Expect: 100-continue\r\n"), 417},
        {"a subprotocol that is no token", more("Sec-WebSocket-Protocol: a b\r\n"), 400},
        {"a subprotocol twice", more("Sec-WebSocket-Protocol: a, a\r\n"), 400},
        {"a subprotocol twice, in two lines", more("Sec-WebSocket-Protocol: a\r\nSec-WebSocket-Protocol: a\r\n"), 400},
        {"subprotocols that differ in their case", more("Sec-WebSocket-Protocol: a, A\r\n"), 101},
        {"an extension of no name", more("Sec-WebSocket-Extensions: ;x\r\n"), 400},
        {"an extension with half a string", more("Sec-WebSocket-Extensions: a; b=\"c\r\n"), 400},
        {"an extension that nobody knows", more("Sec-WebSocket-Extensions: a; b=\"c\", d\r\n"), 101},
        {"a hundred and one fields", more(repeated("X: y\r\n", 96)), 431},
        {"a hundred fields", more(repeated("X: y\r\n", 95)), 101},
        {"a head that is too large", more("X: " + std::string(17'000, 'x') + "\r\n"), 431},
    };
    under_attack([&](arena& a) -> task<> {
        for (auto const& row : rows) {
            INFO(row.what);
            for (std::size_t piece : {SIZE_MAX, std::size_t{1}}) {
                if (piece == 1 && row.request.size() > 4000) piece = 97;
                auto const answer = co_await all_of_answer(a, row.request, piece);
                CHECK(status_of(answer) == row.status);
                CHECK(answers_in(answer) == 1);
                if (row.status == 101) continue;
                CHECK(answer.find("\r\nConnection: close") != answer.npos);
                CHECK((answer.find("\r\nSec-WebSocket-Version: 13\r\n") != answer.npos) == (row.status == 426));
                CHECK((answer.find("\r\nAllow: GET\r\n") != answer.npos) == (row.status == 405));
            }
        }
    });
}

TEST_CASE("ghsa_q5vx_44v4_gch4_lenient_http: what two readers could read differently is read by none", "[cve]")
{
    std::string const tricks[] = {
        changed("Host: test\r\n", "Host: test\r\nX: y\nContent-Length: 5\r\n"), // a bare LF: GHSA-q5vx, CVE-2025-22871
        changed("Host: test\r\n", "Host: test\r\nHost: evil\r\n"),              // CVE-2026-34525
        request_text("X: a" + std::string(1, '\0') + "\r\n"),                   // CVE-2026-34520
        request_text("X: a\x0B\r\n"),                                           // ... VT
        request_text("Transfer-Encoding : chunked\r\n"),                        // a space before the colon
        request_text("Transfer-Encoding:\x0B"
                     "chunked\r\n"),
        request_text("Content-Length: 0\r\n 5\r\n"), // folded
        request_text("Transfer-Encoding: identity, chunked\r\nContent-Length: 3\r\n"),
    };
    under_attack([&](arena& a) -> task<> {
        for (auto const& trick : tricks) {
            auto const answer = co_await all_of_answer(a, trick + "GET /admin HTTP/1.1\r\nHost: test\r\n\r\n");
            CHECK(status_of(answer) == 400);
            CHECK(answers_in(answer) == 1);
        }
    });
}

TEST_CASE("cve_2026_38967_response_splitting: a hook can't put a line break into an answer", "[cve]")
{
    plan p;
    p.options.page = [](request const& r) -> task<response> {
        response answer = response::html("<p>hello</p>");
        answer.headers.emplace_back("Location",
                                    std::string(r.query_value("to").value_or("")) + "\r\nSet-Cookie: evil=1");
        co_return answer;
    };
    under_attack(
        [](arena& a) -> task<> {
            auto const answer = co_await all_of_answer(a, "GET /?to=x HTTP/1.1\r\nHost: test\r\n\r\n");
            CHECK(status_of(answer) == 500);
            CHECK(answer.find("evil") == answer.npos);
        },
        p);
}

// ---- smuggling ------------------------------------------------------------------------------------------------------

TEST_CASE("cve_2026_2833_upgrade_smuggling: B2, what follows a refused upgrade is never read as a request", "[cve]")
{
    std::string const hidden = "GET /admin HTTP/1.1\r\nHost: test\r\n\r\n";
    auto const length = std::to_string(hidden.size());
    struct
    {
        std::string request;
        int status;
    } const rows[] = {
        {changed("Version: 13", "Version: 99") + hidden, 426},                        // 0ang3el
        {request_text("Content-Length: " + length + "\r\n") + hidden, 400},           // nghttpx
        {request_text("Transfer-Encoding: chunked\r\n") + "0\r\n\r\n" + hidden, 400}, // CVE-2025-64763
        {changed("GET / ", "POST / ") + hidden, 405},                                 // CVE-2026-73548
        {changed("dGhl", "!!!!") + hidden, 400},
        {changed("Upgrade: websocket", "Upgrade: h2c") + hidden, 200}, // a page, no upgrade
        {"GET / HTTP/1.1\r\nHost: test\r\nContent-Length: " + length + "\r\n\r\n" + hidden, 200},
        {"GET / HTTP/1.1\r\nHost: test\r\n\r\n" + hidden + hidden, 200},
    };
    plan p;
    p.options.page = page;
    under_attack(
        [&](arena& a) -> task<> {
            for (auto const& row : rows)
                for (std::size_t const piece : {SIZE_MAX, std::size_t{1}}) {
                    INFO(row.request);
                    pages = 0;
                    auto const answer = co_await all_of_answer(a, row.request, piece);
                    CHECK(status_of(answer) == row.status);
                    CHECK(answers_in(answer) == 1);
                    CHECK(answer.find("\r\nConnection: close") != answer.npos);
                    CHECK(pages == (row.status == 200 ? 1 : 0));
                }
        },
        p);
}

TEST_CASE("b3_frames_with_the_request: what comes in the same segment is delivered in order, and no more than allowed",
          "[cve]")
{
    plan p;
    p.options.max_message = 64 * 1024;
    under_attack(
        [](arena& a) -> task<> {
            struct
            {
                std::string frames, answer;
            } const rows[] = {
                {client_frame(0x81, "one"), text_of(unmasked(0x81, "one"))},
                {repeated(client_frame(0x82, "x"), 100), repeated(text_of(unmasked(0x82, "x")), 100)},
                {client_frame(0x89, "p") + client_frame(0x81, "m"), text_of(unmasked(0x8A, "p") + unmasked(0x81, "m"))},
            };
            auto const close = client_frame(0x88);
            for (auto const& row : rows)
                for (std::size_t const piece : {SIZE_MAX, std::size_t{1}}) {
                    auto const answer = co_await all_of_answer(a, request_text() + row.frames + close, piece);
                    CHECK(status_of(answer) == 101);
                    CHECK(answer.ends_with("\r\n\r\n" + row.answer + text_of(unmasked(0x88))));
                }
            std::string const large(64 * 1024, '~'); // which stands in no head
            auto const whole = co_await all_of_answer(a, request_text() + client_frame(0x82, large) + close);
            auto const count = static_cast<std::size_t>(std::count(whole.begin(), whole.end(), '~'));
            CHECK(count >= large.size());
            CHECK(count < large.size() + 20); // headers of frames may have some
            hostile half(a.where);
            auto const frame = client_frame(0x81, "cut in two");
            co_await half.send(request_text() + frame.substr(0, 9));
            co_await until([&] { return half.take(), half.got.find("\r\n\r\n") != half.got.npos; });
            co_await half.send(frame.substr(9) + close);
            half.end();
            co_await half.read_to_end();
            CHECK(half.got.ends_with(text_of(unmasked(0x81, "cut in two") + unmasked(0x88))));
            auto const over = co_await all_of_answer(a, request_text() + client_frame(0x82, large + "~"));
            CHECK(over.find(text_of(unmasked(0x88)).substr(0, 1) + std::string(1, char(2 + 32)) + "\x03\xF1") !=
                  over.npos);
            CHECK(over.find('~') == over.npos);
        },
        p);
}

// ---- origins and hooks ----------------------------------------------------------------------------------------------

TEST_CASE("cve_2025_24010_foreign_origin: B4, pages of other origins are refused unless they are allowed", "[cve]")
{
    struct
    {
        char const* allowed;
        char const* origin; // null: none
        int status;
    } const rows[] = {
        {"", nullptr, 101},
        {"", "http://test", 101},
        {"", "https://test", 101},
        {"", "HTTP://TEST", 101},
        {"", "http://test:80", 101},
        {"", "https://test:443", 101},
        {"", "http://test:8080", 403},
        {"", "https://test:80", 403},
        {"", "null", 403},
        {"", "", 403},
        {"", "http://evil", 403},
        {"", "http://test.evil", 403},
        {"", "http://eviltest", 403},
        {"", "http://test@evil", 403},
        {"", "http://evil/test", 403},
        {"", "test", 403},
        {"https://good.com", "https://good.com", 101},
        {"https://good.com", "https://good.com.evil", 403},
        {"https://good.com", "https://good.com:444", 403},
        {"https://good.com", "http://good.com", 403},
        {"https://good.com", "http://test", 403},
        {"https://good.com, https://b.org:8443", "https://b.org:8443", 101},
        {"https://good.com, https://b.org:8443", "https://b.org", 403},
        {"https://good.com", "null", 403},
        {"*", "https://anybody", 101},
        {"*", "null", 101},
    };
    for (auto const& row : rows) {
        INFO(row.allowed << " and " << (row.origin ? row.origin : "none"));
        plan p;
        p.options.origins = row.allowed;
        p.honest = 1;
        under_attack(
            [&](arena& a) -> task<> {
                auto const field = row.origin ? "Origin: " + std::string(row.origin) + "\r\n" : std::string();
                auto const answer = co_await all_of_answer(a, request_text(field));
                CHECK(status_of(answer) == row.status);
            },
            p);
    }
}

TEST_CASE("go_2022_0385_authorize_before_101: a hook decides before anything is switched or read as a frame", "[cve]")
{
    static std::size_t hooks;
    hooks = 0;
    plan p;
    p.honest = 0;
    p.options.authorize = [](request const& r) -> task<response> {
        ++hooks;
        co_await next_turn();
        if (r.query_value("token") != "secret") co_return response::refuse(401, "who are you?\n");
        co_return response::accept();
    };
    under_attack(
        [](arena& a) -> task<> {
            auto const frames = client_frame(0x81, "too early") + client_frame(0x88);
            auto const refused = co_await all_of_answer(a, request_text() + frames, SIZE_MAX, true);
            CHECK(status_of(refused) == 401);
            CHECK(refused.find("too early") == refused.npos);
            CHECK(a.opened == 0);
            auto const let_in = co_await all_of_answer(a, request_text("", "/?token=secret") + frames, SIZE_MAX, true);
            CHECK(status_of(let_in) == 101);
            CHECK(let_in.find("too early") != let_in.npos);
            CHECK(hooks == 2);
        },
        p);
}

// ---- slow and endless -----------------------------------------------------------------------------------------------

TEST_CASE("b5_slowloris: requests that drip are ended by one deadline, however many there are", "[cve]")
{
    auto const deadline = full() ? 10'000ms : 500ms;
    plan p;
    p.options.handshake_timeout = deadline;
    under_attack(
        [&](arena& a) -> task<> {
            if (full()) {
                rlimit limit{};
                ::getrlimit(RLIMIT_NOFILE, &limit);
                limit.rlim_cur = limit.rlim_max;
                ::setrlimit(RLIMIT_NOFILE, &limit);
            }
            auto const count = rounds(100, 4000);
            std::string const drips[] = {
                request_text("X: " + std::string(8000, 'x') + "\r\n"),
                "POST / HTTP/1.1\r\nHost: test\r\nX-" + std::string(8000, 'y'),
                text_of(from_hex("16 03 01 02 00 01 00 01 FC 03 03")) + std::string(4000, 'z'), // refused at once
                "GET /" + std::string(8000, 't'),
            };
            std::vector<std::unique_ptr<hostile>> all;
            auto const begin = clock::now();
            std::vector<duration> ended(count, duration::zero());
            for (std::size_t i = 0; i < count; ++i) {
                all.push_back(std::make_unique<hostile>(a.where));
                if (i % 256 == 255)
                    co_await until([&] { return a.accepted > i; }); // more would wait in the system's backlog
            }
            auto const connected = clock::now();
            std::size_t open = count;
            for (std::size_t at = 0; open > 0 && clock::now() - begin < 2 * deadline + 20s; ++at) {
                for (std::size_t i = 0; i < count; ++i) {
                    if (ended[i] != duration::zero()) continue;
                    (void)all[i]->send_some(std::string_view(drips[i % 4]).substr(at % 4000, 1));
                    all[i]->take();
                    if (all[i]->ended) {
                        ended[i] = clock::now() - begin;
                        --open;
                        all[i]->close();
                    }
                }
                auto const slept = co_await sleep_for(deadline / 50);
                (void)slept;
            }
            CHECK(open == 0);
            // A second for the answer, another for the close; and what this test itself takes on a busy machine.
            auto const most = deadline + 2s + (connected - begin) + (full() ? 1s : 5s);
            for (auto const& t : ended)
                CHECK(t <= most);
        },
        p);
}

TEST_CASE("cve_2026_54465_endless_headers: B6, heads without end are refused at their limit, and not kept", "[cve]")
{
    under_attack([](arena& a) -> task<> {
        struct
        {
            std::string begin, more;
            std::size_t most;
            int status;
        } const rows[] = {
            {"GET / HTTP/1.1\r\nHost: test\r\nX: ", std::string(1000, 'x'), 1 << 20, 431},    // a field of 1 MiB
            {"GET / HTTP/1.1\r\nHost: test\r\n", repeated("X: y\r\n", 100), 10'000 * 6, 431}, // 10,000 fields
            {"GET /", std::string(1000, 't'), 1 << 20, 414},                                  // a target of 1 MiB
            {"GET / HTTP/1.1\r\nHost: test\r\n", "X: " + std::string(300, 'x') + "\r\n", SIZE_MAX, 431}, // without end
        };
        for (auto const& row : rows) {
            INFO(row.begin);
            hostile h(a.where);
            auto const before = heap_in_use();
            co_await h.send(row.begin);
            std::size_t sent = 0, heap = 0;
            auto const limit = clock::now() + 20s;
            while (sent < row.most && !h.ended && clock::now() < limit) {
                auto const n = h.send_some(row.more);
                sent += n;
                h.take();
                heap = std::max(heap, grown(before));
                co_await next_turn();
                if (!h.got.empty() && row.most == SIZE_MAX) break; // it has been answered
            }
            h.end();
            co_await h.read_to_end();
            CHECK(h.status() == row.status);
            CHECK(answers_in(h.got) == 1);
            CHECK(heap <= 64 * 1024 + tls_memory(1)); // the head twice, while it grows, and the answer
        }
    });
}

TEST_CASE("cve_2024_37890_header_count: thousands of fields are refused and crash nothing", "[cve]")
{
    under_attack([](arena& a) -> task<> {
        for (std::size_t const count : {96, 2000, 5000}) {
            auto const answer = co_await all_of_answer(a, request_text(repeated("X: y\r\n", count)));
            CHECK(status_of(answer) == 431);
        }
    });
}

TEST_CASE("cve_2023_43669_byte_by_byte: B7, a head of 16 KiB is read a byte a segment", "[cve]")
{
    under_attack([](arena& a) -> task<> { // how much is done for it: proto/steps.cpp
        auto const text = request_text("X: " + std::string(15'000, 'x') + "\r\n");
        auto const answer = co_await all_of_answer(a, text, 1);
        CHECK(status_of(answer) == 101);
    });
}

// ---- odd fields -----------------------------------------------------------------------------------------------------

TEST_CASE("cve_2026_61666_odd_fields: odd names and values are answered, and end nothing but their own connection",
          "[cve]")
{
    under_attack([](arena& a) -> task<> {
        for (auto const* host : {"[", "]", "[]", ":", ":80", "%", "%00", "h:h", "[::1]]", "@", "/", "\\", "{}",
                                 "h:80:80", "..", "a..b", "-", "[v1.x]", "[::1%25eth0]"}) {
            auto const answer = co_await all_of_answer(a, changed("Host: test", "Host: " + std::string(host)));
            CHECK((status_of(answer) == 400 || status_of(answer) == 101));
            CHECK(answers_in(answer) == 1);
        }
        for (auto const* extension :
             {"constructor", "__proto__", "toString; valueOf=\"x\"", "hasOwnProperty", ";;;", "\"", "=,;",
              "permessage-deflate; server_max_window_bits=0", "permessage-deflate; client_max_window_bits=99",
              "permessage-deflate; server_max_window_bits=008", "permessage-deflate; x; x"}) {
            auto const field = "Sec-WebSocket-Extensions: " + std::string(extension) + "\r\n";
            auto const answer = co_await all_of_answer(a, request_text(field));
            CHECK((status_of(answer) == 400 || status_of(answer) == 101));
            CHECK(answer.find("\r\nSec-WebSocket-Extensions:") == answer.npos); // none is agreed on
        }
    });
}

TEST_CASE("cve_2021_45945_parser_bounds: no reader looks beyond the bytes that it was given", "[cve]")
{
    // Each piece lies in memory of its own size, so that ASan sees a read beyond it.
    auto const exact = [](std::string_view text) { return std::vector<char>(text.begin(), text.end()); };
    std::string const texts[] = {
        request_text("Sec-WebSocket-Extensions: a; b=\"c\\d\"\r\nSec-WebSocket-Protocol: x, y\r\n"),
        request_text("Cookie: a=b; c\r\n", "/path?query=1&x"), "\r\n" + request_text()};
    for (auto const& text : texts)
        for (std::size_t size = 0; size <= text.size(); ++size)
            for (std::size_t const tail : {0, 1, 2, 3}) {
                auto const first = exact(std::string_view(text).substr(0, size));
                auto const second = exact(std::string_view(text).substr(size, tail));
                proto::head_scanner scanner(proto::head_scanner::kind::request);
                auto p = scanner.feed({first.data(), first.size()});
                CHECK(p.error == proto::errc::ok);
                if (!p.complete) p = scanner.feed({second.data(), second.size()});
                CHECK(p.error == proto::errc::ok);
                if (!p.complete) continue;
                auto const whole = exact(std::string_view(text).substr(0, scanner.size()));
                auto const head = scanner.request({whole.data(), whole.size()});
                CHECK(proto::check_upgrade(head) == proto::errc::ok);
                CHECK(!head.path().empty());
            }
}

// ---- what failed handshakes leave -----------------------------------------------------------------------------------

TEST_CASE("cve_2026_73565_handshake_leak: B8, handshakes that fail in any way leave nothing behind", "[cve]")
{
    static bool hook_fails;
    plan p;
    p.options.authorize = [](request const& r) -> task<response> {
        if (r.path() == "/refuse") co_return response::refuse(403);
        if (r.path() == "/throw") {
            hook_fails = true;
            throw std::runtime_error("a hook that fails");
        }
        if (r.path() == "/slow") {
            auto const slept = co_await sleep_for(30s); // canceled where the peer leaves meanwhile
            (void)slept;
        }
        co_return response::accept();
    };
    under_attack(
        [](arena& a) -> task<> {
            std::string const failing[] = {changed("dGhl", "????"),
                                           changed("Version: 13", "Version: 7"),
                                           "GET / HT",
                                           "",
                                           request_text("", "/refuse"),
                                           request_text("", "/throw"),
                                           request_text("", "/slow"),
                                           request_text()};
            std::size_t const count = rounds(400, over_tls() ? 100'000 : 1'000'000) / std::size(failing) / 3;
            auto const wave = [&](std::size_t n) -> task<> {
                for (std::size_t i = 0; i < n; ++i)
                    for (auto const& text : failing)
                        for (int how = 0; how < 3; ++how) {
                            auto const seen = a.accepted;
                            hostile h(a.where);
                            co_await h.send(text);
                            co_await until([&] { return a.accepted > seen; });
                            if (how == 0) h.reset(); // in the middle
                            if (how == 1) h.close();
                            if (how == 2) {
                                h.end();
                                co_await h.read_to_end();
                            }
                        }
            };
            co_await wave(2); // what is kept for the next one
            co_await a.settle(3);
            auto const before = heap_in_use();
            co_await wave(count);
            co_await a.settle(3);
            CHECK(grown(before) <= (full() ? 1 << 20 : 128 * 1024));
            CHECK(hook_fails);
            CHECK(a.thrown > 0);
        },
        p);
}

TEST_CASE("cve_2026_100658_pipelined_requests: requests behind one another, answers unread, pile up nowhere", "[cve]")
{
    plan p;
    p.options.page = page;
    under_attack(
        [](arena& a) -> task<> {
            pages = 0;
            hostile h(a.where, true);
            auto const before = heap_in_use();
            auto const hundred = repeated("GET / HTTP/1.1\r\nHost: test\r\n\r\n", 100);
            std::size_t heap = 0;
            auto const limit = clock::now() + 10s;
            for (std::size_t i = 0; i < rounds(10'000, 100'000) / 100 && clock::now() < limit; ++i) {
                (void)h.send_some(hundred);
                heap = std::max(heap, grown(before));
                co_await next_turn();
            }
            CHECK(pages == 1);
            CHECK(heap <= 64 * 1024 + tls_memory(1));
            h.close();
        },
        p);
}

TEST_CASE(
    "bun_32705_descriptor_spin: without file descriptors accepting rests, those served are served, and it recovers",
    "[cve]")
{
    rlimit usual{};
    ::getrlimit(RLIMIT_NOFILE, &usual);
    rlimit const few{300, usual.rlim_max}; // from the start: io_uring obeys what was the limit when it began to accept
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &few) == 0);
    under_attack([](arena& a) -> task<> {
        std::vector<std::unique_ptr<hostile>> waiting(50);
        std::vector<net_test::raw_socket> taken;
        // The clients' sockets first: they are of this process as well. Then nothing is left for the server's.
        auto const seen = a.accepted;
        for (int fd = 0; (fd = ::dup(2)) >= 0;)
            taken.emplace_back(fd);
        for (auto& h : waiting) {
            taken.pop_back();
            h = std::make_unique<hostile>(a.where);
        }
        for (int fd = 0; (fd = ::dup(2)) >= 0;)
            taken.emplace_back(fd);
        auto const echoes = a.echoes;
        auto const before = waits();
        auto const slept = co_await sleep_for(300ms);
        CHECK(slept.has_value());
        auto const entered = waits() - before;
        INFO(entered << " waits");
        CHECK(entered < 100 + 5 * (a.echoes - echoes)); // it is awake for the honest ones only
        CHECK(a.echoes > echoes); // honest ones do not notice
        CHECK(a.accepted - seen < waiting.size());
        taken.clear();
        auto const begin = clock::now();
        co_await until([&] { return a.accepted - seen == waiting.size(); });
        CHECK(a.accepted - seen == waiting.size());
        CHECK(clock::now() - begin < 10s);
        for (auto& h : waiting)
            h->reset();
    });
    ::setrlimit(RLIMIT_NOFILE, &usual);
}
