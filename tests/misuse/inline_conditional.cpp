// check_coroutines: off, because the hazard is shown here on purpose.
// A choice between two owning values written inside a co_await expression: g++ 12 destroys the one that was not made, too.
#include "hazard.hpp"

using namespace misuse;

namespace {

bool yes()
{
    return true;
}
counted make()
{
    return {};
}

task by_value(counted) { co_return; }

task calls_with_a_choice()
{
    co_await by_value(yes() ? make() : counted());
}

task calls_with_a_variable()
{
    counted chosen = yes() ? make() : counted();
    co_await by_value(chosen);
}

task awaits_a_choice()
{
    counted value;
    co_await (yes() ? by_value(value) : by_value(value));
}

task awaits_a_variable()
{
    counted value;
    task chosen = yes() ? by_value(value) : by_value(value);
    co_await std::move(chosen);
}

} // namespace

int main()
{
    int bad = 0;
    bad += judge("a choice as argument", gcc12, runs_balanced<calls_with_a_choice>);
    bad += judge("a choice in a variable", false, runs_balanced<calls_with_a_variable>);
    bad += judge("a choice of tasks", gcc12, runs_balanced<awaits_a_choice>);
    bad += judge("a choice of tasks in a variable", false, runs_balanced<awaits_a_variable>);
    return bad;
}
