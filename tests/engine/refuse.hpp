// SPDX-License-Identifier: BSL-1.0
// Seccomp filters that refuse system calls to this process and its children: io_uring, as container runtimes do, and
// others.
#pragma once

#include <cerrno>
#include <cstddef>
#include <initializer_list>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <vector>

namespace wring::test {

inline bool install(std::vector<sock_filter>& code) noexcept
{
    sock_fprog const program{static_cast<unsigned short>(code.size()), code.data()};
    return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) == 0;
}

constexpr unsigned refused_with(int error) noexcept
{
    return SECCOMP_RET_ERRNO | (static_cast<unsigned>(error) & SECCOMP_RET_DATA);
}

/// Every call of these fails with `error`.
inline bool refuse_calls(int error, std::initializer_list<unsigned> numbers)
{
    std::vector<sock_filter> code{BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr))};
    for (unsigned number : numbers) {
        code.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1));
        code.push_back(BPF_STMT(BPF_RET | BPF_K, refused_with(error)));
    }
    code.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
    return install(code);
}

inline bool refuse_uring(int error)
{
    return refuse_calls(error, {__NR_io_uring_setup, __NR_io_uring_enter, __NR_io_uring_register});
}

inline bool refuse_threads()
{
    return refuse_calls(EAGAIN, {__NR_clone, __NR_clone3});
}

/// Calls of io_uring_register with this operation fail with `error`.
inline bool refuse_uring_register(unsigned operation, int error)
{
    std::vector<sock_filter> code{
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_io_uring_register, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, args[1])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, operation, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, refused_with(error)),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    return install(code);
}

} // namespace wring::test
