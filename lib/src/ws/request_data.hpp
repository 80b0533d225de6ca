// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "proto/http.hpp"

#include <wring/request.hpp>

namespace wring::detail {

class tls_session;

struct request_data
{
    proto::request_head head;
    endpoint remote;
    tls_session const* tls = nullptr; ///< where TLS is spoken
};

} // namespace wring::detail
