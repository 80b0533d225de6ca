// SPDX-License-Identifier: BSL-1.0
#include "proto/handshake.hpp"

#include "bytes.hpp"
#include "catch.hpp"

#include <string>
#include <vector>

using namespace wring::proto;
using namespace wring::test;

namespace {

constexpr std::string_view sample_key = "dGhlIHNhbXBsZSBub25jZQ==";

// A sound handshake, line by line, so that a test can leave out, replace or add one.
struct request_text
{
    std::string start = "GET /chat HTTP/1.1";
    std::vector<std::string> lines = {"Host: example.org", "Upgrade: websocket", "Connection: Upgrade",
                                      "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13"};

    request_text& without(std::string_view name)
    {
        std::erase_if(lines, [name](std::string const& l) { return l.starts_with(std::string{name} + ":"); });
        return *this;
    }
    request_text& with(std::string line) { return lines.push_back(std::move(line)), *this; }
    request_text& instead(std::string line) { return without(line.substr(0, line.find(':'))).with(line); }
    request_text& from(std::string line) { return start = std::move(line), *this; }

    [[nodiscard]] std::string text() const
    {
        auto t = start + "\r\n";
        for (auto const& l : lines)
            t += l + "\r\n";
        return t + "\r\n";
    }
};

// The verdict of the scanner and check_upgrade(), the same whole, cut at each byte and byte by byte.
errc judge_cut(std::string const& text, std::size_t cut, bool bytewise)
{
    head_scanner scanner{head_scanner::kind::request};
    std::size_t at = 0;
    while (at < text.size()) {
        auto const to = bytewise ? at + 1 : at < cut ? cut : text.size();
        auto const p = scanner.feed(std::string_view{text}.substr(at, to - at));
        if (p.error != errc::ok) return p.error;
        if (p.complete) return check_upgrade(scanner.request(text));
        at = to;
    }
    return errc::request_line;
}

errc judged(request_text const& r)
{
    auto const text = r.text();
    INFO(text);
    auto const whole = judge_cut(text, text.size(), false);
    bool same = judge_cut(text, 0, true) == whole;
    for (std::size_t cut = 0; cut < text.size(); ++cut)
        same = same && judge_cut(text, cut, false) == whole;
    CHECK(same);
    return whole;
}

errc with(std::string line)
{
    return judged(request_text{}.with(std::move(line)));
}
errc instead(std::string line)
{
    return judged(request_text{}.instead(std::move(line)));
}
errc without(std::string_view name)
{
    return judged(request_text{}.without(name));
}
errc from(std::string line)
{
    return judged(request_text{}.from(std::move(line)));
}

request_head parsed(std::string_view text)
{
    request_head r;
    INFO(text);
    REQUIRE(parse_request(text, r) == errc::ok);
    return r;
}

subprotocol_choice choice(std::string const& lines, std::string_view preferred)
{
    static std::string kept;
    kept = "GET / HTTP/1.1\r\n" + lines + "\r\n";
    return choose_subprotocol(parsed(kept), preferred);
}

client_request const sample_request{"example.org", "/chat", sample_key, "chat, superchat", "", "", {}};

// A sound answer to sample_request, as above.
struct response_text
{
    std::string start = "HTTP/1.1 101 Switching Protocols";
    std::vector<std::string> lines = {"Upgrade: websocket", "Connection: Upgrade",
                                      "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="};
};

errc answered(response_text const& r, client_request const& sent = sample_request, accepted* out = nullptr)
{
    static std::string text;
    text = r.start + "\r\n";
    for (auto const& l : r.lines)
        text += l + "\r\n";
    text += "\r\n";
    INFO(text);
    response_head head;
    REQUIRE(parse_response(text, head) == errc::ok);
    accepted a;
    auto const e = check_response(head, sent, a);
    if (out != nullptr) *out = a;
    return e;
}

errc answered_with(std::string line)
{
    response_text r;
    r.lines.push_back(std::move(line));
    return answered(r);
}

errc answered_instead(std::string line)
{
    response_text r;
    auto const name = line.substr(0, line.find(':') + 1);
    for (auto& l : r.lines)
        if (l.starts_with(name)) l = line;
    return answered(r);
}

errc answered_without(std::string_view name)
{
    response_text r;
    std::erase_if(r.lines, [name](std::string const& l) { return l.starts_with(name); });
    return answered(r);
}

} // namespace

