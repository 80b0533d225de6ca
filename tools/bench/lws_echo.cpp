// SPDX-License-Identifier: BSL-1.0
// Peer: WebSocket echo on libwebsockets: one thread, no logging, no compression, its default timeouts. What its
// documentation says about speed is done: a buffer that takes each frame in one piece, and more than one write for each
// time that it calls a connection writable, as long as the pipe is not choked. Its own loop, on poll(), is faster than
// libev's and libuv's.
#include "common.hpp"

#include <deque>
#include <libwebsockets.h>
#include <memory>
#include <set>
#include <vector>

namespace {

// A message as lws_write() wants it, with room in front for the header; shared by all who get it.
struct framed
{
    std::vector<unsigned char> bytes;
    int kind;
};
using framed_ptr = std::shared_ptr<framed>;

// One connection: made when it opens, deleted when it ends.
struct session
{
    lws* wsi;
    framed_ptr coming; // so far
    std::deque<framed_ptr> to_send;
};

bool broadcasts = false;
std::set<session*> members;

void send(session& s, const framed_ptr& m)
{
    s.to_send.push_back(m);
    lws_callback_on_writable(s.wsi);
}

void received(session& s, const unsigned char* in, std::size_t size)
{
    if (!s.coming) {
        s.coming = std::make_shared<framed>();
        s.coming->bytes.reserve(LWS_PRE + size);
        s.coming->bytes.resize(LWS_PRE);
        s.coming->kind = lws_frame_is_binary(s.wsi) ? LWS_WRITE_BINARY : LWS_WRITE_TEXT;
    }
    s.coming->bytes.insert(s.coming->bytes.end(), in, in + size);
    if (!lws_is_final_fragment(s.wsi) || lws_remaining_packet_payload(s.wsi) != 0) return;
    auto whole = std::move(s.coming);
    if (!broadcasts) return send(s, whole);
    for (auto* m : members)
        send(*m, whole);
}

// -1 ends the connection. lws_write() keeps the rest of what the system did not take.
int writable(session& s)
{
    while (!s.to_send.empty() && !lws_send_pipe_choked(s.wsi)) {
        auto m = std::move(s.to_send.front());
        s.to_send.pop_front();
        auto size = m->bytes.size() - LWS_PRE;
        if (lws_write(s.wsi, m->bytes.data() + LWS_PRE, size, static_cast<lws_write_protocol>(m->kind)) < 0) return -1;
    }
    if (!s.to_send.empty()) lws_callback_on_writable(s.wsi);
    return 0;
}

int happened(lws* wsi, lws_callback_reasons reason, void* user, void* in, std::size_t size)
{
    auto* s = user != nullptr ? *static_cast<session**>(user) : nullptr;
    switch (reason) {
    case LWS_CALLBACK_ESTABLISHED:
        bench::set_nodelay(lws_get_socket_fd(wsi));
        members.insert(*static_cast<session**>(user) = new session{wsi, {}, {}});
        break;
    case LWS_CALLBACK_RECEIVE: received(*s, static_cast<const unsigned char*>(in), size); break;
    case LWS_CALLBACK_SERVER_WRITEABLE: return writable(*s);
    case LWS_CALLBACK_CLOSED:
        members.erase(s);
        delete s;
        break;
    default: break;
    }
    return 0;
}

} // namespace

int main(int argc, char** argv)
{
    bench::server_options options;
    for (int i = 1; i < argc;) {
        int n = bench::common_option(options, argc, argv, i);
        if (n == 0) bench::usage("[--bind HOST:PORT] [--mode echo|broadcast]\nA WebSocket echo on libwebsockets.");
        i += n;
    }
    bench::exit_on_signals();
    bench::raise_descriptor_limit();
    broadcasts = options.broadcast;
    auto where = bench::split_host_port(options.bind);

    constexpr std::size_t whole_frame = 64 * 1024;
    const lws_protocols protocols[] = {{"echo", happened, sizeof(session*), whole_frame, 0, nullptr, 0}, {}};
    lws_set_log_level(LLL_ERR, nullptr);
    lws_context_creation_info info{};
    info.port = std::atoi(where.port.c_str());
    info.iface = where.host.c_str();
    info.protocols = protocols;
    info.pt_serv_buf_size = whole_frame;
    info.vhost_name = "bench";
    auto* context = lws_create_context(&info);
    if (context == nullptr) bench::die("cannot listen on " + options.bind);
    auto port = lws_get_vhost_listen_port(lws_get_vhost_by_name(context, "bench"));
    bench::announce("ws", where.host + ":" + std::to_string(port));
    while (lws_service(context, 0) >= 0) {
    }
}
