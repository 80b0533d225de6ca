// SPDX-License-Identifier: BSL-1.0
#include "proto/http.hpp"

#include <algorithm>
#include <array>
#include <bit>

namespace wring::proto {
namespace {

// Character classes, one bit each (RFC 9110 section 5.6.2 and 5.5, RFC 3986).
enum : std::uint8_t
{
    token_char = 1,
    value_char = 2,  // VCHAR, obs-text, SP, HTAB
    target_char = 4, // VCHAR but '#'
    digit = 8,
};

constexpr std::array<std::uint8_t, 256> classes = [] {
    std::array<std::uint8_t, 256> t{};
    for (unsigned c = 0x20; c < 256; ++c)
        if (c != 0x7F) t[c] = value_char;
    t['\t'] = value_char;
    for (unsigned c = 0x21; c < 0x7F; ++c)
        if (c != '#') t[c] |= target_char;
    for (unsigned c = '0'; c <= '9'; ++c)
        t[c] |= token_char | digit;
    for (unsigned c = 'a'; c <= 'z'; ++c)
        t[c] |= token_char;
    for (unsigned c = 'A'; c <= 'Z'; ++c)
        t[c] |= token_char;
    for (char c : std::string_view{"!#$%&'*+-.^_`|~"})
        t[static_cast<unsigned char>(c)] |= token_char;
    return t;
}();

constexpr bool is(unsigned char c, unsigned class_bits) noexcept
{
    return (classes[c] & class_bits) != 0;
}

constexpr char lower(char c) noexcept
{
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
}

constexpr bool is_blank(char c) noexcept
{
    return c == ' ' || c == '\t';
}

// Path and query of a target: what follows the authority of an absolute form.
std::string_view local_part(std::string_view target) noexcept
{
    if (target.empty() || target.front() == '/') return target;
    auto const authority = target.find("://");
    if (authority == target.npos) return target;
    auto const end = target.find_first_of("/?", authority + 3);
    return end == target.npos ? std::string_view{} : target.substr(end);
}

// Cuts the first of these lines off. No value has a CR in it.
std::optional<std::string_view> take_line(std::string_view& rest) noexcept
{
    auto const end = rest.find('\r');
    if (end == rest.npos) return std::nullopt;
    auto const line = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 2, rest.size()));
    return line;
}

// Of a field's name, of which case does not matter.
std::uint64_t bit_of(std::string_view name) noexcept
{
    auto const first = name.empty() ? 0U : static_cast<unsigned char>(lower(name.front()));
    return std::uint64_t{1} << ((7 * name.size() + first) % 64);
}

std::size_t place_of(std::uint64_t bit) noexcept
{
    return static_cast<std::size_t>(std::countr_zero(bit)) % 8;
}

std::uint64_t bits_of_place(std::size_t place) noexcept
{
    return 0x0101010101010101U << place;
}

} // namespace

bool equal_ignoring_case(std::string_view a, std::string_view b) noexcept
{
    if (a.size() != b.size()) return false;
    return a == b || std::equal(a.begin(), a.end(), b.begin(), [](char x, char y) { return lower(x) == lower(y); });
}

bool is_token(std::string_view text) noexcept
{
    return !text.empty() &&
           std::all_of(text.begin(), text.end(), [](char c) { return is(static_cast<unsigned char>(c), token_char); });
}

bool is_field_value(std::string_view text) noexcept
{
    return std::all_of(text.begin(), text.end(), [](char c) { return is(static_cast<unsigned char>(c), value_char); });
}

std::string_view trim(std::string_view text) noexcept
{
    while (!text.empty() && is_blank(text.front()))
        text.remove_prefix(1);
    while (!text.empty() && is_blank(text.back()))
        text.remove_suffix(1);
    return text;
}

list_range::iterator& list_range::iterator::operator++() noexcept
{
    advance();
    return *this;
}

