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
        case errc::close_timeout: return "the peer did not answer the close frame in time";
        case errc::handshake_timeout: return "the opening handshake took too long";
        case errc::forbidden: return "the request was refused";
        case errc::answered: return "the request was no upgrade and has been answered";
        case errc::no_message: return "a continuation frame where no message is open";
        }
        return "unknown WebSocket error";
    }

    std::error_condition default_error_condition(int code) const noexcept override
    {
        switch (static_cast<errc>(code)) {
        case errc::pong_timeout:
        case errc::idle_timeout:
        case errc::close_timeout:
        case errc::handshake_timeout: return std::errc::timed_out;
        case errc::abnormal_closure: return std::errc::connection_aborted;
        case errc::forbidden: return std::errc::permission_denied;
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

std::error_code make_error_code(errc e) noexcept
{
    return {static_cast<int>(e), error_category()};
}

} // namespace wring::ws
