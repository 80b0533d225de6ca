// SPDX-License-Identifier: BSL-1.0
#include "ws/answer.hpp"

#include "proto/excerpt.hpp"
#include "proto/handshake.hpp"

#include <wring/timeout.hpp>

namespace wring {

namespace detail {

task<result<proto::response_head>> read_answer(handshake_io& io, ws::connect_options const& options,
                                               std::string& text)
{
    for (unsigned interim = 0;;) {
        proto::head_limits limits;
        limits.max_head = options.max_head;
        limits.max_fields = options.max_fields;
        proto::head_scanner scanner(proto::head_scanner::kind::response, limits);
        text.clear();
        auto const read = co_await io.read_head(scanner, text);
        if (!read)
            co_return read.error();
        auto const head = scanner.response(text);
        bool skip = false;
        auto const verdict = proto::skip_interim(head, interim, skip);
        if (verdict != proto::errc::ok)
            co_return std::error_code(static_cast<int>(verdict), ws::protocol_category());
        if (!skip)
            co_return head;
    }
}

void note_refusal(proto::response_head const& head, ws::connect_options const& options)
{
    if (!options.refusal)
        return;
    options.refusal->status = head.status;
    options.refusal->headers.clear();
    for (auto const& f : head.fields)
        options.refusal->headers.emplace_back(f.name, f.value);
}

namespace {

task<result<>> read_body(handshake_io& io, proto::body_excerpt& excerpt)
{
    while (!excerpt.done()) {
        auto const piece = co_await io.received();
        if (!piece)
            co_return piece.error();
        excerpt.feed(*piece);
        io.consume(piece->size());
    }
    co_return {};
}

} // namespace

task<> report_refusal(handshake_io& io, proto::response_head const& head, ws::connect_options const& options)
{
    note_refusal(head, options);
    if (!options.refusal)
        co_return;
    proto::body_excerpt excerpt(head);
    auto const read = co_await timeout(std::chrono::seconds(1), read_body(io, excerpt));
    (void)read; // the status has come: that is the answer, with as much of the body as there is
    options.refusal->body = std::move(excerpt.text());
    options.refusal->cut = excerpt.cut();
}

} // namespace detail

std::optional<std::string_view> ws::refusal::field(std::string_view name) const noexcept
{
    for (auto const& [key, value] : headers)
        if (proto::equal_ignoring_case(key, name))
            return value;
    return std::nullopt;
}

} // namespace wring
