// SPDX-License-Identifier: BSL-1.0
// Peer: Boost.Beast, blocking, a thread for each connection of the server.
#include "peer.hpp"

#include <boost/asio/connect.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/version.hpp>
#include <boost/beast/websocket.hpp>
#include <thread>

namespace beast = boost::beast;
namespace net = boost::asio;
namespace websocket = beast::websocket;
using tcp = net::ip::tcp;
using stream = websocket::stream<tcp::socket>;

static void compress(stream& ws)
{
    websocket::permessage_deflate o;
    o.client_enable = o.server_enable = true;
    ws.set_option(o);
}

static void echo(tcp::socket socket)
{
    stream ws(std::move(socket));
    compress(ws);
    ws.read_message_max(4 << 20);
    beast::error_code e;
    ws.accept(e);
    for (beast::flat_buffer buffer; !e; buffer.clear()) {
        ws.read(buffer, e);
        if (e)
            break;
        ws.text(ws.got_text());
        if (beast::buffers_to_string(buffer.data()) == "close, please")
            ws.close({websocket::close_code(4001), "as asked"}, e); // and waits for the answer
        else
            ws.write(buffer.data(), e);
    }
}

static void serve()
{
    net::io_context io;
    tcp::acceptor acceptor(io, {net::ip::make_address("127.0.0.1"), 0});
    peer::say("listening on " + std::to_string(acceptor.local_endpoint().port()));
    for (;;)
        std::thread(echo, acceptor.accept()).detach();
}

static void dial(peer::job const& j)
{
    net::io_context io;
    stream ws(io);
    net::connect(ws.next_layer(), tcp::resolver(io).resolve(j.host, j.port));
    if (j.deflate)
        compress(ws);
    ws.read_message_max(4 << 20);
    ws.auto_fragment(false);
    ws.handshake(j.host + ":" + j.port, j.target);
    beast::flat_buffer buffer;
    for (auto const& message : j.messages) {
        ws.text(message.text);
        auto const frames = message.frames();
        for (std::size_t i = 0; i < frames.size(); ++i)
            ws.write_some(i + 1 == frames.size(), net::buffer(frames[i]));
        ws.read(buffer);
        peer::check(ws.got_text() == message.text && beast::buffers_to_string(buffer.data()) == message.data,
                    message.word + " came back different");
        buffer.clear();
    }
    if (j.ending == "close")
        ws.close({websocket::close_code::normal, "bye"});
    else {
        if (j.ending == "asked") {
            ws.text(true);
            ws.write(net::buffer(std::string("close, please")));
        } else
            peer::say("waiting");
        beast::error_code e;
        ws.read(buffer, e);
        peer::check(e == websocket::error::closed, "no close: " + e.message());
    }
    peer::closed_as_wanted(j, ws.reason().code, {ws.reason().reason.data(), ws.reason().reason.size()});
}

int main(int argc, char** argv)
{
    return peer::main(argc, argv, std::string("Boost ") + BOOST_LIB_VERSION + ", " + BOOST_BEAST_VERSION_STRING, serve,
                      dial);
}
