// SPDX-License-Identifier: BSL-1.0
#include "ws/request_data.hpp"

#include "proto/handshake.hpp"
#include "proto/percent.hpp"
#include "tls/session.hpp"

#include <wring/ws.hpp>

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

std::optional<std::string> request::query_text(std::string_view name) const
{
    auto const value = query_value(name);
    std::string text;
    if (!value || !proto::percent_decode(text, *value, true))
        return std::nullopt;
    return text;
}

std::string_view request::param(std::string_view name) const noexcept
{
    for (auto const& [known, value] : data_.params)
        if (known == name)
            return value;
    return {};
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
    if (data_.socket)
        return data_.socket->tls_info();
    if (!data_.tls)
        return std::nullopt;
    return data_.tls->info();
}

std::any& request::attachment() const noexcept
{
    return data_.attachment;
}

namespace {

task<result<std::string_view>> no_piece()
{
    co_return errc::end_of_stream;
}

/// Free of the request object, which a hook may hold by value.
task<result<std::string>> whole_body(detail::body_source* source)
{
    std::string all;
    while (source) {
        auto const piece = co_await source->next_piece();
        if (!piece && piece.error() == errc::end_of_stream)
            break;
        if (!piece)
            co_return piece.error();
        all.append(*piece);
    }
    co_return all;
}

} // namespace

task<result<std::string_view>> request::read_some()
{
    return data_.body ? data_.body->next_piece() : no_piece();
}

task<result<std::string>> request::body()
{
    return whole_body(data_.body);
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

response response::streamed(std::string content_type, stream_function write)
{
    response r;
    r.content_type = std::move(content_type);
    r.stream = std::move(write);
    return r;
}

response response::challenge(std::string scheme)
{
    response r(401, "credentials are required\n");
    r.headers.emplace_back("WWW-Authenticate", std::move(scheme));
    return r;
}

response response::redirect(std::string location, int status)
{
    response r(status, {});
    r.headers.emplace_back("Location", std::move(location));
    return r;
}

} // namespace wring
