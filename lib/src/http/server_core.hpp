// SPDX-License-Identifier: BSL-1.0
// The inside of a server: what it was told, and what its loops share.
#pragma once

#include "http/address.hpp"
#include "http/counts.hpp"
#include "http/files.hpp"
#include "http/router.hpp"

#include <wring/server.hpp>

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace wring::detail {

class server_loop;

/// Upgrade options with everything that they refer to, but for the hook.
class kept_upgrade_options
{
public:
    explicit kept_upgrade_options(ws::upgrade_options const& given);
    kept_upgrade_options(kept_upgrade_options const&) = delete;
    kept_upgrade_options& operator=(kept_upgrade_options const&) = delete;

    [[nodiscard]] ws::upgrade_options const& get() const noexcept { return values_; }

private:
    ws::upgrade_options values_;
    std::string subprotocols_;
    std::string origins_;
    std::vector<std::pair<std::string, std::string>> texts_;
    std::vector<header> headers_;
};

/// What answers the requests of one route.
struct route_target
{
    enum class kind : std::uint8_t { websocket, handler, page, files, health };

    kind what = kind::handler;
    std::string pattern;

    // websocket: one of the two handlers
    server::ws_handler ws;
    server::ws_request_handler ws_with_request;
    std::unique_ptr<kept_upgrade_options> upgrade;

    // handler
    server::http_handler handler;
    std::uint64_t max_body = 0; // also of the others, that read none
    std::string origins;

    // page
    std::string content;
    std::string content_type;
    std::string etag;

    // files
    std::unique_ptr<served_folder> folder;
    std::size_t prefix_segments = 0; // of the path, before the folder's
};

/// Where a server listens.
struct listening_place
{
    std::string where; // for listener::bind; empty for an inherited socket
    int inherited = -1;
    listen_options options;
    std::optional<tls::context> tls; // to speak there
};

class server_core
{
public:
    explicit server_core(server_options const& given);
    server_core(server_core const&) = delete;
    server_core& operator=(server_core const&) = delete;

    /// Throws where loops serve.
    void check_setting_up() const;
    route_target& add_route(std::string_view method, std::string_view pattern);
    std::size_t inherit(std::string_view name, std::optional<tls::context> tls, listen_options how);

    task<> serve();
    task<> serve(stream peer);
    void stop() noexcept;

    /// Tells on_error of what has left a handler.
    void report(std::string_view route, endpoint const& remote, std::exception_ptr exception) noexcept;

    /// Loops that serve: they share the rate of a drain.
    [[nodiscard]] std::size_t serving() const noexcept;
    void drain_begins() noexcept;

    server_options options;
    router routes;
    std::vector<std::unique_ptr<route_target>> targets; // by the router's index
    std::vector<listening_place> places;
    address_set proxies;
    std::shared_ptr<connection_counts> counts = std::make_shared<connection_counts>();
    std::function<void(server_error const&)> on_error;
    std::function<void(endpoint const&)> on_listening;

private:
    class presence;
    void set_limits() noexcept;
    void enter(server_loop& here, bool announce);
    void leave(server_loop& here) noexcept;
    void begin_anew() noexcept;
    void log_error(server_error const& what) noexcept;

    std::mutex mutable mutex_;
    std::vector<server_loop*> loops_; // that serve
    // Of one run() of several loops, where one may come when others have left already; or of one serve().
    std::uint64_t run_ = 0;
    bool stopping_ = false;
    bool announced_ = false;
    bool told_stopping_ = false;
    clock::time_point logged_{};      // the last line
    std::size_t unlogged_ = 0;        // since then
};

} // namespace wring::detail