TEST_CASE("the accept key of RFC 6455 section 1.3", "[proto][handshake]")
{
    auto const key = accept_key(sample_key);
    REQUIRE(key);
    CHECK(std::string_view{key->data(), key->size()} == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    CHECK_FALSE(accept_key(std::string(65, 'x')));
}

TEST_CASE("a key is the base64 form of 16 bytes", "[proto][handshake]")
{
    auto const bytes = from_text("the sample nonce");
    auto const key = encode_key(std::span{bytes}.first<16>());
    CHECK(std::string_view{key.data(), key.size()} == sample_key);
}

// --- The server's list, section 5 of the reliability notes, line by line ---

TEST_CASE("a sound handshake is accepted", "[proto][handshake][server]")
{
    CHECK(judged(request_text{}) == errc::ok);
    CHECK(with("Origin: https://example.org") == errc::ok);
    CHECK(with("Cookie: a=b") == errc::ok);
    CHECK(with("Content-Length: 0") == errc::ok);
    CHECK(instead("Sec-WebSocket-Key:  \t dGhlIHNhbXBsZSBub25jZQ== \t") == errc::ok);
}

TEST_CASE("a handshake with a method other than GET is refused with 405", "[proto][handshake][server]")
{
    for (auto const* method : {"POST", "HEAD", "PUT", "OPTIONS", "get", "GETT"})
        CHECK(from(std::string{method} + " / HTTP/1.1") == errc::method_not_allowed);
    CHECK(http_status_for(errc::method_not_allowed) == 405);
}

TEST_CASE("HTTP/1.0 is never upgraded, HTTP/2.0 as text is 505, other spellings are 400", "[proto][handshake][server]")
{
    CHECK(from("GET / HTTP/1.0") == errc::http_1_0_upgrade);
    CHECK(from("GET / HTTP/2.0") == errc::http_version_unsupported);
    CHECK(http_status_for(errc::http_version_unsupported) == 505);
    CHECK(from("GET / http/1.1") == errc::http_version_malformed);
    CHECK(from("GET /") == errc::request_line);
}

TEST_CASE("the target is a path or a URL of this host", "[proto][handshake][server]")
{
    CHECK(from("GET * HTTP/1.1") == errc::target_form);
    CHECK(from("GET example.org:80 HTTP/1.1") == errc::target_form);
    CHECK(from("GET example.org HTTP/1.1") == errc::target_form);
    CHECK(from("GET ?q HTTP/1.1") == errc::target_form);
    CHECK(from("GET ftp://example.org/ HTTP/1.1") == errc::target_form);
    CHECK(from("GET http:///chat HTTP/1.1") == errc::target_form);
    CHECK(from("GET http://user@example.org/ HTTP/1.1") == errc::target_form);
    for (auto const* good :
         {"http://example.org/chat", "ws://EXAMPLE.org", "https://example.org?q", "wss://example.org/"})
        CHECK(from("GET " + std::string{good} + " HTTP/1.1") == errc::ok);
    CHECK(from("GET http://example.com/chat HTTP/1.1") == errc::host_mismatch);
    CHECK(from("GET http://example.org:8080/chat HTTP/1.1") == errc::host_mismatch);
    CHECK(from("GET /" + std::string(8192, 'x') + " HTTP/1.1") == errc::target_too_long);
    CHECK(http_status_for(errc::target_too_long) == 414);
}

TEST_CASE("there is one Host, and it is a host", "[proto][handshake][server]")
{
    CHECK(without("Host") == errc::host_missing);
    CHECK(with("Host: example.org") == errc::host_duplicate);
    CHECK(with("host: other.org") == errc::host_duplicate);
    for (auto const* good : {"h", "h:80", "127.0.0.1:9001", "[::1]", "[::1]:9001", "a_b.example", "h:"})
        CHECK(instead("Host: " + std::string{good}) == errc::ok);
    for (auto const* bad : {"", "user@h", "h/path", "a,b", "a, b", "h:80:80", "h:x", "h:70000", "[::1", "::1", "h?q",
                            "h#f", "a b", "h\\x", "http://h"})
        CHECK(instead("Host: " + std::string{bad}) == errc::host_invalid);
}

TEST_CASE("Sec-WebSocket-Key, -Version and Origin may not repeat", "[proto][handshake][server]")
{
    CHECK(with("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==") == errc::key_duplicate);
    CHECK(with("sec-websocket-version: 13") == errc::version_duplicate);
    CHECK(judged(request_text{}.with("Origin: a").with("Origin: a")) == errc::origin_duplicate);
}

TEST_CASE("Sec-WebSocket-Protocol and -Extensions may repeat", "[proto][handshake][server]")
{
    CHECK(judged(request_text{}.with("Sec-WebSocket-Protocol: a").with("Sec-WebSocket-Protocol: b")) == errc::ok);
    CHECK(judged(request_text{}.with("Sec-WebSocket-Extensions: a").with("Sec-WebSocket-Extensions: b")) == errc::ok);
    CHECK(with("Sec-WebSocket-Extensions: constructor") == errc::ok);
}

TEST_CASE("the key is canonical base64 of 16 bytes", "[proto][handshake][server]")
{
    CHECK(without("Sec-WebSocket-Key") == errc::key_missing);
    for (auto const* bad : {"", "dGhlIHNhbXBsZSBub25jZQ=", "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25jZQ===",
                            "dGhlIHNhbXBsZSBub25jZR==", "dGhlIHNhbXBsZSBub25jZf==", "dGhlIHNhbXBsZSBub25j=Q==",
                            "dGhlIHNhbXBsZSBub25jZWQ=", "dGhlIHNhbXBsZSBub25 ZQ==", "dGhlIHNhbXBsZSBub25-ZQ==",
                            "dGhlIHNhbXBsZSBub25jZQ==,dGhlIHNhbXBsZSBub25jZQ==", "\"dGhlIHNhbXBsZSBub25jZ==\""})
        CHECK(instead("Sec-WebSocket-Key: " + std::string{bad}) == errc::key_invalid);
    for (char const last : {'A', 'Q', 'g', 'w'})
        CHECK(instead("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZ" + std::string(1, last) + "==") == errc::ok);
}

TEST_CASE("only version 13 is spoken; any other is answered with 426", "[proto][handshake][server]")
{
    CHECK(without("Sec-WebSocket-Version") == errc::version_missing);
    for (auto const* bad : {"013", "13, 8", "8", "7", "99", "", "13.0", "+13", "\"13\"", "0", "14"})
        CHECK(instead("Sec-WebSocket-Version: " + std::string{bad}) == errc::version_unsupported);
    CHECK(http_status_for(errc::version_missing) == 426);
    CHECK(http_status_for(errc::version_unsupported) == 426);
}

TEST_CASE("Connection is a list of tokens over all lines", "[proto][handshake][server]")
{
    CHECK(instead("Connection: keep-alive, Upgrade") == errc::ok);
    CHECK(instead("Connection: UPGRADE") == errc::ok);
    CHECK(instead("Connection: ,, upgrade ,") == errc::ok);
    CHECK(judged(request_text{}.instead("Connection: keep-alive").with("Connection: upgrade")) == errc::ok);
    CHECK(without("Connection") == errc::connection_not_upgrade);
    CHECK(instead("Connection: upgradex") == errc::connection_not_upgrade);
    CHECK(instead("Connection: xupgrade") == errc::connection_not_upgrade);
    CHECK(instead("Connection: up grade") == errc::connection_not_upgrade);
    CHECK(instead("Connection: keep-alive") == errc::connection_not_upgrade);
    CHECK(instead("Connection: close, upgrade") == errc::connection_close);
    CHECK(with("Connection: Close") == errc::connection_close);
}

TEST_CASE("Upgrade is a list that names websocket; without it the request is plain HTTP", "[proto][handshake][server]")
{
    CHECK(instead("Upgrade: h2c, WebSocket") == errc::ok);
    CHECK(judged(request_text{}.instead("Upgrade: h2c").with("Upgrade: WEBSOCKET")) == errc::ok);
    CHECK(instead("Upgrade: websocket/1") == errc::not_an_upgrade);
    CHECK(instead("Upgrade: websockets") == errc::not_an_upgrade);
    CHECK(instead("Upgrade: h2c") == errc::not_an_upgrade);
    CHECK(instead("Upgrade:") == errc::not_an_upgrade);
    CHECK(without("Upgrade") == errc::not_an_upgrade);
    request_text plain;
    plain.lines = {"Host: example.org", "Accept: text/html"};
    CHECK(judged(plain) == errc::not_an_upgrade);
    CHECK(judged(plain.from("GET / HTTP/1.0")) == errc::not_an_upgrade);
    CHECK(judged(plain.from("HEAD / HTTP/1.1")) == errc::not_an_upgrade);
    CHECK(http_status_for(errc::not_an_upgrade) == 426);
}

TEST_CASE("a handshake has no body", "[proto][handshake][server]")
{
    CHECK(with("Content-Length: 1") == errc::body_on_upgrade);
    CHECK(with("Transfer-Encoding: chunked") == errc::body_on_upgrade);
}

TEST_CASE("message framing that two readers could read differently is refused", "[proto][handshake][server]")
{
    auto const both = request_text{}.with("Content-Length: 5").with("Transfer-Encoding: chunked");
    CHECK(judged(both) == errc::length_and_encoding);
    CHECK(judged(request_text{}.with("Transfer-Encoding: chunked").with("Content-Length: 0")) ==
          errc::length_and_encoding);
    for (auto const* bad : {"gzip", "chunked, gzip", "chunked, chunked", "identity", "", "xchunked"})
        CHECK(with("Transfer-Encoding: " + std::string{bad}) == errc::transfer_encoding_invalid);
    CHECK(judged(request_text{}.from("GET / HTTP/1.0").with("Transfer-Encoding: chunked")) ==
          errc::transfer_encoding_invalid);
    for (auto const* bad : {"+5", "0x5", "5,5", "5, 5", "-0", "-1", "", "5 5", "9223372036854775808",
                            "18446744073709551616", "00000000000000000000", "1e3", "\"5\""})
        CHECK(with("Content-Length: " + std::string{bad}) == errc::content_length_invalid);
    CHECK(judged(request_text{}.with("Content-Length: 5").with("Content-Length: 6")) == errc::content_length_invalid);
    CHECK(judged(request_text{}.with("Content-Length: 0").with("Content-Length: 0")) == errc::content_length_invalid);
    CHECK(with("Content-Length: 9223372036854775807") == errc::body_on_upgrade);
}

TEST_CASE("expectations are refused with 417", "[proto][handshake][server]")
{
    CHECK(with("Expect: 100-continue") == errc::expectation);
    CHECK(http_status_for(errc::expectation) == 417);
}

TEST_CASE("a plain request is judged by the general rules alone", "[proto][handshake][server]")
{
    auto const plain = parsed("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n");
    CHECK(check_request(plain) == errc::ok);
    CHECK(check_upgrade(plain) == errc::not_an_upgrade);
    CHECK(check_request(parsed("GET / HTTP/1.0\r\n\r\n")) == errc::ok);
    CHECK(check_request(parsed("GET / HTTP/1.1\r\n\r\n")) == errc::host_missing);
    CHECK(check_request(parsed("GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n")) == errc::host_mismatch);
}

TEST_CASE("header limits are answered with 431", "[proto][handshake][server]")
{
    request_text many;
    for (int i = 0; i < 96; ++i)
        many.with("A: b");
    CHECK(judge_cut(many.text(), 0, true) == errc::too_many_fields);
    CHECK(judge_cut(request_text{}.with("A: " + std::string(16384, 'x')).text(), 0, false) == errc::head_too_large);
    CHECK(http_status_for(errc::too_many_fields) == 431);
    CHECK(http_status_for(errc::head_too_large) == 431);
}

TEST_CASE("the server's first choice among the offered subprotocols is taken", "[proto][handshake][server]")
{
    CHECK(choice("", "chat").name.empty());
    CHECK(choice("Sec-WebSocket-Protocol: superchat, chat\r\n", "chat, superchat").name == "chat");
    CHECK(choice("Sec-WebSocket-Protocol: a\r\nSec-WebSocket-Protocol: b\r\n", "c,b").name == "b");
    CHECK(choice("Sec-WebSocket-Protocol: Chat\r\n", "chat").name.empty());
    CHECK(choice("Sec-WebSocket-Protocol: chat\r\n", "").name.empty());
    CHECK(choice("Sec-WebSocket-Protocol: chat\r\n", "chat").error == errc::ok);
}

TEST_CASE("a malformed offer of subprotocols is refused", "[proto][handshake][server]")
{
    CHECK(choice("Sec-WebSocket-Protocol: a b\r\n", "a").error == errc::subprotocol_invalid);
    CHECK(choice("Sec-WebSocket-Protocol: \"a\"\r\n", "a").error == errc::subprotocol_invalid);
    CHECK(choice("Sec-WebSocket-Protocol: a/b\r\n", "a").error == errc::subprotocol_invalid);
    CHECK(choice("Sec-WebSocket-Protocol: a, b, a\r\n", "b").error == errc::subprotocol_duplicate);
    CHECK(choice("Sec-WebSocket-Protocol: a\r\nSec-WebSocket-Protocol: a\r\n", "b").error ==
          errc::subprotocol_duplicate);
    std::string names;
    for (int i = 0; i < 64; ++i)
        names += "n" + std::to_string(i) + ",";
    CHECK(choice("Sec-WebSocket-Protocol: " + names + "\r\n", "n63").name == "n63");
    CHECK(choice("Sec-WebSocket-Protocol: " + names + "n64\r\n", "n1").error == errc::subprotocol_excess);
}

TEST_CASE("the 101 response is written", "[proto][handshake][server]")
{
    std::string out = "before";
    CHECK(write_switching_protocols(out, {sample_key, "chat", "permessage-deflate", {}}) == errc::ok);
    CHECK(out == "beforeHTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                 "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: chat\r\n"
                 "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n");
    out.clear();
    field const extra[] = {{"Set-Cookie", "a=b"}, {"X-Y", ""}};
    CHECK(write_switching_protocols(out, {sample_key, "", "", extra}) == errc::ok);
    CHECK(out == "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                 "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSet-Cookie: a=b\r\nX-Y: \r\n\r\n");
}

TEST_CASE("application fields can neither end a line nor change the framing", "[proto][handshake]")
{
    CHECK(check_field({"X-A", "b c"}) == errc::ok);
    for (std::string_view name : {"", "A B", "A:", "A\r\n", "\xC3\xA4", "A\r\nB"})
        CHECK(check_field({name, "v"}) == errc::header_name);
    for (std::string_view value : {std::string_view{"a\r\nB: c"}, std::string_view{"a\n"}, std::string_view{"a\r"},
                                   std::string_view{"a\0", 2}, std::string_view{"\x7F"}})
        CHECK(check_field({"A", value}) == errc::header_value);
    for (std::string_view name : {"Connection", "upgrade", "CONTENT-LENGTH", "Transfer-Encoding", "Host",
                                  "Sec-WebSocket-Accept", "sec-websocket-protocol"})
        CHECK(check_field({name, "v"}) == errc::header_reserved);

    std::string out = "kept";
    field const bad[] = {{"A", "b\r\nC: d"}};
    CHECK(write_switching_protocols(out, {sample_key, "", "", bad}) == errc::header_value);
    CHECK(write_switching_protocols(out, {sample_key, "a\r\nb", "", {}}) == errc::subprotocol_invalid);
    CHECK(write_switching_protocols(out, {sample_key, "", "x\r\ny", {}}) == errc::header_value);
    CHECK(write_switching_protocols(out, {"short", "", "", {}}) == errc::key_argument);
    refusal r;
    r.extra = bad;
    CHECK(write_refusal(out, r) == errc::header_value);
    r.extra = {};
    r.content_type = "a\nb";
    CHECK(write_refusal(out, r) == errc::header_value);
    CHECK(out == "kept");
}

TEST_CASE("a refusal closes the connection and says how long it is", "[proto][handshake][server]")
{
    auto const written = [](std::uint16_t status, std::string_view body = {}) {
        refusal r;
        r.status = status;
        r.body = body;
        std::string out;
        CHECK(write_refusal(out, r) == errc::ok);
        return out;
    };
    CHECK(written(400) == "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    CHECK(written(404, "gone\n") == "HTTP/1.1 404 Not Found\r\nConnection: close\r\n"
                                    "Content-Type: text/plain; charset=utf-8\r\nContent-Length: 5\r\n\r\ngone\n");
    CHECK(written(405) ==
          "HTTP/1.1 405 Method Not Allowed\r\nConnection: close\r\nAllow: GET\r\nContent-Length: 0\r\n\r\n");
    CHECK(written(426) == "HTTP/1.1 426 Upgrade Required\r\nConnection: close, Upgrade\r\nUpgrade: websocket\r\n"
                          "Sec-WebSocket-Version: 13\r\nContent-Length: 0\r\n\r\n");
    CHECK(written(503) == "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 1\r\n"
                          "Content-Length: 0\r\n\r\n");
    CHECK(written(204, "x") == "HTTP/1.1 204 No Content\r\nConnection: close\r\n"
                               "Content-Type: text/plain; charset=utf-8\r\n\r\n");
    CHECK(written(599) == "HTTP/1.1 599 \r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
}

TEST_CASE("every refusal in the table has a response that parses", "[proto][handshake][server]")
{
    for (unsigned i = 0; i < errc_count; ++i) {
        refusal r;
        r.status = http_status_for(static_cast<errc>(i));
        if (r.status == 0) continue;
        r.body = message(static_cast<errc>(i));
        std::string out;
        REQUIRE(write_refusal(out, r) == errc::ok);
        response_head head;
        REQUIRE(parse_response(std::string_view{out}.substr(0, out.find("\r\n\r\n") + 4), head) == errc::ok);
        CHECK(head.status == r.status);
        CHECK_FALSE(head.reason.empty());
        CHECK(head.fields.has_token("Connection", "close"));
        CHECK(head.fields.find("Content-Length") == std::to_string(r.body.size()));
    }
}

// --- The client's list ---

TEST_CASE("what the client writes the server accepts", "[proto][handshake][client]")
{
    auto request = sample_request;
    field const extra[] = {{"Authorization", "Basic eDp5"}};
    request.origin = "https://example.org";
    request.extensions = "permessage-deflate; client_max_window_bits";
    request.extra = extra;
    std::string out;
    REQUIRE(write_request(out, request) == errc::ok);
    CHECK(out == "GET /chat HTTP/1.1\r\nHost: example.org\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                 "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                 "Sec-WebSocket-Protocol: chat, superchat\r\n"
                 "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
                 "Origin: https://example.org\r\nAuthorization: Basic eDp5\r\n\r\n");
    auto const head = parsed(out);
    CHECK(check_upgrade(head) == errc::ok);

    std::string answer;
    CHECK(write_switching_protocols(answer, {sample_key, choose_subprotocol(head, "superchat").name, "", {}}) ==
          errc::ok);
    response_head response;
    REQUIRE(parse_response(answer, response) == errc::ok);
    accepted a;
    CHECK(check_response(response, request, a) == errc::ok);
    CHECK(a.subprotocol == "superchat");
}

TEST_CASE("a target without a path gets one", "[proto][handshake][client]")
{
    auto request = sample_request;
    request.target = "?a=b";
    std::string out;
    CHECK(write_request(out, request) == errc::ok);
    CHECK(out.starts_with("GET /?a=b HTTP/1.1\r\n"));
}

TEST_CASE("line breaks and NUL in anything the application gives are refused", "[proto][handshake][client]")
{
    std::string out;
    std::string_view const evils[] = {"a\r\nX: y", "a\n", "a\r", {"a\0b", 3}};
    for (auto evil : evils) {
        std::string const path = "/" + std::string{evil};
        auto r = sample_request;
        r.host = evil;
        CHECK(write_request(out, r) == errc::host_argument);
        r = sample_request;
        r.target = path;
        CHECK(write_request(out, r) == errc::target_argument);
        r = sample_request;
        r.key = evil;
        CHECK(write_request(out, r) == errc::key_argument);
        r = sample_request;
        r.subprotocols = evil;
        CHECK(write_request(out, r) == errc::subprotocol_invalid);
        r = sample_request;
        r.extensions = evil;
        CHECK(write_request(out, r) == errc::header_value);
        r = sample_request;
        r.origin = evil;
        CHECK(write_request(out, r) == errc::header_value);
        r = sample_request;
        field const bad_value[] = {{"A", evil}};
        r.extra = bad_value;
        CHECK(write_request(out, r) == errc::header_value);
        field const bad_name[] = {{evil, "v"}};
        r.extra = bad_name;
        CHECK(write_request(out, r) == errc::header_name);
    }
    CHECK(out.empty());
}

TEST_CASE("other arguments that would make a bad request are refused", "[proto][handshake][client]")
{
    std::string out;
    auto r = sample_request;
    for (std::string_view target : {"", "chat", "*", "/a b", "/a#b", "/\xC3\xA9", "/%", "http://h/"}) {
        r.target = target;
        CHECK(write_request(out, r) == errc::target_argument);
    }
    r = sample_request;
    for (std::string_view host : {"", "a/b", "user@h", "a b", "h:99999"}) {
        r.host = host;
        CHECK(write_request(out, r) == errc::host_argument);
    }
    r = sample_request;
    r.subprotocols = "a, b, a";
    CHECK(write_request(out, r) == errc::subprotocol_duplicate);
    r.subprotocols = "a b";
    CHECK(write_request(out, r) == errc::subprotocol_invalid);
    r = sample_request;
    field const reserved[] = {{"Sec-WebSocket-Key", "x"}};
    r.extra = reserved;
    CHECK(write_request(out, r) == errc::header_reserved);
    CHECK(out.empty());
}

TEST_CASE("a sound response is accepted", "[proto][handshake][client]")
{
    accepted a;
    CHECK(answered({}, sample_request, &a) == errc::ok);
    CHECK(a.subprotocol.empty());
    CHECK(a.extensions.empty());
    CHECK(answered_instead("Upgrade: WebSocket") == errc::ok);
    CHECK(answered_instead("Connection: keep-alive, UPGRADE") == errc::ok);
}

TEST_CASE("a status other than 101 fails the handshake", "[proto][handshake][client]")
{
    for (auto const* status : {"200 OK", "204 No Content", "301 Moved", "302 Found", "400 Bad", "401 No", "426 Upgrade",
                               "500 Oops", "503 Later", "100 Continue"})
        CHECK(answered({"HTTP/1.1 " + std::string{status}, response_text{}.lines}) == errc::status_not_101);
    CHECK(answered({"HTTP/1.0 101 Switching Protocols", response_text{}.lines}) == errc::response_http_1_0);
}

TEST_CASE("Upgrade and Connection of a response are required", "[proto][handshake][client]")
{
    CHECK(answered_without("Upgrade") == errc::response_upgrade);
    CHECK(answered_instead("Upgrade: h2c") == errc::response_upgrade);
    CHECK(answered_instead("Upgrade: websocket, h2c") == errc::response_upgrade);
    CHECK(answered_with("Upgrade: websocket") == errc::response_upgrade);
    CHECK(answered_without("Connection") == errc::response_connection);
    CHECK(answered_instead("Connection: keep-alive") == errc::response_connection);
    CHECK(answered_instead("Connection: upgraded") == errc::response_connection);
}

TEST_CASE("the accept key of a response is there once and exact", "[proto][handshake][client]")
{
    CHECK(answered_without("Sec-WebSocket-Accept") == errc::accept_missing);
    CHECK(answered_with("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=") == errc::accept_duplicate);
    for (auto const* bad : {"", "S3pPLMBiTxaQ9kYGzzhZRbK+xOo=", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo",
                            "dGhlIHNhbXBsZSBub25jZQ==", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=x"})
        CHECK(answered_instead("Sec-WebSocket-Accept: " + std::string{bad}) == errc::accept_mismatch);
}

TEST_CASE("an extension that was not offered, or comes twice, fails the handshake", "[proto][handshake][client]")
{
    CHECK(answered_with("Sec-WebSocket-Extensions: permessage-deflate") == errc::extension_unoffered);
    auto offer = sample_request;
    offer.extensions = "permessage-deflate; client_max_window_bits, x-other";
    response_text r;
    r.lines.push_back("Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover");
    accepted a;
    CHECK(answered(r, offer, &a) == errc::ok);
    CHECK(a.extensions == "permessage-deflate; server_no_context_takeover");
    r.lines.back() = "Sec-WebSocket-Extensions: permessage-deflate, permessage-deflate";
    CHECK(answered(r, offer) == errc::extension_duplicate);
    r.lines.back() = "Sec-WebSocket-Extensions: permessage-bzip2";
    CHECK(answered(r, offer) == errc::extension_unoffered);
    r.lines.back() = "Sec-WebSocket-Extensions: permessage-deflate";
    r.lines.push_back("Sec-WebSocket-Extensions: x-other");
    CHECK(answered(r, offer) == errc::extension_duplicate); // section 11.3.2: once in a response
}

TEST_CASE("a subprotocol that was not offered, or more than one, fails the handshake", "[proto][handshake][client]")
{
    accepted a;
    response_text r;
    r.lines.push_back("Sec-WebSocket-Protocol: superchat");
    CHECK(answered(r, sample_request, &a) == errc::ok);
    CHECK(a.subprotocol == "superchat");
    CHECK(answered_with("Sec-WebSocket-Protocol: other") == errc::response_subprotocol_unoffered);
    CHECK(answered_with("Sec-WebSocket-Protocol: Chat") == errc::response_subprotocol_unoffered);
    CHECK(answered_with("Sec-WebSocket-Protocol:") == errc::response_subprotocol_unoffered);
    CHECK(answered_with("Sec-WebSocket-Protocol: chat, superchat") == errc::response_subprotocol_multiple);
    r.lines.push_back("Sec-WebSocket-Protocol: chat");
    CHECK(answered(r) == errc::response_subprotocol_multiple);
    auto none = sample_request;
    none.subprotocols = "";
    r.lines.pop_back();
    CHECK(answered(r, none) == errc::response_subprotocol_unoffered);
}

TEST_CASE("interim responses are skipped, but not for ever", "[proto][handshake][client]")
{
    unsigned seen = 0;
    bool skip = false;
    response_head r;
    for (int const status : {100, 102, 103}) {
        r.status = static_cast<std::uint16_t>(status);
        CHECK(skip_interim(r, seen, skip) == errc::ok);
        CHECK(skip);
    }
    for (int const status : {101, 200, 500}) {
        r.status = static_cast<std::uint16_t>(status);
        CHECK(skip_interim(r, seen, skip) == errc::ok);
        CHECK_FALSE(skip);
    }
    r.status = 103;
    while (seen < max_interim_responses)
        CHECK(skip_interim(r, seen, skip) == errc::ok);
    CHECK(skip_interim(r, seen, skip) == errc::too_many_interim);
}
