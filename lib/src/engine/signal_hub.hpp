// SPDX-License-Identifier: BSL-1.0
// POSIX signals, process-wide: the handlers only count and wake; loops look at the counts in their turns.
#pragma once

namespace wring::engine {
class engine;
}

namespace wring::detail {

class loop_core;

namespace signal_hub {

/// Loops that signals wake.
void attach(engine::engine& e) noexcept;
void detach(engine::engine& e) noexcept;

/// SIGINT and SIGTERM as run() treats them: the first requests stop, the second ends the process. A signals object
/// for one of them takes it over.
void watch_stop_signals();
void unwatch_stop_signals() noexcept;

/// Whether a signal came since `seen` was last given to deliver().
[[nodiscard]] bool pending(unsigned seen) noexcept;
/// Tells the signals objects of `loop`, and requests its stop.
void deliver(loop_core& loop, unsigned& seen) noexcept;

/// For a signals object: counts `number` from now on in place of its default effect, until as many unclaim calls came.
/// Throws std::system_error, and changes nothing, where the system does not let it.
void claim(int number);
void unclaim(int number) noexcept;
/// How often a claimed `number` has come.
[[nodiscard]] unsigned count(int number) noexcept;

} // namespace signal_hub

} // namespace wring::detail
