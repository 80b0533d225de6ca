// SPDX-License-Identifier: BSL-1.0
#include "tls/context.hpp"

namespace wring {

namespace detail {

result<> tls_context::reload()
{
    auto fresh = tls_material::load(settings_);
    if (!fresh)
        return fresh.error();
    std::lock_guard lock(mutex_);
    material_.swap(*fresh); // sessions of the old one keep it
    return {};
}

result<tls::context> const& tls_context::default_client()
{
    static result<tls::context> const made = tls::context::client();
    return made;
}

namespace {

result<std::shared_ptr<tls_context>> make_context(tls_settings settings)
{
    auto material = tls_material::load(settings);
    if (!material)
        return material.error();
    return std::make_shared<tls_context>(std::move(settings), std::move(*material));
}

} // namespace

} // namespace detail

namespace tls {

result<context> context::server(server_options const& options)
{
    detail::tls_settings settings;
    settings.is_server = true;
    settings.certificates.push_back({std::string(options.certificate), std::string(options.key)});
    for (auto const& more : options.more)
        settings.certificates.push_back({std::string(more.certificate), std::string(more.key)});
    settings.key_password = options.key_password;
    settings.alpn = options.alpn;
    settings.clients = options.clients;
    settings.ca = options.client_ca;
    settings.min_version = options.min_version;
    settings.ticket_lifetime = options.ticket_lifetime;
    auto made = detail::make_context(std::move(settings));
    if (!made)
        return made.error();
    return context(std::move(*made));
}

result<context> context::server(std::string_view certificate, std::string_view key)
{
    server_options options;
    options.certificate = certificate;
    options.key = key;
    return server(options);
}

result<context> context::client(client_options const& options)
{
    detail::tls_settings settings;
    if (!options.certificate.empty() || !options.key.empty())
        settings.certificates.push_back({std::string(options.certificate), std::string(options.key)});
    settings.key_password = options.key_password;
    settings.alpn = options.alpn;
    settings.ca = options.ca;
    settings.pins = options.pins;
    settings.min_version = options.min_version;
    settings.skip_verification = options.dangerously_skip_verification;
    auto made = detail::make_context(std::move(settings));
    if (!made)
        return made.error();
    return context(std::move(*made));
}

result<> context::reload()
{
    return core_->reload();
}

} // namespace tls

} // namespace wring
