// SPDX-License-Identifier: BSL-1.0
#include "tally.hpp"

#include <cstdio>

namespace load {

void tally::failed(unsigned id, std::string const& what)
{
    if (errors++ == 0) {
        first_error = what;
        std::fprintf(stderr, "connection %u: %s\n", id, what.c_str());
    }
    ++error_counts[what];
}

} // namespace load
