// SPDX-License-Identifier: BSL-1.0
// docs/howto/tls.md: wss:// in both roles, certificates that are renewed, clients with certificates, TLS below WebSocket.
#include "program.hpp"

using namespace wring;
using namespace std::chrono_literals;

// [server]
task<> session(stream peer, tls::context const& tls)
{
    auto ws = co_await upgrade(std::move(peer), {.tls = &tls});
    if (!ws)
        co_return; // no TLS, or no WebSocket: refused, and told so
    while (auto frame = co_await ws->read_frame())
        if (!co_await ws->write_frame(*frame))
            break;
}

task<> serve(listener server, tls::context const& tls)
{
    scope sessions;
    while (auto peer = co_await server.accept())
        sessions.spawn(session(std::move(*peer), tls));
    co_await sessions.join();
}
// [/server]

// [reload]
/// Reads the files again when they have been renewed: `systemctl reload`, or `kill -HUP`.
task<> reload_on_hangup(tls::context tls)
{
    signals hangup(SIGHUP);
    while (auto signal = co_await hangup.next()) {
        auto done = co_await offload([&] { return tls.reload(); });
        if (!done)
            std::fprintf(stderr, "the old certificate stays: %s\n", done.error().message().c_str());
    }
}
// [/reload]

// [people]
/// The certificate has been verified: what is left to decide is who may in.
task<response> only_alice(request const& r)
{
    auto const who = r.tls_info();
    bool const known = who && who->peer_subject == "CN=alice";
    co_return known ? response::accept() : response::refuse(403);
}

tls::context for_people(std::string const& certificate, std::string const& key, std::string const& authority)
{
    return tls::context::server({
        .certificate = certificate,
        .key = key,
        .clients = tls::client_certificates::require,
        .client_ca = authority,
    }).value();
}
// [/people]

// [client]
task<std::string> ask(std::string url, std::string question)
{
    auto ws = (co_await connect(url)).value(); // wss:// trusts what the system trusts
    (co_await ws.write(question)).value();
    auto answer = (co_await timeout(1s, ws.read())).value();
    co_return answer.to_string();
}
// [/client]

// [trust]
task<std::string> ask_with(tls::context const& trust, std::string url, std::string question)
{
    auto ws = co_await connect(url, {.tls = &trust});
    if (!ws && ws.error() == tls::errc::untrusted) // the message says why: expired, for another host ...
        co_return "not the one: " + ws.error().message();
    (co_await ws.value().write(question)).value();
    auto answer = (co_await timeout(1s, ws->read())).value();
    co_return answer.to_string();
}
// [/trust]

// [stream]
/// TLS on a plain stream: the same type, and the same verbs.
task<std::string> talk(std::string where, std::string host, tls::context trust)
{
    auto plain = (co_await connect_stream(where)).value();
    auto secure = (co_await timeout(5s, tls::connect(std::move(plain), trust, host))).value();
    (co_await secure.write("hello\n")).value();
    std::byte answer[6];
    (co_await secure.read(answer)).value(); // tls::errc::truncated where it is cut off
    secure.shutdown();                      // sends close_notify
    co_return secure.tls_info()->cipher;
}
// [/stream]

// [app]
void set_up(server& app, std::string where, tls::context const& tls)
{
    app.listen(where, tls); // https:// and wss://
    app.get("/who", [](request& r) -> task<response> {
        auto const client = r.tls_info();
        co_return response(200, client ? client->version : "plain");
    });
}
// [/app]

task<> echo_six(listener& server, tls::context tls)
{
    auto plain = (co_await server.accept()).value();
    auto secure = (co_await tls::accept(std::move(plain), tls)).value();
    std::byte bytes[6];
    (co_await secure.read(bytes)).value();
    (co_await secure.write(bytes)).value();
    auto const end = co_await secure.read_some(bytes);
    docs::expect(end.error() == errc::end_of_stream, "shutdown() is a clean end");
}

/// What docs/howto/tls.md shows: a self-signed certificate.
void make_certificate(std::string const& folder, std::string const& name)
{
    std::string const command = "cd '" + folder + "' && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc"
                                " -days 30 -keyout " + name + ".key -out " + name + ".crt -subj /CN=" + name +
                                " -addext subjectAltName=DNS:localhost,IP:127.0.0.1 2>" + name + ".log";
    docs::expect(std::system(command.c_str()) == 0, "openssl makes a certificate");
}

