// SPDX-License-Identifier: BSL-1.0
#include "proto/response.hpp"

#include "catch.hpp"

#include <string>

using namespace wring::proto;

namespace {

std::string written(response_start const& start)
{
    std::string out;
    auto const e = write_response(out, start);
    if (e != errc::ok) {
        CHECK(out.empty());
        return message(e);
    }
    return out;
}

response_start of(std::uint16_t status)
{
    response_start start;
    start.status = status;
    start.length = 0;
    return start;
}

} // namespace

TEST_CASE("the head of a response says how its content ends", "[proto][response]")
{
    response_start start;
    start.content_type = "text/plain";
    start.length = 12;
    start.date = "Sun, 06 Nov 1994 08:49:37 GMT";
    CHECK(written(start) == "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Type: text/plain\r\n"
                            "Content-Length: 12\r\n\r\n");
    start.length.reset();
    start.chunked = true;
    start.close = true;
    start.date = {};
    CHECK(written(start) == "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: text/plain\r\n"
                            "Transfer-Encoding: chunked\r\n\r\n");
}

TEST_CASE("a response without content announces none", "[proto][response]")
{
    for (std::uint16_t status : {204, 304}) {
        auto start = of(status);
        start.chunked = true;
        CHECK(written(start).find("Length") == std::string::npos);
        CHECK(written(start).find("Encoding") == std::string::npos);
        CHECK(has_no_content(status));
    }
    CHECK_FALSE(has_no_content(200));
    CHECK_FALSE(has_no_content(205));
}

TEST_CASE("a status brings the fields that it calls for", "[proto][response]")
{
    CHECK(written(of(405)) == "HTTP/1.1 405 Method Not Allowed\r\nAllow: GET\r\nContent-Length: 0\r\n\r\n");
    CHECK(written(of(426)) == "HTTP/1.1 426 Upgrade Required\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                              "Sec-WebSocket-Version: 13\r\nContent-Length: 0\r\n\r\n");
    auto busy = of(503);
    busy.retry_after = 7;
    CHECK(written(busy) == "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n");
    CHECK(written(of(299)) == "HTTP/1.1 299 \r\nContent-Length: 0\r\n\r\n");
}

TEST_CASE("what the application says goes first", "[proto][response]")
{
    field const extra[] = {{"allow", "GET, HEAD"}, {"retry-after", "60"}, {"content-type", "a/b"}, {"date", "now"}};
    for (std::uint16_t status : {405, 503}) {
        auto start = of(status);
        start.content_type = "text/plain";
        start.date = "then";
        start.extra = extra;
        auto const text = written(start);
        CHECK(text.find("Allow:") == text.npos);
        CHECK(text.find("Retry-After:") == text.npos);
        CHECK(text.find("Content-Type:") == text.npos);
        CHECK(text.find("Date:") == text.npos);
        CHECK(text.find("allow: GET, HEAD\r\n") != text.npos);
    }
}

TEST_CASE("no field of the application ends a line early or breaks the framing", "[proto][response]")
{
    for (field const& bad : {field{"X", "a\r\nY: b"}, field{"X", "a\nb"}, field{"X y", "a"}, field{"", "a"},
                             field{"Content-Length", "3"}, field{"transfer-encoding", "chunked"},
                             field{"Connection", "keep-alive"}, field{"Upgrade", "x"}}) {
        auto start = of(200);
        start.extra = {&bad, 1};
        CHECK(written(start).find("HTTP") == std::string::npos);
    }
    auto start = of(200);
    start.content_type = "a\r\nb";
    CHECK(written(start) == message(errc::header_value));
}

TEST_CASE("every status in use has its reason phrase", "[proto][response]")
{
    for (unsigned i = 0; i < errc_count; ++i)
        if (auto const status = http_status_for(static_cast<errc>(i))) CHECK_FALSE(reason_phrase(status).empty());
    CHECK(reason_phrase(200) == "OK");
    CHECK(reason_phrase(599).empty());
}
