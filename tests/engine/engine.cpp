// SPDX-License-Identifier: BSL-1.0
// The seam: what every engine promises, by the same tests on both.
#include "engine/rig.hpp"

#include "child.hpp"
#include "core/allocations.hpp"

#include <algorithm>
#include <atomic>
#include <random>
#include <thread>

using namespace wring;
using namespace wring::test;

namespace {

engine_variant each_variant()
{
    constexpr auto uring = engine_kind::uring;
    if (std::getenv("WRING_TEST_REFUSED"))
        return engine_variant(engine_kind::asio);
    return GENERATE(engine_variant(uring), engine_variant(uring, 1), engine_variant(uring, 2),
                    engine_variant(engine_kind::asio));
}
std::string to_string(engine_variant const& v)
{
    return std::string(to_string(v.kind)) + (v.rung ? ", rung " + std::to_string(v.rung) : "");
}

/// Sends all of a text, however an engine sends.
struct sender : recorder
{
    sender(engine::descriptor& to, engine_kind on, std::string const& text)
        : io(to), whole(text), by_hand(on == engine_kind::asio)
    {
        then = [](recorder& r, engine::completion const& c) noexcept { static_cast<sender&>(r).go_on(c); };
    }
    void start()
    {
        iovec const rest{const_cast<char*>(whole.data()) + done, whole.size() - done};
        io.send(*this, {&rest, 1});
    }
    void go_on(engine::completion const& c) noexcept
    {
        if (c.result < 0) {
            failed = true;
            return;
        }
        done += static_cast<std::size_t>(c.result);
        while (by_hand && done < whole.size()) {
            auto const n = ::send(io.fd(), whole.data() + done, whole.size() - done, MSG_DONTWAIT | MSG_NOSIGNAL);
            if (n < 0 && errno != EAGAIN) failed = true;
            if (n < 0) break;
            done += static_cast<std::size_t>(n);
        }
        if (!failed && done < whole.size()) start();
    }
    engine::descriptor& io;
    std::string const& whole;
    std::size_t done = 0;
    bool by_hand;
    bool failed = false;
};

std::string pattern(std::size_t n)
{
    std::string text(n, ' ');
    for (std::size_t i = 0; i < n; ++i)
        text[i] = static_cast<char>('a' + i * 7 % 26 + i / 1000 % 3);
    return text;
}

} // namespace

TEST_CASE("an engine knows its kind, and a descriptor its file", "[engine]")
{
    auto const kind = each_variant();
    INFO(to_string(kind));
    rig r(kind);
    CHECK(r.io->kind() == kind);
    pair p;
    int const fd = p.ours;
    auto io = r.open(fd);
    CHECK(io->fd() == fd);
    CHECK(io->release() == fd);
    CHECK(::fcntl(fd, F_GETFD) >= 0); // still open
    io = r.open(fd);
    io.reset();
    CHECK(::fcntl(fd, F_GETFD) < 0);
}

TEST_CASE("accept gives connection after connection until it is canceled", "[engine][accept]")
{
    auto const kind = each_variant();
    INFO(to_string(kind));
    rig r(kind);
    listening l;
    auto io = r.open(l.fd);
    recorder accept;
    accept.accepts = true;
    io->accept(accept);
    std::vector<int> clients;
    for (int round = 0; round < 3; ++round) {
        for (int i = 0; i < 40; ++i) {
            int const fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
            REQUIRE(::connect(fd, l.address(), sizeof l.at) == 0);
            clients.push_back(fd);
        }
        CHECK(r.until([&] { return accept.accepted.size() == clients.size(); }));
    }
    CHECK(accept.in_flight());
    for (int fd : accept.accepted) {
        CHECK((::fcntl(fd, F_GETFL) & O_NONBLOCK));
        CHECK((::fcntl(fd, F_GETFD) & FD_CLOEXEC));
    }
    io->cancel(accept);
    io->cancel(accept); // a second one changes nothing
    CHECK(r.until([&] { return accept.ended(); }));
    CHECK(accept.results.back() == -ECANCELED);
    CHECK(accept.ends == 1);

    int const late = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0); // and it may be started again
    REQUIRE(::connect(late, l.address(), sizeof l.at) == 0);
    clients.push_back(late);
    r.spin(3);
    CHECK(accept.accepted.size() == clients.size() - 1);
    io->accept(accept);
    CHECK(r.until([&] { return accept.accepted.size() == clients.size(); }));
    io->cancel(accept);
    CHECK(r.until([&] { return accept.ended(); }));
    for (int fd : clients)
        ::close(fd);
}

