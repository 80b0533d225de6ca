// SPDX-License-Identifier: BSL-1.0
#include "proto/body.hpp"

#include "catch.hpp"

#include <deque>
#include <string>
#include <vector>

using namespace wring::proto;

namespace {

// The views in the result live until the program ends.
request_head head(std::string fields)
{
    static std::deque<std::string> kept;
    auto const& text = kept.emplace_back("POST / HTTP/1.1\r\nHost: h\r\n" + std::move(fields) + "\r\n");
    request_head r;
    REQUIRE(parse_request(text, r) == errc::ok);
    return r;
}

struct outcome
{
    errc error = errc::ok;
    bool complete = false;
    std::string content;
    std::size_t consumed = 0;
    bool operator==(outcome const&) const = default;
};

outcome read(std::string_view fields, std::string_view text, std::vector<std::size_t> const& cuts,
             std::uint64_t max_content)
{
    body_reader reader;
    outcome o;
    o.error = reader.start(head(std::string{fields}), max_content);
    if (o.error != errc::ok) return o;
    std::size_t from = 0;
    for (std::size_t i = 0; i <= cuts.size(); ++i) {
        auto piece = text.substr(from, (i < cuts.size() ? cuts[i] : text.size()) - from);
        from += piece.size();
        while (!piece.empty() && !reader.complete()) {
            auto const p = reader.feed(piece);
            o.error = p.error;
            o.consumed += p.consumed;
            if (p.error != errc::ok) return o;
            o.content += p.content;
            piece.remove_prefix(p.consumed);
        }
    }
    o.complete = reader.complete();
    return o;
}

// What becomes of a body, which must be the same whole, cut in two at each byte, and byte by byte.
outcome read(std::string_view fields, std::string_view text, std::uint64_t max_content = 1 << 20)
{
    auto const whole = read(fields, text, {}, max_content);
    std::vector<std::size_t> all;
    bool same = true;
    for (std::size_t cut = 0; cut <= text.size(); ++cut) {
        auto const other = read(fields, text, {cut}, max_content);
        same = same && other.error == whole.error && (whole.error != errc::ok || other == whole);
        all.push_back(cut);
    }
    CHECK(same);
    CHECK(read(fields, text, all, max_content).error == whole.error);
    if (whole.error == errc::ok) CHECK(read(fields, text, all, max_content) == whole);
    return whole;
}

constexpr std::string_view chunked = "Transfer-Encoding: chunked\r\n";

errc chunked_error(std::string_view text)
{
    INFO(text);
    auto const o = read(chunked, text);
    CHECK_FALSE(o.complete);
    return o.error;
}

} // namespace

TEST_CASE("without a length there is no body", "[proto][body]")
{
    auto const o = read("", "GET / HTTP/1.1\r\n");
    CHECK(o.complete);
    CHECK(o.consumed == 0);
    CHECK(read("Content-Length: 0\r\n", "x").complete);
    CHECK(read("Content-Length: 0\r\n", "x").consumed == 0);
}

TEST_CASE("a body of a known length ends there", "[proto][body]")
{
    auto const o = read("Content-Length: 5\r\n", "helloGET /");
    CHECK(o.complete);
    CHECK(o.content == "hello");
    CHECK(o.consumed == 5);
    CHECK_FALSE(read("Content-Length: 5\r\n", "hell").complete);
    body_reader reader;
    REQUIRE(reader.start(head("Content-Length: 00012\r\n"), 12) == errc::ok);
    CHECK(reader.announced() == 12);
}

TEST_CASE("a chunked body is put together", "[proto][body]")
{
    auto const o = read(chunked, "4\r\nWiki\r\n5\r\npedia\r\nE\r\n in\r\n\r\nchunks.\r\n0\r\n\r\nGET /");
    CHECK(o.complete);
    CHECK(o.content == "Wikipedia in\r\n\r\nchunks.");
    CHECK(o.consumed == 43);
    CHECK(read(chunked, "0\r\n\r\n").complete);
    CHECK(read(chunked, "000\r\n\r\n").complete);
    CHECK(read(chunked, "00a\r\n0123456789\r\n0\r\n\r\n").content == "0123456789");
    CHECK(read(chunked, "a;x=1;y=\"2 3\"\r\n0123456789\r\n0;end\r\n\r\n").content == "0123456789");
    CHECK(read("transfer-encoding: Chunked\r\n", "1\r\nx\r\n0\r\n\r\n").content == "x");
}

