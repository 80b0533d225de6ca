// SPDX-License-Identifier: BSL-1.0
// One connection of a run: it sends what it owes, and hands on what it hears.
#pragma once

#include "connector.hpp"
#include "failure.hpp"
#include "tally.hpp"
#include "traffic.hpp"

#include <wring/sync.hpp>

namespace load {

class connection
{
public:
    connection(unsigned id, options const& how, tally& counts) : id_(id), how_(how), counts_(counts) {}
    connection(connection const&) = delete;
    connection& operator=(connection const&) = delete;
    /// Resets it: thousands of connections at once leave no TIME_WAIT behind, which would hold the ports that the next
    /// run needs.
    ~connection() { reset(); }

    [[nodiscard]] unsigned id() const noexcept { return id_; }
    /// Whole messages so far.
    [[nodiscard]] std::uint64_t received() const noexcept { return received_; }
    /// Messages that it was told to send so far.
    [[nodiscard]] std::uint64_t owed() const noexcept { return owed_; }

    /// Throws failure.
    wring::task<> open(connector& by);

    /// Reads until a cancel, or until something is wrong, which is counted and ends the connection.
    wring::task<> read(traffic& all);
    /// Writes what is owed, likewise.
    wring::task<> write(traffic& all);

    void owe(std::uint64_t messages) noexcept
    {
        owed_ += messages;
        wake_.set();
    }
    void count_received() noexcept { ++received_; }
    /// Counts from 0 again, when everything has come.
    void start_over() noexcept { owed_ = sent_ = received_ = 0; }

private:
    wring::task<> read_messages(traffic& all);
    wring::task<> read_bytes(traffic& all);
    wring::task<> write_owed(traffic& all);
    void fail(std::string const& what);
    void reset() noexcept;

    unsigned id_;
    options const& how_;
    tally& counts_;
    bool open_ = false;
    std::optional<wring::ws::connection> ws_;
    std::optional<wring::stream> tcp_;
    wring::event wake_; // the writer
    std::uint64_t owed_ = 0;
    std::uint64_t sent_ = 0;
    std::uint64_t received_ = 0;
};

} // namespace load
