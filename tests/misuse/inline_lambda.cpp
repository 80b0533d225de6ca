// check_coroutines: off, because the hazard is shown here on purpose.
// A lambda that captures an owning value, written inside a co_await expression: g++ 12 destroys the capture twice.
#include "hazard.hpp"

using namespace misuse;

namespace {

template <class Function> task call(Function f)
{
    f();
    co_return;
}

task with_inline_lambda()
{
    counted value;
    co_await call([value] { (void)value; });
}

task with_named_lambda()
{
    counted value;
    auto function = [value] { (void)value; };
    co_await call(function);
}

task with_reference_capture()
{
    counted value;
    co_await call([&value] { (void)value; });
}

} // namespace

int main()
{
    int bad = 0;
    bad += judge("inline lambda, owning capture", gcc12, runs_balanced<with_inline_lambda>);
    bad += judge("named lambda, owning capture", false, runs_balanced<with_named_lambda>);
    bad += judge("inline lambda, reference capture", false, runs_balanced<with_reference_capture>);
    return bad;
}
