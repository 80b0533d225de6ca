// SPDX-License-Identifier: BSL-1.0
// What a loop is made of. Private: users see wring::loop.
#pragma once

#include "engine/block.hpp"
#include "engine/engine.hpp"
#include "engine/timer_wheel.hpp"

#include <wring/loop.hpp>

#include <array>
#include <atomic>
#include <functional>
#include <map>
#include <mutex>

namespace wring::detail {

struct shared_run;

/// Something that wants to be called once at the end of this turn, when the ready coroutines have run: how
/// frames written in one turn leave in one send. Where very many want to be, it is the end of a turn soon after.
struct turn_end
{
    turn_end* next = nullptr;
    void (*call)(turn_end&) noexcept = nullptr;
    bool queued = false; // last: what derives from this may use the bytes behind it
};

using turn_end_queue = node_queue<turn_end, &turn_end::next>;

/// What belongs to a loop and must not outlive it.
enum class lasting : std::uint8_t { listener, stream, udp_socket, connection };

/// What a room above keeps for each loop.
struct loop_extension
{
    virtual ~loop_extension() = default;
};

/// The way to a loop for work that may end after it: posting is a no-op then. Shared by value.
class loop_mailbox
{
public:
    explicit loop_mailbox(loop_core& core) noexcept : core_(&core) {}
    /// False where the loop has ended.
    bool post(std::unique_ptr<posted_call> call) noexcept;
    void close() noexcept;

    std::atomic<std::size_t> connections{0}; ///< of the loop, where listeners balance them; from any thread

private:
    std::mutex mutex_;
    loop_core* core_;
};

class loop_core final : public scheduler, completion_observer
{
public:
    loop_core(run_options const& options, unsigned index, shared_run* run);
    ~loop_core();

    /// Runs `root` to its end. Gives the exception that left it.
    std::exception_ptr run(task<> root);
    /// Runs until nothing is left closing, for run_options::drain. What is left a second after that is a bug: it ends
    /// the process with a message that names it.
    void drain();

    void at_turn_end(turn_end& entry) noexcept
    {
        if (std::exchange(entry.queued, true))
            return;
        turn_ends_.push(entry);
        ++turn_ends_due_;
    }
    /// Whether so many ends are due in this turn that sends are better submitted together than done one by one.
    [[nodiscard]] bool batching() const noexcept { return batching_; }

    /// Counts what lives on this loop, some of it for a moment longer than its owner (a socket whose last completion is
    /// awaited, a connection that finishes its close): drain() waits for it.
    void retain(lasting what = lasting::connection) noexcept
    {
        ++retained_;
        ++retained_of_[static_cast<std::size_t>(what)];
    }
    void drop(lasting what = lasting::connection) noexcept
    {
        --retained_;
        --retained_of_[static_cast<std::size_t>(what)];
    }

    void arm(timer_node& node, clock::time_point when) noexcept;
    /// Read once a turn, after the wait, when it is first asked for.
    [[nodiscard]] clock::time_point now() const noexcept
    {
        if (std::exchange(now_is_old_, false))
            now_ = clock::now();
        return now_;
    }

    void post(std::unique_ptr<posted_call> call) noexcept;
    [[nodiscard]] std::shared_ptr<loop_mailbox> const& mailbox() const noexcept { return mailbox_; }
    void request_stop() noexcept { stop_.request(); }
    /// The same, soon. From any thread.
    void ask_stop() noexcept;
    [[nodiscard]] stop_state& stop() noexcept { return stop_; }

    [[nodiscard]] engine::engine& io() noexcept { return *engine_; }
    [[nodiscard]] engine::block_pool& blocks() noexcept { return blocks_; }
    [[nodiscard]] run_options const& options() const noexcept { return options_; }
    [[nodiscard]] unsigned index() const noexcept { return index_; }
    [[nodiscard]] shared_run* run_state() const noexcept { return run_; }
    [[nodiscard]] loop& handle() noexcept { return handle_; }

    /// Asked to stop when the drain has lasted too long: what is still closing must end at once.
    stop_state& give_up() noexcept { return give_up_; }

    static loop_core* current() noexcept;
    /// The current loop; aborts with a message where there is none.
    static loop_core& require() noexcept;

    /// Tells the signals objects of this loop to look at the counts.
    void raise_signals() noexcept;
    std::unique_ptr<loop_extension> broadcast; ///< of ws/broadcast.hpp
    signals* signal_sets = nullptr;
    std::map<std::string, unsigned> binds; ///< how often each text was bound on this loop

private:
    void turn(bool may_wait);
    void run_posted() noexcept; // an exception in there ends the process
    void run_ready();
    void run_turn_ends() noexcept;
    static std::size_t run_some(turn_end_queue& of, std::size_t most) noexcept;
    void drain_expired(timer_node& limit) noexcept;
    void child_done(promise_base&) noexcept override { root_done_ = true; }

    run_options options_;
    unsigned index_;
    shared_run* run_;
    loop handle_;
    engine::block_pool blocks_;
    std::unique_ptr<engine::engine> engine_;
    clock::time_point start_;
    mutable clock::time_point now_;
    mutable bool now_is_old_ = false;
    engine::timer_wheel timers_;
    std::shared_ptr<loop_mailbox> mailbox_;
    turn_end_queue turn_ends_;
    turn_end_queue late_turn_ends_; ///< for which the turns before had no time
    std::size_t turn_ends_due_ = 0; ///< in both
    std::size_t late_ = 0;          ///< of them
    std::size_t retained_ = 0;
    std::array<std::size_t, 4> retained_of_{};
    stop_state stop_;
    stop_state give_up_;
    unsigned signals_seen_ = 0;
    bool batching_ = false;
    bool root_done_ = false;
    bool draining_ = false;

    // Written by other threads, so on a line of their own.
    alignas(64) std::atomic<posted_call*> posted_{nullptr};
    std::atomic<bool> parked_{false};
    std::atomic<unsigned> posting_{0}; ///< calls of post() that still touch this object
    std::atomic<bool> stop_asked_{false};
};

/// Runs `work`, which must not throw, on the thread pool and then `done` on `loop`, if it still exists. Throws where
/// there is no thread or no memory; nothing will run then.
void run_detached(loop_core& loop, std::function<void()> work, std::function<void()> done);

/// Prints one line to standard error: what the operator of a program should know.
void log_line(std::string_view text) noexcept;

} // namespace wring::detail
