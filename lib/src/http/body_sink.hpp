// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <wring/http.hpp>

namespace wring::detail {

/// Where a body_writer writes.
struct body_sink
{
    /// See body_writer::write().
    virtual task<result<>> write_piece(std::string_view piece) = 0;

protected:
    ~body_sink() = default;
};

} // namespace wring::detail
