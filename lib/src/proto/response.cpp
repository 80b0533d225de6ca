// SPDX-License-Identifier: BSL-1.0
#include "proto/response.hpp"

#include "proto/handshake.hpp"

#include <algorithm>

namespace wring::proto {
namespace {

struct status_text
{
    std::uint16_t status;
    std::string_view text;
};

constexpr status_text status_texts[] = {
    {200, "OK"},
    {201, "Created"},
    {202, "Accepted"},
    {204, "No Content"},
    {301, "Moved Permanently"},
    {302, "Found"},
    {303, "See Other"},
    {304, "Not Modified"},
    {307, "Temporary Redirect"},
    {308, "Permanent Redirect"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {406, "Not Acceptable"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {410, "Gone"},
    {411, "Length Required"},
    {412, "Precondition Failed"},
    {413, "Content Too Large"},
    {414, "URI Too Long"},
    {415, "Unsupported Media Type"},
    {417, "Expectation Failed"},
    {422, "Unprocessable Content"},
    {426, "Upgrade Required"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {502, "Bad Gateway"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {505, "HTTP Version Not Supported"},
};

} // namespace

std::string_view reason_phrase(std::uint16_t status) noexcept
{
    for (auto const& row : status_texts)
        if (row.status == status) return row.text;
    return {};
}

errc check_fields(std::span<field const> fields) noexcept
{
    for (auto const& f : fields)
        if (auto const e = check_field(f); e != errc::ok) return e;
    return errc::ok;
}

void append_field(std::string& out, std::string_view name, std::string_view value)
{
    out.append(name).append(": ").append(value).append("\r\n");
}

void append_fields(std::string& out, std::span<field const> fields)
{
    for (auto const& f : fields)
        append_field(out, f.name, f.value);
}

errc write_response(std::string& out, response_start const& start)
{
    if (auto const e = check_fields(start.extra); e != errc::ok) return e;
    if (!is_field_value(start.content_type)) return errc::header_value;
    auto const said = [&](std::string_view name) {
        return std::any_of(start.extra.begin(), start.extra.end(),
                           [&](field const& f) { return equal_ignoring_case(f.name, name); });
    };

    out.append("HTTP/1.1 ").append(std::to_string(start.status)).append(" ");
    out.append(reason_phrase(start.status)).append("\r\n");
    bool const upgrade = start.status == 426;
    if (start.close || upgrade)
        append_field(out, "Connection", upgrade ? start.close ? "close, Upgrade" : "Upgrade" : "close");
    if (upgrade) out.append("Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n");
    if (start.status == 405 && !said("Allow")) append_field(out, "Allow", "GET");
    if (start.status == 503 && !said("Retry-After"))
        append_field(out, "Retry-After", std::to_string(start.retry_after));
    if (!start.date.empty() && !said("Date")) append_field(out, "Date", start.date);
    if (!start.content_type.empty() && !said("Content-Type")) append_field(out, "Content-Type", start.content_type);
    if (!has_no_content(start.status)) {
        if (start.length) append_field(out, "Content-Length", std::to_string(*start.length));
        if (start.chunked) append_field(out, "Transfer-Encoding", "chunked");
    }
    append_fields(out, start.extra);
    out.append("\r\n");
    return errc::ok;
}

} // namespace wring::proto
