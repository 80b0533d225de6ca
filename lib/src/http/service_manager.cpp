// SPDX-License-Identifier: BSL-1.0
#include "http/service_manager.hpp"

#include "net/socket.hpp"

#include <charconv>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace wring::detail {

namespace {

constexpr int first_inherited = 3;

long number_in(char const* variable) noexcept
{
    char const* const text = std::getenv(variable);
    long value = 0;
    if (!text)
        return 0;
    auto const end = text + std::strlen(text);
    auto const [read, error] = std::from_chars(text, end, value);
    return error == std::errc() && read == end ? value : 0;
}

} // namespace

std::vector<int> inherited_sockets(std::string_view name)
{
    std::vector<int> found;
    long const count = number_in("LISTEN_FDS");
    if (count <= 0 || count > 4096 || number_in("LISTEN_PID") != ::getpid())
        return found;
    char const* const given = std::getenv("LISTEN_FDNAMES");
    std::string_view names = given ? given : "";
    for (int fd = first_inherited; fd < first_inherited + static_cast<int>(count); ++fd) {
        auto const colon = names.find(':');
        auto const its_name = names.substr(0, colon);
        names = colon == names.npos ? std::string_view() : names.substr(colon + 1);
        if (!name.empty() && name != its_name)
            continue;
        int const flags = ::fcntl(fd, F_GETFD);
        if (flags < 0)
            continue; // promised and not there
        ::fcntl(fd, F_SETFD, flags | FD_CLOEXEC);
        found.push_back(fd);
    }
    return found;
}

void tell_service_manager(std::string_view state) noexcept
{
    char const* const path = std::getenv("NOTIFY_SOCKET");
    sockaddr_un address{};
    if (!path || (path[0] != '/' && path[0] != '@') || std::strlen(path) >= sizeof address.sun_path)
        return;
    address.sun_family = AF_UNIX;
    std::size_t const size = std::strlen(path);
    std::memcpy(address.sun_path, path, size);
    if (path[0] == '@')
        address.sun_path[0] = '\0';
    auto const whole = offsetof(sockaddr_un, sun_path) + size + (path[0] == '@' ? 0 : 1);
    unique_fd const fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    if (fd.get() >= 0)
        ::sendto(fd.get(), state.data(), state.size(), MSG_NOSIGNAL | MSG_DONTWAIT,
                 reinterpret_cast<sockaddr const*>(&address), static_cast<socklen_t>(whole));
}

} // namespace wring::detail
