// SPDX-License-Identifier: BSL-1.0
// The inside of a WebSocket connection: joins the protocol (proto/) to a transport (net/). Its parts: read_path.cpp,
// write_path.cpp, and lifecycle.cpp for closing, keep-alive and the end.
#pragma once

#include "net/transport.hpp"
#include "proto/session.hpp"
#include "ws/assembly.hpp"
#include "ws/deflate.hpp"
#include "ws/send_queue.hpp"

#include <wring/timeout.hpp>
#include <wring/ws.hpp>

#include <array>

namespace wring::detail {

/// What upgrade_options and connect_options have in common, as a connection keeps it.
struct connection_settings
{
    template <class Options>
    explicit connection_settings(Options const& o) noexcept :
        limits{o.max_frame, o.max_message, o.max_fragments}, deflate(o.deflate), send_limit(o.send_limit),
        read_limit(o.read_limit), ping_interval(o.ping_interval), pong_timeout(o.pong_timeout),
        idle_timeout(o.idle_timeout), frame_timeout(o.frame_timeout), close_timeout(o.close_timeout)
    {}

    proto::limits limits;
    ws::deflate_options deflate;
    std::size_t send_limit;
    std::size_t read_limit;
    duration ping_interval;
    duration pong_timeout;
    duration idle_timeout;
    duration frame_timeout;
    duration close_timeout;

    bool operator==(connection_settings const&) const = default;
};

/// Settings as the connections of a loop share them: those made with the same options one after another have one copy.
class shared_settings
{
public:
    /// Throws std::bad_alloc.
    explicit shared_settings(connection_settings const& values);
    shared_settings(shared_settings const&) = delete;
    shared_settings& operator=(shared_settings const&) = delete;
    ~shared_settings() { drop(copy_); }
    connection_settings const* operator->() const noexcept { return &copy_->values; }

private:
    struct counted
    {
        connection_settings values;
        std::size_t users;
    };
    static void drop(counted* copy) noexcept
    {
        if (copy && --copy->users == 0)
            delete copy;
    }
    counted* copy_;
};

/// A time that a wait of `d` from `t` ends; never beyond what the clock can say.
[[nodiscard]] inline clock::time_point later(clock::time_point t, duration d) noexcept
{
    return d >= clock::time_point::max() - t ? clock::time_point::max() : t + d;
}

class connection_core final : transport_user, timer_node, turn_end
{
public:
    using reading = reading_operation;
    using pinging = ws::connection::ping_operation;
    using closing = ws::connection::close_operation;

    /// Bytes already received with the handshake are in the transport's inbound queue.
    connection_core(transport_ptr t, proto::role role, connection_settings const& settings, std::string subprotocol,
                    deflate_agreement agreed = {});

    bool start(reading& op, std::coroutine_handle<> h, context const& env) noexcept;
    bool start(ws::connection::write_operation& op, std::coroutine_handle<> h, context const& env) noexcept;
    bool start(pinging& op, std::coroutine_handle<> h, context const& env) noexcept;
    bool start(closing& op, std::coroutine_handle<> h, context const& env) noexcept;
    /// The coroutine that waited for data runs again, and has what it was given.
    void reader_goes_on() noexcept
    {
        reader_ = nullptr;
        reader_served_ = false;
    }

    /// Why a write that has not waited failed.
    [[nodiscard]] std::error_code write_error(ws::connection::write_operation const& op) const noexcept;

    ws::posted post(ws::shared_message const& m) noexcept;
    void abort() noexcept;
    /// The owner is gone: closes where that has not begun, and deletes itself at the end of it.
    void orphan() noexcept;

    [[nodiscard]] ws::status status() const noexcept;
    /// What reading and writing give when it is over; no error while it is not.
    [[nodiscard]] std::error_code end() const noexcept { return end_; }
    [[nodiscard]] bool is_open() const noexcept { return phase_ == phase::open; }
    [[nodiscard]] std::size_t buffered() const noexcept { return work_ ? work_->queue.size() : 0; }
    [[nodiscard]] bool deflates() const noexcept { return static_cast<bool>(agreed_); }
    void on_deflate_timer() noexcept;
    [[nodiscard]] std::string_view subprotocol() const noexcept
    {
        return extras_ ? std::string_view(extras_->subprotocol) : std::string_view();
    }
    [[nodiscard]] endpoint remote() const { return transport_ ? transport_->remote() : endpoint(); }
    [[nodiscard]] endpoint local() const { return transport_ ? transport_->local() : endpoint(); }
    [[nodiscard]] tls_session const* tls() const noexcept { return transport_ ? transport_->tls() : nullptr; }

private:
    enum class phase : std::uint8_t {
        open,
        closing,  // our close frame is queued or sent; the peer's is awaited
        draining, // nothing more is wanted of the peer but its end of the stream; what is queued is sent
        dead,     // the transport is gone
    };

    /// What a frame on its way out is made of.
    struct parts
    {
        proto::opcode op;
        bool fin;
        bool rsv1;
        std::span<std::byte const> payload;
    };

