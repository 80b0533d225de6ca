// SPDX-License-Identifier: BSL-1.0
// Formatters for fmt (9 or later): fmt::print("{} {}\n", ws.remote(), ws.status().code). All take the format of a
// string: {:>20} and the like. Opt-in: wring/wring.hpp does not include this header, the only one that needs fmt.
#pragma once

#include <wring/ws.hpp>

#include <fmt/format.h>

#include <string>
#include <string_view>

namespace wring::detail {

/// What the formatters below share: the value's text, with the width and alignment of a string.
template <class T>
struct text_formatter : fmt::formatter<fmt::string_view>
{
    template <class Context>
    auto format(T const& value, Context& context) const
    {
        auto const text = text_of(value);
        return fmt::formatter<fmt::string_view>::format(fmt::string_view(text.data(), text.size()), context);
    }

private:
    static std::string text_of(endpoint const& e) { return e.to_string(); }
    static std::string_view text_of(engine_kind kind) { return to_string(kind); }
    static std::string text_of(errc e) { return make_error_code(e).message(); }
    static std::string text_of(ws::errc e) { return make_error_code(e).message(); }

    static std::string_view text_of(ws::opcode op)
    {
        switch (op) {
        case ws::opcode::continuation: return "continuation";
        case ws::opcode::text: return "text";
        case ws::opcode::binary: return "binary";
        }
        return "reserved";
    }

    static std::string_view name_of(ws::close_code code)
    {
        switch (code) {
        case ws::close_code::normal: return "normal";
        case ws::close_code::going_away: return "going away";
        case ws::close_code::protocol_error: return "protocol error";
        case ws::close_code::unsupported_data: return "unsupported data";
        case ws::close_code::no_status: return "no status";
        case ws::close_code::abnormal: return "abnormal";
        case ws::close_code::invalid_payload: return "invalid payload";
        case ws::close_code::policy_violation: return "policy violation";
        case ws::close_code::message_too_big: return "message too big";
        case ws::close_code::missing_extension: return "missing extension";
        case ws::close_code::internal_error: return "internal error";
        case ws::close_code::service_restart: return "service restart";
        case ws::close_code::try_again_later: return "try again later";
        case ws::close_code::bad_gateway: return "bad gateway";
        }
        return {};
    }
    static std::string text_of(ws::close_code code)
    {
        auto const name = name_of(code);
        auto const number = static_cast<unsigned>(code);
        if (name.empty())
            return fmt::format("{}", number);
        return fmt::format("{} ({})", number, fmt::string_view(name.data(), name.size()));
    }

    static std::string counted(std::string_view what, std::size_t n, bool last)
    {
        return fmt::format("{}, {} byte{}{}", fmt::string_view(what.data(), what.size()), n, n == 1 ? "" : "s",
                           last ? "" : ", more to come");
    }
    static std::string text_of(ws::frame const& f) { return counted(text_of(f.op), f.payload.size(), f.fin); }
    static std::string text_of(ws::message const& m)
    {
        return counted(m.is_text ? "text" : "binary", m.payload.size(), true);
    }
};

} // namespace wring::detail

/// `127.0.0.1:9001`, `unix:/run/app.sock`
template <>
struct fmt::formatter<wring::endpoint> : wring::detail::text_formatter<wring::endpoint>
{};
/// `uring`
template <>
struct fmt::formatter<wring::engine_kind> : wring::detail::text_formatter<wring::engine_kind>
{};
/// The error's message; so for wring::ws::errc. Codes of any category: `fmt::print("{}", error.message())`.
template <>
struct fmt::formatter<wring::errc> : wring::detail::text_formatter<wring::errc>
{};
template <>
struct fmt::formatter<wring::ws::errc> : wring::detail::text_formatter<wring::ws::errc>
{};
/// `1000 (normal)`, `4000`
template <>
struct fmt::formatter<wring::ws::close_code> : wring::detail::text_formatter<wring::ws::close_code>
{};
/// `text`
template <>
struct fmt::formatter<wring::ws::opcode> : wring::detail::text_formatter<wring::ws::opcode>
{};
/// `text, 5 bytes`, `continuation, 5 bytes, more to come`: never the payload, which belongs in no log.
template <>
struct fmt::formatter<wring::ws::frame> : wring::detail::text_formatter<wring::ws::frame>
{};
/// `text, 5 bytes`
template <>
struct fmt::formatter<wring::ws::message> : wring::detail::text_formatter<wring::ws::message>
{};
