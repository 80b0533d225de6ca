// SPDX-License-Identifier: BSL-1.0
// Kernel interface that liburing 2.3's headers lack or name differently. Only <liburing.h> may be included beside it.
#pragma once

#include <liburing.h>

namespace wring::engine::uapi {

// struct io_uring_buf_reg, whose last words were renamed later.
struct buffer_ring_registration
{
    unsigned long long ring_address;
    unsigned ring_entries;
    unsigned short group;
    unsigned short flags;
    unsigned long long reserved[3];
};
static_assert(sizeof(buffer_ring_registration) == sizeof(io_uring_buf_reg));

} // namespace wring::engine::uapi
