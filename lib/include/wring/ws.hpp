// SPDX-License-Identifier: BSL-1.0
// WebSocket (RFC 6455): upgrade a stream on the server's side, connect on the client's, and co_await frames and
// messages.
#pragma once

#include <wring/request.hpp>
#include <wring/stream.hpp>

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace wring {

namespace detail {
class connection_core;
struct write_waiter;
} // namespace detail

namespace tls {
class context;
}

namespace ws {

/// How a connection can end, and what can go wrong above the frames. A rule of the protocol that the peer broke is an
/// error in protocol_category(), an upgrade that a server refused one in http_category() (the value is the status), a
/// way that a proxy refused one in proxy_category() (an HTTP status, or a reply code of SOCKS 5; 255: the
/// authentication).
enum class errc {
    closed = 1,        ///< a clean close: both sides have sent their close frames, or this side has closed
    abnormal_closure,  ///< the stream ended without a close frame; status().code is 1006
    pong_timeout,      ///< a keep-alive ping was not answered in time
    idle_timeout,      ///< nothing was received for the idle timeout
    frame_timeout,     ///< a frame was begun and too little of the rest came in time
    close_timeout,     ///< the peer did not answer a close frame in time
    handshake_timeout, ///< the handshake did not end in time
    forbidden,         ///< an authorize hook refused the request (the origin policy: an error in protocol_category())
    answered,          ///< the request was no upgrade and has been answered as HTTP
    no_message,        ///< a continuation frame was to be written where no message is open
    outbox_full,       ///< reconnecting_client: there is no room for the message, and the policy is to say so
};

[[nodiscard]] std::error_category const& error_category() noexcept;
[[nodiscard]] std::error_category const& protocol_category() noexcept;
[[nodiscard]] std::error_category const& http_category() noexcept;
[[nodiscard]] std::error_category const& proxy_category() noexcept;
[[nodiscard]] std::error_code make_error_code(errc e) noexcept;

enum class opcode : std::uint8_t { continuation = 0, text = 1, binary = 2 };

/// Status codes of close frames (RFC 6455 section 7.4.1 and the IANA registry). Others of 3000-4999 are the
/// application's: `close_code{4000}`.
enum class close_code : std::uint16_t {
    normal = 1000,
    going_away = 1001,
    protocol_error = 1002,
    unsupported_data = 1003,
    no_status = 1005, ///< never sent: the close frame had no code
    abnormal = 1006,  ///< never sent: there was no close frame
    invalid_payload = 1007,
    policy_violation = 1008,
    message_too_big = 1009,
    missing_extension = 1010,
    internal_error = 1011,
    service_restart = 1012,
    try_again_later = 1013,
    bad_gateway = 1014,
};

/// One data frame, or a part of a large one: frames of up to run_options::receive_buffer_size bytes come whole, larger
/// ones as several fragments of at most 256 KiB, so that a message of any size can be streamed in bounded memory.
/// A fragment after a message's first has opcode::continuation; the last one has `fin` (RFC 6455 section 5.4).
/// A view: the payload of a received one is valid until the next read on its connection.
struct frame
{
    opcode op = opcode::binary;
    bool fin = true;
    std::span<std::byte const> payload;

    [[nodiscard]] std::string_view text() const noexcept
    {
        return {reinterpret_cast<char const*>(payload.data()), payload.size()};
    }
    [[nodiscard]] std::string to_string() const { return std::string(text()); }
};

/// A whole message. Text has been checked to be UTF-8. A view, valid until the next read on its connection.
struct message
{
    bool is_text = false;
    std::span<std::byte const> payload;

    [[nodiscard]] std::string_view text() const noexcept
    {
        return {reinterpret_cast<char const*>(payload.data()), payload.size()};
    }
    [[nodiscard]] std::string to_string() const { return std::string(text()); }
};

/// How a message is sent.
struct write_options
{
    /// Compressed, where permessage-deflate was agreed on and the message is not below deflate_options::threshold. Of a
    /// message in frames its first one decides, whatever their sizes.
    bool compress = true;
};

/// A message framed once, to be posted to any number of connections: an immutable, counted block. Copies may be on any
/// number of threads; each connection is posted to on its own loop. Where connections compress, it is compressed once
/// for all that agreed on the same window and have the same level and mem_level.
class shared_message
{
public:
    shared_message() noexcept = default;
    shared_message(shared_message const& other) noexcept;
    shared_message(shared_message&& other) noexcept : rep_(std::exchange(other.rep_, nullptr)) {}
    shared_message& operator=(shared_message other) noexcept
    {
        std::swap(rep_, other.rep_);
        return *this;
    }
    ~shared_message();

    /// Copies the bytes; throws std::bad_alloc. Text must be UTF-8 (it is not checked).
    [[nodiscard]] static shared_message text(std::string_view text, write_options how = {});
    [[nodiscard]] static shared_message binary(std::span<std::byte const> bytes, write_options how = {});

    [[nodiscard]] bool empty() const noexcept { return !rep_; }
    /// The payload's size in bytes; 0 where empty().
    [[nodiscard]] std::size_t size() const noexcept;

    struct representation;
    /// For wring itself.
    [[nodiscard]] representation* rep() const noexcept { return rep_; }

private:
    explicit shared_message(representation* rep) noexcept : rep_(rep) {}
    static shared_message make(opcode op, std::span<std::byte const> payload, write_options how);
    representation* rep_ = nullptr;
};

/// What became of a posted message.
enum class posted : std::uint8_t {
    queued, ///< it will be sent, or is lost with the connection
    full,   ///< more than send_limit is queued: nothing was done, the caller decides (drop, close, abort)
    closed, ///< the connection is closing or closed
};

/// `co_await ws->read()` ended by this: a clean close.
inline constexpr errc closed = errc::closed;

/// Where a connection stands.
struct status
{
    bool open = true;
    close_code code = close_code::no_status; ///< of the close frame that the peer sent, else of ours; abnormal: none
    std::string_view reason;                 ///< with it; valid until the next co_await
    bool closed_by_peer = false;             ///< the peer's close frame, or its loss, came first
    std::error_code error;                   ///< what read and write give once it is not open
    duration round_trip{};                   ///< of the last answered ping; 0: none yet
};

/// permessage-deflate (RFC 7692): messages go compressed where both sides want it. docs/howto/compression.md tells when
/// that pays and what each mode costs.
///
/// A side with a takeover compresses each message with reference to those before: small ones become much smaller, but
/// it keeps a compressor for each connection, and the other side a decompressor. Without, both are there only for
/// the time of a message, and shared by all connections of the loop.
struct deflate_options
{
    bool on = false;              ///< a server agrees to what a client offers; a client offers it
    bool server_takeover = false; ///< the server may keep its window, and the client what it takes to follow
    bool client_takeover = false; ///< the same with the sides exchanged
    int server_window_bits = 15;  ///< 9 to 15: the server's window has at most 2^bits bytes
    int client_window_bits = 15;  ///< of the client's window; a server can limit it where the client allows that
    int level = 3;                ///< of this side's compressor: 0 (none), 1 (fast) to 9 (small)
    int mem_level = 8;            ///< its memory besides the window: 1 (least) to 9
    std::size_t threshold = 256;  ///< messages of fewer bytes are not compressed
    duration free_when_idle{};    ///< with a takeover: what was not used for so long is freed; 0: kept

    [[nodiscard]] bool operator==(deflate_options const&) const = default;
};

/// Options of upgrade(). What they refer to (texts, headers, hooks) must live until the co_await returns.
struct upgrade_options
{
    /// Names in the order of the server's preference, separated by commas; the first that the client offers is chosen.
    std::string_view subprotocols = {};
    /// Which pages may connect (the Origin field, which browsers send): empty for the same origin as Host only, a list
    /// of origins separated by commas (`https://example.org,https://example.com:8443`), or `*` for any.
    /// A request without Origin, from a program, is always let through.
    std::string_view origins = {};
    /// Fields added to the 101 response. Names and values are checked; a bad one gives an error before anything is
    /// sent.
    std::span<header const> headers = {};
    /// Decides on the request before the 101 (see request.hpp). May suspend; canceled where the peer leaves meanwhile.
    request_hook authorize = {};
    /// Answers requests that are no upgrade, on the same port; without it they get 426 (Upgrade Required).
    request_hook page = {};
    /// With it TLS is spoken (wss:): its handshake comes first, inside handshake_timeout. A server's context (tls.hpp).
    tls::context const* tls = nullptr;
    // Limits of the request; 0 would let nothing through.
    std::uint32_t max_head = 16 * 1024;  ///< bytes of the request's head; more gets 431
    std::uint32_t max_target = 8 * 1024; ///< bytes of its target; more gets 414
    std::uint32_t max_fields = 100;      ///< lines of its head; more gets 431

    /// Compression: off unless `.deflate = {.on = true}`.
    deflate_options deflate = {};

    // Limits and times of the connection. All are on by default; 0 turns one off.
    std::size_t max_message = 1 << 20;                       ///< bytes of a message, when decompressed; else 1009
    std::size_t max_frame = 1 << 20;                         ///< bytes of a frame, as it comes; likewise
    std::uint32_t max_fragments = 1024;                      ///< frames of a message, empty ones included; 1008
    std::size_t send_limit = 1 << 20;                        ///< bytes queued before write() waits, post() says full
    std::size_t read_limit = 64 * 1024;                      ///< bytes received and unread before receiving pauses
    duration handshake_timeout = std::chrono::seconds(10);   ///< for all of the opening handshake
    duration ping_interval = std::chrono::seconds(20);       ///< of silence before a keep-alive ping
    duration pong_timeout = std::chrono::seconds(20);        ///< for the answer to one, from when it has been sent
    duration idle_timeout = std::chrono::seconds(60);        ///< without receiving anything, pongs included
    duration frame_timeout = std::chrono::seconds(60);       ///< for the rest of a frame begun, or the next 64 KiB of it
    duration close_timeout = std::chrono::seconds(5);        ///< for the peer's close frame, and its end of the stream
};

/// What connect() was told instead of 101: see connect_options::refusal.
struct refusal
{
    int status = 0;        ///< of the last answer that was no sound 101; 0: there was none
    bool by_proxy = false; ///< it failed on the way through the proxy: what is said here the proxy has said
    bool cut = false;      ///< the body goes on
    std::string body;      ///< its first 4 KiB, chunks put together, other codings as they came; what comes in a second
    std::vector<std::pair<std::string, std::string>> headers; ///< in the order they came

    /// The value of the first field of this name; names compare without case.
    [[nodiscard]] std::optional<std::string_view> field(std::string_view name) const noexcept;
};

/// Options of connect(). What they refer to must live until the co_await returns.
struct connect_options
{
    /// Offered to the server, in order of preference, separated by commas.
    std::string_view subprotocols = {};
    /// The Origin field; empty for none.
    std::string_view origin = {};
    /// The Cookie field, `name=value; name=value`; empty for none. Not sent where `headers` have one.
    std::string_view cookies = {};
    /// Fields added to the request. Names and values are checked.
    std::span<header const> headers = {};
    /// For wss: URLs: a client's context (tls.hpp). Without it the system's certificates are trusted.
    tls::context const* tls = nullptr;
    /// Where to put the answer of a server that refuses, or of a proxy. Emptied at the start. Null: its status, which
    /// is the error, is enough.
    ws::refusal* refusal = nullptr;
    /// Answers 301, 302, 303, 307 and 308 to follow; one more is the error, in http_category(). Where one leads to
    /// another origin (scheme, host, port) user and password of the URL, `cookies`, and Authorization, Cookie and
    /// Proxy-Authorization of `headers` are left out from then on. http: and https: count as ws: and wss:.
    std::uint32_t max_redirects = 0;
    /// Lets a redirect lead from wss: to ws:.
    bool insecure_redirects = false;
    /// Uses the proxy that the environment names: https_proxy for wss:, http_proxy for ws:, else all_proxy, unless
    /// no_proxy names the host; then the same in capitals. Not so where `proxy` is set.
    bool proxy_from_environment = false;
    /// `http://[user:password@]host[:port]`, for CONNECT, the same with https:, or `socks5://...` (also socks5h://);
    /// empty for none. Names are looked up by the proxy. Unix sockets need none.
    std::string_view proxy = {};
    /// For an https: proxy, as `tls` is for the server.
    tls::context const* proxy_tls = nullptr;
    std::uint32_t max_head = 16 * 1024;
    std::uint32_t max_fields = 100;

    /// Compression: offered to the server unless `.deflate = {}`.
    deflate_options deflate = {.on = true};

    // Limits and times of the connection. All are on by default; 0 turns one off.
    std::size_t max_message = 1 << 20;                       ///< bytes of a message, when decompressed; else 1009
    std::size_t max_frame = 1 << 20;                         ///< bytes of a frame, as it comes; likewise
    std::uint32_t max_fragments = 1024;                      ///< frames of a message, empty ones included; 1008
    std::size_t send_limit = 1 << 20;                        ///< bytes queued before write() waits, post() says full
    std::size_t read_limit = 64 * 1024;                      ///< bytes received and unread before receiving pauses
    duration handshake_timeout = std::chrono::seconds(10);   ///< for all of the opening handshake, connecting included
    duration ping_interval = std::chrono::seconds(20);       ///< of silence before a keep-alive ping
    duration pong_timeout = std::chrono::seconds(20);        ///< for the answer to one, from when it has been sent
    duration idle_timeout = std::chrono::seconds(60);        ///< without receiving anything, pongs included
    duration frame_timeout = std::chrono::seconds(60);       ///< for the rest of a frame begun, or the next 64 KiB of it
    duration close_timeout = std::chrono::seconds(5);        ///< for the peer's close frame, and its end of the stream
};

static_assert(std::is_trivially_destructible_v<write_options>);
static_assert(std::is_trivially_destructible_v<deflate_options>);
static_assert(std::is_trivially_destructible_v<upgrade_options>, "g++ 12 destroys such temporaries twice");
static_assert(std::is_trivially_destructible_v<connect_options>, "g++ 12 destroys such temporaries twice");

/// An open WebSocket connection, of either role. Movable; belongs to its loop, like the stream it was made of.
///
/// One coroutine reads; any number may write, ping and close. Pings are answered, keep-alive pings sent, closes
/// answered and timeouts kept whether or not anybody reads. Frames written in one turn of the loop leave in one send.
///
/// Destroying a connection that is open closes it: 1000, or 1001 where the loop has been asked to stop, or 1011
/// where an exception is under way. The close handshake then goes on in the background, and run() waits for it. No
/// operation may be pending. A connection that was moved from may only be destroyed or assigned to.
class connection
{
public:
    connection(connection&&) noexcept;
    /// Exchanges the two: what this one was goes with `other`.
    connection& operator=(connection&& other) noexcept;
    ~connection();

    class read_frame_operation;
    class read_operation;
    class write_operation;
    class ping_operation;
    class close_operation;

    /// Completes with the next data frame; its payload is valid until the next read on this connection. Errors:
    /// ws::closed after a clean close, what status().error says after any other end, wring::errc::busy where another
    /// coroutine reads. What was received before the end is given first.
    /// A cancel completes it with errc::canceled and loses nothing; one asked for before takes nothing, even where
    /// something is there.
    [[nodiscard]] read_frame_operation read_frame() noexcept;

    /// As read_frame, for a whole message, assembled from its frames. A cancel in the middle of a message loses
    /// nothing: the next read() goes on. After read_frame() has begun a message, gives the rest of it.
    [[nodiscard]] read_operation read() noexcept;

    /// Queues one message and completes; waits first while more than send_limit is queued. That it completes does not
    /// mean that the peer has it. A server's message of 16 KiB or more that was not just read from this connection is
    /// not copied: that write completes when the system has taken it. A single message may exceed send_limit.
    /// The bytes need to live only until the await returns. Text must be UTF-8 (it is not checked). Messages go out
    /// whole, in the order of the calls. Errors as for read; writers that wait when the connection closes get
    /// ws::closed. A cancel while waiting sends nothing; one that comes while a large message goes out only ends the
    /// wait: the message is still sent whole.
    ///
    /// Where it is compressed, that is done at once, and the write never waits for the system to take it.
    [[nodiscard]] write_operation write(std::string_view text, write_options how = {}) noexcept;
    [[nodiscard]] write_operation write(std::span<std::byte const> bytes, write_options how = {}) noexcept;
    [[nodiscard]] write_operation write(message const& m, write_options how = {}) noexcept;

    /// Queues one frame. A frame without `fin` begins a message that the following frames with opcode::continuation,
    /// the last one with `fin`, complete (RFC 6455 section 5.4); other messages wait until then, so a coroutine that
    /// begins another before it ends its first waits for itself. A continuation where no message is open gives
    /// ws::errc::no_message. Otherwise as write. Compressed or not: what a frame says can be read when it has arrived.
    [[nodiscard]] write_operation write_frame(frame const& f, write_options how = {}) noexcept;

    /// Queues a message without copying it, and never waits: see `posted`. An empty shared_message gives `closed`.
    /// While a message in frames is open it waits for its end, and is dropped where the connection closes before.
    posted post(shared_message const& m) noexcept;

    /// Sends a ping; completes when its pong comes, with the time between; a later ping's pong answers it as well (RFC
    /// 6455 section 5.5.3). No time limit of its own: use timeout(). Any number at a time. Errors as for read. A cancel
    /// ends the wait.
    [[nodiscard]] ping_operation ping() noexcept;

    /// Closes (RFC 6455 section 7.1.2): what is queued is sent, then the close frame, and the peer's is awaited for
    /// close_timeout at most, which begins anew with each part of what is queued that goes. Completes without an error
    /// after a clean close, else with how it ended. Data that still comes before the peer's close frame is given to a
    /// coroutine that waits for it, else dropped. Any number of coroutines may close; the first one's code is sent.
    /// A code that may not be sent becomes 1011. `reason` is UTF-8 of at most 123 bytes: longer ones are cut at a
    /// character, others left out. A cancel ends the wait; the close goes on by itself.
    [[nodiscard]] close_operation close(close_code code = close_code::normal, std::string_view reason = {}) noexcept;

    /// Completes when the connection has ended, by whomever: without an error after a clean close, else with how it
    /// ended. Any number at a time, beside a reader or without one. Where nobody reads and read_limit is reached the
    /// end is not seen. A cancel ends the wait.
    [[nodiscard]] close_operation wait_closed() noexcept;

    /// Ends the connection at once, without a close frame; a TCP peer sees a reset. Pending operations end with
    /// ws::closed.
    void abort() noexcept;

    [[nodiscard]] ws::status status() const noexcept;
    [[nodiscard]] bool is_open() const noexcept;
    /// Bytes queued and not yet taken by the system; those of writers and posts that wait are not among them.
    [[nodiscard]] std::size_t buffered() const noexcept;
    /// The subprotocol agreed on; empty for none. Valid as long as the connection.
    [[nodiscard]] std::string_view subprotocol() const noexcept;
    /// Whether permessage-deflate was agreed on.
    [[nodiscard]] bool deflates() const noexcept;
    [[nodiscard]] endpoint remote() const;
    [[nodiscard]] endpoint local() const;
    /// What TLS has agreed on and who the peer is (wring/tls.hpp); none without TLS, or once the connection is gone.
    [[nodiscard]] std::optional<tls::info> tls_info() const;

    /// For wring itself.
    explicit connection(detail::connection_core* core) noexcept : core_(core) {}

private:
    detail::connection_core* core_;
};

} // namespace ws

/// Does the server's part of the opening handshake (RFC 6455 section 4.2) on a stream just accepted.
///
/// Completes with the open connection; frames that came with the request are delivered. Otherwise the request has been
/// answered (400, 403, 405, 408, 414, 417, 426, 431, 500, 503, 505, or what a hook said), the stream is closing
/// in the background, and the error says why: one of protocol_category() for a rule that the request broke,
/// ws::errc::forbidden or answered after a hook, handshake_timeout, errc::end_of_stream where the peer left,
/// errc::closed for a stream that is closed or in use, one of tls::error_category(), or the system's. An exception of a
/// hook is answered with 500 and rethrown. The whole is bound by handshake_timeout, and a second for a refusal. A cancel
/// closes the stream unanswered.
task<result<ws::connection>> upgrade(stream peer, ws::upgrade_options options = {});

/// Connects to `url` (`ws://[user:password@]host[:port]/path?query`, `wss://...` with TLS, and
/// `ws+unix:/path/to.sock:/path`) and does the client's part of the opening handshake (RFC 6455 section 4.1). With TLS
/// the server's certificate must be for that host. User and password are sent as Basic credentials (RFC
/// 7617), unless `headers` have an Authorization. The path of a socket is taken as it stands, without percent-decoding.
///
/// The answer is checked in full. Errors: http_category() with the status of a server that refuses (what it says
/// besides: connect_options::refusal), proxy_category() for a proxy, protocol_category() for a bad URL, argument or
/// answer, tls::error_category() for what TLS does not accept, ws::errc::handshake_timeout, errc::host_not_found, or
/// the system's. A cancel ends it at any point.
task<result<ws::connection>> connect(std::string url, ws::connect_options options = {});

/// The same on a stream that is connected already: an in-memory one in a test, a tunnel. The stream is used up,
/// whatever comes of it. No redirect is followed, and no proxy asked.
task<result<ws::connection>> connect_over(stream peer, std::string url, ws::connect_options options = {});

// ---- operations ----------------------------------------------------------------------------------------------------

namespace detail {

/// What pinging and closing operations share.
class connection_operation : protected suspension
{
public:
    bool await_ready() const noexcept { return false; }

protected:
    explicit connection_operation(connection_core& core) noexcept : core_(&core) {}
    connection_core* core_;
    std::error_code error_;

    friend connection_core;
};

/// A coroutine that waits for data. It lies in the frame of every idle connection's session, so it is kept small.
class reading_operation : protected suspension
{
public:
    bool await_ready() const noexcept { return false; }
    template <coroutine_promise P>
    bool await_suspend(std::coroutine_handle<P> h) noexcept
    {
        return start(h, h.promise().env);
    }

protected:
    enum class outcome : std::uint8_t { data, busy, canceled, ended };

    reading_operation(connection_core& core, bool whole) noexcept : core_(&core), whole_(whole) {}
    bool start(std::coroutine_handle<> h, context const& env) noexcept;
    void resumed() noexcept
    {
        if (waited_)
            go_on();
    }
    void go_on() noexcept;
    [[nodiscard]] std::error_code error() const noexcept;

    void give(ws::opcode op, bool fin, std::span<std::byte const> payload) noexcept
    {
        payload_ = payload;
        op_ = op;
        fin_ = fin;
    }

    connection_core* core_;
    std::span<std::byte const> payload_;
    ws::opcode op_ = ws::opcode::binary;
    bool fin_ = true;
    outcome outcome_ = outcome::data;
    bool whole_;          ///< a message, not a frame
    bool waited_ = false; ///< as the connection's reader, which it is until it runs again

    friend connection_core;
};

} // namespace detail

class [[nodiscard]] ws::connection::read_frame_operation : public detail::reading_operation
{
public:
    explicit read_frame_operation(detail::connection_core& core) noexcept : reading_operation(core, false) {}
    result<frame> await_resume() noexcept
    {
        resumed();
        if (outcome_ != outcome::data)
            return error();
        return frame{op_, fin_, payload_};
    }
};

class [[nodiscard]] ws::connection::read_operation : public detail::reading_operation
{
public:
    explicit read_operation(detail::connection_core& core) noexcept : reading_operation(core, true) {}
    result<message> await_resume() noexcept
    {
        resumed();
        if (outcome_ != outcome::data)
            return error();
        return message{op_ == opcode::text, payload_};
    }
};

class [[nodiscard]] ws::connection::write_operation
{
public:
    write_operation(detail::connection_core& core, opcode op, bool fin, write_options how,
                    std::span<std::byte const> payload) noexcept :
        core_(&core), payload_(payload), op_(op), fin_(fin), compress_(how.compress)
    {}
    write_operation(write_operation&& other) noexcept : // before it is awaited
        core_(other.core_), payload_(other.payload_), op_(other.op_), fin_(other.fin_), compress_(other.compress_)
    {}
    ~write_operation()
    {
        if (waiter_)
            detail::fatal("wring: a coroutine was destroyed while it writes; children must end before their parents");
    }
    bool await_ready() const noexcept { return false; }
    template <detail::coroutine_promise P>
    bool await_suspend(std::coroutine_handle<P> h) noexcept
    {
        return start(h, h.promise().env);
    }
    result<> await_resume() noexcept
    {
        if (outcome_ == outcome::queued)
            return {};
        return finish();
    }

private:
    friend detail::connection_core;
    enum class outcome : std::uint8_t { queued, waited, ended, no_message };
    bool start(std::coroutine_handle<> h, detail::context const& env) noexcept;
    result<> finish() noexcept;
    detail::connection_core* core_;
    detail::write_waiter* waiter_ = nullptr; // only where it has to wait, which is rare
    std::span<std::byte const> payload_;
    opcode op_;
    bool fin_;
    bool compress_;
    outcome outcome_ = outcome::queued;
};

class [[nodiscard]] ws::connection::ping_operation : public detail::connection_operation
{
public:
    explicit ping_operation(detail::connection_core& core) noexcept : connection_operation(core) {}
    template <detail::coroutine_promise P>
    bool await_suspend(std::coroutine_handle<P> h) noexcept
    {
        return start(h, h.promise().env);
    }
    result<duration> await_resume() const noexcept
    {
        if (error_)
            return error_;
        return round_trip_;
    }

private:
    friend detail::connection_core;
    bool start(std::coroutine_handle<> h, detail::context const& env) noexcept;
    std::uint32_t id_ = 0;
    clock::time_point sent_;
    duration round_trip_{};
    ping_operation* next_ = nullptr;
};

class [[nodiscard]] ws::connection::close_operation : public detail::connection_operation
{
public:
    close_operation(detail::connection_core& core, close_code code, std::string_view reason) noexcept :
        connection_operation(core), code_(code), reason_(reason)
    {}
    /// Only waits.
    explicit close_operation(detail::connection_core& core) noexcept : connection_operation(core), closes_(false) {}
    template <detail::coroutine_promise P>
    bool await_suspend(std::coroutine_handle<P> h) noexcept
    {
        return start(h, h.promise().env);
    }
    result<> await_resume() const noexcept { return error_; }

private:
    friend detail::connection_core;
    bool start(std::coroutine_handle<> h, detail::context const& env) noexcept;
    close_code code_ = close_code::no_status;
    std::string_view reason_;
    bool closes_ = true;
    close_operation* next_ = nullptr;
};

// Here, as every frame passes them.

inline ws::connection::read_frame_operation ws::connection::read_frame() noexcept
{
    return read_frame_operation(*core_);
}

inline ws::connection::read_operation ws::connection::read() noexcept
{
    return read_operation(*core_);
}

inline ws::connection::write_operation ws::connection::write(std::string_view text, write_options how) noexcept
{
    return {*core_, opcode::text, true, how, std::as_bytes(std::span(text))};
}

inline ws::connection::write_operation ws::connection::write(std::span<std::byte const> bytes, write_options how) noexcept
{
    return {*core_, opcode::binary, true, how, bytes};
}

inline ws::connection::write_operation ws::connection::write(message const& m, write_options how) noexcept
{
    return {*core_, m.is_text ? opcode::text : opcode::binary, true, how, m.payload};
}

inline ws::connection::write_operation ws::connection::write_frame(frame const& f, write_options how) noexcept
{
    return {*core_, f.op, f.fin, how, f.payload};
}

} // namespace wring

template <>
struct std::is_error_code_enum<wring::ws::errc> : std::true_type
{};
