// SPDX-License-Identifier: BSL-1.0
// Peer: WebSocket echo on websocketpp over Boost.Asio (epoll): one thread, no locks, no logging, no compression, its
// default timeouts.
#include "common.hpp"

#include <memory>
#include <set>
#include <websocketpp/concurrency/none.hpp>
#include <websocketpp/config/asio_no_tls.hpp>
#include <websocketpp/logger/stub.hpp>
#include <websocketpp/server.hpp>

namespace {

struct config : websocketpp::config::asio
{
    using type = config;
    using base = websocketpp::config::asio;
    using concurrency_type = websocketpp::concurrency::none;
    using alog_type = websocketpp::log::stub;
    using elog_type = websocketpp::log::stub;

    struct transport_config : base::transport_config
    {
        using concurrency_type = config::concurrency_type;
        using alog_type = config::alog_type;
        using elog_type = config::elog_type;
        static constexpr bool enable_multithreading = false;
    };

    using transport_type = websocketpp::transport::asio::endpoint<transport_config>;
};

using server = websocketpp::server<config>;
using handle = websocketpp::connection_hdl;

} // namespace

int main(int argc, char** argv)
{
    bench::server_options options;
    for (int i = 1; i < argc;) {
        int n = bench::common_option(options, argc, argv, i);
        if (n == 0) bench::usage("[--bind HOST:PORT] [--mode echo|broadcast]\nA WebSocket echo on websocketpp.");
        i += n;
    }
    bench::exit_on_signals();
    bench::raise_descriptor_limit();
    auto where = bench::split_host_port(options.bind);

    server s;
    std::set<handle, std::owner_less<handle>> members;
    s.init_asio();
    s.set_reuse_addr(true);
    s.set_listen_backlog(4096);
    s.set_tcp_post_init_handler([&s](handle h) {
        websocketpp::lib::asio::error_code e;
        s.get_con_from_hdl(h)->get_raw_socket().set_option(websocketpp::lib::asio::ip::tcp::no_delay(true), e);
    });
    if (options.broadcast) {
        s.set_open_handler([&](handle h) { members.insert(h); });
        s.set_close_handler([&](handle h) { members.erase(h); });
        s.set_message_handler([&](handle, server::message_ptr m) {
            websocketpp::lib::error_code e;
            for (const auto& h : members)
                s.send(h, m->get_payload(), m->get_opcode(), e);
        });
    } else {
        s.set_message_handler([&s](handle h, server::message_ptr m) {
            websocketpp::lib::error_code e;
            s.send(h, m->get_payload(), m->get_opcode(), e);
        });
    }
    websocketpp::lib::error_code e;
    s.listen(where.host, where.port, e);
    if (e) bench::die("cannot listen on " + options.bind + ": " + e.message());
    s.start_accept(e);
    if (e) bench::die("cannot accept: " + e.message());
    websocketpp::lib::asio::error_code ae;
    auto at = s.get_local_endpoint(ae);
    auto host = at.address().is_v6() ? "[" + at.address().to_string() + "]" : at.address().to_string();
    bench::announce("ws", host + ":" + std::to_string(at.port()));
    s.run();
}
