// SPDX-License-Identifier: BSL-1.0
#include "http/router.hpp"

#include "proto/http.hpp"
#include "proto/percent.hpp"

#include <algorithm>
#include <stdexcept>

namespace wring::detail {

namespace {

[[noreturn]] void refuse(std::string_view pattern, char const* why)
{
    throw std::invalid_argument("route " + std::string(pattern) + ": " + why);
}

/// As a parameter's name.
bool is_name(std::string_view text) noexcept
{
    return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
    });
}

} // namespace

path_pattern::path_pattern(std::string_view text) : text_(text)
{
    if (!text.starts_with('/'))
        refuse(text, "a pattern begins with /");
    auto const fault = proto::each_segment(text, [&](std::string_view s) {
        if (!segments_.empty() && segments_.back().what == segment::kind::rest)
            refuse(text, "* stands at the end only");
        if (s == "*") {
            segments_.push_back({segment::kind::rest, "*"});
        } else if (s.starts_with('{')) {
            auto const name = s.substr(1, s.size() - std::min<std::size_t>(s.size(), 2));
            if (!s.ends_with('}') || !is_name(name))
                refuse(text, "a parameter is {name}, alone in its segment");
            for (auto const& other : segments_)
                if (other.what == segment::kind::param && other.text == name)
                    refuse(text, "two parameters have the same name");
            segments_.push_back({segment::kind::param, std::string(name)});
        } else {
            if (s.find_first_of("{}*?#") != s.npos)
                refuse(text, "one of {}*?# in a segment that is no parameter");
            segments_.push_back({segment::kind::literal, std::string(s)});
        }
    });
    if (fault != proto::path_fault::none)
        refuse(text, "a segment that no request may have");
}

bool path_pattern::matches(std::vector<std::string> const& segments, params& out) const
{
    auto const added_from = out.size();
    auto const fail = [&] {
        out.resize(added_from);
        return false;
    };
    for (std::size_t i = 0; i < segments_.size(); ++i) {
        auto const& s = segments_[i];
        if (i >= segments.size())
            return fail();
        if (s.what == segment::kind::rest) {
            std::string rest = segments[i];
            for (std::size_t j = i + 1; j < segments.size(); ++j)
                rest.append("/").append(segments[j]);
            out.emplace_back(s.text, std::move(rest));
            return true;
        }
        if (s.what == segment::kind::literal ? segments[i] != s.text : segments[i].empty())
            return fail();
        if (s.what == segment::kind::param)
            out.emplace_back(s.text, segments[i]);
    }
    return segments.size() == segments_.size() || fail();
}

bool path_pattern::before(path_pattern const& other) const noexcept
{
    for (std::size_t i = 0; i < std::min(segments_.size(), other.segments_.size()); ++i)
        if (segments_[i].what != other.segments_[i].what)
            return segments_[i].what < other.segments_[i].what;
    return segments_.size() > other.segments_.size();
}

bool path_pattern::same_paths(path_pattern const& other) const noexcept
{
    return std::equal(segments_.begin(), segments_.end(), other.segments_.begin(), other.segments_.end(),
                      [](segment const& a, segment const& b) {
                          return a.what == b.what && (a.what != segment::kind::literal || a.text == b.text);
                      });
}

std::size_t router::add(std::string_view method, std::string_view pattern)
{
    route added{path_pattern(pattern), std::string(method), routes_.size()};
    if (!method.empty() && !proto::is_token(method))
        refuse(pattern, "its method is none");
    for (auto const& other : routes_)
        if (other.method == method && other.pattern.same_paths(added.pattern))
            refuse(pattern, "there is such a route already");
    auto const place = std::find_if(routes_.begin(), routes_.end(),
                                    [&](route const& other) { return added.pattern.before(other.pattern); });
    auto const index = added.index;
    routes_.insert(place, std::move(added));
    return index;
}

router::answer router::find(std::string_view method, bool upgrade, std::vector<std::string> const& segments) const
{
    answer a;
    bool websocket = false; // such a route is there
    std::vector<std::string_view> methods;
    auto const allow = [&](std::string_view m) {
        if (std::find(methods.begin(), methods.end(), m) == methods.end())
            methods.push_back(m);
    };
    route const* plain = nullptr; // in case there is no upgrade to be had
    path_pattern::params plain_params;
    for (auto const& r : routes_) {
        path_pattern::params params;
        if (!r.pattern.matches(segments, params))
            continue;
        bool const suits = r.method == method || (method == "HEAD" && r.method == "GET");
        if (r.method.empty()) {
            websocket = true;
            allow("GET");
            if (!upgrade)
                continue;
            a.what = routing::found;
            a.index = r.index;
            a.params = std::move(params);
            return a;
        }
        allow(r.method);
        if (r.method == "GET")
            allow("HEAD");
        if (suits && !plain) {
            plain = &r;
            plain_params = std::move(params);
            if (!upgrade)
                break;
        }
    }
    if (plain) {
        a.what = routing::found;
        a.index = plain->index;
        a.params = std::move(plain_params);
    } else if (websocket && (method == "GET" || method == "HEAD")) {
        a.what = routing::needs_upgrade;
    } else if (!methods.empty()) {
        a.what = routing::no_method;
        for (auto const& m : methods)
            a.allow.append(a.allow.empty() ? "" : ", ").append(m);
    }
    return a;
}

std::string const& router::pattern(std::size_t index) const noexcept
{
    auto const its = [&](route const& r) { return r.index == index; };
    return std::find_if(routes_.begin(), routes_.end(), its)->pattern.text();
}

} // namespace wring::detail
