// SPDX-License-Identifier: BSL-1.0
#include "catch.hpp"

#include "engine/operation_list.hpp"

#include <vector>

using namespace wring;

namespace {

struct idle final : engine::operation
{
    idle() : operation([](operation&, engine::completion const&) noexcept {}) {}
};

std::vector<engine::operation*> all_of(engine::operation_list const& list)
{
    std::vector<engine::operation*> all;
    for (auto* op = list.first(); op; op = list.after(*op))
        all.push_back(op);
    return all;
}

} // namespace

TEST_CASE("a list of operations is a FIFO that each can leave", "[engine]")
{
    idle a, b, c, d;
    engine::operation_list list;
    CHECK(list.empty());
    CHECK(list.pop() == nullptr);
    for (auto* op : {&a, &b, &c, &d})
        list.push(*op);
    list.push(b); // stays where it is
    CHECK(all_of(list) == std::vector<engine::operation*>{&a, &b, &c, &d});
    CHECK(b.listed());
    engine::operation_list::remove(b);
    engine::operation_list::remove(b);
    CHECK_FALSE(b.listed());
    CHECK(all_of(list) == std::vector<engine::operation*>{&a, &c, &d});
    engine::operation_list::remove(d);
    engine::operation_list::remove(a);
    list.push(b);
    CHECK(list.pop() == &c);
    CHECK(list.pop() == &b);
    CHECK(list.empty());
    list.push(a);
    CHECK(all_of(list) == std::vector<engine::operation*>{&a});

    engine::operation_list other;
    other.push(c);
    other.push(d);
    list.append(other);
    CHECK(other.empty());
    CHECK(all_of(list) == std::vector<engine::operation*>{&a, &c, &d});
    list.append(other);
    while (list.pop()) {
    }
}
