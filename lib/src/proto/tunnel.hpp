// SPDX-License-Identifier: BSL-1.0
// A client's way through a proxy: which one, and what is said to it.
#pragma once

#include "proto/error.hpp"
#include "proto/url.hpp"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace wring::proto {

// A proxy's URL taken apart: http://, https:// or socks5:// (socks5h:// is the same: names are looked up by the proxy),
// [user:password@]host[:port]. Without a scheme it is http://. Views of the text.
struct proxy
{
    enum class scheme : std::uint8_t
    {
        http,
        https, // TLS to the proxy
        socks5
    };

    scheme kind = scheme::http;
    std::uint16_t port = 0; // 80, 443 or 1080 where it is not said
    std::string_view host;  // without brackets
    std::string_view userinfo;
};

// errc::proxy_url where it is none. `out` is set only on ok.
[[nodiscard]] errc parse_proxy(std::string_view text, proxy& out) noexcept;

// What the environment says of proxies, by the names of its variables.
struct proxy_environment
{
    std::string_view http;  // http_proxy, for ws:
    std::string_view https; // https_proxy, for wss:
    std::string_view all;   // all_proxy, for both
    std::string_view none;  // no_proxy
};

// The URL of the proxy to use; empty for none, as always for a Unix socket.
[[nodiscard]] std::string_view choose_proxy(url const& where, proxy_environment const& environment) noexcept;

// Whether a no_proxy list (separated by commas or blanks) names where `where` leads: `*`, a host with all below it
// (`example.org`, `.example.org`, `*.example.org`), an address, a network (`10.0.0.0/8`, `fd00::/8`); a host or an
// address may have a port. Addresses are compared with addresses only: no name is looked up for it. What is none of
// these names nothing.
[[nodiscard]] bool bypasses_proxy(std::string_view list, url const& where) noexcept;

// Appends the CONNECT request (RFC 9110 section 9.3.6). `userinfo` as in a URL; empty for none.
void write_connect(std::string& out, url const& where, std::string_view userinfo);

// The client's side of SOCKS version 5 (RFC 1928) with user and password (RFC 1929): what it says, and what it makes of
// the answers, byte by byte. It takes no byte behind the last reply.
class socks5
{
public:
    // Reply codes of RFC 1928 section 6, and what an authentication that fails is here: 0xFF is "no acceptable
    // methods" in section 3.
    static constexpr unsigned last_reply = 8;
    static constexpr unsigned not_authenticated = 0xFF;

    // Begins: output() is the first message. An error means that `where` or `userinfo` can't be said in SOCKS.
    [[nodiscard]] errc begin(url const& where, std::string_view userinfo);

    // What is to be sent now, all of it, before anything is fed.
    [[nodiscard]] std::string_view output() const noexcept { return output_; }

    struct progress
    {
        std::size_t consumed = 0; // of the piece; bytes behind are left
        bool send = false;        // output() is new
        bool complete = false;    // the way is open
        unsigned refused = 0;     // a reply code, or not_authenticated: it is over
        errc error = errc::ok;    // it is over as well
    };

    // Looks at what the proxy says, up to where an answer is due. Call it no more after complete, refused or an error.
    [[nodiscard]] progress feed(std::string_view piece);

private:
    enum class state : std::uint8_t
    {
        method,
        password,
        reply
    };

    void step(unsigned char c, progress& p);

    std::string output_;
    std::string request_;
    std::string credentials_; // the message of RFC 1929; empty without user and password
    state state_ = state::method;
    unsigned at_ = 0;   // bytes of this message so far
    unsigned left_ = 0; // bytes to the end of the reply, once that is known
};

} // namespace wring::proto
