// SPDX-License-Identifier: BSL-1.0
#include <wring/reconnect.hpp>

#include "proto/error.hpp"
#include "ws/backoff.hpp"
#include "ws/random.hpp"

#include <wring/sync.hpp>
#include <wring/timeout.hpp>
#include <wring/tls.hpp>

#include <charconv>
#include <deque>
#include <optional>

namespace wring {

namespace detail {

namespace {

/// How an attempt, and the connection it led to, ended.
struct ending
{
    std::error_code error;
    ws::close_code code = ws::close_code::no_status;
    std::string reason;
    bool lasted = false; // as long as stable_after
};

struct outbox_item
{
    std::string payload;
    bool is_text = false;
    ws::write_options how = {};

    // Messages of no bytes must not be free.
    [[nodiscard]] std::size_t cost() const noexcept { return payload.size() + 64; }
};

/// Seconds of a Retry-After; 0 for a date, or none.
duration retry_after(ws::refusal const& said) noexcept
{
    auto const text = said.field("Retry-After").value_or("");
    unsigned seconds = 0;
    auto const [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
    return error == std::errc{} && end == text.data() + text.size() ? std::chrono::seconds(seconds) : duration::zero();
}

} // namespace

class reconnect_core
{
public:
    reconnect_core(std::string url, ws::reconnect_options const& options) :
        url_(std::move(url)), options_(options), delays_(options.min_delay, options.max_delay, options.factor)
    {
        if (!options_.connect.refusal)
            options_.connect.refusal = &refusal_;
    }
    reconnect_core(reconnect_core const&) = delete;
    reconnect_core& operator=(reconnect_core const&) = delete;
    ~reconnect_core()
    {
        if (running_)
            fatal("wring: a reconnecting_client was destroyed while its run() goes on; children must end before their "
                  "parents");
    }

    task<> run();
    task<result<ws::message>> read();
    task<result<>> write(std::span<std::byte const> bytes, bool is_text, ws::write_options how);
    task<result<>> close(ws::close_code code, std::string_view reason);

    [[nodiscard]] ws::client_state state() const noexcept { return state_; }
    [[nodiscard]] std::error_code error() const noexcept { return error_; }
    [[nodiscard]] std::size_t queued() const noexcept { return outbox_.size() + (sending_ ? 1 : 0); }
    [[nodiscard]] std::uint64_t dropped() const noexcept { return dropped_; }

private:
    using shared_connection = std::shared_ptr<ws::connection>; // those who read from one keep it

    /// A writer that waits for room.
    struct [[nodiscard]] room_operation : wait_list::node
    {
        room_operation(reconnect_core& c, outbox_item i) noexcept : core(c), item(std::move(i)) {}
        bool await_ready() const noexcept { return false; }
        template <coroutine_promise P>
        void await_suspend(std::coroutine_handle<P> h) noexcept
        {
            core.writers_.add(*this);
            suspend(h, [](detail::suspension& s) noexcept { node::cancel(s); });
        }
        result<> await_resume() const noexcept { return canceled ? result<>(errc::canceled) : result<>(error); }

        reconnect_core& core;
        outbox_item item;
        std::error_code error;
    };

    task<ending> attempt();
    task<> pump(ws::connection& ws);
    task<> pause(duration delay, ending const& last);
    void tell(ws::client_state state, ending const& how = {}, duration delay = {});
    [[nodiscard]] bool is_final(ending const& how) const;
    void finish() noexcept;

    [[nodiscard]] bool fits(outbox_item const& item) const noexcept
    {
        return outbox_size_ == 0 || outbox_size_ + item.cost() <= options_.outbox_limit;
    }
    void put(outbox_item item)
    {
        auto const cost = item.cost();
        outbox_.push_back(std::move(item));
        outbox_size_ += cost;
        changed_.set();
    }
    void admit_writers();
    void refuse_writers(std::error_code error) noexcept;

    std::string url_;
    ws::reconnect_options options_;
    ws::refusal refusal_; // unless the application wants it
    backoff delays_;
    std::uint32_t failures_ = 0;
    ws::client_state state_ = ws::client_state::idle;
    std::error_code error_; // why it is over
    stop_state* stop_ = nullptr; // of what run() does
    bool running_ = false;
    bool open_ = false; // the outbox is being sent
    bool closing_ = false;
    ws::close_code close_code_ = ws::close_code::normal;
    std::string close_reason_;
    event over_;

    std::deque<outbox_item> outbox_;
    std::optional<outbox_item> sending_; // the first, while a connection takes it
    std::size_t outbox_size_ = 0;        // what these cost
    std::uint64_t dropped_ = 0;
    wait_list writers_;
    event changed_; // something in the outbox, or close()

