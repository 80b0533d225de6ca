// SPDX-License-Identifier: BSL-1.0
#include "http/service_manager.hpp"

#include "http/harness.hpp"

#include "child.hpp"

#include <fcntl.h>
#include <sys/un.h>

using namespace http_test;
using detail::inherited_sockets;
using detail::tell_service_manager;

namespace {

/// In a child, as descriptors 3 and 4 are taken over: `body()` with two sockets there and the environment that says so.
template <class F>
int with_inherited(F body)
{
    return test::in_child([&] {
               int const one = ::socket(AF_INET, SOCK_STREAM, 0);
               int const two = ::socket(AF_UNIX, SOCK_STREAM, 0);
               int const high_one = ::fcntl(one, F_DUPFD, 100);
               int const high_two = ::fcntl(two, F_DUPFD, 100);
               ::dup2(high_one, 3);
               ::dup2(high_two, 4);
               ::setenv("LISTEN_FDS", "2", 1);
               ::setenv("LISTEN_PID", std::to_string(::getpid()).c_str(), 1);
               ::setenv("LISTEN_FDNAMES", "web:admin", 1);
               return body() ? 0 : 1;
           }).exited_with(0)
               ? 0
               : 1;
}

/// A datagram socket as a service manager has it.
struct manager
{
    explicit manager(std::string where) : socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0))
    {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        std::memcpy(address.sun_path, where.data(), where.size());
        if (where[0] == '@') address.sun_path[0] = '\0';
        auto const size = offsetof(sockaddr_un, sun_path) + where.size() + (where[0] == '@' ? 0 : 1);
        REQUIRE(::bind(socket.get(), reinterpret_cast<sockaddr*>(&address), static_cast<socklen_t>(size)) == 0);
        ::setenv("NOTIFY_SOCKET", where.c_str(), 1);
    }
    manager(manager const&) = delete;
    manager& operator=(manager const&) = delete;
    ~manager() { ::unsetenv("NOTIFY_SOCKET"); }
    std::string heard()
    {
        char text[256];
        auto const n = ::recv(socket.get(), text, sizeof text, 0);
        return n < 0 ? "nothing" : std::string(text, static_cast<std::size_t>(n));
    }
    net_test::raw_socket socket;
};

} // namespace

TEST_CASE("sockets that were handed over are found, by name too")
{
    CHECK(with_inherited([] { return inherited_sockets("") == std::vector<int>{3, 4}; }) == 0);
    CHECK(with_inherited([] { return inherited_sockets("web") == std::vector<int>{3}; }) == 0);
    CHECK(with_inherited([] { return inherited_sockets("admin") == std::vector<int>{4}; }) == 0);
    CHECK(with_inherited([] { return inherited_sockets("other").empty(); }) == 0);
    CHECK(with_inherited([] {
              (void)inherited_sockets("web");
              return (::fcntl(3, F_GETFD) & FD_CLOEXEC) != 0 && (::fcntl(4, F_GETFD) & FD_CLOEXEC) == 0;
          }) == 0);
}

TEST_CASE("sockets that were handed to another process, or not at all, are not touched")
{
    CHECK(inherited_sockets("").empty());
    CHECK(with_inherited([] {
              ::setenv("LISTEN_PID", "1", 1);
              return inherited_sockets("").empty();
          }) == 0);
    for (char const* count : {"0", "-1", "x", "", "2x", "99999999999999999999", "100000"})
        CHECK(with_inherited([&] {
                  ::setenv("LISTEN_FDS", count, 1);
                  return inherited_sockets("").empty();
              }) == 0);
    CHECK(with_inherited([] { // one promised more than there is, and no names
              ::close(5);
              ::setenv("LISTEN_FDS", "3", 1);
              ::unsetenv("LISTEN_FDNAMES");
              return inherited_sockets("") == std::vector<int>{3, 4} && inherited_sockets("web").empty();
          }) == 0);
}

TEST_CASE("the service manager is told, wherever its socket is")
{
    net_test::temporary_folder folder;
    {
        manager there(folder / "notify");
        tell_service_manager("READY=1");
        CHECK(there.heard() == "READY=1");
        CHECK(there.heard() == "nothing");
    }
    manager hidden("@wring-test-notify-" + std::to_string(::getpid()));
    tell_service_manager("STOPPING=1");
    CHECK(hidden.heard() == "STOPPING=1");
}

TEST_CASE("a service manager that can't be told is left alone")
{
    ::unsetenv("NOTIFY_SOCKET");
    tell_service_manager("READY=1");
    for (auto const& where :
         {std::string("nonsense"), std::string(), "/no/such/" + std::string(200, 'x'), std::string("/no/such")}) {
        ::setenv("NOTIFY_SOCKET", where.c_str(), 1);
        tell_service_manager("READY=1");
    }
    ::unsetenv("NOTIFY_SOCKET");
}

TEST_CASE("a server says when it is ready and when it stops")
{
    manager there("@wring-test-ready-" + std::to_string(::getpid()));
    static manager* heard = nullptr;
    heard = &there;
    server app;
    with_listening(app, "127.0.0.1:0", [](server&, endpoint) -> task<> {
        CHECK(heard->heard() == "READY=1");
        CHECK(heard->heard() == "nothing");
        co_return;
    });
    CHECK(there.heard() == "STOPPING=1");
    CHECK(there.heard() == "nothing");
}
