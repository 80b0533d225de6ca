// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "proto/error.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>
#include <string_view>

namespace wring::proto {

// Field names and protocol tokens compare like this: ASCII letters without case.
[[nodiscard]] bool equal_ignoring_case(std::string_view a, std::string_view b) noexcept;

// 1*tchar (RFC 9110 section 5.6.2).
[[nodiscard]] bool is_token(std::string_view text) noexcept;

// No CR, LF, NUL or other control character except HTAB (RFC 9110 section 5.5).
[[nodiscard]] bool is_field_value(std::string_view text) noexcept;

// Without the spaces and tabs around it.
[[nodiscard]] std::string_view trim(std::string_view text) noexcept;

struct field
{
    std::string_view name;
    std::string_view value; // without surrounding white space
};

struct name_value
{
    std::string_view name;
    std::string_view value;
};

// Whether a list may hold quoted strings, in which a separator does not separate (RFC 9110 section 5.6.4).
enum class quotes : bool
{
    plain,
    respected
};

// Elements of a separated list in one string, trimmed, empty ones left out. A range of string_view; views of the text
// given.
class list_range
{
public:
    class iterator
    {
    public:
        using value_type = std::string_view;
        using difference_type = std::ptrdiff_t;
        iterator() = default;
        iterator(std::string_view rest, char separator, quotes q) noexcept
            : rest_(rest), separator_(separator), quotes_(q == quotes::respected)
        {
            advance();
        }
        [[nodiscard]] std::string_view operator*() const noexcept { return element_; }
        iterator& operator++() noexcept;
        void operator++(int) noexcept { ++*this; }
        [[nodiscard]] bool operator==(std::default_sentinel_t) const noexcept { return done_; }

    private:
        void advance() noexcept;

        std::string_view rest_;
        std::string_view element_;
        char separator_ = ',';
        bool quotes_ = true;
        bool done_ = false;
    };

    explicit list_range(std::string_view text, char separator = ',', quotes q = quotes::respected) noexcept
        : text_(text), separator_(separator), quotes_(q)
    {}
    [[nodiscard]] iterator begin() const noexcept { return {text_, separator_, quotes_}; }
    [[nodiscard]] std::default_sentinel_t end() const noexcept { return {}; }

private:
    std::string_view text_;
    char separator_;
    quotes quotes_;
};

// name=value pairs of a query or cookie string. A pair without '=' has an empty value. Nothing is decoded.
class pair_range
{
public:
    class iterator
    {
    public:
        using value_type = name_value;
        using difference_type = std::ptrdiff_t;
        iterator() = default;
        explicit iterator(list_range::iterator at) noexcept : at_(at) {}
        [[nodiscard]] name_value operator*() const noexcept;
        iterator& operator++() noexcept { return ++at_, *this; }
        void operator++(int) noexcept { ++at_; }
        [[nodiscard]] bool operator==(std::default_sentinel_t s) const noexcept { return at_ == s; }

    private:
        list_range::iterator at_;
    };

    pair_range(std::string_view text, char separator) noexcept : list_(text, separator, quotes::plain) {}
    [[nodiscard]] iterator begin() const noexcept { return iterator{list_.begin()}; }
    [[nodiscard]] std::default_sentinel_t end() const noexcept { return {}; }

private:
    list_range list_;
};

// The field lines of a head that a head_scanner accepted: a view of their text, and a note of which names may be there and
// where the first of them stands. From there on look-ups read the text; the scanner's limits bound that.
class field_range
{
public:
    class iterator
    {
    public:
        using value_type = field;
        using difference_type = std::ptrdiff_t;
        iterator() = default;
        explicit iterator(std::string_view rest) noexcept : rest_(rest) { advance(); }
        [[nodiscard]] field const& operator*() const noexcept { return field_; }
        [[nodiscard]] field const* operator->() const noexcept { return &field_; }
        iterator& operator++() noexcept { return advance(), *this; }
        void operator++(int) noexcept { advance(); }
        [[nodiscard]] bool operator==(std::default_sentinel_t) const noexcept { return done_; }

    private:
        void advance() noexcept;

        std::string_view rest_;
        field field_;
        bool done_ = false;
    };

    field_range() = default;
    explicit field_range(std::string_view lines) noexcept;
    [[nodiscard]] iterator begin() const noexcept { return iterator{lines_}; }
    [[nodiscard]] std::default_sentinel_t end() const noexcept { return {}; }

    // Value of the first field of this name.
    [[nodiscard]] std::optional<std::string_view> find(std::string_view name) const noexcept;

    // Lines with this name, and the value of the first.
    struct occurrences
    {
        std::size_t lines = 0;
        std::string_view first;
    };
    [[nodiscard]] occurrences all(std::string_view name) const noexcept;
    [[nodiscard]] std::size_t count(std::string_view name) const noexcept { return all(name).lines; }

