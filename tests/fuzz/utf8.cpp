// SPDX-License-Identifier: BSL-1.0
//
// UTF-8 in pieces against decoding it (model.hpp). Input: cuts, then the text.
#include "model.hpp"
#include "targets.hpp"

#include "proto/utf8.hpp"

namespace wring::fuzz {

void fuzz_utf8(input in)
{
    reader r(in);
    cutter cuts(r.byte());
    auto const text = r.rest().first(std::min<std::size_t>(r.rest().size(), 1024));
    proto::utf8_validator validator;
    for (std::size_t at = 0; at < text.size();) {
        auto const n = cuts.next(text.size() - at);
        bool const good = validator.feed(std::as_bytes(text.subspan(at, n)));
        at += n;
        int const model = judge_utf8(as_text(text.first(at)));
        require(good == (model >= 0), "refused as soon as nothing can make it valid, and not before");
        if (!good) return require(!proto::valid_utf8(std::as_bytes(text)), "... whatever follows");
        require(validator.complete() == (model > 0), "complete at the end of a character");
    }
    require(proto::valid_utf8(std::as_bytes(text)) == (judge_utf8(as_text(text)) > 0), "as a whole");
}

} // namespace wring::fuzz