void list_range::iterator::advance() noexcept
{
    while (!rest_.empty()) {
        std::size_t end = 0;
        for (bool quoted = false; end < rest_.size(); ++end) {
            auto const c = rest_[end];
            if (c == '"')
                quoted = quotes_ && !quoted;
            else if (quoted && c == '\\' && end + 1 < rest_.size())
                ++end;
            else if (!quoted && c == separator_)
                break;
        }
        element_ = trim(rest_.substr(0, end));
        rest_.remove_prefix(std::min(end + 1, rest_.size()));
        if (!element_.empty()) return;
    }
    done_ = true;
}

name_value pair_range::iterator::operator*() const noexcept
{
    auto const text = *at_;
    auto const equals = text.find('=');
    if (equals == text.npos) return {text, {}};
    return {trim(text.substr(0, equals)), trim(text.substr(equals + 1))};
}

void field_range::iterator::advance() noexcept
{
    auto const line = take_line(rest_);
    if (!line) {
        done_ = true;
        return;
    }
    auto const colon = std::min(line->find(':'), line->size());
    field_ = {line->substr(0, colon), trim(line->substr(std::min(colon + 1, line->size())))};
}

field_range::field_range(std::string_view lines) noexcept : lines_(lines)
{
    while (auto const line = take_line(lines)) {
        auto const bit = bit_of(line->substr(0, line->find(':')));
        auto const place = place_of(bit);
        if ((names_ & bits_of_place(place)) == 0) first_[place] = static_cast<std::uint32_t>(line->data() - lines_.data());
        shared_ |= names_ & bit;
        names_ |= bit;
    }
}

// Some eighteen look-ups make a handshake: most find nothing, or what they look for at once.
std::string_view field_range::from(std::string_view name) const noexcept
{
    auto const bit = bit_of(name);
    return (names_ & bit) != 0 ? lines_.substr(first_[place_of(bit)]) : std::string_view();
}

std::optional<std::string_view> field_range::next(std::string_view& rest, std::string_view name) const noexcept
{
    auto const bit = bit_of(name);
    while (auto const line = take_line(rest)) {
        if (line->size() <= name.size() || (*line)[name.size()] != ':' || !equal_ignoring_case(line->substr(0, name.size()), name))
            continue;
        if ((shared_ & bit) == 0) rest = {}; // there is no other
        return trim(line->substr(name.size() + 1));
    }
    return std::nullopt;
}

std::optional<std::string_view> field_range::find(std::string_view name) const noexcept
{
    auto rest = from(name);
    return next(rest, name);
}

field_range::occurrences field_range::all(std::string_view name) const noexcept
{
    occurrences found;
    for (auto rest = from(name); auto const value = next(rest, name);)
        if (found.lines++ == 0) found.first = *value;
    return found;
}

bool field_range::has_token(std::string_view name, std::string_view token) const noexcept
{
    return !each_element(name, [token](std::string_view e) { return !equal_ignoring_case(e, token); });
}

std::string_view request_head::path() const noexcept
{
    auto const local = local_part(target);
    auto const path = local.substr(0, local.find('?'));
    return path.empty() ? std::string_view{"/"} : path;
}

std::string_view request_head::query() const noexcept
{
    auto const local = local_part(target);
    auto const mark = local.find('?');
    return mark == local.npos ? std::string_view{} : local.substr(mark + 1);
}

// Where in the grammar the next byte stands.
enum class head_scanner::state : std::uint8_t
{
    start,    // first byte of a request, an empty line may come
    start_lf, // LF of that empty line
    method,   // after at least one byte of it, or at its first after the empty line
    target,
    version, // of either kind of head
    status_code,
    reason,
    line_lf,     // LF of the start line
    first_field, // first byte of the line after the start line
    field,       // first byte of a later line
    name,
    value,
    value_lf,
    end_lf, // LF of the empty line that ends the head
    done,
};

head_scanner::head_scanner(kind k, head_limits limits) noexcept
    : limits_(limits), state_(k == kind::request ? state::start : state::version), kind_(k)
{}

