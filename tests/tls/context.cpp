// SPDX-License-Identifier: BSL-1.0
#include "tls/context.hpp"

#include "net/net.hpp"
#include "tls/sides.hpp"

#include <cstdlib>
#include <fstream>
#include <thread>

using namespace tls_test;

namespace {

/// How a handshake ends: empty for good, else whose error it is and what it says.
struct outcome
{
    std::error_code client;
    std::error_code server;
    tls::info seen_by_client;
    tls::info seen_by_server;
    [[nodiscard]] bool good() const { return !client && !server; }
};

outcome meet(tls::context const& connecting, tls::context const& accepting, std::string host = "test")
{
    conversation both;
    both.between(connecting, accepting, std::move(host));
    outcome o;
    if (both.shake()) {
        both.server.write("hello"); // what a client is told late comes with it
        both.carry();
        (void)both.client.read();
        both.client.write("hello");
        both.carry();
        (void)both.server.read();
        both.carry();
        (void)both.client.read();
        o.seen_by_client = both.client.session->info();
        o.seen_by_server = both.server.session->info();
    } else {
        (void)both.client.read(); // with TLS 1.3 a client hears late of what the server does not like
    }
    o.client = both.client.error();
    o.server = both.server.error();
    return o;
}

bool says(std::error_code e, std::string_view text)
{
    CAPTURE(e.message(), text);
    bool const found = e.message().find(text) != std::string::npos;
    CHECK(found);
    return found;
}

void write_file(std::string const& path, std::string_view text)
{
    std::ofstream(path, std::ios::trunc) << text;
}

tls::context trusting(std::string const& ca)
{
    tls::client_options options;
    options.ca = ca;
    return tls::context::client(options).value();
}
tls::context showing(identity const& i)
{
    return tls::context::server(i.certificate, i.key).value();
}

} // namespace

// ---- files ---------------------------------------------------------------------------------------------------------

TEST_CASE("certificates and keys come from files or from texts")
{
    net_test::temporary_folder folder;
    auto const& i = pki().server;
    write_file(folder / "chain.pem", i.certificate);
    write_file(folder / "key.pem", i.key);
    write_file(folder / "both.pem", i.key + i.certificate);
    write_file(folder / "ca.pem", "some words before it\n" + pki().ca.certificate());
    auto const from_files = tls::context::server(folder / "chain.pem", folder / "key.pem");
    REQUIRE(from_files);
    auto const from_one = tls::context::server(folder / "both.pem", folder / "both.pem");
    REQUIRE(from_one);
    auto const client = trusting(folder / "ca.pem");
    CHECK(meet(client, *from_files).good());
    CHECK(meet(client, *from_one).good());
    CHECK(meet(client, pki().accepting).good());
}

