// SPDX-License-Identifier: BSL-1.0
// Peer: WebSocket echo on Boost.Beast over Asio's epoll reactor, set up for speed as its documentation allows: one
// thread without locks, concrete executor type, whole messages as one frame. With --deflate it compresses as
// echo_server --deflate does (windows of 15 bits that are not kept, memory level 8, level 3), with --takeover they are
// kept. With --tls-cert and --tls-key it speaks TLS.
#include "common.hpp"

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/websocket.hpp>
#include <boost/beast/websocket/ssl.hpp>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <unordered_set>

namespace beast = boost::beast;
namespace net = boost::asio;
namespace websocket = beast::websocket;
using tcp = net::ip::tcp;

namespace {

using executor = net::io_context::executor_type;
using tcp_socket = net::basic_stream_socket<tcp, executor>;
using tls_stream = net::ssl::stream<tcp_socket>;
using message = std::shared_ptr<const std::string>;

enum class compression
{
    none,
    fresh,
    takeover
};

// Stream: tcp_socket or tls_stream. Deflate false: without the code for compression.
template <class Stream, bool Deflate>
class session : public std::enable_shared_from_this<session<Stream, Deflate>>
{
public:
    session(Stream stream, bool broadcast, compression how) : ws_(std::move(stream)), broadcast_(broadcast)
    {
        ws_.auto_fragment(false);
        beast::get_lowest_layer(ws_).set_option(tcp::no_delay(true));
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
        if constexpr (std::is_same_v<Stream, tcp_socket>)
            accept();
        else
            ws_.next_layer().async_handshake(net::ssl::stream_base::server,
                                             [self = this->shared_from_this()](beast::error_code e) {
                                                 if (!e) self->accept();
                                             });
    }

private:
    void accept()
    {
        ws_.async_accept([self = this->shared_from_this()](beast::error_code e) {
            if (e) return;
            if (self->broadcast_) members.insert(self.get());
            self->read();
        });
    }

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

    websocket::stream<Stream, Deflate> ws_;
    beast::flat_buffer buffer_;
    std::deque<message> queue_;
    bool broadcast_;
};

class acceptor
{
public:
    acceptor(net::io_context& io, const bench::server_options& o, compression how, net::ssl::context* tls)
        : acceptor_(io), broadcast_(o.broadcast), compression_(how), tls_(tls)
    {
        int fd = bench::listen_on(o.bind, true);
        auto name = bench::local_name(fd);
        acceptor_.assign(name.front() == '[' ? tcp::v6() : tcp::v4(), fd);
        next();
        bench::announce(tls_ ? "wss" : "ws", name);
    }

private:
    void next()
    {
        acceptor_.async_accept([this](beast::error_code e, tcp_socket socket) {
            if (!e && tls_)
                start(tls_stream(std::move(socket), *tls_));
            else if (!e)
                start(std::move(socket));
            next();
        });
    }

    template <class Stream>
    void start(Stream stream)
    {
        if (compression_ == compression::none)
            std::make_shared<session<Stream, false>>(std::move(stream), broadcast_, compression_)->start();
        else
            std::make_shared<session<Stream, true>>(std::move(stream), broadcast_, compression_)->start();
    }

    net::basic_socket_acceptor<tcp, executor> acceptor_;
    bool broadcast_;
    compression compression_;
    net::ssl::context* tls_;
};

} // namespace

int main(int argc, char** argv)
{
    bench::server_options options;
    auto how = compression::none;
    std::string cert, key;
    for (int i = 1; i < argc;) {
        int n = bench::common_option(options, argc, argv, i);
        std::string_view const name = argv[i];
        if (n == 0 && (name == "--deflate" || name == "--takeover")) {
            how = name == "--deflate" ? compression::fresh : compression::takeover;
            n = 1;
        }
        if (n == 0 && i + 1 < argc && (name == "--tls-cert" || name == "--tls-key")) {
            (name == "--tls-cert" ? cert : key) = argv[i + 1];
            n = 2;
        }
        if (n == 0)
            bench::usage("[--bind HOST:PORT] [--mode echo|broadcast] [--deflate | --takeover]\n"
                         "[--tls-cert FILE --tls-key FILE]\n"
                         "A WebSocket echo on Boost.Beast.");
        i += n;
    }
    bench::exit_on_signals();
    bench::raise_descriptor_limit();
    net::io_context io(BOOST_ASIO_CONCURRENCY_HINT_UNSAFE);
    std::optional<net::ssl::context> tls;
    if (!cert.empty()) {
        tls.emplace(net::ssl::context::tls_server);
        tls->set_options(net::ssl::context::no_tlsv1 | net::ssl::context::no_tlsv1_1);
        tls->use_certificate_chain_file(cert);
        tls->use_private_key_file(key, net::ssl::context::pem);
    }
    acceptor a(io, options, how, tls ? &*tls : nullptr);
    io.run();
}
