// SPDX-License-Identifier: BSL-1.0
#include "engine/loop_core.hpp"

#include "ablation.hpp"
#include "engine/run_state.hpp"
#include "engine/signal_hub.hpp"

#include <bit>
#include <cstdio>
#include <cstdlib>
#include <fmt/format.h>
#include <thread>

namespace wring {

namespace detail {

namespace {
constexpr std::size_t batch_threshold = 16; // turn ends; fewer sends are done at once, more are submitted together
constexpr std::size_t ready_budget = 4096;  // coroutines resumed before I/O is looked at again
constexpr std::size_t turn_end_budget = 512; // and ends of turns, most of which send: each takes microseconds
constexpr auto last_moment = std::chrono::seconds(1); // for what is closing, after the drain's end
constexpr std::uint32_t frame_header_room = 64; // so that a frame of a buffer's size lies in one buffer with its header

thread_local loop_core* current_loop = nullptr;

std::unique_ptr<engine::engine> make_engine(run_options const& options, engine::block_pool& blocks)
{
    engine_kind kind = options.engine;
    if (kind == engine_kind::automatic) {
        if (char const* text = std::getenv("WRING_ENGINE"); text && *text) {
            if (auto wanted = parse_engine(text))
                kind = *wanted;
            else
                log_line(fmt::format("wring: WRING_ENGINE={} is not one of auto, uring, asio; using auto", text));
        }
    }
    if (kind == engine_kind::asio)
        return engine::make_asio_engine(blocks);
    engine::refusal refused = engine::probe_uring();
    if (refused.code == 0) {
        try {
            return engine::make_uring_engine(blocks, {std::bit_ceil(options.receive_buffers),
                                                      options.submission_entries, options.completion_entries});
        } catch (std::system_error const& e) { // the probe had a ring, but there is none for this loop
            refused = engine::explain(e);
        }
    }
    if (kind == engine_kind::uring)
        throw std::system_error(refused.code, std::system_category(),
                                "io_uring is not available (" + refused.cause + ")");
    static std::once_flag once;
    std::call_once(once, [&] {
        log_line(fmt::format("wring: io_uring is not available: {} ({}); using Asio on epoll",
                             std::system_category().message(refused.code), refused.cause));
    });
    return engine::make_asio_engine(blocks);
}
} // namespace

void log_line(std::string_view text) noexcept
{
    std::fprintf(stderr, "%.*s\n", static_cast<int>(text.size()), text.data());
}

// Not inlined: compilers may keep a thread's address across the suspension of a coroutine.
[[gnu::noinline]] loop_core* loop_core::current() noexcept
{
    return current_loop;
}

loop_core& loop_core::require() noexcept
{
    loop_core* core = current();
    if (!core)
        fatal("wring: this needs a running loop; call it from a coroutine under wring::run");
    return *core;
}

loop_core::loop_core(run_options const& options, unsigned index, shared_run* run) :
    options_(options), index_(index), run_(run), handle_(*this),
    blocks_(options.receive_buffer_size + frame_header_room), engine_(make_engine(options, blocks_)),
    start_(clock::now()), now_(start_), timers_(0), mailbox_(std::make_shared<loop_mailbox>(*this))
{
    current_loop = this;
    signal_hub::attach(*engine_);
}

loop_core::~loop_core()
{
    mailbox_->close();
    signal_hub::detach(*engine_);
    while (posting_.load(std::memory_order_acquire) > 0) // what it posted may have run before its post() was over
        std::this_thread::yield();
    posted_call* call = posted_.exchange(nullptr);
    while (call)
        delete std::exchange(call, call->next);
    engine_.reset();
    current_loop = nullptr;
}

std::exception_ptr loop_core::run(task<> root)
{
    auto handle = root.release();
    auto& promise = handle.promise();
    promise.env = {this, &stop_};
    promise.observer = this;
    start_soon(*this, handle);
    while (!root_done_)
        turn(true);
    auto failure = promise.exception;
    handle.destroy();
    return failure;
}

void loop_core::drain()
{
    draining_ = true;
    stop_.request(); // what is left is closing
    struct drain_limit : timer_node
    {
        explicit drain_limit(loop_core& c) noexcept : core(c)
        {
            fire = [](timer_node& node) noexcept { static_cast<drain_limit&>(node).core.drain_expired(node); };
        }
        ~drain_limit() { engine::timer_wheel::disarm(*this); }
        loop_core& core;
    } limit(*this);
    arm(limit, deadline_after(options_.drain));
    while (retained_ > 0)
        turn(true);
}

// First what is closing is told to end at once, for which the kernel is given a moment.
void loop_core::drain_expired(timer_node& limit) noexcept
{
    if (!give_up_.requested()) {
        give_up_.request();
        arm(limit, clock::now() + last_moment);
        return;
    }
    constexpr char const* names[] = {"listener", "stream", "UDP socket", "WebSocket connection"};
    std::string left;
    for (std::size_t i = 0; i < retained_of_.size(); ++i)
        if (std::size_t const n = retained_of_[i])
            left += fmt::format("{}{} {}{}", left.empty() ? "" : ", ", n, names[i], n == 1 ? "" : "s");
    fatal(fmt::format("wring: the root task has ended and left behind what must not outlive it: {}", left).c_str());
}

void loop_core::turn(bool may_wait)
{
    run_posted();
    run_ready();
    run_turn_ends();

    std::chrono::nanoseconds limit{0};
    if (may_wait && ready_.empty() && late_turn_ends_.empty() && (draining_ ? retained_ > 0 : !root_done_)) {
        limit = std::chrono::nanoseconds{-1};
        if (std::int64_t const tick = timers_.next(); tick != engine::timer_wheel::never)
            limit = std::max(std::chrono::nanoseconds{0}, start_ + std::chrono::milliseconds(tick) - clock::now());
        // Whoever posts after this sees the flag and wakes; whoever posted before it is seen here.
        parked_.store(true, std::memory_order_seq_cst);
        if (posted_.load(std::memory_order_seq_cst) || signal_hub::pending(signals_seen_))
            limit = std::chrono::nanoseconds{0};
    }
    now_is_old_ = true; // so that what completes in there sees the time of that, not of the turn before
    engine_->wait(limit);
    parked_.store(false, std::memory_order_relaxed);

    timers_.advance(std::chrono::duration_cast<std::chrono::milliseconds>(now() - start_).count());
    if (signal_hub::pending(signals_seen_))
        signal_hub::deliver(*this, signals_seen_);
    if (stop_asked_.load(std::memory_order_relaxed) && !stop_.requested())
        stop_.request();
}

void loop_core::run_posted() noexcept
{
    posted_call* stack = posted_.load(std::memory_order_relaxed) ? posted_.exchange(nullptr) : nullptr;
    posted_call* calls = nullptr; // in the order they came
    while (stack) {
        posted_call* const older = stack->next;
        stack->next = calls;
        calls = stack;
        stack = older;
    }
    while (calls) {
        std::unique_ptr<posted_call> call(std::exchange(calls, calls->next));
        call->call();
    }
}

void loop_core::run_ready()
{
    for (std::size_t i = 0; !ready_.empty() && i < ready_budget; ++i) {
        ready_node& node = ready_.pop();
        node.run(node);
    }
    ready_.append(next_turn_);
}

void loop_core::run_turn_ends() noexcept
{
    batching_ = with::batching && turn_ends_due_ > batch_threshold && engine_->kind() == engine_kind::uring;
    // A message to all of very many members must not keep the others waiting: what has come since goes first, but for half
    // of the time.
    std::size_t const ran = run_some(turn_ends_, turn_end_budget - std::min(late_, turn_end_budget / 2));
    turn_ends_due_ -= ran;
    turn_ends_due_ -= run_some(late_turn_ends_, turn_end_budget - ran);
    late_turn_ends_.append(turn_ends_);
    late_ = turn_ends_due_;
}

/// Gives how many.
std::size_t loop_core::run_some(turn_end_queue& of, std::size_t most) noexcept
{
    std::size_t ran = 0;
    for (; ran < most && !of.empty(); ++ran) {
        turn_end& entry = of.pop();
        entry.queued = false;
        entry.call(entry);
    }
    return ran;
}

void loop_core::arm(timer_node& node, clock::time_point when) noexcept
{
    timers_.arm(node, std::chrono::ceil<std::chrono::milliseconds>(when - start_).count());
}

void loop_core::post(std::unique_ptr<posted_call> call) noexcept
{
    posting_.fetch_add(1, std::memory_order_relaxed);
    posted_call* node = call.release();
    node->next = posted_.load(std::memory_order_relaxed);
    while (!posted_.compare_exchange_weak(node->next, node, std::memory_order_seq_cst)) {
    }
    if (parked_.load(std::memory_order_seq_cst) && parked_.exchange(false))
        engine_->wake();
    posting_.fetch_sub(1, std::memory_order_release);
}

void loop_core::ask_stop() noexcept
{
    stop_asked_.store(true, std::memory_order_relaxed);
    engine_->wake(); // the write and the read of its eventfd order the two
}

bool loop_mailbox::post(std::unique_ptr<posted_call> call) noexcept
{
    std::lock_guard lock(mutex_);
    if (!core_)
        return false;
    core_->post(std::move(call));
    return true;
}

void loop_mailbox::close() noexcept
{
    std::lock_guard lock(mutex_);
    core_ = nullptr;
}

void arm_timer(timer_node& node, clock::time_point when) noexcept
{
    loop_core::require().arm(node, when);
}

void disarm_timer(timer_node& node) noexcept
{
    engine::timer_wheel::disarm(node);
}

clock::time_point deadline_after(duration d) noexcept
{
    auto const now = clock::now();
    return d >= clock::time_point::max() - now ? clock::time_point::max() - std::chrono::hours(1) : now + d;
}

} // namespace detail

char const* to_string(engine_kind kind) noexcept
{
    switch (kind) {
    case engine_kind::uring: return "uring";
    case engine_kind::asio: return "asio";
    case engine_kind::automatic: break;
    }
    return "auto";
}

result<engine_kind> parse_engine(std::string_view text) noexcept
{
    for (auto kind : {engine_kind::automatic, engine_kind::uring, engine_kind::asio})
        if (text == to_string(kind))
            return kind;
    return std::make_error_code(std::errc::invalid_argument);
}

loop& this_loop() noexcept
{
    return detail::loop_core::require().handle();
}

void detail::post_call(loop& to, std::unique_ptr<posted_call> call) noexcept
{
    to.core_.post(std::move(call));
}

bool loop_handle::post_call(std::unique_ptr<detail::posted_call> call) const noexcept
{
    return mailbox_->post(std::move(call));
}

loop_handle loop::handle() const noexcept
{
    return loop_handle(core_.mailbox());
}

engine_kind loop::engine() const noexcept
{
    return core_.io().kind();
}

unsigned loop::index() const noexcept
{
    return core_.index();
}

clock::time_point loop::now() const noexcept
{
    return core_.now();
}

bool loop::stopping() const noexcept
{
    return const_cast<detail::loop_core&>(core_).stop().requested();
}

void loop::request_stop() noexcept
{
    core_.request_stop();
}

} // namespace wring
