// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "tls/material.hpp"

namespace wring::detail {

/// The inside of tls::context: what it was asked for, and what it has read last.
class tls_context
{
public:
    tls_context(tls_settings settings, std::shared_ptr<tls_material> material) noexcept :
        settings_(std::move(settings)), material_(std::move(material))
    {}

    [[nodiscard]] bool is_server() const noexcept { return settings_.is_server; }
    [[nodiscard]] std::shared_ptr<tls_material> material() const
    {
        std::lock_guard lock(mutex_);
        return material_;
    }
    result<> reload();

    /// A client's context with the default options, made once; an error where the system's certificates can't be used.
    [[nodiscard]] static result<tls::context> const& default_client();

private:
    tls_settings const settings_;
    mutable std::mutex mutex_;
    std::shared_ptr<tls_material> material_;
};

} // namespace wring::detail