    // Calls visit(std::string_view) with each element of the lists in all lines of this name, as if the lines were
    // joined by commas (RFC 9110 section 5.3), until it returns false. Returns false if it did.
    template <typename Visit>
    bool each_element(std::string_view name, Visit&& visit) const
    {
        for (auto rest = from(name); auto const value = next(rest, name);)
            for (auto element : list_range{*value})
                if (!visit(element)) return false;
        return true;
    }

    // Whether one of these elements is `token`, ignoring case.
    [[nodiscard]] bool has_token(std::string_view name, std::string_view token) const noexcept;

private:
    // The lines from the first on that may have this name.
    [[nodiscard]] std::string_view from(std::string_view name) const noexcept;

    // Value of the next field of this name in `rest`, which is shortened by all that comes before and by itself.
    [[nodiscard]] std::optional<std::string_view> next(std::string_view& rest, std::string_view name) const noexcept;

    std::string_view lines_;
    std::uint64_t names_ = 0;  // a bit for each line's name; several names share one
    std::uint64_t shared_ = 0; // of them, those that more than one line has
    std::array<std::uint32_t, 8> first_{}; // where the first line stands of the names whose bits are equal modulo 8
};

struct http_version
{
    std::uint8_t major = 1;
    std::uint8_t minor = 1;
    [[nodiscard]] bool operator==(http_version const&) const = default;
};

// Views of the caller's buffer, valid as long as that.
struct request_head
{
    std::string_view method;
    std::string_view target; // as received, so possibly in absolute form
    http_version version;
    field_range fields;

    // Path and query of the target in either form; "/" for an absolute form without a path.
    [[nodiscard]] std::string_view path() const noexcept;
    [[nodiscard]] std::string_view query() const noexcept; // without '?'

    [[nodiscard]] pair_range query_pairs() const noexcept { return {query(), '&'}; }

    // Of the Cookie field; RFC 6265 section 5.4 allows one.
    [[nodiscard]] pair_range cookies() const noexcept { return {fields.find("Cookie").value_or(""), ';'}; }
};

struct response_head
{
    http_version version;
    std::uint16_t status = 0;
    std::string_view reason;
    field_range fields;
};

struct head_limits
{
    std::uint32_t max_head = 16 * 1024; // bytes, from the first to the empty line's LF
    std::uint32_t max_target = 8 * 1024;
    std::uint32_t max_fields = 100;
};

// Reads the head of an HTTP/1.1 message as it arrives. Each byte is looked at once, and a head that breaks the grammar
// or a limit is refused at the byte that does so; see RFC 9112 sections 2 to 5. Where the RFC lets a recipient be
// lenient this one is strict (no bare LF, no obs-fold), except that one empty line before a request is skipped.
class head_scanner
{
public:
    enum class kind : std::uint8_t
    {
        request,
        response
    };

    explicit head_scanner(kind k, head_limits limits = {}) noexcept;

    struct progress
    {
        std::size_t consumed = 0; // of this piece; bytes behind the end of the head are left
        bool complete = false;
        errc error = errc::ok; // final: the scanner is of no further use
    };

    // Looks at `piece`, which follows what was given before. Call it no more after complete or an error.
    [[nodiscard]] progress feed(std::string_view piece) noexcept;

    // Bytes looked at so far: the size of the head once it is complete.
    [[nodiscard]] std::size_t size() const noexcept { return size_; }

    // The parts of a complete head. `head` begins with the first byte that was fed and holds at least size() bytes.
    [[nodiscard]] request_head request(std::string_view head) const noexcept;
    [[nodiscard]] response_head response(std::string_view head) const noexcept;

private:
    enum class state : std::uint8_t;

    [[nodiscard]] errc step(unsigned char c) noexcept;
    [[nodiscard]] errc version_step(unsigned char c) noexcept;
    [[nodiscard]] errc line_start(unsigned char c) noexcept;

    head_limits limits_;
    std::uint32_t size_ = 0;
    std::uint32_t fields_ = 0;
    std::uint32_t line_ = 0;       // where the start line begins: 0, or 2 after an empty line
    std::uint32_t first_end_ = 0;  // end of the method or of the response's version
    std::uint32_t second_end_ = 0; // end of the target or of the status code
    std::uint32_t line_end_ = 0;   // end of the start line, before its CRLF
    http_version version_;
    std::uint16_t status_ = 0;
    std::uint8_t matched_ = 0; // characters of "HTTP/d.d" or of the status code so far
    state state_;
    kind kind_;
};

// A head that is there as a whole: ok, and `out` is set, if `text` is exactly one head. errc::request_line or
// errc::status_line if the text ends before the head does or goes on behind it.
[[nodiscard]] errc parse_request(std::string_view text, request_head& out, head_limits limits = {}) noexcept;
[[nodiscard]] errc parse_response(std::string_view text, response_head& out, head_limits limits = {}) noexcept;

} // namespace wring::proto
