// SPDX-License-Identifier: BSL-1.0
#include "tls/session.hpp"

#include "core/allocations.hpp"
#include "tls/raw_peer.hpp"
#include "tls/sides.hpp"

#include <cerrno>
#include <malloc.h>
#include <random>

using namespace tls_test;
using detail::tls_session;

namespace {

tls::context client_of(tls::version v)
{
    tls::client_options options;
    options.min_version = v;
    return pki().connecting_with(options);
}

/// One of wring's and one of OpenSSL's.
struct against_raw
{
    side ours;
    raw_peer raw;

    explicit against_raw(raw_peer::role r, int version = TLS1_3_VERSION) : raw(r, version)
    {
        if (r == raw_peer::role::client)
            REQUIRE(ours.accept(pki().accepting));
        else
            REQUIRE(ours.connect(pki().connecting));
    }
    void carry()
    {
        raw.feed(ours.drain());
        ours.feed(raw.drain());
    }
    void shake()
    {
        bool raw_done = false;
        auto now = state::wants_input;
        for (int i = 0; i < 10 && !(raw_done && now == state::good); ++i) {
            raw_done = raw.handshake();
            carry();
            now = ours.session->handshake();
            carry();
        }
        REQUIRE(raw_done);
        REQUIRE(now == state::good);
        CHECK(raw.read().empty()); // takes tickets in
        CHECK(ours.read().empty());
        CHECK(ours.now == state::wants_input);
    }
};

/// Both versions, as tests name them.
constexpr std::pair<int, char const*> versions[] = {{TLS1_2_VERSION, "TLSv1.2"}, {TLS1_3_VERSION, "TLSv1.3"}};

} // namespace

// ---- the handshake and data ----------------------------------------------------------------------------------------

TEST_CASE("two TLS sessions agree, exchange data and end")
{
    conversation both;
    both.between(pki().connecting, pki().accepting);
    CHECK(!both.client.session->established());
    REQUIRE(both.shake());
    CHECK(both.client.session->established());
    both.chat();
    both.chat();
    CHECK(both.client.session->info().version == "TLSv1.3");

    both.client.session->close();
    both.carry();
    CHECK(both.server.read().empty());
    CHECK(both.server.now == state::ended);
    both.server.write("still heard"); // the other direction goes on
    both.carry();
    CHECK(both.client.read() == "still heard");
    both.server.session->close();
    both.carry();
    CHECK(both.client.read().empty());
    CHECK(both.client.now == state::ended);
    std::byte one[1];
    CHECK(both.client.session->read(one).now == state::ended);
    auto const late = both.client.session->write(one);
    CHECK(late.size == 0);
    CHECK(late.now == state::failed);
}

TEST_CASE("TLS 1.2 and 1.3 are spoken, with OpenSSL on the other side, in both roles")
{
    for (auto const& [version, name] : versions)
        for (auto r : {raw_peer::role::client, raw_peer::role::server}) {
            INFO(name);
            against_raw both(r, version);
            both.shake();
            CHECK(both.ours.session->info().version == name);
            REQUIRE(both.raw.write("from OpenSSL"));
            both.ours.write("from wring");
            both.carry();
            CHECK(both.ours.read() == "from OpenSSL");
            CHECK(both.raw.read() == "from wring");
            both.raw.close_notify();
            both.carry();
            CHECK(both.ours.read().empty());
            CHECK(both.ours.now == state::ended);
            both.ours.session->close();
            both.carry();
            CHECK(both.raw.read().empty());
            CHECK(both.raw.last_error() == SSL_ERROR_ZERO_RETURN);
        }
}

TEST_CASE("versions before TLS 1.2 are refused")
{
    raw_peer raw(raw_peer::role::client, TLS1_1_VERSION);
    SSL_CTX_set_security_level(raw.context(), 0); // else OpenSSL does not even try
    side ours;
    REQUIRE(ours.accept(pki().accepting));
    raw.handshake();
    ours.feed(raw.drain());
    CHECK(ours.session->handshake() == state::failed);
    CHECK(ours.error() == tls::errc::failed);
    CHECK(ours.error().message().find("unsupported protocol") != std::string::npos);
}

TEST_CASE("a server does not compute in finite fields for its clients")
{
    raw_peer raw(raw_peer::role::client);
    char group[] = "ffdhe8192";
    REQUIRE(SSL_CTX_set1_groups_list(raw.context(), group) == 1);
    side ours;
    REQUIRE(ours.accept(pki().accepting));
    raw.handshake();
    ours.feed(raw.drain());
    CHECK(ours.session->handshake() == state::failed);
    CHECK(ours.error() == tls::errc::failed);
}

