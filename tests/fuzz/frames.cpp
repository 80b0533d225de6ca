// SPDX-License-Identifier: BSL-1.0
//
// Frames from a peer against the reference model, whole and cut. Input: cuts, limits, RSV1, then the bytes on the wire.
#include "ear.hpp"
#include "targets.hpp"

namespace wring::fuzz {
namespace {

void frames(input in, proto::role self)
{
    reader r(in);
    cutter cuts(r.byte());
    auto const flags = r.byte();
    proto::limits limit;
    if ((flags & 1) != 0) limit = {0, 0, 0};
    if ((flags & 2) != 0) limit = {r.byte(), 3u * r.byte(), static_cast<std::uint32_t>(r.byte() % 16)};
    bool const rsv1 = (flags & 4) != 0;

    auto const model = expected(r.rest(), self, limit, rsv1);
    ear whole(self, limit, rsv1, (flags & 8) != 0);
    whole.hear(r.rest());
    require(whole.heard() == model, "the session agrees with the model");
    ear parts(self, limit, rsv1, (flags & 8) == 0);
    for (auto left = r.rest(); !left.empty();) {
        auto const n = cuts.next(left.size());
        parts.hear(left.first(n));
        left = left.subspan(n);
    }
    require(parts.heard() == model, "the cut does not matter");
}

} // namespace

void fuzz_server_frames(input in)
{
    frames(in, proto::role::server);
}

void fuzz_client_frames(input in)
{
    frames(in, proto::role::client);
}

} // namespace wring::fuzz
