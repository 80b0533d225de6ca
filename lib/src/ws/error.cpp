// SPDX-License-Identifier: BSL-1.0
#include "proto/error.hpp"

#include <wring/ws.hpp>

#include <string>

namespace wring::ws {

namespace {

class category final : public std::error_category
{
public:
    char const* name() const noexcept override { return "wring.ws"; }

    std::string message(int code) const override
    {
        switch (static_cast<errc>(code)) {
        case errc::closed: return "the connection is closed";
        case errc::abnormal_closure: return "the stream ended without a close frame";
        case errc::pong_timeout: return "the peer did not answer a keep-alive ping in time";
        case errc::idle_timeout: return "nothing was received for too long";
        case errc::frame_timeout: return "the rest of a frame took too long";
        case errc::close_timeout: return "the peer did not answer the close frame in time";
        case errc::handshake_timeout: return "the opening handshake took too long";
        case errc::forbidden: return "the request was refused";
        case errc::answered: return "the request was no upgrade and has been answered";
        case errc::no_message: return "a continuation frame where no message is open";
        case errc::outbox_full: return "the outbox has no room for the message";
        }
        return "unknown WebSocket error";
    }

    std::error_condition default_error_condition(int code) const noexcept override
    {
        switch (static_cast<errc>(code)) {
        case errc::pong_timeout:
        case errc::idle_timeout:
        case errc::frame_timeout:
        case errc::close_timeout:
        case errc::handshake_timeout: return std::errc::timed_out;
        case errc::abnormal_closure: return std::errc::connection_aborted;
        case errc::forbidden: return std::errc::permission_denied;
        case errc::outbox_full: return std::errc::no_buffer_space;
        default: return {code, *this};
        }
    }
};

/// Values are those of proto::errc.
class protocol final : public std::error_category
{
public:
    char const* name() const noexcept override { return "wring.ws.protocol"; }
    std::string message(int code) const override { return proto::message(static_cast<proto::errc>(code)); }
    std::error_condition default_error_condition(int) const noexcept override { return std::errc::protocol_error; }
};

/// Values are HTTP status codes.
class http final : public std::error_category
{
public:
    char const* name() const noexcept override { return "wring.ws.http"; }
    std::string message(int code) const override
    {
        return "the server refused the upgrade with HTTP status " + std::to_string(code);
    }
};

/// Values are HTTP status codes, and the reply codes of SOCKS 5, which are below 100.
class proxy final : public std::error_category
{
public:
    char const* name() const noexcept override { return "wring.ws.proxy"; }

    std::string message(int code) const override
    {
        switch (code) {
        case 1: return "the proxy failed";
        case 2: return "the proxy's rules forbid the connection";
        case 3: return "the proxy can't reach the network";
        case 4: return "the proxy can't reach the host";
        case 5: return "the server refused the proxy's connection";
        case 6: return "the proxy's packets expire on their way";
        case 7: return "the proxy does not connect";
        case 8: return "the proxy does not know this kind of address";
        case not_authenticated: return "the proxy refused the authentication";
        default: return "the proxy refused with HTTP status " + std::to_string(code);
        }
    }

    std::error_condition default_error_condition(int code) const noexcept override
    {
        switch (code) {
        case 2:
        case 401: // of tinyproxy, in place of 407
        case 403:
        case 407:
        case not_authenticated: return std::errc::permission_denied;
        case 3: return std::errc::network_unreachable;
        case 4: return std::errc::host_unreachable;
        case 5: return std::errc::connection_refused;
        case 6:
        case 504: return std::errc::timed_out;
        case 7: return std::errc::operation_not_supported;
        case 8: return std::errc::address_family_not_supported;
        default: return {code, *this};
        }
    }

private:
    static constexpr int not_authenticated = 255;
};

} // namespace

std::error_category const& error_category() noexcept
{
    static category const instance;
    return instance;
}

std::error_category const& protocol_category() noexcept
{
    static protocol const instance;
    return instance;
}

std::error_category const& http_category() noexcept
{
    static http const instance;
    return instance;
}

std::error_category const& proxy_category() noexcept
{
    static proxy const instance;
    return instance;
}

std::error_code make_error_code(errc e) noexcept
{
    return {static_cast<int>(e), error_category()};
}

} // namespace wring::ws
