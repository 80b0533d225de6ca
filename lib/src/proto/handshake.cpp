// SPDX-License-Identifier: BSL-1.0
#include "proto/handshake.hpp"

#include "proto/extension.hpp"
#include "proto/response.hpp"
#include "proto/url.hpp"

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <algorithm>
#include <cstring>
#include <memory>

namespace wring::proto {
namespace {

constexpr std::string_view guid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
constexpr std::size_t max_subprotocols = 64; // names are compared pairwise

// Base64 of exactly 16 bytes, in its one canonical form: the last character before the padding carries two bits.
bool is_key(std::string_view key) noexcept
{
    auto const in_alphabet = [](char c) {
        return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' || c == '/';
    };
    return key.size() == 24 && key.substr(22) == "==" && std::string_view{"AQgw"}.find(key[21]) != key.npos &&
           std::all_of(key.begin(), key.begin() + 22, in_alphabet);
}

// A Host field may not hold what parse_authority() refuses; an absolute form repeats it (RFC 9112 section 3.2.2).
errc check_target_and_host(request_head const& request) noexcept
{
    auto const host = request.fields.all("Host");
    if (host.lines > 1) return errc::host_duplicate;
    if (host.lines == 0 && request.version.minor != 0) return errc::host_missing;
    authority parsed;
    if (host.lines == 1 && parse_authority(host.first, parsed) != errc::ok) return errc::host_invalid;

    auto target = request.target;
    if (target.starts_with('/')) return errc::ok;
    auto const mark = target.find("://");
    if (mark == target.npos) return errc::target_form;
    auto const scheme = target.substr(0, mark);
    if (!equal_ignoring_case(scheme, "http") && !equal_ignoring_case(scheme, "https") &&
        !equal_ignoring_case(scheme, "ws") && !equal_ignoring_case(scheme, "wss"))
        return errc::target_form;
    target.remove_prefix(mark + 3);
    target = target.substr(0, target.find_first_of("/?"));
    if (parse_authority(target, parsed) != errc::ok) return errc::target_form;
    return host.lines == 0 || equal_ignoring_case(target, host.first) ? errc::ok : errc::host_mismatch;
}

// How long the body is (RFC 9112 section 6): anything two readers could read differently is refused.
errc check_framing(request_head const& request) noexcept
{
    auto const length = request.fields.all("Content-Length");
    auto const encodings = request.fields.count("Transfer-Encoding");
    if (length.lines != 0 && encodings != 0) return errc::length_and_encoding;
    if (length.lines > 1) return errc::content_length_invalid;
    if (length.lines == 1) {
        auto const text = length.first;
        if (text.empty() || text.size() > 19 || text.find_first_not_of("0123456789") != text.npos ||
            (text.size() == 19 && text > "9223372036854775807"))
            return errc::content_length_invalid;
    }
    if (encodings != 0) {
        bool last_chunked = false;
        bool const sound = request.fields.each_element("Transfer-Encoding", [&](std::string_view coding) {
            if (last_chunked) return false; // nothing may follow chunked
            last_chunked = equal_ignoring_case(coding, "chunked");
            return true;
        });
        if (!sound || !last_chunked || request.version.minor == 0) return errc::transfer_encoding_invalid;
    }
    return errc::ok;
}

bool has_body(field_range const& fields) noexcept
{
    auto const length = fields.find("Content-Length");
    return (length && length->find_first_not_of('0') != length->npos) || fields.count("Transfer-Encoding") != 0;
}

// Names of a subprotocol list, each a token, none twice.
struct name_set
{
    std::array<std::string_view, max_subprotocols> names;
    std::size_t size = 0;
    errc error = errc::ok;

    bool add(std::string_view name) noexcept
    {
        auto const end = names.begin() + static_cast<std::ptrdiff_t>(size);
        if (!is_token(name))
            error = errc::subprotocol_invalid;
        else if (std::find(names.begin(), end, name) != end)
            error = errc::subprotocol_duplicate;
        else if (size == names.size())
            error = errc::subprotocol_excess;
        else
            names[size++] = name;
        return error == errc::ok;
    }