TEST_CASE("an operation may be canceled by its own handler", "[engine][cancel]")
{
    auto const kind = each_variant();
    INFO(to_string(kind));
    rig r(kind);
    listening l;
    auto io = r.open(l.fd);
    std::vector<int> clients;
    for (int i = 0; i < 5; ++i) {
        clients.push_back(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        REQUIRE(::connect(clients.back(), l.address(), sizeof l.at) == 0);
    }
    recorder accept;
    accept.accepts = true;
    accept.context = io.get();
    accept.then = [](recorder& self, engine::completion const& c) noexcept {
        if (!c.last) static_cast<engine::descriptor*>(self.context)->cancel(self);
    };
    io->accept(accept);
    CHECK(r.until([&] { return accept.ended(); }));
    CHECK(accept.ends == 1);
    CHECK(!accept.accepted.empty());

    pair p;
    auto stream = r.open(p.ours);
    recorder receive;
    receive.context = stream.get();
    receive.then = accept.then;
    p.write("abc");
    stream->receive(receive);
    CHECK(r.until([&] { return receive.ended(); }));
    CHECK(receive.data == "abc");
    CHECK(receive.results.back() == -ECANCELED);
    CHECK(receive.ends == 1);
    for (int fd : clients)
        ::close(fd);
}

TEST_CASE("connect reaches a listener, or says why not", "[engine][connect]")
{
    auto const kind = each_variant();
    INFO(to_string(kind));
    rig r(kind);
    listening l;
    {
        auto io = r.open(socket_of(AF_INET));
        recorder op;
        io->connect(op, l.address(), sizeof l.at);
        CHECK(r.until([&] { return op.ended(); }));
        CHECK(op.results == std::vector<int>{0});
    }
    ::close(l.fd);
    {
        auto io = r.open(socket_of(AF_INET));
        recorder op;
        io->connect(op, l.address(), sizeof l.at);
        CHECK(op.results.empty()); // never inside the start
        CHECK(r.until([&] { return op.ended(); }));
        CHECK(op.results == std::vector<int>{-ECONNREFUSED});
    }
}

TEST_CASE("a connect that nobody answers is canceled", "[engine][connect][cancel]")
{
    auto const kind = each_variant();
    INFO(to_string(kind));
    rig r(kind);
    int const full = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0); // a backlog of one, filled
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof at;
    REQUIRE(::bind(full, reinterpret_cast<sockaddr*>(&at), size) == 0);
    REQUIRE(::listen(full, 0) == 0);
    REQUIRE(::getsockname(full, reinterpret_cast<sockaddr*>(&at), &size) == 0);
    std::vector<std::unique_ptr<engine::descriptor>> ios;
    std::vector<std::unique_ptr<recorder>> ops;
    for (int i = 0; i < 6; ++i) {
        ios.push_back(r.open(socket_of(AF_INET)));
        ops.push_back(std::make_unique<recorder>());
        ios.back()->connect(*ops.back(), reinterpret_cast<sockaddr*>(&at), size);
    }
    r.spin(20);
    std::size_t waiting = 0;
    for (std::size_t i = 0; i < ops.size(); ++i) {
        waiting += ops[i]->in_flight();
        ios[i]->cancel(*ops[i]);
    }
    CHECK(waiting > 0);
    CHECK(r.until([&] { return std::all_of(ops.begin(), ops.end(), [](auto& op) { return op->ended(); }); }));
    for (auto& op : ops) {
        CHECK(op->ends == 1);
        CHECK((op->results.back() == -ECANCELED || op->results.back() == 0));
    }
    ::close(full);
}

