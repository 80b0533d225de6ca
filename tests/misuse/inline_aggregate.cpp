// check_coroutines: off, because the hazard is shown here on purpose.
// An owning aggregate written inside a co_await expression: g++ 12 destroys it twice.
#include "hazard.hpp"

#include <type_traits>

using namespace misuse;

namespace {

struct owning_options {
    counted name;
    int limit = 0;
};

struct constructed_options {
    constructed_options(counted n, int l) : name(std::move(n)), limit(l) {}
    counted name;
    int limit;
};

struct plain_options {
    const char* name = "";
    int limit = 0;
};
static_assert(std::is_trivially_destructible_v<plain_options>);

task by_value(owning_options) { co_return; }
task by_reference(const owning_options&) { co_return; }
task constructed(constructed_options) { co_return; }
task plain(plain_options) { co_return; }

task calls_by_value()
{
    co_await by_value(owning_options{.name = counted(), .limit = 1});
}

task calls_by_reference()
{
    co_await by_reference({.name = counted(), .limit = 1});
}

task calls_with_a_variable()
{
    owning_options options{.name = counted(), .limit = 1};
    co_await by_value(options);
}

task calls_constructed()
{
    co_await constructed(constructed_options{counted(), 1});
}

task calls_plain()
{
    co_await plain({.name = "x", .limit = 1});
}

} // namespace

int main()
{
    int bad = 0;
    bad += judge("owning aggregate by value", gcc12, runs_balanced<calls_by_value>);
    bad += judge("owning aggregate by reference", gcc12, runs_balanced<calls_by_reference>);
    bad += judge("owning aggregate in a variable", false, runs_balanced<calls_with_a_variable>);
    bad += judge("options with a constructor", false, runs_balanced<calls_constructed>);
    bad += judge("trivially destructible options", false, runs_balanced<calls_plain>);
    return bad;
}