    [[nodiscard]] bool holds(std::string_view name) const noexcept
    {
        auto const end = names.begin() + static_cast<std::ptrdiff_t>(size);
        return std::find(names.begin(), end, name) != end;
    }
};

bool offers_extension(std::string_view offer, std::string_view name) noexcept
{
    for (auto element : list_range{offer})
        if (equal_ignoring_case(extension_reader(element).name(), name)) return true;
    return false;
}

} // namespace

std::optional<std::array<char, 28>> accept_key(std::string_view key) noexcept
{
    // Keys have 24 characters; a longer one never passed check_upgrade().
    std::array<char, 64 + guid.size()> text;
    if (key.size() > 64) return std::nullopt;
    std::copy(key.begin(), key.end(), text.begin());
    std::copy(guid.begin(), guid.end(), text.begin() + static_cast<std::ptrdiff_t>(key.size()));
    // Fetched once: what EVP_sha1() gives is looked up, under locks, each time that it is used.
    static EVP_MD const* const fetched = EVP_MD_fetch(nullptr, "SHA1", nullptr);
    auto const* const sha1 = fetched ? fetched : EVP_sha1();
    // And one context for all of a thread: making one takes as long as the digest.
    struct free_context
    {
        void operator()(EVP_MD_CTX* c) const noexcept { EVP_MD_CTX_free(c); }
    };
    thread_local std::unique_ptr<EVP_MD_CTX, free_context> const context(EVP_MD_CTX_new());
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest;
    unsigned size = 0;
    if (!context || EVP_DigestInit_ex(context.get(), sha1, nullptr) != 1 ||
        EVP_DigestUpdate(context.get(), text.data(), key.size() + guid.size()) != 1 ||
        EVP_DigestFinal_ex(context.get(), digest.data(), &size) != 1 || size != 20)
        return std::nullopt;
    std::array<unsigned char, 29> base64; // EVP_EncodeBlock ends its output with a NUL
    EVP_EncodeBlock(base64.data(), digest.data(), 20);
    std::array<char, 28> result;
    std::copy_n(base64.begin(), result.size(), result.begin());
    return result;
}

std::array<char, 24> encode_key(std::span<std::byte const, 16> random) noexcept
{
    std::array<unsigned char, 25> base64;
    EVP_EncodeBlock(base64.data(), reinterpret_cast<unsigned char const*>(random.data()), 16);
    std::array<char, 24> result;
    std::copy_n(base64.begin(), result.size(), result.begin());
    return result;
}

std::string percent_decoded(std::string_view text)
{
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
        auto const digit = [&](std::size_t at) {
            return at < text.size() ? OPENSSL_hexchar2int(static_cast<unsigned char>(text[at])) : -1;
        };
        bool const escape = text[i] == '%' && digit(i + 1) >= 0 && digit(i + 2) >= 0;
        out.push_back(escape ? static_cast<char>(digit(i + 1) * 16 + digit(i + 2)) : text[i]);
        if (escape) i += 2;
    }
    return out;
}

std::string basic_authorization(std::string_view userinfo)
{
    auto text = percent_decoded(userinfo);
    if (userinfo.find(':') == userinfo.npos) text.push_back(':'); // a password, empty, is always there
    std::string base64((text.size() + 2) / 3 * 4 + 1, '\0'); // EVP_EncodeBlock ends its output with a NUL
    auto const* const from = reinterpret_cast<unsigned char const*>(text.data());
    auto* const to = reinterpret_cast<unsigned char*>(base64.data());
    auto const size = EVP_EncodeBlock(to, from, static_cast<int>(text.size()));
    return "Basic " + base64.substr(0, static_cast<std::size_t>(size));
}

errc check_request(request_head const& request) noexcept
{
    if (auto const e = check_target_and_host(request); e != errc::ok) return e;
    if (auto const e = check_framing(request); e != errc::ok) return e;
    return request.fields.count("Expect") != 0 ? errc::expectation : errc::ok;
}