TEST_CASE("what can't be used is named, and why")
{
    net_test::temporary_folder folder;
    auto const& i = pki().server;
    auto const secret = pki().ca.issue({}, "sesame");
    auto const other = pki().ca.issue();
    std::string const missing = folder / "missing.pem";
    std::string const empty = folder / "empty.pem";
    std::string const broken = folder / "broken.pem";
    write_file(empty, "");
    auto text = i.certificate;
    text[200] = '!';
    write_file(broken, text);
    auto const refused = [](tls::server_options const& o) {
        auto const c = tls::context::server(o);
        CHECK(!c);
        CHECK(c.error() == tls::errc::unusable);
        CHECK(c.error() == std::errc::invalid_argument);
        return c.error();
    };
    says(refused({.certificate = missing, .key = i.key}), missing + ": No such file or directory");
    says(refused({.certificate = i.certificate, .key = missing}), missing + ": No such file");
    says(refused({.certificate = empty, .key = i.key}), empty + ": no start line");
    says(refused({.certificate = broken, .key = i.key}), broken + ": ");
    says(refused({.certificate = i.key, .key = i.key}), "PEM text: no start line");
    says(refused({.certificate = i.certificate, .key = i.certificate}), "PEM text: ");
    says(refused({.certificate = i.certificate, .key = other.key}), "is not the key of the certificate");
    says(refused({}), ": No such file or directory");
    says(refused({.certificate = secret.certificate, .key = secret.key}), "PEM text: ");
    says(refused({.certificate = secret.certificate, .key = secret.key, .key_password = "wrong"}), "PEM text: ");
    CHECK(tls::context::server({.certificate = secret.certificate, .key = secret.key, .key_password = "sesame"}));
    says(refused({.certificate = i.certificate, .key = i.key, .alpn = "a,,b"}), "alpn: ");
    says(refused({.certificate = i.certificate, .key = i.key, .alpn = std::string(256, 'a')}), "alpn: ");
    says(refused({.certificate = i.certificate, .key = i.key, .clients = tls::client_certificates::ask}), "client_ca");
    says(refused({.certificate = i.certificate,
                  .key = i.key,
                  .clients = tls::client_certificates::require,
                  .client_ca = missing}),
         missing);
    tls::certificate_files const more[] = {{i.certificate, i.key}, {missing, i.key}};
    says(refused({.certificate = i.certificate, .key = i.key, .more = more}), missing);

    auto const refused_client = [](tls::client_options const& o) {
        auto const c = tls::context::client(o);
        CHECK(!c);
        CHECK(c.error() == tls::errc::unusable);
        return c.error();
    };
    says(refused_client({.ca = missing}), missing);
    says(refused_client({.ca = empty}), empty + ": no start line");
    says(refused_client({.ca = pki().ca.certificate() + text}), "PEM text: ");
    says(refused_client({.certificate = i.certificate}), ": No such file or directory");
    for (char const* pins : {"abc", "xyz,", ",", "0123456789abcdef", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=="})
        says(refused_client({.pins = pins}), "pins: ");
}

TEST_CASE("no password is asked for on the terminal")
{
    // Standard input is none in the test suite; so the call would hang or fail in other words.
    auto const secret = pki().ca.issue({}, "sesame");
    auto const c = tls::context::server(secret.certificate, secret.key);
    CHECK(c.error() == tls::errc::unusable);
}

TEST_CASE("reload() reads the files again: new handshakes use them, old connections go on")
{
    net_test::temporary_folder folder;
    std::string const certificate = folder / "chain.pem";
    std::string const key = folder / "key.pem";
    auto const first = pki().ca.issue({.common_name = "first"});
    auto const second = pki().ca.issue({.common_name = "second"});
    write_file(certificate, first.certificate);
    write_file(key, first.key);
    auto context = tls::context::server(certificate, key).value();
    auto const copy = context;
    CHECK(meet(pki().connecting, context).seen_by_client.peer_subject == "CN=first");
    conversation old;
    old.between(pki().connecting, context);
    REQUIRE(old.shake());

    write_file(certificate, second.certificate); // and the key not yet
    auto const failed = context.reload();
    CHECK(failed.error() == tls::errc::unusable);
    says(failed.error(), key + ": is not the key of the certificate in " + certificate);
    CHECK(meet(pki().connecting, copy, "localhost").seen_by_client.peer_subject == "CN=first");

    write_file(key, second.key);
    CHECK(context.reload());
    CHECK(meet(pki().connecting, copy).seen_by_client.peer_subject == "CN=second");
    CHECK(meet(pki().connecting, context).seen_by_client.peer_subject == "CN=second");
    old.chat();
    CHECK(old.client.session->info().peer_subject == "CN=first");

    std::filesystem::remove(key);
    says(context.reload().error(), key + ": No such file");
    CHECK(meet(pki().connecting, context).seen_by_client.peer_subject == "CN=second");
}

TEST_CASE("a context may be reloaded and used by several threads")
{
    auto context = pki().accepting_with({});
    std::vector<std::thread> threads;
    std::atomic<int> good = 0;
    for (int t = 0; t < 3; ++t)
        threads.emplace_back([&context, &good, t] {
            auto mine = context;
            for (int i = 0; i < 30; ++i) {
                if (t == 0)
                    good += mine.reload().has_value();
                engine::block_pool pool(4096);
                engine::block_queue input;
                auto const session = detail::tls_session::accept(mine.core().material(), input, pool);
                good += session.has_value();
            }
        });
    for (auto& t : threads)
        t.join();
    CHECK(good == 120);
}

// ---- which certificate, which protocol -----------------------------------------------------------------------------

TEST_CASE("a server shows the certificate that is for the name asked for")
{
    auto const usual_one = pki().ca.issue({.common_name = "usual"});
    auto const a = pki().ca.issue({.common_name = "a", .names = "DNS:a.example,DNS:www.a.example"});
    auto const wild = pki().ca.issue({.common_name = "wild", .names = "DNS:*.wild.example"});
    tls::certificate_files const more[] = {{a.certificate, a.key}, {wild.certificate, wild.key}};
    auto const server = tls::context::server({.certificate = usual_one.certificate, .key = usual_one.key, .more = more});
    REQUIRE(server);
    struct
    {
        char const* host;
        char const* subject;
    } const rows[] = {{"test", "CN=usual"},           {"a.example", "CN=a"},          {"www.a.example", "CN=a"},
                      {"WWW.A.Example", "CN=a"},      {"x.wild.example", "CN=wild"},  {"127.0.0.1", "CN=usual"},
                      {"::1", "CN=usual"},            {"a.example.", "CN=a"}};
    for (auto const& row : rows)
        for (int again = 0; again < 2; ++again) { // also where a session goes on
            CAPTURE(row.host, again);
            auto const o = meet(pki().connecting, *server, row.host);
            CHECK(o.good());
            CHECK(o.seen_by_client.peer_subject == row.subject);
        }
    for (char const* host : {"b.example", "wild.example", "x.y.wild.example", "127.0.0.2"}) {
        CAPTURE(host);
        auto const o = meet(pki().connecting, *server, host); // the usual one, which is not for it
        CHECK(o.client == tls::errc::untrusted);
        says(o.client, "mismatch");
        CHECK(o.server == tls::errc::refused);
    }
    // The name that was asked for is known; an address is not asked for.
    CHECK(meet(pki().connecting, *server, "a.example").seen_by_server.server_name == "a.example");
    CHECK(meet(pki().connecting, *server, "127.0.0.1").seen_by_server.server_name.empty());
}

TEST_CASE("a protocol is agreed on by ALPN")
{
    auto const agreed = [](char const* client, char const* server) {
        tls::client_options c;
        c.alpn = client;
        tls::server_options s;
        s.alpn = server;
        return meet(pki().connecting_with(c), pki().accepting_with(s));
    };
    auto const usual_one = meet(pki().connecting, pki().accepting);
    CHECK(usual_one.seen_by_client.alpn == "http/1.1");
    CHECK(usual_one.seen_by_server.alpn == "http/1.1");
    CHECK(agreed("x, y ,http/1.1", "http/1.1,y").seen_by_client.alpn == "http/1.1"); // the server's preference
    CHECK(agreed("x,y", "y,x").seen_by_server.alpn == "y");
    CHECK(agreed("", "http/1.1").good()); // who does not ask
    CHECK(agreed("", "http/1.1").seen_by_client.alpn.empty());
    CHECK(agreed("h2", "").good());
    auto const none = agreed("h2", "http/1.1");
    CHECK(none.server == tls::errc::failed);
    CHECK(none.client == tls::errc::refused);
    says(none.client, "no application protocol");
}

TEST_CASE("the oldest version can be raised")
{
    tls::client_options c;
    c.min_version = tls::version::v1_3;
    tls::server_options s;
    s.min_version = tls::version::v1_3;
    CHECK(meet(pki().connecting_with(c), pki().accepting_with(s)).seen_by_server.version == "TLSv1.3");
    CHECK(meet(pki().connecting, pki().accepting_with(s)).seen_by_client.version == "TLSv1.3");
}

// ---- D5: whom a client trusts --------------------------------------------------------------------------------------

TEST_CASE("D5: a client refuses, unasked, what it has no reason to trust")
{
    authority const stranger("Stranger");
    struct
    {
        char const* what;
        identity shown;
        std::string host;
        char const* why;
    } const rows[] = {
        {"another host", pki().server, "other", "hostname mismatch"},
        {"a part of the name", pki().server, "x.test", "hostname mismatch"},
        {"another address", pki().server, "127.0.0.2", "IP address mismatch"},
        {"an address that is no name", pki().ca.issue({.names = "DNS:127.0.0.1"}), "127.0.0.1", "IP address mismatch"},
        {"a name in the subject alone", pki().ca.issue({.common_name = "test", .names = ""}), "test", "hostname mismatch"},
        {"a name in part wild", pki().ca.issue({.names = "DNS:te*.example"}), "test.example", "hostname mismatch"},
        {"a name too wild", pki().ca.issue({.names = "DNS:*"}), "test", "hostname mismatch"},
        {"expired", pki().ca.issue({.from = -7200, .to = -3600}), "test", "has expired"},
        {"not yet valid", pki().ca.issue({.from = 3600}), "test", "not yet valid"},
        {"self-signed", authority::self_signed(), "test", "self-signed certificate"},
        {"another authority", stranger.issue(), "test", "unable to get local issuer certificate"},
        {"for clients only", pki().ca.issue({.usage = "clientAuth"}), "test", "unsuitable certificate purpose"},
    };
    for (auto const& row : rows) {
        INFO(row.what);
        auto const o = meet(pki().connecting, showing(row.shown), row.host);
        CHECK(o.client == tls::errc::untrusted);
        CHECK(o.client == std::errc::permission_denied);
        says(o.client, row.why);
        CHECK(o.server == tls::errc::refused);
    }
    // Without options: the system's authorities, who know nothing of ours.
    auto const by_default = tls::context::client();
    REQUIRE(by_default);
    CHECK(meet(*by_default, pki().accepting).client == tls::errc::untrusted);
}

TEST_CASE("D5: a client without a name to look for connects to nobody")
{
    for (std::string const& host : {std::string(), std::string("."), std::string("a\0b", 3), std::string(300, 'x')}) {
        side client;
        auto const r = client.connect(pki().connecting, host);
        CHECK(r.error() == tls::errc::unusable);
        says(r.error(), "not the name of a host");
    }
}

TEST_CASE("D5: what is for the host is trusted, by name and by address")
{
    for (char const* host : {"test", "TEST", "test.", "localhost", "127.0.0.1", "::1", "0:0:0:0:0:0:0:1", "::1%lo"}) {
        CAPTURE(host);
        CHECK(meet(pki().connecting, pki().accepting, host).good());
    }
    auto const wild = showing(pki().ca.issue({.names = "DNS:*.example.org"}));
    CHECK(meet(pki().connecting, wild, "www.example.org").good());
    CHECK(!meet(pki().connecting, wild, "example.org").good());
    CHECK(!meet(pki().connecting, wild, "a.b.example.org").good());
}

TEST_CASE("chains are followed, and what is named is trusted, an authority or not")
{
    authority const root("Root");
    authority const middle("Middle", &root);
    auto const leaf = middle.issue();
    auto const server = showing(leaf); // sends the middle one
    CHECK(meet(trusting(root.certificate()), server).good());
    CHECK(meet(trusting(middle.certificate()), server).good());
    CHECK(meet(trusting(pki().ca.certificate() + root.certificate()), server).good());
    CHECK(meet(trusting(pki().ca.certificate()), server).client == tls::errc::untrusted);
    auto const own = authority::self_signed();
    CHECK(meet(trusting(own.certificate), showing(own)).good());
    CHECK(meet(trusting(own.certificate), showing(own), "other").client == tls::errc::untrusted);
    auto const leaf_alone = pki().ca.issue();
    CHECK(meet(trusting(leaf_alone.certificate), showing(leaf_alone)).good());
}

TEST_CASE("the system's trust is what OpenSSL takes it for")
{
    net_test::temporary_folder folder;
    std::string const file = folder / "system.pem";
    write_file(file, pki().ca.certificate());
    ::setenv("SSL_CERT_FILE", file.c_str(), 1);
    auto const client = tls::context::client();
    ::unsetenv("SSL_CERT_FILE");
    REQUIRE(client);
    CHECK(meet(*client, pki().accepting).good());
    CHECK(meet(*client, pki().accepting, "other").client == tls::errc::untrusted);
}

TEST_CASE("a pin is all the trust there is, or is asked for besides")
{
    auto const own = authority::self_signed({.common_name = "odd", .names = "", .from = -7200, .to = -3600});
    auto const fingerprint = [](identity const& i, bool of_key) {
        BIO* const bio = BIO_new_mem_buf(i.certificate.data(), static_cast<int>(i.certificate.size()));
        X509* const c = PEM_read_bio_X509(bio, nullptr, nullptr, nullptr);
        BIO_free(bio);
        std::vector<unsigned char> digest(32);
        unsigned char* der = nullptr;
        int const size = of_key ? i2d_X509_PUBKEY(X509_get_X509_PUBKEY(c), &der) : i2d_X509(c, &der);
        EVP_Digest(der, static_cast<std::size_t>(size), digest.data(), nullptr, EVP_sha256(), nullptr);
        OPENSSL_free(der);
        X509_free(c);
        return digest;
    };
    auto const hex = [](std::vector<unsigned char> const& digest, char const* between) {
        std::string text;
        for (auto const b : digest) {
            char part[8];
            std::snprintf(part, sizeof part, "%s%02X", text.empty() ? "" : between, b);
            text += part;
        }
        return text;
    };
    auto const base64 = [](std::vector<unsigned char> const& digest) {
        std::string text(45, '\0');
        text.resize(static_cast<std::size_t>(
            EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()), digest.data(), 32)));
        return text;
    };
    auto const pinned = [](std::string const& pins, identity const& shown, std::string const& ca = {}) {
        tls::client_options options;
        options.pins = pins;
        options.ca = ca;
        return meet(tls::context::client(options).value(), showing(shown));
    };
    for (bool const of_key : {false, true}) {
        auto const digest = fingerprint(own, of_key);
        CHECK(pinned(hex(digest, ""), own).good());
        CHECK(pinned(hex(digest, ":"), own).good());
        CHECK(pinned(base64(digest), own).good());
        CHECK(pinned(std::string(64, '0') + ", " + base64(digest), own).good());
        auto const other = pinned(base64(digest), pki().server);
        CHECK(other.client == tls::errc::untrusted);
        says(other.client, "pinned");
        CHECK(other.server == tls::errc::refused);
    }
    CHECK(pinned(base64(fingerprint(own, true)), own).seen_by_client.peer_subject == "CN=odd");
    // With an authority both must hold.
    auto const server_pin = base64(fingerprint(pki().server, true));
    auto const ca = pki().ca.certificate();
    CHECK(pinned(server_pin, pki().server, ca).good());
    CHECK(pinned(std::string(64, '0'), pki().server, ca).client == tls::errc::untrusted);
    CHECK(pinned(base64(fingerprint(own, true)), own, ca).client == tls::errc::untrusted);
    CHECK(meet(pki().connecting_with({}), pki().accepting).good());
}

