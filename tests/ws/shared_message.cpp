// SPDX-License-Identifier: BSL-1.0
#include "catch.hpp"

#include "ws/shared_message.hpp"

#include <string>
#include <thread>
#include <vector>

using namespace wring;

namespace {

std::string frame_of(ws::shared_message const& m)
{
    auto const bytes = m.rep()->frame();
    return {reinterpret_cast<char const*>(bytes.data()), bytes.size()};
}

} // namespace

TEST_CASE("a shared message is the frame that a server sends")
{
    auto const text = ws::shared_message::text("hello");
    CHECK(frame_of(text) == "\x81\x05hello");
    CHECK(text.size() == 5);
    CHECK(!text.empty());
    std::byte const bytes[] = {std::byte{1}, std::byte{2}};
    CHECK(frame_of(ws::shared_message::binary(bytes)) == "\x82\x02\x01\x02");
}

TEST_CASE("a shared message has the shortest length form")
{
    using namespace std::string_literals;
    CHECK(frame_of(ws::shared_message::text("")) == "\x81\0"s);
    CHECK(frame_of(ws::shared_message::text(std::string(125, 'x'))).substr(0, 2) == "\x81\x7D");
    CHECK(frame_of(ws::shared_message::text(std::string(126, 'x'))).substr(0, 4) == "\x81\x7E\0\x7E"s);
    CHECK(frame_of(ws::shared_message::text(std::string(65535, 'x'))).substr(0, 4) == "\x81\x7E\xFF\xFF");
    auto const large = frame_of(ws::shared_message::text(std::string(65536, 'x')));
    CHECK(large.substr(0, 10) == "\x81\x7F\0\0\0\0\0\1\0\0"s);
    CHECK(large.substr(10) == std::string(65536, 'x'));
}

TEST_CASE("copies of a shared message share its bytes")
{
    ws::shared_message none;
    CHECK(none.empty());
    CHECK(none.size() == 0);
    auto a = ws::shared_message::text("a");
    auto b = a;
    CHECK(a.rep() == b.rep());
    CHECK(a.rep()->references == 2);
    ws::shared_message c(std::move(b));
    CHECK(a.rep()->references == 2);
    CHECK(b.empty());
    c = none;
    CHECK(a.rep()->references == 1);
    auto& same = a;
    a = same;
    CHECK(a.rep()->references == 1);
    CHECK(frame_of(a) == "\x81\x01" "a");
    a = ws::shared_message::text("other");
    CHECK(a.size() == 5);
}

TEST_CASE("threads may copy and drop a shared message at the same time")
{
    auto const m = ws::shared_message::text(std::string(1000, 'x'));
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t)
        threads.emplace_back([m] {
            std::vector<ws::shared_message> copies;
            for (int i = 0; i < 1000; ++i) {
                copies.push_back(m);
                if (i % 3 == 0)
                    copies.clear();
            }
        });
    for (auto& t : threads)
        t.join();
    CHECK(m.rep()->references == 1);
}
