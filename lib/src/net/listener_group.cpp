// SPDX-License-Identifier: BSL-1.0
#include "net/listener_group.hpp"

#include <algorithm>
#include <atomic>

namespace wring::detail {

namespace {

constexpr std::size_t accept_ahead = 64; // connections accepted and not asked for before accepting pauses

/// One connection in the count of a loop, which it does not outlive.
class counted final : public transport_rider
{
public:
    explicit counted(loop_mailbox& where) noexcept : where_(where) { ++where_.connections; }
    ~counted() override { --where_.connections; }

private:
    loop_mailbox& where_;
};

} // namespace

void listener_group::join(group_member& one)
{
    std::lock_guard lock(mutex_);
    members_.push_back(&one);
}

void listener_group::leave(group_member& one) noexcept
{
    std::vector<group_member::connection> left;
    {
        std::lock_guard lock(mutex_);
        std::erase(members_, &one);
        left.swap(one.queue_);
    }
    for (auto& each : left)
        add(std::move(each.fd), one);
}

// Under the mutex.
group_member* listener_group::choose(group_member const& by) const noexcept
{
    group_member* best = nullptr;
    auto const connections = [](group_member const* one) { return one->mailbox_->connections.load(); };
    for (auto* one : members_)
        if (one->queue_.size() < most_ && (!best || connections(one) < connections(best)))
            best = one;
    if (best)
        return best;
    auto const accepter = std::find(members_.begin(), members_.end(), &by);
    return accepter != members_.end() ? *accepter : members_.empty() ? nullptr : members_.front();
}

void listener_group::add(unique_fd fd, group_member const& by) noexcept
{
    group_member* here = nullptr;
    try {
        std::lock_guard lock(mutex_);
        auto* const to = choose(by);
        if (!to)
            return;
        bool const tell = to->queue_.empty();
        bool const elsewhere = &to->loop_ != loop_core::current();
        auto call = tell && elsewhere ? make_posted([self = shared_from_this()] { self->look(); }) : nullptr;
        std::unique_ptr<transport_rider> rider;
        if (balances_)
            rider = std::make_unique<counted>(*to->mailbox_);
        to->queue_.reserve(to->queue_.size() + 1);
        to->queue_.push_back({std::move(fd), std::move(rider)});
        if (call)
            (void)to->mailbox_->post(std::move(call));
        else if (tell)
            here = to;
    } catch (std::bad_alloc const&) { // this one is lost
    }
    if (here)
        here->on_waiting();
}

// The posted half of add(), on the loop that was chosen. Whose listener may have gone.
void listener_group::look() noexcept
{
    group_member* here = nullptr;
    {
        std::lock_guard lock(mutex_);
        for (auto* one : members_)
            if (&one->loop_ == loop_core::current())
                here = one;
    }
    if (here)
        here->on_waiting();
}

bool listener_group::full(group_member const& one) const noexcept
{
    std::lock_guard lock(mutex_);
    return one.queue_.size() >= accept_ahead;
}

int listener_group::front(group_member const& one) const noexcept
{
    std::lock_guard lock(mutex_);
    return one.queue_.empty() ? -1 : one.queue_.front().fd.get();
}

std::unique_ptr<transport_rider> listener_group::take(group_member& one) noexcept
{
    std::lock_guard lock(mutex_);
    auto& first = one.queue_.front();
    (void)first.fd.release();
    auto rider = std::move(first.rider);
    one.queue_.erase(one.queue_.begin());
    return rider;
}

} // namespace wring::detail
