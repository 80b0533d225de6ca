// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "proto/tunnel.hpp"
#include "ws/handshake_io.hpp"

#include <wring/ws.hpp>

namespace wring::detail {

/// The URL of the proxy to go through, by the options or the environment; empty for none.
[[nodiscard]] std::string proxy_for(proto::url const& where, ws::connect_options const& options);

/// Asks the proxy behind `io` for a way to `where`. Afterwards what is sent and comes is the server's.
task<result<>> open_tunnel(handshake_io& io, proto::proxy const& proxy, proto::url const& where,
                           ws::connect_options const& options);

} // namespace wring::detail
