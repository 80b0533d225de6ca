// SPDX-License-Identifier: BSL-1.0
#include "net/connect.hpp"

#include "net/io_operation.hpp"
#include "net/socket.hpp"
#include "net/transport.hpp"

#include <wring/sync.hpp>
#include <wring/timeout.hpp>

#include <algorithm>

namespace wring {

namespace detail {

namespace {

/// What the attempts of one connect share.
struct race
{
    connect_stream_options options;
    std::optional<stream> winner;
    std::error_code error;
    std::size_t running = 0;
    event changed;
};

task<> attempt(race& r, endpoint to)
{
    auto s = co_await connect_stream(to, r.options);
    if (!s)
        r.error = s.error();
    else if (!r.winner)
        r.winner.emplace(std::move(*s));
    --r.running;
    r.changed.set();
}

task<> run_race(scope& attempts, race* r, std::vector<endpoint> const* addresses)
{
    for (auto const& address : *addresses) {
        r->changed.reset();
        ++r->running;
        attempts.spawn(attempt(*r, address));
        auto const waited = co_await timeout(r->options.attempt_delay, r->changed.wait());
        if (r->winner || (!waited && waited.error() == errc::canceled))
            co_return;
    }
    while (!r->winner && r->running > 0) {
        r->changed.reset();
        auto const waited = co_await r->changed.wait();
        if (!waited)
            co_return;
    }
}

} // namespace

void interleave_families(std::vector<endpoint>& addresses)
{
    if (addresses.empty())
        return;
    int const first_family = addresses.front().family();
    std::vector<endpoint> first;
    std::vector<endpoint> other;
    for (auto const& a : addresses)
        (a.family() == first_family ? first : other).push_back(a);
    addresses.clear();
    for (std::size_t i = 0; i < std::max(first.size(), other.size()); ++i) {
        if (i < first.size())
            addresses.push_back(first[i]);
        if (i < other.size())
            addresses.push_back(other[i]);
    }
}

task<result<stream>> connect_any(std::vector<endpoint> addresses, connect_stream_options options)
{
    if (addresses.size() == 1) {
        auto only = co_await connect_stream(addresses.front(), options);
        co_return only;
    }
    interleave_families(addresses);
    race r;
    r.options = options;
    r.error = errc::host_not_found; // where there is no address at all
    co_await with_scope(run_race, &r, &addresses);
    if (r.winner)
        co_return std::move(*r.winner);
    if (co_await stop_requested())
        co_return errc::canceled;
    co_return r.error;
}

} // namespace detail

task<result<stream>> connect_stream(endpoint to, connect_stream_options options)
{
    auto opened = detail::open_socket(to.family(), SOCK_STREAM);
    if (!opened)
        co_return opened.error();
    detail::unique_fd fd(*opened);
    auto& loop = detail::loop_core::require();
    auto on_engine = loop.io().open(fd.get());
    if (!on_engine)
        co_return on_engine.error();
    (void)fd.release();
    auto io = std::move(*on_engine);
    int connected = 0;
    for (;;) {
        auto operation = detail::io_operation::connect(*io, to);
        connected = co_await operation;
        if (connected != -EAGAIN || !to.is_unix())
            break;
        // The backlog of a Unix socket is full, and nothing tells when it has room again.
        auto const waited = co_await sleep_for(std::chrono::milliseconds(10));
        if (!waited)
            co_return waited.error();
    }
    if (connected < 0)
        co_return detail::io_error(connected);
    if (options.no_delay)
        detail::set_no_delay(io->fd(), true);
    co_return detail::stream_access::make(detail::make_socket_transport(loop, std::move(io)));
}

task<result<stream>> connect_stream(std::string text, connect_stream_options options)
{
    auto addresses = co_await resolve(std::move(text));
    if (!addresses)
        co_return addresses.error();
    auto connected = co_await detail::connect_any(std::move(*addresses), options);
    co_return connected;
}

} // namespace wring
