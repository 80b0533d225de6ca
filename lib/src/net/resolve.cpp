// SPDX-License-Identifier: BSL-1.0
#include "net/lookup.hpp"

#include "engine/loop_core.hpp"

#include <netdb.h>

namespace wring {

namespace {

class category final : public std::error_category
{
public:
    char const* name() const noexcept override { return "wring.resolver"; }
    std::string message(int code) const override { return ::gai_strerror(code); }
    std::error_condition default_error_condition(int code) const noexcept override
    {
        if (code == EAI_AGAIN)
            return std::errc::resource_unavailable_try_again;
        return {code, *this};
    }
};

} // namespace

std::error_category const& resolver_category() noexcept
{
    static category const instance;
    return instance;
}

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
    switch (status) {
    case 0: break;
    case EAI_SYSTEM: return {errno, std::system_category()};
    case EAI_MEMORY: return std::make_error_code(std::errc::not_enough_memory);
    case EAI_NONAME:
    case EAI_NODATA:
    case EAI_ADDRFAMILY: return errc::host_not_found;
    default: return {status, resolver_category()};
    }
    std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> const owner(list, &::freeaddrinfo);
    for (addrinfo const* a = list; a; a = a->ai_next) {
        endpoint e = endpoint::from_sockaddr(a->ai_addr, a->ai_addrlen);
        e.set_port(port);
        found.push_back(e);
    }
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

    void run() noexcept
    {
        try {
            error = look_up(host, port, found);
        } catch (std::bad_alloc const&) {
            error = std::make_error_code(std::errc::not_enough_memory);
        }
    }
};

class [[nodiscard]] lookup_operation : suspension
{
public:
    explicit lookup_operation(std::shared_ptr<lookup> l) noexcept : lookup_(std::move(l)) {}
    bool await_ready() const noexcept { return false; }
    template <coroutine_promise P>
    bool await_suspend(std::coroutine_handle<P> h) noexcept
    {
        context const& env = h.promise().env;
        canceled_ = env.stop && env.stop->requested();
        if (canceled_ || !start())
            return complete_at_once(h, env);
        lookup_->waiter = this;
        suspend(h, env, [](suspension& self) noexcept { static_cast<lookup_operation&>(self).cancel(); });
        return true;
    }
    bool await_resume() const noexcept { return !canceled_; }

private:
    bool start() noexcept
    {
        try {
            run_detached(loop_core::require(), [job = lookup_] { job->run(); },
                         [job = lookup_] {
                             if (job->waiter)
                                 std::exchange(job->waiter, nullptr)->wake();
                         });
            return true;
        } catch (std::system_error const& e) {
            lookup_->error = e.code();
        } catch (std::bad_alloc const&) {
            lookup_->error = std::make_error_code(std::errc::not_enough_memory);
        }
        return false;
    }
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
