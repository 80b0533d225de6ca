// SPDX-License-Identifier: BSL-1.0
// The floor that the others are measured against: a TCP echo on epoll that parses nothing and does only the system
// calls that no echo can do without: one epoll_wait per batch, one recv and one send per connection that is ready.
#include "common.hpp"

#include <cerrno>
#include <memory>
#include <sys/epoll.h>
#include <vector>

namespace {

constexpr std::size_t receive_size = 64 * 1024;
constexpr std::size_t backlog_limit = 64u << 20; // a broadcast member that never reads is dropped here

// Bytes the kernel did not take yet. Absent for nearly every connection at nearly every time.
struct backlog
{
    std::vector<char> bytes;
    std::size_t sent = 0;
};

class server
{
public:
    explicit server(const bench::server_options& o)
        : broadcast_(o.broadcast), listener_(bench::listen_on(o.bind, true)), epoll_(epoll_create1(EPOLL_CLOEXEC)),
          buffer_(receive_size)
    {
        if (epoll_ < 0) bench::die_errno("epoll_create1");
        epoll_event e{};
        e.events = EPOLLIN;
        e.data.fd = listener_;
        epoll_ctl(epoll_, EPOLL_CTL_ADD, listener_, &e);
        bench::announce("tcp", bench::local_name(listener_));
    }

    [[noreturn]] void run()
    {
        std::vector<epoll_event> events(1024);
        for (;;) {
            int n = epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), -1);
            if (n < 0 && errno != EINTR) bench::die_errno("epoll_wait");
            for (int i = 0; i < n; ++i) {
                int fd = events[static_cast<std::size_t>(i)].data.fd;
                unsigned what = events[static_cast<std::size_t>(i)].events;
                if (fd == listener_) {
                    accept_all();
                    continue;
                }
                if (!is_open(fd)) continue; // dropped by an earlier event of this batch
                if (what & EPOLLOUT) writable(fd);
                if (what & ~static_cast<unsigned>(EPOLLOUT) && may_read(fd)) readable(fd);
            }
        }
    }

private:
    bool is_open(int fd) const { return open_[static_cast<std::size_t>(fd)] != 0; }

    // An echo stops reading until the peer has taken what it is owed; a broadcast goes on for the others' sake.
    bool may_read(int fd) const { return is_open(fd) && (broadcast_ || !backlogs_[static_cast<std::size_t>(fd)]); }

    void accept_all()
    {
        for (;;) {
            int fd = accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
            if (fd < 0) {
                if (errno == EINTR || errno == ECONNABORTED) continue;
                if (errno != EAGAIN) std::perror("accept");
                return;
            }
            auto index = static_cast<std::size_t>(fd);
            if (index >= backlogs_.size()) {
                backlogs_.resize(index + 1024);
                open_.resize(index + 1024);
            }
            open_[index] = 1;
            if (broadcast_) {
                member_at_.resize(backlogs_.size());
                member_at_[index] = members_.size();
                members_.push_back(fd);
            }
            epoll_event e{};
            e.events = EPOLLIN;
            e.data.fd = fd;
            epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &e);
        }
    }

    // One receive and no second one that only says EAGAIN: level-triggered epoll reports by itself what is left.
    // (Edge-triggered costs the same here: 0.99 to 1.01 in interleaved rounds.)
    void readable(int fd)
    {
        auto n = recv(fd, buffer_.data(), buffer_.size(), 0);
        if (n <= 0) {
            if (n == 0 || (errno != EAGAIN && errno != EINTR)) drop(fd);
            return;
        }
        auto count = static_cast<std::size_t>(n);
        if (!broadcast_) return send_now(fd, count);
        for (std::size_t i = members_.size(); i-- > 0;) // backwards: drop() moves the last one into the gap
            send_now(members_[i], count);
    }

    void send_now(int fd, std::size_t count)
    {
        auto& waiting = backlogs_[static_cast<std::size_t>(fd)];
        std::size_t sent = 0;
        if (!waiting) {
            auto n = send(fd, buffer_.data(), count, MSG_NOSIGNAL);
            if (n == static_cast<ssize_t>(count)) return;
            if (n < 0 && errno != EAGAIN && errno != EINTR) return drop(fd);
            sent = n > 0 ? static_cast<std::size_t>(n) : 0;
            waiting = std::make_unique<backlog>();
            watch(fd, broadcast_ ? EPOLLIN | EPOLLOUT : EPOLLOUT);
        }
        waiting->bytes.insert(waiting->bytes.end(), buffer_.data() + sent, buffer_.data() + count);
        if (waiting->bytes.size() - waiting->sent > backlog_limit) drop(fd);
    }

    void writable(int fd)
    {
        auto& waiting = backlogs_[static_cast<std::size_t>(fd)];
        if (!waiting) return;
        auto n = send(fd, waiting->bytes.data() + waiting->sent, waiting->bytes.size() - waiting->sent, MSG_NOSIGNAL);
        if (n < 0) {
            if (errno != EAGAIN && errno != EINTR) drop(fd);
            return;
        }
        waiting->sent += static_cast<std::size_t>(n);
        if (waiting->sent < waiting->bytes.size()) return;
        waiting.reset();
        watch(fd, EPOLLIN);
    }

    void watch(int fd, unsigned events)
    {
        epoll_event e{};
        e.events = events;
        e.data.fd = fd;
        epoll_ctl(epoll_, EPOLL_CTL_MOD, fd, &e);
    }

    void drop(int fd)
    {
        auto index = static_cast<std::size_t>(fd);
        backlogs_[index].reset();
        open_[index] = 0;
        if (broadcast_) {
            auto at = member_at_[index];
            members_[at] = members_.back();
            member_at_[static_cast<std::size_t>(members_[at])] = at;
            members_.pop_back();
        }
        close(fd);
    }

    bool broadcast_;
    int listener_;
    int epoll_;
    std::vector<char> buffer_;
    std::vector<std::unique_ptr<backlog>> backlogs_; // by descriptor
    std::vector<char> open_;                         // by descriptor
    std::vector<int> members_;                       // broadcast only
    std::vector<std::size_t> member_at_;             // broadcast only: by descriptor, index in members_
};

} // namespace

int main(int argc, char** argv)
{
    bench::server_options options;
    for (int i = 1; i < argc;) {
        int n = bench::common_option(options, argc, argv, i);
        if (n == 0)
            bench::usage("[--bind HOST:PORT] [--mode echo|broadcast]\nA TCP echo on epoll that parses nothing.");
        i += n;
    }
    bench::exit_on_signals();
    bench::raise_descriptor_limit();
    server(options).run();
}