task<> try_all(std::string folder)
{
    std::string const chain = folder + "/server.crt";
    std::string const key = folder + "/server.key";
    // [context]
    auto const tls = tls::context::server(chain, key).value();
    // [/context]
    scope servers;
    auto server = listener::bind("localhost:0").value();
    auto const port = std::to_string(server.local().port());
    servers.spawn(serve(std::move(server), tls));
    servers.spawn(reload_on_hangup(tls));
    std::string const url = "wss://localhost:" + port + "/";

    // [ca]
    auto const trust = tls::context::client({.ca = chain}).value();
    // [/ca]
    docs::expect(co_await ask_with(trust, url, "hello") == "hello", "a certificate that is trusted will do");
    auto const usual = tls::context::client().value();
    docs::expect((co_await ask_with(usual, url, "hello")).starts_with("not the one: "), "others are refused");

    auto ws = (co_await connect(url, {.tls = &trust})).value();
    // [pin]
    std::string const fingerprint = ws.tls_info()->peer_fingerprint; // or from `openssl x509 -fingerprint -sha256`
    auto const pinned = tls::context::client({.pins = fingerprint}).value();
    // [/pin]
    docs::expect(co_await ask_with(pinned, url, "hello") == "hello", "the pinned certificate will do");

    make_certificate(folder, "server");
    ::raise(SIGHUP);
    for (bool renewed = false; !renewed;) { // soon, not at once: the files are read on another thread
        auto const answer = co_await ask_with(pinned, url, "hello");
        renewed = answer != "hello";
    }
    (co_await ws.write("still open")).value();
    docs::expect((co_await ws.read()).value().text() == "still open", "an open connection goes on");
    (co_await ws.close()).value();
    servers.request_stop();
    co_await servers.join();

    make_certificate(folder, "alice");
    make_certificate(folder, "bob");
    auto const people = for_people(chain, key, folder + "/alice.crt");
    for (std::string const name : {"alice", "bob"}) {
        std::string const mine = folder + "/" + name;
        auto const with = tls::context::client({.ca = chain, .certificate = mine + ".crt", .key = mine + ".key"}).value();
        auto [ours, theirs] = make_stream_pair();
        auto both = co_await when_all(upgrade(std::move(theirs), {.authorize = only_alice, .tls = &people}),
                                      connect_over(std::move(ours), "wss://localhost/", {.tls = &with}));
        docs::expect(std::get<0>(both).has_value() == (name == "alice"), "the hook knows who comes");
    }

    scope other;
    class server app;
    endpoint at;
    app.on_listening([&](endpoint const& there) { at = there; });
    auto const fresh = tls::context::server(chain, key).value();
    set_up(app, "localhost:0", fresh);
    other.spawn(app.serve());
    while (at.port() == 0)
        (co_await sleep_for(1ms)).value();
    auto const renewed = tls::context::client({.ca = chain}).value();
    auto unsecured = (co_await connect_stream("localhost:" + std::to_string(at.port()))).value();
    auto page = (co_await tls::connect(std::move(unsecured), renewed, "localhost")).value();
    (co_await page.write("GET /who HTTP/1.0\r\nHost: localhost\r\n\r\n")).value();
    std::string said;
    std::byte some[512];
    while (auto got = co_await page.read_some(some))
        said.append(reinterpret_cast<char const*>(got->data()), got->size());
    docs::expect(said.ends_with("TLSv1.3"), "a handler knows of TLS");
    app.stop();
    co_await other.join();

    auto plain = listener::bind("localhost:0").value();
    other.spawn(echo_six(plain, fresh));
    auto const cipher = co_await talk("localhost:" + std::to_string(plain.local().port()), "localhost", renewed);
    docs::expect(cipher.starts_with("TLS_"), "a cipher was agreed on");
    co_await other.join();
}

int main()
{
    std::string folder = (std::filesystem::temp_directory_path() / "wring-XXXXXX").string();
    docs::expect(::mkdtemp(folder.data()) != nullptr, "a temporary folder can be made");
    make_certificate(folder, "server");
    // What the system trusts is the test's for this program.
    ::setenv("SSL_CERT_FILE", (folder + "/server.crt").c_str(), 1);
    int const status = docs::run_in_time([](std::string where) -> task<> {
        auto const chain = where + "/server.crt";
        auto const key = where + "/server.key";
        auto const tls = tls::context::server(chain, key).value();
        scope serving;
        auto server = listener::bind("localhost:0").value();
        std::string const url = "wss://localhost:" + std::to_string(server.local().port()) + "/";
        serving.spawn(serve(std::move(server), tls));
        docs::expect(co_await ask(url, "hello") == "hello", "the system's trust will do");
        serving.request_stop();
        co_await serving.join();
        ::unsetenv("SSL_CERT_FILE");
        co_await try_all(where);
    }(folder));
    std::filesystem::remove_all(folder);
    return status;
}
