// SPDX-License-Identifier: BSL-1.0
//
// The payload of a close frame, read and written.
#include "model.hpp"
#include "targets.hpp"

#include "proto/close.hpp"

#include <array>

namespace wring::fuzz {

void fuzz_close_payload(input in)
{
    using namespace proto;
    close_payload parsed{1, "untouched"};
    auto const verdict = parse_close(std::as_bytes(in), parsed);
    auto const reason = as_text(in.size() < 2 ? input{} : in.subspan(2));
    unsigned const code = in.size() < 2 ? 0 : in[0] * 256u + in[1];
    bool const known =
        (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) || (code >= 3000 && code <= 4999);
    auto model = errc::ok;
    if (in.size() == 1)
        model = errc::close_payload_short;
    else if (in.size() >= 2 && !known)
        model = errc::close_code_invalid;
    else if (judge_utf8(reason) != 1)
        model = errc::utf8_close_reason;
    require(verdict == model, "the payload is judged by its code, then by its reason");
    if (verdict != errc::ok) return require(parsed.code == 1 && parsed.reason == "untouched", "out is set only on ok");
    require(parsed.code == (in.empty() ? close_no_status : code) && parsed.reason == reason, "it is read as it stands");

    std::array<std::byte, max_control_payload> out;
    auto const written = write_close(parsed.code, parsed.reason, out);
    if (reason.size() > max_close_reason) return require(written.error == errc::send_control_too_long, "too long");
    require(written.error == errc::ok && std::ranges::equal(std::span(out).first(written.size), std::as_bytes(in)),
            "what was read is written the same");
}

} // namespace wring::fuzz