TEST_CASE("verification can be switched off, and then nobody is verified")
{
    tls::client_options options;
    options.dangerously_skip_verification = true;
    auto const client = tls::context::client(options).value();
    for (auto const& shown : {authority::self_signed({.names = "", .to = -1}), pki().server}) {
        auto const o = meet(client, showing(shown), "whatever");
        CHECK(o.good());
        CHECK(o.seen_by_client.peer_subject.empty());
        CHECK(o.seen_by_client.peer_names.empty());
        CHECK(o.seen_by_client.peer_fingerprint.empty());
    }
    side nameless;
    CHECK(nameless.connect(client, ""));
}

// ---- client certificates -------------------------------------------------------------------------------------------

TEST_CASE("a server knows its clients by their certificates")
{
    authority const people("People");
    auto const alice = people.issue({.common_name = "älice",
                                     .names = "email:alice@example.org,URI:spiffe://example.org/alice,IP:192.0.2.7,"
                                              "IP:2001:db8::7,DNS:alice.example"});
    auto const with = [](identity const& i) {
        tls::client_options o;
        o.certificate = i.certificate;
        o.key = i.key;
        return pki().connecting_with(o);
    };
    auto const server = [&](tls::client_certificates clients, std::string const& ca) {
        tls::server_options o;
        o.clients = clients;
        o.client_ca = ca;
        return pki().accepting_with(o);
    };
    auto const ca = people.certificate();
    for (auto mode : {tls::client_certificates::ask, tls::client_certificates::require}) {
        auto const o = meet(with(alice), server(mode, ca));
        CHECK(o.good());
        CHECK(o.seen_by_server.peer_subject == "CN=älice");
        CHECK(o.seen_by_server.peer_names ==
              std::vector<std::string>{"email:alice@example.org", "URI:spiffe://example.org/alice", "IP:192.0.2.7",
                                       "IP:2001:db8:0:0:0:0:0:7", "DNS:alice.example"});
        CHECK(o.seen_by_server.peer_fingerprint.size() == 64);
    }
    auto const unasked = meet(with(alice), server(tls::client_certificates::off, ca));
    CHECK(unasked.good());
    CHECK(unasked.seen_by_server.peer_subject.empty());

    auto const nobody = meet(pki().connecting, server(tls::client_certificates::ask, ca));
    CHECK(nobody.good());
    CHECK(nobody.seen_by_server.peer_subject.empty());
    auto const missing = meet(pki().connecting_with({}), server(tls::client_certificates::require, ca));
    CHECK(missing.server == tls::errc::untrusted);
    says(missing.server, "has sent no certificate");
    CHECK(missing.client == tls::errc::refused);
    says(missing.client, "certificate required");

    for (auto const& bad : {pki().ca.issue(), people.issue({.to = -1}), people.issue({.usage = "serverAuth"}),
                            authority::self_signed()}) {
        auto const o = meet(with(bad), server(tls::client_certificates::ask, ca));
        CHECK(o.server == tls::errc::untrusted);
        CHECK(o.client == tls::errc::refused);
    }
}

