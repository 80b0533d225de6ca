// SPDX-License-Identifier: BSL-1.0
// How many connections a server has, over all its loops, and who may come in.
#pragma once

#include "http/address.hpp"
#include "net/transport.hpp"

#include <atomic>
#include <memory>
#include <mutex>
#include <unordered_map>

namespace wring::detail {

class connection_ticket;

/// Counted by tickets, each of which goes with its socket until that is closed; so they are exact. Threads share it.
class connection_counts : public std::enable_shared_from_this<connection_counts>
{
public:
    struct limits
    {
        std::size_t total = 0;
        std::size_t unopened = 0;
        std::size_t per_address = 0; ///< 0: off
        std::size_t refusals = 0;    ///< sockets on which a refusal is still being said
    };

    void set_limits(limits const& l) noexcept { limits_ = l; }

    /// A ticket for a socket just accepted, unopened; null where there are too many. Throws std::bad_alloc.
    [[nodiscard]] std::unique_ptr<connection_ticket> admit();
    /// One for a socket that is told so; null where even of those there are too many.
    [[nodiscard]] std::unique_ptr<connection_ticket> refuse();

    [[nodiscard]] std::size_t total() const noexcept { return total_.load(std::memory_order_relaxed); }
    [[nodiscard]] std::size_t unopened() const noexcept { return unopened_.load(std::memory_order_relaxed); }
    /// Addresses that have connections.
    [[nodiscard]] std::size_t addresses() const;

private:
    friend connection_ticket;
    static bool take_one(std::atomic<std::size_t>& count, std::size_t limit) noexcept;
    [[nodiscard]] bool enter(address_key key);
    void leave(address_key key) noexcept;

    limits limits_;
    std::atomic<std::size_t> total_{0};
    std::atomic<std::size_t> unopened_{0};
    std::atomic<std::size_t> refused_{0};
    std::mutex mutable mutex_;
    std::unordered_map<address_key, std::size_t> by_address_; // under the mutex
};

/// One connection's place in the counts, and the client that a proxy has named.
class connection_ticket final : public transport_rider
{
public:
    enum class state : std::uint8_t { refused, unopened, opened };

    connection_ticket(std::shared_ptr<connection_counts> counts, state s) noexcept :
        counts_(std::move(counts)), state_(s)
    {}
    ~connection_ticket() override;

    /// The connection has shown that it is one: it counts among all, no more among the unopened.
    void opened() noexcept;

    /// Counts it for its address; false where that has too many. Once. Throws std::bad_alloc.
    [[nodiscard]] bool is_from(endpoint const& address);

    /// The client that a proxy has named.
    void set_remote(endpoint const& client) { remote_ = std::make_unique<endpoint>(client); }
    [[nodiscard]] endpoint const* remote() const noexcept override { return remote_.get(); }

private:
    std::shared_ptr<connection_counts> counts_;
    std::unique_ptr<endpoint> remote_; // rarely there
    address_key key_ = 0;
    state state_;
};

} // namespace wring::detail
