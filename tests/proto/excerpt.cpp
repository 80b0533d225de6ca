// SPDX-License-Identifier: BSL-1.0
#include "proto/excerpt.hpp"

#include "catch.hpp"

#include <string>

using namespace wring::proto;

namespace {

struct outcome
{
    std::string text;
    bool cut = false;
    bool done = false;
    bool operator==(outcome const&) const = default;
};

outcome read(std::string const& head_text, std::string const& body, std::size_t piece = std::string::npos)
{
    response_head head;
    INFO(head_text);
    REQUIRE(parse_response(head_text, head) == errc::ok);
    body_excerpt excerpt(head);
    for (std::size_t at = 0; at < body.size(); at += std::min(piece, body.size())) {
        bool const more = excerpt.feed(std::string_view(body).substr(at, piece));
        CHECK(more != excerpt.done());
    }
    CHECK(excerpt.text().size() <= body_excerpt::most);
    return {excerpt.text(), excerpt.cut(), excerpt.done()};
}

outcome excerpt_of(std::string_view fields, std::string const& body, int status = 403)
{
    auto const head = "HTTP/1.1 " + std::to_string(status) + " x\r\n" + std::string(fields) + "\r\n";
    auto const whole = read(head, body);
    for (std::size_t piece : {1, 2, 3, 7})
        CHECK(read(head, body, piece) == whole);
    return whole;
}

} // namespace

TEST_CASE("a body of a known length", "[proto][excerpt]")
{
    CHECK(excerpt_of("Content-Length: 5\r\n", "hello") == outcome{"hello", false, true});
    CHECK(excerpt_of("Content-Length: 5\r\n", "hello, and more") == outcome{"hello", false, true});
    CHECK(excerpt_of("Content-Length: 9\r\n", "hello") == outcome{"hello", false, false});
    CHECK(excerpt_of("Content-Length: 0\r\n", "") == outcome{"", false, true});
    CHECK(excerpt_of("Content-Length: 18446744073709551615\r\n", "hello") == outcome{"hello", false, false});
}

TEST_CASE("a body to the end of the stream", "[proto][excerpt]")
{
    CHECK(excerpt_of("", "hello") == outcome{"hello", false, false});
    CHECK(excerpt_of("Content-Length: x\r\n", "hello") == outcome{"hello", false, false});
    CHECK(excerpt_of("Content-Length: 99999999999999999999\r\n", "hello") == outcome{"hello", false, false});
    CHECK(excerpt_of("Transfer-Encoding: gzip\r\n", "zipped") == outcome{"zipped", false, false});
}

TEST_CASE("some answers have no body", "[proto][excerpt]")
{
    for (int status : {101, 204, 304})
        CHECK(excerpt_of("", "HTTP/1.1", status) == outcome{"", false, true});
}

TEST_CASE("no more than 4096 bytes are kept", "[proto][excerpt]")
{
    std::string const exactly(body_excerpt::most, 'x');
    CHECK(excerpt_of("", exactly) == outcome{exactly, false, false});
    CHECK(excerpt_of("", exactly + "y") == outcome{exactly, true, true});
    CHECK(excerpt_of("Content-Length: 4096\r\n", exactly) == outcome{exactly, false, true});
    CHECK(excerpt_of("Content-Length: 4097\r\n", exactly + "y") == outcome{exactly, true, true});
    CHECK(excerpt_of("Content-Length: 1000000\r\n", std::string(10'000, 'x')) == outcome{exactly, true, true});
    CHECK(excerpt_of("Transfer-Encoding: chunked\r\n", "1000\r\n" + exactly + "\r\n0\r\n\r\n") ==
          outcome{exactly, false, true});
    CHECK(excerpt_of("Transfer-Encoding: chunked\r\n", "fff\r\n" + exactly.substr(1) + "\r\n2\r\nxy\r\n0\r\n\r\n") ==
          outcome{exactly, true, true});
}

TEST_CASE("chunks are put together", "[proto][excerpt]")
{
    char const* const chunked = "Transfer-Encoding: chunked\r\n";
    CHECK(excerpt_of(chunked, "5\r\nhello\r\n6\r\n, you!\r\n0\r\n\r\n") == outcome{"hello, you!", false, true});
    CHECK(excerpt_of(chunked, "00005;a=b\r\nhello\r\nC \r\n, all of you\r\n0\r\nX: y\r\n\r\n") ==
          outcome{"hello, all of you", false, true});
    CHECK(excerpt_of(chunked, "5\r\nhel") == outcome{"hel", false, false});
    CHECK(excerpt_of("Transfer-Encoding: gzip, chunked\r\nContent-Length: 1\r\n", "2\r\nab\r\n0\r\n\r\n") ==
          outcome{"ab", false, true});
}

TEST_CASE("what is malformed ends the body", "[proto][excerpt]")
{
    char const* const chunked = "Transfer-Encoding: chunked\r\n";
    for (auto const* rest : {"x\r\nmore", "\r\nmore", "-1\r\nmore", "5\nmore", "5\rmore", ";a\r\nmore", "0x5\r\nmore",
                             "1234567890abcdef\r\nmore"}) {
        INFO(rest);
        CHECK(excerpt_of(chunked, std::string("2\r\nab\r\n") + rest) == outcome{"ab", false, true});
    }
    CHECK(excerpt_of(chunked, "2\r\nabc\r\n") == outcome{"ab", false, true});
    CHECK(excerpt_of(chunked, "2\r\nab\rx") == outcome{"ab", false, true});
    CHECK(excerpt_of(chunked, "2;" + std::string(10'000, 'x') + "\r\nab") == outcome{"", false, true});
}
