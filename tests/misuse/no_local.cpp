// check_coroutines: off, because the hazard is shown here on purpose.
// A coroutine with no variable in its body and a co_await in a condition: g++ 12 never runs the body.
#include "hazard.hpp"

using namespace misuse;

namespace {

int turns = 0;
int works = 0;

ready<bool> next() { return {++turns <= 3}; }
ready<int> work() { return {++works}; }

task in_while()
{
    while (co_await next()) co_await work();
}

task in_if()
{
    if (co_await next()) co_await work();
}

task in_switch()
{
    switch (co_await work()) {
    case 1: co_await work(); break;
    default: break;
    }
}

task with_local()
{
    while ([[maybe_unused]] auto more = co_await next()) co_await work();
}

} // namespace

int main()
{
    int bad = 0;
    bad += judge("no local, co_await in while", gcc12, [] { return in_while().run() && works == 3; });
    bad += judge("no local, co_await in if", gcc12, [] { return in_if().run() && works == 1; });
    bad += judge("no local, co_await in switch", gcc12, [] { return in_switch().run() && works == 2; });
    bad += judge("a local in the condition", false, [] { return with_local().run() && works == 3; });
    return bad;
}
