// SPDX-License-Identifier: BSL-1.0
// A server whose loops share out its connections, and the limits that count all of them.
#include "http/harness.hpp"
#include "tls/certificates.hpp"

#include "engine/loop_core.hpp"

#include <atomic>
#include <future>
#include <thread>

using namespace http_test;

namespace {

constexpr unsigned loops = 2;
constexpr std::size_t limit = 12;

/// Two loops that serve one server.
struct house
{
    server app{{.max_connections = limit, .max_unopened = limit}};
    std::promise<endpoint> open; ///< when both listen
    endpoint at;
    std::atomic<unsigned> listening{0};
    std::shared_ptr<detail::loop_mailbox> mailboxes[loops];
};

task<> live(house* h)
{
    h->mailboxes[this_loop().index()] = detail::loop_core::require().mailbox();
    scope serving;
    serving.spawn(h->app.serve());
    co_await turns(2);
    if (++h->listening == loops)
        h->open.set_value(h->at);
    co_await serving.join();
}

/// What the clients found.
struct findings
{
    std::size_t by_loop[loops] = {};
    std::size_t newcomers[loops] = {};
    std::error_code one_too_many;
    std::size_t told_to_go = 0; ///< by 1001
    std::size_t total = 0;
};

/// Opens WebSockets, each of which is told which loop has it.
task<> come(std::string url, tls::context const* tls, std::size_t count, std::vector<ws::connection> (&all)[loops])
{
    for (std::size_t i = 0; i < count; ++i) {
        auto ws = co_await connect(url, {.tls = tls});
        auto const loop = co_await ws.value().read();
        all[static_cast<std::size_t>(loop.value().text()[0] - '0')].push_back(std::move(*ws));
    }
}

task<> visit(house* h, tls::context const* tls, findings* f)
{
    auto const at = h->open.get_future().get();
    std::string const url = (tls ? "wss://localhost:" : "ws://localhost:") + std::to_string(at.port()) + "/";
    std::vector<ws::connection> all[loops];
    co_await come(url, tls, limit, all);
    for (unsigned i = 0; i < loops; ++i)
        f->by_loop[i] = all[i].size();

    for (auto& ws : all[1]) {
        auto const closed = co_await ws.close();
        (void)closed; // the counts tell
    }
    all[1].clear();
    while (h->mailboxes[1]->connections > 0)
        co_await turns(1);
    std::size_t const before = all[0].size();
    co_await come(url, tls, limit - before, all);
    f->newcomers[0] = all[0].size() - before;
    f->newcomers[1] = all[1].size();

    auto const refused = co_await connect(url, {.tls = tls});
    f->one_too_many = refused.error();
    f->total = h->app.connections();
    h->app.stop();
    for (auto& of_loop : all)
        for (auto& ws : of_loop) {
            auto const end = co_await ws.read();
            f->told_to_go += !end && ws.status().code == ws::close_code::going_away;
        }
}

} // namespace

TEST_CASE("least connections: the loops of a server share out its sessions, and its limits hold for all of them")
{
    for (bool const secure : {false, true}) {
        INFO((secure ? "TLS" : "plain"));
        house h;
        h.app.ws("/", [](ws::connection& ws) -> task<> {
            auto const sent = co_await ws.write(std::to_string(this_loop().index()));
            if (!sent)
                co_return;
            while (auto m = co_await ws.read()) {
            }
        });
        h.app.on_listening([&h](endpoint const& there) { h.at = there; });
        if (secure)
            h.app.listen("127.0.0.1:0", tls_test::pki().accepting, {.balance = balance::least_connections});
        else
            h.app.listen("127.0.0.1:0", {.balance = balance::least_connections});
        findings f;
        std::jthread clients([&] {
            if (run(visit(&h, secure ? &tls_test::pki().connecting : nullptr, &f), {.handle_signals = false}) != 0)
                h.app.stop();
        });
        CHECK(run([&h] { return live(&h); }, {.threads = loops, .handle_signals = false}) == 0);
        clients.join();
        for (unsigned i = 0; i < loops; ++i) {
            CHECK(f.by_loop[i] == limit / loops);
            CHECK(f.newcomers[i] == (i == 1 ? limit / loops : 0));
            CHECK(h.mailboxes[i]->connections == 0);
        }
        CHECK(f.one_too_many == std::error_code(503, ws::http_category()));
        CHECK(f.total == limit);
        CHECK(f.told_to_go == limit);
        CHECK(h.app.connections() == 0);
    }
}
