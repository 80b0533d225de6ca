// SPDX-License-Identifier: BSL-1.0
#include "core/core.hpp"
#include "proxies.hpp"

#include "ws/tunnel.hpp"

#include <cstdlib>

using namespace ws_test;
using namespace std::string_literals;

namespace {

proto::url parsed(std::string_view text)
{
    proto::url u;
    REQUIRE(proto::parse_url(text, u) == proto::errc::ok);
    return u;
}

/// What a client makes of a proxy that says `answers` in turn, each after something has come. `chunk`: so many bytes
/// arrive at a time; `behind` is what the stream gives afterwards.
struct met
{
    std::error_code error;
    std::string heard; ///< by the proxy
    std::string behind;
};

/// One message of the client's, read whole: an HTTP head, or what SOCKS says in turn.
task<std::string> read_message(stream& s, std::size_t turn, bool http)
{
    if (http) {
        auto head = co_await read_head(s);
        co_return head;
    }
    auto text = co_await read_bytes(s, 2);
    if (text.size() != 2)
        co_return "";
    std::size_t more = 0;
    if (turn == 0)
        more = static_cast<unsigned char>(text[1]);          // the methods
    else if (text[0] == 1)
        more = static_cast<unsigned char>(text[1]) + 1U + 1; // user "u", password "p"
    else
        more = 6;                                            // to a name of one letter
    text += co_await read_bytes(s, more);
    co_return text;
}

task<> scripted(stream& s, std::vector<std::string> answers, std::string& heard, bool http)
{
    for (std::size_t turn = 0; turn < answers.size(); ++turn) {
        heard += co_await read_message(s, turn, http);
        auto const sent = co_await s.write(answers[turn]);
        (void)sent;
    }
    s.shutdown();
}

task<> meet(met& out, std::string proxy_text, std::vector<std::string> answers, std::size_t chunk,
            ws::connect_options options)
{
    auto streams = make_stream_pair({.chunk = chunk});
    scope proxy_side;
    proxy_side.spawn(scripted(streams.second, std::move(answers), out.heard, proxy_text.starts_with("http")));
    proto::proxy proxy;
    REQUIRE(proto::parse_proxy(proxy_text, proxy) == proto::errc::ok);
    auto const where = parsed("ws://h/");
    {
        detail::handshake_io io(detail::stream_access::take(std::move(streams.first)));
        auto const opened = co_await detail::open_tunnel(io, proxy, where, options);
        out.error = opened.error();
        if (opened) {
            auto rest = detail::stream_access::make(io.take());
            out.behind = co_await read_rest(rest);
        }
    }
    proxy_side.request_stop();
    co_await proxy_side.join();
}

met meets(std::string_view proxy, std::vector<std::string> const& answers, std::size_t chunk = 0,
          ws::connect_options options = {})
{
    met out;
    on_loop(meet(out, std::string(proxy), answers, chunk, options));
    return out;
}

std::error_code refused(int code)
{
    return {code, ws::proxy_category()};
}

std::string const socks_open = "\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00"s;

} // namespace

TEST_CASE("a proxy opens the way, however its answer is cut")
{
    for (std::size_t chunk : {0, 1, 2, 3, 5}) {
        INFO(chunk);
        auto const http = meets("http://p", {"HTTP/1.1 200 Connection established\r\nX: y\r\n\r\nthe server"}, chunk);
        CHECK(!http.error);
        CHECK(http.heard == "CONNECT h:80 HTTP/1.1\r\nHost: h:80\r\n\r\n");
        CHECK(http.behind == "the server");
        auto const socks = meets("socks5://p", {"\x05\x00"s, socks_open + "the server"}, chunk);
        CHECK(!socks.error);
        CHECK(socks.heard == "\x05\x01\x00\x05\x01\x00\x03\x01h\x00\x50"s);
        CHECK(socks.behind == "the server");
    }
}

TEST_CASE("a proxy's answer is any 2xx, of either version of HTTP, and has no body")
{
    for (auto const* answer : {"HTTP/1.0 200 Connection established\r\n\r\n", "HTTP/1.1 299\r\n\r\n",
                               "HTTP/1.1 200 OK\r\nContent-Length: 10\r\nTransfer-Encoding: chunked\r\n\r\n",
                               "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 x\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"}) {
        INFO(answer);
        auto const m = meets("http://p", {answer + "abc"s});
        CHECK(!m.error);
        CHECK(m.behind == "abc");
    }
}

