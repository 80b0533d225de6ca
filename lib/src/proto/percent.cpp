// SPDX-License-Identifier: BSL-1.0
#include "proto/percent.hpp"

#include <charconv>

namespace wring::proto {

bool percent_decode(std::string& out, std::string_view text, bool plus_is_space)
{
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] != '%') {
            out.push_back(plus_is_space && text[i] == '+' ? ' ' : text[i]);
            continue;
        }
        unsigned char value = 0;
        auto const digits = text.substr(i + 1, 2);
        auto const [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
        if (error != std::errc{} || digits.size() != 2 || end != digits.data() + 2) return false;
        out.push_back(static_cast<char>(value));
        i += 2;
    }
    return true;
}

} // namespace wring::proto
