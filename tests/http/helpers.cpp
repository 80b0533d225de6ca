// SPDX-License-Identifier: BSL-1.0
#include "catch.hpp"

#include "ws/request_data.hpp"

#include <wring/http.hpp>

using namespace wring;

namespace {

struct sample
{
    explicit sample(std::string_view lines) : text("GET / HTTP/1.1\r\nHost: h\r\n" + std::string(lines) + "\r\n")
    {
        REQUIRE(proto::parse_request(text, data.head) == proto::errc::ok);
    }
    std::string text;
    detail::request_data data;
    request view{data};
};

std::string basic(std::string_view lines)
{
    sample const s(lines);
    auto const found = basic_credentials(s.view);
    return found ? found->user + "|" + found->password : "none";
}

std::string bearer(std::string_view lines)
{
    sample const s(lines);
    return std::string(bearer_token(s.view).value_or("none"));
}

} // namespace

TEST_CASE("an event of a stream has a line for each line of its data")
{
    CHECK(server_sent_event("hello") == "data: hello\n\n");
    CHECK(server_sent_event("a\nb\r\nc\rd") == "data: a\ndata: b\ndata: c\ndata: d\n\n");
    CHECK(server_sent_event("") == "data: \n\n");
    CHECK(server_sent_event("x\n") == "data: x\ndata: \n\n");
    CHECK(server_sent_event("x", "news", "7") == "event: news\nid: 7\ndata: x\n\n");
    // Nothing in a name or an id begins a line of its own.
    CHECK(server_sent_event("x", "a\ndata: evil", "1\r\nretry: 0") == "event: a\nid: 1\ndata: x\n\n");
    CHECK(server_sent_event("x", "\nevil", std::string_view("1\0002", 3)) == "id: 1\ndata: x\n\n");
}

TEST_CASE("texts are escaped for a path or a query, and back")
{
    CHECK(percent_encode("a-b.c_d~e 1/2?&=+%\xC3\xBC") == "a-b.c_d~e%201%2F2%3F%26%3D%2B%25%C3%BC");
    std::string all;
    for (int c = 0; c < 256; ++c)
        all.push_back(static_cast<char>(c));
    CHECK(percent_decode(percent_encode(all)) == all);
    CHECK(percent_decode("a+b%20c") == "a+b c");
    CHECK(percent_decode("a+b", true) == "a b");
    CHECK(!percent_decode("%4"));
}

TEST_CASE("the values of a form are found and decoded")
{
    std::string_view const form = "name=Ann+B.&text=a%26b%3Dc&empty=&na%6De2=x&flag";
    CHECK(form_value(form, "name") == "Ann B.");
    CHECK(form_value(form, "text") == "a&b=c");
    CHECK(form_value(form, "empty") == "");
    CHECK(form_value(form, "name2") == "x");
    CHECK(form_value(form, "flag") == "");
    CHECK(!form_value(form, "other"));
    CHECK(!form_value("a=%zz", "a"));
    CHECK(!form_value("", "a"));
}

TEST_CASE("Basic credentials are read in their one form")
{
    CHECK(basic("Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n") == "Aladdin|open sesame"); // RFC 7617
    CHECK(basic("Authorization: basic   QWxhZGRpbjpvcGVuIHNlc2FtZQ== \r\n") == "Aladdin|open sesame");
    CHECK(basic("Authorization: Basic YTpiOmM=\r\n") == "a|b:c");
    CHECK(basic("Authorization: Basic Og==\r\n") == "|");
    for (char const* bad : {"Basic", "Basic ", "Basic YTpi\r\nAuthorization: Basic YTpi",
                            "Basic YWI=", "Basic YTpi=", "Basic YTp", "Basic YTpiY", "Basic YT*i",
                            "Basic Oh==", "Basic YTpi YTpi", "Bearer YTpi", "BasicYTpi", "Basic =", "Basic ====", ""}) {
        INFO(bad);
        CHECK(basic("Authorization: " + std::string(bad) + "\r\n") == "none");
    }
    CHECK(basic("") == "none");
}

TEST_CASE("a Bearer token is read")
{
    CHECK(bearer("Authorization: Bearer abc.def-ghi_123\r\n") == "abc.def-ghi_123");
    CHECK(bearer("authorization: BEARER  x \r\n") == "x");
    for (char const* bad : {"Bearer", "Bearer ", "Bearer a b", "Bearer a,b", "Basic abc", "Bearerabc",
                            "Bearer a\r\nAuthorization: Bearer b"}) {
        INFO(bad);
        CHECK(bearer("Authorization: " + std::string(bad) + "\r\n") == "none");
    }
}

TEST_CASE("secrets are equal only to themselves")
{
    CHECK(equal_secrets("", ""));
    CHECK(equal_secrets("abc", "abc"));
    for (auto const& [a, b] : {std::pair{"abc", "abd"},
                               {"abc", "ab"},
                               {"abc", "abca"},
                               {"abc", "abcabc"},
                               {"abc", ""},
                               {"", "abc"},
                               {"", "\x01"},
                               {"a", "aa"},
                               {"aa", "a"},
                               {"abc", "xbc"}})
        CHECK(!equal_secrets(a, b));
    CHECK(!equal_secrets("abc", std::string_view("abc\0", 4)));
    CHECK(!equal_secrets(std::string_view("a\0", 2), "a"));
}

TEST_CASE("the content type goes by the name's ending")
{
    CHECK(content_type_of("index.html") == "text/html; charset=utf-8");
    CHECK(content_type_of("a/b.min.JS") == "text/javascript; charset=utf-8");
    CHECK(content_type_of("style.css") == "text/css; charset=utf-8");
    CHECK(content_type_of("x.svg") == "image/svg+xml");
    CHECK(content_type_of("x.wasm") == "application/wasm");
    CHECK(content_type_of("x.unknown") == "application/octet-stream");
    CHECK(content_type_of("html") == "application/octet-stream");
    CHECK(content_type_of("a.html/b") == "application/octet-stream");
    CHECK(content_type_of("") == "application/octet-stream");
}