errc check_upgrade(request_head const& request) noexcept
{
    if (auto const e = check_request(request); e != errc::ok) return e;
    auto const& fields = request.fields;
    if (!fields.has_token("Upgrade", "websocket")) return errc::not_an_upgrade;
    if (request.method != "GET") return errc::method_not_allowed;
    if (request.version.minor == 0) return errc::http_1_0_upgrade; // RFC 9110 section 7.8
    if (!fields.has_token("Connection", "upgrade")) return errc::connection_not_upgrade;
    if (fields.has_token("Connection", "close")) return errc::connection_close;
    if (has_body(fields)) return errc::body_on_upgrade;

    auto const version = fields.all("Sec-WebSocket-Version");
    if (version.lines == 0) return errc::version_missing;
    if (version.lines > 1) return errc::version_duplicate;
    if (version.first != "13") return errc::version_unsupported;

    auto const key = fields.all("Sec-WebSocket-Key");
    if (key.lines == 0) return errc::key_missing;
    if (key.lines > 1) return errc::key_duplicate;
    if (!is_key(key.first)) return errc::key_invalid;
    if (fields.count("Origin") > 1) return errc::origin_duplicate;
    return valid_extensions(fields) ? errc::ok : errc::extension_invalid;
}

subprotocol_choice choose_subprotocol(request_head const& request, std::string_view preferred) noexcept
{
    name_set offered;
    request.fields.each_element("Sec-WebSocket-Protocol", [&](std::string_view name) { return offered.add(name); });
    if (offered.error != errc::ok) return {offered.error, {}};
    for (auto name : list_range{preferred})
        if (offered.holds(name)) return {errc::ok, name};
    return {};
}

errc check_field(field const& f) noexcept
{
    if (!is_token(f.name)) return errc::header_name;
    if (!is_field_value(f.value)) return errc::header_value;
    constexpr std::string_view handshake = "Sec-WebSocket-";
    if (equal_ignoring_case(f.name.substr(0, handshake.size()), handshake)) return errc::header_reserved;
    for (std::string_view name : {"Connection", "Upgrade", "Content-Length", "Transfer-Encoding", "Host"})
        if (equal_ignoring_case(f.name, name)) return errc::header_reserved;
    return errc::ok;
}

errc write_switching_protocols(std::string& out, switching_protocols const& answer)
{
    if (auto const e = check_fields(answer.extra); e != errc::ok) return e;
    if (!answer.subprotocol.empty() && !is_token(answer.subprotocol)) return errc::subprotocol_invalid;
    if (!is_field_value(answer.extensions)) return errc::header_value;
    if (!is_key(answer.key)) return errc::key_argument;
    auto const accept = accept_key(answer.key);
    if (!accept) return errc::hash_unavailable;

    out.append("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n");
    append_field(out, "Sec-WebSocket-Accept", {accept->data(), accept->size()});
    if (!answer.subprotocol.empty()) append_field(out, "Sec-WebSocket-Protocol", answer.subprotocol);
    if (!answer.extensions.empty()) append_field(out, "Sec-WebSocket-Extensions", answer.extensions);
    append_fields(out, answer.extra);
    out.append("\r\n");
    return errc::ok;
}

errc write_refusal(std::string& out, refusal const& answer)
{
    response_start start;
    start.status = answer.status;
    if (!answer.body.empty()) start.content_type = answer.content_type;
    start.length = answer.body.size();
    start.close = true;
    start.retry_after = answer.retry_after;
    start.extra = answer.extra;
    if (!is_field_value(answer.content_type)) return errc::header_value;
    if (auto const e = write_response(out, start); e != errc::ok) return e;
    if (!has_no_content(answer.status)) out.append(answer.body);
    return errc::ok;
}

