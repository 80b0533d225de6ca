// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "proto/http.hpp"

#include <optional>
#include <string_view>

namespace wring::proto {

// A parameter of an extension. The value of a quoted string is what stands between the quotes, undecoded.
struct extension_parameter
{
    std::string_view name;
    std::optional<std::string_view> value;
};

// Reads one element of a Sec-WebSocket-Extensions list (RFC 6455 section 9.1): a name and its parameters, in one pass.
class extension_reader
{
public:
    explicit extension_reader(std::string_view element) noexcept;

    [[nodiscard]] std::string_view name() const noexcept { return name_; }

    // Whether what was read so far is sound; after the last parameter: whether the whole element is.
    [[nodiscard]] bool valid() const noexcept { return valid_; }

    // The next parameter; false at the end of the element and where it is malformed.
    [[nodiscard]] bool next(extension_parameter& out) noexcept;

private:
    std::string_view rest_;
    std::string_view name_;
    bool valid_;
};

// Whether the lists in all Sec-WebSocket-Extensions lines follow the grammar.
[[nodiscard]] bool valid_extensions(field_range const& fields) noexcept;

} // namespace wring::proto
