// SPDX-License-Identifier: BSL-1.0
#include "proto/http.hpp"

#include "bytes.hpp"
#include "catch.hpp"

#include <algorithm>
#include <deque>
#include <string>
#include <vector>

using namespace wring::proto;

namespace {

using kind = head_scanner::kind;

struct verdict
{
    errc error = errc::ok;
    bool complete = false;
    std::size_t size = 0;
    bool operator==(verdict const&) const = default;
};

// Scans `text` in the pieces that end at `cuts`.
verdict scan(kind k, std::string_view text, std::vector<std::size_t> const& cuts, head_limits limits = {})
{
    head_scanner scanner{k, limits};
    std::size_t from = 0;
    for (std::size_t i = 0; i <= cuts.size(); ++i) {
        auto const to = i < cuts.size() ? cuts[i] : text.size();
        auto const p = scanner.feed(text.substr(from, to - from));
        if (p.error != errc::ok || p.complete) return {p.error, p.complete, scanner.size()};
        REQUIRE(p.consumed == to - from);
        from = to;
    }
    return {errc::ok, false, scanner.size()};
}

// The verdict on a head, which must be the same whole, cut in two at each byte, and byte by byte.
verdict judged(kind k, std::string_view text, head_limits limits = {})
{
    auto const whole = scan(k, text, {}, limits);
    std::vector<std::size_t> all;
    bool same = true;
    for (std::size_t cut = 0; cut <= text.size(); ++cut) {
        same = same && scan(k, text, {cut}, limits) == whole;
        all.push_back(cut);
    }
    CHECK(same);
    CHECK(scan(k, text, all, limits) == whole);
    return whole;
}

errc request_error(std::string_view text, head_limits limits = {})
{
    INFO(text);
    return judged(kind::request, text, limits).error;
}

errc response_error(std::string_view text)
{
    INFO(text);
    return judged(kind::response, text).error;
}

std::string with_fields(std::string_view fields)
{
    return "GET / HTTP/1.1\r\n" + std::string{fields} + "\r\n";
}

// The views in the result live until the program ends.
request_head parsed(std::string text)
{
    static std::deque<std::string> kept;
    auto const& mine = kept.emplace_back(std::move(text));
    request_head r;
    INFO(mine);
    REQUIRE(parse_request(mine, r) == errc::ok);
    return r;
}

std::vector<std::string> elements(field_range const& fields, std::string_view name)
{
    std::vector<std::string> v;
    fields.each_element(name, [&](std::string_view e) { return v.emplace_back(e), true; });
    return v;
}

} // namespace

TEST_CASE("a request head is taken apart", "[proto][http]")
{
    auto const r =
        parsed("GET /chat?room=1 HTTP/1.1\r\nHost: example.org\r\nX-Empty:\r\nX-Space: \t padded \t\r\n\r\n");
    CHECK(r.method == "GET");
    CHECK(r.target == "/chat?room=1");
    CHECK(r.version == http_version{1, 1});
    CHECK(r.fields.find("host") == "example.org");
    CHECK(r.fields.find("X-EMPTY") == "");
    CHECK(r.fields.find("x-space") == "padded");
    CHECK_FALSE(r.fields.find("X-Spac"));
    std::vector<std::string> names;
    for (auto const& f : r.fields)
        names.emplace_back(f.name);
    CHECK(names == std::vector<std::string>{"Host", "X-Empty", "X-Space"});
}

TEST_CASE("a head without fields is a head", "[proto][http]")
{
    auto const r = parsed("GET / HTTP/1.0\r\n\r\n");
    CHECK(r.version == http_version{1, 0});
    CHECK(r.fields.begin() == r.fields.end());
}

TEST_CASE("the scanner stops behind the head and leaves what follows", "[proto][http]")
{
    std::string const head = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
    for (std::string const tail : {"", "\x81", "GET /2 HTTP/1.1\r\n\r\n"}) {
        auto const v = judged(kind::request, head + tail);
        CHECK(v.complete);
        CHECK(v.size == head.size());
    }
}

