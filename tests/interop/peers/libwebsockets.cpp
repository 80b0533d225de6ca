// SPDX-License-Identifier: BSL-1.0
// Peer: libwebsockets, with its permessage-deflate.
#include "peer.hpp"

#include <deque>
#include <libwebsockets.h>
#include <string>
#include <utility>
#include <vector>

namespace {

struct out
{
    std::string data;
    lws_write_protocol kind;
};

/// One connection: made when it opens, deleted when it ends.
struct session
{
    peer::job const* job = nullptr; // a client's
    std::deque<out> to_send;
    std::vector<unsigned char> room; // what it compresses from, until it asks for more
    std::string got;
    bool closing = false; // once to_send is empty
    bool close_sent = false;
    unsigned sent = 0;    // messages
};

// How the one connection of a client has ended.
std::string problem;
bool ended = false;
unsigned closed_code = 0;
std::string closed_reason;

void queue(session& s, std::string data, int kind)
{
    s.to_send.push_back({std::move(data), static_cast<lws_write_protocol>(kind)});
}

/// The client's next step.
void next(lws* wsi, session& s)
{
    auto const& j = *s.job;
    if (s.sent < j.messages.size()) {
        auto const& message = j.messages[s.sent];
        auto const frames = message.frames();
        for (std::size_t i = 0; i < frames.size(); ++i)
            // An empty frame inside of a compressed message makes it begin the message anew, which is 1002.
            if (!j.deflate || frames.size() == 1 || !frames[i].empty())
                queue(s, frames[i], (i ? LWS_WRITE_CONTINUATION : message.text ? LWS_WRITE_TEXT : LWS_WRITE_BINARY)
                                        | (i + 1 < frames.size() ? LWS_WRITE_NO_FIN : 0));
    } else if (j.ending == "close")
        s.closing = true;
    else if (j.ending == "asked")
        queue(s, "close, please", LWS_WRITE_TEXT);
    else
        peer::say("waiting");
    lws_callback_on_writable(wsi);
}

void received(lws* wsi, session& s)
{
    bool const text = !lws_frame_is_binary(wsi);
    auto const data = std::exchange(s.got, {});
    if (s.job) {
        auto const& all = s.job->messages;
        if (s.sent == all.size() || data != all[s.sent].data || text != all[s.sent].text)
            problem = s.sent == all.size() ? "a message instead of a close" : all[s.sent].word + " came back different";
        ++s.sent;
        return next(wsi, s);
    }
    if (data == "close, please")
        s.closing = true;
    else
        queue(s, data, text ? LWS_WRITE_TEXT : LWS_WRITE_BINARY);
    lws_callback_on_writable(wsi);
}

/// Gives it what it is to send; -1 closes.
int writable(lws* wsi, session& s)
{
    if (!problem.empty())
        return -1;
    if (s.to_send.empty()) {
        if (!s.closing || std::exchange(s.close_sent, true)) // it asks again while it waits for the answer
            return 0;
        std::string reason = s.job ? "bye" : "as asked";
        lws_close_reason(wsi, static_cast<lws_close_status>(s.job ? 1000 : 4001),
                         reinterpret_cast<unsigned char*>(reason.data()), reason.size());
        return -1;
    }
    auto const [data, kind] = std::move(s.to_send.front());
    s.to_send.pop_front();
    s.room.assign(LWS_PRE, 0);
    s.room.insert(s.room.end(), data.begin(), data.end());
    if (lws_write(wsi, s.room.data() + LWS_PRE, data.size(), kind) < static_cast<int>(data.size()))
        return -1;
    lws_callback_on_writable(wsi);
    return 0;
}

int happened(lws* wsi, lws_callback_reasons reason, void* user, void* in, std::size_t size)
{
    auto const bytes = static_cast<char const*>(in);
    switch (reason) {
    case LWS_CALLBACK_ESTABLISHED:
        *static_cast<session**>(user) = new session;
        break;
    case LWS_CALLBACK_CLIENT_ESTABLISHED: {
        auto* s = new session;
        s->job = static_cast<peer::job const*>(lws_context_user(lws_get_context(wsi)));
        *static_cast<session**>(user) = s;
        next(wsi, *s);
        break;
    }
    case LWS_CALLBACK_RECEIVE:
    case LWS_CALLBACK_CLIENT_RECEIVE: {
        auto& s = **static_cast<session**>(user);
        s.got.append(bytes, size);
        if (lws_is_final_fragment(wsi) && lws_remaining_packet_payload(wsi) == 0)
            received(wsi, s);
        break;
    }
    case LWS_CALLBACK_SERVER_WRITEABLE:
    case LWS_CALLBACK_CLIENT_WRITEABLE: return writable(wsi, **static_cast<session**>(user));
    case LWS_CALLBACK_WS_PEER_INITIATED_CLOSE:
        if (size >= 2) {
            closed_code = static_cast<unsigned char>(bytes[0]) * 256U + static_cast<unsigned char>(bytes[1]);
            closed_reason.assign(bytes + 2, size - 2);
        }
        break;
    case LWS_CALLBACK_CLOSED:
    case LWS_CALLBACK_CLIENT_CLOSED:
        delete *static_cast<session**>(user);
        ended = true;
        break;
    case LWS_CALLBACK_CLIENT_CONNECTION_ERROR:
        problem = "no connection: " + std::string(bytes ? bytes : "", size);
        ended = true;
        break;
    default: break;
    }
    return 0;
}

lws_protocols const protocols[] = {{"echo", happened, sizeof(session*), 1 << 16, 0, nullptr, 1 << 16}, {}};
lws_extension const extensions[] = {
    {"permessage-deflate", lws_extension_callback_pm_deflate,
     "permessage-deflate; client_no_context_takeover; client_max_window_bits"},
    {}};

lws_context* make(int port, bool deflate, peer::job const* job)
{
    lws_set_log_level(LLL_ERR, nullptr);
    lws_context_creation_info info{};
    info.port = port;
    info.iface = port == CONTEXT_PORT_NO_LISTEN ? nullptr : "127.0.0.1";
    info.protocols = protocols;
    info.extensions = deflate ? extensions : nullptr;
    info.user = const_cast<peer::job*>(job);
    info.vhost_name = "peer";
    auto* context = lws_create_context(&info);
    peer::check(context, "no context");
    return context;
}

void serve()
{
    auto* context = make(0, true, nullptr);
    peer::say("listening on " + std::to_string(lws_get_vhost_listen_port(lws_get_vhost_by_name(context, "peer"))));
    while (lws_service(context, 0) >= 0) {
    }
}

void dial(peer::job const& j)
{
    problem.clear();
    closed_reason.clear();
    closed_code = 0;
    ended = false;
    auto* context = make(CONTEXT_PORT_NO_LISTEN, j.deflate, &j);
    std::string const host = j.host + ":" + j.port;
    lws_client_connect_info info{};
    info.context = context;
    info.address = j.host.c_str();
    info.port = std::stoi(j.port);
    info.path = j.target.c_str();
    info.host = info.origin = host.c_str();
    if (!lws_client_connect_via_info(&info) && problem.empty())
        problem = "no connection";
    while (problem.empty() && !ended && lws_service(context, 0) >= 0) {
    }
    lws_context_destroy(context);
    peer::check(problem.empty(), problem);
    // It does not tell the answer to a close of its own: outside.py sees that on the wire.
    if (j.ending != "close")
        peer::closed_as_wanted(j, closed_code, closed_reason);
}

} // namespace

int main(int argc, char** argv)
{
    return peer::main(argc, argv, std::string("libwebsockets ") + lws_get_library_version(), serve, dial);
}
