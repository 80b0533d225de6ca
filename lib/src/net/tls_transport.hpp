// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "net/transport.hpp"

#include <wring/tls.hpp>

namespace wring::detail {

/// The handshake on a transport, which is used up: completes with a transport on which TLS is spoken. See tls::accept()
/// and tls::connect() for errors, and for what a cancel does.
task<result<transport_ptr>> tls_accept(transport_ptr inner, tls::context const& with);
task<result<transport_ptr>> tls_connect(transport_ptr inner, tls::context const& with, std::string host);

} // namespace wring::detail