TEST_CASE("one empty line before a request is skipped, a second one refused", "[proto][http]")
{
    auto const r = parsed("\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n");
    CHECK(r.method == "GET");
    CHECK(r.fields.find("Host") == "h");
    CHECK(request_error("\r\n\r\nGET / HTTP/1.1\r\n\r\n") == errc::empty_line);
    CHECK(request_error("\nGET / HTTP/1.1\r\n\r\n") == errc::bare_lf);
    CHECK(request_error("\rGET / HTTP/1.1\r\n\r\n") == errc::bare_cr);
    CHECK(response_error("\r\nHTTP/1.1 101 x\r\n\r\n") == errc::http_version_malformed);
}

TEST_CASE("methods are tokens", "[proto][http]")
{
    CHECK(parsed("M-SEARCH / HTTP/1.1\r\n\r\n").method == "M-SEARCH");
    CHECK(request_error(" GET / HTTP/1.1\r\n\r\n") == errc::method_invalid);
    CHECK(request_error("\tGET / HTTP/1.1\r\n\r\n") == errc::method_invalid);
    CHECK(request_error("G(T / HTTP/1.1\r\n\r\n") == errc::method_invalid);
    CHECK(request_error("G\xC3T / HTTP/1.1\r\n\r\n") == errc::method_invalid);
    CHECK(request_error("GET\r\n\r\n") == errc::request_line);
    CHECK(request_error("GET\n") == errc::bare_lf);
}

TEST_CASE("extra spaces and tabs in the request line are refused", "[proto][http]")
{
    CHECK(request_error("GET  / HTTP/1.1\r\n\r\n") == errc::request_line);
    CHECK(request_error("GET /  HTTP/1.1\r\n\r\n") == errc::request_line);
    CHECK(request_error("GET / HTTP/1.1 \r\n\r\n") == errc::request_line);
    CHECK(request_error("GET\t/ HTTP/1.1\r\n\r\n") == errc::request_line);
    CHECK(request_error("GET /\tHTTP/1.1\r\n\r\n") == errc::request_line);
    CHECK(request_error("GET / HTTP/1.1\t\r\n\r\n") == errc::request_line);
    CHECK(request_error("GET /a b HTTP/1.1\r\n\r\n") == errc::http_version_malformed);
}

TEST_CASE("control characters, bytes from 0x80 and # in the target are refused", "[proto][http]")
{
    for (unsigned c = 0; c < 256; ++c) {
        auto const text = "GET /" + std::string(1, static_cast<char>(c)) + "x HTTP/1.1\r\n\r\n";
        bool const allowed = c > 0x20 && c < 0x7F && c != '#';
        CHECK((judged(kind::request, text).error == errc::ok) == allowed);
    }
    CHECK(request_error("GET /# HTTP/1.1\r\n\r\n") == errc::target_invalid);
    CHECK(request_error("GET /\xC3\xA9 HTTP/1.1\r\n\r\n") == errc::target_invalid);
    CHECK(request_error("GET /\x01 HTTP/1.1\r\n\r\n") == errc::target_invalid);
}

TEST_CASE("HTTP versions other than 1.0 and 1.1 are refused", "[proto][http]")
{
    CHECK(request_error("GET / HTTP/2.0\r\n\r\n") == errc::http_version_unsupported);
    CHECK(request_error("GET / HTTP/0.9\r\n\r\n") == errc::http_version_unsupported);
    CHECK(request_error("GET / HTTP/1.2\r\n\r\n") == errc::http_version_unsupported);
    CHECK(request_error("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") == errc::http_version_unsupported);
    CHECK(request_error("GET / http/1.1\r\n\r\n") == errc::http_version_malformed);
    CHECK(request_error("GET / HTTP/1.10\r\n\r\n") == errc::http_version_malformed);
    CHECK(request_error("GET / HTTP/11\r\n\r\n") == errc::http_version_malformed);
    CHECK(request_error("GET / HTTP/1,1\r\n\r\n") == errc::http_version_malformed);
    CHECK(request_error("GET / HTTP/x.1\r\n\r\n") == errc::http_version_malformed);
    CHECK(request_error("GET / HTTP/1.1\n\r\n") == errc::bare_lf);
    CHECK(request_error("GET /\r\n\r\n") == errc::request_line);
    CHECK(request_error("GET / \r\n\r\n") == errc::http_version_malformed);
}