errc write_request(std::string& out, client_request const& request)
{
    authority host;
    if (parse_authority(request.host, host) != errc::ok) return errc::host_argument;
    bool const only_query = request.target.starts_with('?');
    if ((!only_query && !request.target.starts_with('/')) || !valid_url_target(request.target))
        return errc::target_argument;
    if (!is_key(request.key)) return errc::key_argument;
    name_set names;
    for (auto name : list_range{request.subprotocols})
        if (!names.add(name)) return names.error;
    if (!is_field_value(request.subprotocols) || !is_field_value(request.extensions) || !is_field_value(request.origin))
        return errc::header_value;
    if (auto const e = check_fields(request.extra); e != errc::ok) return e;

    out.append("GET ").append(only_query ? "/" : "").append(request.target).append(" HTTP/1.1\r\n");
    append_field(out, "Host", request.host);
    out.append("Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n");
    append_field(out, "Sec-WebSocket-Key", request.key);
    if (names.size != 0) append_field(out, "Sec-WebSocket-Protocol", request.subprotocols);
    if (!request.extensions.empty()) append_field(out, "Sec-WebSocket-Extensions", request.extensions);
    if (!request.origin.empty()) append_field(out, "Origin", request.origin);
    append_fields(out, request.extra);
    out.append("\r\n");
    return errc::ok;
}

errc skip_interim(response_head const& response, unsigned& seen, bool& skip) noexcept
{
    skip = response.status < 200 && response.status != 101;
    if (!skip) return errc::ok;
    return ++seen > max_interim_responses ? errc::too_many_interim : errc::ok;
}

errc check_response(response_head const& response, client_request const& sent, accepted& out) noexcept
{
    auto const& fields = response.fields;
    if (response.status != 101) return errc::status_not_101;
    if (response.version.minor == 0) return errc::response_http_1_0;
    auto const upgrade = fields.all("Upgrade");
    if (upgrade.lines != 1 || !equal_ignoring_case(upgrade.first, "websocket")) return errc::response_upgrade;
    if (!fields.has_token("Connection", "upgrade")) return errc::response_connection;

    auto const accept = fields.all("Sec-WebSocket-Accept");
    if (accept.lines == 0) return errc::accept_missing;
    if (accept.lines > 1) return errc::accept_duplicate;
    auto const expected = accept_key(sent.key);
    if (!expected) return errc::hash_unavailable;
    if (accept.first != std::string_view{expected->data(), expected->size()}) return errc::accept_mismatch;

    if (!valid_extensions(fields)) return errc::extension_invalid;
    // Each extension was offered, and is there once.
    errc bad = errc::ok;
    auto const extensions = fields.all("Sec-WebSocket-Extensions");
    std::array<std::string_view, 8> seen;
    std::size_t count = 0;
    fields.each_element("Sec-WebSocket-Extensions", [&](std::string_view element) {
        auto const name = extension_reader(element).name();
        auto const end = seen.begin() + static_cast<std::ptrdiff_t>(count);
        bool const again = std::any_of(seen.begin(), end, [&](auto s) { return equal_ignoring_case(s, name); });
        if (!offers_extension(sent.extensions, name))
            bad = errc::extension_unoffered;
        else if (again || count == seen.size())
            bad = errc::extension_duplicate;
        else
            seen[count++] = name;
        return bad == errc::ok;
    });
    if (bad != errc::ok) return bad;
    if (extensions.lines > 1) return errc::extension_duplicate;

    accepted a;
    a.extensions = extensions.first;
    auto const protocol = fields.all("Sec-WebSocket-Protocol");
    if (protocol.lines > 1) return errc::response_subprotocol_multiple;
    if (protocol.lines == 1) {
        a.subprotocol = protocol.first;
        if (a.subprotocol.find(',') != a.subprotocol.npos) return errc::response_subprotocol_multiple;
        auto const offer = list_range{sent.subprotocols};
        bool offered = false;
        for (auto name : offer)
            offered = offered || name == a.subprotocol;
        if (!offered) return errc::response_subprotocol_unoffered;
    }
    out = a;
    return errc::ok;
}

} // namespace wring::proto
