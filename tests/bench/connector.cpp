// SPDX-License-Identifier: BSL-1.0
#include "../catch.hpp"

#include "../../tools/bench/load/connector.hpp"
#include "../../tools/bench/load/failure.hpp"

#include <wring/listener.hpp>
#include <wring/scope.hpp>

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

using namespace wring;

namespace {

/// A port on which nobody listens, nor can anybody.
class bound_socket
{
public:
    bound_socket()
    {
        auto at = endpoint::parse("127.0.0.1:0").value();
        REQUIRE(::bind(fd_, static_cast<sockaddr const*>(at.data()), static_cast<socklen_t>(at.size())) == 0);
    }
    ~bound_socket() { ::close(fd_); }
    bound_socket(bound_socket const&) = delete;

    [[nodiscard]] std::string address() const
    {
        sockaddr_in at{};
        socklen_t size = sizeof at;
        REQUIRE(::getsockname(fd_, reinterpret_cast<sockaddr*>(&at), &size) == 0);
        return endpoint::from_sockaddr(&at, size).to_string();
    }

private:
    int fd_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
};

} // namespace

TEST_CASE("beyond what one source address has ports for, connections come from the next")
{
    auto const test = []() -> task<> {
        auto server = listener::bind("127.0.0.1:0").value();
        load::options how;
        how.address = server.local().to_string();
        load::connector by(how, 2);
        co_await by.prepare();
        std::vector<std::string> sources;
        for (unsigned id = 0; id < 5; ++id) {
            auto const ours = co_await by.stream(id);
            auto const theirs = co_await server.accept();
            CHECK(theirs->remote() == ours.local());
            sources.push_back(theirs->remote().address());
        }
        CHECK(sources ==
              std::vector<std::string>{"127.0.0.1", "127.0.0.1", "127.0.0.2", "127.0.0.2", "127.0.0.3"});
    };
    CHECK(run(test()) == 0);
}

TEST_CASE("a server that is not there is named, and why")
{
    auto const test = []() -> task<> {
        bound_socket const taken;
        load::options how;
        how.address = taken.address();
        load::connector by(how, 1);
        co_await by.prepare();
        for (unsigned id = 0; id < 2; ++id) { // plainly, and from an address of its own
            std::string why;
            try {
                auto const s = co_await by.stream(id);
            } catch (load::failure const& e) {
                why = e.what();
            }
            CHECK(why == "cannot connect to " + how.address + ": Connection refused");
        }
    };
    CHECK(run(test()) == 0);
}
