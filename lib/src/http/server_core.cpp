// SPDX-License-Identifier: BSL-1.0
#include "http/server_core.hpp"

#include "http/server_loop.hpp"
#include "engine/run_state.hpp"
#include "http/service_manager.hpp"

#include <algorithm>
#include <fmt/format.h>
#include <stdexcept>
#include <sys/resource.h>

namespace wring::detail {

namespace {

/// The descriptors that this process may have.
std::size_t descriptor_limit() noexcept
{
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
        return 1 << 20;
    return static_cast<std::size_t>(limit.rlim_cur);
}

std::string text_of(std::exception_ptr const& failure)
{
    try {
        std::rethrow_exception(failure);
    } catch (std::exception const& e) {
        return e.what();
    } catch (...) {
        return "an exception of unknown type";
    }
}

} // namespace

kept_upgrade_options::kept_upgrade_options(ws::upgrade_options const& given) :
    values_(given), subprotocols_(given.subprotocols), origins_(given.origins)
{
    values_.subprotocols = subprotocols_;
    values_.origins = origins_;
    for (auto const& h : given.headers)
        texts_.emplace_back(h.name, h.value);
    for (auto const& [name, value] : texts_)
        headers_.push_back({name, value});
    values_.headers = headers_;
}

server_core::server_core(server_options const& given) : options(given) {}

void server_core::check_setting_up() const
{
    if (serving() > 0)
        throw std::logic_error("a server is set up before it serves");
}

route_target& server_core::add_route(std::string_view method, std::string_view pattern)
{
    check_setting_up();
    auto target = std::make_unique<route_target>();
    target->pattern = pattern;
    target->max_body = options.max_body;
    targets.reserve(targets.size() + 1);
    routes.add(method, pattern); // gives the next index
    targets.push_back(std::move(target));
    return *targets.back();
}

std::size_t server_core::inherit(std::string_view name, std::optional<tls::context> tls, listen_options how)
{
    check_setting_up();
    auto const sockets = inherited_sockets(name);
    for (int fd : sockets)
        places.push_back({{}, fd, how, tls});
    return sockets.size();
}

void server_core::set_limits() noexcept
{
    auto const descriptors = descriptor_limit();
    connection_counts::limits limits;
    limits.total = options.max_connections ? options.max_connections : std::max<std::size_t>(1, descriptors / 10 * 9);
    limits.unopened = options.max_unopened ? options.max_unopened : std::max<std::size_t>(1, limits.total / 4);
    limits.per_address = options.max_per_address;
    limits.refusals = std::clamp<std::size_t>(descriptors / 40, 4, 1024);
    counts->set_limits(limits);
}

/// A loop among those that serve.
class server_core::presence
{
public:
    presence(server_core& core, server_loop& loop, bool announce) : core_(core), loop_(loop)
    {
        core_.enter(loop_, announce);
    }
    presence(presence const&) = delete;
    presence& operator=(presence const&) = delete;
    ~presence() { core_.leave(loop_); }

private:
    server_core& core_;
    server_loop& loop_;
};

namespace {

/// Drains, and rethrows what has ended the serving, if anything has.
task<> drain(server_loop& here)
{
    context& env = co_await get_context();
    auto* const outer = std::exchange(env.stop, nullptr); // from here on there are times for everything
    std::exception_ptr failure;
    try {
        co_await here.finish();
    } catch (...) {
        failure = std::current_exception();
    }
    env.stop = outer;
    if (failure)
        std::rethrow_exception(failure);
}

} // namespace

task<> server_core::serve()
{
    server_loop here(*this, loop_core::require());
    here.listen();
    presence const serving(*this, here, true);
    here.start();
    co_await here.asked();
    co_await drain(here);
}

task<> server_core::serve(stream peer)
{
    server_loop here(*this, loop_core::require());
    presence const serving(*this, here, false);
    here.admit(std::move(peer), nullptr);
    co_await here.asked_or_alone();
    co_await drain(here);
}

void server_core::enter(server_loop& here, bool announce)
{
    std::lock_guard lock(mutex_);
    if (loops_.empty())
        set_limits();
    auto const number = here.loop().run_state()->number;
    if (loops_.empty() && run_ != number)
        begin_anew();
    run_ = number;
    loops_.push_back(&here);
    if (stopping_)
        here.ask();
    if (!announce || std::exchange(announced_, true))
        return;
    try {
        for (auto const& l : here.listeners())
            if (on_listening)
                on_listening(l->local());
    } catch (...) {
        loops_.pop_back();
        announced_ = false;
        throw;
    }
    tell_service_manager("READY=1");
}

void server_core::leave(server_loop& here) noexcept
{
    std::lock_guard lock(mutex_);
    std::erase(loops_, &here);
    if (loops_.empty() && here.loop().options().threads == 1)
        begin_anew();
}

void server_core::begin_anew() noexcept
{
    stopping_ = announced_ = told_stopping_ = false;
}

void server_core::stop() noexcept
{
    std::lock_guard lock(mutex_);
    stopping_ = stopping_ || !loops_.empty();
    for (auto* one : loops_)
        one->loop().handle().post([this, one] {
            std::lock_guard inner(mutex_);
            if (std::find(loops_.begin(), loops_.end(), one) != loops_.end())
                one->ask();
        });
}

void server_core::drain_begins() noexcept
{
    std::lock_guard lock(mutex_);
    if (announced_ && !std::exchange(told_stopping_, true))
        tell_service_manager("STOPPING=1");
}

std::size_t server_core::serving() const noexcept
{
    std::lock_guard lock(mutex_);
    return loops_.size();
}

void server_core::report(std::string_view route, endpoint const& remote, std::exception_ptr exception) noexcept
{
    server_error const what{route, remote, std::move(exception)};
    try {
        if (on_error)
            on_error(what);
        else
            log_error(what);
    } catch (...) { // there is nobody left to tell
    }
}

void server_core::log_error(server_error const& what) noexcept
{
    std::size_t left_out = 0;
    {
        std::lock_guard lock(mutex_);
        auto const now = clock::now();
        if (logged_ != clock::time_point() && now - logged_ < std::chrono::seconds(1)) {
            ++unlogged_;
            return;
        }
        logged_ = now;
        left_out = std::exchange(unlogged_, 0);
    }
    try {
        auto const more = left_out ? fmt::format(" ({} more before)", left_out) : std::string();
        log_line(fmt::format("wring: {} for {}: {}{}", what.route.empty() ? "server" : what.route,
                             what.remote.to_string(), text_of(what.exception), more));
    } catch (...) { // without memory there is no line
    }
}

} // namespace wring::detail
