// SPDX-License-Identifier: BSL-1.0
// What only in-memory streams have; all else is in stream.cpp.
#include "net.hpp"

using namespace net_test;

namespace {

task<> chunks_arrive_one_by_one()
{
    stream_pair_options options;
    options.chunk = 3;
    auto pair = make_stream_pair(options);
    auto const written = co_await pair.first.write("0123456789");
    CHECK(written);
    std::byte buffer[100];
    auto const first = co_await pair.second.read_some(std::span(buffer));
    CHECK(text_of(first.value()) == "012");
}

task<> capacity_is_the_limit()
{
    for (std::size_t const capacity : {std::size_t{1}, std::size_t{10}, std::size_t{100'000}}) {
        CAPTURE(capacity);
        stream_pair_options options;
        options.capacity = capacity;
        auto pair = make_stream_pair(options);
        std::vector<std::byte> const bytes(capacity);
        auto const fits = co_await timeout(10s, pair.first.write(bytes));
        CHECK(fits);
        auto const late = co_await timeout(5ms, pair.first.write("x"));
        CHECK(late.error() == errc::timed_out);
        std::vector<std::byte> got(capacity);
        auto const read = co_await pair.second.read(got);
        CHECK(read);
        auto const again = co_await pair.first.write("x");
        CHECK(again);
    }
}

task<> both_ends_go_in_any_order()
{
    auto kept = make_stream_pair();
    {
        auto pair = make_stream_pair();
        auto const written = co_await pair.first.write("unread");
        CHECK(written);
        kept = std::move(pair); // closes both ends of the old one
    }
    auto const got = co_await read_text(kept.second, 6);
    CHECK(got == "unread");
    kept.first.abort();
    kept.second.abort();
    std::byte buffer[1];
    auto const read = co_await kept.second.read_some(std::span(buffer));
    CHECK(read.error() == errc::closed);
}

task<> left_to_the_end()
{
    static std::optional<stream_pair> pair;
    pair.emplace(make_stream_pair());
    auto const written = co_await pair->first.write("never read");
    CHECK(written);
    pair.reset(); // and the loop waits for both to be gone
}

} // namespace

TEST_CASE("an in-memory stream can deliver in small pieces")
{
    on_loop(chunks_arrive_one_by_one());
}
TEST_CASE("an in-memory stream takes its capacity before a write waits")
{
    on_loop(capacity_is_the_limit());
}
TEST_CASE("the ends of an in-memory stream may close in any order")
{
    on_loop(both_ends_go_in_any_order());
}
TEST_CASE("a loop ends after its in-memory streams")
{
    on_loop(left_to_the_end());
}

TEST_CASE("an in-memory stream needs no descriptor")
{
    no_descriptor_leaks const check;
    struct body
    {
        static task<> run()
        {
            auto const before = open_descriptors();
            auto const pair = make_stream_pair();
            CHECK(open_descriptors() == before);
            co_return;
        }
    };
    on_loop(body::run());
}
