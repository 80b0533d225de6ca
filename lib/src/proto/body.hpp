// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "proto/error.hpp"
#include "proto/http.hpp"

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace wring::proto {

// What of a chunked body is not content, and is bounded: all chunk extensions together, and the trailer section.
inline constexpr std::uint32_t max_chunk_extensions = 1024;
inline constexpr std::uint32_t max_trailer = 4096;

// Reads the body of a request as it arrives (RFC 9112 sections 6 and 7.1): tells content from framing, and where the
// body ends. Each byte is looked at once. Strict where the RFC allows leniency: no bare LF, no space around a chunk
// size. Chunk extensions and trailer fields are checked and dropped.
class body_reader
{
public:
    // No body.
    body_reader() noexcept = default;

    // For a request that passed check_request(). errc::content_too_large where Content-Length says that the content
    // exceeds `max_content`, errc::transfer_coding_unknown for a coding other than chunked.
    [[nodiscard]] errc start(request_head const& request, std::uint64_t max_content) noexcept;

    struct progress
    {
        std::size_t consumed = 0; // of this piece: framing, then `content`
        std::string_view content; // a view of the piece
        errc error = errc::ok;    // final: the reader is of no further use
    };

    // Looks at `piece`, which follows what was consumed before, up to the end of its first run of content. The end of
    // the body consumes nothing behind it. Not to be called once complete() or after an error.
    [[nodiscard]] progress feed(std::string_view piece) noexcept;

    [[nodiscard]] bool complete() const noexcept { return state_ == state::done; }

    // Content still to come, if the request said so; 0 otherwise.
    [[nodiscard]] std::uint64_t announced() const noexcept { return chunked_ ? 0 : left_; }

private:
    // Where in the grammar the next byte stands.
    enum class state : std::uint8_t
    {
        size,         // of a chunk, at its first digit
        size_more,    // behind at least one digit
        extension,    // of the chunk's line
        size_lf,      // LF of that line
        data,         // content
        data_cr,      // CR LF behind a chunk's content
        data_lf,
        trailer,      // first byte of a trailer line
        trailer_name, // behind at least one byte of it
        trailer_value,
        trailer_lf,
        end_lf, // LF of the empty line that ends the body
        done,
    };

    [[nodiscard]] errc step(unsigned char c) noexcept;

    std::uint64_t left_ = 0;        // bytes of content that are certain to come: of the body, or of the chunk
    std::uint64_t max_content_ = 0; // chunked: what later chunks may still bring
    std::uint32_t extensions_ = 0;  // bytes
    std::uint32_t trailer_ = 0;     // bytes
    std::uint8_t digits_ = 0;
    bool chunked_ = false;
    state state_ = state::done;
};

} // namespace wring::proto
