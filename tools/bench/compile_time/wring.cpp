// SPDX-License-Identifier: BSL-1.0
// The echo server, with all of wring's headers.
#include <wring/wring.hpp>

#include "wring_echo.hpp"
