// SPDX-License-Identifier: BSL-1.0
// docs/howto/authenticate.md: the ways to know who is behind a browser's WebSocket.
#include "program.hpp"

#include <map>
#include <random>

using namespace wring;
using namespace std::chrono_literals;

// [users]
/// Random names of sessions and tickets, and whose they are. In a real program: a database.
class secrets
{
public:
    std::string issue(std::string user)
    {
        std::random_device random;
        std::string secret;
        for (int i = 0; i < 4; ++i)
            secret += std::to_string(random());
        owners_[secret] = std::move(user);
        return secret;
    }
    std::optional<std::string> owner(std::string_view secret) const
    {
        auto const found = owners_.find(secret);
        return found == owners_.end() ? std::nullopt : std::optional(found->second);
    }
    std::optional<std::string> use_up(std::string_view secret)
    {
        auto user = owner(secret);
        if (user)
            owners_.erase(owners_.find(secret));
        return user;
    }

private:
    std::map<std::string, std::string, std::less<>> owners_;
};

bool password_is_right(std::string_view user, std::string_view password)
{
    return user == "ann" && equal_secrets("correct horse", password); // in a real program: a slow hash
}
// [/users]

/// Greets, then echoes.
task<> greet(ws::connection& ws, std::string user)
{
    if (!co_await ws.write("hello, " + user))
        co_return;
    while (auto message = co_await ws.read())
        if (!co_await ws.write(*message))
            break;
}

// [login]
/// POST /login with a form: a cookie that scripts can't read and other sites' pages can't use.
task<response> log_in(request& r, secrets& sessions)
{
    auto const form = (co_await r.body()).value();
    auto const user = form_value(form, "user").value_or("");
    if (!password_is_right(user, form_value(form, "password").value_or("")))
        co_return response::refuse(403, "no\n");
    auto welcome = response::redirect("/");
    welcome.headers.emplace_back("Set-Cookie", "session=" + sessions.issue(user) +
                                                   "; HttpOnly; SameSite=Strict; Path=/"); // and Secure, behind TLS
    co_return welcome;
}
// [/login]

// [cookie]
/// Lets those through whose cookie names a session, and tells the handler who they are.
struct cookie_gate
{
    secrets& sessions;
    task<response> operator()(request const& r)
    {
        auto const user = sessions.owner(r.cookie("session").value_or(""));
        if (!user)
            co_return response::refuse(401, "log in first\n");
        r.attachment() = *user;
        co_return response::accept();
    }
};

task<> for_user(ws::connection& ws, request const& r)
{
    return greet(ws, std::any_cast<std::string>(r.attachment()));
}
// [/cookie]

// [ticket]
/// POST /ticket, with the cookie or an Authorization field: a ticket for one connection.
task<response> give_ticket(request& r, secrets& sessions, secrets& tickets)
{
    auto const user = sessions.owner(bearer_token(r).value_or(r.cookie("session").value_or("")));
    if (!user)
        co_return response::challenge("Bearer");
    co_return response(200, tickets.issue(*user));
}

struct ticket_gate
{
    secrets& tickets;
    task<response> operator()(request const& r)
    {
        auto const user = tickets.use_up(r.query_value("ticket").value_or(""));
        if (!user)
            co_return response::refuse(401, "that ticket is none, or used\n");
        r.attachment() = *user;
        co_return response::accept();
    }
};
// [/ticket]

// [first]
/// The first message is the secret: nothing of it is in a URL, and any page that has it may connect.
task<> after_first_message(ws::connection& ws, secrets const& sessions)
{
    auto const first = co_await timeout(5s, ws.read());
    auto const user = first ? sessions.owner(first->text()) : std::nullopt;
    if (!user) {
        auto const closed = co_await ws.close(ws::close_code::policy_violation, "who are you?");
        (void)closed; // whatever came of it
        co_return;
    }
    co_await greet(ws, *user);
}
// [/first]

// [subprotocol]
/// new WebSocket(url, ["chat.v1", "secret." + secret]): the browser sends both in a header, the server chooses chat.v1.
struct subprotocol_gate
{
    secrets& sessions;
    task<response> operator()(request const& r)
    {
        std::optional<std::string> user;
        for (auto const name : r.subprotocols())
            if (name.starts_with("secret."))
                user = sessions.owner(name.substr(7));
        if (!user)
            co_return response::refuse(401);
        r.attachment() = *user;
        co_return response::accept();
    }
};
// [/subprotocol]

// [setup]
struct doors
{
    secrets sessions, tickets;
    cookie_gate by_cookie{sessions};
    ticket_gate by_ticket{tickets};
    subprotocol_gate by_subprotocol{sessions};
};

