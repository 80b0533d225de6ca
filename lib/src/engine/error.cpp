// SPDX-License-Identifier: BSL-1.0
#include <wring/result.hpp>

#include <string>

namespace wring {

namespace {

class category final : public std::error_category
{
public:
    char const* name() const noexcept override { return "wring"; }

    std::string message(int code) const override
    {
        switch (static_cast<errc>(code)) {
        case errc::canceled: return "the operation was canceled";
        case errc::timed_out: return "the operation timed out";
        case errc::end_of_stream: return "the peer has closed the stream";
        case errc::closed: return "closed on this side";
        case errc::busy: return "another coroutine is already in this operation";
        case errc::bad_endpoint: return "not an endpoint (expected HOST:PORT, [IPV6]:PORT or unix:/path)";
        case errc::host_not_found: return "the host name has no address";
        case errc::queue_closed: return "the channel is closed";
        case errc::message_too_large: return "the datagram is larger than the buffer";
        }
        return "unknown wring error";
    }

    std::error_condition default_error_condition(int code) const noexcept override
    {
        switch (static_cast<errc>(code)) {
        case errc::canceled: return std::errc::operation_canceled;
        case errc::timed_out: return std::errc::timed_out;
        case errc::busy: return std::errc::operation_in_progress;
        case errc::bad_endpoint: return std::errc::invalid_argument;
        case errc::closed: return std::errc::not_connected;
        case errc::message_too_large: return std::errc::message_size;
        default: return {code, *this};
        }
    }
};

} // namespace

std::error_category const& error_category() noexcept
{
    static category const instance;
    return instance;
}

std::error_code make_error_code(errc e) noexcept
{
    return {static_cast<int>(e), error_category()};
}

} // namespace wring