    /// Data received and parsed before anybody asked for it.
    struct piece
    {
        piece* next = nullptr;
        engine::block_ref block; // that `payload` lies in
        std::span<std::byte const> payload;
        ws::opcode op = ws::opcode::binary; // of the message
        bool frame_end = false;
        bool message_start = false; // the first piece of the message
        bool message_end = false;
        bool large_frame = false; // larger than what read_frame() gives in one piece
    };

    /// What a connection has in hand. An idle one has none of it: it is borrowed from the loop's free lists, and given
    /// back at the end of a turn that leaves nothing in it.
    struct work
    {
        work(proto::role self, proto::limits const& limits, bool compressed) noexcept : session(self, limits, compressed) {}
        ~work();
        static void* operator new(std::size_t size) { return frame_allocate(size); }
        static void operator delete(void* memory, std::size_t size) noexcept { frame_deallocate(memory, size); }
        [[nodiscard]] bool empty() const noexcept;
        void drop_pieces() noexcept;

        proto::session session;

        // reading
        engine::block_ref view;  // what the reader was given lies in it
        engine::block_ref ahead; // small pieces are put together here
        detail::assembly assembly;
        piece* pieces_head = nullptr;
        piece* pieces_tail = nullptr;
        std::size_t unread = 0; // bytes of the pieces, and what they cost
        ws::opcode assembly_op = ws::opcode::binary;
        bool assembly_given = false;  // to the reader: it is dropped by the next read
        bool assembly_starts = false; // what is assembled began its message

        // writing
        std::uint32_t pong_left = 0;     // bytes to send until the last pong in the queue is out; 0: there is none
        std::uint32_t ping_left = 0;     // the same of a keep-alive ping that has to wait
        std::uint32_t waiting_posts = 0; // what the posted messages cost that wait for their turn
        send_queue queue;
        queued_write* waiting_head = nullptr;
        queued_write* waiting_tail = nullptr;
    };

    /// Rarely needed, so not part of every connection.
    struct extras
    {
        struct last_call : stop_callback // the loop's, for when the drain has lasted too long
        {
            connection_core* core = nullptr;
        };
        std::string subprotocol;
        std::string reason;       // of the close
        pinging* pings = nullptr; // that wait, oldest first
        closing* closers = nullptr;
        last_call give_up;
        std::array<std::byte, proto::max_control_payload> pong; // the payload of the one for which there was no room
        std::unique_ptr<deflate_state> deflate;
        clock::time_point frame_from;   // since when the rest of a frame is awaited
        std::uint64_t frame_before = 0; // what of it was there then
        bool frame_awaited = false;
    };

    ~connection_core();

    // transport_user, turn_end, timer_node
    void on_readable() noexcept override;
    void on_sent(ssize_t result) noexcept override;
    void at_turn_end() noexcept;
    void give_back() noexcept;
    void on_timer() noexcept;
    void want_turn_end() noexcept { loop_.at_turn_end(*this); }

    work& need_work() { return work_ ? *work_ : make_work(); }
    work& make_work();
    [[nodiscard]] bool have_work() noexcept;
    [[nodiscard]] bool sends_message() const noexcept { return work_ && work_->session.sending_message(); }
    [[nodiscard]] bool receives_compressed() const noexcept { return work_ && work_->session.receiving_compressed(); }
    [[nodiscard]] std::uint64_t frame_remaining() const noexcept
    {
        return work_ ? work_->session.frame_remaining() : 0;
    }

    // read_path.cpp
    [[nodiscard]] bool complete(reading& op) noexcept;
    [[nodiscard]] bool nothing_under_way() const noexcept;
    [[nodiscard]] bool take_whole(reading& op, engine::block& first) noexcept;
    [[nodiscard]] bool complete_frame(reading& op);
    [[nodiscard]] bool complete_message(reading& op);
    void assemble(piece const& p, std::size_t n);
    [[nodiscard]] bool reader_waits() const noexcept { return reader_ && !reader_served_; }
    void settle_reader() noexcept;
    void receive_rest(reading const& op) noexcept;
    void serve_reader() noexcept;
    void cancel(reading& op) noexcept;
    [[nodiscard]] bool next_piece(piece& out) { return work_->pieces_head ? next_kept(out), true : pull(out, true); }
    void next_kept(piece& out);
    [[nodiscard]] bool pull(piece& out, bool wanted);
    [[gnu::cold]] void trace_received(proto::event const& e) const noexcept;
    void put_back(piece&& p);
    void parse_ahead() noexcept;
    void keep(piece&& p);
    void listen_again() noexcept;
    void received_pong(std::span<std::byte const> payload) noexcept;

