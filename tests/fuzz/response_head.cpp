// SPDX-License-Identifier: BSL-1.0
//
// The answer to an upgrade as it arrives at a client. Input: cuts, what was offered, then the answer, in which "@@"
// stands for the right accept key.
#include "targets.hpp"

#include "proto/extension.hpp"
#include "proto/handshake.hpp"

namespace wring::fuzz {
namespace {

using namespace proto;

constexpr std::string_view key = "dGhlIHNhbXBsZSBub25jZQ==";
constexpr std::string_view accept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="; // RFC 6455 section 1.3

struct outcome
{
    std::size_t consumed = 0;
    std::string verdict; // of the whole exchange
    bool operator==(outcome const&) const = default;
};

// The client's list (RFC 6455 section 4.1), looked for in the text itself.
void check_facts(response_head const& head, client_request const& sent, accepted const& got)
{
    require(head.status == 101 && head.version == http_version{1, 1}, "101 and HTTP/1.1");
    unsigned accepts = 0, protocols = 0;
    for (auto const& f : head.fields) {
        require(is_token(f.name) && is_field_value(f.value), "sound fields");
        if (equal_ignoring_case(f.name, "Sec-WebSocket-Accept")) {
            ++accepts;
            require(f.value == accept, "the right accept key");
        }
        protocols += equal_ignoring_case(f.name, "Sec-WebSocket-Protocol") ? 1 : 0;
    }
    require(accepts == 1 && protocols <= 1, "one accept key, one subprotocol at most");
    require(head.fields.has_token("Upgrade", "websocket") && head.fields.has_token("Connection", "upgrade"),
            "it switches");
    require((protocols == 0) == got.subprotocol.empty(), "the subprotocol is told");
    bool offered = got.subprotocol.empty();
    for (auto name : list_range{sent.subprotocols})
        offered = offered || name == got.subprotocol;
    require(offered, "the subprotocol was offered");
    for (auto element : list_range{got.extensions})
        require(equal_ignoring_case(extension_reader(element).name(), "permessage-deflate") && !sent.extensions.empty(),
                "the extension was offered");
}

outcome exchange(std::string_view text, client_request const& sent, cutter cuts)
{
    outcome o;
    unsigned interim = 0;
    for (;;) {
        head_scanner scanner(head_scanner::kind::response);
        auto const begin = o.consumed;
        bool complete = false;
        while (!complete) {
            if (o.consumed == text.size()) return o.verdict = "more", o;
            auto const left = text.substr(o.consumed);
            auto const p = scanner.feed(left.substr(0, cuts.next(left.size())));
            o.consumed += p.consumed;
            if (p.error != errc::ok) return o.verdict = message(p.error), o;
            complete = p.complete;
        }
        require(scanner.size() == o.consumed - begin && scanner.size() <= head_limits{}.max_head,
                "a head within limits");
        auto const head = scanner.response(text.substr(begin));
        bool skip = false;
        auto verdict = skip_interim(head, interim, skip);
        require(interim <= max_interim_responses + 1, "interim answers are counted");
        if (verdict == errc::ok && skip) continue;
        accepted got;
        if (verdict == errc::ok) verdict = check_response(head, sent, got);
        if (verdict == errc::ok) check_facts(head, sent, got);
        o.verdict = message(verdict);
        return o;
    }
}

} // namespace

void fuzz_response_head(input in)
{
    reader r(in);
    cutter const cuts(r.byte());
    auto const offers = r.byte();
    client_request sent;
    sent.key = key;
    if ((offers & 1) != 0) sent.subprotocols = "chat.v2, chat.v1";
    if ((offers & 2) != 0) sent.extensions = "permessage-deflate; client_max_window_bits";
    std::string text(as_text(r.rest()));
    for (auto at = text.find("@@"); at != text.npos; at = text.find("@@", at))
        text.replace(at, 2, accept);
    auto const whole = exchange(text, sent, cutter(0));
    require(exchange(text, sent, cuts) == whole, "the cut does not matter");
}

} // namespace wring::fuzz
