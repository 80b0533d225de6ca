// SPDX-License-Identifier: BSL-1.0
#include "engine/engine.hpp"
#include "engine/uring/ring.hpp"

#include <cerrno>
#include <fcntl.h>
#include <sys/socket.h>
#include <system_error>
#include <unistd.h>

namespace wring::engine {

namespace {

struct socket_pair
{
    socket_pair()
    {
        if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0)
            throw std::system_error(errno, std::system_category(), "socketpair");
    }
    ~socket_pair()
    {
        ::close(fds[0]);
        ::close(fds[1]);
    }
    int fds[2];
};

[[noreturn]] void refuse(int error, char const* cause)
{
    throw std::system_error(error, std::system_category(), cause);
}

io_uring_cqe next_completion(io_uring* ring)
{
    __kernel_timespec limit{2, 0};
    io_uring_cqe* cqe = nullptr;
    int const error = io_uring_submit_and_wait_timeout(ring, &cqe, 1, &limit, nullptr);
    if (error < 0 || !cqe)
        refuse(error < 0 ? -error : ETIME, "the self-test got no completion");
    io_uring_cqe const copy = *cqe;
    io_uring_cqe_seen(ring, cqe);
    return copy;
}

void check_opcodes(io_uring* ring)
{
    io_uring_probe* probe = io_uring_get_probe_ring(ring);
    if (!probe)
        refuse(ENOSYS, "the kernel can't say what it supports");
    bool good = true;
    for (int opcode : {IORING_OP_ACCEPT, IORING_OP_CONNECT, IORING_OP_RECV, IORING_OP_SEND, IORING_OP_SENDMSG,
                       IORING_OP_POLL_ADD, IORING_OP_POLL_REMOVE, IORING_OP_ASYNC_CANCEL})
        good = good && io_uring_opcode_supported(probe, opcode);
    io_uring_free_probe(probe);
    if (!good)
        refuse(EOPNOTSUPP, "the kernel lacks an operation that is needed");
}

/// Receives through a multishot receive, then cancels it: what every connection does.
void check_receive(io_uring* ring, buffer_ring& buffers)
{
    socket_pair pair;
    io_uring_sqe* sqe = io_uring_get_sqe(ring);
    io_uring_prep_recv_multishot(sqe, pair.fds[0], nullptr, 0, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = buffer_ring::group;
    io_uring_sqe_set_data64(sqe, 1);
    if (::send(pair.fds[1], "wring", 5, MSG_NOSIGNAL) != 5)
        refuse(errno, "the self-test could not send");
    io_uring_cqe const got = next_completion(ring);
    if (got.res < 0)
        refuse(-got.res, "multishot receive is not supported");
    if (got.res != 5 || !(got.flags & IORING_CQE_F_BUFFER) || !(got.flags & IORING_CQE_F_MORE))
        refuse(EOPNOTSUPP, "multishot receive does not work");
    release(buffers.take(static_cast<unsigned short>(got.flags >> IORING_CQE_BUFFER_SHIFT), 5));
    buffers.publish();

    sqe = io_uring_get_sqe(ring);
    io_uring_prep_cancel64(sqe, 1, 0);
    io_uring_sqe_set_data64(sqe, 2);
    bool canceled = false;
    for (int i = 0; i < 2; ++i) {
        io_uring_cqe const cqe = next_completion(ring);
        canceled = canceled || (cqe.user_data == 1 && cqe.res == -ECANCELED);
    }
    if (!canceled)
        refuse(EOPNOTSUPP, "a multishot receive can't be canceled");
}

std::string hint(int error, char const* what)
{
    int setting = 0;
    if (int const fd = ::open("/proc/sys/kernel/io_uring_disabled", O_RDONLY | O_CLOEXEC); fd >= 0) {
        char text = '0';
        if (::read(fd, &text, 1) == 1)
            setting = text - '0';
        ::close(fd);
    }
    if (error == EPERM && setting != 0)
        return "the sysctl kernel.io_uring_disabled is " + std::to_string(setting);
    if (error == EPERM)
        return "blocked by a seccomp filter, as containers have it by default";
    if (error == ENOSYS)
        return "this kernel or sandbox has no io_uring";
    if (error == ENOMEM)
        return "not enough memory may be locked, see ulimit -l";
    return what;
}

refusal probe() noexcept
{
    try {
        block_pool blocks(256);
        ring r(8, 16);
        check_opcodes(r.get());
        buffer_ring buffers(r.get(), 2, blocks);
        check_receive(r.get(), buffers);
    } catch (std::system_error const& e) {
        return explain(e);
    } catch (std::bad_alloc const&) {
        return {ENOMEM, "out of memory"};
    }
    return {};
}

} // namespace

refusal explain(std::system_error const& e)
{
    return {e.code().value(), hint(e.code().value(), e.what())};
}

refusal const& probe_uring()
{
    static refusal const once = probe();
    return once;
}

} // namespace wring::engine
