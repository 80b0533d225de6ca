// SPDX-License-Identifier: BSL-1.0
// Peer: WebSocket echo on Boost.Beast over Asio's epoll reactor, set up for speed as its documentation allows: one
// thread without locks, concrete executor type, whole messages as one frame. With --deflate it compresses as
// echo_server --deflate does (windows of 15 bits that are not kept, memory level 8, level 3), with --takeover they are
// kept.
#include "common.hpp"

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/websocket.hpp>
#include <deque>
#include <memory>
#include <string>
#include <unordered_set>

namespace beast = boost::beast;
namespace net = boost::asio;
namespace websocket = beast::websocket;
using tcp = net::ip::tcp;

namespace {

using executor = net::io_context::executor_type;
using tcp_socket = net::basic_stream_socket<tcp, executor>;
using message = std::shared_ptr<const std::string>;

enum class compression
{
    none,
    fresh,
    takeover
};

template <bool Deflate> // false: without the code for compression
class session : public std::enable_shared_from_this<session<Deflate>>
{
public:
    session(tcp_socket socket, bool broadcast, compression how) : ws_(std::move(socket)), broadcast_(broadcast)
    {
        ws_.auto_fragment(false);
        ws_.next_layer().set_option(tcp::no_delay(true));
        if constexpr (Deflate) {
            websocket::permessage_deflate o;
            o.server_enable = true;
            o.server_no_context_takeover = o.client_no_context_takeover = how == compression::fresh;
            o.compLevel = 3;
            o.memLevel = 8;
            ws_.set_option(o);
        }
    }

    ~session() { members.erase(this); }

    void start()
    {
        ws_.async_accept([self = this->shared_from_this()](beast::error_code e) {
            if (e) return;
            if (self->broadcast_) members.insert(self.get());
            self->read();
        });
    }

private:
    void read()
    {
        ws_.async_read(buffer_, [self = this->shared_from_this()](beast::error_code e, std::size_t) {
            if (e) return self->ended();
            self->broadcast_ ? self->publish() : self->echo();
        });
    }

    void echo()
    {
        ws_.text(ws_.got_text());
        ws_.async_write(buffer_.data(), [self = this->shared_from_this()](beast::error_code e, std::size_t) {
            if (e) return;
            self->buffer_.consume(self->buffer_.size());
            self->read();
        });
    }

    void publish()
    {
        auto m = std::make_shared<const std::string>(beast::buffers_to_string(buffer_.data()));
        buffer_.consume(buffer_.size());
        for (auto* member : members)
            member->post(m, ws_.got_text());
        read();
    }

    void post(const message& m, bool text)
    {
        queue_.push_back(m);
        if (queue_.size() > 1) return; // a write is under way and will take it
        ws_.text(text);
        write_next();
    }

    void write_next()
    {
        auto done = [self = this->shared_from_this()](beast::error_code e, std::size_t) {
            if (e) return self->ended();
            self->queue_.pop_front();
            if (!self->queue_.empty()) self->write_next();
        };
        ws_.async_write(net::buffer(*queue_.front()), done);
    }

    void ended() { members.erase(this); }

    static inline std::unordered_set<session*> members; // broadcast only

    websocket::stream<tcp_socket, Deflate> ws_;
    beast::flat_buffer buffer_;
    std::deque<message> queue_;
    bool broadcast_;
};

class acceptor
{
public:
    acceptor(net::io_context& io, const bench::server_options& o, compression how)
        : acceptor_(io), broadcast_(o.broadcast), compression_(how)
    {
        int fd = bench::listen_on(o.bind, true);
        auto name = bench::local_name(fd);
        acceptor_.assign(name.front() == '[' ? tcp::v6() : tcp::v4(), fd);
        next();
        bench::announce("ws", name);
    }

private:
    void next()
    {
        acceptor_.async_accept([this](beast::error_code e, tcp_socket socket) {
            if (!e && compression_ == compression::none)
                std::make_shared<session<false>>(std::move(socket), broadcast_, compression_)->start();
            else if (!e)
                std::make_shared<session<true>>(std::move(socket), broadcast_, compression_)->start();
            next();
        });
    }

    net::basic_socket_acceptor<tcp, executor> acceptor_;
    bool broadcast_;
    compression compression_;
};

} // namespace

int main(int argc, char** argv)
{
    bench::server_options options;
    auto how = compression::none;
    for (int i = 1; i < argc;) {
        int n = bench::common_option(options, argc, argv, i);
        std::string_view const name = argv[i];
        if (n == 0 && (name == "--deflate" || name == "--takeover")) {
            how = name == "--deflate" ? compression::fresh : compression::takeover;
            n = 1;
        }
        if (n == 0)
            bench::usage("[--bind HOST:PORT] [--mode echo|broadcast] [--deflate | --takeover]\n"
                         "A WebSocket echo on Boost.Beast.");
        i += n;
    }
    bench::exit_on_signals();
    bench::raise_descriptor_limit();
    net::io_context io(BOOST_ASIO_CONCURRENCY_HINT_UNSAFE);
    acceptor a(io, options, how);
    io.run();
}
