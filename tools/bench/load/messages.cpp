// SPDX-License-Identifier: BSL-1.0
#include "messages.hpp"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <random>

using wring::ws::shared_message;

namespace load {

namespace {

/// Something like what applications send, for runs with compression. All messages of a run are the same.
std::string words(std::size_t size)
{
    static constexpr char const* names[] = {"alice", "bob", "carol", "dave"};
    std::mt19937 random(1);
    std::string text;
    while (text.size() < size)
        text += "{\"id\":" + std::to_string(random() % 100000) + ",\"user\":\"" + names[random() % 4] +
                "\",\"text\":\"hello from side " + std::to_string(random() % 10) +
                "\",\"value\":" + std::to_string(random() % 1000) + "},";
    text.resize(size);
    return text;
}

std::string random_bytes(std::size_t size, unsigned seed)
{
    std::mt19937_64 random(seed);
    std::string bytes(size + 8, '\0');
    for (std::size_t at = 0; at < size; at += 8) {
        auto const eight = random();
        std::memcpy(bytes.data() + at, &eight, 8);
    }
    bytes.resize(size);
    return bytes;
}

std::string content(options const& o, std::size_t size, unsigned seed)
{
    if (o.deflate)
        return words(size);
    if (!o.text || o.raw)
        return random_bytes(size, seed);
    auto const stamp = o.mode == mode::broadcast && o.senders > 1 ? message_pool::stamp_size : 0;
    return random_text(size - stamp, seed) + std::string(stamp, '.'); // no character is cut
}

std::vector<std::size_t> sizes_of(options const& o)
{
    if (!o.sizes.empty())
        return draw_sizes(o.sizes, 1021);
    auto const fitting = 256 * 1024 / std::max<std::size_t>(o.size, 1);
    return std::vector<std::size_t>(std::clamp<std::size_t>(fitting, 3, 61), o.size);
}

} // namespace

std::size_t masked_frame_size(std::size_t payload) noexcept
{
    return payload + 4 + (payload < 126 ? 2 : payload < 65536 ? 4 : 10);
}

std::string random_text(std::size_t size, unsigned seed)
{
    // The first and the last character of each length, without the surrogates in between.
    static constexpr char32_t from[] = {0x20, 0x80, 0x800, 0x10000}, to[] = {0x7E, 0x7FF, 0xD7FF, 0x10FFFF};
    std::mt19937 random(seed);
    std::string text;
    while (text.size() < size) {
        auto const extra = random() % std::min<std::size_t>(4, size - text.size());
        char32_t const c = from[extra] + static_cast<char32_t>(random() % (to[extra] - from[extra] + 1));
        static constexpr unsigned lead[] = {0, 0xC0, 0xE0, 0xF0};
        text += static_cast<char>(lead[extra] | (c >> (6 * extra)));
        for (auto left = extra; left-- > 0;)
            text += static_cast<char>(0x80 | (c >> (6 * left) & 0x3F));
    }
    return text;
}

// Their number is odd, so that neighbours do not run in step.
message_pool::message_pool(options const& o)
{
    auto const seed = std::random_device{}();
    auto sizes = sizes_of(o);
    count_ = sizes.size();
    for (auto const size : sizes)
        mean_payload_ += static_cast<double>(size) / static_cast<double>(count_);
    for (auto& size : sizes)
        size = o.raw ? masked_frame_size(size) : size;
    largest_ = *std::ranges::max_element(sizes);
    for (std::size_t i = 0; o.raw && i < o.in_flight; ++i)
        sizes.push_back(sizes[i]);

    bytes_.reserve(std::accumulate(sizes.begin(), sizes.end(), std::size_t{0})); // what follows are views
    for (std::size_t i = 0; i < sizes.size(); ++i) {
        auto const text = content(o, sizes[i], seed + static_cast<unsigned>(i % count_));
        auto const bytes = std::as_bytes(std::span(text));
        auto const at = bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
        entry m{std::span(at, bytes.size()), {}};
        if (!o.raw)
            m.framed = o.text ? shared_message::text(text) : shared_message::binary(bytes);
        messages_.push_back(std::move(m));
    }
}

message_pool::row message_pool::several(std::uint64_t i, std::uint64_t most) const noexcept
{
    auto const first = static_cast<std::size_t>(i % count_);
    auto const n = static_cast<std::size_t>(std::min<std::uint64_t>(most, messages_.size() - first));
    auto const from = messages_[first].bytes.data();
    auto const& last = messages_[first + n - 1].bytes;
    return {{from, static_cast<std::size_t>(last.data() + last.size() - from)}, n};
}

} // namespace load
