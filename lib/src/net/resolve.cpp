// SPDX-License-Identifier: BSL-1.0
#include "net/lookup.hpp"

#include "engine/loop_core.hpp"

#include <netdb.h>

namespace wring {

namespace detail {

std::error_code look_up(std::string const& host, std::uint16_t port, std::vector<endpoint>& found)
{
    addrinfo hints{};
    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_ADDRCONFIG;
    addrinfo* list = nullptr;
    int status = ::getaddrinfo(host.c_str(), nullptr, &hints, &list);
    if (status == EAI_NONAME || status == EAI_ADDRFAMILY) { // a machine with loopback only has no configured address
        hints.ai_flags = 0;
        status = ::getaddrinfo(host.c_str(), nullptr, &hints, &list);
    }
    if (status == EAI_SYSTEM)
        return {errno, std::system_category()};
    if (status != 0)
        return errc::host_not_found;
    for (addrinfo const* a = list; a; a = a->ai_next) {
        endpoint e = endpoint::from_sockaddr(a->ai_addr, a->ai_addrlen);
        e.set_port(port);
        found.push_back(e);
    }
    ::freeaddrinfo(list);
    return {};
}

namespace {

/// A look-up on the thread pool. Shared, as the one who waits may leave before it ends.
struct lookup
{
    std::string host;
    std::uint16_t port = 0;
    std::vector<endpoint> found;
    std::error_code error;
    suspension* waiter = nullptr; // on the loop
};

class [[nodiscard]] lookup_operation : suspension
{
public:
    explicit lookup_operation(std::shared_ptr<lookup> l) noexcept : lookup_(std::move(l)) {}
    bool await_ready() const noexcept { return false; }
    template <coroutine_promise P>
    void await_suspend(std::coroutine_handle<P> h)
    {
        lookup_->waiter = this;
        suspend(h, [](suspension& self) noexcept { static_cast<lookup_operation&>(self).cancel(); });
        run_detached(loop_core::require(), [job = lookup_] { job->error = look_up(job->host, job->port, job->found); },
                     [job = lookup_] {
                         if (job->waiter)
                             std::exchange(job->waiter, nullptr)->wake();
                     });
    }
    bool await_resume() const noexcept { return !canceled_; }

private:
    void cancel() noexcept
    {
        if (!std::exchange(lookup_->waiter, nullptr))
            return;
        canceled_ = true;
        wake();
    }
    std::shared_ptr<lookup> lookup_;
    bool canceled_ = false;
};

} // namespace

} // namespace detail

task<result<std::vector<endpoint>>> resolve(std::string host, std::uint16_t port)
{
    auto job = std::make_shared<detail::lookup>();
    job->host = std::move(host);
    job->port = port;
    detail::lookup_operation operation(job);
    bool const done = co_await operation;
    if (!done)
        co_return errc::canceled;
    if (job->error)
        co_return job->error;
    co_return std::move(job->found);
}

task<result<std::vector<endpoint>>> resolve(std::string text)
{
    auto literal = endpoint::parse(text);
    if (literal)
        co_return std::vector<endpoint>{*literal};
    if (text.starts_with("unix:"))
        co_return literal.error();
    auto const parts = split_host_port(text);
    if (!parts)
        co_return parts.error();
    auto found = co_await resolve(std::string(parts->host), parts->port);
    co_return found;
}

} // namespace wring
