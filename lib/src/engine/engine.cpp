// SPDX-License-Identifier: BSL-1.0
#include "engine/engine.hpp"

#include <cerrno>
#include <sys/eventfd.h>
#include <system_error>
#include <unistd.h>

namespace wring::engine {

descriptor::~descriptor()
{
    if (fd_ >= 0)
        ::close(fd_);
}

int descriptor::release() noexcept
{
    return std::exchange(fd_, -1);
}

engine::engine() : wake_fd_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK))
{
    if (wake_fd_ < 0)
        throw std::system_error(errno, std::system_category(), "eventfd");
}

engine::~engine()
{
    ::close(wake_fd_);
}

void engine::wake() noexcept
{
    std::uint64_t const one = 1;
    [[maybe_unused]] auto written = ::write(wake_fd_, &one, sizeof one); // full means that a wake is pending
}

} // namespace wring::engine
