// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "run.hpp"

#include <cstdio>

namespace load {

void print_table(std::FILE* to, run const& r);
/// All of it, and the curve of the latencies, in one line.
void print_json(std::FILE* to, run const& r);

} // namespace load
