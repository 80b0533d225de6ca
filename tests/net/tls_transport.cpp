// SPDX-License-Identifier: BSL-1.0
// What is particular to streams with TLS on them; the rest is in stream.cpp, for every kind.
#include "net.hpp"
#include "tls/raw_stream.hpp"

#include "engine/loop_core.hpp"

using namespace net_test;
using tls_test::pki;
using tls_test::raw_peer;
using tls_test::raw_stream;

namespace {

constexpr kind plain_kinds[] = {kind::memory, kind::tcp, kind::unix_path};

/// A case on what TLS may stand on.
void on_plain_kinds(task<> (*body)(kind))
{
    for (kind k : plain_kinds) {
        INFO(name_of(k));
        no_descriptor_leaks const check;
        on_loop(body(k));
    }
}

/// One of ours and one of OpenSSL's, connected.
struct raw_pair
{
    stream ours;
    raw_stream raw;
};

task<raw_pair> against_raw(kind k, raw_peer::role r = raw_peer::role::client, int version = TLS1_3_VERSION,
                           pair_options options = {})
{
    auto plain = co_await connected(k, options);
    raw_stream raw(std::move(plain.second), r, version);
    std::optional<stream> ours;
    if (r == raw_peer::role::client) {
        auto both = co_await when_all(tls::accept(std::move(plain.first), pki().accepting), raw.handshake());
        ours.emplace(std::move(std::get<0>(both)).value());
    } else {
        auto both = co_await when_all(tls::connect(std::move(plain.first), pki().connecting, "test"), raw.handshake());
        ours.emplace(std::move(std::get<0>(both)).value());
    }
    raw_pair pair{std::move(*ours), std::move(raw)};
    co_return pair;
}

task<> into(task<result<stream>> handshake, std::optional<result<stream>>& out)
{
    out.emplace(co_await std::move(handshake));
}

std::string all_of(std::vector<std::byte> const& bytes)
{
    return std::string(text_of(bytes));
}

} // namespace

// ---- the handshake -------------------------------------------------------------------------------------------------

TEST_CASE("TLS is spoken on every kind of stream, and tells what was agreed on")
{
    on_plain_kinds([](kind k) -> task<> {
        auto plain = co_await connected(k);
        CHECK(!plain.first.tls_info());
        auto both = co_await when_all(tls::connect(std::move(plain.first), pki().connecting, "test"),
                                      tls::accept(std::move(plain.second), pki().accepting));
        auto client = std::move(std::get<0>(both)).value();
        auto server = std::move(std::get<1>(both)).value();
        auto const seen = client.tls_info();
        REQUIRE(seen);
        CHECK(seen->version == "TLSv1.3");
        CHECK(seen->cipher.starts_with("TLS_"));
        CHECK(seen->alpn == "http/1.1");
        CHECK(seen->peer_subject == "CN=test");
        CHECK(server.tls_info().value().server_name == "test");
        CHECK(server.tls_info()->peer_subject.empty());
        auto const sent = co_await client.write("hello");
        CHECK(sent);
        auto const got = co_await read_text(server, 5);
        CHECK(got == "hello");
        client.abort();
        CHECK(!client.tls_info());
    });
}