    // write_path.cpp
    [[nodiscard]] bool complete_next_turn(ws::connection::write_operation& op, outgoing_frame const& frame,
                                          std::coroutine_handle<> h, context const& env) noexcept;
    [[nodiscard]] bool start_otherwise(ws::connection::write_operation& op, std::coroutine_handle<> h,
                                       context const& env) noexcept;
    [[nodiscard]] bool may_queue(ws::opcode op) const noexcept;
    void wait_for_turn(write_waiter& w) noexcept;
    void cancel(write_waiter& op) noexcept;
    [[nodiscard]] bool queue_at_once(outgoing_frame const& f);
    [[nodiscard]] engine::block_ref holder_of(std::span<std::byte const> bytes) const noexcept;
    parts begin_frame(outgoing_frame const& f) noexcept;
    template <class Keeper>
    void queue_reference(parts const& f, proto::mask_key key, Keeper&& keeper);
    [[gnu::cold]] void trace_sent(parts const& f) const noexcept;
    void copy_frame(proto::opcode op, bool fin, bool rsv1, bool client, std::byte const* payload, std::size_t size);
    void queue_frame(parts const& f);
    void queue_control(proto::opcode op, std::span<std::byte const> payload);
    [[nodiscard]] shared_form form_of(ws::shared_message::representation& message) const noexcept;
    void queue_shared(ws::shared_message const& m, shared_form const& form);
    [[nodiscard]] bool queue_place(broadcast& all, ws::shared_message const& m, shared_form const& form);
    void answer_ping(std::span<std::byte const> payload);
    void queue_pending_pong() noexcept;
    void queue_waiting() noexcept;
    void take_over_leaving() noexcept;
    void flush() noexcept;
    template <std::size_t Pieces>
    ssize_t send_some() noexcept;
    void consume(std::size_t n) noexcept;
    void send_failed(int error) noexcept;
    void fail_writers() noexcept;

    // deflate.cpp
    [[nodiscard]] deflate_state* deflate() const noexcept { return extras_ ? extras_->deflate.get() : nullptr; }
    deflate_state& need_deflate();
    void drop_deflate() noexcept;
    void drop_unused_deflate() noexcept;
    [[nodiscard]] proto::deflate_shape deflate_shape() const noexcept;
    void start_inflating(proto::event const& e, engine::block_ref block);
    [[nodiscard]] bool may_inflate() noexcept;
    [[nodiscard]] bool inflate(piece& out);
    void forget_inflated() noexcept;
    [[nodiscard]] bool compresses(outgoing_frame const& f) const noexcept;
    [[nodiscard]] bool queue_compressed(outgoing_frame const& f);
    void arm_idle_deflate() noexcept;

    // lifecycle.cpp
    void begin_close(ws::close_code code, std::string_view reason) noexcept;
    void queue_close(ws::close_code code, std::string_view reason) noexcept;
    void received_close(proto::event const& e) noexcept;
    void fail(std::error_code error, ws::close_code code, std::string_view reason) noexcept;
    void violated(proto::errc rule) noexcept;
    void fail_with_no_memory() noexcept;
    void drain(std::error_code end) noexcept;
    void lose(std::error_code error, bool reset) noexcept;
    void let_go() noexcept;
    void wake_waiters() noexcept;
    void send_keepalive_ping() noexcept;
    [[nodiscard]] clock::time_point pong_due() const noexcept;
    void await_frame();
    void frame_came() noexcept
    {
        if (extras_)
            extras_->frame_awaited = false;
    }
    [[nodiscard]] bool frame_is_late(clock::time_point now) noexcept;
    void arm_keepalive() noexcept;
    void arm_close() noexcept;
    [[nodiscard]] bool awaits_pong() const noexcept
    {
        return keepalive_id_ != 0 && settings_->pong_timeout > duration::zero();
    }
    void note_ending(ws::close_code code, std::string_view reason, bool by_peer) noexcept;
    extras& need_extras();

    // Small things of all the parts below, first and together: so they take little room.
    phase phase_ = phase::open;
    std::uint8_t pong_size_ = 0;
    bool writable_ = false;       // an engine that only waits said so: the next send must not wait again
    bool paused_ = false;         // receiving
    bool direct_ = false;         // ... rests in favour of receive_rest()
    bool shut_down_ = false;
    bool has_pong_ : 1 = false;
    bool sending_ : 1 = false;
    bool reader_served_ : 1 = false;   // and has not run yet
    bool closed_by_peer_ : 1 = false;
    bool orphaned_ : 1 = false;
    bool reset_ : 1 = false;
    bool client_ : 1;
    ws::close_code code_ = ws::close_code::no_status;
    deflate_agreement agreed_;
    std::uint16_t inflated_ = 0; // in this turn, in units: see deflate.cpp

    loop_core& loop_;
    transport_ptr transport_;
    shared_settings settings_;
    reading* reader_ = nullptr;
    std::unique_ptr<work> work_;

    // pings
    clock::time_point keepalive_sent_;
    std::uint32_t keepalive_id_ = 0; // of the keep-alive ping that awaits its answer; 0: none
    std::uint32_t ping_ids_ = 0;
    std::chrono::duration<std::uint32_t, std::micro> round_trip_{}; // of the last answered ping
    clock::time_point last_received_; // or another sign of life

    // ending
    std::error_code end_; // what reading and writing give when it is over
    std::unique_ptr<extras> extras_;
};

} // namespace wring::detail