TEST_CASE("D6: a handshake and data may be cut at any byte")
{
    for (auto const& [version, name] : versions) {
        INFO(name);
        // In single bytes.
        auto const client = client_of(tls::version::v1_2);
        auto const only = version == TLS1_3_VERSION ? tls::version::v1_3 : tls::version::v1_2;
        for (std::size_t const chunk : {std::size_t{1}, std::size_t{2}, std::size_t{7}, std::size_t{500}}) {
            CAPTURE(chunk);
            conversation both;
            tls::server_options options;
            options.min_version = only;
            both.between(client, pki().accepting_with(options));
            REQUIRE(both.shake(chunk));
            both.chat();
        }
        // In two parts, at each place.
        for (auto r : {raw_peer::role::client, raw_peer::role::server})
            for (std::size_t cut = 1, flight = 2; cut < flight; ++cut) {
                against_raw both(r, version);
                bool raw_done = false;
                auto now = state::wants_input;
                std::size_t sent = 0;
                for (int i = 0; i < 10 && !(raw_done && now == state::good); ++i) {
                    raw_done = both.raw.handshake();
                    for (auto const& b = both.raw.drain(); !b.empty();) {
                        auto const n = sent < cut && cut < sent + b.size() ? cut - sent : b.size();
                        both.ours.feed(std::span(b).first(n));
                        if (now == state::wants_input)
                            now = both.ours.session->handshake();
                        both.ours.feed(std::span(b).subspan(n));
                        sent += b.size();
                        break;
                    }
                    if (now == state::wants_input)
                        now = both.ours.session->handshake();
                    both.raw.feed(both.ours.drain());
                }
                if (!raw_done || now != state::good)
                    FAIL("cut at " << cut);
                flight = sent;
            }
    }
}

TEST_CASE("D6: records may be cut at any byte")
{
    for (auto const& [version, name] : versions) {
        INFO(name);
        against_raw both(raw_peer::role::client, version);
        both.shake();
        auto const text = std::string(300, 'x') + "end";
        for (std::size_t cut = 0, size = 1; cut < size; ++cut) {
            REQUIRE(both.raw.write(text));
            auto const record = both.raw.drain();
            size = record.size();
            both.ours.feed(std::span(record).first(cut));
            auto got = both.ours.read();
            CHECK(both.ours.now == state::wants_input);
            both.ours.feed(std::span(record).subspan(cut));
            got += both.ours.read();
            if (got != text)
                FAIL("cut at " << cut);
        }
    }
}

