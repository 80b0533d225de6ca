// SPDX-License-Identifier: BSL-1.0
// Proxies for the tests, made of wring itself: HTTP CONNECT and SOCKS 5. On purpose without the library's own parsers.
#pragma once

#include "harness.hpp"

namespace ws_test {

/// Sends it; that the client has gone is no fault.
inline task<> say(stream& s, std::string text)
{
    auto const sent = co_await s.write(text);
    (void)sent;
}

/// Carries bytes one way until there are no more.
inline task<> pump(stream& from, stream& to)
{
    std::vector<std::byte> part(16 * 1024);
    for (;;) {
        auto const got = co_await from.read_some(part);
        if (!got)
            break;
        auto const sent = co_await to.write(*got);
        if (!sent)
            break;
    }
    to.shutdown();
}

inline task<std::string> read_bytes(stream& s, std::size_t n)
{
    std::string text(n, '\0');
    auto const got = co_await s.read(std::as_writable_bytes(std::span(text)));
    if (!got)
        co_return "";
    co_return text;
}

/// A proxy on 127.0.0.1 that leads every connection to one server, whatever was asked for, and notes what that was.
struct test_proxy
{
    enum class kind { connect, socks };

    explicit test_proxy(kind k, std::string server = {}) :
        speaks(k), leads_to(std::move(server)), door(listener::bind("127.0.0.1:0").value())
    {}

    [[nodiscard]] std::string url(std::string_view userinfo = {}) const
    {
        std::string text = speaks == kind::socks ? "socks5://" : tls ? "https://" : "http://";
        if (!userinfo.empty())
            text.append(userinfo).append("@");
        return text + door.local().to_string();
    }

    task<> serve()
    {
        scope sessions;
        while (auto peer = co_await door.accept())
            sessions.spawn(session(std::move(*peer)));
        co_await sessions.join();
    }

    task<> session(stream client)
    {
        ++connections;
        if (tls) {
            auto secured = co_await wring::tls::accept(std::move(client), *tls);
            if (!secured)
                co_return;
            client = std::move(*secured);
        }
        auto greeting = speaks == kind::connect ? greet_http(client) : greet_socks(client);
        bool const granted = co_await greeting;
        if (!granted)
            co_return;
        auto server = co_await connect_stream(leads_to);
        if (!server)
            co_return;
        auto const both = co_await when_all(pump(client, *server), pump(*server, client));
        (void)both;
    }

    task<bool> greet_http(stream& client)
    {
        auto const head = co_await read_head(client);
        asked.push_back(head);
        auto const wanted = "\r\nProxy-Authorization: " + authorization + "\r\n";
        std::string reply = answer;
        if (!authorization.empty() && head.find(wanted) == head.npos)
            reply = "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"x\"\r\n"
                    "Content-Length: 8\r\n\r\nwho are?";
        co_await say(client, reply);
        co_return reply.find(" 200 ") != reply.npos;
    }

    task<bool> greet_socks(stream& client)
    {
        auto text = co_await read_bytes(client, 2);
        if (text.size() != 2)
            co_return false;
        text += co_await read_bytes(client, static_cast<unsigned char>(text[1])); // the methods
        bool const offers_password = text.find('\x02', 2) != text.npos;
        if (!password.empty() && !offers_password) {
            co_await say(client, "\x05\xff");
            co_return false;
        }
        std::string const method = {5, static_cast<char>(password.empty() ? 0 : 2)};
        co_await say(client, method);
        if (!password.empty()) {
            auto given = co_await read_bytes(client, password.size());
            bool const right = given == password;
            std::string const verdict = {1, static_cast<char>(right ? 0 : 1)};
            co_await say(client, verdict);
            if (!right)
                co_return false;
        }
        auto request = co_await read_bytes(client, 5);
        if (request.size() != 5)
            co_return false;
        std::size_t const name = static_cast<unsigned char>(request[4]);
        std::size_t const more = request[3] == 1 ? 5 : request[3] == 4 ? 17 : name + 2;
        request += co_await read_bytes(client, more);
        asked.push_back(request);
        std::string const reply = {5, static_cast<char>(code), 0, 1, 127, 0, 0, 1, 0, 80};
        co_await say(client, reply);
        co_return code == 0;
    }

    kind speaks;
    std::string leads_to;
    listener door;
    std::string authorization;                  ///< that CONNECT has to bring
    std::string answer = "HTTP/1.1 200 OK\r\n\r\n"; ///< to CONNECT
    std::string password;                       ///< the message of RFC 1929 that SOCKS has to bring
    int code = 0;                               ///< the SOCKS reply
    std::vector<std::string> asked;             ///< CONNECT heads, or SOCKS requests
    wring::tls::context const* tls = nullptr;   ///< CONNECT is to come over TLS
    int connections = 0;
};

/// A server that notes each request's head and gives the answers it was told, in turn; `@@` stands for the right
/// Sec-WebSocket-Accept. When they are used up, and where one is empty, it upgrades and echoes.
struct test_server
{
    explicit test_server(std::string where = "127.0.0.1:0") : door(listener::bind(where).value()) {}

    [[nodiscard]] std::string at() const { return door.local().to_string(); }
    [[nodiscard]] std::string url(std::string_view target = "/") const
    {
        return (tls ? "wss://" : "ws://") + at() + std::string(target);
    }

    task<> serve()
    {
        scope sessions;
        while (auto peer = co_await door.accept())
            sessions.spawn(session(std::move(*peer)));
        co_await sessions.join();
    }

    task<> session(stream client)
    {
        if (tls) {
            auto secured = co_await wring::tls::accept(std::move(client), *tls);
            if (!secured)
                co_return;
            client = std::move(*secured);
        }
        auto const head = co_await read_head(client);
        auto const turn = heads.size();
        heads.push_back(head);
        auto text = turn < answers.size() ? answers[turn] : std::string();
        if (text.empty()) {
            co_await say(client, switching(head));
            for (;;) { // whole frames, back as they came but for the mask
                auto const f = co_await read_wire(client);
                if (f.end)
                    co_return;
                co_await say(client, to_text(unmasked(f.first, f.payload)));
                if (f.first == 0x88)
                    co_return;
            }
        }
        auto const good = switching(head);
        auto const accept = good.substr(good.find("Accept: ") + 8, 28);
        for (auto at = text.find("@@"); at != text.npos; at = text.find("@@"))
            text.replace(at, 2, accept);
        auto const sent = co_await client.write(text);
        if (!sent || end_after_answer)
            co_return;
        auto const rest = co_await read_rest(client);
        (void)rest;
    }

    listener door;
    std::vector<std::string> answers;
    std::vector<std::string> heads;
    wring::tls::context const* tls = nullptr;
    bool end_after_answer = false;
};

} // namespace ws_test
