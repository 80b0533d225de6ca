// SPDX-License-Identifier: BSL-1.0
// A value or an error code: what every operation of wring gives back.
#pragma once

#include <cassert>
#include <optional>
#include <system_error>
#include <type_traits>
#include <utility>
#include <variant>

namespace wring {

/// Errors of the framework itself; errors of the system come in std::system_category().
/// Each compares equal to the std::errc that means the same: `error == std::errc::timed_out`.
enum class errc {
    canceled = 1,      ///< the operation was asked to stop before it had an effect
    timed_out,         ///< timeout(), or a deadline of wring's own, ended the operation
    end_of_stream,     ///< the peer has closed its sending side; a clean end
    closed,            ///< this object was closed on this side
    busy,              ///< another coroutine is already in the same operation on this object
    bad_endpoint,      ///< text that names no endpoint
    host_not_found,    ///< the name has no address
    queue_closed,      ///< the channel is closed (and, for a receive, empty)
    message_too_large, ///< a datagram did not fit in the buffer given for it
};

[[nodiscard]] std::error_category const& error_category() noexcept;
[[nodiscard]] std::error_code make_error_code(errc e) noexcept;

template <class T = void>
class result;

/// Either a T or an std::error_code, never both. `if (r)`, `*r` and `r->` are for the value,
/// `error()` for the rest; `value()` throws std::system_error where there is no value.
template <class T>
class [[nodiscard]] result
{
public:
    using value_type = T;

    result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
    result(std::error_code error) noexcept : state_(std::in_place_index<1>, error) { assert(error); }
    template <class E>
        requires(std::is_error_code_enum_v<E>)
    result(E error) noexcept : result(make_error_code(error))
    {}

    [[nodiscard]] bool has_value() const noexcept { return state_.index() == 0; }
    explicit operator bool() const noexcept { return has_value(); }

    T& operator*() & noexcept { return assert(has_value()), *std::get_if<0>(&state_); }
    T const& operator*() const& noexcept { return assert(has_value()), *std::get_if<0>(&state_); }
    T&& operator*() && noexcept { return assert(has_value()), std::move(*std::get_if<0>(&state_)); }
    T* operator->() noexcept { return assert(has_value()), std::get_if<0>(&state_); }
    T const* operator->() const noexcept { return assert(has_value()), std::get_if<0>(&state_); }

    /// The error; a default-constructed code where there is a value.
    [[nodiscard]] std::error_code error() const noexcept
    {
        auto const* e = std::get_if<1>(&state_);
        return e ? *e : std::error_code();
    }

    T& value() & { return check(), **this; }
    T const& value() const& { return check(), **this; }
    T&& value() && { return check(), *std::move(*this); }

    template <class U>
    T value_or(U&& other) &&
    {
        return has_value() ? *std::move(*this) : static_cast<T>(std::forward<U>(other));
    }

private:
    void check() const
    {
        if (!has_value())
            throw std::system_error(error());
    }

    std::variant<T, std::error_code> state_;
};

/// Success, or an std::error_code.
template <>
class [[nodiscard]] result<void>
{
public:
    using value_type = void;

    result() noexcept = default;
    result(std::error_code error) noexcept : error_(error) {}
    template <class E>
        requires(std::is_error_code_enum_v<E>)
    result(E error) noexcept : result(make_error_code(error))
    {}

    [[nodiscard]] bool has_value() const noexcept { return !error_; }
    explicit operator bool() const noexcept { return has_value(); }
    [[nodiscard]] std::error_code error() const noexcept { return error_; }
    void value() const
    {
        if (error_)
            throw std::system_error(error_);
    }

private:
    std::error_code error_;
};

namespace detail {
template <class T>
inline constexpr bool is_result = false;
template <class T>
inline constexpr bool is_result<result<T>> = true;
} // namespace detail

} // namespace wring

template <>
struct std::is_error_code_enum<wring::errc> : std::true_type
{};
