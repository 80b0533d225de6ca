// SPDX-License-Identifier: BSL-1.0
// What the tests of the server share: a server behind one connection, or behind a port, and clients that speak in
// bytes.
#pragma once

#include "ws/harness.hpp"

#include <wring/http.hpp>
#include <wring/server.hpp>

#include <functional>
#include <optional>

namespace http_test {

using namespace wring;
using namespace std::chrono_literals;
using net_test::connected;
using net_test::kind;
using net_test::name_of;
using net_test::turns;
using ws_test::kinds;
using ws_test::on_loop;
using ws_test::read_head;
using ws_test::read_rest;
using ws_test::send_text;

/// A response as it was on the wire.
struct reply
{
    std::string head;
    std::string body; ///< with the chunks put together

    [[nodiscard]] int status() const { return head.size() < 12 ? 0 : std::atoi(head.c_str() + 9); }
    [[nodiscard]] bool has(std::string_view line) const
    {
        return head.find("\r\n" + std::string(line) + "\r\n") != std::string::npos;
    }
    [[nodiscard]] std::optional<std::string> field(std::string_view name) const
    {
        auto const at = head.find("\r\n" + std::string(name) + ": ");
        if (at == std::string::npos) return std::nullopt;
        auto const from = at + name.size() + 4;
        return head.substr(from, head.find("\r\n", from) - from);
    }
    [[nodiscard]] bool closes() const { return has("Connection: close") || has("Connection: close, Upgrade"); }
};

inline task<std::string> read_bytes(stream& s, std::size_t size)
{
    std::string text(size, '\0');
    auto const got = co_await s.read(std::as_writable_bytes(std::span(text)));
    if (!got) co_return "<" + got.error().message() + ">";
    co_return text;
}

/// Reads one response, on purpose without the library's parsers. `to_head`: it answers HEAD.
inline task<reply> read_reply(stream& s, bool to_head = false)
{
    reply r;
    r.head = co_await read_head(s);
    if (to_head || r.status() == 204 || r.status() == 304 || r.status() < 200) co_return r;
    if (auto const length = r.field("Content-Length")) {
        r.body = co_await read_bytes(s, std::stoul(*length));
    } else if (r.has("Transfer-Encoding: chunked")) {
        for (;;) {
            std::string line;
            while (!line.ends_with("\r\n")) {
                auto const one = co_await read_bytes(s, 1);
                line += one;
                if (one.size() != 1) break;
            }
            if (!line.ends_with("\r\n")) {
                r.body += line; // the error
                break;
            }
            auto const size = std::stoul(line, nullptr, 16);
            auto const part = co_await read_bytes(s, size + 2);
            if (size == 0) break;
            r.body += part.substr(0, size);
        }
    } else {
        r.body = co_await read_rest(s);
    }
    co_return r;
}

/// A request without a body; `more` are further lines.
inline std::string request_for(std::string_view target, std::string_view more = {}, std::string_view method = "GET")
{
    std::string text(method);
    return text.append(" ").append(target).append(" HTTP/1.1\r\nHost: test\r\n").append(more).append("\r\n");
}

/// A request with one.
inline std::string post(std::string_view target, std::string_view body, std::string_view more = {})
{
    std::string text = "POST " + std::string(target) + " HTTP/1.1\r\nHost: test\r\nContent-Length: ";
    return text.append(std::to_string(body.size())).append("\r\n").append(more).append("\r\n").append(body);
}

/// What came back on one connection.
struct conversation
{
    std::vector<reply> replies;
    std::string rest; ///< behind them; the end of the stream leaves none
};

/// Sends `text` and reads until the server closes, at most `most` replies; then leaves.
inline task<> converse(stream& s, std::string text, std::size_t most, conversation& out)
{
    co_await send_text(s, text);
    bool const to_head = text.starts_with("HEAD ");
    while (out.replies.size() < most) {
        out.replies.push_back(co_await read_reply(s, to_head));
        if (out.replies.back().closes() || out.replies.back().status() == 0) {
            out.rest = co_await read_rest(s);
            break;
        }
    }
}

/// Serves one connection, and talks over it.
inline task<> serve_and_talk(server& app, kind k, std::string text, std::size_t most, conversation& out)
{
    auto streams = co_await connected(k);
    scope serving;
    serving.spawn(app.serve(std::move(streams.first)));
    {
        stream client = std::move(streams.second);
        co_await converse(client, std::move(text), most, out);
    }
    co_await serving.join();
}

/// Asks `app` over a connection of its own.
inline conversation ask_all(server& app, std::string text, std::size_t most, kind k = kind::memory)
{
    conversation out;
    on_loop(serve_and_talk(app, k, std::move(text), most, out));
    return out;
}

inline reply ask(server& app, std::string text, kind k = kind::memory)
{
    auto all = ask_all(app, std::move(text), 1, k);
    REQUIRE(all.replies.size() == 1);
    CHECK(all.rest.empty());
    return all.replies.front();
}

/// Runs `body(client)` against one connection of `app`.
inline void with_client(server& app, task<> (*body)(server&, stream&), std::span<kind const> which = kinds)
{
    for (kind k : which) {
        INFO(name_of(k));
        on_loop([](server& a, task<> (*f)(server&, stream&), kind where) -> task<> {
            auto streams = co_await connected(where);
            scope serving;
            serving.spawn(a.serve(std::move(streams.first)));
            while (a.connections() == 0)
                co_await turns(1);
            {
                stream client = std::move(streams.second);
                co_await f(a, client);
            }
            co_await serving.join();
        }(app, body, k));
    }
}

/// Runs `body(server, endpoint)` beside a server that listens; it is stopped when the body has ended.
inline void with_listening(server& app, std::string where, task<> (*body)(server&, endpoint))
{
    endpoint at;
    app.on_listening([&](endpoint const& there) { at = there; });
    app.listen(std::move(where));
    on_loop([](server& a, endpoint& there, task<> (*f)(server&, endpoint)) -> task<> {
        scope serving;
        serving.spawn(a.serve());
        while (there.size() == 0)
            co_await turns(1);
        co_await f(a, there);
        a.stop();
        co_await serving.join();
    }(app, at, body));
}

} // namespace http_test
