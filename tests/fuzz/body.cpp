// SPDX-License-Identifier: BSL-1.0
//
// The body of a request as it arrives at a server, against a reader that follows the grammar literally (RFC 9112
// sections 6 and 7.1). Input: cuts, the limit, then the fields of the request, an empty line and the body.
#include "targets.hpp"

#include "proto/body.hpp"
#include "proto/handshake.hpp"

#include <vector>

namespace wring::fuzz {
namespace {

using namespace proto;

struct outcome
{
    unsigned status = 0; // of the refusal; 0: none
    bool complete = false;
    std::size_t consumed = 0; // up to the byte that is refused
    std::string content;

    bool operator==(outcome const&) const = default;
};

// chunked-body = *chunk last-chunk trailer-section CRLF. Each part returns false where it does not go on.
class grammar
{
public:
    grammar(std::string_view text, std::uint64_t most) noexcept : text_(text), most_(most) {}

    [[nodiscard]] outcome body()
    {
        for (bool last = false; !last;)
            if (!chunk(last)) return o_;
        while (!there("\r"))
            if (!trailer_field()) return o_;
        o_.complete = line_end();
        return o_;
    }

private:
    // chunk = chunk-size [ chunk-ext ] CRLF chunk-data CRLF; the last one, of size 0, has no data
    bool chunk(bool& last)
    {
        std::string digits;
        while (there("0123456789abcdefABCDEF")) {
            if (digits.size() == 16) return refuse(400);
            digits += take();
        }
        if (digits.empty() || !there(";\r")) return refuse(400);
        auto const size = std::stoull(digits, nullptr, 16);
        if (size > most_) return refuse(413);
        if (there(";")) take();
        if (!value(extensions_, max_chunk_extensions) || !line_end()) return false;
        most_ -= size;
        last = size == 0;
        if (last) return true;
        auto const data = text_.substr(o_.consumed, size);
        o_.content += data;
        o_.consumed += data.size();
        return line_end();
    }
    bool trailer_field()
    {
        do {
            if (!is_token(next()) || ++trailer_ > max_trailer) return refuse(400);
            take();
        } while (!there(":"));
        return value(trailer_, max_trailer) && line_end();
    }
    bool value(std::uint32_t& bytes, std::uint32_t most)
    {
        while (!there("\r")) {
            if (next().empty() || !is_field_value(next()) || ++bytes > most) return refuse(400);
            take();
        }
        return true;
    }
    bool line_end()
    {
        for (auto const* c : {"\r", "\n"}) {
            if (!there(c)) return refuse(400);
            take();
        }
        return true;
    }
    // For its next byte; where the text has ended, more may come.
    bool refuse(unsigned status)
    {
        o_.status = next().empty() ? 0 : status;
        return false;
    }
    [[nodiscard]] std::string_view next() const { return text_.substr(o_.consumed, 1); }
    [[nodiscard]] bool there(std::string_view any_of) const
    {
        return !next().empty() && any_of.find(next()) != any_of.npos;
    }
    char take() { return text_[o_.consumed++]; }

    std::string_view text_;
    std::uint64_t most_;
    std::uint32_t extensions_ = 0, trailer_ = 0; // bytes so far, in all
    outcome o_;
};

outcome expected(request_head const& head, std::string_view text, std::uint64_t most)
{
    outcome o;
    std::size_t codings = 0, others = 0;
    head.fields.each_element("Transfer-Encoding", [&](std::string_view coding) {
        ++codings;
        others += equal_ignoring_case(coding, "chunked") ? 0u : 1u;
        return true;
    });
    if (others != 0) return o.status = 501, o;
    if (codings != 0) return grammar(text, most).body();
    auto const length = std::stoull(std::string(head.fields.find("Content-Length").value_or("0")));
    if (length > most) return o.status = 413, o;
    o.content = text.substr(0, length);
    o.consumed = o.content.size();
    o.complete = o.consumed == length;
    return o;
}

outcome read(request_head const& head, std::string_view text, std::uint64_t most, cutter cuts)
{
    outcome o;
    body_reader reader;
    require(reader.complete() && reader.announced() == 0, "no body until there is one");
    if (auto const e = reader.start(head, most); e != errc::ok) return o.status = http_status_for(e), o;
    auto const announced = reader.announced();
    require(announced <= most, "no more is announced than the limit");
    while (!text.empty() && !reader.complete()) {
        auto const n = static_cast<std::ptrdiff_t>(cuts.next(text.size()));
        std::vector<char> const piece(text.begin(), text.begin() + n); // of its own size, for the sanitizer
        for (std::string_view left{piece.data(), piece.size()}; !left.empty() && !reader.complete();) {
            auto const p = reader.feed(left);
            o.consumed += p.consumed;
            o.content += p.content;
            if (p.error != errc::ok) {
                require(p.content.empty() && p.consumed < left.size(), "a byte that is refused is not consumed");
                return o.status = http_status_for(p.error), o;
            }
            require(p.consumed > 0 && p.consumed <= left.size(), "each step gets on, within the piece");
            require(p.content.empty() || p.content.data() + p.content.size() == left.data() + p.consumed,
                    "what is consumed ends with the content");
            require(p.consumed == left.size() || !p.content.empty() || reader.complete(),
                    "all is consumed up to some content");
            require(announced == 0 || reader.announced() == announced - o.content.size(), "the length counts down");
            require(o.content.size() <= most, "no more content than the limit");
            left.remove_prefix(p.consumed);
        }
        text.remove_prefix(piece.size());
    }
    o.complete = reader.complete();
    return o;
}

} // namespace

void fuzz_body(input in)
{
    reader r(in);
    cutter const cuts(r.byte());
    std::uint64_t const small = r.byte(), most = small == 255 ? ~std::uint64_t{0} : small;
    std::string const text = "POST / HTTP/1.1\r\nHost: h\r\n" + std::string(as_text(r.rest()));
    head_scanner scanner(head_scanner::kind::request);
    if (auto const p = scanner.feed(text); !p.complete || p.error != errc::ok) return;
    auto const head = scanner.request(text);
    if (check_request(head) != errc::ok) return;

    auto const body = std::string_view(text).substr(scanner.size());
    auto const model = expected(head, body, most);
    require(read(head, body, most, cutter(0)) == model, "the reader agrees with the grammar");
    require(read(head, body, most, cuts) == model, "the cut does not matter");
    if (!model.complete) return;
    auto const whole = body.substr(0, model.consumed);
    require(read(head, whole, most, cutter(0)) == model, "what is behind the body does not matter");
    auto const less = model.content.empty() ? most : model.content.size() - 1;
    require(model.content.empty() || read(head, whole, less, cuts).status == 413, "one byte less is too little");
}

} // namespace wring::fuzz
