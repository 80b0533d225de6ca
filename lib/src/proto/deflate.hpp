// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "proto/error.hpp"
#include "proto/http.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

struct z_stream_s; // zlib's

namespace wring::proto {

// --- Negotiation (RFC 7692 section 7.1) ---

inline constexpr int max_window_bits = 15;
inline constexpr int min_window_bits = 9; // a compressor's: zlib has no raw deflate with a smaller window

// What one side wishes for, and what both have agreed on. A takeover: the side's compressor keeps its window, the last
// 2^bits bytes, from one message to the next.
struct deflate_parameters
{
    bool server_takeover = false;
    bool client_takeover = false;
    std::uint8_t server_bits = max_window_bits;
    std::uint8_t client_bits = max_window_bits;

    [[nodiscard]] bool operator==(deflate_parameters const&) const = default;
};

// The server's part: takes the first offer that it can meet, and appends the value of Sec-WebSocket-Extensions to
// `answer`. An offer with an unknown, repeated or bad parameter is declined, and so is one of a window that zlib
// cannot compress with; nothing where all are. `client_bits` may be 8: a decompressor's window is never too large.
[[nodiscard]] std::optional<deflate_parameters> accept_deflate(field_range const& request,
                                                               deflate_parameters const& wanted, std::string& answer);

// The client's offer. What limits its own memory is asked for without an alternative, but for the server's window
// where that is not kept between messages.
[[nodiscard]] std::string deflate_offer(deflate_parameters const& wanted);

// The client's part: judges `answer`, the extensions that check_response() has let through, against that offer. `out`
// is set on ok; nothing where the server declined. Its client_bits may be 8: then nothing may be compressed.
[[nodiscard]] errc check_deflate(std::string_view answer, deflate_parameters const& wanted,
                                 std::optional<deflate_parameters>& out) noexcept;

// --- Compression (section 7.2) ---

// What a compressor is made with, and what it costs: 2^(bits + 2) + 2^(mem_level + 9) bytes and some 6 KiB.
struct deflate_shape
{
    std::uint8_t bits = max_window_bits; // from min_window_bits
    std::uint8_t level = 6;              // 0 to 9
    std::uint8_t mem_level = 8;          // 1 to 9

    [[nodiscard]] bool operator==(deflate_shape const&) const = default;
};

[[nodiscard]] constexpr bool valid(deflate_shape const& s) noexcept
{
    return s.bits >= min_window_bits && s.bits <= max_window_bits && s.level <= 9 && s.mem_level >= 1 &&
           s.mem_level <= 9;
}

// What a compressed message ends with and is sent without.
inline constexpr std::size_t deflate_tail_size = 4;

// Compresses messages one after the other, each with reference to those before, back to the last forget().
class deflater
{
public:
    // `shape` must be valid(). Throws std::bad_alloc.
    explicit deflater(deflate_shape const& shape);
    deflater(deflater const&) = delete;
    deflater& operator=(deflater const&) = delete;
    ~deflater();

    [[nodiscard]] deflate_shape const& shape() const noexcept { return shape_; }

    // The least room that step() needs.
    static constexpr std::size_t least_room = 64;

    struct progress
    {
        std::size_t written = 0;
        bool done = false; // nothing is held back; else step() wants to be called again, with more room
    };

    // Compresses from the front of `input`, which is shortened, into `output`. What comes out of all steps up to `done`
    // ends with the tail, 00 00 FF FF, unless nothing comes out at all: where there was no input, and nothing new to
    // say. A message's last frame is sent without the tail, and as one byte 00 where nothing came out.
    [[nodiscard]] progress step(std::span<std::byte const>& input, std::span<std::byte> output) noexcept;

    // The next message refers to none before.
    void forget() noexcept;

private:
    std::unique_ptr<z_stream_s> stream_;
    deflate_shape shape_;
};

// Decompresses messages one after the other; each may refer to those before, back to the last forget().
class inflater
{
public:
    // `bits`: at least those of the compressor, up to max_window_bits. Throws std::bad_alloc.
    explicit inflater(int bits);
    [[nodiscard]] int bits() const noexcept { return bits_; }
    inflater(inflater const&) = delete;
    inflater& operator=(inflater const&) = delete;
    ~inflater();

    struct progress
    {
        std::size_t written = 0;
        bool done = false;     // all of the input is used, and nothing is held back for lack of room
        errc error = errc::ok; // deflate_invalid: final
    };

    // Decompresses from the front of `input`, which is shortened, into `output`, which may not be empty. Throws
    // std::bad_alloc.
    [[nodiscard]] progress step(std::span<std::byte const>& input, std::span<std::byte> output);

    // At the end of a message's bytes: whether they are complete. If not, tail() is to be stepped through as well, and
    // then they must be. They are complete before only where the peer did not take the tail off, ended with a
    // block marked as the last one (BFINAL), or sent no byte at all: all of which is let pass.
    [[nodiscard]] bool complete() const noexcept { return complete_; }
    [[nodiscard]] static std::span<std::byte const> tail() noexcept;

    // The next message refers to none before.
    void forget() noexcept;

    // Between messages: what later ones may refer to, at most 2^bits bytes. copy_window() fills so many.
    [[nodiscard]] std::size_t window_size() const noexcept;
    void copy_window(std::byte* out) const noexcept;
    // Of a new inflater: goes on from such a window. Throws std::bad_alloc.
    void set_window(std::span<std::byte const> window);

private:
    std::unique_ptr<z_stream_s> stream_;
    int bits_;
    bool complete_ = true;
};

} // namespace wring::proto
