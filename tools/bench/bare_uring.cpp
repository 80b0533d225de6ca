// SPDX-License-Identifier: BSL-1.0
// The other floor: a TCP echo on io_uring that parses nothing. Multishot accept, multishot receive on a
// provided-buffer ring, one send in flight per socket straight out of the receive buffer, one enter per turn.
// Compiles with liburing 2.3; runs on Linux 6.0 and later, at its best from 6.1.
#include "common.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <deque>
#include <liburing.h>
#include <memory>
#include <sys/mman.h>
#include <utility>
#include <vector>

namespace {

// Only the thread that made the ring uses it, so the kernel may run completions inside our own enter (6.1); then what
// older kernels take.
constexpr unsigned common_flags = IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CLAMP | IORING_SETUP_CQSIZE;
constexpr unsigned rungs[] = {
    IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG | common_flags,
    IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG | common_flags,
    IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG | common_flags,
};

enum class op : std::uint8_t
{
    accept,
    receive,
    send,
    cancel
};

std::uint64_t tag(op what, int fd)
{
    return static_cast<std::uint64_t>(what) << 32 | static_cast<std::uint32_t>(fd);
}

struct options : bench::server_options
{
    unsigned buffers = 256;
    unsigned buffer_size = 64 * 1024;
    unsigned inline_below = 16; // completions in a turn below which a send is a plain system call
    bool fixed_files = true;
};

// A piece of a receive buffer on its way out. `id` is the buffer, which in a broadcast several connections share.
struct piece
{
    std::uint16_t id;
    std::uint32_t offset;
    std::uint32_t length;
};

struct connection
{
    bool open = false;
    bool closed = false; // the descriptor is gone
    bool fixed = false;  // the descriptor is registered, at the index of its own number
    bool receiving = false;
    bool sending = false; // its SQE is with the kernel: `current` must not move
    bool starved = false; // waits for buffers
    piece current{};
    std::unique_ptr<std::deque<piece>> queue; // behind `current`
};

class server
{
public:
    explicit server(const options& o)
        : options_(o), listener_(bench::listen_on(o.bind, false)),
          queue_limit_(o.broadcast ? o.buffers / 2 : o.buffers / 8), ring_target_(std::min(32u, o.buffers)),
          references_(o.buffers, 0)
    {
        make_ring();
        make_buffers();
        arm_accept();
        bench::announce("tcp", bench::local_name(listener_));
    }

    [[noreturn]] void run()
    {
        for (;;) {
            int r = io_uring_submit_and_wait(&ring_, 1);
            if (r < 0 && r != -EINTR && r != -EAGAIN && r != -EBUSY) fail("io_uring_enter", r);
            few_ready_ = io_uring_cq_ready(&ring_) < options_.inline_below;
            unsigned head = 0, seen = 0;
            io_uring_cqe* cqe = nullptr;
            io_uring_for_each_cqe(&ring_, head, cqe)
            {
                handle(*cqe);
                ++seen;
            }
            io_uring_cq_advance(&ring_, seen);
            give_back_buffers();
        }
    }

private:
    [[noreturn]] static void fail(const char* what, int error)
    {
        errno = -error;
        bench::die_errno(what);
    }

    void make_ring()
    {
        int r = -EINVAL;
        for (unsigned flags : rungs) {
            io_uring_params p{};
            p.flags = flags;
            p.cq_entries = 32768;
            r = io_uring_queue_init_params(1024, &ring_, &p);
            if (r == 0) break;
            if (r != -EINVAL) break;
        }
        if (r != 0) fail("io_uring_queue_init (a seccomp filter or kernel.io_uring_disabled refuses it?)", r);
        io_uring_register_ring_fd(&ring_);
        if (options_.fixed_files) {
            rlimit lim{};
            getrlimit(RLIMIT_NOFILE, &lim);
            fixed_slots_ = static_cast<unsigned>(lim.rlim_cur < 65536 ? lim.rlim_cur : 65536);
            if (io_uring_register_files_sparse(&ring_, fixed_slots_) != 0) fixed_slots_ = 0;
        }
    }

