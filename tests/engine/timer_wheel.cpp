// SPDX-License-Identifier: BSL-1.0
#include "catch.hpp"

#include "engine/timer_wheel.hpp"

#include <map>
#include <memory>
#include <random>
#include <vector>

using namespace wring;
using engine::timer_wheel;

namespace {

struct node : detail::timer_node
{
    explicit node(timer_wheel& w) : wheel(w)
    {
        fire = [](timer_node& t) noexcept {
            auto& self = static_cast<node&>(t);
            self.fired_at.push_back(self.wheel.now());
            if (self.log) self.log->push_back(self.tick);
            if (self.again > 0) {
                --self.again;
                self.wheel.arm(self, self.wheel.now() + self.every);
            }
            for (node* other : self.disarms)
                timer_wheel::disarm(*other);
        };
    }
    ~node() { timer_wheel::disarm(*this); }
    timer_wheel& wheel;
    std::vector<std::int64_t> fired_at;
    std::vector<std::int64_t>* log = nullptr;
    std::vector<node*> disarms;
    int again = 0;
    std::int64_t every = 0;
};

} // namespace

TEST_CASE("a timer fires at its tick, not before", "[timer_wheel]")
{
    timer_wheel wheel(0);
    node n(wheel);
    wheel.arm(n, 10);
    CHECK(wheel.next() <= 10);
    wheel.advance(9);
    CHECK(n.fired_at.empty());
    CHECK(n.armed());
    wheel.advance(10);
    CHECK(n.fired_at == std::vector<std::int64_t>{10});
    CHECK_FALSE(n.armed());
    CHECK(wheel.next() == timer_wheel::never);
}

TEST_CASE("ticks at and around the edges of every level", "[timer_wheel]")
{
    for (std::int64_t start :
         {0L, 1L, 63L, 64L, 4095L, 4097L, (1L << 24) - 1, (1L << 36) - 5, 1L << 36, (5L << 36) + 77}) {
        for (unsigned level = 0; level <= 7; ++level) {
            for (std::int64_t around = -2; around <= 2; ++around) {
                std::int64_t const tick = start + (std::int64_t{1} << (6 * level)) + around;
                if (tick <= start) continue;
                timer_wheel wheel(start);
                node n(wheel);
                wheel.arm(n, tick);
                INFO(start << " " << tick);
                wheel.advance(tick - 1);
                CHECK(n.armed());
                CHECK(wheel.next() == tick);
                wheel.advance(tick);
                CHECK(n.fired_at == std::vector<std::int64_t>{tick});
            }
        }
    }
}

