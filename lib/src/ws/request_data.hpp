// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "proto/http.hpp"

#include <wring/request.hpp>

namespace wring::detail {

struct request_data
{
    proto::request_head head;
    endpoint remote;
};

} // namespace wring::detail
