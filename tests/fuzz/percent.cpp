// SPDX-License-Identifier: BSL-1.0
//
// Percent escapes, and a path taken apart. Input: whether a plus is a space, then the text.
#include "targets.hpp"

#include "proto/handshake.hpp"
#include "proto/percent.hpp"

#include <wring/http.hpp>

#include <cctype>
#include <vector>

namespace wring::fuzz {
namespace {

using namespace proto;

struct decoded
{
    bool sound = true;
    std::string text;

    bool operator==(decoded const&) const = default;
};

decoded decode(std::string_view text, bool plus_is_space)
{
    decoded d;
    d.sound = proto::percent_decode(d.text, text, plus_is_space);
    return d;
}

decoded model(std::string_view text, bool plus_is_space)
{
    decoded d;
    auto const digit = [&](std::size_t i) { return i < text.size() && std::isxdigit(text[i] & 0xFF) != 0; };
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '%') {
            if (!digit(i + 1) || !digit(i + 2)) return d.sound = false, d;
            d.text += static_cast<char>(std::stoul(std::string(text.substr(i + 1, 2)), nullptr, 16));
            i += 2;
        } else {
            d.text += plus_is_space && text[i] == '+' ? ' ' : text[i];
        }
    }
    return d;
}

// The first segment with something wrong decides.
path_fault judge_path(std::string_view path, std::vector<std::string>& segments)
{
    for (std::size_t at = 0; at != path.npos;) {
        auto const end = path.find('/', at + 1);
        auto const segment = model(path.substr(at + 1, end == path.npos ? end : end - at - 1), false);
        if (!segment.sound || segment.text.find('\0') != segment.text.npos) return path_fault::escape;
        if (segment.text == "." || segment.text == "..") return path_fault::dots;
        segments.push_back(segment.text);
        at = end;
    }
    return path_fault::none;
}

} // namespace

void fuzz_percent(input in)
{
    reader r(in);
    bool const plus_is_space = r.byte() % 2 != 0;
    auto const text = as_text(r.rest());
    auto const got = decode(text, plus_is_space);
    require(got == model(text, plus_is_space), "decoded as it is written");
    require(got.text.size() <= text.size(), "it gets no longer");
    if (decode(text, false).sound)
        require(percent_decoded(text) == decode(text, false).text, "the lenient reader agrees where nothing is wrong");

    auto const again = percent_encode(got.text);
    require(decode(again, plus_is_space) == decoded{true, got.text}, "what was decoded can be encoded");
    for (char const c : again)
        require(c > ' ' && c < 0x7F && c != '+' && c != '/' && c != '?', "... and stands anywhere in a URL");

    auto const path = "/" + std::string(text);
    std::vector<std::string> segments, expected;
    auto const fault = each_segment(path, [&](std::string_view s) { segments.emplace_back(s); });
    require(fault == judge_path(path, expected) && segments == expected, "a path is taken apart, then decoded");
    if (fault != path_fault::none) return;
    std::string whole;
    for (auto const& s : segments)
        whole += "/" + percent_encode(s);
    segments.clear();
    require(each_segment(whole, [&](std::string_view s) { segments.emplace_back(s); }) == path_fault::none &&
                segments == expected,
            "put together again it has the same segments");
}

} // namespace wring::fuzz
