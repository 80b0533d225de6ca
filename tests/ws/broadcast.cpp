// SPDX-License-Identifier: BSL-1.0
#include "harness.hpp"

#include "ws/broadcast.hpp"

using namespace ws_test;

namespace {

detail::loop_core& core()
{
    return detail::loop_core::require();
}

detail::broadcast::place place_of(ws::shared_message const& m)
{
    return detail::broadcast::of(core()).place_of(m, m.rep()->plain());
}

std::string text_of(std::span<std::byte const> bytes)
{
    return {reinterpret_cast<char const*>(bytes.data()), bytes.size()};
}

/// Fills the socket, so that what is written from now on waits.
task<> fill(ws::connection& ws)
{
    auto const before = ws::shared_message::binary(pattern(4096));
    while (ws.buffered() < 64 * 1024) {
        if (ws.post(before) != ws::posted::queued)
            break;
        co_await turns(1);
    }
}

} // namespace

TEST_CASE("small messages of one turn lie behind each other, each copied once")
{
    on_loop([]() -> task<> {
        auto const a = ws::shared_message::text("first");
        auto const b = ws::shared_message::text("second");
        auto const at_a = place_of(a);
        CHECK(place_of(a).frame.data() == at_a.frame.data());
        CHECK(text_of(at_a.frame) == "\x81\x05" "first");
        CHECK(at_a.frame.data() != a.rep()->frame().data());
        auto const at_b = place_of(b);
        CHECK(&at_b.in == &at_a.in);
        CHECK(at_b.frame.data() == at_a.frame.data() + at_a.frame.size());
        CHECK(detail::broadcast::of(core()).made(at_b.in));
        co_return;
    }());
}

TEST_CASE("a large message is referred to, and small ones behind it lie elsewhere")
{
    on_loop([]() -> task<> {
        auto const large = ws::shared_message::text(std::string(5000, 'l'));
        auto const small = ws::shared_message::text("small");
        auto const at_large = place_of(large);
        CHECK(at_large.frame.data() == large.rep()->frame().data());
        CHECK(large.rep()->references == 3); // this test's, the place's, and the last one's asked for
        at_large.in.references += 1;
        auto& kept = at_large.in;
        auto const at_small = place_of(small);
        CHECK(&at_small.in != &kept);
        CHECK(text_of(at_small.frame) == "\x81\x05small");
        CHECK(large.rep()->references == 2);
        kept.release();
        CHECK(large.rep()->references == 1);
        co_return;
    }());
}

TEST_CASE("at the end of a turn nothing is kept, and the next one begins anew")
{
    on_loop([]() -> task<> {
        auto const m = ws::shared_message::text("m");
        auto& all = detail::broadcast::of(core());
        auto& in = place_of(m).in;
        ++in.references;
        CHECK(m.rep()->references == 2);
        CHECK(all.made(in));
        co_await turns(2);
        CHECK(m.rep()->references == 1);
        CHECK(!all.made(in));
        CHECK(in.references == 1);
        CHECK(&place_of(m).in != &in);
        in.release();
    }());
}

TEST_CASE("more than a chunk of small messages is spread over several")
{
    on_loop([]() -> task<> {
        std::vector<ws::shared_message> messages;
        std::vector<detail::shared_bytes*> in;
        std::vector<std::span<std::byte const>> frames;
        for (int i = 0; i < 20; ++i) {
            messages.push_back(ws::shared_message::text(std::string(500, static_cast<char>('a' + i))));
            auto const place = place_of(messages.back());
            ++place.in.references;
            in.push_back(&place.in);
            frames.push_back(place.frame);
        }
        std::size_t chunks = 1;
        for (std::size_t i = 1; i < in.size(); ++i)
            chunks += in[i] != in[i - 1] ? 1 : 0;
        CHECK(chunks == 3);
        for (std::size_t i = 0; i < in.size(); ++i) {
            CHECK(text_of(frames[i]) == text_of(messages[i].rep()->frame()));
            in[i]->release();
        }
        co_return;
    }());
}

TEST_CASE("what many members are posted in one turn reaches each, in order, whatever else they are sent")
{
    on_each([](kind k) -> task<> {
        std::vector<ws_pair> pairs;
        for (int i = 0; i < 3; ++i) {
            auto pair = co_await open_pair(k);
            pairs.push_back(std::move(pair));
        }
        std::vector<std::string> expected;
        for (int i = 0; i < 30; ++i) {
            std::string const text = std::to_string(i) + std::string(static_cast<std::size_t>(i % 5) * 400, 'x');
            auto const m = ws::shared_message::text(text);
            for (auto& p : pairs)
                CHECK(p.server.post(m) == ws::posted::queued);
            expected.push_back(text);
            if (i % 7 == 0) { // of its own, between
                (co_await pairs[1].server.write("own " + std::to_string(i))).value();
            }
        }
        for (std::size_t p = 0; p < pairs.size(); ++p)
            for (int i = 0; i < 30; ++i) {
                auto const got = co_await pairs[p].client.read();
                CHECK(got.value().text() == expected[static_cast<std::size_t>(i)]);
                if (p == 1 && i % 7 == 0) {
                    auto const own = co_await pairs[p].client.read();
                    CHECK(own.value().text() == "own " + std::to_string(i));
                }
            }
        for (auto& p : pairs)
            p.server.abort();
    });
}

TEST_CASE("one message for all is counted once per loop, not once per member", "[sizes]")
{
    on_loop([]() -> task<> {
        std::vector<ws_pair> pairs;
        for (int i = 0; i < 8; ++i) {
            auto pair = co_await open_pair(kind::memory);
            pairs.push_back(std::move(pair));
        }
        for (std::size_t const size : {10U, 3000U}) {
            auto const m = ws::shared_message::text(std::string(size, 'm'));
            for (auto& p : pairs)
                CHECK(p.server.post(m) == ws::posted::queued);
            CHECK(m.rep()->references <= 3);
            for (auto& p : pairs) {
                auto const got = co_await p.client.read();
                CHECK(got.value().payload.size() == size);
            }
            co_await turns(2);
            CHECK(m.rep()->references == 1);
        }
        for (auto& p : pairs)
            p.server.abort();
    }());
}

TEST_CASE("a member that does not read holds copies of small messages, not the turns that they came in", "[sizes]")
{
    on_loop([]() -> task<> {
        auto slow = co_await raw_client(kind::memory, quiet_server(), {.small_buffers = true});
        co_await fill(slow.ws);
        auto const m = ws::shared_message::text("small");
        REQUIRE(slow.ws.post(m) == ws::posted::queued);
        auto& in = place_of(m).in;
        ++in.references;
        co_await turns(2);
        CHECK(in.references == 1); // only this test holds it
        in.release();
        slow.ws.abort();
    }());
}
