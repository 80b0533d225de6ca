// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <stdexcept>

namespace load {

/// Ends a connection, or the run: says what went wrong and why.
struct failure : std::runtime_error
{
    using runtime_error::runtime_error;
};

/// The command line makes no sense.
struct wrong_usage : failure
{
    using failure::failure;
};

} // namespace load
