// SPDX-License-Identifier: BSL-1.0
// Connections that are opened again and again: what a new client costs. Never with a resumed session of TLS.
#include "run.hpp"

using namespace wring;

namespace load {

namespace {

task<> open_again(scope const& clients, run& r, unsigned id)
{
    try {
        while (!clients.stop_requested()) {
            auto const begin = clock::now();
            auto ws = co_await r.connect.websocket(id);
            if (r.how.mode == mode::handshake) {
                ws.abort();
            } else {
                auto const closed = co_await ws.close();
                if (!closed)
                    throw failure("close: " + closed.error().message());
            }
            r.counts.done(clock::now() - begin);
        }
    } catch (failure const& e) {
        if (!clients.stop_requested()) // else that is why
            r.counts.failed(id, e.what());
    }
}

task<> come_and_go(scope& clients, run& r)
{
    for (unsigned i = 0; i < r.how.connections; ++i)
        clients.spawn(open_again(clients, r, i));
    co_await warm_up_and_measure(r);
}

} // namespace

task<> run_churn(run& r)
{
    co_await with_scope(come_and_go, std::ref(r));
}

} // namespace load
