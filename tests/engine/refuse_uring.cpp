// SPDX-License-Identifier: BSL-1.0
// refuse_uring EPERM|ENOSYS PROGRAM ARGUMENTS...: runs a program where io_uring is refused.
#include "engine/refuse.hpp"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <unistd.h>

int main(int argc, char** argv)
{
    if (argc < 3) {
        std::fprintf(stderr, "usage: %s EPERM|ENOSYS PROGRAM ARGUMENTS...\n", argv[0]);
        return 2;
    }
    if (!wring::test::refuse_uring(std::string_view(argv[1]) == "ENOSYS" ? ENOSYS : EPERM)) {
        std::perror("installing a seccomp filter");
        return 2;
    }
    ::unsetenv("WRING_ENGINE");
    ::setenv("WRING_TEST_REFUSED", argv[1], 1); // tests that name their engine name the other one
    ::execv(argv[2], argv + 2);
    std::perror(argv[2]);
    return 2;
}
