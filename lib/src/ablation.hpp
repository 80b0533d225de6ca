// SPDX-License-Identifier: BSL-1.0
// What a build with -Dablation=true can do without, one thing at a time, to measure what it is worth: WRING_WITHOUT=NAME
// (tools/bench/ablate). In every other build these are constants, and the other way is not compiled.
#pragma once

#ifdef WRING_ABLATION
#include <cstdlib>
#include <string_view>

namespace wring::with {
inline bool has(std::string_view name) noexcept
{
    char const* const without = std::getenv("WRING_WITHOUT");
    return !without || without != name;
}
} // namespace wring::with
#define WRING_FEATURE(name) inline bool const name = has(#name)
#else
#define WRING_FEATURE(name) inline constexpr bool name = true
#endif

namespace wring::with {

// engine
WRING_FEATURE(multishot_receive); ///< else each receive is submitted
WRING_FEATURE(buffer_ring);       ///< else each receive has a block of its own while it waits
WRING_FEATURE(deferred_task_run); ///< else the kernel completes when it likes (IORING_SETUP_COOP_TASKRUN)
WRING_FEATURE(batching);          ///< else each connection sends by itself, however many do in a turn
WRING_FEATURE(frame_pool);        ///< else coroutine frames and the like come from malloc

// connections
WRING_FEATURE(inline_send);    ///< else each send is submitted
WRING_FEATURE(corking);        ///< else each frame is sent when it is written
WRING_FEATURE(shared_sending); ///< else each member of a broadcast gets a copy
WRING_FEATURE(direct_receive); ///< else large frames come through the loop's blocks
WRING_FEATURE(borrowed_work);  ///< else an idle connection keeps what a busy one needs

// And simd, in proto/mask.cpp, whose room includes nothing of ours: without it masks are applied a word at a time, and
// text is judged a byte at a time.

} // namespace wring::with

#undef WRING_FEATURE
