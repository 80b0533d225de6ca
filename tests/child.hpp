// SPDX-License-Identifier: BSL-1.0
// Runs a piece of a test in a forked child: for what ends a process, or changes it for good.
#pragma once

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string>

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

namespace wring::test {

struct child_end
{
    int status = 0;
    std::string output; ///< standard error

    [[nodiscard]] bool exited_with(int code) const { return WIFEXITED(status) && WEXITSTATUS(status) == code; }
    [[nodiscard]] bool aborted() const { return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT; }
    [[nodiscard]] bool says(char const* text) const { return output.find(text) != std::string::npos; }
};

/// `body()` gives the exit status. A child that hangs is killed after a minute.
template <class F>
child_end in_child(F body)
{
    int ends[2];
    if (::pipe(ends) != 0) throw std::runtime_error("pipe");
    std::fflush(nullptr);
    pid_t const child = ::fork();
    if (child == 0) {
        ::dup2(ends[1], STDERR_FILENO);
        ::close(ends[0]);
        ::close(ends[1]);
        for (int number : {SIGINT, SIGTERM, SIGABRT, SIGSEGV, SIGILL, SIGFPE, SIGHUP}) // the runner's
            std::signal(number, SIG_DFL);
        rlimit const none{0, 0};
        ::setrlimit(RLIMIT_CORE, &none);
        ::alarm(60);
        int const status = body();
        std::fflush(nullptr);
        ::_exit(status);
    }
    ::close(ends[1]);
    child_end end;
    char part[4096];
    for (ssize_t n = 0; (n = ::read(ends[0], part, sizeof part)) > 0;)
        end.output.append(part, static_cast<std::size_t>(n));
    ::close(ends[0]);
    ::waitpid(child, &end.status, 0);
    return end;
}

/// Runs one test case, a hidden one, in a process of its own: for what must be said before anything has started.
inline child_end in_fresh_process(char const* test_case)
{
    return in_child([test_case] {
        ::unsetenv("WRING_TEST_LOG");
        // What is refused to such a process the leak checker of ASan may need: a thread.
        char const* const asan = std::getenv("ASAN_OPTIONS");
        ::setenv("ASAN_OPTIONS", ((asan ? std::string(asan) + ":" : "") + "detect_leaks=0").c_str(), 1);
        ::dup2(STDERR_FILENO, STDOUT_FILENO); // Catch's report
        ::execl("/proc/self/exe", "/proc/self/exe", test_case, nullptr);
        return 127;
    });
}

} // namespace wring::test
