// SPDX-License-Identifier: BSL-1.0
// What a server sees of a request before it upgrades or answers it, and what hooks and handlers say.
#pragma once

#include <wring/endpoint.hpp>
#include <wring/task.hpp>

#include <any>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace wring {

class body_writer;

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

/// A request: its head, and for a handler of `server` its body. Valid while the hook or handler runs that was given it
/// (a streamed response included); every view it returns has that life.
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
    /// The same with its percent escapes undone, and a `+` as a space; nullopt also where an escape is incomplete.
    [[nodiscard]] std::optional<std::string> query_text(std::string_view name) const;
    /// What stood in the path for `{name}` of the route's pattern (`*` for its end), with escapes undone. It may hold
    /// any byte but NUL, a `/` too. Empty where the pattern has no such name.
    [[nodiscard]] std::string_view param(std::string_view name) const noexcept;
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
    /// The client's address: that of the socket, or what a trusted proxy said of it.
    [[nodiscard]] endpoint const& remote() const noexcept;
    /// A place for what a hook has found out and the handler needs, as long as the request lives: empty at first.
    [[nodiscard]] std::any& attachment() const noexcept;

    /// The body, whole. Errors: those of read_some(). A cancel loses what had come.
    [[nodiscard]] task<result<std::string>> body();

    /// Completes with the next piece of the body, at least a byte of it, valid until the next call; errc::end_of_stream
    /// behind the last. An error of ws::protocol_category() where the body is malformed, over the limit or late: a
    /// handler that throws it (`value()`) has the request answered with the status that belongs to it. Hooks see no
    /// body. One coroutine at a time. A cancel loses no byte.
    [[nodiscard]] task<result<std::string_view>> read_some();
    /// What TLS has agreed on, and who the client has proved to be by its certificate (wring/tls.hpp); none without TLS.
    [[nodiscard]] std::optional<tls::info> tls_info() const;

    /// For wring itself.
    explicit request(detail::request_data const& data) noexcept : data_(data) {}

private:
    detail::request_data const& data_;
};

/// What a hook or handler says to a request: let it through, or an HTTP response. A status outside 200-599, or a field
/// that is no valid one or belongs to the protocol (Connection, Content-Length, Sec-WebSocket-...), is answered with
/// 500.
struct response
{
    /// Writes a body piece by piece. Kept until it has ended, so a lambda may capture.
    using stream_function = std::function<task<>(body_writer&)>;

    int status = 200;
    std::string body;
    std::string content_type = "text/plain; charset=utf-8";
    std::vector<std::pair<std::string, std::string>> headers; ///< further fields; checked
    stream_function stream;                                   ///< writes the body in place of `body`; `server` only

    /// Lets an upgrade go on (status 101). `headers` are added to the 101.
    [[nodiscard]] static response accept();
    [[nodiscard]] static response refuse(int status, std::string body = {});
    [[nodiscard]] static response html(std::string body);
    /// A body that is written as it comes to be: server-sent events, a long list. See body_writer (http.hpp).
    [[nodiscard]] static response streamed(std::string content_type, stream_function write);
    /// 401 with a WWW-Authenticate field: `Basic realm="hub"`, `Bearer`.
    [[nodiscard]] static response challenge(std::string scheme);
    /// 303, after a form, by default; 307 and 308 keep the method. `location` is a path or a URL.
    [[nodiscard]] static response redirect(std::string location, int status = 303);

    response() = default;
    explicit response(int status_code) : status(status_code) {}
    response(int status_code, std::string text) : status(status_code), body(std::move(text)) {}
};

/// A reference to a function `task<response>(request const&)`: a function, or a function object that outlives the
/// operation it is given to. Trivial, so that it may stand in an options struct.
///
/// A hook may suspend. It is canceled when the peer leaves or the handshake's time is over; what it says then is not
/// heard, and an exception of that cancel (a value() on errc::canceled) is no failure. The body of a request is not
/// read, and a streamed response is answered with 500 where upgrade() asks.
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