// ---- sessions that go on -------------------------------------------------------------------------------------------

TEST_CASE("a session goes on with a ticket, in both versions")
{
    for (auto version : {tls::version::v1_2, tls::version::v1_3}) {
        for (auto clients : {tls::client_certificates::off, tls::client_certificates::require}) {
            tls::client_options c;
            auto const alice = pki().ca.issue({.common_name = "alice"});
            c.certificate = alice.certificate;
            c.key = alice.key;
            auto const client = pki().connecting_with(c);
            tls::server_options s;
            s.min_version = version;
            s.clients = clients;
            auto const ca = pki().ca.certificate();
            s.client_ca = ca;
            auto server = pki().accepting_with(s);
            auto const first = meet(client, server);
            CHECK(first.good());
            CHECK(!first.seen_by_client.resumed);
            auto const second = meet(client, server);
            CHECK(second.good());
            CHECK(second.seen_by_client.resumed);
            CHECK(second.seen_by_server.resumed);
            CHECK(second.seen_by_client.peer_subject == "CN=test");
            CHECK(second.seen_by_server.peer_subject == first.seen_by_server.peer_subject);
            CHECK(second.seen_by_server.server_name == "test");
            CHECK(meet(client, server).seen_by_client.resumed); // by a ticket of the second
            CHECK(!meet(client, server, "localhost").seen_by_client.resumed); // each host its own
            CHECK(server.reload());
            auto const after = meet(client, server); // its ticket is worth nothing now
            CHECK(after.good());
            CHECK(!after.seen_by_server.resumed);
        }
    }
}

