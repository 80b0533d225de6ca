// SPDX-License-Identifier: BSL-1.0
// What a service manager (systemd, or one that does as it does) says to a program and hears of it, by environment
// variables: sd_listen_fds(3), sd_notify(3).
#pragma once

#include <string_view>
#include <vector>

namespace wring::detail {

/// The sockets that were handed over to this process: those called `name`, or all where that is empty. Still the
/// process's own; closed on exec from now on.
[[nodiscard]] std::vector<int> inherited_sockets(std::string_view name);

/// `READY=1` and the like. Without a manager that wants to hear it, nothing.
void tell_service_manager(std::string_view state) noexcept;

} // namespace wring::detail