    void make_buffers()
    {
        auto ring_bytes = options_.buffers * sizeof(io_uring_buf);
        void* ring = mmap(nullptr, ring_bytes, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | MAP_PRIVATE, -1, 0);
        void* bytes = mmap(nullptr, std::size_t{options_.buffers} * options_.buffer_size, PROT_READ | PROT_WRITE,
                           MAP_ANONYMOUS | MAP_PRIVATE, -1, 0);
        if (ring == MAP_FAILED || bytes == MAP_FAILED) bench::die_errno("mmap");
        buffer_ring_ = static_cast<io_uring_buf_ring*>(ring);
        bytes_ = static_cast<char*>(bytes);
        io_uring_buf_reg reg{};
        reg.ring_addr = reinterpret_cast<std::uint64_t>(ring);
        reg.ring_entries = options_.buffers;
        if (int r = io_uring_register_buf_ring(&ring_, &reg, 0); r != 0) fail("io_uring_register_buf_ring", r);
        io_uring_buf_ring_init(buffer_ring_);
        for (unsigned i = options_.buffers; i-- > 0;)
            spare_.push_back(static_cast<std::uint16_t>(i));
        give_back_buffers();
    }

    io_uring_sqe* sqe()
    {
        auto* s = io_uring_get_sqe(&ring_);
        while (s == nullptr) { // full: what is there goes out first
            io_uring_submit(&ring_);
            s = io_uring_get_sqe(&ring_);
        }
        return s;
    }

    void arm_accept()
    {
        auto* s = sqe();
        io_uring_prep_multishot_accept(s, listener_, nullptr, nullptr, SOCK_CLOEXEC);
        s->user_data = tag(op::accept, listener_);
    }

    void arm_receive(int fd)
    {
        auto& c = at(fd);
        auto* s = sqe();
        io_uring_prep_recv_multishot(s, fd, nullptr, 0, 0);
        s->flags |= static_cast<std::uint8_t>(IOSQE_BUFFER_SELECT | (c.fixed ? IOSQE_FIXED_FILE : 0u));
        s->buf_group = 0;
        s->user_data = tag(op::receive, fd);
        c.receiving = true;
    }

    // May miss a receive that is just being run. Then more data comes and asks again.
    void cancel_receive(int fd)
    {
        auto* s = sqe();
        io_uring_prep_cancel64(s, tag(op::receive, fd), 0);
        s->flags |= IOSQE_CQE_SKIP_SUCCESS;
        s->user_data = tag(op::cancel, fd);
    }

    void start_send(int fd)
    {
        auto& c = at(fd);
        auto* s = sqe();
        // MSG_WAITALL: the kernel goes on after a short write by itself, one completion ends it.
        io_uring_prep_send(s, fd, data(c.current), c.current.length, MSG_NOSIGNAL | MSG_WAITALL);
        if (c.fixed) s->flags |= IOSQE_FIXED_FILE;
        s->user_data = tag(op::send, fd);
        c.sending = true;
    }

    void handle(const io_uring_cqe& cqe)
    {
        int fd = static_cast<int>(static_cast<std::uint32_t>(cqe.user_data));
        switch (static_cast<op>(cqe.user_data >> 32)) {
        case op::accept:
            return accepted(cqe);
        case op::receive:
            return received(fd, cqe);
        case op::send:
            return sent(fd, cqe.res);
        case op::cancel:
            return; // only the canceled operation's own completion means anything
        }
    }