TEST_CASE("sessions do not go on where the server gives no tickets")
{
    tls::server_options s;
    s.ticket_lifetime = std::chrono::seconds(0);
    auto const server = pki().accepting_with(s);
    auto const client = pki().connecting_with({});
    CHECK(!meet(client, server).seen_by_client.resumed);
    CHECK(!meet(client, server).seen_by_client.resumed);
}

TEST_CASE("a client forgets its sessions when it is reloaded")
{
    auto client = pki().connecting_with({});
    (void)meet(client, pki().accepting);
    CHECK(meet(client, pki().accepting).seen_by_client.resumed);
    CHECK(client.reload());
    CHECK(!meet(client, pki().accepting).seen_by_client.resumed);
}

TEST_CASE("a client keeps the sessions of few hosts")
{
    auto const client = pki().connecting_with({});
    auto const server = showing(pki().ca.issue({.names = "DNS:*.hosts.example"}));
    for (int i = 0; i < 100; ++i)
        CHECK(meet(client, server, "h" + std::to_string(i) + ".hosts.example").good());
    CHECK(meet(client, server, "h99.hosts.example").seen_by_client.resumed);
    CHECK(!meet(client, server, "h0.hosts.example").seen_by_client.resumed);
}

TEST_CASE("the default client context is made once")
{
    auto const& one = detail::tls_context::default_client();
    auto const& two = detail::tls_context::default_client();
    CHECK(&one == &two);
    CHECK(one.has_value());
    CHECK(!one->core().is_server());
}
