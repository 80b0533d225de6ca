// SPDX-License-Identifier: BSL-1.0
// The public face of a connection.
#include "tls/session.hpp"
#include "ws/connection_core.hpp"

namespace wring {

namespace ws {

connection::connection(connection&& other) noexcept : core_(std::exchange(other.core_, nullptr)) {}

connection& connection::operator=(connection&& other) noexcept
{
    std::swap(core_, other.core_);
    return *this;
}

connection::~connection()
{
    if (core_)
        core_->orphan();
}

connection::ping_operation connection::ping() noexcept
{
    return ping_operation(*core_);
}

connection::close_operation connection::close(close_code code, std::string_view reason) noexcept
{
    return {*core_, code, reason};
}

connection::close_operation connection::wait_closed() noexcept
{
    return close_operation(*core_);
}

void connection::abort() noexcept
{
    core_->abort();
}

status connection::status() const noexcept
{
    return core_->status();
}

bool connection::is_open() const noexcept
{
    return core_->is_open();
}

std::size_t connection::buffered() const noexcept
{
    return core_->buffered();
}

std::string_view connection::subprotocol() const noexcept
{
    return core_->subprotocol();
}

bool connection::deflates() const noexcept
{
    return core_->deflates();
}

endpoint connection::remote() const
{
    return core_->remote();
}

endpoint connection::local() const
{
    return core_->local();
}

std::optional<tls::info> connection::tls_info() const
{
    auto const* const session = core_->tls();
    if (!session)
        return std::nullopt;
    return session->info();
}

bool connection::write_operation::start(std::coroutine_handle<> h, detail::context const& env) noexcept
{
    return core_->start(*this, h, env);
}

bool connection::ping_operation::start(std::coroutine_handle<> h, detail::context const& env) noexcept
{
    return core_->start(*this, h, env);
}

bool connection::close_operation::start(std::coroutine_handle<> h, detail::context const& env) noexcept
{
    return core_->start(*this, h, env);
}

} // namespace ws

void detail::reading_operation::go_on() noexcept
{
    core_->reader_goes_on();
}

std::error_code detail::reading_operation::error() const noexcept
{
    switch (outcome_) {
    case outcome::busy: return errc::busy;
    case outcome::canceled: return errc::canceled;
    default: return core_->end();
    }
}

bool detail::reading_operation::start(std::coroutine_handle<> h, context const& env) noexcept
{
    return core_->start(*this, h, env);
}

} // namespace wring
