// SPDX-License-Identifier: BSL-1.0
#include "http/counts.hpp"

namespace wring::detail {

bool connection_counts::take_one(std::atomic<std::size_t>& count, std::size_t limit) noexcept
{
    auto now = count.load(std::memory_order_relaxed);
    do
        if (now >= limit)
            return false;
    while (!count.compare_exchange_weak(now, now + 1, std::memory_order_relaxed));
    return true;
}

std::unique_ptr<connection_ticket> connection_counts::admit()
{
    if (!take_one(total_, limits_.total))
        return nullptr;
    if (!take_one(unopened_, limits_.unopened)) {
        --total_;
        return nullptr;
    }
    try {
        return std::make_unique<connection_ticket>(shared_from_this(), connection_ticket::state::unopened);
    } catch (...) {
        --unopened_;
        --total_;
        throw;
    }
}

std::unique_ptr<connection_ticket> connection_counts::refuse()
{
    if (!take_one(refused_, limits_.refusals))
        return nullptr;
    try {
        return std::make_unique<connection_ticket>(shared_from_this(), connection_ticket::state::refused);
    } catch (...) {
        --refused_;
        throw;
    }
}

std::size_t connection_counts::addresses() const
{
    std::lock_guard lock(mutex_);
    return by_address_.size();
}

bool connection_counts::enter(address_key key)
{
    std::lock_guard lock(mutex_);
    auto& count = by_address_[key];
    if (count >= limits_.per_address)
        return false; // not empty, so the entry is somebody else's
    ++count;
    return true;
}

void connection_counts::leave(address_key key) noexcept
{
    std::lock_guard lock(mutex_);
    auto const found = by_address_.find(key);
    if (--found->second == 0)
        by_address_.erase(found);
}

connection_ticket::~connection_ticket()
{
    if (key_ != 0)
        counts_->leave(key_);
    if (state_ == state::refused) {
        --counts_->refused_;
        return;
    }
    if (state_ == state::unopened)
        --counts_->unopened_;
    --counts_->total_;
}

void connection_ticket::opened() noexcept
{
    if (state_ != state::unopened)
        return;
    state_ = state::opened;
    --counts_->unopened_;
}

bool connection_ticket::is_from(endpoint const& address)
{
    auto const key = key_of(address);
    if (key == 0 || counts_->limits_.per_address == 0)
        return true;
    if (!counts_->enter(key))
        return false;
    key_ = key;
    return true;
}

} // namespace wring::detail
