// SPDX-License-Identifier: BSL-1.0
#include "proto/body.hpp"

#include <algorithm>

namespace wring::proto {
namespace {

constexpr unsigned max_size_digits = 16; // leading zeros count

int hex_value(unsigned char c) noexcept
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

bool is_value_char(unsigned char c) noexcept
{
    return (c >= 0x20 && c != 0x7F) || c == '\t';
}

bool is_token_char(unsigned char c) noexcept
{
    auto const text = static_cast<char>(c);
    return is_token({&text, 1});
}

} // namespace

errc body_reader::start(request_head const& request, std::uint64_t max_content) noexcept
{
    *this = {};
    if (request.fields.count("Transfer-Encoding") != 0) {
        auto const only_chunked = [](std::string_view coding) { return equal_ignoring_case(coding, "chunked"); };
        if (!request.fields.each_element("Transfer-Encoding", only_chunked)) return errc::transfer_coding_unknown;
        chunked_ = true;
        max_content_ = max_content;
        state_ = state::size;
        return errc::ok;
    }
    std::uint64_t length = 0;
    for (char c : request.fields.find("Content-Length").value_or(""))
        length = length * 10 + static_cast<std::uint64_t>(c - '0');
    if (length > max_content) return errc::content_too_large;
    left_ = length;
    if (length > 0) state_ = state::data;
    return errc::ok;
}

body_reader::progress body_reader::feed(std::string_view piece) noexcept
{
    progress p;
    while (p.consumed < piece.size() && state_ != state::data && state_ != state::done) {
        p.error = step(static_cast<unsigned char>(piece[p.consumed]));
        if (p.error != errc::ok) return p;
        ++p.consumed;
    }
    if (state_ != state::data) return p;
    p.content = piece.substr(p.consumed, std::min<std::uint64_t>(left_, piece.size() - p.consumed));
    p.consumed += p.content.size();
    left_ -= p.content.size();
    if (left_ == 0) state_ = chunked_ ? state::data_cr : state::done;
    return p;
}

errc body_reader::step(unsigned char c) noexcept
{
    switch (state_) {
    case state::size:
    case state::size_more:
        if (int const digit = hex_value(c); digit >= 0) {
            if (++digits_ > max_size_digits) return errc::chunk_size;
            left_ = left_ << 4 | static_cast<unsigned>(digit);
            state_ = state::size_more;
            return errc::ok;
        }
        if (state_ == state::size || (c != '\r' && c != ';')) return c == '\n' ? errc::bare_lf : errc::chunk_size;
        if (left_ > max_content_) return errc::content_too_large;
        state_ = c == ';' ? state::extension : state::size_lf;
        return errc::ok;
    case state::extension:
        if (c == '\r') {
            state_ = state::size_lf;
            return errc::ok;
        }
        if (c == '\n') return errc::bare_lf;
        return is_value_char(c) && ++extensions_ <= max_chunk_extensions ? errc::ok : errc::chunk_extension;
    case state::size_lf:
        if (c != '\n') return errc::bare_cr;
        max_content_ -= left_;
        digits_ = 0;
        state_ = left_ == 0 ? state::trailer : state::data;
        return errc::ok;
    case state::data_cr:
        state_ = state::data_lf;
        return c == '\r' ? errc::ok : errc::chunk_end;
    case state::data_lf:
        state_ = state::size;
        return c == '\n' ? errc::ok : errc::chunk_end;

    case state::trailer:
        if (c == '\r') {
            state_ = state::end_lf;
            return errc::ok;
        }
        [[fallthrough]];
    case state::trailer_name:
        if (++trailer_ > max_trailer) return errc::trailer;
        if (c == ':' && state_ == state::trailer_name) {
            state_ = state::trailer_value;
            return errc::ok;
        }
        state_ = state::trailer_name;
        return is_token_char(c) ? errc::ok : errc::trailer;
    case state::trailer_value:
        if (c == '\r') {
            state_ = state::trailer_lf;
            return errc::ok;
        }
        return is_value_char(c) && ++trailer_ <= max_trailer ? errc::ok : errc::trailer;
    case state::trailer_lf:
        state_ = state::trailer;
        return c == '\n' ? errc::ok : errc::trailer;
    case state::end_lf:
        state_ = state::done;
        return c == '\n' ? errc::ok : errc::trailer;
    case state::data:
    case state::done:
        break;
    }
    return errc::chunk_end;
}

} // namespace wring::proto