    void accepted(const io_uring_cqe& cqe)
    {
        if (!(cqe.flags & IORING_CQE_F_MORE)) arm_accept();
        if (cqe.res < 0) {
            if (cqe.res != -ECONNABORTED) std::fprintf(stderr, "accept: %s\n", std::strerror(-cqe.res));
            return;
        }
        int fd = cqe.res;
        if (static_cast<std::size_t>(fd) >= connections_.size())
            connections_.resize(static_cast<std::size_t>(fd) + 1024);
        auto& c = at(fd);
        c = connection{};
        c.open = true;
        // Registered in addition to the plain descriptor, which the inline send needs.
        if (static_cast<unsigned>(fd) < fixed_slots_)
            c.fixed = io_uring_register_files_update(&ring_, static_cast<unsigned>(fd), &fd, 1) == 1;
        if (options_.broadcast) {
            member_at_.resize(connections_.size());
            member_at_[static_cast<std::size_t>(fd)] = members_.size();
            members_.push_back(fd);
        }
        arm_receive(fd);
    }

    void received(int fd, const io_uring_cqe& cqe)
    {
        auto& c = at(fd);
        if (!(cqe.flags & IORING_CQE_F_MORE)) c.receiving = false;
        if (cqe.res > 0) {
            auto id = static_cast<std::uint16_t>(cqe.flags >> IORING_CQE_BUFFER_SHIFT);
            --in_ring_;
            references_[id] = 1; // ours, for the time of handing it out
            piece p{id, 0, static_cast<std::uint32_t>(cqe.res)};
            if (options_.broadcast)
                for (std::size_t i = members_.size(); i-- > 0;)
                    pass_on(members_[i], p);
            else if (c.open)
                pass_on(fd, p);
            release(id);
        }
        if (c.receiving) return;
        if (!c.open)
            close_when_quiet(fd);
        else if (cqe.res == -ENOBUFS) {
            c.starved = true;
            starved_.push_back(fd);
        } else if (cqe.res > 0 || cqe.res == -ECANCELED) {
            if (!c.queue) arm_receive(fd); // else when the queue has been sent
        } else
            drop(fd);
    }

    void pass_on(int fd, piece p)
    {
        auto& c = at(fd);
        ++references_[p.id];
        if (c.sending) {
            if (!c.queue) c.queue = std::make_unique<std::deque<piece>>();
            c.queue->push_back(p);
            if (c.queue->size() <= queue_limit_) return;
            // One peer that does not read must not hold the buffers of all: an echo stops receiving from it, a
            // broadcast drops it.
            if (options_.broadcast)
                drop(fd);
            else if (c.receiving)
                cancel_receive(fd);
            return;
        }
        c.current = p;
        if (few_ready_ && !options_.broadcast) {
            auto n = send(fd, data(p), p.length, MSG_DONTWAIT | MSG_NOSIGNAL);
            if (n == static_cast<ssize_t>(p.length)) return release(p.id);
            if (n > 0) {
                c.current.offset += static_cast<std::uint32_t>(n);
                c.current.length -= static_cast<std::uint32_t>(n);
            }
        }
        start_send(fd);
    }

    void sent(int fd, int result)
    {
        auto& c = at(fd);
        c.sending = false;
        if (result > 0 && static_cast<std::uint32_t>(result) < c.current.length && c.open) {
            c.current.offset += static_cast<std::uint32_t>(result);
            c.current.length -= static_cast<std::uint32_t>(result);
            return start_send(fd);
        }
        release(c.current.id);
        if (c.open && result <= 0) drop(fd);
        if (!c.open) return close_when_quiet(fd);
        if (c.queue) {
            c.current = c.queue->front();
            c.queue->pop_front();
            if (c.queue->empty()) c.queue.reset();
            start_send(fd);
        }
        if (!c.queue && !c.receiving && !c.starved) arm_receive(fd);
    }

    // From here on only the completions that are still due are waited for; shutdown makes them come.
    void drop(int fd)
    {
        auto& c = at(fd);
        c.open = false;
        if (options_.broadcast) {
            auto i = member_at_[static_cast<std::size_t>(fd)];
            members_[i] = members_.back();
            member_at_[static_cast<std::size_t>(members_[i])] = i;
            members_.pop_back();
        }
        if (c.queue) {
            for (const auto& p : *c.queue)
                release(p.id);
            c.queue.reset();
        }
        if (c.receiving || c.sending) shutdown(fd, SHUT_RDWR);
        close_when_quiet(fd);
    }

