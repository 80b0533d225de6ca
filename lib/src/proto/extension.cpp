// SPDX-License-Identifier: BSL-1.0
#include "proto/extension.hpp"

namespace wring::proto {
namespace {

// Optional white space, RFC 9110 section 5.6.3.
void skip_blanks(std::string_view& text) noexcept
{
    while (!text.empty() && (text.front() == ' ' || text.front() == '\t'))
        text.remove_prefix(1);
}

// Takes the token at the front, empty where there is none.
std::string_view take_token(std::string_view& text) noexcept
{
    std::size_t n = 0;
    while (n < text.size() && is_token(text.substr(n, 1)))
        ++n;
    auto const token = text.substr(0, n);
    text.remove_prefix(n);
    return token;
}

// Takes a quoted string, whose content must be a token once its escapes are undone (section 9.1).
std::optional<std::string_view> take_quoted(std::string_view& text) noexcept
{
    std::size_t n = 1;
    for (bool empty = true; n < text.size(); ++n, empty = false) {
        if (text[n] == '"') {
            auto const content = text.substr(1, n - 1);
            text.remove_prefix(n + 1);
            return empty ? std::nullopt : std::optional(content);
        }
        if (text[n] == '\\') ++n;
        if (!is_token(text.substr(n, 1))) break;
    }
    return std::nullopt;
}

} // namespace

extension_reader::extension_reader(std::string_view element) noexcept : rest_(element)
{
    skip_blanks(rest_);
    name_ = take_token(rest_);
    valid_ = !name_.empty();
}

bool extension_reader::next(extension_parameter& out) noexcept
{
    if (!valid_) return false;
    skip_blanks(rest_);
    if (rest_.empty()) return false;
    valid_ = rest_.front() == ';';
    if (!valid_) return false;
    rest_.remove_prefix(1);
    skip_blanks(rest_);
    out.name = take_token(rest_);
    out.value.reset();
    valid_ = !out.name.empty();
    if (!valid_) return false;
    auto after = rest_;
    skip_blanks(after);
    if (!after.starts_with('=')) return true;
    rest_ = after.substr(1);
    skip_blanks(rest_);
    if (rest_.starts_with('"'))
        out.value = take_quoted(rest_);
    else if (auto const token = take_token(rest_); !token.empty())
        out.value = token;
    valid_ = out.value.has_value();
    return valid_;
}

bool valid_extensions(field_range const& fields) noexcept
{
    return fields.each_element("Sec-WebSocket-Extensions", [](std::string_view element) {
        extension_reader reader(element);
        extension_parameter ignored;
        while (reader.next(ignored)) {
        }
        return reader.valid();
    });
}

} // namespace wring::proto
