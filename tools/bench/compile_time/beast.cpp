// SPDX-License-Identifier: BSL-1.0
// The echo server on Boost.Beast, asynchronous.
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/websocket.hpp>

#include <cstdio>
#include <memory>

namespace beast = boost::beast;
namespace net = boost::asio;
namespace websocket = beast::websocket;
using tcp = net::ip::tcp;

class session : public std::enable_shared_from_this<session>
{
public:
    explicit session(tcp::socket peer) : ws_(std::move(peer))
    {
        ws_.set_option(websocket::stream_base::timeout::suggested(beast::role_type::server));
    }
    void start()
    {
        ws_.async_accept([self = shared_from_this()](beast::error_code error) {
            if (!error)
                self->read();
        });
    }

private:
    void read()
    {
        ws_.async_read(buffer_, [self = shared_from_this()](beast::error_code error, std::size_t) {
            if (!error)
                self->write();
        });
    }
    void write()
    {
        ws_.text(ws_.got_text());
        ws_.async_write(buffer_.data(), [self = shared_from_this()](beast::error_code error, std::size_t) {
            self->buffer_.clear();
            if (!error)
                self->read();
        });
    }

    websocket::stream<beast::tcp_stream> ws_;
    beast::flat_buffer buffer_;
};

void accept(tcp::acceptor& server)
{
    server.async_accept([&server](beast::error_code error, tcp::socket peer) {
        if (!error)
            std::make_shared<session>(std::move(peer))->start();
        accept(server);
    });
}

int main()
{
    net::io_context io(1);
    tcp::acceptor server(io, {net::ip::make_address("127.0.0.1"), 0});
    std::printf("listening on ws://127.0.0.1:%d\n", server.local_endpoint().port());
    std::fflush(stdout);
    accept(server);
    net::signal_set signals(io, SIGINT, SIGTERM);
    signals.async_wait([&io](beast::error_code, int) { io.stop(); });
    io.run();
}
