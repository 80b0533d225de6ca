// SPDX-License-Identifier: BSL-1.0
#include "../catch.hpp"

#include "../../tools/bench/load/messages.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <set>

using namespace load;

namespace {

/// The number of characters of each length; fails where `text` is no UTF-8.
std::array<unsigned, 5> characters(std::string_view text)
{
    std::array<unsigned, 5> counts{};
    for (std::size_t at = 0; at < text.size();) {
        auto const lead = static_cast<unsigned char>(text[at]);
        std::size_t const length = lead < 0x80 ? 1 : lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
        REQUIRE(at + length <= text.size());
        char32_t c = length == 1 ? lead : lead & (0x7F >> length);
        for (std::size_t i = 1; i < length; ++i) {
            auto const next = static_cast<unsigned char>(text[at + i]);
            REQUIRE((next & 0xC0) == 0x80);
            c = c << 6 | (next & 0x3F);
        }
        static constexpr char32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
        REQUIRE(c >= least[length]);
        REQUIRE(c <= 0x10FFFF);
        REQUIRE((c < 0xD800 || c > 0xDFFF));
        ++counts[length];
        at += length;
    }
    return counts;
}

std::string_view text_of(std::span<std::byte const> bytes)
{
    return {reinterpret_cast<char const*>(bytes.data()), bytes.size()};
}

} // namespace

TEST_CASE("random text of any size is UTF-8 with characters of all lengths")
{
    for (std::size_t size = 0; size < 300; ++size) {
        auto const text = random_text(size, static_cast<unsigned>(size));
        REQUIRE(text.size() == size);
        auto const counts = characters(text);
        if (size > 200)
            CHECK(std::all_of(counts.begin() + 1, counts.end(), [](unsigned n) { return n > 5; }));
    }
}

TEST_CASE("messages differ, have the size that was asked for, and come again and again")
{
    options o;
    o.size = 100;
    message_pool const pool(o);
    std::set<std::string> different;
    for (std::uint64_t i = 0; i < pool.count(); ++i) {
        CHECK(pool.at(i).bytes.size() == 100);
        CHECK(pool.at(i).framed.size() == 100);
        CHECK(pool.at(i).bytes.data() == pool.at(i + 5 * pool.count()).bytes.data());
        different.emplace(text_of(pool.at(i).bytes));
    }
    CHECK(different.size() == pool.count());
    CHECK(pool.count() % 2 == 1);
    CHECK(pool.largest() == 100);
    CHECK(std::abs(pool.mean_payload() - 100) < 0.001);
}

TEST_CASE("an empty message is a message")
{
    options o;
    o.size = 0;
    message_pool const pool(o);
    CHECK(pool.at(1).bytes.empty());
    CHECK_FALSE(pool.at(1).framed.empty());
}

TEST_CASE("a raw message has as many bytes as a masked frame has")
{
    CHECK(masked_frame_size(0) == 6);
    CHECK(masked_frame_size(125) == 131);
    CHECK(masked_frame_size(126) == 134);
    CHECK(masked_frame_size(65535) == 65543);
    CHECK(masked_frame_size(65536) == 65550);
    options o;
    o.raw = true;
    o.size = 1000;
    message_pool const pool(o);
    CHECK(pool.at(0).bytes.size() == 1008);
    CHECK(pool.at(0).framed.empty());
    CHECK(std::abs(pool.mean_payload() - 1000) < 0.001);
}

TEST_CASE("a raw sender's next messages lie in a row, also behind the last")
{
    options o;
    o.raw = true;
    o.in_flight = 200; // more than there are
    message_pool const pool(o);
    auto const row = pool.several(pool.count() - 1, 100);
    REQUIRE(row.count == 100);
    std::string each;
    for (std::uint64_t i = 0; i < row.count; ++i)
        each += text_of(pool.at(pool.count() - 1 + i).bytes);
    CHECK(text_of(row.bytes) == each);
    CHECK(pool.several(pool.count() - 1, 1000).count == 201); // so many are in a row
}

TEST_CASE("mixed sizes keep their proportions, raw as well")
{
    options o;
    o.sizes = {{10, 3}, {1000, 1}};
    CHECK(std::abs(message_pool(o).mean_payload() - 257.5) < 2.5);
    CHECK(message_pool(o).largest() == 1000);
    o.raw = true;
    CHECK(message_pool(o).largest() == 1008);
}

TEST_CASE("text that several senders put their stamps on stays UTF-8")
{
    options o;
    o.mode = mode::broadcast;
    o.senders = 2;
    o.text = true;
    o.size = 61;
    message_pool const pool(o);
    for (std::uint64_t i = 0; i < pool.count(); ++i) {
        auto const text = text_of(pool.at(i).bytes);
        CHECK(text.size() == 61);
        (void)characters(text.substr(0, 61 - message_pool::stamp_size)); // the rest is overwritten
    }
}