TEST_CASE("a line ends in CR LF and nothing else", "[proto][http]")
{
    CHECK(request_error(with_fields("A: b\n")) == errc::bare_lf);
    CHECK(request_error(with_fields("A: b\rC: d\r\n")) == errc::bare_cr);
    CHECK(request_error(with_fields("A: b\r\r\n")) == errc::bare_cr);
    CHECK(request_error(with_fields("A\n")) == errc::bare_lf);
    CHECK(request_error(with_fields("\nA: b\r\n")) == errc::bare_lf);
    CHECK(request_error("GET / HTTP/1.1\rA: b\r\n\r\n") == errc::bare_cr);
    CHECK(request_error("GET / HTTP/1.1\r\nA: b\r\n\rX") == errc::bare_cr);
    CHECK(request_error("GET /\n") == errc::bare_lf);
}

TEST_CASE("control characters in a field value are refused, other bytes are kept", "[proto][http]")
{
    for (unsigned c = 0; c < 256; ++c) {
        auto const text = with_fields("A: b" + std::string(1, static_cast<char>(c)) + "c\r\n");
        bool const allowed = c == '\t' || (c >= 0x20 && c != 0x7F);
        CHECK((judged(kind::request, text).error == errc::ok) == allowed);
    }
    CHECK(request_error(with_fields(std::string_view{"A: b\0c\r\n", 8})) == errc::control_character);
}

TEST_CASE("folded fields and space before the first field are refused", "[proto][http]")
{
    CHECK(request_error(with_fields("A: b\r\n c\r\n")) == errc::obs_fold);
    CHECK(request_error(with_fields("A: b\r\n\tc\r\n")) == errc::obs_fold);
    CHECK(request_error(with_fields(" A: b\r\n")) == errc::space_before_field);
    CHECK(request_error(with_fields("\tA: b\r\n")) == errc::space_before_field);
}

TEST_CASE("field names are tokens right before their colon", "[proto][http]")
{
    CHECK(request_error(with_fields("A : b\r\n")) == errc::space_before_colon);
    CHECK(request_error(with_fields("A\t: b\r\n")) == errc::space_before_colon);
    CHECK(request_error(with_fields("A B: c\r\n")) == errc::space_before_colon);
    CHECK(request_error(with_fields(": b\r\n")) == errc::field_name_invalid);
    CHECK(request_error(with_fields("A(: b\r\n")) == errc::field_name_invalid);
    CHECK(request_error(with_fields("\xC3: b\r\n")) == errc::field_name_invalid);
    CHECK(request_error(with_fields("A\x01: b\r\n")) == errc::field_name_invalid);
    CHECK(request_error(with_fields("Abc\r\n")) == errc::field_no_colon);
    CHECK(request_error(with_fields("A::b\r\n")) == errc::ok);
}

TEST_CASE("all 256 bytes as a field name agree with RFC 9110's list of token characters", "[proto][http]")
{
    std::string_view const marks = "!#$%&'*+-.^_`|~";
    for (unsigned c = 0; c < 256; ++c) {
        bool const letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        bool const allowed = letter || (c != 0 && marks.find(static_cast<char>(c)) != marks.npos);
        std::string const name(1, static_cast<char>(c));
        CHECK(is_token(name) == allowed);
        // CR here is the end of the head, followed by something else.
        CHECK((judged(kind::request, with_fields(name + ": v\r\n")).error == errc::ok) == allowed);
    }
    CHECK_FALSE(is_token(""));
}

