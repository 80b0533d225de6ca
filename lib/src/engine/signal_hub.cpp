// SPDX-License-Identifier: BSL-1.0
#include "engine/signal_hub.hpp"

#include "engine/loop_core.hpp"

#include <array>
#include <atomic>
#include <csignal>
#include <mutex>
#include <unistd.h>

namespace wring {

namespace detail::signal_hub {

namespace {

constexpr int max_signal = 65;
constexpr std::size_t max_loops = 1024;

// Touched by the handler: lock-free atomics only.
std::atomic<unsigned> generation{0};
std::atomic<unsigned> counts[max_signal];
std::atomic<int> claims[max_signal]; // signals objects alive for a number
std::atomic<int> stop_watchers{0};
std::atomic<unsigned> stop_requests{0};
std::atomic<int> handlers_running{0};
std::atomic<engine::engine*> engines[max_loops];

std::mutex installing;
int watchers[max_signal]; // under the mutex, as the actions to restore are
struct sigaction previous[max_signal];

bool ends_program(int number) noexcept
{
    return (number == SIGINT || number == SIGTERM) && stop_watchers > 0 && claims[number] == 0;
}

void handle(int number) noexcept
{
    int const saved = errno;
    ++handlers_running;
    if (ends_program(number) && stop_requests++ > 0) {
        constexpr std::string_view text = "second signal: ending at once\n";
        [[maybe_unused]] auto written = ::write(STDERR_FILENO, text.data(), text.size());
        ::_exit(128 + number);
    }
    ++counts[number];
    ++generation;
    for (auto& slot : engines)
        if (engine::engine* e = slot)
            e->wake();
    --handlers_running;
    errno = saved;
}

// Counts `number` from now on in place of its default effect, until as many unwatch calls came.
void watch(int number)
{
    std::lock_guard lock(installing);
    if (watchers[number]++ > 0)
        return;
    struct sigaction action{};
    action.sa_handler = &handle;
    action.sa_flags = SA_RESTART;
    sigemptyset(&action.sa_mask);
    if (::sigaction(number, &action, &previous[number]) != 0) {
        --watchers[number];
        throw std::system_error(errno, std::system_category(), "sigaction");
    }
}

void unwatch(int number) noexcept
{
    std::lock_guard lock(installing);
    if (--watchers[number] == 0)
        ::sigaction(number, &previous[number], nullptr);
}

} // namespace

void attach(engine::engine& e) noexcept
{
    for (auto& slot : engines) {
        engine::engine* none = nullptr;
        if (slot.compare_exchange_strong(none, &e))
            return;
    }
}

void detach(engine::engine& e) noexcept
{
    for (auto& slot : engines) {
        engine::engine* it = &e;
        slot.compare_exchange_strong(it, nullptr);
    }
    while (handlers_running > 0) { // one may have read the slot before
    }
}

void watch_stop_signals()
{
    if (stop_watchers == 0)
        stop_requests = 0;
    ++stop_watchers; // before the handlers are there: a signal that came between would be lost
    watch(SIGINT);
    watch(SIGTERM);
}

void unwatch_stop_signals() noexcept
{
    unwatch(SIGTERM);
    unwatch(SIGINT);
    --stop_watchers;
}

bool pending(unsigned seen) noexcept
{
    return generation.load(std::memory_order_relaxed) != seen;
}

void deliver(loop_core& loop, unsigned& seen) noexcept
{
    seen = generation;
    if (loop.options().handle_signals && stop_requests > 0)
        loop.request_stop();
    loop.raise_signals();
}

unsigned count(int number) noexcept
{
    return counts[number];
}

void claim(int number)
{
    ++claims[number];
    try {
        watch(number);
    } catch (...) {
        --claims[number];
        throw;
    }
}

void unclaim(int number) noexcept
{
    unwatch(number);
    --claims[number];
}

} // namespace detail::signal_hub

namespace detail {

void loop_core::raise_signals() noexcept
{
    for (signals* set = signal_sets; set; set = set->next_set_)
        set->raised();
}

} // namespace detail

signals::signals(int signal_number) : numbers_{signal_number, 0}
{
    claim(1);
}

signals::signals(int first, int second) : numbers_{first, second}
{
    if (first == second)
        throw std::system_error(EINVAL, std::system_category(), "the same signal twice");
    claim(2);
}

void signals::claim(std::size_t n)
{
    auto& loop = detail::loop_core::require();
    for (std::size_t i = 0; i < n; ++i)
        if (int const number = numbers_[i];
            number <= 0 || number >= detail::signal_hub::max_signal || number == SIGKILL || number == SIGSTOP)
            throw std::system_error(EINVAL, std::system_category(), "a signal that can't be awaited");
    std::size_t claimed = 0;
    try {
        for (; claimed < n; ++claimed) {
            seen_[claimed] = detail::signal_hub::count(numbers_[claimed]);
            detail::signal_hub::claim(numbers_[claimed]);
        }
    } catch (...) {
        while (claimed > 0)
            detail::signal_hub::unclaim(numbers_[--claimed]);
        throw;
    }
    next_set_ = std::exchange(loop.signal_sets, this);
}

signals::~signals()
{
    if (waiting_)
        detail::fatal("wring: a signals object was destroyed while a coroutine waits for it; children must end before "
                      "their parents");
    for (signals** set = &detail::loop_core::require().signal_sets; *set; set = &(*set)->next_set_) {
        if (*set == this) {
            *set = next_set_;
            break;
        }
    }
    for (int number : numbers_)
        if (number != 0)
            detail::signal_hub::unclaim(number);
}

int signals::take() noexcept
{
    for (std::size_t i = 0; i < 2; ++i) {
        unsigned const now = numbers_[i] ? detail::signal_hub::count(numbers_[i]) : 0;
        if (now != seen_[i]) {
            seen_[i] = now;
            return numbers_[i];
        }
    }
    return 0;
}

void signals::raised() noexcept
{
    if (!waiting_)
        return;
    if (int const number = take()) {
        waiting_->number_ = number;
        std::exchange(waiting_, nullptr)->wake();
    }
}

bool signals::next_operation::await_ready() noexcept
{
    number_ = owner_.take();
    return number_ != 0;
}

void signals::next_operation::cancel() noexcept
{
    if (owner_.waiting_ != this)
        return; // a signal has already woken it
    owner_.waiting_ = nullptr;
    wake();
}

result<int> signals::next_operation::await_resume() noexcept
{
    if (number_ == 0)
        return errc::canceled;
    return number_;
}

} // namespace wring
