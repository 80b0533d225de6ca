// SPDX-License-Identifier: BSL-1.0
#include "connector.hpp"

#include "failure.hpp"

#include <wring/timeout.hpp>

#include <array>
#include <cerrno>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <system_error>
#include <unistd.h>

using namespace wring;
using namespace std::chrono_literals;

namespace load {

namespace {

/// Connects from a given address, blocking. errno's value in the error.
result<int> connect_from(endpoint const& source, endpoint const& to)
{
    int const fd = ::socket(to.family(), SOCK_STREAM | SOCK_CLOEXEC, 0);
    int const one = 1;
    auto const address = [](endpoint const& e) { return static_cast<sockaddr const*>(e.data()); };
    bool const connected = fd >= 0 && ::setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one) == 0 &&
                           ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) == 0 &&
                           ::bind(fd, address(source), static_cast<socklen_t>(source.size())) == 0 &&
                           ::connect(fd, address(to), static_cast<socklen_t>(to.size())) == 0;
    if (connected)
        return fd;
    std::error_code const why(errno, std::system_category());
    if (fd >= 0)
        ::close(fd);
    return why;
}

} // namespace

connector::connector(options const& how, unsigned per_address) : how_(how), per_address_(per_address)
{
    if (how.tls) {
        tls::client_options trust;
        trust.dangerously_skip_verification = true;
        tls_ = tls::context::client(trust).value();
        ws_.tls = &*tls_;
    }
    ws_.deflate = {.on = how.deflate, .server_takeover = how.takeover, .client_takeover = how.takeover, .threshold = 0};
    // Nothing of ours may come between: no limit, no ping. A closed loop bounds what is queued by itself.
    ws_.max_message = ws_.max_frame = 0;
    ws_.max_fragments = 0;
    ws_.send_limit = how.rate > 0 ? ws_.send_limit : 0;
    ws_.ping_interval = ws_.pong_timeout = ws_.idle_timeout = ws_.frame_timeout = 0s;
    ws_.handshake_timeout = 30s;
}

task<> connector::prepare()
{
    auto found = co_await resolve(how_.address);
    if (!found)
        throw failure("cannot resolve " + how_.address + ": " + found.error().message());
    server_ = found->front();
    if (how_.takeover)
        co_await check_takeover();
}

// All of 127/8 is ours.
std::optional<endpoint> connector::source(unsigned id) const
{
    if (id < per_address_ || !server_.address().starts_with("127."))
        return std::nullopt;
    auto const n = 1 + id / per_address_;
    return endpoint::parse("127.0.0." + std::to_string(n) + ":0").value();
}

task<stream> connector::stream(unsigned id)
{
    auto const from = source(id);
    result<wring::stream> connected = errc::closed;
    if (from) {
        auto const fd = co_await offload([&] { return connect_from(*from, server_); });
        connected = fd ? wring::stream::adopt(*fd) : fd.error();
    } else {
        connected = co_await connect_stream(server_);
    }
    if (!connected)
        throw failure("cannot connect to " + how_.address + ": " + connected.error().message());
    co_return std::move(*connected);
}

task<ws::connection> connector::websocket(unsigned id)
{
    auto plain = co_await stream(id);
    auto opened = co_await connect_over(std::move(plain), how_.url, ws_);
    if (!opened)
        throw failure("handshake: " + opened.error().message());
    if (how_.deflate && !opened->deflates())
        throw failure("handshake: the server declines permessage-deflate");
    co_return std::move(*opened);
}

// A server may agree and not keep its window all the same, which a connection does not tell.
task<> connector::check_takeover()
{
    auto peer = co_await stream(0);
    if (tls_) {
        auto host = how_.address.substr(0, how_.address.rfind(':'));
        auto secured = co_await tls::connect(std::move(peer), *tls_, std::move(host));
        if (!secured)
            throw failure("TLS: " + secured.error().message());
        peer = std::move(*secured);
    }
    auto const slash = how_.url.find('/', how_.url.find("//") + 2);
    auto const request = "GET " + (slash == how_.url.npos ? "/" : how_.url.substr(slash)) + " HTTP/1.1\r\nHost: " +
                         how_.address + "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
                         "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n" +
                         "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n";
    auto sent = co_await peer.write(request);
    std::string head;
    std::array<std::byte, 1024> buffer;
    while (sent && head.size() < 16384 && head.find("\r\n\r\n") == head.npos) {
        auto const got = co_await timeout(10s, peer.read_some(buffer));
        if (!got)
            throw failure("handshake: " + got.error().message());
        head.append(reinterpret_cast<char const*>(got->data()), got->size());
    }
    peer.abort();
    if (head.find("server_no_context_takeover") < head.find("\r\n\r\n"))
        throw failure("the server does not keep its window: this would measure --deflate fresh");
}

std::string how_it_ended(ws::connection const& ws)
{
    auto const s = ws.status();
    if (!s.closed_by_peer || s.code == ws::close_code::abnormal)
        return s.error.message();
    auto const code = std::to_string(static_cast<unsigned>(s.code));
    return "the server closes with code " + code + (s.reason.empty() ? "" : " " + std::string(s.reason));
}

} // namespace load
