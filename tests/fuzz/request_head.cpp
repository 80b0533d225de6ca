// SPDX-License-Identifier: BSL-1.0
//
// A request's head as it arrives at a server. Input: cuts, limits, then the head.
#include "targets.hpp"

#include "proto/handshake.hpp"

#include <set>

namespace wring::fuzz {
namespace {

using namespace proto;

struct outcome
{
    std::size_t consumed = 0;
    bool complete = false;
    errc error = errc::ok;
    bool operator==(outcome const&) const = default;
};

outcome scan(head_scanner& scanner, std::string_view text, cutter cuts)
{
    outcome o;
    while (!text.empty() && !o.complete && o.error == errc::ok) {
        auto const piece = text.substr(0, cuts.next(text.size()));
        auto const p = scanner.feed(piece);
        require(p.consumed <= piece.size(), "no more is consumed than was given");
        require(p.consumed == piece.size() || p.complete || p.error != errc::ok, "all is consumed until the end");
        o = {o.consumed + p.consumed, p.complete, p.error};
        text.remove_prefix(piece.size());
    }
    return o;
}

std::size_t lines_named(field_range const& fields, std::string_view name)
{
    std::size_t n = 0;
    for (auto const& f : fields)
        n += equal_ignoring_case(f.name, name) ? 1 : 0;
    return n;
}

// What a 101 promises to have seen (RFC 6455 section 4.2.1), looked for in the text itself.
void check_facts(request_head const& head)
{
    require(head.method == "GET" && head.version == http_version{1, 1}, "GET and HTTP/1.1");
    for (auto const* name : {"Host", "Sec-WebSocket-Key", "Sec-WebSocket-Version"})
        require(lines_named(head.fields, name) == 1, "there is one of it");
    require(lines_named(head.fields, "Origin") <= 1 && lines_named(head.fields, "Transfer-Encoding") == 0,
            "none twice");
    require(*head.fields.find("Sec-WebSocket-Version") == "13", "version 13");
    auto const key = *head.fields.find("Sec-WebSocket-Key");
    require(key.size() == 24 && key.ends_with("=="), "a key of 16 bytes");
    require(lines_named(head.fields, "Upgrade") > 0 && lines_named(head.fields, "Connection") > 0, "it asks for it");
    require(lines_named(head.fields, "Expect") == 0, "nothing is expected");

    std::string answer;
    require(write_switching_protocols(answer, {key, "", "", {}}) == errc::ok, "the 101 can be written");
    response_head response;
    require(parse_response(answer, response) == errc::ok, "the 101 can be read");
    client_request sent;
    sent.key = key;
    accepted a;
    require(check_response(response, sent, a) == errc::ok, "the client is content");
}

void check_refusal(errc e)
{
    auto const status = http_status_for(e);
    require(status >= 400 && status <= 599, "what is refused has a status");
    refusal r;
    r.status = status;
    r.body = message(e);
    std::string answer;
    require(write_refusal(answer, r) == errc::ok, "the refusal can be written");
    answer.resize(answer.find("\r\n\r\n") + 4);
    response_head response;
    require(parse_response(answer, response) == errc::ok, "... and read");
    require(response.status == status && response.fields.has_token("Connection", "close"), "it closes");
}

} // namespace

void fuzz_request_head(input in)
{
    reader r(in);
    cutter const cuts(r.byte());
    head_limits limits;
    if (r.byte() % 2 != 0) limits = {16u + r.byte() * 4u, r.byte(), static_cast<std::uint32_t>(r.byte() % 16)};
    auto const text = as_text(r.rest());

    head_scanner scanner(head_scanner::kind::request, limits);
    auto const whole = scan(scanner, text, cutter(0));
    head_scanner other(head_scanner::kind::request, limits);
    require(scan(other, text, cuts) == whole, "the cut does not matter");
    require(other.size() == scanner.size(), "the cut does not matter to the size");
    require(scanner.size() <= limits.max_head && whole.consumed == scanner.size(), "no more than max_head is kept");
    if (whole.error != errc::ok) return check_refusal(whole.error);
    if (!whole.complete) return require(whole.consumed == text.size(), "all was taken");

    auto const line = text.starts_with("\r\n") ? text.substr(2) : text;
    require(whole.consumed == line.find("\r\n\r\n") + 4 + (text.size() - line.size()), "one head, to its empty line");
    auto const head = scanner.request(text);
    require(is_token(head.method) && !head.target.empty() && head.target.size() <= limits.max_target,
            "sound first line");
    std::size_t fields = 0;
    for (auto const& f : head.fields) {
        require(is_token(f.name) && is_field_value(f.value) && trim(f.value) == f.value, "sound fields");
        ++fields;
    }
    require(fields <= limits.max_fields, "no more than max_fields");
    require(head.path().find('?') == head.path().npos && !head.path().empty(), "a path");
    std::size_t pairs = 0;
    for ([[maybe_unused]] auto const& pair : head.query_pairs())
        ++pairs;
    for ([[maybe_unused]] auto const& pair : head.cookies())
        ++pairs;
    require(pairs <= text.size(), "no more pairs than bytes");

    auto const verdict = check_upgrade(head);
    verdict == errc::ok ? check_facts(head) : check_refusal(verdict);
    auto const choice = choose_subprotocol(head, "chat.v2, chat.v1, x");
    if (choice.error != errc::ok) return check_refusal(choice.error);
    bool offered = choice.name.empty();
    std::set<std::string_view> names;
    head.fields.each_element("Sec-WebSocket-Protocol", [&](std::string_view name) {
        require(is_token(name) && names.insert(name).second, "an accepted offer has tokens, none twice");
        offered = offered || name == choice.name;
        return true;
    });
    require(offered, "what is chosen was offered");
}

} // namespace wring::fuzz
