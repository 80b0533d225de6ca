// SPDX-License-Identifier: BSL-1.0
// A connection's beginning and end: keep-alive, closing, what becomes of it when its owner has gone.
#include "ablation.hpp"
#include "ws/connection_core.hpp"
#include "ws/trace.hpp"

#include <algorithm>
#include <exception>
#include <new>

namespace wring::detail {

[[gnu::noinline]] shared_settings::shared_settings(connection_settings const& values)
{
    static thread_local struct cache
    {
        ~cache() { drop(last); }
        counted* last = nullptr;
    } here;
    if (!here.last || here.last->values != values) {
        auto* const fresh = new counted{values, 1};
        drop(std::exchange(here.last, fresh));
    }
    copy_ = here.last;
    ++copy_->users;
}

namespace {

constexpr std::uint64_t enough_of_a_frame = 64 * 1024; // bytes that have frame_timeout to come

// Takes `op` out of the list of those that wait.
template <class Op>
bool take_out(Op*& first, Op& op, Op* Op::*next) noexcept
{
    for (Op** link = &first; *link; link = &((*link)->*next)) {
        if (*link != &op)
            continue;
        *link = op.*next;
        return true;
    }
    return false;
}

} // namespace

connection_core::extras& connection_core::need_extras()
{
    if (!extras_)
        extras_ = std::make_unique<extras>();
    return *extras_;
}

connection_core::connection_core(transport_ptr t, proto::role role, connection_settings const& settings,
                                 std::string subprotocol, deflate_agreement agreed) :
    client_(role == proto::role::client), agreed_(agreed), loop_(t->loop()), transport_(std::move(t)),
    settings_(settings), last_received_(loop_.now())
{
    need_work();
    if (!subprotocol.empty())
        need_extras().subprotocol = std::move(subprotocol);
    call = [](turn_end& entry) noexcept { static_cast<connection_core&>(entry).at_turn_end(); };
    fire = [](timer_node& node) noexcept { static_cast<connection_core&>(node).on_timer(); };
    loop_.retain();
    transport_->set_user(this);
    transport_->resume_receiving();
    arm_keepalive();
    want_turn_end(); // frames may have come with the handshake
}

connection_core::~connection_core()
{
    engine::timer_wheel::disarm(*this);
    work_.reset();
    loop_.drop();
}

connection_core::work& connection_core::make_work()
{
    work_ = std::make_unique<work>(client_ ? proto::role::client : proto::role::server, settings_->limits,
                                   static_cast<bool>(agreed_));
    return *work_;
}

// ... or the connection is lost: without it no close frame can be sent either.
bool connection_core::have_work() noexcept
{
    try {
        need_work();
    } catch (std::bad_alloc const&) {
        lose(std::make_error_code(std::errc::not_enough_memory), true);
    }
    return work_ != nullptr;
}

connection_core::work::~work()
{
    drop_pieces();
}

void connection_core::work::drop_pieces() noexcept
{
    while (piece* p = pieces_head) {
        pieces_head = p->next;
        p->~piece();
        frame_deallocate(p, sizeof(piece));
    }
    pieces_tail = nullptr;
    ahead.reset();
    unread = 0;
}

bool connection_core::work::empty() const noexcept
{
    return queue.empty() && !view && !pieces_head && assembly.empty() && !waiting_head && session.idle();
}

void connection_core::at_turn_end() noexcept
{
    settle_reader();
    if (!reader_waits() && work_)
        parse_ahead();
    if (direct_ && transport_ && transport_->rests()) { // nobody has gone on with it
        direct_ = false;
        if (!paused_)
            transport_->resume_receiving();
    }
    flush();
    if (phase_ == phase::draining || phase_ == phase::dead)
        drop_deflate();
    if (!queued)
        forget_inflated();
    if (work_ && phase_ == phase::open)
        give_back();
    if (orphaned_ && !transport_ && !queued)
        delete this;
}

// What is not needed until something comes.
void connection_core::give_back() noexcept
{
    auto& inbound = transport_->inbound();
    bool const goes_on = !with::borrowed_work || sending_ || paused_ || direct_ || (deflate() && deflate()->input_waits);
    if (!goes_on && inbound.empty() && work_->empty())
        work_.reset();
    else
        inbound.shrink(loop_.blocks()); // a part of a header, or of a control frame, of a peer that may be slow
}

// ---- keep-alive ----------------------------------------------------------------------------------------------------

// A peer that is in the middle of a large frame can't answer between: its bytes count as well.
clock::time_point connection_core::pong_due() const noexcept
{
    auto const from = frame_remaining() > 0 ? std::max(keepalive_sent_, last_received_) : keepalive_sent_;
    return later(from, settings_->pong_timeout);
}

// Here is a part of a frame, perhaps only of its header. Called again and again until frame_came().
void connection_core::await_frame()
{
    if (settings_->frame_timeout <= duration::zero() || phase_ != phase::open)
        return;
    auto& x = need_extras();
    if (std::exchange(x.frame_awaited, true))
        return;
    x.frame_from = last_received_;
    x.frame_before = work_->session.frame_received();
    arm_keepalive();
}

// Looked at now and then, not with each byte: so a peer that is quick enough may get up to twice the time.
bool connection_core::frame_is_late(clock::time_point now) noexcept
{
    if (!extras_ || !extras_->frame_awaited)
        return false;
    auto& x = *extras_;
    auto const received = work_ ? work_->session.frame_received() : 0;
    if (paused_ || received - x.frame_before >= enough_of_a_frame) {
        x.frame_from = now;
        x.frame_before = received;
    }
    return now - x.frame_from >= settings_->frame_timeout;
}

void connection_core::arm_keepalive() noexcept
{
    auto next = clock::time_point::max();
    if (awaits_pong())
        next = pong_due();
    else if (settings_->ping_interval > duration::zero())
        next = later(std::max(keepalive_sent_, last_received_), settings_->ping_interval);
    if (settings_->idle_timeout > duration::zero())
        next = std::min(next, later(last_received_, settings_->idle_timeout));
    if (extras_ && extras_->frame_awaited)
        next = std::min(next, later(extras_->frame_from, settings_->frame_timeout));
    if (next != clock::time_point::max())
        loop_.arm(*this, next);
}

void connection_core::on_timer() noexcept
{
    switch (phase_) {
    case phase::open: {
        auto const now = loop_.now();
        if (paused_) { // it is this side that does not listen
            keepalive_id_ = 0;
            if (buffered() == 0)
                last_received_ = now;
            // else perhaps because the peer does not take what is queued: it has idle_timeout for a part of that
        }
        if (settings_->idle_timeout > duration::zero() && now - last_received_ >= settings_->idle_timeout)
            return fail(ws::errc::idle_timeout, ws::close_code::internal_error, "idle timeout");
        if (frame_is_late(now))
            return fail(ws::errc::frame_timeout, ws::close_code::internal_error, "frame timeout");
        if (awaits_pong() && now >= pong_due())
            return fail(ws::errc::pong_timeout, ws::close_code::internal_error, "keep-alive ping timeout");
        if (!paused_ && settings_->ping_interval > duration::zero() && !awaits_pong() &&
            now - std::max(keepalive_sent_, last_received_) >= settings_->ping_interval)
            send_keepalive_ping();
        return phase_ == phase::open ? arm_keepalive() : void();
    }
    case phase::closing: return lose(ws::errc::close_timeout, true);
    case phase::draining: return lose({}, false);
    case phase::dead: return;
    }
}

void connection_core::send_keepalive_ping() noexcept
{
    bool const must_wait = buffered() > 0;
    keepalive_sent_ = loop_.now();
    keepalive_id_ = ++ping_ids_;
    try {
        queue_control(proto::opcode::ping, std::as_bytes(std::span(&keepalive_id_, 1)));
        work_->ping_left = must_wait ? static_cast<std::uint32_t>(work_->queue.size()) : 0;
    } catch (std::bad_alloc const&) {
        fail_with_no_memory();
    }
}

bool connection_core::start(pinging& op, std::coroutine_handle<> h, context const& env) noexcept
{
    if (phase_ != phase::open)
        op.error_ = end_ ? end_ : make_error_code(ws::errc::closed);
    else if (env.stop && env.stop->requested())
        op.error_ = errc::canceled;
    if (op.error_)
        return op.complete_at_once(h, env);
    op.id_ = ++ping_ids_;
    op.sent_ = clock::now();
    try {
        need_extras();
        queue_control(proto::opcode::ping, std::as_bytes(std::span(&op.id_, 1)));
    } catch (std::bad_alloc const&) {
        fail_with_no_memory();
        op.error_ = end_;
        return op.complete_at_once(h, env);
    }
    pinging** link = &extras_->pings;
    while (*link)
        link = &(*link)->next_;
    *link = &op;
    op.suspend(h, env, [](suspension& s) noexcept {
        auto& self = static_cast<pinging&>(s);
        if (!take_out(self.core_->extras_->pings, self, &pinging::next_))
            return; // complete already
        self.error_ = errc::canceled;
        self.wake();
    });
    return true;
}

// A pong answers its ping and all before it (RFC 6455 section 5.5.3). Others, which nobody asked for, are ignored.
void connection_core::received_pong(std::span<std::byte const> payload) noexcept
{
    std::uint32_t id = 0;
    if (payload.size() != sizeof id)
        return;
    std::memcpy(&id, payload.data(), sizeof id);
    if (id == 0 || id > ping_ids_)
        return;
    auto const now = clock::now();
    if (keepalive_id_ != 0 && keepalive_id_ <= id) {
        if (keepalive_id_ == id)
            round_trip_ = std::chrono::duration_cast<decltype(round_trip_)>(now - keepalive_sent_);
        keepalive_id_ = 0;
        if (phase_ == phase::open)
            arm_keepalive(); // it waited for this pong; now for the next ping
    }
    while (extras_ && extras_->pings && extras_->pings->id_ <= id) {
        pinging& op = *std::exchange(extras_->pings, extras_->pings->next_);
        op.round_trip_ = now - op.sent_;
        if (op.id_ == id)
            round_trip_ = std::chrono::duration_cast<decltype(round_trip_)>(op.round_trip_);
        op.wake();
    }
}

// ---- closing -------------------------------------------------------------------------------------------------------

namespace {

// Cut to what fits in a close frame, between characters.
std::string_view fitting_reason(std::string_view reason) noexcept
{
    if (reason.size() <= proto::max_close_reason)
        return reason;
    std::size_t n = proto::max_close_reason;
    while (n > 0 && (static_cast<unsigned char>(reason[n]) & 0xC0) == 0x80)
        --n;
    return reason.substr(0, n);
}

} // namespace

void connection_core::note_ending(ws::close_code code, std::string_view reason, bool by_peer) noexcept
{
    code_ = code;
    closed_by_peer_ = by_peer;
    if (reason.empty()) {
        if (extras_)
            extras_->reason.clear();
        return;
    }
    try {
        need_extras().reason = reason;
    } catch (std::bad_alloc const&) { // it ends all the same, without its reason
    }
}

void connection_core::queue_close(ws::close_code code, std::string_view reason) noexcept
{
    std::array<std::byte, proto::max_control_payload> payload;
    auto const written = proto::write_close(static_cast<std::uint16_t>(code), reason, payload);
    assert(written.error == proto::errc::ok);
    try {
        if (has_pong_) { // of a ping that came before
            has_pong_ = false;
            queue_control(proto::opcode::pong, std::span(extras_->pong).first(pong_size_));
        }
        queue_control(proto::opcode::close, std::span(payload).first(written.size));
    } catch (std::bad_alloc const&) {
        lose(std::make_error_code(std::errc::not_enough_memory), true);
    }
}

void connection_core::arm_close() noexcept
{
    if (settings_->close_timeout > duration::zero())
        loop_.arm(*this, later(clock::now(), settings_->close_timeout));
    else
        engine::timer_wheel::disarm(*this); // then only the peer, or the end of the loop's drain, ends it
}

void connection_core::begin_close(ws::close_code code, std::string_view reason) noexcept
{
    reason = fitting_reason(reason);
    if (!proto::valid_utf8(std::as_bytes(std::span(reason))))
        reason = {};
    bool const no_code = code == ws::close_code::no_status && reason.empty();
    if (!no_code && !proto::valid_sent_close_code(static_cast<std::uint16_t>(code))) {
        code = ws::close_code::internal_error;
        reason = {};
    }
    note_ending(code, reason, false);
    queue_close(code, reason);
    if (phase_ == phase::dead)
        return;
    phase_ = phase::closing;
    fail_writers();
    if (std::exchange(paused_, false))
        transport_->resume_receiving();
    has_pong_ = false;
    arm_close();
    want_turn_end();
}

bool connection_core::start(closing& op, std::coroutine_handle<> h, context const& env) noexcept
{
    if (phase_ == phase::open && op.closes_)
        begin_close(op.code_, op.reason_);
    if (phase_ != phase::open && phase_ != phase::closing) {
        if (end_ != ws::closed)
            op.error_ = end_;
        return op.complete_at_once(h, env);
    }
    if (env.stop && env.stop->requested()) {
        op.error_ = errc::canceled;
        return op.complete_at_once(h, env);
    }
    try {
        op.next_ = std::exchange(need_extras().closers, &op);
    } catch (std::bad_alloc const&) {
        op.error_ = std::make_error_code(std::errc::not_enough_memory); // of the wait: it closes all the same
        return op.complete_at_once(h, env);
    }
    op.suspend(h, env, [](suspension& s) noexcept {
        auto& self = static_cast<closing&>(s);
        if (!take_out(self.core_->extras_->closers, self, &closing::next_))
            return; // complete already
        self.error_ = errc::canceled;
        self.wake();
    });
    return true;
}

void connection_core::received_close(proto::event const& e) noexcept
{
    auto const code = static_cast<ws::close_code>(e.has_code ? e.code : proto::close_no_status);
    bool const first = phase_ == phase::open;
    note_ending(code, e.reason, first);
    if (first)
        queue_close(code, {});
    drain(ws::closed);
}

void connection_core::fail(std::error_code error, ws::close_code code, std::string_view reason) noexcept
{
    if (phase_ == phase::open) {
        note_ending(code, reason, false);
        queue_close(code, fitting_reason(reason));
    }
    drain(error);
}

void connection_core::violated(proto::errc rule) noexcept
{
    if (trace::frames)
        trace::violation(*transport_, proto::message(rule));
    fail({static_cast<int>(rule), ws::protocol_category()}, static_cast<ws::close_code>(proto::close_code_for(rule)),
         proto::message(rule));
}

void connection_core::fail_with_no_memory() noexcept
{
    if (phase_ == phase::open || phase_ == phase::closing)
        fail(std::make_error_code(std::errc::not_enough_memory), ws::close_code::internal_error, "out of memory");
}

// Both close frames are on their way, or the connection has failed: what is queued is sent, and the peer's end awaited.
void connection_core::drain(std::error_code end) noexcept
{
    if (phase_ == phase::dead)
        return;
    phase_ = phase::draining;
    end_ = end;
    transport_->inbound().clear();
    if (transport_->ended() && transport_->end_error())
        return lose({}, false);
    transport_->resume_receiving(); // to see that end
    paused_ = false;
    arm_close();
    wake_waiters();
}

// The transport is of no more use.
void connection_core::lose(std::error_code error, bool reset) noexcept
{
    if (phase_ == phase::dead)
        return;
    if (!end_) {
        end_ = error ? error : make_error_code(ws::errc::abnormal_closure);
        note_ending(ws::close_code::abnormal, {}, phase_ == phase::open && !reset);
    }
    phase_ = phase::dead;
    reset_ = reset;
    engine::timer_wheel::disarm(*this);
    wake_waiters();
    if (sending_)
        transport_->cancel_send(); // the system may be reading what is queued; on_sent() goes on
    else
        let_go();
}

void connection_core::let_go() noexcept
{
    if (!transport_)
        return;
    if (work_)
        work_->queue.clear([this](write_waiter& op) noexcept {
        if (!op.waiting())
            return;
        op.error = end_;
        op.wake();
        });
    transport_.release()->abandon(reset_);
    want_turn_end();
}

// Whoever waits for something that will not come. The reader, who may have something left to read, is settled at the
// turn's end.
void connection_core::wake_waiters() noexcept
{
    fail_writers();
    while (extras_ && extras_->pings) {
        pinging& op = *std::exchange(extras_->pings, extras_->pings->next_);
        op.error_ = end_;
        op.wake();
    }
    while (extras_ && extras_->closers) {
        closing& op = *std::exchange(extras_->closers, extras_->closers->next_);
        if (end_ != ws::closed)
            op.error_ = end_;
        op.wake();
    }
    want_turn_end();
}

void connection_core::abort() noexcept
{
    if (phase_ == phase::dead)
        return;
    if (!end_) {
        end_ = ws::closed;
        note_ending(ws::close_code::abnormal, {}, false);
    }
    lose({}, true);
}

void connection_core::orphan() noexcept
{
    bool writer_waits = work_ && work_->queue.has_writer();
    for (auto* w = work_ ? work_->waiting_head : nullptr; w; w = w->next_write)
        writer_waits = writer_waits || !w->is_posted;
    if (reader_ || writer_waits || (extras_ && (extras_->pings || extras_->closers)))
        fatal("wring: a connection was destroyed while a coroutine waits on it; children must end before their "
              "parents");
    orphaned_ = true;
    if (work_) {
        work_->view.reset();
        work_->assembly.clear();
        work_->assembly_given = false;
    }
    if (phase_ == phase::open) {
        auto code = ws::close_code::normal;
        if (std::uncaught_exceptions() > 0)
            code = ws::close_code::internal_error;
        else if (loop_.stop().requested())
            code = ws::close_code::going_away;
        begin_close(code, {});
    }
    if (work_)
        work_->drop_pieces();
    drop_deflate();
    try {
        auto& last = need_extras().give_up;
        last.core = this;
        last.on_stop = [](stop_callback& c) noexcept { static_cast<extras::last_call&>(c).core->lose({}, true); };
        loop_.give_up().add(last);
    } catch (std::bad_alloc const&) {
        lose({}, true);
    }
    want_turn_end(); // which deletes this when all is over
}

ws::status connection_core::status() const noexcept
{
    ws::status s;
    s.open = phase_ == phase::open;
    s.code = code_;
    s.reason = extras_ ? std::string_view(extras_->reason) : std::string_view();
    s.closed_by_peer = closed_by_peer_;
    s.error = end_;
    if (!s.open && !end_)
        s.error = ws::closed;
    s.round_trip = round_trip_;
    return s;
}

} // namespace wring::detail
