// SPDX-License-Identifier: BSL-1.0
// Peer: websocketpp over Boost.Asio, with its permessage-deflate.
#include "peer.hpp"

#include <exception>
#include <websocketpp/client.hpp>
#include <websocketpp/config/asio_no_tls.hpp>
#include <websocketpp/config/asio_no_tls_client.hpp>
#include <websocketpp/extensions/permessage_deflate/enabled.hpp>
#include <websocketpp/server.hpp>
#include <websocketpp/version.hpp>

template <class Base>
struct deflating : Base
{
    struct permessage_deflate_config
    {
    };
    using permessage_deflate_type = websocketpp::extensions::permessage_deflate::enabled<permessage_deflate_config>;
};

using handle = websocketpp::connection_hdl;
namespace opcode = websocketpp::frame::opcode;

static void serve()
{
    using server = websocketpp::server<deflating<websocketpp::config::asio>>;
    server s;
    s.clear_access_channels(websocketpp::log::alevel::all);
    s.clear_error_channels(websocketpp::log::elevel::all);
    s.init_asio();
    s.set_max_message_size(4 << 20);
    s.set_message_handler([&](handle h, server::message_ptr m) {
        websocketpp::lib::error_code e;
        if (m->get_payload() == "close, please")
            s.close(h, 4001, "as asked", e);
        else
            s.send(h, m->get_payload(), m->get_opcode(), e);
    });
    s.listen(websocketpp::lib::asio::ip::tcp::v4(), 0);
    s.start_accept();
    websocketpp::lib::asio::error_code e;
    peer::say("listening on " + std::to_string(s.get_local_endpoint(e).port()));
    s.run();
}

template <class Config>
static void talk(peer::job const& j)
{
    using client = websocketpp::client<Config>;
    client c;
    c.clear_access_channels(websocketpp::log::alevel::all);
    c.clear_error_channels(websocketpp::log::elevel::all);
    c.init_asio();
    c.set_max_message_size(4 << 20);
    std::size_t sent = 0;
    std::exception_ptr problem;

    auto next = [&](handle h) {
        auto const con = c.get_con_from_hdl(h);
        if (sent == j.messages.size()) {
            if (j.ending == "close")
                c.close(h, 1000, "bye");
            else if (j.ending == "asked")
                c.send(h, "close, please", opcode::text);
            else
                peer::say("waiting");
            return;
        }
        auto const& message = j.messages[sent];
        auto const frames = message.frames();
        for (std::size_t i = 0; i < frames.size(); ++i) {
            auto const op = i ? opcode::continuation : message.text ? opcode::text : opcode::binary;
            auto m = con->get_message(op, frames[i].size());
            m->set_payload(frames[i]);
            m->set_fin(i + 1 == frames.size());
            m->set_compressed(true);
            auto const e = con->send(m);
            peer::check(!e, message.word + ": " + e.message());
        }
    };
    auto guarded = [&](handle h, auto what) {
        try {
            what();
        } catch (...) {
            problem = std::current_exception();
            websocketpp::lib::error_code e;
            c.close(h, 1011, "", e);
        }
    };
    c.set_open_handler([&](handle h) { guarded(h, [&] { next(h); }); });
    c.set_message_handler([&](handle h, typename client::message_ptr m) {
        guarded(h, [&] {
            peer::check(sent < j.messages.size(), "a message instead of a close");
            auto const& message = j.messages[sent++];
            peer::check((m->get_opcode() == opcode::text) == message.text && m->get_payload() == message.data,
                        message.word + " came back different");
            next(h);
        });
    });
    websocketpp::lib::error_code e;
    auto con = c.get_connection(j.url, e);
    peer::check(!e, e.message());
    c.connect(con);
    c.run();
    if (problem)
        std::rethrow_exception(problem);
    peer::closed_as_wanted(j, con->get_remote_close_code(), con->get_remote_close_reason());
}

static void dial(peer::job const& j)
{
    if (j.deflate)
        talk<deflating<websocketpp::config::asio_client>>(j);
    else
        talk<websocketpp::config::asio_client>(j);
}

int main(int argc, char** argv)
{
    return peer::main(argc, argv, websocketpp::user_agent, serve, dial);
}