TEST_CASE("D6: blocks of any size will do")
{
    for (std::uint32_t const size : {1U, 5U, 64U, 1000U}) {
        CAPTURE(size);
        conversation both(size);
        both.between(pki().connecting, pki().accepting);
        REQUIRE(both.shake());
        both.chat();
        std::string const much(50'000, 'm');
        both.client.write(much);
        both.carry();
        CHECK(both.server.read() == much);
    }
}

TEST_CASE("a record takes 16 KiB, and no more is taken at a time")
{
    conversation both;
    both.between(pki().connecting, pki().accepting);
    REQUIRE(both.shake());
    both.carry();
    (void)both.client.read(); // a ticket
    std::string const much(40'000, 'm');
    auto const all = std::as_bytes(std::span(much));
    auto const first = both.client.session->write(all);
    CHECK(first.size == tls_session::record_size);
    auto const record = both.client.drain();
    CHECK(record.size() > tls_session::record_size);
    CHECK(record.size() < tls_session::record_size + 64);
    CHECK(both.client.session->write({}).now == state::good); // nothing is no record
    CHECK(both.client.session->output().empty());
    both.server.feed(record);
    CHECK(both.server.read().size() == tls_session::record_size);
}

TEST_CASE("a peer that takes small records only gets such")
{
    against_raw both(raw_peer::role::client);
    SSL_set_tlsext_max_fragment_length(both.raw.ssl(), TLSEXT_max_fragment_length_512);
    both.shake();
    both.ours.write(std::string(3000, 's'));
    both.carry();
    CHECK(both.raw.read() == std::string(3000, 's'));
}

TEST_CASE("an idle TLS session holds no block")
{
    conversation both;
    both.between(pki().connecting, pki().accepting);
    REQUIRE(both.shake());
    both.chat();
    CHECK(both.client.pool.lent() == 0);
    CHECK(both.server.pool.lent() == 0);
}

// ---- what is not TLS -----------------------------------------------------------------------------------------------

TEST_CASE("D2: plain HTTP on a TLS port is answered in its own words, and goes no further")
{
    for (std::string_view const text : {"G", "GET / HTTP/1.1\r\nHost: test\r\n\r\n", "CONNECT x:443 HTTP/1.1\r\n"}) {
        side server;
        REQUIRE(server.accept(pki().accepting));
        server.feed(bytes_of(text));
        CHECK(server.session->handshake() == state::failed);
        CHECK(server.error() == tls::errc::not_tls);
        auto const answer = std::string(text_of(server.drain()));
        CHECK(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"));
        auto const head = answer.find("\r\n\r\n") + 4;
        CHECK(answer.find("Content-Length: " + std::to_string(answer.size() - head) + "\r\n") != std::string::npos);
        CHECK(answer.find("wss://") != std::string::npos);
        CHECK(server.session->handshake() == state::failed);
        std::byte one[1];
        CHECK(server.session->read(one).now == state::failed);
        CHECK(server.session->write(one).now == state::failed);
        server.session->close();
        CHECK(server.session->output().empty());
    }
}

TEST_CASE("D2: other things than TLS are told from it")
{
    for (std::string_view const text : {"\r\n\r\n", "SSH-2.0-x\r\n", "\x80\x2e\x01\x03\x01", "hello"}) {
        CAPTURE(text);
        side server;
        REQUIRE(server.accept(pki().accepting));
        server.feed(bytes_of(text));
        CHECK(server.session->handshake() == state::failed);
        CHECK(server.error() == tls::errc::not_tls);
        CHECK(server.session->output().empty() == (text[0] != 'S'));

        side client;
        REQUIRE(client.connect(pki().connecting));
        CHECK(client.session->handshake() == state::wants_input);
        client.feed(bytes_of(text));
        CHECK(client.session->handshake() == state::failed);
        CHECK(client.error() == tls::errc::not_tls);
    }
}

TEST_CASE("rubbish that begins like TLS fails, and says so")
{
    std::mt19937 random(1);
    for (int round = 0; round < 300; ++round) {
        bytes rubbish(1 + random() % 600);
        for (auto& b : rubbish)
            b = static_cast<std::byte>(random());
        rubbish[0] = std::byte{0x16};
        if (round % 2 && rubbish.size() > 5) { // a sound record header at least
            rubbish[1] = rubbish[2] = std::byte{3};
            rubbish[3] = static_cast<std::byte>((rubbish.size() - 5) >> 8);
            rubbish[4] = static_cast<std::byte>(rubbish.size() - 5);
        }
        side server;
        REQUIRE(server.accept(pki().accepting));
        server.feed(rubbish);
        auto const now = server.session->handshake();
        CHECK(now != state::good);
        if (now == state::failed)
            CHECK((server.error() == tls::errc::failed || server.error() == tls::errc::refused));
    }
}

TEST_CASE("a record in which a bit was changed fails, whichever it is")
{
    for (std::size_t at = 0, size = 1; at < size; ++at) {
        against_raw both(raw_peer::role::client);
        both.shake();
        REQUIRE(both.raw.write("secret"));
        auto record = both.raw.drain();
        size = record.size();
        record[at] ^= std::byte{0x10};
        both.ours.feed(record);
        CHECK(both.ours.read().empty());
        if (both.ours.now == state::wants_input) {
            CHECK((at == 3 || at == 4)); // the length: it waits for more
            continue;
        }
        CHECK(both.ours.now == state::failed);
        CHECK(both.ours.error() == tls::errc::failed);
        CHECK(!both.ours.session->output().empty()); // an alert
        both.carry();
        CHECK(both.raw.read().empty());
        CHECK(both.raw.last_error() == SSL_ERROR_SSL);
    }
}

TEST_CASE("an alert of the peer ends it and is named")
{
    against_raw both(raw_peer::role::server);
    SSL_CTX_set_cipher_list(both.raw.context(), "ECDHE-RSA-AES128-GCM-SHA256"); // for which it has no certificate
    SSL_CTX_set_max_proto_version(both.raw.context(), TLS1_2_VERSION);
    SSL_CTX_set_min_proto_version(both.raw.context(), TLS1_2_VERSION);
    CHECK(both.ours.session->handshake() == state::wants_input);
    both.carry();
    CHECK(!both.raw.handshake());
    both.carry();
    CHECK(both.ours.session->handshake() == state::failed);
    CHECK(both.ours.error() == tls::errc::refused);
    CHECK(both.ours.error().message().find("handshake failure") != std::string::npos);
}

// ---- D2: messages without data -------------------------------------------------------------------------------------

TEST_CASE("D2: renegotiation is refused, and the connection goes on")
{
    against_raw both(raw_peer::role::client, TLS1_2_VERSION);
    both.shake();
    both.raw.renegotiate();
    auto const hello = both.raw.drain();
    REQUIRE(!hello.empty());
    both.ours.feed(hello);
    CHECK(both.ours.read().empty());
    CHECK(both.ours.now == state::wants_input);
    both.ours.write("still here");
    both.carry();
    CHECK(both.raw.read().empty()); // OpenSSL's client gives up on a refusal
    CHECK(both.raw.last_reason() == SSL_R_NO_RENEGOTIATION);
}

TEST_CASE("D2: a server that asks for renegotiation again and again is a flood")
{
    against_raw both(raw_peer::role::server, TLS1_2_VERSION);
    both.shake();
    std::size_t replies = 0;
    int asked = 0;
    for (; asked < 1000 && both.ours.now == state::wants_input; ++asked) {
        both.raw.renegotiate();
        both.ours.feed(both.raw.drain());
        CHECK(both.ours.read().empty());
        replies += both.ours.drain().size(); // which nobody reads
    }
    CHECK(asked < 100);
    CHECK(both.ours.now == state::failed);
    CHECK(both.ours.error() == tls::errc::flooded);
    CHECK(replies < 8 * 1024);
}

TEST_CASE("D2: answers that the peer does not take do not pile up, whatever data it sends")
{
    against_raw both(raw_peer::role::server, TLS1_2_VERSION);
    both.shake();
    (void)both.ours.drain();
    std::string const text(2048, 't');
    for (int asked = 0; asked < 20'000 && both.ours.now == state::wants_input; ++asked) {
        both.raw.renegotiate();
        REQUIRE(both.raw.write(text));
        both.ours.feed(both.raw.drain());
        (void)both.ours.read();
    }
    CHECK(both.ours.error() == tls::errc::flooded);
    CHECK(both.ours.session->output().size() < 300 * 1024);
}

TEST_CASE("D2: KeyUpdates without data are a flood, and their answers are few")
{
    against_raw both(raw_peer::role::client);
    both.shake();
    bytes flood;
    for (int i = 0; i < 100'000; ++i) {
        REQUIRE(both.raw.key_update());
        auto const one = both.raw.drain();
        flood.insert(flood.end(), one.begin(), one.end());
    }
    both.ours.feed(flood); // all at once
    auto const before = both.ours.input.size();
    CHECK(both.ours.read().empty());
    CHECK(both.ours.now == state::failed);
    CHECK(both.ours.error() == tls::errc::flooded);
    CHECK(before - both.ours.input.size() < 4096); // what it has looked at
    CHECK(both.ours.session->output().size() < 4096);
}

TEST_CASE("D2: KeyUpdates are answered, any number of them where data comes as well")
{
    against_raw both(raw_peer::role::client);
    both.shake();
    std::string const text(16 * 1024, 't');
    for (int i = 0; i < 500; ++i) {
        REQUIRE(both.raw.key_update());
        REQUIRE(both.raw.write(text));
        both.ours.feed(both.raw.drain());
        REQUIRE(both.ours.read() == text);
        REQUIRE(both.ours.now == state::wants_input);
        both.ours.write("answer");
        both.carry();
        REQUIRE(both.raw.read() == "answer");
    }
    // Little data pays for few.
    int updates = 0;
    for (; updates < 1000 && both.ours.now == state::wants_input; ++updates) {
        REQUIRE(both.raw.key_update());
        REQUIRE(both.raw.write("x"));
        both.ours.feed(both.raw.drain());
        (void)both.ours.read();
    }
    CHECK(updates < 100);
    CHECK(both.ours.error() == tls::errc::flooded);
}

TEST_CASE("D6: what is to be written waits while a message of the peer's has come in part")
{
    // A ticket with a client's certificate in it is larger than the records that this server makes.
    tls::client_options options;
    auto const client = pki().ca.issue({.common_name = std::string(60, 'c')});
    options.certificate = client.certificate;
    options.key = client.key;
    side ours;
    REQUIRE(ours.connect(pki().connecting_with(options)));
    raw_peer raw(raw_peer::role::server);
    SSL_CTX_set_verify(raw.context(), SSL_VERIFY_PEER, [](int, X509_STORE_CTX*) { return 1; });
    SSL_CTX_set_session_id_context(raw.context(), reinterpret_cast<unsigned char const*>("x"), 1);
    SSL_CTX_set_max_send_fragment(raw.context(), 512);
    bool raw_done = false;
    auto now = state::wants_input;
    for (int i = 0; i < 10 && now != state::good; ++i) {
        now = ours.session->handshake();
        raw.feed(ours.drain());
        raw_done = raw.handshake();
        if (now != state::good)
            ours.feed(raw.drain());
    }
    REQUIRE(raw_done);
    REQUIRE(now == state::good);
    auto const tickets = raw.drain();
    REQUIRE(tickets.size() > 600);
    ours.feed(std::span(tickets).first(550)); // the first record, and a part of the second
    CHECK(ours.read().empty());
    CHECK(ours.now == state::wants_input);
    auto const text = bytes_of("patience");
    auto const blocked = ours.session->write(text);
    CHECK(blocked.size == 0);
    CHECK(blocked.now == state::wants_input);
    CHECK(ours.session->output().empty());
    ours.feed(std::span(tickets).subspan(550));
    auto const sent = ours.session->write(text);
    CHECK(sent.size == text.size());
    raw.feed(ours.drain());
    CHECK(raw.read() == "patience");
}

// ---- memory --------------------------------------------------------------------------------------------------------

namespace {

/// No memory while it lives, not even what the free lists have kept.
class no_memory
{
public:
    explicit no_memory(engine::block_pool& pool)
    {
        taken_.reserve(1000);
        test::malloc_fails = true;
        while (auto* b = pool.take())
            taken_.push_back(b);
        while (auto* b = pool.take(1)) // small ones
            taken_.push_back(b);
    }
    ~no_memory()
    {
        test::malloc_fails = false;
        for (auto* b : taken_)
            engine::release(b);
    }

private:
    std::vector<engine::block*> taken_;
};

} // namespace

TEST_CASE("a TLS session for which there is no memory fails as such")
{
    conversation both;
    both.between(pki().connecting, pki().accepting);
    auto early = state::good;
    {
        no_memory const none(both.client.pool);
        early = both.client.session->handshake(); // no block for its hello
    }
    CHECK(early == state::failed);
    CHECK(both.client.error() == std::errc::not_enough_memory);

    conversation other;
    other.between(pki().connecting, pki().accepting);
    REQUIRE(other.shake());
    other.chat();
    auto late = state::good;
    {
        no_memory const none(other.client.pool);
        late = other.client.session->write(bytes_of("x")).now;
    }
    CHECK(late == state::failed);
    CHECK(other.client.error() == std::errc::not_enough_memory);
}

TEST_CASE("D4: many full handshakes leave nothing behind")
{
    // WRING_TEST_FULL=1: the number of the table.
    int const count = std::getenv("WRING_TEST_FULL") ? 100'000 : 2000;
    auto const shake_and_go = [](int round) {
        conversation both;
        both.between(pki().connecting, pki().accepting, "127.0.0.1"); // an address: its session is not kept
        REQUIRE(both.shake());
        CHECK(!both.client.session->info().resumed);
        if (round % 2)
            both.chat();
    };
    for (int i = 0; i < 200; ++i)
        shake_and_go(i);
    auto const before = ::mallinfo2().uordblks;
    for (int i = 0; i < count; ++i)
        shake_and_go(i);
    auto const after = ::mallinfo2().uordblks;
    CHECK(after <= before + 256 * 1024); // what the allocator's own caches may have taken
}

TEST_CASE("D4: a TLS session may go in every state")
{
    for (std::size_t limit = 0; limit < 4000; limit += 37) {
        conversation both;
        both.between(pki().connecting, pki().accepting);
        std::size_t moved = 0;
        for (int i = 0; i < 4; ++i) {
            (void)both.client.session->handshake();
            (void)both.server.session->handshake();
            for (auto [from, to] : {std::pair(&both.client, &both.server), {&both.server, &both.client}}) {
                auto const b = from->drain();
                auto const n = std::min(b.size(), limit - std::min(limit, moved));
                moved += n;
                to->feed(std::span(b).first(n));
            }
        }
        if (limit % 2)
            both.client.session->close();
    }
}
