// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <wring/stream.hpp>

#include <vector>

namespace wring::detail {

/// Connects to one of `addresses`, in the manner of RFC 8305: what connect_stream does with a name's addresses.
task<result<stream>> connect_any(std::vector<endpoint> addresses, connect_stream_options options);

/// RFC 8305 section 4: the families take turns, the system's first choice first.
void interleave_families(std::vector<endpoint>& addresses);

} // namespace wring::detail
