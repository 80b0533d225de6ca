// SPDX-License-Identifier: BSL-1.0
// How connections are shared out among loops. The clients are plain sockets of a thread of their own; each is sent the
// number of the loop that serves it.
#include "net/net.hpp"

#include "engine/loop_core.hpp"

#include <wring/scope.hpp>

#include <atomic>
#include <fcntl.h>
#include <functional>
#include <future>
#include <map>
#include <poll.h>
#include <thread>

using namespace net_test;

namespace {

constexpr unsigned idle_loop = 1; // the one that listens and does not accept, where there is one

/// Several loops that listen in the same place.
struct house
{
    house(unsigned n, std::string place, balance how = balance::least_connections) :
        loops(n), where(std::move(place)), mailboxes(n)
    {
        options.balance = how;
    }

    unsigned loops;
    std::string where;
    listen_options options;
    int inherited = -1; ///< in place of `where`
    bool one_idles = false;
    event leave; ///< for the idle loop
    std::vector<std::shared_ptr<detail::loop_mailbox>> mailboxes;
    std::atomic<unsigned> listening{0};
    std::promise<endpoint> open; ///< when all listen

    [[nodiscard]] std::size_t connections(unsigned loop) const { return mailboxes[loop]->connections; }

    /// Runs `call` on a loop.
    template <class F>
    void on(unsigned loop, F call) const
    {
        mailboxes[loop]->post(detail::make_posted(std::move(call)));
    }
    void stop() const
    {
        for (unsigned i = 0; i < loops; ++i)
            on(i, [] { this_loop().request_stop(); });
    }
};

task<> session(stream peer)
{
    char const number = static_cast<char>('0' + this_loop().index());
    auto const said = co_await peer.write(std::string_view(&number, 1));
    std::byte rest[1];
    if (!said)
        co_return;
    auto const end = co_await peer.read_some(rest);
    (void)end; // whatever it is
}

result<listener> listen(house& h)
{
    if (h.inherited < 0)
        return listener::bind(h.where, h.options);
    return listener::adopt(::fcntl(h.inherited, F_DUPFD_CLOEXEC, 0), h.options);
}

task<> live(house* h)
{
    auto const index = this_loop().index();
    auto opened = listen(*h);
    listener server = std::move(opened).value();
    h->mailboxes[index] = detail::loop_core::require().mailbox();
    if (++h->listening == h->loops)
        h->open.set_value(server.local());
    if (h->one_idles && index == idle_loop) {
        auto const told = co_await h->leave.wait();
        (void)told; // or all are stopped
        co_return;
    }
    scope sessions;
    while (auto peer = co_await server.accept())
        sessions.spawn(session(std::move(*peer)));
    sessions.request_stop();
    co_await sessions.join();
}

/// The clients.
class crowd
{
public:
    explicit crowd(endpoint at) : at_(std::move(at)) {}

