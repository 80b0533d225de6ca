// SPDX-License-Identifier: BSL-1.0
// The free functions of http.hpp.
#include <wring/http.hpp>

#include "proto/http.hpp"
#include "proto/percent.hpp"

#include <algorithm>
#include <array>

namespace wring {

namespace {

/// The canonical form only: whole groups of four, padding at the end, no bits left over.
std::optional<std::string> base64_decode(std::string_view text)
{
    constexpr std::string_view alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    if (text.empty() || text.size() % 4 != 0)
        return std::nullopt;
    std::size_t const padding = text.ends_with("==") ? 2 : text.ends_with('=') ? 1 : 0;
    std::string out;
    std::uint32_t bits = 0;
    unsigned count = 0;
    for (char c : text.substr(0, text.size() - padding)) {
        auto const value = alphabet.find(c);
        if (value == alphabet.npos)
            return std::nullopt;
        bits = bits << 6 | static_cast<std::uint32_t>(value);
        count += 6;
        if (count >= 8) {
            count -= 8;
            out.push_back(static_cast<char>(bits >> count & 0xFF));
            bits &= (1U << count) - 1;
        }
    }
    return bits == 0 ? std::optional(std::move(out)) : std::nullopt;
}

/// What follows the scheme in the Authorization field; empty where it has another, or where there are two fields: a
/// proxy might have judged the other one.
std::string_view authorization(request const& r, std::string_view scheme)
{
    auto const all = r.fields();
    if (std::count_if(all.begin(), all.end(),
                      [](header const& h) { return proto::equal_ignoring_case(h.name, "Authorization"); }) != 1)
        return {};
    auto const field = r.field("Authorization");
    if (field->size() <= scheme.size() || (*field)[scheme.size()] != ' ' ||
        !proto::equal_ignoring_case(field->substr(0, scheme.size()), scheme))
        return {};
    return proto::trim(field->substr(scheme.size()));
}

void append_lines(std::string& out, std::string_view name, std::string_view text)
{
    for (bool last = false; !last;) {
        auto const end = text.find_first_of("\r\n");
        last = end == text.npos;
        out.append(name).append(": ").append(text.substr(0, end)).append("\n");
        if (!last)
            text.remove_prefix(end + (text.substr(end, 2) == "\r\n" ? 2 : 1));
    }
}

} // namespace

std::string server_sent_event(std::string_view data, std::string_view name, std::string_view id)
{
    auto const one_line = [](std::string_view text) {
        return text.substr(0, text.find_first_of(std::string_view("\r\n\0", 3)));
    };
    std::string out;
    if (!one_line(name).empty())
        out.append("event: ").append(one_line(name)).append("\n");
    if (!one_line(id).empty())
        out.append("id: ").append(one_line(id)).append("\n");
    append_lines(out, "data", data);
    return out.append("\n");
}

std::optional<std::string> percent_decode(std::string_view text, bool plus_is_space)
{
    std::string out;
    if (!proto::percent_decode(out, text, plus_is_space))
        return std::nullopt;
    return out;
}

std::string percent_encode(std::string_view text)
{
    constexpr std::string_view digits = "0123456789ABCDEF";
    std::string out;
    for (char c : text) {
        bool const plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                           c == '.' || c == '_' || c == '~';
        if (plain) {
            out.push_back(c);
        } else {
            auto const byte = static_cast<unsigned char>(c);
            out.append({'%', digits[byte >> 4], digits[byte & 15]});
        }
    }
    return out;
}

std::optional<std::string> form_value(std::string_view form, std::string_view name)
{
    for (auto const& pair : proto::pair_range(form, '&')) {
        auto const decoded = percent_decode(pair.name, true);
        if (decoded == name)
            return percent_decode(pair.value, true);
    }
    return std::nullopt;
}

std::optional<credentials> basic_credentials(request const& r)
{
    auto const decoded = base64_decode(authorization(r, "Basic"));
    if (!decoded)
        return std::nullopt;
    auto const colon = decoded->find(':');
    if (colon == decoded->npos)
        return std::nullopt;
    return credentials{decoded->substr(0, colon), decoded->substr(colon + 1)};
}

std::optional<std::string_view> bearer_token(request const& r)
{
    auto const token = authorization(r, "Bearer");
    if (token.empty() || token.find_first_of(" \t,") != token.npos)
        return std::nullopt;
    return token;
}

bool equal_secrets(std::string_view secret, std::string_view presented) noexcept
{
    // As many steps as were presented, whatever the secret is.
    std::size_t different = secret.size() ^ presented.size();
    std::size_t at = 0;
    for (char const c : presented) {
        unsigned char const other = secret.empty() ? 1 : static_cast<unsigned char>(secret[at]);
        different |= static_cast<unsigned char>(c) ^ static_cast<std::size_t>(other);
        at = at + 1 < secret.size() ? at + 1 : 0;
    }
    // Not to be cut short by the compiler.
    std::size_t volatile const seen = different;
    return seen == 0;
}

std::string_view content_type_of(std::string_view file_name) noexcept
{
    static constexpr std::array<std::pair<std::string_view, std::string_view>, 33> types{{
        {"avif", "image/avif"},
        {"bin", "application/octet-stream"},
        {"bmp", "image/bmp"},
        {"css", "text/css; charset=utf-8"},
        {"csv", "text/csv; charset=utf-8"},
        {"gif", "image/gif"},
        {"htm", "text/html; charset=utf-8"},
        {"html", "text/html; charset=utf-8"},
        {"ico", "image/vnd.microsoft.icon"},
        {"jpeg", "image/jpeg"},
        {"jpg", "image/jpeg"},
        {"js", "text/javascript; charset=utf-8"},
        {"json", "application/json"},
        {"map", "application/json"},
        {"md", "text/markdown; charset=utf-8"},
        {"mjs", "text/javascript; charset=utf-8"},
        {"mp3", "audio/mpeg"},
        {"mp4", "video/mp4"},
        {"ogg", "audio/ogg"},
        {"otf", "font/otf"},
        {"pdf", "application/pdf"},
        {"png", "image/png"},
        {"svg", "image/svg+xml"},
        {"ttf", "font/ttf"},
        {"txt", "text/plain; charset=utf-8"},
        {"wasm", "application/wasm"},
        {"wav", "audio/wav"},
        {"webm", "video/webm"},
        {"webmanifest", "application/manifest+json"},
        {"webp", "image/webp"},
        {"woff", "font/woff"},
        {"woff2", "font/woff2"},
        {"xml", "application/xml"},
    }};
    auto const dot = file_name.rfind('.');
    if (dot != file_name.npos && file_name.find('/', dot) == file_name.npos)
        for (auto const& [extension, type] : types)
            if (proto::equal_ignoring_case(extension, file_name.substr(dot + 1)))
                return type;
    return "application/octet-stream";
}

} // namespace wring