TEST_CASE("a header block may be as large as the limit and no larger", "[proto][http]")
{
    head_limits const limits{200, 100, 10};
    auto const block = [](std::size_t size) { return with_fields("A: " + std::string(size - 23, 'x') + "\r\n"); };
    CHECK(block(200).size() == 200);
    CHECK(judged(kind::request, block(200), limits).complete);
    CHECK(request_error(block(201), limits) == errc::head_too_large);
    CHECK(request_error(std::string(300, 'M'), limits) == errc::head_too_large);
}

TEST_CASE("a request may have as many fields as the limit and no more", "[proto][http]")
{
    std::string fields;
    for (int i = 0; i < 100; ++i)
        fields += "A: b\r\n";
    CHECK(judged(kind::request, with_fields(fields)).complete);
    CHECK(request_error(with_fields(fields + "A: b\r\n")) == errc::too_many_fields);
}

TEST_CASE("a target may be as long as the limit and no longer", "[proto][http]")
{
    head_limits const limits{1000, 50, 10};
    auto const line = [](std::size_t size) { return "GET /" + std::string(size - 1, 'x') + " HTTP/1.1\r\n\r\n"; };
    CHECK(judged(kind::request, line(50), limits).complete);
    CHECK(request_error(line(51), limits) == errc::target_too_long);
    CHECK(request_error(line(900), limits) == errc::target_too_long);
}

TEST_CASE("a response head is taken apart", "[proto][http]")
{
    response_head r;
    REQUIRE(parse_response("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n", r) == errc::ok);
    CHECK(r.status == 101);
    CHECK(r.reason == "Switching Protocols");
    CHECK(r.version == http_version{1, 1});
    CHECK(r.fields.find("upgrade") == "websocket");
    REQUIRE(parse_response("HTTP/1.0 200 \r\n\r\n", r) == errc::ok);
    CHECK(r.status == 200);
    CHECK(r.reason.empty());
    CHECK(r.version == http_version{1, 0});
    REQUIRE(parse_response("HTTP/1.1 204\r\n\r\n", r) == errc::ok); // a common omission, and harmless
    CHECK(r.reason.empty());
}

TEST_CASE("what follows a head is no part of its fields", "[proto][http]")
{
    std::string const tail = "Evil: yes\r\nEvil: yes\r\n\r\n";
    std::string const request = "\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n" + tail;
    head_scanner scanner{kind::request};
    CHECK(scanner.feed(request).complete);
    CHECK(scanner.request(request).fields.count("Host") == 1);
    CHECK(scanner.request(request).fields.count("Evil") == 0);
    std::string const response = "HTTP/1.1 101 x\r\nUpgrade: websocket\r\n\r\n" + tail;
    scanner = head_scanner{kind::response};
    CHECK(scanner.feed(response).complete);
    CHECK(scanner.response(response).fields.count("Upgrade") == 1);
    CHECK(scanner.response(response).fields.count("Evil") == 0);
}

TEST_CASE("a status line has a version, three digits and a reason", "[proto][http]")
{
    CHECK(response_error("HTTP/1.1  101 x\r\n\r\n") == errc::status_line);
    CHECK(response_error("HTTP/1.1 10 x\r\n\r\n") == errc::status_line);
    CHECK(response_error("HTTP/1.1 1010 x\r\n\r\n") == errc::status_line);
    CHECK(response_error("HTTP/1.1 099 x\r\n\r\n") == errc::status_line);
    CHECK(response_error("HTTP/1.1 600 x\r\n\r\n") == errc::status_line);
    CHECK(response_error("HTTP/1.1 1x1 x\r\n\r\n") == errc::status_line);
    CHECK(response_error("HTTP/1.1\r\n\r\n") == errc::status_line);
    CHECK(response_error("HTTP/1.1 101 a\x01\r\n\r\n") == errc::status_line);
    CHECK(response_error("HTTP/1.1 101 a\n\r\n") == errc::bare_lf);
    CHECK(response_error("HTTP/2 101 a\r\n\r\n") == errc::http_version_malformed);
    CHECK(response_error("HTTP/2.0 101 a\r\n\r\n") == errc::http_version_unsupported);
    CHECK(response_error("http/1.1 101 a\r\n\r\n") == errc::http_version_malformed);
    CHECK(response_error("SSH-2.0-OpenSSH\r\n") == errc::http_version_malformed);
}