TEST_CASE("a proxy that refuses is an error of its own category, with what it says")
{
    for (int status : {101, 300, 302, 400, 403, 407, 502, 503}) {
        ws::refusal said;
        ws::connect_options options;
        options.refusal = &said;
        auto const m = meets("http://p",
                             {"HTTP/1.1 " + std::to_string(status) +
                              " No\r\nProxy-Authenticate: Basic\r\nX-A: 1\r\nContent-Length: 3\r\n\r\nno!"},
                             1, options);
        CHECK(m.error == refused(status));
        CHECK(said.status == status);
        CHECK(said.field("proxy-authenticate").value_or("") == "Basic");
        CHECK(said.headers.size() == 3);
        CHECK(said.body == (status == 101 ? "" : "no!"));
    }
    CHECK(meets("http://p", {"HTTP/1.1 407 No\r\n\r\n"}).error == std::errc::permission_denied);
    for (int code = 1; code <= 8; ++code) {
        auto reply = socks_open;
        reply[1] = static_cast<char>(code);
        CHECK(meets("socks5://p", {"\x05\x00"s, reply}).error == refused(code));
    }
    CHECK(meets("socks5://p", {"\x05\xff"s}).error == refused(255));
    CHECK(meets("socks5://u:p@p", {"\x05\x02"s, "\x01\x01"s}).error == refused(255));
}

