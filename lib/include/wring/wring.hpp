// SPDX-License-Identifier: BSL-1.0
// All of wring's public headers, but for wring/fmt.hpp, which needs fmt.
#pragma once

#include <wring/endpoint.hpp>
#include <wring/http.hpp>
#include <wring/listener.hpp>
#include <wring/loop.hpp>
#include <wring/reconnect.hpp>
#include <wring/request.hpp>
#include <wring/result.hpp>
#include <wring/scope.hpp>
#include <wring/server.hpp>
#include <wring/stream.hpp>
#include <wring/sync.hpp>
#include <wring/task.hpp>
#include <wring/timeout.hpp>
#include <wring/tls.hpp>
#include <wring/udp.hpp>
#include <wring/ws.hpp>
