// SPDX-License-Identifier: BSL-1.0
// The messages of a run, made before it begins: connections cycle through them, each from a place of its own.
#pragma once

#include "options.hpp"

#include <wring/ws.hpp>

#include <cstdint>
#include <span>
#include <vector>

namespace load {

class message_pool
{
public:
    /// Bytes at the end that several senders of a broadcast overwrite, with text.
    static constexpr std::size_t stamp_size = 12;

    explicit message_pool(options const& o);

    struct entry
    {
        std::span<std::byte const> bytes;
        wring::ws::shared_message framed; // empty in a raw run
    };
    /// The message of this number, which may be any. In a raw run it has as many bytes as a masked frame would.
    [[nodiscard]] entry const& at(std::uint64_t i) const noexcept { return messages_[i % count_]; }

    struct row
    {
        std::span<std::byte const> bytes;
        std::size_t count;
    };
    /// Message `i` and those behind it, up to `most` in all, as far as they lie in a row.
    [[nodiscard]] row several(std::uint64_t i, std::uint64_t most) const noexcept;

    [[nodiscard]] std::size_t count() const noexcept { return count_; }
    [[nodiscard]] std::size_t largest() const noexcept { return largest_; }
    /// Bytes of payload, over all messages.
    [[nodiscard]] double mean_payload() const noexcept { return mean_payload_; }

private:
    std::vector<std::byte> bytes_;
    std::vector<entry> messages_; // in a raw run the first ones once more at the end: so a sender's next lie in a row
    std::size_t count_;
    std::size_t largest_ = 0;
    double mean_payload_ = 0;
};

/// Bytes of a client's frame with such a payload.
[[nodiscard]] std::size_t masked_frame_size(std::size_t payload) noexcept;

/// UTF-8 of exactly `size` bytes, with characters of 1 to 4 bytes in equal numbers.
[[nodiscard]] std::string random_text(std::size_t size, unsigned seed);

} // namespace load
