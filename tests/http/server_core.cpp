// SPDX-License-Identifier: BSL-1.0
// What the loops of a server share: addresses, limits by default, stopping, telling of errors.
#include "http/server_core.hpp"

#include "http/harness.hpp"

#include "child.hpp"

#include <fcntl.h>
#include <future>
#include <sys/resource.h>
#include <thread>

using namespace http_test;

namespace {

task<std::string> get(endpoint at, std::string target)
{
    auto client = (co_await connect_stream(at)).value();
    co_await send_text(client, request_for(target, "Connection: close\r\n"));
    auto const r = co_await read_reply(client);
    co_return r.body;
}

/// Asks without wring, from any thread.
std::string get_blocking(endpoint const& at, std::string_view target)
{
    net_test::raw_socket const s(::socket(at.family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (::connect(s.get(), static_cast<sockaddr const*>(at.data()), static_cast<socklen_t>(at.size())) != 0)
        return "can't connect";
    auto const text = request_for(target, "Connection: close\r\n");
    if (::send(s.get(), text.data(), text.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(text.size()))
        return "can't send";
    std::string all;
    char part[4096];
    for (ssize_t n = 0; (n = ::recv(s.get(), part, sizeof part, 0)) > 0;)
        all.append(part, static_cast<std::size_t>(n));
    auto const body = all.find("\r\n\r\n");
    return body == all.npos ? all : all.substr(body + 4);
}

} // namespace

TEST_CASE("a server listens where it was told, and tells where that is")
{
    net_test::temporary_folder folder;
    std::string const path = "unix:" + folder / "socket";
    server app;
    app.page("/", "hello");
    std::vector<endpoint> where;
    app.on_listening([&](endpoint const& at) { where.push_back(at); });
    app.listen("127.0.0.1:0");
    app.listen("127.0.0.1:0", {.no_delay = false});
    app.listen(path);
    for (int turn = 0; turn < 2; ++turn) { // it may serve again
        where.clear();
        on_loop([](server& a, std::vector<endpoint>& places) -> task<> {
            scope serving;
            serving.spawn(a.serve());
            while (places.size() < 3)
                co_await turns(1);
            CHECK(places[0].port() != 0);
            CHECK(places[0].port() != places[1].port());
            CHECK(places[2].is_unix());
            for (auto const& at : places) {
                auto const body = co_await get(at, "/");
                CHECK(body == "hello");
            }
            a.stop();
            co_await serving.join();
        }(app, where));
        CHECK(where.size() == 3);
        CHECK(!std::filesystem::exists(folder / "socket"));
    }
}

TEST_CASE("an address that can't be had ends serve() with its name")
{
    endpoint at;
    auto const other = net_test::bound_socket(at, 1);
    for (auto const& where : {at.to_string(), std::string("nonsense")}) {
        server app;
        app.listen("127.0.0.1:0");
        app.listen(where);
        std::string said;
        on_loop([](server& a, std::string& what) -> task<> {
            try {
                co_await a.serve();
            } catch (std::system_error const& e) {
                what = e.what();
            }
        }(app, said));
        CHECK(said.starts_with("can't listen on " + where + ": "));
        CHECK(app.connections() == 0);
    }
}

TEST_CASE("what a listening hook throws ends serve()")
{
    server app;
    app.listen("127.0.0.1:0");
    app.on_listening([](endpoint const&) { throw std::runtime_error("not there"); });
    on_loop([](server& a) -> task<> {
        bool thrown = false;
        try {
            co_await a.serve();
        } catch (std::runtime_error const&) {
            thrown = true;
        }
        CHECK(thrown);
        CHECK_NOTHROW(a.page("/", "x")); // it does not serve
    }(app));
}

TEST_CASE("several loops serve one server, and stop() from another thread ends them all")
{
    server app;
    app.page("/", "hello");
    app.get("/slow", [](request&) -> task<response> {
        co_await turns(5);
        co_return response(200, std::to_string(this_loop().index()));
    });
    std::atomic<int> announced{0};
    std::promise<endpoint> there;
    app.on_listening([&](endpoint const& at) {
        ++announced;
        there.set_value(at);
    });
    app.listen("127.0.0.1:0");
    std::jthread client([&] {
        auto const at = there.get_future().get();
        std::vector<std::jthread> many;
        for (int t = 0; t < 4; ++t)
            many.emplace_back([&] {
                for (int i = 0; i < 25; ++i) {
                    auto const body = get_blocking(at, i % 2 ? "/" : "/slow");
                    if (body.empty() || body.size() > 5) std::abort();
                }
            });
        many.clear();
        app.stop();
        app.stop(); // once more does no harm
    });
    run_options options;
    options.threads = 3;
    options.handle_signals = false;
    CHECK(run([&] { return app.serve(); }, options) == 0);
    CHECK(announced == 1);
    CHECK(app.connections() == 0);
}

namespace {

task<> early_or_late(server& app, std::atomic<bool>& early_has_left)
{
    if (this_loop().index() == 1) {
        while (!early_has_left)
            co_await turns(1);
        co_await app.serve();
        co_return;
    }
    scope serving;
    serving.spawn(app.serve());
    co_await turns(2);
    app.stop();
    co_await serving.join();
    early_has_left = true;
}

} // namespace

TEST_CASE("a loop that comes when the others have left already tells nothing again, and leaves too")
{
    server app;
    int announced = 0;
    app.on_listening([&](endpoint const&) { ++announced; });
    app.listen("127.0.0.1:0");
    run_options options;
    options.threads = 2;
    options.handle_signals = false;
    for (int i = 1; i <= 2; ++i) { // and the next run() begins anew
        std::atomic<bool> early_has_left{false};
        CHECK(run([&] { return early_or_late(app, early_has_left); }, options) == 0);
        CHECK(announced == i);
    }
}

TEST_CASE("stop() without anybody who serves has no effect")
{
    server app;
    app.page("/", "hello");
    app.stop();
    CHECK(ask(app, request_for("/")).body == "hello");
}

TEST_CASE("a cancel is a stop")
{
    server app;
    app.listen("127.0.0.1:0");
    on_loop([](server& a) -> task<> {
        auto const end = co_await timeout(20ms, a.serve());
        CHECK(end.error() == errc::timed_out);
    }(app));
}

TEST_CASE("two sockets of a service manager", "[.]")
{
    // As systemd does: descriptors 3 and 4 listen already.
    endpoint web;
    endpoint admin;
    auto const one = net_test::bound_socket(web, 64);
    auto const two = net_test::bound_socket(admin, 64);
    int const high_one = ::fcntl(one.get(), F_DUPFD, 100);
    int const high_two = ::fcntl(two.get(), F_DUPFD, 100);
    ::dup2(high_one, 3);
    ::dup2(high_two, 4);
    ::close(high_one);
    ::close(high_two);
    ::setenv("LISTEN_FDS", "2", 1);
    ::setenv("LISTEN_PID", std::to_string(::getpid()).c_str(), 1);
    ::setenv("LISTEN_FDNAMES", "web:admin", 1);

    server app;
    app.page("/", "web");
    CHECK(app.listen_inherited("web") == 1);
    CHECK(app.listen_inherited("none") == 0);
    server other;
    other.page("/", "admin");
    CHECK(other.listen_inherited("admin") == 1);
    std::atomic<int> wrong{0};
    std::jthread client([&] {
        for (int i = 0; i < 40; ++i)
            if (get_blocking(web, "/") != "web" || get_blocking(admin, "/") != "admin") ++wrong;
        app.stop();
        other.stop();
    });
    run_options options;
    options.threads = 2;
    options.handle_signals = false;
    auto const both = [](server& a, server& b) -> task<> {
        auto const done = co_await when_all(a.serve(), b.serve());
        (void)done;
    };
    int const status = run([&] { return both(app, other); }, options);
    client.join();
    // They are the manager's: still open, for a second run.
    CHECK(::fcntl(3, F_GETFD) >= 0);
    CHECK(::fcntl(4, F_GETFD) >= 0);
    CHECK(status == 0);
    CHECK(wrong == 0);
}

TEST_CASE("sockets that the service manager has made are served, by each loop")
{
    auto const end = test::in_fresh_process("two sockets of a service manager");
    INFO(end.output);
    CHECK(end.exited_with(0));
}

TEST_CASE("without descriptors handed over there is nothing to inherit")
{
    server app;
    CHECK(app.listen_inherited() == 0);
}

TEST_CASE("errors are told on standard error, a line a second at most")
{
    auto const end = test::in_child([] {
        detail::server_core core({});
        auto const failure = std::make_exception_ptr(std::runtime_error("broken"));
        auto const peer = endpoint::parse("192.0.2.1:7").value();
        for (int i = 0; i < 1000; ++i)
            core.report("/chat/{room}", peer, failure);
        core.report({}, {}, std::make_exception_ptr(42));
        return 0;
    });
    CHECK(end.exited_with(0));
    CHECK(end.output == "wring: /chat/{room} for 192.0.2.1:7: broken\n");
}

TEST_CASE("an error hook that throws is nobody's problem")
{
    detail::server_core core({});
    int told = 0;
    core.on_error = [&](server_error const& e) {
        ++told;
        std::rethrow_exception(e.exception);
    };
    core.report("/", {}, std::make_exception_ptr(std::runtime_error("broken")));
    CHECK(told == 1);
}

TEST_CASE("by default nine tenths of the descriptors are for connections, a quarter of them unopened")
{
    auto const end = test::in_child([] {
        rlimit const limit{200, 200};
        ::setrlimit(RLIMIT_NOFILE, &limit);
        server app;
        app.page("/", "x");
        endpoint at;
        app.on_listening([&](endpoint const& there) { at = there; });
        app.listen("127.0.0.1:0");
        static int open = 0;
        run_options options;
        options.handle_signals = false;
        int const status = run(
            [](server& a, endpoint& where) -> task<> {
                scope serving;
                serving.spawn(a.serve());
                while (where.size() == 0)
                    co_await turns(1);
                // 180 connections in all, 45 of them silent: the 46th is told to come back.
                std::vector<stream> clients;
                for (int i = 0; i < 46; ++i)
                    clients.push_back((co_await connect_stream(where)).value());
                auto const told = co_await read_head(clients.back());
                open = told.starts_with("HTTP/1.1 503 ") && a.connections() == 45 ? 1 : 0;
                a.stop();
                co_await serving.join();
            }(app, at),
            options);
        return status == 0 && open == 1 ? 0 : 1;
    });
    INFO(end.output);
    CHECK(end.exited_with(0));
}