void set_up(server& app, doors& d) // which outlives the server: hooks are kept by reference
{
    app.post("/login", [&d](request& r) { return log_in(r, d.sessions); });
    app.post("/ticket", [&d](request& r) { return give_ticket(r, d.sessions, d.tickets); });
    app.ws("/cookie", for_user, {.authorize = d.by_cookie});
    app.ws("/ticket", for_user, {.origins = "https://app.example", .authorize = d.by_ticket});
    app.ws("/first", [&d](ws::connection& ws) { return after_first_message(ws, d.sessions); });
    app.ws("/subprotocol", for_user, {.subprotocols = "chat.v1", .authorize = d.by_subprotocol});
}
// [/setup]

struct client
{
    server& app;
    scope& serving;

    task<result<ws::connection>> enter(std::string path, ws::connect_options options = {})
    {
        auto [ours, theirs] = make_stream_pair();
        serving.spawn(app.serve(std::move(theirs)));
        return connect_over(std::move(ours), "ws://test" + path, options);
    }
    task<std::string> post(std::string path, std::string body, std::string more = {})
    {
        auto [ours, theirs] = make_stream_pair();
        serving.spawn(app.serve(std::move(theirs)));
        return posting(std::move(ours), "POST " + path + " HTTP/1.1\r\nHost: test\r\nConnection: close\r\n" + more +
                                            "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body);
    }
    static task<std::string> posting(stream s, std::string text)
    {
        (co_await s.write(text)).value();
        std::string all;
        std::byte part[1024];
        while (auto got = co_await s.read_some(part))
            all.append(reinterpret_cast<char const*>(got->data()), got->size());
        co_return all;
    }
};

task<> greeted(result<ws::connection> ws, char const* what)
{
    docs::expect(ws.has_value(), what);
    docs::expect((co_await ws->read()).value().text() == "hello, ann", what);
    (co_await ws->close()).value();
}

task<> try_all()
{
    doors d;
    server app;
    set_up(app, d);
    scope serving;
    client c{app, serving};

    auto const no = co_await c.post("/login", "user=ann&password=wrong");
    docs::expect(no.starts_with("HTTP/1.1 403 "), "a wrong password gives nothing");
    auto const foreign = co_await c.post("/login", "user=ann&password=correct+horse", "Origin: https://evil.example\r\n");
    docs::expect(foreign.starts_with("HTTP/1.1 403 "), "and other sites' pages don't log in");
    auto const yes = co_await c.post("/login", "user=ann&password=correct+horse");
    auto const at = yes.find("session=");
    docs::expect(at != yes.npos, "a cookie comes back");
    auto const cookie = yes.substr(at, yes.find(';', at) - at);
    auto const session = cookie.substr(8);

    header const cookies[] = {{"Cookie", cookie}};
    auto by_cookie = co_await c.enter("/cookie", {.headers = cookies});
    co_await greeted(std::move(by_cookie), "the cookie lets in");
    auto const stranger = co_await c.enter("/cookie");
    docs::expect(stranger.error() == std::error_code(401, ws::http_category()), "without it: 401");
    auto const other_page = co_await c.enter("/cookie", {.origin = "https://evil.example", .headers = cookies});
    docs::expect(other_page.error() == std::error_code(403, ws::http_category()), "from another page: 403");

    auto const given = co_await c.post("/ticket", "", "Authorization: Bearer " + session + "\r\n");
    auto const ticket = given.substr(given.find("\r\n\r\n") + 4);
    auto by_ticket = co_await c.enter("/ticket?ticket=" + ticket, {.origin = "https://app.example"});
    co_await greeted(std::move(by_ticket), "a ticket lets in");
    auto const again = co_await c.enter("/ticket?ticket=" + ticket);
    docs::expect(again.error() == std::error_code(401, ws::http_category()), "once");

    auto by_message = co_await c.enter("/first");
    (co_await by_message->write(session)).value();
    co_await greeted(std::move(by_message), "the first message lets in");
    auto wrong = (co_await c.enter("/first")).value();
    (co_await wrong.write("guess")).value();
    docs::expect((co_await wrong.read()).error() == ws::closed, "a wrong one does not");
    docs::expect(wrong.status().code == ws::close_code::policy_violation, "1008");

    auto const names = "chat.v1, secret." + session;
    auto by_subprotocol = co_await c.enter("/subprotocol", {.subprotocols = names});
    docs::expect(by_subprotocol && by_subprotocol->subprotocol() == "chat.v1", "the real subprotocol is chosen");
    co_await greeted(std::move(by_subprotocol), "and the other lets in");
    co_await serving.join();
}

int main()
{
    return docs::run_in_time(try_all());
}
