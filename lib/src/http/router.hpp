// SPDX-License-Identifier: BSL-1.0
// Patterns of paths, and which route answers a request.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace wring::detail {

/// `/chat/{room}/*` taken apart.
class path_pattern
{
public:
    /// Throws std::invalid_argument.
    explicit path_pattern(std::string_view text);

    [[nodiscard]] std::string const& text() const noexcept { return text_; }

    using params = std::vector<std::pair<std::string_view, std::string>>;
    /// Whether a path of these decoded segments is one of the pattern's; its parameters are added to `out`.
    [[nodiscard]] bool matches(std::vector<std::string> const& segments, params& out) const;

    /// Whether this pattern is to be tried before `other`: at the first segment in which they differ in kind it is the
    /// more specific one.
    [[nodiscard]] bool before(path_pattern const& other) const noexcept;

    /// Whether the two stand for the same paths.
    [[nodiscard]] bool same_paths(path_pattern const& other) const noexcept;

private:
    struct segment
    {
        enum class kind { literal, param, rest } what; // the more specific first
        std::string text;                              // of a literal, decoded; else the name
    };
    std::string text_;
    std::vector<segment> segments_;
};

/// What a route table gives for a request.
enum class routing {
    found,
    no_path,       // 404
    no_method,     // 405
    needs_upgrade, // 426
};

/// The routes of a server, kept apart from what they do: a route is known by its index.
class router
{
public:
    /// Throws std::invalid_argument for a bad pattern or method, or one that is there already. An empty method:
    /// upgrades.
    std::size_t add(std::string_view method, std::string_view pattern);

    struct answer
    {
        routing what = routing::no_path;
        std::size_t index = 0;
        path_pattern::params params;
        std::string allow; // for no_method: the methods there are
    };
    /// `segments`: of the path, decoded. `upgrade`: whether the request asks for a WebSocket.
    [[nodiscard]] answer find(std::string_view method, bool upgrade, std::vector<std::string> const& segments) const;

    [[nodiscard]] std::string const& pattern(std::size_t index) const noexcept;

private:
    struct route
    {
        path_pattern pattern;
        std::string method;
        std::size_t index;
    };
    std::vector<route> routes_; // in the order in which they are tried
};

} // namespace wring::detail