    std::deque<shared_connection> sources_; // to read from, oldest first
    shared_connection viewed_;              // that the last message lies in
    event arrival_;                         // of a source, or the end
    bool reading_ = false;
};

void reconnect_core::tell(ws::client_state state, ending const& how, duration delay)
{
    state_ = state;
    if (options_.on_change)
        options_.on_change({state, how.error, how.code, how.reason, delay, failures_});
}

bool reconnect_core::is_final(ending const& how) const
{
    bool const exhausted = options_.max_failures != 0 && failures_ >= options_.max_failures;
    if (exhausted)
        return true;
    return options_.is_final ? options_.is_final(how.error, how.code)
                             : ws::reconnecting_client::is_final(how.error, how.code);
}

task<> reconnect_core::run()
{
    if (running_ || over_.is_set())
        fatal("wring: run() of a reconnecting_client was called twice");
    struct ended
    {
        ~ended() { core.finish(); }
        reconnect_core& core;
    } const guard{*this};
    running_ = true;
    own_stop own(co_await get_context());
    stop_ = &own.stop;

    ending last;
    while (!closing_ && !own.stop.requested()) {
        tell(ws::client_state::connecting);
        last = co_await attempt();
        if (closing_ || own.stop.requested())
            break;
        if (last.lasted) {
            delays_.reset();
            failures_ = 0;
        } else {
            ++failures_;
        }
        if (is_final(last)) {
            error_ = last.error;
            break;
        }
        std::uint64_t random = 0;
        random_bytes(std::as_writable_bytes(std::span(&random, 1)));
        auto const asked = std::min(retry_after(*options_.connect.refusal), options_.max_delay);
        auto const delay = std::max(delays_.next(random), asked);
        co_await pause(delay, last);
    }
    if (!error_) {
        error_ = closing_ ? make_error_code(ws::closed) : make_error_code(errc::canceled);
        if (last.error != ws::closed)
            last = {};
        last.error = error_;
    }
    tell(ws::client_state::ended, last);
}

task<> reconnect_core::pause(duration delay, ending const& last)
{
    tell(ws::client_state::waiting, last, delay);
    auto const slept = co_await sleep_for(delay);
    (void)slept; // canceled: run() looks itself
}

// The end of run(), by whatever way.
void reconnect_core::finish() noexcept
{
    running_ = false;
    stop_ = nullptr;
    state_ = ws::client_state::ended;
    if (!error_) // an exception
        error_ = errc::closed;
    for (auto const& source : sources_)
        if (source->is_open()) // the same
            source->abort();
    sending_.reset();
    outbox_.clear();
    outbox_size_ = 0;
    refuse_writers(error_);
    over_.set();
    arrival_.set();
}

task<ending> reconnect_core::attempt()
{
    auto made = co_await connect(url_, options_.connect);
    ending how;
    if (!made) {
        how.error = made.error();
        co_return how;
    }
    auto const ws = std::make_shared<ws::connection>(std::move(*made));
    auto const since = clock::now();
    tell(ws::client_state::open);

    std::error_code unready;
    if (options_.on_open) {
        auto const ready = co_await options_.on_open(*ws);
        unready = ready.error();
    }
    if (!unready && ws->is_open() && !closing_) {
        while (sources_.size() > 1)
            sources_.pop_front(); // nobody reads
        sources_.push_back(ws);
        arrival_.set();
        open_ = true;
        co_await when_any(pump(*ws), ws->wait_closed());
        open_ = false;
    }

    // Where it is open still: a close or a cancel from outside, or on_open's error.
    if (ws->is_open()) {
        auto code = closing_ ? close_code_ : ws::close_code::normal;
        if (!closing_ && this_loop().stopping())
            code = ws::close_code::going_away;
        auto const closed = co_await ws->close(code, close_reason_);
        (void)closed; // how it went is in its status
    }
    auto const s = ws->status();
    how.error = unready ? unready : s.error;
    how.code = s.code;
    how.reason = s.reason;
    how.lasted = !unready && clock::now() - since >= options_.stable_after;
    co_return how;
}

// Sends what is in the outbox, until the connection ends or has been closed.
task<> reconnect_core::pump(ws::connection& ws)
{
    for (;;) {
        while (!outbox_.empty()) {
            auto& item = sending_.emplace(std::move(outbox_.front()));
            outbox_.pop_front();
            auto sent = item.is_text ? ws.write(std::string_view(item.payload), item.how)
                                     : ws.write(std::as_bytes(std::span(item.payload)), item.how);
            auto const taken = co_await sent;
            if (!taken) { // not a byte of it has gone
                outbox_.push_front(std::move(item));
                sending_.reset();
                co_return;
            }
            outbox_size_ -= item.cost();
            sending_.reset();
            admit_writers();
        }
        if (closing_) {
            auto const closed = co_await ws.close(close_code_, close_reason_);
            (void)closed;
            co_return;
        }
        changed_.reset();
        auto const more = co_await changed_.wait();
        if (!more)
            co_return;
    }
}

void reconnect_core::admit_writers()
{
    while (auto* const first = static_cast<room_operation*>(writers_.front())) {
        if (!fits(first->item))
            break;
        put(std::move(first->item));
        writers_.take()->wake();
    }
}

void reconnect_core::refuse_writers(std::error_code error) noexcept
{
    while (auto* const one = static_cast<room_operation*>(writers_.take())) {
        one->error = error;
        one->wake();
    }
}

task<result<ws::message>> reconnect_core::read()
{
    if (reading_)
        co_return errc::busy;
    struct done
    {
        ~done() { core.reading_ = false; }
        reconnect_core& core;
    } const guard{*this};
    reading_ = true;
    viewed_.reset();
    for (;;) {
        if (co_await stop_requested())
            co_return errc::canceled;
        if (!sources_.empty()) {
            auto const from = sources_.front();
            auto const m = co_await from->read();
            if (m)
                viewed_ = from;
            if (m || m.error() == errc::canceled || m.error() == errc::busy)
                co_return m;
            if (!sources_.empty() && sources_.front() == from)
                sources_.pop_front(); // it has given all it had
            continue;
        }
        if (over_.is_set())
            co_return error_;
        arrival_.reset();
        auto const arrived = co_await arrival_.wait();
        if (!arrived)
            co_return arrived.error();
    }
}

task<result<>> reconnect_core::write(std::span<std::byte const> bytes, bool is_text, ws::write_options how)
{
    if (over_.is_set())
        co_return error_;
    if (closing_)
        co_return ws::closed;
    outbox_item item{std::string(reinterpret_cast<char const*>(bytes.data()), bytes.size()), is_text, how};
    if (!writers_.empty() || !fits(item)) {
        switch (options_.when_full) {
        case ws::outbox_policy::wait: {
            room_operation room(*this, std::move(item));
            auto const admitted = co_await room;
            co_return admitted;
        }
        case ws::outbox_policy::drop_oldest:
            while (!outbox_.empty() && !fits(item)) {
                outbox_size_ -= outbox_.front().cost();
                outbox_.pop_front();
                ++dropped_;
            }
            break;
        case ws::outbox_policy::drop_newest: ++dropped_; co_return {};
        case ws::outbox_policy::fail: co_return ws::errc::outbox_full;
        }
    }
    put(std::move(item));
    co_return {};
}

task<result<>> reconnect_core::close(ws::close_code code, std::string_view reason)
{
    if (!closing_ && !over_.is_set()) {
        closing_ = true;
        close_code_ = code;
        close_reason_ = reason;
        refuse_writers(ws::closed);
        changed_.set();
        if (stop_ && !open_)
            stop_->request();
    }
    if (!running_) // not yet, or no more
        co_return {};
    auto const ended = co_await over_.wait();
    co_return ended;
}

} // namespace detail

namespace ws {

char const* to_string(client_state s) noexcept
{
    switch (s) {
    case client_state::idle: return "idle";
    case client_state::connecting: return "connecting";
    case client_state::open: return "open";
    case client_state::waiting: return "waiting";
    case client_state::ended: return "ended";
    }
    return "?";
}

reconnecting_client::reconnecting_client(std::string url, reconnect_options options) :
    core_(std::make_unique<detail::reconnect_core>(std::move(url), options))
{}

reconnecting_client::~reconnecting_client() = default;

task<> reconnecting_client::run()
{
    return core_->run();
}

task<result<message>> reconnecting_client::read()
{
    return core_->read();
}

task<result<>> reconnecting_client::write(std::string_view text, write_options how)
{
    return core_->write(std::as_bytes(std::span(text)), true, how);
}

task<result<>> reconnecting_client::write(std::span<std::byte const> bytes, write_options how)
{
    return core_->write(bytes, false, how);
}

task<result<>> reconnecting_client::write(message const& m, write_options how)
{
    return core_->write(m.payload, m.is_text, how);
}

task<result<>> reconnecting_client::close(close_code code, std::string_view reason)
{
    return core_->close(code, reason);
}

client_state reconnecting_client::state() const noexcept
{
    return core_->state();
}

std::error_code reconnecting_client::error() const noexcept
{
    return core_->error();
}

std::size_t reconnecting_client::queued() const noexcept
{
    return core_->queued();
}

std::uint64_t reconnecting_client::dropped() const noexcept
{
    return core_->dropped();
}

bool reconnecting_client::is_final(std::error_code error, close_code code) noexcept
{
    if (error == ws::closed) {
        switch (code) {
        case close_code::normal:
        case close_code::protocol_error:
        case close_code::unsupported_data:
        case close_code::invalid_payload:
        case close_code::policy_violation:
        case close_code::message_too_big:
        case close_code::missing_extension: return true;
        default: return false;
        }
    }
    auto const& category = error.category();
    auto const value = error.value();
    if (category == http_category())
        return value != 408 && value != 425 && value != 429 && value != 500 && (value < 502 || value > 504);
    if (category == proxy_category())
        return error == std::errc::permission_denied || value == 7 || value == 8;
    if (category == protocol_category())
        return proto::is_argument(static_cast<proto::errc>(value));
    return error == wring::errc::bad_endpoint || error == tls::errc::unusable;
}

} // namespace ws

} // namespace wring