TEST_CASE("the next tick leads to the timer, however far away it is", "[timer_wheel]")
{
    for (std::int64_t tick : {1L, 64L, 100'000L, 1L << 35, (1L << 36) + 12345, 1L << 45, (1L << 50) + 1}) {
        timer_wheel wheel(0);
        node n(wheel);
        wheel.arm(n, tick);
        int steps = 0;
        while (n.armed()) {
            std::int64_t const next = wheel.next();
            REQUIRE(next > wheel.now());
            REQUIRE(next <= tick);
            wheel.advance(next);
            REQUIRE(++steps < 100'000);
        }
        CHECK(n.fired_at == std::vector<std::int64_t>{tick});
    }
}

TEST_CASE("a timer in the past fires in the next advance", "[timer_wheel]")
{
    timer_wheel wheel(1000);
    node past(wheel), now(wheel);
    wheel.arm(past, 3);
    wheel.arm(now, 1000);
    CHECK(wheel.next() <= 1000);
    CHECK(past.fired_at.empty());
    wheel.advance(1000);
    CHECK(past.fired_at.size() == 1);
    CHECK(now.fired_at.size() == 1);
}

TEST_CASE("arming again moves a timer", "[timer_wheel]")
{
    timer_wheel wheel(0);
    node n(wheel);
    wheel.arm(n, 10);
    wheel.arm(n, 100'000);
    wheel.advance(99'999);
    CHECK(n.fired_at.empty());
    wheel.arm(n, 100'001);
    wheel.advance(200'000);
    CHECK(n.fired_at == std::vector<std::int64_t>{100'001});
}

TEST_CASE("a timer that arms itself fires again at each of its ticks", "[timer_wheel]")
{
    timer_wheel wheel(0);
    node n(wheel);
    n.again = 4;
    n.every = 63;
    wheel.arm(n, 1);
    wheel.advance(1000);
    CHECK(n.fired_at == std::vector<std::int64_t>{1, 64, 127, 190, 253});
}

TEST_CASE("a timer that arms itself for now or for the past waits for the next advance", "[timer_wheel]")
{
    for (std::int64_t every : {0L, -5L}) {
        timer_wheel wheel(0);
        node n(wheel);
        n.again = 2;
        n.every = every;
        wheel.arm(n, 5);
        wheel.advance(5);
        CHECK(n.fired_at.size() == 1);
        wheel.advance(5);
        CHECK(n.fired_at.size() == 2);
        wheel.advance(6);
        CHECK(n.fired_at.size() == 3);
        CHECK_FALSE(n.armed());
    }
}

TEST_CASE("a timer may disarm others that are due with it", "[timer_wheel]")
{
    timer_wheel wheel(0);
    node a(wheel), b(wheel), c(wheel);
    a.disarms = {&b, &c};
    b.disarms = {&a, &c};
    c.disarms = {&a, &b};
    for (node* n : {&a, &b, &c})
        wheel.arm(*n, 7);
    wheel.advance(7);
    CHECK(a.fired_at.size() + b.fired_at.size() + c.fired_at.size() == 1);
    for (node* n : {&a, &b, &c}) {
        CHECK_FALSE(n->armed());
        n->fired_at.clear();
        wheel.arm(*n, 2);
    }
    wheel.advance(8);
    CHECK(a.fired_at.size() + b.fired_at.size() + c.fired_at.size() == 1);
}

TEST_CASE("a wheel that is destroyed disarms its timers", "[timer_wheel]")
{
    auto wheel = std::make_unique<timer_wheel>(0);
    node a(*wheel), b(*wheel), c(*wheel), d(*wheel);
    wheel->arm(a, 0);
    wheel->arm(b, 1);
    wheel->arm(c, 1);
    wheel->arm(d, 1L << 40);
    wheel.reset();
    for (node* n : {&a, &b, &c, &d})
        CHECK_FALSE(n->armed());
}

TEST_CASE("random operations agree with a sorted map", "[timer_wheel]")
{
    for (unsigned seed = 1; seed <= 30; ++seed) {
        INFO("seed " << seed);
        std::mt19937_64 random(seed);
        std::int64_t const start = static_cast<std::int64_t>(random() % 3 * (random() % (1UL << 37)));
        timer_wheel wheel(start);
        std::vector<std::int64_t> fired;
        std::vector<std::unique_ptr<node>> nodes;
        for (int i = 0; i < 200; ++i) {
            nodes.push_back(std::make_unique<node>(wheel));
            nodes.back()->log = &fired;
        }
        std::multimap<std::int64_t, node*> model;
        auto forget = [&](node* n) {
            for (auto it = model.begin(); it != model.end(); ++it)
                if (it->second == n) {
                    model.erase(it);
                    return;
                }
        };
        std::int64_t now = start;
        for (int i = 0; i < 3000; ++i) {
            node* const n = nodes[random() % nodes.size()].get();
            switch (random() % 8) {
            case 0:
                timer_wheel::disarm(*n);
                forget(n);
                break;
            case 1: {
                std::int64_t const next = wheel.next();
                if (model.empty())
                    REQUIRE(next == timer_wheel::never);
                else
                    REQUIRE(next <= std::max(now, model.begin()->first));
                std::int64_t const step = static_cast<std::int64_t>(random() % (1UL << (random() % 40)));
                now += random() % 4 == 0 && next != timer_wheel::never ? std::max<std::int64_t>(0, next - now) : step;
                fired.clear();
                wheel.advance(now);
                REQUIRE(wheel.now() == now);
                std::vector<std::int64_t> due;
                while (!model.empty() && model.begin()->first <= now) {
                    REQUIRE_FALSE(model.begin()->second->armed());
                    due.push_back(model.begin()->first);
                    model.erase(model.begin());
                }
                REQUIRE(fired == due);
                for (auto const& [tick, waiting] : model)
                    REQUIRE(waiting->armed());
                break;
            }
            default: {
                std::int64_t const tick = now + 1 + static_cast<std::int64_t>(random() % (1UL << (random() % 46)));
                forget(n);
                wheel.arm(*n, tick);
                model.emplace(tick, n);
            }
            }
        }
    }
}