TEST_CASE("TLS is spoken on TLS")
{
    on_loop([]() -> task<> {
        auto outer = co_await connected(kind::tls_memory);
        auto both = co_await when_all(tls::connect(std::move(outer.first), pki().connecting, "localhost"),
                                      tls::accept(std::move(outer.second), pki().accepting));
        auto client = std::move(std::get<0>(both)).value();
        auto server = std::move(std::get<1>(both)).value();
        CHECK(server.tls_info().value().server_name == "localhost");
        auto const bytes = pattern(100'000);
        auto const moved = co_await when_all(client.write(bytes), read_text(server, bytes.size()));
        CHECK(std::get<0>(moved));
        CHECK(std::get<1>(moved) == all_of(bytes));
        client.shutdown();
        auto const end = co_await read_all(server);
        CHECK(end.value().empty());
    }());
}

TEST_CASE("a stream that is closed, or a context of the other role, is an error")
{
    on_loop([]() -> task<> {
        auto pair = make_stream_pair();
        auto const other = co_await tls::accept(std::move(pair.first), pki().connecting);
        CHECK(other.error() == tls::errc::unusable);
        auto const same = co_await tls::connect(std::move(pair.second), pki().accepting, "test");
        CHECK(same.error() == tls::errc::unusable);
        auto second = make_stream_pair();
        second.first.abort();
        auto const closed = co_await tls::accept(std::move(second.first), pki().accepting);
        CHECK(closed.error() == errc::closed);
        auto const nameless = co_await tls::connect(std::move(second.second), pki().connecting, "");
        CHECK(nameless.error() == tls::errc::unusable);
    }());
}

TEST_CASE("a handshake that fails tells the peer why")
{
    on_plain_kinds([](kind k) -> task<> {
        auto plain = co_await connected(k);
        auto const both = co_await when_all(tls::connect(std::move(plain.first), pki().connecting, "other"),
                                            tls::accept(std::move(plain.second), pki().accepting));
        CHECK(std::get<0>(both).error() == tls::errc::untrusted);
        CHECK(std::get<1>(both).error() == tls::errc::refused);
        CHECK(std::get<1>(both).error().message().find("bad certificate") != std::string::npos);
    });
}

TEST_CASE("a peer that leaves or resets during the handshake ends it")
{
    for (bool const accepting : {true, false})
        for (bool const reset : {false, true})
            for (bool const late : {false, true})
                for (kind k : {kind::memory, kind::tcp}) {
                    CAPTURE(name_of(k), accepting, reset, late);
                    on_loop([](kind where, bool accepts, bool resets, bool has_begun) -> task<> {
                        auto plain = co_await connected(where);
                        std::optional<result<stream>> end;
                        scope handshake;
                        handshake.spawn(into(accepts ? tls::accept(std::move(plain.first), pki().accepting)
                                                     : tls::connect(std::move(plain.first), pki().connecting, "test"),
                                             end));
                        co_await turns(3);
                        if (has_begun) {
                            raw_peer raw(accepts ? raw_peer::role::client : raw_peer::role::server);
                            std::vector<std::byte> hello(8192);
                            if (!accepts)
                                raw.feed((co_await plain.second.read_some(hello)).value());
                            raw.handshake();
                            auto flight = raw.drain();
                            flight.resize(flight.size() / 2);
                            auto const sent = co_await plain.second.write(flight);
                            CHECK(sent);
                            co_await turns(3);
                        }
                        if (resets)
                            plain.second.abort();
                        else
                            plain.second.shutdown();
                        co_await handshake.join();
                        CAPTURE(end->error().message());
                        if (resets)
                            CHECK(end->error() == std::errc::connection_reset);
                        else
                            CHECK(end->error() == errc::end_of_stream);
                    }(k, accepting, reset, late));
                }
}

TEST_CASE("a handshake canceled at any moment closes the stream")
{
    for (kind k : {kind::memory, kind::tcp})
        for (bool const accepting : {true, false})
            for (int at = 0; at < 40; ++at) {
                CAPTURE(name_of(k), accepting, at);
                no_descriptor_leaks const check;
                on_loop([](kind where, bool accepts, int stop_at) -> task<> {
                    auto plain = co_await connected(where, {.chunk = 100});
                    std::optional<result<stream>> end;
                    std::optional<result<stream>> other;
                    scope first;
                    scope second;
                    auto accept = tls::accept(std::move(plain.first), pki().accepting);
                    auto connect = tls::connect(std::move(plain.second), pki().connecting, "test");
                    (accepts ? first : second).spawn(into(std::move(accept), accepts ? end : other));
                    (accepts ? second : first).spawn(into(std::move(connect), accepts ? other : end));
                    co_await turns(stop_at);
                    first.request_stop();
                    co_await first.join();
                    bool const was_done = end->has_value();
                    if (!was_done)
                        CHECK(end->error() == errc::canceled);
                    end.reset();
                    co_await second.join();
                    if (*other) { // then it hears of it when it reads
                        std::byte one[1];
                        auto const got = co_await (*other)->read_some(one);
                        CHECK((got.error() == errc::end_of_stream) == was_done);
                    } else {
                        CHECK(!was_done);
                    }
                }(k, accepting, at));
            }
}

TEST_CASE("a handshake may be given a time")
{
    on_plain_kinds([](kind k) -> task<> {
        auto plain = co_await connected(k);
        auto const late = co_await timeout(10ms, tls::accept(std::move(plain.first), pki().accepting));
        CHECK(late.error() == errc::timed_out);
        std::byte one[1];
        auto const end = co_await plain.second.read_some(one);
        CHECK(end.error() == errc::end_of_stream);
    });
}

TEST_CASE("D2: plain HTTP on a TLS port gets an answer, whatever else it sends")
{
    on_plain_kinds([](kind k) -> task<> {
        auto plain = co_await connected(k);
        auto const sent = co_await plain.second.write("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
        CHECK(sent);
        auto const end = co_await tls::accept(std::move(plain.first), pki().accepting);
        CHECK(end.error() == tls::errc::not_tls);
        std::string const more(test::load(30'000, 300), 'x'); // within the second that it waits for the end
        for (int i = 0; i < 10; ++i) {
            auto const written = co_await plain.second.write(more); // were the socket closed the answer would be lost
            CHECK(written);
        }
        plain.second.shutdown();
        auto const answer = co_await read_all(plain.second);
        REQUIRE(answer);
        CHECK(text_of(*answer).starts_with("HTTP/1.1 400 "));
        CHECK(text_of(*answer).find("use https:// or wss://") != std::string::npos);
    });
}

TEST_CASE("a client of TLS meets a server that does not speak it")
{
    on_plain_kinds([](kind k) -> task<> {
        auto plain = co_await connected(k);
        auto const sent = co_await plain.second.write("HTTP/1.1 400 Bad Request\r\n\r\n");
        CHECK(sent);
        auto const end = co_await tls::connect(std::move(plain.first), pki().connecting, "test");
        CHECK(end.error() == tls::errc::not_tls);
        CHECK(end.error() == std::errc::protocol_error);
    });
}

// ---- D1: the end ---------------------------------------------------------------------------------------------------

TEST_CASE("D1: a stream that ends without close_notify is truncated, wherever that is")
{
    on_plain_kinds([](kind k) -> task<> {
        for (std::size_t cut : {0, 1, 5, 20, 1000}) {
            CAPTURE(cut);
            auto pair = co_await against_raw(k);
            co_await pair.raw.write("whole");
            CHECK(pair.raw.tls.write("a part"));
            auto record = pair.raw.tls.drain();
            if (cut < record.size())
                record.resize(cut);
            auto const sent = co_await pair.raw.below.write(record);
            CHECK(sent);
            pair.raw.below.shutdown();
            std::byte buffer[100];
            auto const got = co_await pair.ours.read(std::span(buffer).first(5));
            CHECK(text_of(got.value()) == "whole"); // what came before is given
            if (cut == 1000) {
                auto const rest = co_await pair.ours.read(std::span(buffer).first(6));
                CHECK(text_of(rest.value()) == "a part");
            }
            for (int again = 0; again < 2; ++again) {
                auto const end = co_await pair.ours.read_some(buffer);
                CHECK(end.error() == tls::errc::truncated);
                CHECK(end.error() == std::errc::connection_aborted);
                CHECK(end.error() != errc::end_of_stream);
            }
            auto const back = co_await pair.ours.write("still sent"); // the other direction may go on
            CHECK(back);
            auto const heard = co_await pair.raw.read(10);
            CHECK(heard == "still sent");
        }
    });
}

TEST_CASE("D1: close_notify is the end, though the stream below goes on")
{
    on_plain_kinds([](kind k) -> task<> {
        auto pair = co_await against_raw(k);
        co_await pair.raw.write("last words");
        co_await pair.raw.close_notify();
        auto const noise = co_await pair.raw.below.write("noise behind the end");
        CHECK(noise);
        auto const got = co_await read_all(pair.ours);
        CHECK(text_of(got.value()) == "last words");
        std::byte one[1];
        auto const again = co_await pair.ours.read_some(one);
        CHECK(again.error() == errc::end_of_stream);
    });
}

TEST_CASE("D1: what comes behind close_notify is not kept")
{
    on_loop([]() -> task<> {
        auto pair = co_await against_raw(kind::memory);
        auto const& blocks = detail::loop_core::current()->blocks();
        auto const before = blocks.lent();
        co_await pair.raw.close_notify();
        std::byte byte[1];
        auto const got = co_await pair.ours.read_some(byte);
        CHECK(got.error() == errc::end_of_stream);
        auto const rest = pattern(4 << 20);
        auto const sent = co_await timeout(500ms, pair.raw.below.write(rest));
        (void)sent; // whether it is taken is another matter
        CHECK(blocks.lent() < before + 40);
    }());
}

TEST_CASE("shutdown() and the end of a stream send close_notify, and then the end below")
{
    for (bool const by_end : {false, true})
        for (kind k : plain_kinds) {
            CAPTURE(name_of(k), by_end);
            on_loop([](kind where, bool ends) -> task<> {
                auto pair = co_await against_raw(where);
                auto const sent = co_await pair.ours.write("bye");
                CHECK(sent);
                std::optional<stream> ours(std::move(pair.ours));
                if (ends)
                    ours.reset();
                else
                    ours->shutdown();
                auto const got = co_await pair.raw.read(100);
                CHECK(got == "bye");
                CHECK(pair.raw.tls.last_error() == SSL_ERROR_ZERO_RETURN);
                auto const more = co_await pair.raw.fill();
                CHECK(!more);
            }(k, by_end));
        }
}

TEST_CASE("a reset below is a reset, not a truncation")
{
    for (kind k : {kind::memory, kind::tcp}) {
        INFO(name_of(k));
        on_loop([](kind where) -> task<> {
            auto pair = co_await against_raw(where);
            co_await pair.raw.write("x");
            pair.raw.below.abort();
            auto const got = co_await read_text(pair.ours, 1);
            CHECK(got == "x");
            std::byte one[1];
            auto const end = co_await pair.ours.read_some(one);
            CHECK(end.error() == std::errc::connection_reset);
        }(k));
    }
}

// ---- sending -------------------------------------------------------------------------------------------------------

namespace {

/// The sizes of the records in what was sent.
std::vector<std::size_t> records_of(std::span<std::byte const> sent)
{
    std::vector<std::size_t> sizes;
    while (sent.size() >= 5) {
        std::size_t const size = std::to_integer<std::size_t>(sent[3]) << 8 | std::to_integer<std::size_t>(sent[4]);
        REQUIRE(sent.size() >= 5 + size);
        sizes.push_back(size);
        sent = sent.subspan(5 + size);
    }
    CHECK(sent.empty());
    return sizes;
}

} // namespace

TEST_CASE("much is sent in full records")
{
    on_loop([]() -> task<> {
        auto pair = co_await against_raw(kind::memory);
        auto const bytes = pattern(1'000'000);
        scope writer;
        writer.spawn([](stream& s, std::vector<std::byte> const& all) -> task<> {
            auto const sent = co_await s.write(all);
            CHECK(sent);
            s.shutdown();
        }(pair.ours, bytes));
        std::vector<std::byte> wire;
        std::vector<std::byte> part(50'000);
        while (auto const got = co_await pair.raw.below.read_some(part))
            wire.insert(wire.end(), got->begin(), got->end());
        co_await writer.join();
        auto const sizes = records_of(wire);
        auto const full = std::count_if(sizes.begin(), sizes.end(), [](std::size_t n) { return n > 16 * 1024; });
        CHECK(full == 1'000'000 / (16 * 1024));
        CHECK(sizes.size() <= static_cast<std::size_t>(full) + 3); // the rest, and close_notify
        pair.raw.tls.feed(wire);
        CHECK(pair.raw.tls.read() == all_of(bytes));
        CHECK(pair.raw.tls.last_error() == SSL_ERROR_ZERO_RETURN);
    }());
}

TEST_CASE("what was written is sent also when the stream has gone and the peer is slow")
{
    for (kind k : {kind::memory, kind::tcp}) {
        INFO(name_of(k));
        no_descriptor_leaks const check;
        on_loop([](kind where) -> task<> {
            auto pair = co_await against_raw(where, raw_peer::role::client, TLS1_3_VERSION, {.small_buffers = true});
            std::string const text(20'000, 's'); // goes in as a whole, and stays here in part
            std::size_t written = 0;
            for (;;) {
                auto const sent = co_await timeout(20ms, pair.ours.write(text));
                if (!sent)
                    break;
                written += text.size();
            }
            {
                stream const gone = std::move(pair.ours);
            }
            std::string got;
            while (pair.raw.tls.last_error() != SSL_ERROR_ZERO_RETURN) {
                co_await turns(3);
                auto const more = co_await pair.raw.fill();
                if (!more)
                    break;
                got += pair.raw.tls.read();
            }
            CHECK(got.size() >= written); // and perhaps a part of what was torn
            CHECK(pair.raw.tls.last_error() == SSL_ERROR_ZERO_RETURN);
        }(k));
    }
}

TEST_CASE("a peer that takes nothing does not keep a program that ends")
{
    for (kind k : {kind::memory, kind::tcp}) {
        INFO(name_of(k));
        no_descriptor_leaks const check;
        run_options options;
        options.handle_signals = false;
        options.drain = 50ms;
        auto const before = clock::now();
        int const status = run(
            [](kind where) -> task<> {
                auto pair = co_await against_raw(where, raw_peer::role::client, TLS1_3_VERSION, {.small_buffers = true});
                std::string const text(20'000, 's');
                for (;;) {
                    auto const sent = co_await timeout(5ms, pair.ours.write(text));
                    if (!sent)
                        break;
                }
                static std::optional<raw_stream> held; // it lives on, and reads nothing
                held.emplace(std::move(pair.raw));
                scope let_go;
                let_go.spawn([]() -> task<> {
                    auto const slept = co_await sleep_for(100ms);
                    (void)slept;
                }());
                {
                    stream const gone = std::move(pair.ours);
                }
                co_await let_go.join();
                held.reset();
            }(k),
            options);
        CHECK(status == 0);
        CHECK(clock::now() - before < 4s); // the patience with such a peer is longer
    }
}

TEST_CASE("D6: a write waits for the rest of a peer's message, and may be canceled meanwhile")
{
    on_loop([]() -> task<> {
        tls::client_options options;
        auto const client = pki().ca.issue({.common_name = std::string(60, 'c')});
        options.certificate = client.certificate;
        options.key = client.key;
        auto const context = pki().connecting_with(options);
        auto plain = make_stream_pair();
        raw_stream raw(std::move(plain.second), raw_peer::role::server);
        SSL_CTX_set_verify(raw.tls.context(), SSL_VERIFY_PEER, [](int, X509_STORE_CTX*) { return 1; });
        SSL_CTX_set_session_id_context(raw.tls.context(), reinterpret_cast<unsigned char const*>("x"), 1);
        SSL_CTX_set_max_send_fragment(raw.tls.context(), 512);
        std::optional<result<stream>> done;
        scope handshake;
        handshake.spawn(into(tls::connect(std::move(plain.first), context, "test"), done));
        while (!raw.tls.handshake()) {
            co_await raw.flush();
            auto const more = co_await raw.fill();
            REQUIRE(more);
        }
        auto const tickets = raw.tls.drain(); // they are larger than a record of this server
        REQUIRE(tickets.size() > 600);
        co_await handshake.join();
        auto& ours = **done;
        auto const part = co_await raw.below.write(std::span(tickets).first(550));
        CHECK(part);
        auto const nothing = co_await timeout(5ms, [](stream& s) -> task<result<std::span<std::byte>>> {
            static std::byte one[1];
            auto const got = co_await s.read_some(one); // takes the first record in
            co_return got;
        }(ours));
        CHECK(nothing.error() == errc::timed_out);
        auto const waits = co_await timeout(5ms, ours.write("never sent"));
        CHECK(waits.error() == errc::timed_out);
        scope writer;
        bool written = false;
        writer.spawn([](stream& s, bool& w) -> task<> {
            auto const sent = co_await s.write("patience");
            CHECK(sent);
            w = true;
        }(ours, written));
        co_await turns(5);
        CHECK(!written);
        auto const rest = co_await raw.below.write(std::span(tickets).subspan(550)); // and nobody reads
        CHECK(rest);
        co_await writer.join();
        auto const heard = co_await raw.read(8);
        CHECK(heard == "patience");
    }());
}

TEST_CASE("D2: a flood of KeyUpdates ends the stream, and its answers do not pile up")
{
    on_loop([]() -> task<> {
        auto pair = co_await against_raw(kind::memory);
        scope flood;
        flood.spawn([](raw_stream& raw) -> task<> {
            for (int i = 0; i < 10'000; ++i) {
                CHECK(raw.tls.key_update());
                auto const bytes = raw.tls.drain();
                auto const sent = co_await raw.below.write(bytes);
                if (!sent)
                    co_return;
            }
        }(pair.raw));
        std::byte one[1];
        auto const end = co_await pair.ours.read_some(one);
        CHECK(end.error() == tls::errc::flooded);
        auto const write = co_await pair.ours.write("x");
        CHECK(write.error() == tls::errc::flooded);
        auto const& blocks = detail::loop_core::current()->blocks();
        std::size_t const one_block = std::max<std::size_t>(blocks.capacity(), 16 * 1024);
        CHECK(blocks.lent() * blocks.capacity() < 20 * one_block);
        pair.ours.abort();
        co_await flood.join();
    }());
}

TEST_CASE("a TLS stream that rests holds no block")
{
    on_loop([]() -> task<> {
        auto const& blocks = detail::loop_core::current()->blocks();
        auto const before = blocks.lent(); // to the kernel
        auto pair = co_await connected(kind::tls_memory);
        for (int i = 0; i < 3; ++i) {
            auto const sent = co_await pair.first.write("ping");
            CHECK(sent);
            auto const got = co_await read_text(pair.second, 4);
            CHECK(got == "ping");
            auto const back = co_await pair.second.write("pong");
            CHECK(back);
            auto const heard = co_await read_text(pair.first, 4);
            CHECK(heard == "pong");
        }
        co_await turns(3);
        CHECK(blocks.lent() == before);
    }());
}

TEST_CASE("a TLS connection of another's making is understood byte by byte")
{
    on_loop([]() -> task<> {
        for (int const version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
            auto pair = co_await against_raw(kind::memory, raw_peer::role::server, version, {.chunk = 1});
            auto const text = std::string(3000, 't');
            co_await pair.raw.write(text);
            auto const got = co_await read_text(pair.ours, text.size());
            CHECK(got == text);
            auto const sent = co_await pair.ours.write(text);
            CHECK(sent);
            auto const heard = co_await pair.raw.read(text.size());
            CHECK(heard == text);
        }
    }());
}
