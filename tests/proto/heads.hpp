// SPDX-License-Identifier: BSL-1.0
// Requests for the tests of known holes.
#pragma once

#include "proto/handshake.hpp"

#include "bytes.hpp"

#include <stdexcept>

namespace wring::test {

inline std::string upgrade(std::string_view more = {}, std::string_view version = "13", std::string_view host = "h")
{
    return "GET / HTTP/1.1\r\nHost: " + std::string{host} +
           "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
           "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: " +
           std::string{version} + "\r\n" + std::string{more} + "\r\n";
}

// The head of a request that comes in pieces of `step` bytes.
inline proto::request_head read_head(std::string_view text, std::size_t step)
{
    proto::head_scanner scanner{proto::head_scanner::kind::request};
    proto::head_scanner::progress p;
    for (std::size_t at = 0; at < text.size() && !p.complete && p.error == proto::errc::ok; at += step)
        p = scanner.feed(text.substr(at, step));
    if (!p.complete) throw std::runtime_error("the head is not complete");
    return scanner.request(text);
}

struct judged_head
{
    std::string text;
    proto::errc verdict;
};

// Heads that others have taken more than linear time for, each with a field of about `n` bytes.
inline std::vector<judged_head> laborious_heads(std::size_t n)
{
    using enum proto::errc;
    std::string const extensions = "Sec-WebSocket-Extensions: ";
    return {
        {upgrade(extensions + "a;b=\"" + repeated("\\c", n / 2) + "\"\r\n"), ok},
        {upgrade(extensions + "a;b=\"" + repeated("\\c", n / 2) + "\r\n"), extension_invalid},
        {upgrade(extensions + "a" + std::string(n, ' ') + "b\r\n"), extension_invalid},
        {upgrade(extensions + repeated("a;", n / 2) + "\r\n"), extension_invalid},
        {upgrade(extensions + repeated("a,", n / 2) + "\r\n"), ok},
        {upgrade(extensions + std::string(n, '"') + "\r\n"), extension_invalid},
        {upgrade("Sec-WebSocket-Protocol: " + repeated(", ", n / 2) + "\r\n"), ok},
        {upgrade("Connection: " + repeated("a,", n / 2) + "\r\n"), ok},
        {upgrade("Cookie: " + repeated("a=b;", n / 4) + "\r\n"), ok},
        {upgrade("X: " + std::string(n * 4 / 5, ' ') + "x" + std::string(n / 5, ' ') + "\r\n"), ok},
        {upgrade("X: " + std::string(n, 'x') + "\r\n"), ok},
        {upgrade("X: " + std::string(n, ',') + "\r\n"), ok},
    };
}

} // namespace wring::test
