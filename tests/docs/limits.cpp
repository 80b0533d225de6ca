// SPDX-License-Identifier: BSL-1.0
// docs/howto/limits.md and docs/reference/options.md: setting limits, and the defaults that the pages name.
#include "program.hpp"

#include <wring/reconnect.hpp>

using namespace wring;
using namespace std::chrono_literals;

// [set]
task<result<ws::connection>> open(stream peer)
{
    return upgrade(std::move(peer), {
        .max_message = 64 * 1024,
        .send_limit = 256 * 1024,
        .ping_interval = 5s,
        .pong_timeout = 5s,
        .idle_timeout = 15s,
    });
}
// [/set]

// [full]
/// Sends, or says goodbye to a peer that does not keep up.
void send_or_drop(ws::connection& ws, ws::shared_message const& message)
{
    if (ws.post(message) == ws::posted::full)
        ws.abort();
}
// [/full]

// [count]
/// At most `most` sessions at a time; others wait in the listen queue of the system.
task<> serve(listener& server, task<> (*session)(stream), std::size_t most)
{
    scope sessions;
    for (;;) {
        while (sessions.size() >= most)
            if (auto slept = co_await sleep_for(50ms); !slept)
                break;
        auto peer = co_await server.accept();
        if (!peer)
            break;
        sessions.spawn(session(std::move(*peer)));
    }
    co_await sessions.join();
}
// [/count]

constexpr ws::upgrade_options u;
constexpr ws::connect_options c;
constexpr ws::reconnect_options rc;
constexpr run_options r;
constexpr listen_options l;
constexpr server_options s;
constexpr route_options ro;
constexpr files_options f;
constexpr keepalive_options k;
constexpr connect_stream_options cs;
constexpr stream_pair_options sp;
constexpr tls::server_options ts;
constexpr tls::client_options tc;
constexpr std::size_t ki = 1024, mi = 1024 * 1024;
static_assert(u.subprotocols.empty() && u.origins.empty() && u.headers.empty());
static_assert(!u.tls && !c.tls && ts.alpn == "http/1.1" && tc.alpn == "http/1.1" && ts.ticket_lifetime == 2h);
static_assert(ts.clients == tls::client_certificates::off && ts.min_version == tls::version::v1_2);
static_assert(ts.more.empty() && tc.ca.empty() && tc.pins.empty() && !tc.dangerously_skip_verification);
static_assert(u.max_head == 16 * ki && u.max_target == 8 * ki && u.max_fields == 100);
static_assert(u.max_message == mi && u.max_frame == mi && u.max_fragments == 1024);
static_assert(u.send_limit == mi && u.read_limit == 64 * ki);
static_assert(u.handshake_timeout == 10s && u.ping_interval == 20s && u.pong_timeout == 20s);
static_assert(u.idle_timeout == 60s && u.frame_timeout == 60s && u.close_timeout == 5s);
constexpr ws::deflate_options d;
static_assert(!d.on && !d.server_takeover && !d.client_takeover && d.server_window_bits == 15);
static_assert(d.client_window_bits == 15 && d.level == 3 && d.mem_level == 8 && d.threshold == 256);
static_assert(d.free_when_idle == 0s && u.deflate == d && c.deflate == ws::deflate_options{.on = true});
static_assert(c.subprotocols.empty() && c.origin.empty() && c.headers.empty());
static_assert(c.max_head == 16 * ki && c.max_fields == 100);
static_assert(c.max_message == mi && c.max_frame == mi && c.max_fragments == 1024);
static_assert(c.send_limit == mi && c.read_limit == 64 * ki);
static_assert(c.handshake_timeout == 10s && c.ping_interval == 20s && c.pong_timeout == 20s);
static_assert(c.idle_timeout == 60s && c.frame_timeout == 60s && c.close_timeout == 5s);
static_assert(c.cookies.empty() && !c.tls && !c.refusal && c.max_redirects == 0 && !c.insecure_redirects);
static_assert(!c.proxy_from_environment && c.proxy.empty() && !c.proxy_tls);
static_assert(rc.min_delay == 500ms && rc.max_delay == 30s && rc.factor == 2 && rc.stable_after == 10s);
static_assert(rc.max_failures == 0 && rc.outbox_limit == mi && rc.when_full == ws::outbox_policy::wait);
static_assert(!rc.on_open && !rc.on_change && !rc.is_final);
static_assert(r.threads == 1 && r.engine == engine_kind::automatic && !r.pin && r.handle_signals);
static_assert(r.receive_buffer_size == 64 * ki && r.receive_buffers == 64);
static_assert(r.submission_entries == 512 && r.completion_entries == 4096 && r.drain == 10s);
static_assert(s.max_connections == 0 && s.max_unopened == 0 && s.max_per_address == 0 && s.max_requests == 1000);
static_assert(s.max_head == 16 * ki && s.max_target == 8 * ki && s.max_fields == 100 && s.max_body == mi);
static_assert(s.handshake_timeout == 10s && s.keep_alive_timeout == 15s);
static_assert(s.body_timeout == 30s && s.write_timeout == 30s);
static_assert(s.drain_delay == 0s && s.drain_grace == 1s && s.drain_timeout == 10s && s.drain_rate == 1000);
static_assert(ro.max_body == 0 && ro.origins.empty());
static_assert(f.index == "index.html" && f.cache_control == "no-cache" && f.max_size == ki * mi);
static_assert(l.backlog == 1024 && l.no_delay && !l.v6_only && l.balance == balance::reuse_port);
static_assert(k.on && k.idle == 60s && k.interval == 10s && k.probes == 5);
static_assert(cs.no_delay && cs.attempt_delay == 250ms);
static_assert(sp.capacity == 64 * ki && sp.chunk == 0);

// [session]
task<> session(stream peer)
{
    auto ws = co_await open(std::move(peer));
    if (!ws)
        co_return; // no WebSocket: the request has been answered
    while (auto message = co_await ws->read())
        if (!co_await ws->write(*message))
            break;
}
// [/session]

task<> try_all()
{
    auto server = listener::bind("127.0.0.1:0").value();
    auto const url = "ws://" + server.local().to_string() + "/";
    scope children;
    children.spawn(serve(server, session, 1));
    auto ws = (co_await connect(url)).value();
    std::string const large(64 * 1024 + 1, 'x');
    (co_await ws.write(large)).value();
    auto end = co_await ws.read();
    docs::expect(end.error() == ws::closed, "the server closes");
    docs::expect(ws.status().code == ws::close_code::message_too_big, "with 1009");
    docs::expect(!ws.status().reason.empty(), "and says why");

    auto next = (co_await connect(url)).value(); // when the first is over
    auto impatient = co_await timeout(200ms, connect(url));
    docs::expect(!impatient && impatient.error() == errc::timed_out, "a second session has to wait");
    (co_await next.write("hello")).value();
    docs::expect((co_await next.read()).has_value(), "the limit on messages is no limit on connections");
    send_or_drop(next, ws::shared_message::text("x"));
    (co_await next.close()).value();
    children.request_stop();
    co_await children.join();
}

int main()
{
    return docs::run_in_time(try_all());
}
