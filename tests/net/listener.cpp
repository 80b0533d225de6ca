// SPDX-License-Identifier: BSL-1.0
#include "net.hpp"

#include "net/system.hpp"
#include "waits.hpp"

#include <atomic>
#include <fstream>
#include <latch>
#include <mutex>
#include <set>
#include <thread>

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/un.h>

using namespace net_test;

namespace {

/// A connected socket that is not wring's; blocking. Not connected (-1) where that fails.
raw_socket raw_client(endpoint const& at)
{
    raw_socket s(::socket(at.family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (::connect(s.get(), static_cast<sockaddr const*>(at.data()), static_cast<socklen_t>(at.size())) != 0) s.reset();
    return s;
}

// ---- binding -------------------------------------------------------------------------------------------------------

task<> accept_on(std::string text)
{
    auto server = listener::bind(text);
    REQUIRE(server);
    auto const at = server->local();
    CHECK((at.is_unix() || at.port() != 0));
    CHECK(server->native_handle() >= 0);
    auto client = raw_client(at);
    auto peer = co_await server->accept();
    REQUIRE(peer);
    CHECK((::fcntl(peer->native_handle(), F_GETFL) & O_NONBLOCK) != 0);
    CHECK((::fcntl(peer->native_handle(), F_GETFD) & FD_CLOEXEC) != 0);
    if (at.is_ip()) CHECK(socket_option(peer->native_handle(), IPPROTO_TCP, TCP_NODELAY) == 1);
    CHECK(::write(client.get(), "hello", 5) == 5);
    auto const got = co_await read_text(*peer, 5);
    CHECK(got == "hello");
}

task<> addresses_in_use()
{
    auto first = listener::bind("127.0.0.1:0").value();
    auto const again = listener::bind(first.local().to_string());
    CHECK(again.error() == std::errc::address_in_use);
    auto const name = listener::bind("localhost:" + std::to_string(first.local().port()));
    if (!name) // localhost may be ::1
        CHECK(name.error() == std::errc::address_in_use);
    co_return;
}

task<> bad_addresses()
{
    for (char const* text : {"", "9001", "127.0.0.1", "127.0.0.1:70000", "unix:", "::1:80"}) {
        CAPTURE(text);
        CHECK(listener::bind(text).error() == errc::bad_endpoint);
    }
    CHECK(listener::bind("nobody.invalid:0").error());
    CHECK(listener::bind("192.0.2.1:0").error() == std::errc::address_not_available);
    CHECK(listener::bind("unix:/no/such/folder/x").error() == std::errc::no_such_file_or_directory);
    co_return;
}

task<> options()
{
    listen_options slow;
    slow.no_delay = false;
    auto server = listener::bind("127.0.0.1:0", slow).value();
    auto client = raw_client(server.local());
    auto const peer = co_await server.accept();
    CHECK(socket_option(peer.value().native_handle(), IPPROTO_TCP, TCP_NODELAY) == 0);

    listen_options only;
    only.v6_only = true;
    auto const v6 = listener::bind("[::]:0", only).value();
    CHECK(socket_option(v6.native_handle(), IPPROTO_IPV6, IPV6_V6ONLY) == 1);
    auto const both = listener::bind("*:0").value();
    CHECK(socket_option(both.native_handle(), IPPROTO_IPV6, IPV6_V6ONLY) == 0);
    auto v4 = endpoint::parse("127.0.0.1:0").value();
    v4.set_port(both.local().port());
    CHECK(raw_client(v4).get() >= 0);
}

task<> unix_paths()
{
    temporary_folder const folder;
    std::string const path = folder / "socket";
    auto const at = endpoint::parse("unix:" + path).value();
    { // Left over by a process that has ended.
        raw_socket const dead(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        REQUIRE(::bind(dead.get(), static_cast<sockaddr const*>(at.data()), static_cast<socklen_t>(at.size())) == 0);
    }
    REQUIRE(std::filesystem::exists(path));
    {
        auto server = listener::bind(at.to_string());
        REQUIRE(server);
        CHECK(listener::bind(at.to_string()).error() == std::errc::address_in_use);
        auto client = raw_client(at); // that one is still there
        auto const peer = co_await server->accept();
        CHECK(peer);
        server->close();
        CHECK_FALSE(std::filesystem::exists(path));
    }
    {
        auto const server = listener::bind(at.to_string());
        CHECK(server);
    }
    CHECK_FALSE(std::filesystem::exists(path));

    std::ofstream(path) << "not a socket";
    CHECK(listener::bind(at.to_string()).error() == std::errc::address_in_use);
    CHECK(std::filesystem::file_size(path) == 12);
}

task<> adopted()
{
    endpoint at;
    raw_socket fd = bound_socket(at, 10);
    auto server = listener::adopt(fd.get());
    REQUIRE(server);
    CHECK(server->native_handle() == fd.release());
    CHECK(server->local() == at);
    auto client = raw_client(at);
    auto const peer = co_await server->accept();
    CHECK(peer);

    raw_socket const idle = bound_socket(at, -1);
    CHECK(listener::adopt(idle.get()).error() == std::errc::invalid_argument);
    CHECK(listener::adopt(-1).error() == std::errc::bad_file_descriptor);
    CHECK(::fcntl(idle.get(), F_GETFD) >= 0);

    temporary_folder const folder;
    auto const path = endpoint::parse("unix:" + folder / "given").value();
    raw_socket given(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    REQUIRE(::bind(given.get(), static_cast<sockaddr const*>(path.data()), static_cast<socklen_t>(path.size())) == 0);
    REQUIRE(::listen(given.get(), 10) == 0);
    {
        auto const from_parent = listener::adopt(given.get());
        CHECK(from_parent);
        given.release();
    }
    CHECK(std::filesystem::exists(folder / "given")); // whoever made the path removes it
}

// ---- accepting -----------------------------------------------------------------------------------------------------

task<> accept_into(listener& server, std::error_code& outcome)
{
    auto const peer = co_await server.accept();
    outcome = peer.error();
}

task<> close_ends_accept(char const* text)
{
    auto server = listener::bind(text).value();
    auto const at = server.local();
    std::error_code outcome;
    scope accepting;
    accepting.spawn(accept_into(server, outcome));
    co_await turns(2);
    auto const second = co_await server.accept();
    CHECK(second.error() == errc::busy);
    server.close();
    server.close();
    co_await accepting.join();
    CHECK(outcome == errc::closed);
    auto const later = co_await server.accept();
    CHECK(later.error() == errc::closed);
    co_await turns(3);
    CHECK(server.native_handle() == -1);
    CHECK(raw_client(at).get() == -1); // nobody waits in a backlog that nobody empties
    CHECK(server.local() == at);
}

task<> close_drops_those_who_wait()
{
    auto server = listener::bind("127.0.0.1:0").value();
    auto client = co_await connect_stream(server.local());
    REQUIRE(client);
    server.close();
    std::byte buffer[1];
    auto const end = co_await timeout(10s, client->read_some(std::span(buffer)));
    CHECK_FALSE(end);
    CHECK(end.error() != errc::timed_out);
}

task<> moved()
{
    auto server = listener::bind("127.0.0.1:0").value();
    std::error_code outcome = errc::busy;
    scope accepting;
    accepting.spawn(accept_into(server, outcome)); // starts after the move
    listener other = std::move(server);
    server = listener::bind("127.0.0.1:0").value();
    auto const first = raw_client(server.local());
    co_await accepting.join();
    CHECK_FALSE(outcome);
    auto const second = raw_client(other.local());
    auto const peer = co_await other.accept();
    CHECK(peer);
}

task<> come_one_by_one(endpoint at, int count, std::vector<raw_socket>& clients)
{
    for (int i = 0; i < count; ++i) {
        auto client = raw_client(at);
        char const number = static_cast<char>(i);
        CHECK(::write(client.get(), &number, 1) == 1);
        clients.push_back(std::move(client));
        co_await turns(1 + i % 4);
    }
}

task<> accept_session(char const* text, cancel_plan& plan)
{
    auto server = listener::bind(text).value();
    constexpr int count = 8;
    std::vector<raw_socket> clients;
    scope coming;
    coming.spawn(come_one_by_one(server.local(), count, clients));
    std::multiset<int> numbers; // several may be accepted together; each comes once
    while (numbers.size() < count) {
        auto peer = co_await under(plan, server.accept());
        if (!peer) {
            CHECK(peer.error() == errc::canceled);
            continue;
        }
        std::byte number[1];
        auto const got = co_await peer->read(std::span(number));
        CHECK(got);
        numbers.insert(static_cast<int>(number[0]));
    }
    co_await coming.join();
    for (int i = 0; i < count; ++i)
        CHECK(numbers.count(i) == 1);
}

task<> accept_ahead()
{
    auto server = listener::bind("127.0.0.1:0").value();
    auto const first = raw_client(server.local());
    auto const accepted = co_await server.accept(); // from here on connections are accepted
    CHECK(accepted);
    auto const before = open_descriptors();
    constexpr std::size_t count = 150;
    std::vector<raw_socket> clients;
    for (std::size_t i = 0; i < count; ++i) {
        clients.push_back(raw_client(server.local()));
        co_await turns(2);
    }
    auto const ahead = open_descriptors() - before - count;
    CHECK(ahead >= 10);
    CHECK(ahead <= 80); // 64, and those on their way when it paused
    for (std::size_t i = 0; i < count; ++i) {
        auto const peer = co_await timeout(10s, server.accept());
        CHECK(peer);
    }
}

// ---- out of descriptors
// ----------------------------------------------------------------------------------------------

/// No file descriptor can be opened while it lives.
class no_descriptors_left
{
public:
    no_descriptors_left()
    {
        ::getrlimit(RLIMIT_NOFILE, &usual_);
        int const free = ::dup(2);
        ::close(free);
        rlimit none = usual_;
        none.rlim_cur = static_cast<rlim_t>(free);
        ::setrlimit(RLIMIT_NOFILE, &none);
    }
    no_descriptors_left(no_descriptors_left const&) = delete;
    no_descriptors_left& operator=(no_descriptors_left const&) = delete;
    ~no_descriptors_left() { ::setrlimit(RLIMIT_NOFILE, &usual_); }

private:
    rlimit usual_{};
};

/// What is written to standard error meanwhile.
class captured_errors
{
public:
    captured_errors() : file_(std::tmpfile()), before_(::dup(2)) { ::dup2(::fileno(file_), 2); }
    captured_errors(captured_errors const&) = delete;
    captured_errors& operator=(captured_errors const&) = delete;
    ~captured_errors()
    {
        ::dup2(before_, 2);
        ::close(before_);
        std::fclose(file_);
    }
    [[nodiscard]] std::string text() const
    {
        std::string all(4096, '\0');
        ssize_t const n = ::pread(::fileno(file_), all.data(), all.size(), 0);
        all.resize(static_cast<std::size_t>(std::max<ssize_t>(n, 0)));
        return all;
    }

private:
    std::FILE* file_;
    int before_;
};

task<> out_of_descriptors()
{
    auto server = listener::bind("127.0.0.1:0").value();
    std::vector<raw_socket> clients;
    for (int i = 0; i < 5; ++i)
        clients.push_back(raw_client(server.local()));
    captured_errors const errors;
    {
        no_descriptors_left const limit;
        auto const before = wring::test::waits();
        auto const late = co_await timeout(350ms, server.accept());
        CHECK(late.error() == errc::timed_out);
        CHECK(wring::test::waits() - before < 50); // it waits in between
    }
    for (int i = 0; i < 5; ++i) {
        auto const peer = co_await timeout(10s, server.accept());
        CHECK(peer);
    }
    auto const text = errors.text();
    CAPTURE(text);
    CHECK(text.find(server.local().to_string()) != text.npos);
    CHECK(std::count(text.begin(), text.end(), '\n') == 1);
}

task<> closed_while_out_of_descriptors()
{
    auto server = listener::bind("127.0.0.1:0").value();
    auto client = raw_client(server.local());
    captured_errors const errors;
    no_descriptors_left const limit;
    std::error_code outcome;
    scope accepting;
    accepting.spawn(accept_into(server, outcome));
    co_await turns(5);
    server.close(); // while it waits to try again
    co_await accepting.join();
    CHECK(outcome == errc::closed);
}

// ---- accepts that fail
// -----------------------------------------------------------------------------------------------

/// Clients that are gone, by a reset, before they are accepted harm nobody.
task<> resets_in_the_backlog()
{
    auto server = listener::bind("127.0.0.1:0").value();
    linger const hard{1, 0};
    for (int i = 0; i < 3; ++i) {
        auto const client = raw_client(server.local());
        ::setsockopt(client.get(), SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    }
    auto const good = raw_client(server.local());
    REQUIRE(::write(good.get(), "x", 1) == 1);
    std::string text;
    for (int i = 0; i < 4 && text != "x"; ++i) {
        auto peer = co_await server.accept();
        REQUIRE(peer);
        text = co_await read_text(*peer, 1);
    }
    CHECK(text == "x");
}

/// What the system says of one connection, or of its network for a while; by Asio's engine, whose accepts a test can
/// refuse.
task<> errors_that_pass()
{
    auto server = listener::bind("127.0.0.1:0").value();
    struct
    {
        int error;
        int times;
        std::size_t lines;
    } const cases[] = {{ECONNABORTED, 5, 0}, {EPROTO, 5, 0}, {EINTR, 2, 0}, {EAGAIN, 2, 0},
                       {ENETDOWN, 1, 1},     {EMFILE, 2, 0}, {ENOSPC, 1, 0}, {EPERM, 1, 0}}; // told once
    for (auto const& c : cases) {
        CAPTURE(c.error);
        captured_errors const errors;
        system_calls.accept_error = c.error;
        system_calls.accept_errors = c.times;
        auto const client = raw_client(server.local());
        auto const peer = co_await timeout(10s, server.accept());
        CHECK(peer);
        auto const text = errors.text();
        CHECK(static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n')) == c.lines);
    }
    system_calls.accept_error = EBADF; // no hope
    system_calls.accept_errors = 1;
    auto const client = raw_client(server.local());
    auto const first = co_await server.accept();
    CHECK(first.error() == std::errc::bad_file_descriptor);
    auto const second = co_await server.accept();
    CHECK(second.error() == first.error());
}

/// The connection that was given to a coroutine is its own, whatever becomes of the listener before it runs.
task<> served_and_gone()
{
    std::optional<listener> server = listener::bind("127.0.0.1:0").value();
    auto const first = raw_client(server->local());
    auto const second = raw_client(server->local());
    auto const one = co_await server->accept();
    co_await turns(3); // the other one is accepted too
    struct child
    {
        static task<> accept(listener& from, std::string& got)
        {
            for (int i = 0; i < 64; ++i)
                co_await detail::at_once();
            auto peer = co_await from.accept(); // completes at once, but goes on in the next turn
            auto const written = co_await peer.value().write("x");
            got = written ? "written" : written.error().message();
        }
        static task<> destroy(std::optional<listener>& which)
        {
            which.reset();
            co_return;
        }
    };
    std::string got;
    scope children;
    children.spawn(child::accept(*server, got));
    children.spawn(child::destroy(server));
    co_await children.join();
    CHECK(got == "written");
    char text = 0;
    CHECK(::read(second.get(), &text, 1) == 1);
}

task<> stopped()
{
    auto waited_on = listener::bind("127.0.0.1:0").value();
    auto asked_later = listener::bind("127.0.0.1:0").value();
    std::error_code outcome;
    scope accepting;
    accepting.spawn(accept_into(waited_on, outcome));
    co_await turns(2);
    int const before = waited_on.native_handle();
    CHECK(before >= 0);
    this_loop().request_stop();
    accepting.request_stop();
    CHECK(waited_on.native_handle() == -1); // its accept may still be in the kernel
    co_await accepting.join();
    CHECK(outcome == errc::canceled);
    auto const late = co_await asked_later.accept();
    CHECK(late.error() == errc::canceled);
    CHECK(asked_later.native_handle() == -1);
    CHECK(raw_client(asked_later.local()).get() < 0); // refused, not left waiting
    auto const again = co_await asked_later.accept();
    CHECK(again.error() == errc::closed);
}

// ---- several loops
// ---------------------------------------------------------------------------------------------------

/// What the threads of a test share.
struct loops
{
    explicit loops(std::string text) : where(std::move(text)) {}
    std::string const where;
    std::latch bound{2};
    std::mutex mutex;
    std::vector<loop*> running;
    std::vector<endpoint> at;
    std::atomic<int> served[2]{};
};

task<> say_who(stream s)
{
    char const number = static_cast<char>('0' + this_loop().index());
    auto const written = co_await s.write(std::string_view(&number, 1));
    (void)written;
}

task<> serve(loops* shared)
{
    auto server = listener::bind(shared->where).value();
    {
        std::lock_guard const lock(shared->mutex);
        shared->running.push_back(&this_loop());
        shared->at.push_back(server.local());
    }
    shared->bound.count_down();
    scope sessions;
    while (auto peer = co_await server.accept()) {
        ++shared->served[this_loop().index()];
        sessions.spawn(say_who(std::move(*peer)));
    }
    co_await sessions.join();
}

void two_loops(std::string const& where, int clients)
{
    loops shared(where);
    std::atomic<int> answered{0};
    std::jthread client([&] {
        shared.bound.wait();
        for (int i = 0; i < clients; ++i) {
            auto const s = raw_client(shared.at.front());
            char number = 0;
            if (::read(s.get(), &number, 1) == 1) ++answered;
        }
        std::lock_guard const lock(shared.mutex);
        for (loop* l : shared.running)
            l->post([l] { l->request_stop(); });
    });
    run_options options;
    options.threads = 2;
    options.handle_signals = false;
    CHECK(run([&] { return serve(&shared); }, options) == 0);
    client.join();
    CHECK(answered == clients);
    CHECK(shared.served[0] + shared.served[1] == clients);
    REQUIRE(shared.at.size() == 2);
    CHECK(shared.at[0] == shared.at[1]);
    if (shared.at[0].is_ip()) { // the system spreads them
        CHECK(shared.served[0] > 0);
        CHECK(shared.served[1] > 0);
    }
}

task<> refused_on_each_loop(std::string const* where, std::atomic<int>* refused)
{
    auto const taken = listener::bind(*where);
    if (!taken && taken.error() == std::errc::address_in_use) ++*refused;
    co_return;
}

/// Each loop closes at its own time; the path is there as long as one listens.
struct parting
{
    std::string path;
    std::latch bound{2};
    std::latch first_closed{1};
    std::atomic<bool> there_after_first{false};
    std::atomic<bool> connected_after_first{false};
    std::atomic<bool> there_after_both{true};
};

task<> part(parting* shared)
{
    auto server = listener::bind("unix:" + shared->path).value();
    shared->bound.arrive_and_wait();
    if (this_loop().index() == 0) {
        server.close();
        co_await turns(3);
        shared->first_closed.count_down();
        co_return;
    }
    shared->first_closed.wait();
    shared->there_after_first = std::filesystem::exists(shared->path);
    auto const client = raw_client(server.local());
    auto const peer = co_await timeout(10s, server.accept());
    shared->connected_after_first = peer.has_value();
    server.close();
    shared->there_after_both = std::filesystem::exists(shared->path);
}

} // namespace

TEST_CASE("connections are accepted at every kind of endpoint")
{
    no_descriptor_leaks const check;
    temporary_folder const folder;
    std::string where = GENERATE("127.0.0.1:0", "[::1]:0", "localhost:0", "abstract", "a path");
    if (where == "abstract") where = abstract_endpoint();
    CAPTURE(where);
    if (where == "a path") where = "unix:" + folder / "s";
    on_loop(accept_on(where));
}
TEST_CASE("a port in use is an error")
{
    no_descriptor_leaks const check;
    on_loop(addresses_in_use());
}
TEST_CASE("what can't be bound is an error")
{
    no_descriptor_leaks const check;
    on_loop(bad_addresses());
}
TEST_CASE("the options of a listener reach its sockets")
{
    no_descriptor_leaks const check;
    on_loop(options());
}
TEST_CASE("a Unix path left over is replaced, one in use is not, and a closed one goes")
{
    no_descriptor_leaks const check;
    on_loop(unix_paths());
}
TEST_CASE("a listening socket can be adopted")
{
    no_descriptor_leaks const check;
    on_loop(adopted());
}

TEST_CASE("close ends an accept, and listening")
{
    no_descriptor_leaks const check;
    auto const where = GENERATE(as<std::string>(), "127.0.0.1:0", abstract_endpoint());
    on_loop(close_ends_accept(where.c_str()));
}
TEST_CASE("close drops the connections that were not accepted")
{
    no_descriptor_leaks const check;
    on_loop(close_drops_those_who_wait());
}
TEST_CASE("a listener can be moved and replaced")
{
    no_descriptor_leaks const check;
    on_loop(moved());
}
TEST_CASE("an accept canceled at any suspension loses no connection")
{
    no_descriptor_leaks const check;
    auto const where = GENERATE(as<std::string>(), "127.0.0.1:0", abstract_endpoint());
    std::size_t canceled = 0;
    for (int const delay : {0, 1, 2, 3}) {
        for (std::size_t at = 0;; ++at) {
            CAPTURE(where, at, delay);
            cancel_plan plan;
            plan.at = at;
            plan.delay = delay;
            on_loop(accept_session(where.c_str(), plan));
            canceled += plan.canceled;
            if (plan.suspensions <= at) break;
        }
    }
    CHECK(canceled >= 4);
}
TEST_CASE("accepting pauses where nobody asks for connections")
{
    no_descriptor_leaks const check;
    on_loop(accept_ahead());
}

TEST_CASE("out of file descriptors, a listener waits, says so once and goes on")
{
    no_descriptor_leaks const check;
    on_loop(out_of_descriptors());
}
TEST_CASE("a listener that waits for file descriptors can be closed")
{
    no_descriptor_leaks const check;
    on_loop(closed_while_out_of_descriptors());
}

TEST_CASE("clients that reset before they are accepted harm nobody")
{
    no_descriptor_leaks const check;
    on_loop(resets_in_the_backlog());
}
TEST_CASE("errors of one connection are skipped, and passing ones waited for")
{
    no_descriptor_leaks const check;
    run_options options;
    options.engine = engine_kind::asio;
    options.handle_signals = false;
    CHECK(run(errors_that_pass(), options) == 0);
}
TEST_CASE("a connection that was accepted outlives its listener")
{
    no_descriptor_leaks const check;
    on_loop(served_and_gone());
}
TEST_CASE("a listener closes when its loop is asked to stop")
{
    no_descriptor_leaks const check;
    on_loop(stopped());
}

TEST_CASE("two loops share the port that the first was given")
{
    no_descriptor_leaks const check;
    two_loops("127.0.0.1:0", 300);
}
TEST_CASE("two loops share a Unix socket")
{
    no_descriptor_leaks const check;
    temporary_folder const folder;
    two_loops("unix:" + folder / "shared", 100);
    CHECK_FALSE(std::filesystem::exists(folder / "shared"));
}
TEST_CASE("a Unix path stays until the last loop has closed its listener")
{
    no_descriptor_leaks const check;
    temporary_folder const folder;
    parting shared;
    shared.path = folder / "parting";
    run_options options;
    options.threads = 2;
    options.handle_signals = false;
    CHECK(run([&] { return part(&shared); }, options) == 0);
    CHECK(shared.there_after_first);
    CHECK(shared.connected_after_first);
    CHECK_FALSE(shared.there_after_both);
}
TEST_CASE("two loops do not share the port of another program")
{
    int const on = 1;
    raw_socket listening(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    ::setsockopt(listening.get(), SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
    auto any = endpoint::parse("127.0.0.1:0").value();
    REQUIRE(::bind(listening.get(), static_cast<sockaddr const*>(any.data()), static_cast<socklen_t>(any.size())) == 0);
    REQUIRE(::listen(listening.get(), 10) == 0);
    sockaddr_in name{};
    socklen_t size = sizeof name;
    ::getsockname(listening.get(), reinterpret_cast<sockaddr*>(&name), &size);
    std::string const where = endpoint::from_sockaddr(&name, size).to_string();
    std::atomic<int> refused{0};
    run_options options;
    options.threads = 2;
    options.handle_signals = false;
    CHECK(run([&] { return refused_on_each_loop(&where, &refused); }, options) == 0);
    CHECK(refused == 2);
}
