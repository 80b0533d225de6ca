// SPDX-License-Identifier: BSL-1.0
// The echo server, with the two headers that it needs.
#include <wring/listener.hpp>
#include <wring/ws.hpp>

#include "wring_echo.hpp"