    // The number may be used again as soon as it is closed, so nothing may be in flight on it.
    void close_when_quiet(int fd)
    {
        auto& c = at(fd);
        if (c.closed || c.receiving || c.sending || c.starved) return;
        c.closed = true;
        if (c.fixed) {
            int none = -1;
            io_uring_register_files_update(&ring_, static_cast<unsigned>(fd), &none, 1);
        }
        close(fd);
    }

    void release(std::uint16_t id)
    {
        if (--references_[id] == 0) spare_.push_back(id);
    }

    // The kernel takes the buffers of the ring in turn, so a ring of all would walk through megabytes of cold memory.
    // It holds few, the last used ones, and grows only when it has run empty.
    void give_back_buffers()
    {
        if (in_ring_ == 0 && !starved_.empty()) ring_target_ = std::min(ring_target_ * 2, options_.buffers);
        int added = 0;
        for (; in_ring_ < ring_target_ && !spare_.empty(); ++in_ring_) {
            auto id = spare_.back();
            spare_.pop_back();
            io_uring_buf_ring_add(buffer_ring_, bytes_ + std::size_t{id} * options_.buffer_size, options_.buffer_size,
                                  id, io_uring_buf_ring_mask(options_.buffers), added++);
        }
        if (added != 0) io_uring_buf_ring_advance(buffer_ring_, added);
        if (starved_.empty() || in_ring_ < ring_target_ / 2) return;
        for (int fd : std::exchange(starved_, {})) {
            at(fd).starved = false;
            if (at(fd).open)
                arm_receive(fd);
            else
                close_when_quiet(fd);
        }
    }

    connection& at(int fd) { return connections_[static_cast<std::size_t>(fd)]; }
    char* data(const piece& p) { return bytes_ + std::size_t{p.id} * options_.buffer_size + p.offset; }

    options options_;
    int listener_;
    std::size_t queue_limit_; // pieces that may wait for one connection
    io_uring ring_{};
    io_uring_buf_ring* buffer_ring_ = nullptr;
    char* bytes_ = nullptr;
    unsigned fixed_slots_ = 0;
    std::vector<std::uint16_t> spare_; // buffers that nobody uses, the warmest last
    unsigned in_ring_ = 0;
    unsigned ring_target_;
    bool few_ready_ = true;
    std::vector<std::uint32_t> references_; // by buffer
    std::vector<connection> connections_;   // by descriptor
    std::vector<int> starved_;
    std::vector<int> members_;           // broadcast only
    std::vector<std::size_t> member_at_; // broadcast only: by descriptor, index in members_
};

} // namespace

int main(int argc, char** argv)
{
    options o;
    for (int i = 1; i < argc;) {
        std::string_view name = argv[i];
        auto number = [&] { return static_cast<unsigned>(std::strtoul(argv[i + 1], nullptr, 10)); };
        if (int n = bench::common_option(o, argc, argv, i); n != 0) {
            i += n;
        } else if (name == "--buffers" && i + 1 < argc) {
            o.buffers = number(), i += 2;
        } else if (name == "--buffer-size" && i + 1 < argc) {
            o.buffer_size = number(), i += 2;
        } else if (name == "--inline-below" && i + 1 < argc) {
            o.inline_below = number(), i += 2;
        } else if (name == "--no-fixed-files") {
            o.fixed_files = false, ++i;
        } else
            bench::usage("[--bind HOST:PORT] [--mode echo|broadcast] [--buffers N] [--buffer-size BYTES]\n"
                         "       [--inline-below COMPLETIONS] [--no-fixed-files]\n"
                         "A TCP echo on io_uring that parses nothing.");
    }
    if (o.buffers == 0 || o.buffers > 32768 || (o.buffers & (o.buffers - 1)) != 0)
        bench::usage("--buffers must be a power of two, at most 32768");
    bench::exit_on_signals();
    bench::raise_descriptor_limit();
    server(o).run();
}