TEST_CASE("a proxy that speaks nonsense, or too much, or leaves, is an error")
{
    auto const http = [](std::string answer) { return meets("http://p", {std::move(answer)}).error; };
    CHECK(http("SSH-2.0-x\r\n") == violation(proto::errc::http_version_malformed));
    CHECK(http("\x05\x00"s) == violation(proto::errc::http_version_malformed));
    CHECK(http("HTTP/1.1 200 OK\nX: y\n\n") == violation(proto::errc::bare_lf));
    CHECK(http("HTTP/1.1 200 OK\r\nX: " + std::string(20'000, 'x')) == violation(proto::errc::head_too_large));
    std::string many = "HTTP/1.1 200 OK\r\n";
    for (int i = 0; i < 101; ++i)
        many += "X: y\r\n";
    CHECK(http(many + "\r\n") == violation(proto::errc::too_many_fields));
    std::string interim;
    for (unsigned i = 0; i <= proto::max_interim_responses; ++i)
        interim += "HTTP/1.1 100 Continue\r\n\r\n";
    CHECK(http(interim + "HTTP/1.1 200 OK\r\n\r\n") == violation(proto::errc::too_many_interim));
    CHECK(http("HTTP/1.1 200 OK\r\n") == errc::end_of_stream);
    CHECK(http("") == errc::end_of_stream);

    CHECK(meets("socks5://p", {"HTTP/1.1 400 Bad Request\r\n\r\n"}).error == violation(proto::errc::socks_version));
    CHECK(meets("socks5://p", {"\x05\x02"s}).error == violation(proto::errc::socks_method));
    CHECK(meets("socks5://p", {"\x05\x00"s, "\x05\x09"s}).error == violation(proto::errc::socks_reply));
    CHECK(meets("socks5://p", {"\x05\x00"s, "\x05\x00\x00\x03\xff"s + "short"}).error == errc::end_of_stream);
    CHECK(meets("socks5://p", {"\x05"s}).error == errc::end_of_stream);
}

TEST_CASE("credentials that SOCKS can't carry are refused before anything is sent")
{
    auto const m = meets("socks5://" + std::string(256, 'u') + ":p@p", {});
    CHECK(m.error == violation(proto::errc::proxy_credentials));
    CHECK(m.heard.empty());
}

TEST_CASE("opening a way through a proxy can be canceled at each of its suspensions")
{
    for (auto const* proxy_text : {"http://p", "socks5://u:p@p"}) {
        int completed = 0;
        for (int at = 0; at < 60; ++at)
            on_loop([](std::string text, int stop_at, int& done) -> task<> {
                auto streams = make_stream_pair({.capacity = 4, .chunk = 2});
                std::string heard;
                scope proxy_side;
                std::vector<std::string> answers{"HTTP/1.1 200 OK\r\n\r\n"};
                if (text.starts_with("socks"))
                    answers = {"\x05\x02"s, "\x01\x00"s, socks_open};
                scope client;
                std::error_code end = errc::busy;
                client.spawn([](stream s, std::string proxy_url, std::error_code& e) -> task<> {
                    proto::proxy proxy;
                    REQUIRE(proto::parse_proxy(proxy_url, proxy) == proto::errc::ok);
                    auto const where = parsed("ws://h/");
                    ws::connect_options const options;
                    detail::handshake_io io(detail::stream_access::take(std::move(s)));
                    auto const opened = co_await detail::open_tunnel(io, proxy, where, options);
                    e = opened.error();
                }(std::move(streams.first), text, end));
                proxy_side.spawn(scripted(streams.second, answers, heard, text.starts_with("http")));
                for (int i = 0; i < stop_at; ++i)
                    co_await test::yield();
                client.request_stop();
                co_await client.join();
                CHECK((!end || end == errc::canceled));
                done += end ? 0 : 1;
                proxy_side.request_stop();
                co_await proxy_side.join();
            }(proxy_text, at, completed));
        CHECK(completed > 0);
        CHECK(completed < 50);
    }
}

namespace {

/// The environment's proxies for the life of a test.
class environment
{
public:
    explicit environment(std::vector<std::pair<char const*, char const*>> const& values)
    {
        for (auto const* name : names)
            ::unsetenv(name);
        for (auto const& [name, value] : values)
            ::setenv(name, value, 1);
    }
    environment(environment const&) = delete;
    environment& operator=(environment const&) = delete;
    ~environment()
    {
        for (auto const* name : names)
            ::unsetenv(name);
    }

private:
    static constexpr char const* names[] = {"http_proxy",  "HTTP_PROXY", "https_proxy", "HTTPS_PROXY",   "all_proxy",
                                            "ALL_PROXY",   "no_proxy",   "NO_PROXY",    "REQUEST_METHOD"};
};

std::string proxy_of(std::string_view url, bool from_environment = true, std::string_view named = {})
{
    ws::connect_options options;
    options.proxy_from_environment = from_environment;
    options.proxy = named;
    return detail::proxy_for(parsed(url), options);
}

} // namespace

TEST_CASE("the environment is asked for a proxy only where that is wanted")
{
    environment const set({{"http_proxy", "plain"}, {"https_proxy", "secure"}, {"all_proxy", "all"}});
    CHECK(proxy_of("ws://h/", false).empty());
    CHECK(proxy_of("ws://h/") == "plain");
    CHECK(proxy_of("wss://h/") == "secure");
    CHECK(proxy_of("ws://h/", true, "named") == "named");
    CHECK(proxy_of("ws://h/", false, "named") == "named");
    CHECK(proxy_of("ws+unix:/run/s:/", true, "named").empty());
    CHECK(proxy_of("ws+unix:/run/s:/").empty());
}

TEST_CASE("small letters come before capitals, empty is unset")
{
    {
        environment const set({{"HTTP_PROXY", "plain"}, {"HTTPS_PROXY", "secure"}, {"NO_PROXY", "x.test"}});
        CHECK(proxy_of("ws://h/") == "plain");
        CHECK(proxy_of("wss://h/") == "secure");
        CHECK(proxy_of("wss://x.test/").empty());
    }
    {
        environment const set(
            {{"http_proxy", "small"}, {"HTTP_PROXY", "capital"}, {"no_proxy", ""}, {"NO_PROXY", "x"}});
        CHECK(proxy_of("ws://h/") == "small");
        CHECK(proxy_of("ws://x/").empty());
        CHECK(proxy_of("wss://h/").empty());
    }
    {
        environment const set({{"ALL_PROXY", "all"}, {"http_proxy", ""}});
        CHECK(proxy_of("ws://h/") == "all");
        CHECK(proxy_of("wss://h/") == "all");
    }
    environment const none({});
    CHECK(proxy_of("ws://h/").empty());
}

TEST_CASE("a CGI program does not take a client's Proxy field for its environment's proxy")
{
    environment const set({{"HTTP_PROXY", "evil"}, {"REQUEST_METHOD", "GET"}, {"HTTPS_PROXY", "secure"}});
    CHECK(proxy_of("ws://h/").empty());
    CHECK(proxy_of("wss://h/") == "secure");
}
