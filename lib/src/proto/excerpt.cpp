// SPDX-License-Identifier: BSL-1.0
#include "proto/excerpt.hpp"

#include <algorithm>
#include <charconv>

namespace wring::proto {
namespace {

constexpr unsigned max_size_line = 256;

// -1 where it is no hexadecimal digit.
constexpr int hex_digit(unsigned char c) noexcept
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

} // namespace

body_excerpt::body_excerpt(response_head const& head) noexcept
{
    auto const& fields = head.fields;
    if (head.status < 200 || head.status == 204 || head.status == 304) { // RFC 9112 section 6.3
        state_ = state::done;
    } else if (fields.count("Transfer-Encoding") != 0) {
        chunked_ = fields.has_token("Transfer-Encoding", "chunked");
        if (chunked_) {
            state_ = state::size;
            left_ = 0;
        }
    } else if (auto const length = fields.find("Content-Length")) {
        std::uint64_t n = 0;
        auto const [end, error] = std::from_chars(length->data(), length->data() + length->size(), n);
        if (error == std::errc{} && end == length->data() + length->size()) left_ = n;
        if (left_ == 0) state_ = state::done;
    }
}

bool body_excerpt::feed(std::string_view piece)
{
    while (!piece.empty() && state_ != state::done) {
        if (state_ != state::data) {
            step(static_cast<unsigned char>(piece.front()));
            piece.remove_prefix(1);
            continue;
        }
        auto const n = static_cast<std::size_t>(std::min<std::uint64_t>(left_, piece.size()));
        auto const room = most - text_.size();
        text_.append(piece.substr(0, std::min(n, room)));
        cut_ = n > room;
        if (cut_) {
            state_ = state::done;
            break;
        }
        piece.remove_prefix(n);
        if (left_ != UINT64_MAX) left_ -= n;
        if (left_ == 0) state_ = chunked_ ? state::data_cr : state::done;
    }
    return state_ != state::done;
}

// What is between the data of chunks.
void body_excerpt::step(unsigned char c) noexcept
{
    auto const next = [&](unsigned char expected, state s) { state_ = c == expected ? s : state::done; };
    switch (state_) {
    case state::size:
        if (auto const digit = hex_digit(c); digit >= 0 && line_ < 15) {
            left_ = left_ * 16 + static_cast<unsigned>(digit);
            ++line_;
        } else if (line_ == 0) {
            state_ = state::done;
        } else if (c == '\r') {
            state_ = state::size_lf;
        } else {
            state_ = c == ';' || c == ' ' || c == '\t' ? state::extension : state::done;
        }
        break;
    case state::extension:
        if (++line_ > max_size_line) state_ = state::done;
        if (c == '\r') state_ = state::size_lf;
        break;
    case state::size_lf:
        next('\n', left_ == 0 ? state::done : state::data); // an empty chunk is the last
        break;
    case state::data_cr:
        next('\r', state::data_lf);
        break;
    case state::data_lf:
        next('\n', state::size);
        line_ = 0;
        break;
    case state::data:
    case state::done:
        break;
    }
}

} // namespace wring::proto
