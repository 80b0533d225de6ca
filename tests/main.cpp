// The runner shared by all test programs. Beside Catch's own report it writes one line per started and per ended test case to
// the file named by WRING_TEST_LOG, so that a crash or a hang still tells which case it was in and how many had passed.
#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_session.hpp>
#include <catch2/catch_test_case_info.hpp>
#include <catch2/reporters/catch_reporter_event_listener.hpp>
#include <catch2/reporters/catch_reporter_registrars.hpp>
using listener_base = Catch::EventListenerBase;
#else
#define CATCH_CONFIG_RUNNER
#define CATCH_CONFIG_EXTERNAL_INTERFACES
#include <catch2/catch.hpp>
using listener_base = Catch::TestEventListenerBase;
#endif

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>

#include <fcntl.h>
#include <unistd.h>

namespace {

class case_log : public listener_base {
public:
    using listener_base::listener_base;

    void testCaseStarting(const Catch::TestCaseInfo& info) override
    {
        started_ = std::chrono::steady_clock::now();
        note("start", info.name);
    }

    void testCaseEnded(const Catch::TestCaseStats& stats) override
    {
        const std::chrono::duration<double> took = std::chrono::steady_clock::now() - started_;
        note(verdict(stats.totals.testCases), name_of(stats.testInfo), took.count());
    }

private:
    static const std::string& name_of(const Catch::TestCaseInfo& info) { return info.name; }      // Catch2 2
    static const std::string& name_of(const Catch::TestCaseInfo* info) { return info->name; }     // Catch2 3

    static const char* verdict(const Catch::Counts& cases)
    {
        if (cases.failed != 0) return "fail";
#if __has_include(<catch2/catch_all.hpp>)
        if (cases.skipped != 0) return "skip";
#endif
        return "pass";
    }

    static void note(const char* what, const std::string& name, double seconds = 0)
    {
        const char* path = std::getenv("WRING_TEST_LOG");
        if (path == nullptr) return;
        const int fd = ::open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
        if (fd < 0) return;
        const std::string line = std::string(what) + '\t' + std::to_string(seconds) + '\t' + name + '\n';
        if (::write(fd, line.data(), line.size()) < 0) std::perror(path);
        ::close(fd);
    }

    std::chrono::steady_clock::time_point started_{};
};

CATCH_REGISTER_LISTENER(case_log)

} // namespace

int main(int argc, char** argv)
{
    return Catch::Session().run(argc, argv);
}
