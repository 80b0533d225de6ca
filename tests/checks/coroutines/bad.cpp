// Each line with "expect: RULE" must be flagged by tools/check_coroutines.py, and no other.
struct send_options { int limit = 0; };                                  // expect: options
struct read_options { int limit = 0; };
static_assert(std::is_trivially_destructible_v<read_options>);

struct owner {
    std::string name;
    int limit = 0;
};
struct holder { owner inner; };
struct made {
    made(std::string n) : name(n) {}
    std::string name;
};

task<> no_local_while(source& s)
{
    while (co_await s.next()) co_await s.work();                         // expect: no-local
}

task<> no_local_if(source& s)
{
    if (!co_await s.write("auto x = 1;")) co_return;                     // expect: no-local
}

task<> no_local_switch(source& s)
{
    switch (co_await s.kind()) {                                         // expect: no-local
    case 1: co_await s.work(); break;
    default: co_return;
    }
}

task<int> no_local_template(source& s) noexcept
    requires true
{
    s.start();
    if (co_await s.next()) co_return 1;                                  // expect: no-local
    co_return 2;
}

auto a_lambda = [](source& s) -> task<> {
    while (co_await s.next()) s.work();                                  // expect: no-local
};

task<> outer(source& s)
{
    auto inner = [](source& t) -> task<> { if (co_await t.next()) t.work(); };   // expect: no-local
    while (co_await s.next()) co_await inner(s);
}

task<> local_in_condition(source& s)
{
    while (auto frame = co_await s.read()) {
        if (!co_await s.write(*frame)) break;
    }
}

task<> local_before(source& s)
{
    std::vector<std::pair<int, int>> list;
    if (co_await s.next()) list.clear();
}

task<> alias_before(source& s)
{
    using namespace std::chrono_literals;
    if (co_await s.next()) co_await s.wait(1s);
}

task<> pointer_inside(source& s)
{
    if (co_await s.next()) {
        const char* const text = "x";
        s.put(text);
    }
}

task<> binding(source& s)
{
    auto& [a, b] = s.pair;
    if (co_await s.next(a)) s.put(b);
}

task<> no_condition(source& s)
{
    co_await s.next();
}

task<> excused(source& s)
{
    // check_coroutines: ok, compiled by clang only
    if (co_await s.next()) co_return;
}

task<> aggregates(source& s, std::string text)
{
    int count = 0;
    co_await s.open(owner{.name = text, .limit = 1});                    // expect: aggregate
    auto r = (co_await s.open(holder{{text, 1}})).value();               // expect: aggregate
    co_await s.open({.name = std::string("x")});                         // expect: aggregate
    if (!co_await s.open({.name = std::move(text), .limit = count})) co_return;   // expect: aggregate
    co_await s.open({.limit = 1});
    co_await s.connect("wss://example.org", {.subprotocols = "chat"});
    co_await s.open(made{text});
    const owner named{.name = text};
    co_await s.open(named);
    count = {3};
    (void)r;
}

task<> lambdas(source& s, std::string text)
{
    int count = 0;
    co_await s.call([text] { return text.size(); });                     // expect: lambda
    co_await s.call(1, [=]() mutable { return count; });                 // expect: lambda
    co_await s.call([&count, t = text] { count = 1; });                  // expect: lambda
    co_await s.call([&] { ++count; });
    co_await s.call([] { return 1; });
    auto named = [text] { return text.size(); };
    co_await s.call(named);
    co_await s.items[count];
}

task<> spawns(scope& children, source& s)
{
    int count = 0;
    children.spawn([&]() -> task<> { co_await s.next(); }());            // expect: spawn
    children.spawn(work([&s] { return s.next(); }));                     // expect: spawn
    children.spawn([](source& t) -> task<> { co_await t.next(); }(s));
    children.spawn(work(s, count));
    co_await children.join();
}

task<> chooses_in_place(source& s, bool big)
{
    auto first = co_await s.pass(big ? s.one() : s.other());             // expect: choice
    co_await (big ? s.one() : s.other());                                // expect: choice
    auto last = co_await s.pass(1, big ? std::string{"x"} : s.name, 2);  // expect: choice
}

task<> chooses_soundly(source& s, bool big)
{
    auto chosen = big ? s.one() : s.other();
    co_await std::move(chosen);
    co_await s.pass(big ? 1 : 2, s.name());
    co_await s.write(big ? std::string_view("x") : std::string_view(s.text));
    auto size = co_await s.size() ? s.one() : s.other();
    co_await s.refuse(big ? errc::one : errc::other);
}