TEST_CASE("a whole head is exactly one head", "[proto][http]")
{
    request_head r;
    CHECK(parse_request("GET / HTTP/1.1\r\n", r) == errc::request_line);
    CHECK(parse_request("GET / HTTP/1.1\r\n\r\nx", r) == errc::request_line);
    response_head s;
    CHECK(parse_response("HTTP/1.1 101 x\r\n", s) == errc::status_line);
    CHECK(parse_response("HTTP/1.1 101 x\r\n\r\nx", s) == errc::status_line);
}

TEST_CASE("random bytes, a TLS hello, an SSH banner and zeros are refused within a few bytes", "[proto][http]")
{
    std::string const hello = "\x16\x03\x01\x02"
                              "aaaa";
    CHECK(judged(kind::request, hello).error == errc::tls_unexpected);
    CHECK(judged(kind::request, hello.substr(0, 1)).error == errc::tls_unexpected);
    CHECK(judged(kind::request, "\r\n" + hello).error == errc::method_invalid);
    CHECK(judged(kind::response, "\x15\x03\x01\x00\x02\x02\x46").error == errc::tls_unexpected);
    CHECK(judged(kind::request, std::string(64, '\0')).error == errc::method_invalid);
    CHECK(judged(kind::request, "SSH-2.0-OpenSSH_9\r\n").error == errc::request_line);
    CHECK(judged(kind::request, "\xFF\xFE").error == errc::method_invalid);
}

TEST_CASE("lines of one name count as one list", "[proto][http]")
{
    auto const r = parsed(with_fields("Upgrade: h2c,  WebSocket\r\nX: y\r\nupgrade: , foo,,\tbar ,\r\n"));
    CHECK(r.fields.count("UPGRADE") == 2);
    CHECK(elements(r.fields, "Upgrade") == std::vector<std::string>{"h2c", "WebSocket", "foo", "bar"});
    CHECK(r.fields.has_token("Upgrade", "websocket"));
    CHECK(r.fields.has_token("Upgrade", "BAR"));
    CHECK_FALSE(r.fields.has_token("Upgrade", "web"));
    CHECK_FALSE(r.fields.has_token("Connection", "upgrade"));
}

TEST_CASE("a field is found by its name, whatever is beside it and in which order", "[proto][http]")
{
    // A note is kept of names that may be there, in which Host and Abcde are the same.
    field_range const none, other("Abcde: 1\r\n"), both("Abcde: 1\r\nhost: a\r\n"), twice("HOST: a\r\nAbcde: 1\r\nHost: b\r\n");
    CHECK(none.count("Host") == 0);
    CHECK(other.count("Host") == 0);
    CHECK_FALSE(other.find("Host"));
    CHECK(both.count("Host") == 1);
    CHECK(both.find("Host") == "a");
    CHECK(both.find("aBCDE") == "1");
    CHECK(twice.count("Host") == 2);
    CHECK(twice.all("Host").first == "a");
    CHECK(twice.has_token("Host", "b"));
    CHECK(twice.count("Abcde") == 1);
    // ... and where the first of the names stands that share a place, as these do with Host.
    field_range const place("A: 1\r\nAbcd: 2\r\nX: 3\r\nhost: a\r\nAbcd: 4\r\nHost: b\r\n");
    CHECK(place.count("Host") == 2);
    CHECK(place.all("Host").first == "a");
    CHECK(place.all("Abcd").first == "2");
    CHECK(place.count("Abcd") == 2);
    CHECK(place.find("X") == "3");
    CHECK(place.find("A") == "1");
}