TEST_CASE("receive gives what comes, in order, and the end of the stream", "[engine][receive]")
{
    auto const kind = each_variant();
    bool const tcp = GENERATE(false, true);
    INFO(to_string(kind) << (tcp ? " tcp" : " unix"));
    rig r(kind);
    pair p(tcp);
    auto io = r.open(p.ours);
    recorder op;
    io->receive(op);
    std::string const text = pattern(300'000);
    std::size_t written = 0;
    while (written < text.size()) {
        auto const n = ::send(p.peer, text.data() + written, text.size() - written, MSG_NOSIGNAL);
        if (n > 0) written += static_cast<std::size_t>(n);
        r.spin(1);
    }
    CHECK(r.until([&] { return op.data.size() == text.size(); }));
    CHECK(op.data == text);
    CHECK(op.in_flight());
    CHECK_FALSE(op.wrong);
    p.close_peer();
    CHECK(r.until([&] { return op.ended(); }));
    CHECK(op.results.back() == 0);
    CHECK(op.ends == 1);
    CHECK(r.blocks.lent() <= 16);
}

TEST_CASE("receive_into puts bytes behind those of a block, once, and no more than it was asked for",
          "[engine][receive]")
{
    auto const kind = each_variant();
    bool const tcp = GENERATE(false, true);
    INFO(to_string(kind) << (tcp ? " tcp" : " unix"));
    rig r(kind);
    pair p(tcp);
    auto io = r.open(p.ours);
    engine::block_ref into(r.blocks.take(100'000));
    engine::block& b = *into.get();
    std::memcpy(b.end, "head:", 5);
    b.end += 5;
    recorder op;
    op.keep = true;
    io->receive_into(op, engine::block_ref::share(&b).release(), 10);
    r.spin(3);
    CHECK(op.in_flight());
    p.write("0123456789abc");
    CHECK(r.until([&] { return op.ended(); }));
    CHECK(op.results == std::vector<int>{10});
    CHECK(op.data == "0123456789");
    REQUIRE(op.kept.size() == 1);
    CHECK(op.kept[0].get() == &b);
    CHECK(std::memcmp(b.data(), "head:0123456789", 15) == 0);
    op.kept.clear();

    io->receive_into(op, engine::block_ref::share(&b).release(), 90'000); // what is there, without waiting for all
    CHECK(r.until([&] { return op.ended(); }));
    CHECK(op.data == "0123456789abc");
    CHECK(std::memcmp(b.data(), "head:0123456789abc", 18) == 0);
    op.kept.clear();

    io->receive(op); // and as before
    p.write("more");
    CHECK(r.until([&] { return op.data == "0123456789abcmore"; }));
    io->cancel(op);
    CHECK(r.until([&] { return op.ended(); }));
    op.kept.clear();
    into.reset();
    CHECK(r.blocks.lent() <= 16);
}

TEST_CASE("a receive_into that ends without bytes gives its block back", "[engine][receive][cancel]")
{
    auto const kind = each_variant();
    INFO(to_string(kind));
    rig r(kind);
    for (int how = 0; how < 3; ++how) {
        pair p(true);
        auto io = r.open(p.ours);
        r.spin(1);
        engine::block_ref watched(r.blocks.take(50'000));
        recorder op;
        io->receive_into(op, engine::block_ref::share(watched.get()).release(), 50'000);
        r.spin(2);
        switch (how) {
        case 0: io->cancel(op); break;
        case 1: p.close_peer(); break;
        case 2: p.reset_peer(); break;
        }
        CHECK(r.until([&] { return op.ended(); }));
        int const expected[] = {-ECANCELED, 0, -ECONNRESET};
        CHECK(op.results == std::vector<int>{expected[how]});
        CHECK(op.ends == 1);
        CHECK(watched.get()->references == 1);
    }
}

TEST_CASE("a receive_into canceled before its start reached the system gives its block back", "[uring][cancel][tiny]")
{
    rig r(engine_kind::uring, {2, 4, 8}, 64);
    std::vector<std::unique_ptr<pair>> pairs;
    std::vector<std::unique_ptr<engine::descriptor>> ios;
    std::vector<std::unique_ptr<recorder>> ops;
    engine::block_ref watched(r.blocks.take(1000));
    for (std::size_t i = 0; i < 20; ++i) { // more than there are submission entries
        pairs.push_back(std::make_unique<pair>());
        ios.push_back(r.open(pairs.back()->ours));
        ops.push_back(std::make_unique<recorder>());
        ios.back()->receive_into(*ops.back(), engine::block_ref::share(watched.get()).release(), 1);
    }
    for (std::size_t i = 0; i < 20; ++i)
        ios[i]->cancel(*ops[i]);
    CHECK(r.until([&] { return std::all_of(ops.begin(), ops.end(), [](auto& op) { return op->ended(); }); }));
    CHECK(watched.get()->references == 1);
}

TEST_CASE("receive reports a reset, after what came before it", "[engine][receive]")
{
    auto const kind = each_variant();
    INFO(to_string(kind));
    rig r(kind);
    pair p(true);
    auto io = r.open(p.ours);
    recorder op;
    io->receive(op);
    p.write("abc");
    CHECK(r.until([&] { return op.data == "abc"; }));
    p.reset_peer();
    CHECK(r.until([&] { return op.ended(); }));
    CHECK(op.results.back() == -ECONNRESET);
}

TEST_CASE("a canceled receive leaves what comes later in the socket", "[engine][receive][cancel]")
{
    auto const kind = each_variant();
    INFO(to_string(kind));
    rig r(kind);
    pair p;
    auto io = r.open(p.ours);
    std::string all;
    std::string const text = pattern(2000);
    for (std::size_t i = 0; i < text.size(); ++i) {
        recorder op;
        io->receive(op);
        if (i % 3 == 0) r.spin(1);
        if (i % 2 == 0) p.write(text.substr(i, 1));
        io->cancel(op);
        if (i % 2 != 0) p.write(text.substr(i, 1));
        REQUIRE(r.until([&] { return op.ended(); }));
        REQUIRE(op.ends == 1);
        all += op.data;
    }
    recorder rest;
    io->receive(rest);
    CHECK(r.until([&] { return all.size() + rest.data.size() == text.size(); }));
    CHECK(all + rest.data == text);
    io->cancel(rest);
    CHECK(r.until([&] { return rest.ended(); }));
}

TEST_CASE("send delivers every byte through small socket buffers", "[engine][send]")
{
    auto const kind = each_variant();
    bool const tcp = GENERATE(false, true);
    INFO(to_string(kind) << (tcp ? " tcp" : " unix"));
    rig r(kind);
    pair p(tcp);
    p.small_buffers();
    auto io = r.open(p.ours);
    std::string const text = pattern(200'000);
    sender op(*io, kind, text);
    op.start();
    std::string got;
    CHECK(r.until([&] {
        got += p.read();
        return got.size() == text.size() && op.ended();
    }));
    CHECK(got == text);
    CHECK_FALSE(op.failed);
}

TEST_CASE("a send to a peer that has gone fails", "[engine][send]")
{
    auto const kind = each_variant();
    INFO(to_string(kind));
    rig r(kind);
    pair p(true);
    auto io = r.open(p.ours);
    p.reset_peer();
    std::string const text = pattern(100'000);
    sender op(*io, kind, text);
    op.start();
    CHECK(r.until([&] { return op.ended(); }));
    CHECK(op.failed);
}

TEST_CASE("a send that waits for room is canceled", "[engine][send][cancel]")
{
    auto const kind = each_variant();
    INFO(to_string(kind));
    rig r(kind);
    pair p;
    auto io = r.open(p.ours);
    fill(p.ours);
    std::string const text = pattern(100);
    sender op(*io, kind, text);
    op.start();
    r.spin(3);
    CHECK(op.in_flight());
    io->cancel(op);
    CHECK(r.until([&] { return op.ended(); }));
    CHECK(op.results.back() == -ECANCELED);
}

TEST_CASE("poll waits for a descriptor to become readable or writable", "[engine][poll]")
{
    auto const kind = each_variant();
    INFO(to_string(kind));
    rig r(kind);
    pair p;
    auto io = r.open(p.ours);
    {
        recorder op;
        io->poll(op, POLLIN);
        r.spin(3);
        CHECK(op.in_flight());
        p.write("x");
        CHECK(r.until([&] { return op.ended(); }));
        CHECK((op.results.back() & POLLIN));
        CHECK(op.ends == 1);
    }
    {
        recorder op;
        io->poll(op, POLLOUT);
        CHECK(r.until([&] { return op.ended(); }));
        CHECK((op.results.back() & POLLOUT));
    }
    fill(p.ours);
    {
        recorder op;
        io->poll(op, POLLOUT);
        r.spin(3);
        CHECK(op.in_flight());
        io->cancel(op);
        CHECK(r.until([&] { return op.ended(); }));
        CHECK(op.results.back() == -ECANCELED);
    }
}

TEST_CASE("operations of different kinds run side by side, and a cancel ends only its own", "[engine][cancel]")
{
    auto const kind = each_variant();
    INFO(to_string(kind));
    rig r(kind);
    pair p;
    auto io = r.open(p.ours);
    fill(p.ours);
    std::string const text = pattern(10);
    recorder receive, poll;
    sender send(*io, kind, text);
    for (int i = 0; i < 50; ++i) {
        if (!receive.in_flight()) io->receive(receive);
        if (!poll.in_flight()) io->poll(poll, POLLOUT);
        if (!send.in_flight()) send.start();
        r.spin(1 + i % 3);
        io->cancel(poll);
        send.failed = false;
        CHECK(r.until([&] { return poll.ended(); }));
        CHECK(receive.in_flight());
        CHECK(send.in_flight());
    }
    p.write("still here");
    CHECK(r.until([&] { return receive.data == "still here"; }));
    io->cancel(receive);
    io->cancel(send);
    CHECK(r.until([&] { return receive.ended() && send.ended(); }));
}

TEST_CASE("wake ends a wait without limit, from any thread and before it begins", "[engine][wake]")
{
    auto const kind = each_variant();
    INFO(to_string(kind));
    rig r(kind);
    r.io->wake();
    r.io->wait(-1ns);
    std::atomic<bool> stop{false};
    std::thread other([&] {
        while (!stop) {
            r.io->wake();
            std::this_thread::yield();
        }
    });
    for (int i = 0; i < 500; ++i)
        r.io->wait(-1ns);
    stop = true;
    other.join();
}

TEST_CASE("a wait keeps its limit", "[engine][wait]")
{
    auto const kind = each_variant();
    INFO(to_string(kind));
    rig r(kind);
    r.spin(10);
    for (auto limit : {0ms, 1ms, 5ms, 20ms}) {
        auto const before = clock::now();
        auto const end = before + limit;
        while (clock::now() < end)
            r.io->wait(end - clock::now());
        CHECK(clock::now() - before < 10s);
    }
}

TEST_CASE("an operation destroyed in flight aborts with a message", "[engine][death]")
{
    auto const kind = each_variant();
    INFO(to_string(kind));
    auto const end = in_child([kind] {
        rig r(kind);
        pair p;
        auto io = r.open(p.ours);
        recorder op;
        io->receive(op);
        return 0;
    });
    CHECK(end.aborted());
    CHECK(end.says("an operation was destroyed while the kernel may still use it"));
}

TEST_CASE("one byte at a time", "[engine][receive]")
{
    auto const kind = each_variant();
    INFO(to_string(kind));
    rig r(kind);
    pair p(true);
    auto io = r.open(p.ours);
    recorder op;
    io->receive(op);
    std::string const text = pattern(3000);
    for (std::size_t i = 0; i < text.size(); ++i) {
        p.write(text.substr(i, 1));
        r.spin(1);
    }
    CHECK(r.until([&] { return op.data.size() == text.size(); }));
    CHECK(op.data == text);
    io->cancel(op);
    CHECK(r.until([&] { return op.ended(); }));
}

TEST_CASE("an idle engine leaves received blocks with who holds them", "[engine][receive]")
{
    auto const kind = each_variant();
    INFO(to_string(kind));
    rig r(kind, {2, 64, 256}, 64);
    pair p;
    auto io = r.open(p.ours);
    recorder op;
    op.keep = true;
    io->receive(op);
    std::string const text = pattern(6400);
    for (std::size_t at = 0; at < text.size(); at += 64) {
        p.write(text.substr(at, 64));
        CHECK(r.until([&] { return op.data.size() == at + 64; }));
    }
    CHECK(op.data == text);
    std::string held;
    for (auto& b : op.kept)
        held.append(reinterpret_cast<char const*>(b.get()->begin), b.get()->size());
    CHECK(held == text); // nobody wrote into them again
    io->cancel(op);
    CHECK(r.until([&] { return op.ended(); }));
    op.kept.clear();
}

TEST_CASE("a storm of cancels, shutdowns, resets and closes at every moment", "[engine][cancel][storm]")
{
    auto const kind = each_variant();
    unsigned const seed = GENERATE(1U, 2U, 3U, 4U, 5U, 6U, 7U, 8U);
    INFO(to_string(kind) << " seed " << seed);
    std::mt19937 random(seed);
    bool const tiny = seed % 2 == 0;
    rig r(kind, tiny ? engine::settings{2, 4, 8} : engine::settings{16, 64, 256}, tiny ? 64 : 4096);
    std::string const text = pattern(50'000);
    struct connection
    {
        connection(rig& rg, engine_kind k, bool tcp, std::string const& out) : p(tcp)
        {
            p.small_buffers();
            io = rg.open(p.ours);
            send = std::make_unique<sender>(*io, k, out);
        }
        ~connection() = default;
        pair p;
        std::unique_ptr<engine::descriptor> io;
        recorder receive, poll;
        std::unique_ptr<sender> send;
        bool closing = false;
        bool over = false;
        bool idle() const { return receive.ended() && poll.ended() && send->ended(); }
    };
    std::vector<std::unique_ptr<connection>> all(12);
    int closed = 0;
    for (int step = 0; step < 3000; ++step) {
        auto& c = all[random() % all.size()];
        if (!c) c = std::make_unique<connection>(r, kind, random() % 2, text);
        switch (random() % 12) {
        case 0:
        case 1:
            if (!c->closing && !c->receive.in_flight()) c->io->receive(c->receive);
            break;
        case 2:
            if (!c->closing && !c->send->in_flight()) {
                c->send->failed = false;
                c->send->done = 0;
                c->send->start();
            }
            break;
        case 3:
            if (!c->closing && !c->poll.in_flight()) c->io->poll(c->poll, random() % 2 ? POLLIN : POLLOUT);
            break;
        case 4:
            c->io->cancel(c->receive);
            break;
        case 5:
            c->io->cancel(*c->send);
            break;
        case 6:
            c->io->cancel(c->poll);
            break;
        case 7:
            if (c->p.peer >= 0) (void)c->p.read();
            break;
        case 8:
            if (c->p.peer >= 0) (void)::send(c->p.peer, text.data(), random() % 5000, MSG_DONTWAIT | MSG_NOSIGNAL);
            break;
        case 9:
            if (random() % 3 == 0)
                ::shutdown(c->p.ours, random() % 2 ? SHUT_RDWR : SHUT_WR);
            else if (c->p.peer >= 0 && random() % 3 == 0)
                c->p.reset_peer();
            break;
        case 10:
            c->closing = true;
            c->send->failed = true; // and does not go on
            c->io->cancel(c->receive);
            c->io->cancel(*c->send);
            c->io->cancel(c->poll);
            break;
        default:
            r.io->wait(0ns);
        }
        for (auto& done : all)
            if (done && done->closing && done->idle()) {
                done.reset();
                ++closed;
            }
    }
    for (auto& c : all)
        if (c) {
            c->closing = true;
            c->send->failed = true;
            c->io->cancel(c->receive);
            c->io->cancel(*c->send);
            c->io->cancel(c->poll);
        }
    CHECK(r.until([&] { return std::all_of(all.begin(), all.end(), [](auto& c) { return !c || c->idle(); }); }));
    CHECK(closed > 10);
}

TEST_CASE("receiving takes nothing from the heap in steady state", "[engine][receive][allocations]")
{
    auto const kind = each_variant();
    INFO(to_string(kind));
    rig r(kind);
    pair p;
    auto io = r.open(p.ours);
    recorder op;
    op.data.reserve(10'000);
    op.results.reserve(10'000);
    io->receive(op);
    std::string const text(20, 'a');
    auto rounds = [&](int n) {
        bool good = true;
        for (int i = 0; i < n; ++i) {
            std::size_t const before = op.data.size();
            good = good && ::send(p.peer, text.data(), text.size(), MSG_NOSIGNAL) == 20;
            good = good && r.until([&] { return op.data.size() == before + 20; });
        }
        return good;
    };
    CHECK(rounds(50));
    std::size_t const before = mallocs + news;
    bool const good = rounds(300);
    std::size_t const after = mallocs + news;
    CHECK(good);
    CHECK(after == before);
    io->cancel(op);
    CHECK(r.until([&] { return op.ended(); }));
}