TEST_CASE("trailer fields are checked and dropped", "[proto][body]")
{
    CHECK(read(chunked, "1\r\nx\r\n0\r\nX-Sum: 12\r\nExpires: \r\n\r\n").complete);
    CHECK(chunked_error("0\r\n: x\r\n\r\n") == errc::trailer);
    CHECK(chunked_error("0\r\n X: x\r\n\r\n") == errc::trailer);
    CHECK(chunked_error("0\r\nX : x\r\n\r\n") == errc::trailer);
    CHECK(chunked_error("0\r\nX\r\n\r\n") == errc::trailer);
    CHECK(chunked_error("0\r\nX: a\n\r\n") == errc::trailer);
    CHECK(chunked_error("0\r\nX: a\r\r\n") == errc::trailer);
    CHECK(chunked_error("0\r\n\rX") == errc::trailer);
    std::string const line = "X: " + std::string(90, 'x') + "\r\n"; // 93 bytes that count
    std::string lines;
    for (std::uint32_t i = 0; i < max_trailer / 93; ++i)
        lines += line;
    CHECK(read(chunked, "0\r\n" + lines + "\r\n", {}, 1).complete);
    CHECK(read(chunked, "0\r\n" + lines + line + "\r\n", {}, 1).error == errc::trailer);
}

TEST_CASE("a chunk that is not as the grammar says is refused", "[proto][body]")
{
    for (char const* text : {"\r\n", "g\r\n", "0x5\r\n", "+5\r\n", "-1\r\n", " 5\r\n", "5 \r\n", "5 ;x\r\n", "\t5\r\n",
                             "5,5\r\n", "\"5\"\r\n", "00000000000000005\r\nhello\r\n"})
        CHECK(chunked_error(text) == errc::chunk_size);
    CHECK(chunked_error("5\nhello") == errc::bare_lf);
    CHECK(chunked_error("\nhello") == errc::bare_lf);
    CHECK(chunked_error("5\rhello") == errc::bare_cr);
    CHECK(chunked_error("5;x\nhello") == errc::bare_lf);
    CHECK(chunked_error("5;x\rhello") == errc::bare_cr);
    CHECK(chunked_error("5\r\nhelloX\r\n") == errc::chunk_end);
    CHECK(chunked_error("5\r\nhello\n0\r\n\r\n") == errc::chunk_end);
    CHECK(chunked_error("5\r\nhello\rX") == errc::chunk_end);
    CHECK(chunked_error("5\r\nhello0\r\n\r\n") == errc::chunk_end);
    CHECK(chunked_error(std::string_view{"5;a\0b\r\n", 7}) == errc::chunk_extension);
    CHECK(chunked_error("5;a\x7F\r\n") == errc::chunk_extension);
}

TEST_CASE("chunk extensions are bounded in all", "[proto][body]")
{
    auto const one = [](std::size_t size) { return "1;" + std::string(size, 'x') + "\r\ny\r\n"; };
    CHECK(read(chunked, one(max_chunk_extensions) + "0\r\n\r\n", {}, 9).complete);
    CHECK(read(chunked, one(max_chunk_extensions + 1), {}, 9).error == errc::chunk_extension);
    CHECK(read(chunked, one(max_chunk_extensions / 2) + one(max_chunk_extensions / 2) + one(1), {}, 9).error ==
          errc::chunk_extension);
}

TEST_CASE("a body may be exactly as long as the limit", "[proto][body]")
{
    CHECK(read("Content-Length: 5\r\n", "hello", 5).complete);
    CHECK(read("Content-Length: 6\r\n", "hello!", 5).error == errc::content_too_large);
    CHECK(read("Content-Length: 9223372036854775807\r\n", "", 5).error == errc::content_too_large);
    CHECK(read(chunked, "2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", 5).complete);
    // Over it: told at the size, before the content.
    CHECK(read(chunked, "2\r\nhe\r\n4\r\n", 5).error == errc::content_too_large);
    CHECK(read(chunked, "ffffffffffffffff\r\n", 5).error == errc::content_too_large);
    CHECK(read(chunked, "3\r\nabc\r\nfffffffffffffffe\r\n", 5).error == errc::content_too_large);
    CHECK(read(chunked, "1\r\nx\r\n0\r\n\r\n", 0).error == errc::content_too_large);
    CHECK(read(chunked, "0\r\n\r\n", 0).complete);
}

TEST_CASE("codings other than chunked are not known", "[proto][body]")
{
    body_reader reader;
    CHECK(reader.start(head("Transfer-Encoding: gzip, chunked\r\n"), 5) == errc::transfer_coding_unknown);
    CHECK(reader.start(head("Transfer-Encoding: chunked;q=1\r\n"), 5) == errc::transfer_coding_unknown);
    CHECK(reader.start(head("Transfer-Encoding: chunked\r\n"), 5) == errc::ok);
    CHECK(reader.announced() == 0);
}
