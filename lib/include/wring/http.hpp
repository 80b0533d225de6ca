// SPDX-License-Identifier: BSL-1.0
// Plain HTTP beside WebSocket: what handlers of `server` write and look at. The requests and responses themselves are
// in request.hpp.
#pragma once

#include <wring/request.hpp>

#include <optional>
#include <string>
#include <string_view>

namespace wring {

namespace detail {
struct body_sink;
}

/// Where a response::streamed() function writes the body. Ends with the function: HTTP/1.1 clients see that it is
/// whole; where the function throws, or is canceled, they see that it is not.
class body_writer
{
public:
    /// Sends `piece` at once, all of it, and completes when the system has taken it. An empty one sends nothing.
    /// Errors: errc::canceled, as for any cancel, where the peer has left or the server ends; errc::timed_out where it
    /// takes nothing for server_options::write_timeout; the system's. errc::busy where another coroutine writes. After
    /// an error but busy there is nothing more to write: return. `piece` must live until the await returns.
    [[nodiscard]] task<result<>> write(std::string_view piece);

    /// For wring itself.
    explicit body_writer(detail::body_sink& sink) noexcept : sink_(sink) {}

private:
    detail::body_sink& sink_;
};

/// One event of a text/event-stream body: `data` in as many lines as it has, ended by the empty line. `name` and `id`
/// are left out where empty; a line end in them would be none of theirs and ends them.
[[nodiscard]] std::string server_sent_event(std::string_view data, std::string_view name = {},
                                            std::string_view id = {});

/// Undoes percent escapes (RFC 3986 section 2.1); nullopt where one is incomplete. In queries and forms a `+` is a
/// space.
[[nodiscard]] std::optional<std::string> percent_decode(std::string_view text, bool plus_is_space = false);

/// Escapes all but letters, digits and `-._~`: a text as one segment of a path, or one value of a query.
[[nodiscard]] std::string percent_encode(std::string_view text);

/// The value of a name in a form's body (application/x-www-form-urlencoded), decoded.
[[nodiscard]] std::optional<std::string> form_value(std::string_view form, std::string_view name);

struct credentials
{
    std::string user;
    std::string password;
};

/// What an Authorization field says in the scheme Basic (RFC 7617); nullopt where it says anything else.
[[nodiscard]] std::optional<credentials> basic_credentials(request const& r);

/// The token of an Authorization field in the scheme Bearer (RFC 6750). A view of the request.
[[nodiscard]] std::optional<std::string_view> bearer_token(request const& r);

/// Compares a secret with what somebody has presented, in a time that tells nothing of where they differ or of how long
/// the secret is.
[[nodiscard]] bool equal_secrets(std::string_view secret, std::string_view presented) noexcept;

/// The content type that goes with a file's name: `text/html; charset=utf-8` for `index.html`;
/// application/octet-stream for one that is not known.
[[nodiscard]] std::string_view content_type_of(std::string_view file_name) noexcept;

} // namespace wring
