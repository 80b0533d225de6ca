// SPDX-License-Identifier: BSL-1.0
#include "net/socket.hpp"

#include "net.hpp"

#include <fcntl.h>

using namespace net_test;

TEST_CASE("a new socket does not block and is not inherited")
{
    no_descriptor_leaks const check;
    for (int family : {AF_INET, AF_INET6, AF_UNIX}) {
        detail::unique_fd const fd(detail::open_socket(family, SOCK_STREAM).value());
        CHECK((::fcntl(fd.get(), F_GETFL) & O_NONBLOCK) != 0);
        CHECK((::fcntl(fd.get(), F_GETFD) & FD_CLOEXEC) != 0);
        CHECK(socket_option(fd.get(), SOL_SOCKET, SO_TYPE) == SOCK_STREAM);
    }
    CHECK(detail::open_socket(AF_INET, 12345).error() == std::errc::invalid_argument);
}

TEST_CASE("options are set, and errors told")
{
    detail::unique_fd const fd(detail::open_socket(AF_INET, SOCK_STREAM).value());
    CHECK(detail::set_option(fd.get(), SOL_SOCKET, SO_REUSEADDR, 1));
    CHECK(socket_option(fd.get(), SOL_SOCKET, SO_REUSEADDR) == 1);
    detail::set_no_delay(fd.get(), true);
    CHECK(socket_option(fd.get(), IPPROTO_TCP, TCP_NODELAY) == 1);
    detail::set_no_delay(fd.get(), false);
    CHECK(socket_option(fd.get(), IPPROTO_TCP, TCP_NODELAY) == 0);
    CHECK(detail::set_option(-1, SOL_SOCKET, SO_REUSEADDR, 1).error() == std::errc::bad_file_descriptor);
    CHECK(detail::prepare_adopted(-1).error() == std::errc::bad_file_descriptor);
}

TEST_CASE("an adopted descriptor is made non-blocking and close-on-exec, and keeps its other flags")
{
    raw_socket const s(::socket(AF_UNIX, SOCK_STREAM, 0));
    ::fcntl(s.get(), F_SETFL, ::fcntl(s.get(), F_GETFL) | O_APPEND);
    CHECK(detail::prepare_adopted(s.get()));
    CHECK((::fcntl(s.get(), F_GETFD) & FD_CLOEXEC));
    CHECK((::fcntl(s.get(), F_GETFL) & (O_NONBLOCK | O_APPEND)) == (O_NONBLOCK | O_APPEND));
}

TEST_CASE("a socket without address or peer has no endpoint")
{
    CHECK(detail::local_endpoint(-1).size() == 0);
    detail::unique_fd const fd(detail::open_socket(AF_INET, SOCK_STREAM).value());
    CHECK(detail::remote_endpoint(fd.get()).size() == 0);
    CHECK(detail::local_endpoint(fd.get()).to_string() == "0.0.0.0:0");
}

TEST_CASE("a unique descriptor closes what it was not asked to release")
{
    no_descriptor_leaks const check;
    auto const before = open_descriptors();
    {
        detail::unique_fd first(detail::open_socket(AF_UNIX, SOCK_STREAM).value());
        detail::unique_fd second(std::move(first));
        CHECK(first.get() == -1);
        CHECK(open_descriptors() == before + 1);
        raw_socket const kept(second.release());
        CHECK(second.get() == -1);
        CHECK(open_descriptors() == before + 1);
    }
    CHECK(open_descriptors() == before);
}
