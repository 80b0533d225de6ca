// SPDX-License-Identifier: BSL-1.0
//
// One target as a libFuzzer program.
#include "targets.hpp"

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size)
{
    wring::fuzz::WRING_FUZZ_TARGET({data, size});
    return 0;
}
