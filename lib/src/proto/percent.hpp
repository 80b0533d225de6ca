// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <string>
#include <string_view>

namespace wring::proto {

// Appends `text` to `out` with its percent escapes undone (RFC 3986 section 2.1). False where one is incomplete; `out`
// holds what came before it. plus_is_space: as in the queries that browsers make of forms.
[[nodiscard]] bool percent_decode(std::string& out, std::string_view text, bool plus_is_space = false);

// A path taken apart and decoded, for routing.
enum class path_fault
{
    none,
    escape, // incomplete, or %00
    dots,   // a segment . or .., also in escapes: a client has resolved them, so somebody is up to something
};

// Calls visit(std::string_view segment) for each segment of `path`, which begins with '/', decoded. A '/' that was
// escaped is part of its segment. "/" has one, empty, segment; "/a/" two.
template <typename Visit>
path_fault each_segment(std::string_view path, Visit&& visit)
{
    std::string decoded;
    for (bool last = false; !last;) {
        path.remove_prefix(1);
        auto const end = path.find('/');
        last = end == path.npos;
        auto const segment = path.substr(0, end);
        decoded.clear();
        if (!percent_decode(decoded, segment) || decoded.find('\0') != decoded.npos) return path_fault::escape;
        if (decoded == "." || decoded == "..") return path_fault::dots;
        visit(std::string_view{decoded});
        path.remove_prefix(segment.size());
    }
    return path_fault::none;
}

} // namespace wring::proto