head_scanner::progress head_scanner::feed(std::string_view piece) noexcept
{
    progress p;
    if (size_ == 0 && !piece.empty() && (piece[0] == '\x16' || piece[0] == '\x15')) { // a hello of TLS, or an alert
        p.error = errc::tls_unexpected;
        return p;
    }
    auto const within_limit = piece.substr(0, limits_.max_head - size_);
    while (p.consumed < within_limit.size()) {
        // Most bytes of a head are in a name or a value, where they change nothing.
        if (state_ == state::value || state_ == state::name) {
            auto const class_bits = state_ == state::value ? value_char : token_char;
            char const* const from = within_limit.data() + p.consumed;
            char const* const end = within_limit.data() + within_limit.size();
            char const* at = from;
            while (at != end && is(static_cast<unsigned char>(*at), class_bits))
                ++at;
            auto const same = static_cast<std::size_t>(at - from);
            p.consumed += same;
            size_ += same;
            if (at == end) break;
        }
        p.error = step(static_cast<unsigned char>(within_limit[p.consumed]));
        if (p.error != errc::ok) return p;
        ++p.consumed;
        ++size_;
        if (state_ == state::done) {
            p.complete = true;
            return p;
        }
    }
    if (p.consumed < piece.size()) p.error = errc::head_too_large;
    return p;
}

// Judges the byte at offset size_.
errc head_scanner::step(unsigned char c) noexcept
{
    switch (state_) {
    case state::value:
        state_ = state::value_lf;
        return c == '\r' ? errc::ok : c == '\n' ? errc::bare_lf : errc::control_character;
    case state::name:
        if (is(c, token_char)) return errc::ok;
        state_ = state::value;
        if (c == ':') return errc::ok;
        if (c == ' ' || c == '\t') return errc::space_before_colon;
        return c == '\r' ? errc::field_no_colon : c == '\n' ? errc::bare_lf : errc::field_name_invalid;

    case state::start:
        if (c == '\r') {
            state_ = state::start_lf;
            return errc::ok;
        }
        [[fallthrough]];
    case state::method:
        state_ = state::method;
        if (is(c, token_char)) return errc::ok;
        first_end_ = size_;
        state_ = state::target;
        if (c == '\n') return errc::bare_lf;
        if (size_ == line_) return c == '\r' ? errc::empty_line : errc::method_invalid;
        if (c == ' ') return errc::ok;
        return c == '\t' || c == '\r' ? errc::request_line : errc::method_invalid;
    case state::start_lf:
        if (c != '\n') return errc::bare_cr;
        line_ = 2;
        state_ = state::method;
        return errc::ok;
    case state::target:
        if (is(c, target_char)) return size_ - first_end_ > limits_.max_target ? errc::target_too_long : errc::ok;
        second_end_ = size_;
        state_ = state::version;
        if (c == ' ' && size_ > first_end_ + 1) return errc::ok;
        if (c == ' ' || c == '\t' || c == '\r') return errc::request_line;
        return c == '\n' ? errc::bare_lf : errc::target_invalid;

    case state::version:
        return version_step(c);
    case state::status_code:
        if (matched_ < 3) {
            if (!is(c, digit) || (matched_ == 0 && (c == '0' || c > '5'))) return errc::status_line;
            status_ = static_cast<std::uint16_t>(status_ * 10 + (c - '0'));
            ++matched_;
            return errc::ok;
        }
        second_end_ = size_;
        state_ = state::reason;
        if (c == ' ') return errc::ok;
        if (c != '\r') return errc::status_line;
        [[fallthrough]];
    case state::reason:
        if (is(c, value_char)) return errc::ok;
        line_end_ = size_;
        state_ = state::line_lf;
        return c == '\r' ? errc::ok : c == '\n' ? errc::bare_lf : errc::status_line;

    case state::line_lf:
        state_ = state::first_field;
        return c == '\n' ? errc::ok : errc::bare_cr;
    case state::first_field:
    case state::field:
        return line_start(c);
    case state::value_lf:
        state_ = state::field;
        return c == '\n' ? errc::ok : errc::bare_cr;
    case state::end_lf:
        state_ = state::done;
        return c == '\n' ? errc::ok : errc::bare_cr;
    case state::done:
        break;
    }
    return errc::request_line;
}