    void come(int count)
    {
        for (int i = 0; i < count; ++i) {
            raw_socket s(::socket(at_.family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
            good_ = good_ && ::connect(s.get(), static_cast<sockaddr const*>(at_.data()),
                                       static_cast<socklen_t>(at_.size())) == 0;
            waiting_.push_back(std::move(s));
        }
    }

    /// Waits until so many more of them are served.
    void served(std::size_t count)
    {
        while (good_ && count > 0) {
            std::vector<pollfd> polled;
            for (auto const& s : waiting_)
                polled.push_back({s.get(), POLLIN, 0});
            good_ = ::poll(polled.data(), polled.size(), 60'000) > 0; // else they hang
            for (std::size_t i = polled.size(); i-- > 0;) {
                char number = 0;
                if (polled[i].revents == 0)
                    continue;
                good_ = good_ && ::recv(polled[i].fd, &number, 1, 0) == 1 && count > 0;
                by_loop_[static_cast<unsigned>(number - '0')].push_back(std::move(waiting_[i]));
                waiting_.erase(waiting_.begin() + static_cast<std::ptrdiff_t>(i));
                count -= count > 0;
            }
        }
    }

    /// Those that a loop serves go; waits until it has seen it.
    void leave(house const& h, unsigned loop)
    {
        by_loop_.erase(loop);
        while (h.connections(loop) > 0)
            std::this_thread::yield();
    }

    /// Those that wait see an end, or a reset.
    void turned_away() const
    {
        for (auto const& s : waiting_) {
            char number = 0;
            while (::recv(s.get(), &number, 1, 0) > 0) { // a loop that stops later has had it
            }
        }
    }

    [[nodiscard]] std::vector<std::size_t> counts(unsigned loops)
    {
        std::vector<std::size_t> all;
        for (unsigned i = 0; i < loops; ++i)
            all.push_back(by_loop_[i].size());
        return all;
    }
    [[nodiscard]] bool good() const { return good_; }

private:
    endpoint at_;
    bool good_ = true;
    std::vector<raw_socket> waiting_;
    std::map<unsigned, std::vector<raw_socket>> by_loop_;
};

/// Runs the loops while `visit` is made, which says how they shared out its clients. Stops them afterwards.
std::vector<std::size_t> visited(house& h, std::function<void(crowd&)> const& visit)
{
    std::vector<std::size_t> counts;
    bool good = false;
    std::thread outside([&] {
        crowd clients(h.open.get_future().get());
        visit(clients);
        counts = clients.counts(h.loops);
        h.stop();
        clients.turned_away();
        good = clients.good();
    });
    run_options options;
    options.threads = h.loops;
    options.handle_signals = false;
    int const status = run([&h] { return live(&h); }, test::resources(options));
    outside.join();
    CHECK(status == 0);
    CHECK(good);
    for (unsigned i = 0; i < h.loops; ++i)
        CHECK(h.connections(i) == 0);
    return counts;
}

void storm(house& h, int clients)
{
    auto const counts = visited(h, [&](crowd& c) {
        c.come(clients);
        c.served(static_cast<std::size_t>(clients));
    });
    if (h.options.balance == balance::least_connections)
        CHECK(counts == std::vector<std::size_t>(h.loops, static_cast<std::size_t>(clients) / h.loops));
    else
        CHECK(std::count(counts.begin(), counts.end(), 0U) == 0);
}

} // namespace

TEST_CASE("a storm of connections is spread over all loops by the system")
{
    no_descriptor_leaks const check;
    house h(4, "127.0.0.1:0", balance::reuse_port);
    storm(h, 400);
}

TEST_CASE("least connections: a storm is shared out exactly, at every kind of endpoint")
{
    no_descriptor_leaks const check;
    temporary_folder const folder;
    for (std::string const& where : {std::string("127.0.0.1:0"), std::string("[::1]:0"), "unix:" + folder / "storm",
                                     abstract_endpoint()}) {
        INFO(where);
        house h(4, where);
        storm(h, 400);
    }
    CHECK_FALSE(std::filesystem::exists(folder / "storm"));
}

TEST_CASE("least connections: of an adopted socket, too")
{
    no_descriptor_leaks const check;
    endpoint at;
    auto const given = bound_socket(at, 1024);
    house h(4, {});
    h.inherited = given.get();
    storm(h, 400);
}

TEST_CASE("least connections: newcomers go where others have left")
{
    no_descriptor_leaks const check;
    house h(3, "127.0.0.1:0");
    auto const counts = visited(h, [&](crowd& c) {
        c.come(90);
        c.served(90);
        c.leave(h, 2);
        c.come(30);
        c.served(30);
    });
    CHECK(counts == std::vector<std::size_t>{30, 30, 30});
}

TEST_CASE("least connections: a loop that does not accept is passed over, and what waits for it is not lost")
{
    no_descriptor_leaks const check;
    house h(2, "127.0.0.1:0");
    h.one_idles = true;
    h.options.backlog = 64;
    std::size_t at_idle_loop = 0;
    auto const counts = visited(h, [&](crowd& c) {
        c.come(200);
        c.served(136);
        at_idle_loop = h.connections(idle_loop);
        h.on(idle_loop, [&h] { h.leave.set(); }); // its listener closes
        c.served(64);
    });
    CHECK(at_idle_loop == 64);
    CHECK(counts == std::vector<std::size_t>{200, 0});
}

TEST_CASE("least connections: what waits when all loops stop is closed")
{
    no_descriptor_leaks const check;
    house h(2, "127.0.0.1:0");
    h.one_idles = true;
    auto const counts = visited(h, [&](crowd& c) {
        c.come(40);
        c.served(20);
    });
    CHECK(counts[0] >= 20);
    CHECK(counts[1] == 0);
}

TEST_CASE("least connections: the n-th listeners of one text belong together")
{
    no_descriptor_leaks const check;
    std::atomic<std::uint16_t> ports[2][2]{}; // by loop, by listener
    run_options options;
    options.threads = 2;
    options.handle_signals = false;
    auto const bind_two = [](auto* all) -> task<> {
        listener two[] = {listener::bind("127.0.0.1:0", {.balance = balance::least_connections}).value(),
                          listener::bind("127.0.0.1:0", {.balance = balance::least_connections}).value()};
        for (int i = 0; i < 2; ++i)
            (*all)[this_loop().index()][i] = two[i].local().port();
        while ((*all)[0][1] == 0 || (*all)[1][1] == 0) // the last one to close takes the port with it
            co_await turns(1);
    };
    CHECK(run([&] { return bind_two(&ports); }, options) == 0);
    CHECK(ports[0][0] == ports[1][0]);
    CHECK(ports[0][1] == ports[1][1]);
    CHECK(ports[0][0] != ports[0][1]);
}
