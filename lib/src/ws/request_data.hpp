// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "proto/http.hpp"

#include <wring/request.hpp>

namespace wring {

namespace ws {
class connection;
}

namespace detail {

class tls_session;

/// Where the body of a request comes from.
struct body_source
{
    /// See request::read_some().
    virtual task<result<std::string_view>> next_piece() = 0;

protected:
    ~body_source() = default;
};

struct request_data
{
    proto::request_head head;
    endpoint remote;
    tls_session const* tls = nullptr;                             ///< where TLS is spoken
    ws::connection const* socket = nullptr;                       ///< that knows it, once it is one
    std::vector<std::pair<std::string_view, std::string>> params; ///< of the route; the names are its own
    body_source* body = nullptr;                                  ///< null: none can be read
    mutable std::any attachment;
};

} // namespace detail

} // namespace wring
