// SPDX-License-Identifier: BSL-1.0
#include "ws/trace.hpp"

#include "engine/loop_core.hpp"
#include "proto/http.hpp"
#include "proto/utf8.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <new>

namespace wring::detail::trace {

namespace {

constexpr std::size_t most_payload = 64; // bytes shown

// Fields whose values are shown to nobody.
constexpr std::string_view credentials[] = {"authorization", "proxy-authorization"};
constexpr std::string_view cookies[] = {"cookie", "set-cookie"};

bool asked_for(std::string_view topic) noexcept
{
    char const* const text = std::getenv("WRING_TRACE");
    for (std::string_view left = text ? text : ""; !left.empty();) {
        auto const end = std::min(left.find(','), left.size());
        if (left.substr(0, end) == topic) return true;
        left.remove_prefix(std::min(end + 1, left.size()));
    }
    return false;
}

bool is_one_of(std::string_view name, std::span<std::string_view const> names) noexcept
{
    return std::any_of(names.begin(), names.end(), [&](auto one) { return proto::equal_ignoring_case(name, one); });
}

using buffer = fmt::memory_buffer;

template <class... T>
void print(buffer& to, fmt::format_string<T...> how, T&&... values)
{
    fmt::format_to(std::back_inserter(to), how, std::forward<T>(values)...);
}

void begin(buffer& line, transport const& with, char mark)
{
    print(line, "wring: {} {} ", with.remote().to_string(), mark);
}

void put(buffer const& line) noexcept
{
    log_line({line.data(), line.size()});
}

// What a peer sends must not write to a terminal what it likes.
bool readable(std::span<std::byte const> bytes) noexcept
{
    return proto::valid_utf8(bytes) && std::all_of(bytes.begin(), bytes.end(), [](std::byte b) {
               auto const c = std::to_integer<unsigned>(b);
               return (c >= ' ' && c != 0x7F) || c == '\n' || c == '\t';
           });
}

void print_text(buffer& to, std::string_view text)
{
    for (char const c : text) {
        if (c == '\n' || c == '\t')
            print(to, "\\{}", c == '\n' ? 'n' : 't');
        else if (c == '"' || c == '\\')
            print(to, "\\{}", c);
        else
            to.push_back(c);
    }
}

/// As text where it is readable, else in hexadecimal.
void print_payload(buffer& to, std::span<std::byte const> payload, std::uint64_t length)
{
    auto const shown = payload.first(std::min(payload.size(), most_payload));
    auto text = shown;
    while (text.size() < length && shown.size() - text.size() < 3 && !text.empty() && !proto::valid_utf8(text))
        text = text.first(text.size() - 1); // a character that is cut in two
    if (readable(text)) {
        to.push_back('"');
        print_text(to, {reinterpret_cast<char const*>(text.data()), text.size()});
        to.push_back('"');
    } else {
        for (std::size_t i = 0; i < shown.size(); ++i)
            print(to, "{}{:02x}", i ? " " : "", std::to_integer<unsigned>(shown[i]));
    }
    if (shown.size() < length) print(to, " ...");
}

void print_line(buffer& to, std::string_view line)
{
    for (char const c : line) {
        auto const byte = static_cast<unsigned char>(c);
        byte < ' ' || byte >= 0x7F ? print(to, "\\x{:02x}", byte) : to.push_back(c);
    }
}

/// Of a line with credentials the name and their scheme, of one with cookies the name.
std::string without_secrets(std::string_view line)
{
    auto const colon = line.find(':');
    auto const name = line.substr(0, colon);
    if (is_one_of(name, cookies)) return std::string(name) + ": ***";
    if (!is_one_of(name, credentials)) return std::string(line);
    auto const scheme = std::min(line.find_first_not_of(' ', colon + 1), line.size());
    auto const space = line.find(' ', scheme);
    return std::string(space == line.npos ? line.substr(0, colon + 1) : line.substr(0, space)) + " ***";
}

std::string_view name_of(proto::opcode op) noexcept
{
    switch (op) {
    case proto::opcode::continuation:
        return "continuation";
    case proto::opcode::text:
        return "text";
    case proto::opcode::binary:
        return "binary";
    case proto::opcode::close:
        return "close";
    case proto::opcode::ping:
        return "ping";
    case proto::opcode::pong:
        return "pong";
    }
    return "unknown";
}

} // namespace

bool const handshakes = asked_for("handshake");
bool const frames = asked_for("frames");

void head(transport const& with, direction d, std::string_view text) noexcept
try {
    while (!text.empty()) {
        auto const stop = std::min(text.find("\r\n"), text.size());
        auto const line = text.substr(0, stop);
        text.remove_prefix(std::min(stop + 2, text.size()));
        buffer out;
        begin(out, with, static_cast<char>(d));
        if (line.empty()) { // the head's end
            if (text.empty()) return;
            print(out, "({} bytes of body)", text.size());
            return put(out);
        }
        print_line(out, without_secrets(line));
        put(out);
    }
} catch (std::bad_alloc const&) { // a trace is not worth a connection
}

void frame(transport const& with, direction d, proto::frame_header const& h,
           std::span<std::byte const> payload) noexcept
try {
    buffer out;
    begin(out, with, static_cast<char>(d));
    print(out, "{}{}{} {} byte{}", name_of(h.op), h.fin ? " FIN" : "", h.rsv1 ? " RSV1" : "", h.length,
          h.length == 1 ? "" : "s");
    if (h.length > 0) print(out, ": ");
    if (h.op == proto::opcode::close && payload.size() >= 2) {
        print(out, "{} ", std::to_integer<unsigned>(payload[0]) << 8 | std::to_integer<unsigned>(payload[1]));
        print_payload(out, payload.subspan(2), h.length - 2);
    } else if (h.length > 0) {
        print_payload(out, payload, h.length);
    }
    put(out);
} catch (std::bad_alloc const&) {
}

void violation(transport const& with, std::string_view rule) noexcept
try {
    buffer out;
    begin(out, with, '!');
    print(out, "{}", rule);
    put(out);
} catch (std::bad_alloc const&) {
}

} // namespace wring::detail::trace