TEST_CASE("each field of a head is found, with any names and in any order", "[proto][http]")
{
    wring::test::random_source random{0x9E3779B97F4A7C15};
    for (int round = 0; round < 300; ++round) {
        std::vector<std::pair<std::string, std::string>> all;
        std::string lines;
        for (std::size_t i = random.below(30); i > 0; --i) {
            std::string name(1 + random.below(3), 'a');
            for (auto& c : name)
                c = static_cast<char>((random.below(2) != 0 ? 'a' : 'A') + random.below(4));
            all.emplace_back(name, std::to_string(i));
            lines += name + ": " + std::to_string(i) + "\r\n";
        }
        field_range const fields(lines);
        for (auto const& [name, value] : all) {
            std::vector<std::string> expected;
            for (auto const& [other, its] : all)
                if (equal_ignoring_case(name, other)) expected.push_back(its);
            CHECK(elements(fields, name.c_str()) == expected);
            CHECK(fields.find(name) == expected.front());
            CHECK(fields.count(name) == expected.size());
        }
        CHECK_FALSE(fields.find("e"));
    }
}

TEST_CASE("a comma in a quoted string does not separate", "[proto][http]")
{
    auto const r = parsed(with_fields("E: a;b=\"c,\\\"d\", e\r\nE: \"open, end\r\nE: f\r\n"));
    CHECK(elements(r.fields, "E") == std::vector<std::string>{"a;b=\"c,\\\"d\"", "e", "\"open, end", "f"});
}

TEST_CASE("path and query come from a target in either form", "[proto][http]")
{
    struct
    {
        char const *target, *path, *query;
    } const rows[] = {
        {"/", "/", ""},          {"/a/b?c=d&e", "/a/b", "c=d&e"}, {"/?", "/", ""},
        {"/a?b?c", "/a", "b?c"}, {"http://h/a?b", "/a", "b"},     {"ws://h", "/", ""},
        {"ws://h?q", "/", "q"},  {"/x://y", "/x://y", ""},
    };
    for (auto const& row : rows) {
        request_head r;
        r.target = row.target;
        INFO(row.target);
        CHECK(r.path() == row.path);
        CHECK(r.query() == row.query);
    }
}

TEST_CASE("cookies and query are split into pairs", "[proto][http]")
{
    auto const r = parsed("GET /?a=1&b&c=%20x=y HTTP/1.1\r\nCookie: s=\"q; t=2 ;u ; v=a=b\r\n\r\n");
    std::vector<std::string> seen;
    for (auto const& [name, value] : r.query_pairs())
        seen.push_back(std::string{name} + "|" + std::string{value});
    CHECK(seen == std::vector<std::string>{"a|1", "b|", "c|%20x=y"});
    seen.clear();
    for (auto const& [name, value] : r.cookies())
        seen.push_back(std::string{name} + "|" + std::string{value});
    CHECK(seen == std::vector<std::string>{"s|\"q", "t|2", "u|", "v|a=b"});
}

TEST_CASE("field values and names compare and trim as HTTP wants it", "[proto][http]")
{
    CHECK(equal_ignoring_case("WebSocket", "websocket"));
    CHECK(equal_ignoring_case("AZaz09-@[`{", "azAZ09-@[`{"));
    CHECK_FALSE(equal_ignoring_case("WebSocket", "websockets"));
    CHECK_FALSE(equal_ignoring_case("\xC3\x84", "\xC3\xA4")); // letters outside ASCII have no case here
    CHECK_FALSE(equal_ignoring_case("[", "{"));
    CHECK(trim(" \ta b\t ") == "a b");
    CHECK(trim(" \t") == "");
    CHECK(is_field_value("a\tb \xFF"));
    CHECK_FALSE(is_field_value("a\r\nb"));
    CHECK_FALSE(is_field_value(std::string_view{"a\0", 2}));
    CHECK_FALSE(is_field_value("\x7F"));
}
