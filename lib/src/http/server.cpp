// SPDX-License-Identifier: BSL-1.0
// The public face of a server.
#include <wring/server.hpp>

#include "http/server_core.hpp"
#include "proto/percent.hpp"
#include "tls/context.hpp"

#include <stdexcept>

namespace wring {

using detail::route_target;

namespace {

/// A client's context would fail in each handshake, when nobody looks any more.
tls::context a_servers(tls::context with)
{
    if (!with.core().is_server())
        throw std::invalid_argument("a server listens with a server's TLS context, not a client's");
    return with;
}

} // namespace

server::server(server_options options) : core_(std::make_unique<detail::server_core>(options)) {}

server::~server()
{
    if (core_->serving() > 0)
        detail::fatal("wring: a server was destroyed while it serves; it must outlive run()");
}

void server::listen(std::string where, listen_options options)
{
    core_->check_setting_up();
    core_->places.push_back({std::move(where), -1, options, {}});
}

void server::listen(std::string where, tls::context with, listen_options options)
{
    core_->check_setting_up();
    core_->places.push_back({std::move(where), -1, options, a_servers(std::move(with))});
}

std::size_t server::listen_inherited(std::string_view name, listen_options options)
{
    return core_->inherit(name, {}, options);
}

std::size_t server::listen_inherited(std::string_view name, tls::context with, listen_options options)
{
    return core_->inherit(name, a_servers(std::move(with)), options);
}

void server::trust_proxies(std::string_view list)
{
    core_->check_setting_up();
    detail::address_set trusted;
    trusted.add(list);
    core_->proxies = std::move(trusted);
}

void server::ws(std::string_view pattern, ws_handler handler, ws::upgrade_options options)
{
    auto& target = core_->add_route({}, pattern);
    target.what = route_target::kind::websocket;
    target.ws = std::move(handler);
    target.upgrade = std::make_unique<detail::kept_upgrade_options>(options);
}

void server::ws(std::string_view pattern, ws_request_handler handler, ws::upgrade_options options)
{
    auto& target = core_->add_route({}, pattern);
    target.what = route_target::kind::websocket;
    target.ws_with_request = std::move(handler);
    target.upgrade = std::make_unique<detail::kept_upgrade_options>(options);
}

void server::route(std::string_view method, std::string_view pattern, http_handler handler, route_options options)
{
    if (method.empty())
        throw std::invalid_argument("route " + std::string(pattern) + ": its method is none");
    auto& target = core_->add_route(method, pattern);
    target.handler = std::move(handler);
    target.origins = options.origins;
    if (options.max_body > 0)
        target.max_body = options.max_body;
}

void server::get(std::string_view pattern, http_handler handler, route_options options)
{
    route("GET", pattern, std::move(handler), options);
}

void server::post(std::string_view pattern, http_handler handler, route_options options)
{
    route("POST", pattern, std::move(handler), options);
}

void server::page(std::string_view path, std::string_view content, std::string_view content_type)
{
    auto& target = core_->add_route("GET", path);
    target.what = route_target::kind::page;
    target.content = content;
    target.content_type = content_type;
    target.etag = detail::etag_of(content);
}

void server::files(std::string_view prefix, std::string const& folder, files_options options)
{
    if (!prefix.ends_with('/') || prefix.find_first_of("{*") != prefix.npos)
        throw std::invalid_argument("files below " + std::string(prefix) + ": a path that ends in / is needed");
    auto served = std::make_unique<detail::served_folder>(folder, options);
    auto& target = core_->add_route("GET", std::string(prefix) + "*");
    target.what = route_target::kind::files;
    target.folder = std::move(served);
    (void)proto::each_segment(prefix, [&](std::string_view) { ++target.prefix_segments; });
    --target.prefix_segments; // the empty one behind the last slash is the folder's
}

void server::health(std::string_view path)
{
    core_->add_route("GET", path).what = route_target::kind::health;
}

void server::on_error(std::function<void(server_error const&)> told)
{
    core_->check_setting_up();
    core_->on_error = std::move(told);
}

void server::on_listening(std::function<void(endpoint const&)> told)
{
    core_->check_setting_up();
    core_->on_listening = std::move(told);
}

task<> server::serve()
{
    return core_->serve();
}

task<> server::serve(stream peer)
{
    return core_->serve(std::move(peer));
}

void server::stop() noexcept
{
    core_->stop();
}

std::size_t server::connections() const noexcept
{
    return core_->counts->total();
}

} // namespace wring
