// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "proto/http.hpp"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace wring::proto {

// The beginning of a response's body, for people to read: what a server says that does not upgrade. Chunks are put
// together (RFC 9112 section 7.1), other codings left as they are. Whatever is malformed ends it: it is no error here.
class body_excerpt
{
public:
    static constexpr std::size_t most = 4096; // bytes of it

    explicit body_excerpt(response_head const& head) noexcept;

    // Looks at what follows. Returns false when nothing more is wanted: the body is over, or enough.
    bool feed(std::string_view piece);

    [[nodiscard]] bool done() const noexcept { return state_ == state::done; }
    [[nodiscard]] std::string& text() noexcept { return text_; }

    // Whether there is more of the body than text().
    [[nodiscard]] bool cut() const noexcept { return cut_; }

private:
    enum class state : std::uint8_t
    {
        data, // `left_` bytes of it
        size, // of a chunk
        extension,
        size_lf,
        data_cr, // behind a chunk
        data_lf,
        done
    };

    void step(unsigned char c) noexcept;

    std::string text_;
    std::uint64_t left_ = UINT64_MAX;
    unsigned line_ = 0; // bytes of a chunk's first line
    state state_ = state::data;
    bool chunked_ = false;
    bool cut_ = false;
};

} // namespace wring::proto