// "HTTP/" DIGIT "." DIGIT and what ends it: the CR of a request line, the space of a status line.
errc head_scanner::version_step(unsigned char c) noexcept
{
    constexpr std::string_view form = "HTTP/1.1";
    auto const at = matched_++;
    switch (at) {
    case 5:
        if (!is(c, digit)) return errc::http_version_malformed;
        version_.major = static_cast<std::uint8_t>(c - '0');
        return errc::ok;
    case 7:
        if (!is(c, digit)) return errc::http_version_malformed;
        version_.minor = static_cast<std::uint8_t>(c - '0');
        return version_.major == 1 && version_.minor <= 1 ? errc::ok : errc::http_version_unsupported;
    case 8:
        matched_ = 0;
        if (kind_ == kind::response) {
            first_end_ = size_;
            state_ = state::status_code;
            return c == ' ' ? errc::ok : errc::status_line;
        }
        line_end_ = size_;
        state_ = state::line_lf;
        if (c == '\r') return errc::ok;
        if (c == '\n') return errc::bare_lf;
        return c == ' ' || c == '\t' ? errc::request_line : errc::http_version_malformed;
    default:
        if (c == static_cast<unsigned char>(form[at])) return errc::ok;
        // A second space, or a third word, is a matter of the line rather than of the version.
        return at == 0 && kind_ == kind::request && (c == ' ' || c == '\t') ? errc::request_line
                                                                            : errc::http_version_malformed;
    }
}

errc head_scanner::line_start(unsigned char c) noexcept
{
    if (c == '\r') {
        state_ = state::end_lf;
        return errc::ok;
    }
    if (c == ' ' || c == '\t') return state_ == state::first_field ? errc::space_before_field : errc::obs_fold;
    if (c == '\n') return errc::bare_lf;
    if (!is(c, token_char)) return errc::field_name_invalid;
    if (fields_ == limits_.max_fields) return errc::too_many_fields;
    ++fields_;
    state_ = state::name;
    return errc::ok;
}

request_head head_scanner::request(std::string_view head) const noexcept
{
    request_head r;
    r.method = head.substr(line_, first_end_ - line_);
    r.target = head.substr(first_end_ + 1, second_end_ - first_end_ - 1);
    r.version = version_;
    r.fields = field_range{head.substr(line_end_ + 2, size_ - line_end_ - 4)};
    return r;
}

response_head head_scanner::response(std::string_view head) const noexcept
{
    response_head r;
    r.version = version_;
    r.status = status_;
    r.reason = second_end_ < line_end_ ? head.substr(second_end_ + 1, line_end_ - second_end_ - 1) : std::string_view{};
    r.fields = field_range{head.substr(line_end_ + 2, size_ - line_end_ - 4)};
    return r;
}

errc parse_request(std::string_view text, request_head& out, head_limits limits) noexcept
{
    head_scanner scanner{head_scanner::kind::request, limits};
    auto const p = scanner.feed(text);
    if (p.error != errc::ok) return p.error;
    if (!p.complete || p.consumed != text.size()) return errc::request_line;
    out = scanner.request(text);
    return errc::ok;
}

errc parse_response(std::string_view text, response_head& out, head_limits limits) noexcept
{
    head_scanner scanner{head_scanner::kind::response, limits};
    auto const p = scanner.feed(text);
    if (p.error != errc::ok) return p.error;
    if (!p.complete || p.consumed != text.size()) return errc::status_line;
    out = scanner.response(text);
    return errc::ok;
}

} // namespace wring::proto
