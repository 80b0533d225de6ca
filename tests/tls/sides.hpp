// SPDX-License-Identifier: BSL-1.0
// Two TLS sessions of wring's that face each other, and what carries the bytes between them.
#pragma once

#include "catch.hpp"
#include "tls/certificates.hpp"
#include "tls/context.hpp"
#include "tls/session.hpp"

#include <algorithm>
#include <functional>
#include <limits>

namespace tls_test {

using namespace wring;
using state = detail::tls_session::state;
using bytes = std::vector<std::byte>;

inline std::string_view text_of(std::span<std::byte const> b)
{
    return {reinterpret_cast<char const*>(b.data()), b.size()};
}
inline bytes bytes_of(std::string_view text)
{
    auto const b = std::as_bytes(std::span(text));
    return {b.begin(), b.end()};
}

/// One session, and the queue that its input comes from.
struct side
{
    explicit side(std::uint32_t block_size = 16 * 1024) noexcept : pool(block_size) {}

    result<> accept(tls::context const& with)
    {
        auto made = detail::tls_session::accept(with.core().material(), input, pool);
        if (!made)
            return made.error();
        session = std::move(*made);
        return {};
    }
    result<> connect(tls::context const& with, std::string host = "test")
    {
        auto made = detail::tls_session::connect(with.core().material(), std::move(host), input, pool);
        if (!made)
            return made.error();
        session = std::move(*made);
        return {};
    }

    void feed(std::span<std::byte const> b) { REQUIRE(input.append(b, pool)); }
    bytes drain()
    {
        bytes all(session->output().size());
        CHECK(session->output().read(all) == all.size());
        return all;
    }

    /// Writes all, whatever the number of records.
    void write(std::string_view text)
    {
        auto rest = std::as_bytes(std::span(text));
        while (!rest.empty()) {
            auto const taken = session->write(rest);
            REQUIRE(taken.now == state::good);
            REQUIRE(taken.size > 0);
            rest = rest.subspan(taken.size);
        }
    }
    /// All data that has come; `now` tells what is behind it.
    std::string read()
    {
        std::string text;
        std::byte part[5000];
        for (;;) {
            auto const got = session->read(part);
            now = got.now;
            if (got.now != state::good)
                return text;
            text += text_of(std::span(part).first(got.size));
        }
    }
    [[nodiscard]] std::error_code error() const
    {
        int const e = session->error();
        return detail::is_tls_error(e) ? detail::tls_error_code(e) : std::error_code(e, std::system_category());
    }

    engine::block_pool pool;
    engine::block_queue input;
    std::unique_ptr<detail::tls_session> session;
    state now = state::wants_input;
};

struct conversation
{
    side client;
    side server;
    state client_now = state::wants_input;
    state server_now = state::wants_input;

    explicit conversation(std::uint32_t block_size = 16 * 1024) : client(block_size), server(block_size) {}

    void between(tls::context const& connecting, tls::context const& accepting, std::string host = "test")
    {
        REQUIRE(client.connect(connecting, std::move(host)));
        REQUIRE(server.accept(accepting));
    }

    /// Carries bytes, at most `chunk` at a time, and lets both go on with the handshake, until nothing moves.
    bool shake(std::size_t chunk = std::numeric_limits<std::size_t>::max())
    {
        auto step = [](side& s, state& now) {
            if (now == state::wants_input)
                now = s.session->handshake();
        };
        step(client, client_now);
        step(server, server_now);
        for (bool moved = true; moved;) {
            moved = false;
            for (auto [from, to, now] : {std::tuple(&client, &server, &server_now), {&server, &client, &client_now}}) {
                auto const all = from->drain();
                for (auto rest = std::span(all); !rest.empty(); moved = true) {
                    auto const n = std::min(chunk, rest.size());
                    to->feed(rest.first(n));
                    rest = rest.subspan(n);
                    step(*to, *now);
                }
            }
        }
        return client_now == state::good && server_now == state::good;
    }

    void carry()
    {
        server.feed(client.drain());
        client.feed(server.drain());
    }
    /// One message there and one back.
    void chat()
    {
        client.write("hello");
        carry();
        CHECK(server.read() == "hello");
        server.write("world");
        carry();
        CHECK(client.read() == "world");
        CHECK(client.now == state::wants_input);
        CHECK(server.now == state::wants_input);
    }
};

} // namespace tls_test
