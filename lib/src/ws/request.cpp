// SPDX-License-Identifier: BSL-1.0
#include "ws/request_data.hpp"

#include "proto/handshake.hpp"
#include "tls/session.hpp"

namespace wring {

std::string_view request::method() const noexcept
{
    return data_.head.method;
}

std::string_view request::target() const noexcept
{
    return data_.head.target;
}

std::string_view request::path() const noexcept
{
    return data_.head.path();
}

std::string_view request::query() const noexcept
{
    return data_.head.query();
}

std::optional<std::string_view> request::query_value(std::string_view name) const noexcept
{
    for (auto const& pair : data_.head.query_pairs())
        if (pair.name == name)
            return pair.value;
    return std::nullopt;
}

std::optional<std::string_view> request::field(std::string_view name) const noexcept
{
    return data_.head.fields.find(name);
}

std::vector<header> request::fields() const
{
    std::vector<header> all;
    for (auto const& f : data_.head.fields)
        all.push_back({f.name, f.value});
    return all;
}

std::optional<std::string_view> request::cookie(std::string_view name) const noexcept
{
    for (auto const& pair : data_.head.cookies())
        if (pair.name == name)
            return pair.value;
    return std::nullopt;
}

std::vector<std::string_view> request::subprotocols() const
{
    std::vector<std::string_view> names;
    data_.head.fields.each_element("Sec-WebSocket-Protocol", [&](std::string_view name) {
        names.push_back(name);
        return true;
    });
    return names;
}

bool request::is_upgrade() const noexcept
{
    return proto::check_upgrade(data_.head) == proto::errc::ok;
}

endpoint const& request::remote() const noexcept
{
    return data_.remote;
}

std::optional<tls::info> request::tls_info() const
{
    if (!data_.tls)
        return std::nullopt;
    return data_.tls->info();
}

response response::accept()
{
    return {101, {}};
}

response response::refuse(int status, std::string body)
{
    return {status, std::move(body)};
}

response response::html(std::string body)
{
    response r(200, std::move(body));
    r.content_type = "text/html; charset=utf-8";
    return r;
}

} // namespace wring
