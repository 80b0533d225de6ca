// A minimal coroutine type, none of wring's, to show what a compiler makes of a construct, and the judge of it.
#pragma once

#include <coroutine>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <utility>

#include <sys/wait.h>
#include <unistd.h>

namespace misuse {

struct task {
    struct promise_type {
        bool done = false;
        std::coroutine_handle<> waiter = std::noop_coroutine();

        task get_return_object() { return task{std::coroutine_handle<promise_type>::from_promise(*this)}; }
        std::suspend_always initial_suspend() noexcept { return {}; }
        struct finish {
            bool await_ready() noexcept { return false; }
            std::coroutine_handle<> await_suspend(std::coroutine_handle<promise_type> me) noexcept
            {
                me.promise().done = true;
                return me.promise().waiter;
            }
            void await_resume() noexcept {}
        };
        finish final_suspend() noexcept { return {}; }
        void return_void() {}
        void unhandled_exception() { std::terminate(); }
    };

    explicit task(std::coroutine_handle<promise_type> h) : handle(h) {}
    task(task&& other) noexcept : handle(std::exchange(other.handle, {})) {}
    task(const task&) = delete;
    task& operator=(task) = delete;
    ~task()
    {
        if (handle) handle.destroy();
    }

    bool await_ready() { return false; }
    std::coroutine_handle<> await_suspend(std::coroutine_handle<> h)
    {
        handle.promise().waiter = h;
        return handle;
    }
    void await_resume() {}

    // Runs a root task that never waits for anything outside; tells whether it came to its end.
    bool run()
    {
        handle.resume();
        return handle.promise().done;
    }

    std::coroutine_handle<promise_type> handle;
};

// An awaitable that is ready at once.
template <class T> struct ready {
    T value;
    bool await_ready() const { return true; }
    void await_suspend(std::coroutine_handle<>) const {}
    T await_resume() const { return value; }
};

// Counts its constructions and destructions; owns nothing, so that a double destruction is a number and not a crash.
struct counted {
    static inline int made = 0;
    static inline int destroyed = 0;
    counted() { ++made; }
    counted(const counted&) { ++made; }
    counted(counted&&) noexcept { ++made; }
    counted& operator=(const counted&) = default;
    counted& operator=(counted&&) = default;
    ~counted() { ++destroyed; }
    static bool balanced() { return made == destroyed; }
};

// Whether a coroutine comes to its end and has then destroyed whatever it made, once.
template <task (*Coroutine)()> bool runs_balanced()
{
    bool ended = false;
    {
        task root = Coroutine();
        ended = root.run();
    }
    return ended && counted::balanced();
}

#if defined(__clang__)
inline constexpr const char* compiler = "clang " __clang_version__;
inline constexpr bool gcc12 = false;
inline constexpr bool measured = __clang_major__ == 19;
#else
inline constexpr const char* compiler = "g++ " __VERSION__;
inline constexpr bool gcc12 = __GNUC__ == 12;
inline constexpr bool measured = __GNUC__ == 12;
#endif

// Runs the construct in a child process, because a miscompiled coroutine may also crash or hang, and says what came of it.
// 0: as the standard says, or wrong on a compiler that is known for it or was never measured; 1: newly wrong.
template <class Function> int judge(const char* what, bool known_wrong_here, Function construct)
{
    std::fflush(nullptr);
    const pid_t child = ::fork();
    if (child < 0) {
        std::perror("fork");
        return 1;
    }
    if (child == 0) {
        ::alarm(10);
        std::_Exit(construct() ? 0 : 42);
    }
    int status = 0;
    if (::waitpid(child, &status, 0) != child) {
        std::perror("waitpid");
        return 1;
    }
    const bool right = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    std::printf("%s: %s: %s", compiler, what, right ? "right" : "wrong");
    if (WIFSIGNALED(status)) std::printf(" (signal %d)", WTERMSIG(status));
    if (right && known_wrong_here) std::printf("; this compiler was known to get it wrong: the rule may be dropped for it");
    if (!right && !known_wrong_here) std::printf("; not known before: README.md and tools/check_coroutines.py should say so");
    std::printf("\n");
    return right || known_wrong_here || !measured ? 0 : 1;
}

} // namespace misuse
