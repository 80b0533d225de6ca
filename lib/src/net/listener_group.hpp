// SPDX-License-Identifier: BSL-1.0
// The listeners of several loops on one socket, among which its connections are shared out.
#pragma once

#include "net/socket.hpp"
#include "net/transport.hpp"

#include <memory>
#include <mutex>
#include <vector>

namespace wring::detail {

/// One of a group's listeners.
class group_member
{
public:
    explicit group_member(loop_core& loop) noexcept : loop_(loop), mailbox_(loop.mailbox()) {}
    group_member(group_member const&) = delete;
    group_member& operator=(group_member const&) = delete;

    /// A connection has come to its empty queue. On its loop.
    virtual void on_waiting() noexcept = 0;

protected:
    virtual ~group_member() = default;
    loop_core& loop_;

private:
    friend class listener_group;
    struct connection
    {
        unique_fd fd;
        std::unique_ptr<transport_rider> rider; ///< counts it; null in a group that does not balance
    };
    std::shared_ptr<loop_mailbox> mailbox_;
    std::vector<connection> queue_; ///< accepted and not taken, oldest first; under the group's mutex
};

/// Gives each new connection to the member whose loop has the fewest of them open (loop_mailbox::connections). A group
/// that does not balance has one member, and counts nothing. What concerns a member is called on its loop.
class listener_group : public std::enable_shared_from_this<listener_group>
{
public:
    /// A group of one.
    listener_group() noexcept = default;
    /// One that balances. A member for which `most` wait is passed over.
    explicit listener_group(std::size_t most) noexcept : balances_(true), most_(most) {}

    void join(group_member& one);
    /// What waits for it goes to the others; where there are none it is closed.
    void leave(group_member& one) noexcept;

    /// Takes in a connection that `by` has accepted. Without memory, and where nobody is left, it is closed.
    void add(unique_fd fd, group_member const& by) noexcept;

    /// Whether so many wait for it that it should accept no more.
    [[nodiscard]] bool full(group_member const& one) const noexcept;
    /// The connection that has waited longest; -1 where none does. It stays until it is taken.
    [[nodiscard]] int front(group_member const& one) const noexcept;
    /// Gives up that connection's descriptor; what is returned must live as long as its socket.
    [[nodiscard]] std::unique_ptr<transport_rider> take(group_member& one) noexcept;

private:
    [[nodiscard]] group_member* choose(group_member const& by) const noexcept;
    void look() noexcept;

    bool const balances_ = false;
    std::size_t const most_ = static_cast<std::size_t>(-1);
    std::mutex mutable mutex_;
    std::vector<group_member*> members_;
};

} // namespace wring::detail
