// SPDX-License-Identifier: BSL-1.0
// The way to the server.
#pragma once

#include "options.hpp"

#include <wring/tls.hpp>
#include <wring/ws.hpp>

#include <optional>

namespace load {

class connector
{
public:
    /// A source address has about 28,000 ports towards one server, of which `per_address` are used.
    explicit connector(options const& how, unsigned per_address = 20000);

    /// Looks the server up and, where its answers to a handshake must be of a kind that a connection does not tell,
    /// tries one. Comes first. Throws failure, as all of them.
    wring::task<> prepare();

    /// Connection number `id` as plain TCP.
    wring::task<wring::stream> stream(unsigned id);
    /// The same with the WebSocket handshake done, and that of TLS before it.
    wring::task<wring::ws::connection> websocket(unsigned id);

private:
    [[nodiscard]] std::optional<wring::endpoint> source(unsigned id) const;
    wring::task<> check_takeover();

    options const& how_;
    unsigned per_address_;
    wring::endpoint server_;
    std::optional<wring::tls::context> tls_;
    wring::ws::connect_options ws_;
};

/// How a connection came to its end, for people.
[[nodiscard]] std::string how_it_ended(wring::ws::connection const& ws);

} // namespace load
