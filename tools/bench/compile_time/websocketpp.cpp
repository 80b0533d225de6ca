// SPDX-License-Identifier: BSL-1.0
// The echo server on websocketpp over Boost.Asio.
#include <websocketpp/config/asio_no_tls.hpp>
#include <websocketpp/server.hpp>

#include <csignal>
#include <cstdio>

using server = websocketpp::server<websocketpp::config::asio>;

int main()
{
    server s;
    s.clear_access_channels(websocketpp::log::alevel::all);
    s.init_asio();
    s.set_message_handler([&s](websocketpp::connection_hdl peer, server::message_ptr message) {
        websocketpp::lib::error_code error;
        s.send(peer, message->get_payload(), message->get_opcode(), error);
    });
    s.listen("127.0.0.1", "0");
    s.start_accept();
    websocketpp::lib::asio::error_code error;
    std::printf("listening on ws://127.0.0.1:%d\n", s.get_local_endpoint(error).port());
    std::fflush(stdout);
    websocketpp::lib::asio::signal_set signals(s.get_io_service(), SIGINT, SIGTERM);
    signals.async_wait([&s](websocketpp::lib::asio::error_code const&, int) { s.stop(); });
    s.run();
}
