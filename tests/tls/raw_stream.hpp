// SPDX-License-Identifier: BSL-1.0
// The other side of TLS on a stream of wring's.
#pragma once

#include "net/net.hpp"
#include "tls/raw_peer.hpp"

namespace tls_test {

using namespace wring;

class raw_stream
{
public:
    raw_stream(stream s, raw_peer::role r, int version = TLS1_3_VERSION) : below(std::move(s)), tls(r, version) {}

    /// Sends what OpenSSL wants to have sent.
    task<> flush()
    {
        auto const bytes = tls.drain();
        if (bytes.empty())
            co_return;
        auto const sent = co_await below.write(bytes);
        (void)sent; // the test looks at what came of it
    }
    /// Takes in what comes; false at the end.
    task<bool> fill()
    {
        std::vector<std::byte> part(16 * 1024);
        auto const got = co_await below.read_some(part);
        if (got)
            tls.feed(*got);
        co_return got.has_value();
    }

    task<bool> handshake()
    {
        for (bool more = true; more;) {
            bool const done = tls.handshake();
            co_await flush();
            if (done)
                co_return true;
            if (tls.last_error() != SSL_ERROR_WANT_READ)
                co_return false;
            more = co_await fill();
        }
        co_return false;
    }
    task<> write(std::string_view text)
    {
        CHECK(tls.write(text));
        co_await flush();
    }
    /// Reads at least `size` bytes of data, or to the end.
    task<std::string> read(std::size_t size)
    {
        std::string text = tls.read();
        while (text.size() < size && tls.last_error() == SSL_ERROR_WANT_READ) {
            auto const more = co_await fill();
            if (!more)
                break;
            text += tls.read();
        }
        co_return text;
    }
    task<> close_notify()
    {
        tls.close_notify();
        co_await flush();
    }

    stream below;
    raw_peer tls;
};

} // namespace tls_test
