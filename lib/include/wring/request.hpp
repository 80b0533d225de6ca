// SPDX-License-Identifier: BSL-1.0
// What a server sees of a request before it upgrades or answers it, and what hooks say.
#pragma once

#include <wring/endpoint.hpp>
#include <wring/task.hpp>

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace wring {

namespace detail {
struct request_data;
}
namespace tls {
struct info;
}

/// A header field. A view.
struct header
{
    std::string_view name;
    std::string_view value;
};

/// The head of a request. Valid while the hook runs that was given it; everything it returns is a view with that life.
class request
{
public:
    [[nodiscard]] std::string_view method() const noexcept;
    /// As received: path and query.
    [[nodiscard]] std::string_view target() const noexcept;
    /// Without the query; not decoded.
    [[nodiscard]] std::string_view path() const noexcept;
    /// Without the `?`; not decoded.
    [[nodiscard]] std::string_view query() const noexcept;
    /// The value of a query parameter, not decoded.
    [[nodiscard]] std::optional<std::string_view> query_value(std::string_view name) const noexcept;
    /// The value of the first field of this name; names compare without case.
    [[nodiscard]] std::optional<std::string_view> field(std::string_view name) const noexcept;
    /// All fields, in the order they came.
    [[nodiscard]] std::vector<header> fields() const;
    [[nodiscard]] std::optional<std::string_view> cookie(std::string_view name) const noexcept;
    [[nodiscard]] std::optional<std::string_view> origin() const noexcept { return field("Origin"); }
    /// The subprotocols that the client offers.
    [[nodiscard]] std::vector<std::string_view> subprotocols() const;
    /// Whether this is a sound request for a WebSocket; its origin and subprotocols are not judged.
    [[nodiscard]] bool is_upgrade() const noexcept;
    [[nodiscard]] endpoint const& remote() const noexcept;
    /// What TLS has agreed on, and who the client has proved to be by its certificate (wring/tls.hpp); none without TLS.
    [[nodiscard]] std::optional<tls::info> tls_info() const;

    /// For wring itself.
    explicit request(detail::request_data const& data) noexcept : data_(data) {}

private:
    detail::request_data const& data_;
};

/// What a hook says to a request: let it through, or an HTTP response. A status outside 200-599, or a field that is no
/// valid one or belongs to the protocol (Connection, Content-Length, Sec-WebSocket-...), is answered with 500.
struct response
{
    int status = 200;
    std::string body;
    std::string content_type = "text/plain; charset=utf-8";
    std::vector<std::pair<std::string, std::string>> headers; ///< further fields; checked

    /// Lets an upgrade go on (status 101). `headers` are added to the 101.
    [[nodiscard]] static response accept();
    [[nodiscard]] static response refuse(int status, std::string body = {});
    [[nodiscard]] static response html(std::string body);

    response() = default;
    response(int status_code, std::string text) : status(status_code), body(std::move(text)) {}
};

/// A reference to a function `task<response>(request const&)`: a function, or a function object that outlives the
/// operation it is given to. Trivial, so that it may stand in an options struct.
///
/// A hook may suspend. It is canceled when the peer leaves or the handshake's time is over; what it says then is not
/// heard, and an exception of that cancel (a value() on errc::canceled) is no failure. The body of a request is not
/// read.
class request_hook
{
public:
    request_hook() noexcept = default;
    request_hook(task<response> (*function)(request const&)) noexcept :
        object_(reinterpret_cast<void*>(function)), call_([](void* object, request const& r) {
            return reinterpret_cast<task<response> (*)(request const&)>(object)(r);
        })
    {}
    template <class F>
        requires(!std::is_convertible_v<F, task<response> (*)(request const&)> &&
                 std::is_invocable_r_v<task<response>, F&, request const&>)
    request_hook(F& object) noexcept :
        object_(const_cast<void*>(static_cast<void const*>(std::addressof(object)))),
        call_([](void* o, request const& r) -> task<response> { return (*static_cast<F*>(o))(r); })
    {}
    template <class F>
        requires(std::is_convertible_v<F, task<response> (*)(request const&)> && !std::is_pointer_v<F>)
    request_hook(F function) noexcept : request_hook(static_cast<task<response> (*)(request const&)>(function))
    {}

    explicit operator bool() const noexcept { return call_ != nullptr; }
    task<response> operator()(request const& r) const { return call_(object_, r); }

private:
    void* object_ = nullptr;
    task<response> (*call_)(void*, request const&) = nullptr;
};

} // namespace wring
