// SPDX-License-Identifier: BSL-1.0
// docs/howto/authorize.md: who may connect, and what the session learns of the request.
#include "program.hpp"

using namespace wring;

// [user]
/// Somewhere, tokens are looked up. May suspend: a database, a file, another service.
task<std::optional<std::string>> user_of(std::string token)
{
    if (token == "abc")
        co_return "anna";
    co_return std::nullopt;
}
// [/user]

// [hook]
/// Decides on a request before the 101, and remembers who came. Lives in the session, so it outlives the handshake.
struct gate
{
    std::string user;

    task<response> operator()(request const& r)
    {
        auto const token = r.cookie("session").value_or("");
        auto const found = co_await user_of(std::string(token));
        if (!found)
            co_return response::refuse(401, "log in first\n");
        user = *found;
        auto yes = response::accept();
        yes.headers.emplace_back("Set-Cookie", "seen=1; HttpOnly; SameSite=Strict"); // goes out with the 101
        co_return yes;
    }
};

task<> session(stream peer)
{
    gate guard;
    auto ws = co_await upgrade(std::move(peer), {.origins = "https://example.org", .authorize = guard});
    if (!ws)
        co_return; // refused, and answered
    if (!co_await ws->write("hello, " + guard.user))
        co_return;
    while (auto message = co_await ws->read())
        if (!co_await ws->write(*message))
            break;
}
// [/hook]

// [page]
/// What a browser gets that asks for no WebSocket, on the same port.
task<response> page(request const& r)
{
    if (r.path() == "/health")
        co_return response(200, "fine\n");
    if (r.path() == "/")
        co_return response::html("<h1>There is a WebSocket here</h1>");
    co_return response::refuse(404);
}
// [/page]

task<> with_page(stream peer)
{
    auto ws = co_await upgrade(std::move(peer), {.page = page});
    docs::expect(!ws && ws.error() == ws::errc::answered, "a page was asked for");
}

task<result<ws::connection>> enter(std::string cookie, std::string origin, scope& sessions)
{
    auto [ours, theirs] = make_stream_pair();
    sessions.spawn(session(std::move(theirs)));
    header const headers[] = {{"Cookie", cookie}};
    auto ws = co_await connect_over(std::move(ours), "ws://test/", {.origin = origin, .headers = headers});
    co_return ws;
}

task<> try_all()
{
    scope sessions;
    auto anna = (co_await enter("session=abc", "https://example.org", sessions)).value();
    docs::expect((co_await anna.read()).value().text() == "hello, anna", "anna is let in");
    (co_await anna.close()).value();
    auto stranger = co_await enter("session=x", "https://example.org", sessions);
    docs::expect(stranger.error() == std::error_code(401, ws::http_category()), "strangers get 401");
    auto page_elsewhere = co_await enter("session=abc", "https://evil.example", sessions);
    docs::expect(page_elsewhere.error() == std::error_code(403, ws::http_category()), "other pages get 403");
    co_await sessions.join();

    auto [ours, theirs] = make_stream_pair();
    sessions.spawn(with_page(std::move(theirs)));
    (co_await ours.write("GET /health HTTP/1.1\r\nHost: test\r\n\r\n")).value();
    std::byte answer[12];
    (co_await ours.read(answer)).value();
    docs::expect(std::memcmp(answer, "HTTP/1.1 200", 12) == 0, "a page is served");
    ours.abort();
    co_await sessions.join();
}

int main()
{
    return docs::run_in_time(try_all());
}
