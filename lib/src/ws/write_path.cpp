// SPDX-License-Identifier: BSL-1.0
// Sending: frames into the queue, and the queue out, once a turn.
#include "ablation.hpp"
#include "ws/broadcast.hpp"
#include "ws/connection_core.hpp"
#include "ws/trace.hpp"

#include "ws/random.hpp"

#include <algorithm>
#include <new>

namespace wring::detail {

namespace {
constexpr std::size_t large_payload = 16 * 1024;  // from here a server's payload is sent from where it lies
constexpr std::size_t most_under_way = 64 * 1024; // given to the engine at once: its progress shows only at its end
constexpr std::uint32_t room_for_pongs = 1024;    // bytes queued, up to the last pong, from where the next one waits

struct posted_message final : queued_write
{
    explicit posted_message(ws::shared_message const& m) noexcept : message(m) { is_posted = true; }
    [[nodiscard]] std::uint32_t cost() const noexcept
    {
        return static_cast<std::uint32_t>(sizeof *this + message.rep()->frame().size());
    }
    ws::shared_message message;
};

template <class T>
void destroy(T* p) noexcept
{
    p->~T();
    frame_deallocate(p, sizeof(T));
}
} // namespace

// ---- a frame into the queue ----------------------------------------------------------------------------------------

// Every small frame passes here: always inline, and without a `parts` on its way, which is written in small pieces and read
// in large ones.
[[gnu::always_inline]] inline void connection_core::copy_frame(proto::opcode op, bool fin, bool rsv1, bool client,
                                                               std::byte const* payload, std::size_t size)
{
    auto const key = client ? fresh_mask() : proto::mask_key{};
    if (trace::frames)
        trace_sent({op, fin, rsv1, {payload, size}});
    std::byte* at = work_->queue.extend(proto::header_size(size, client) + size, loop_.blocks());
    at += proto::write_header({fin, rsv1, client, op, key, size}, at);
    if (size == 0)
        return;
    if (client)
        proto::mask_copy(at, {payload, size}, key);
    else
        std::memcpy(at, payload, size);
}

void connection_core::queue_frame(parts const& f)
{
    copy_frame(f.op, f.fin, f.rsv1, client_, f.payload.data(), f.payload.size());
}

// `keeper` has the payload's bytes: a block, or the waiting writer.
template <class Keeper>
void connection_core::queue_reference(parts const& f, proto::mask_key key, Keeper&& keeper)
{
    if (trace::frames)
        trace_sent(f);
    std::byte* const at = work_->queue.extend(proto::header_size(f.payload.size(), client_), loop_.blocks());
    work_->session.encode_header(f.op, f.fin, f.rsv1, f.payload.size(), key, at);
    try {
        work_->queue.add(f.payload, std::forward<Keeper>(keeper));
    } catch (std::bad_alloc const&) { // no close frame can follow half a frame
        lose(std::make_error_code(std::errc::not_enough_memory), true);
        throw;
    }
}
template void connection_core::queue_reference(parts const&, proto::mask_key, engine::block_ref&&);

// Takes a frame, whose turn it is, as sent: gives what it is made of.
connection_core::parts connection_core::begin_frame(outgoing_frame const& f) noexcept
{
    auto op = static_cast<proto::opcode>(f.op);
    (void)work_->session.start_frame(op, f.fin); // may_queue() has checked
    want_turn_end();
    return {op, f.fin, false, f.payload};
}

// Whether a frame may join the queue now: there is room, and no other message is half-way.
inline bool connection_core::may_queue(ws::opcode op) const noexcept
{
    bool const room = settings_->send_limit == 0 || work_->queue.size() < settings_->send_limit;
    return room && (op == ws::opcode::continuation) == work_->session.sending_message();
}

// The block of what was read last, where `bytes` are of it and large enough to be worth the whole block.
engine::block_ref connection_core::holder_of(std::span<std::byte const> bytes) const noexcept
{
    for (engine::block_ref const* held : std::initializer_list<engine::block_ref const*>{&work_->view, &work_->assembly.block()}) {
        engine::block* const b = held->get();
        if (b && bytes.size() >= b->capacity / 2 && b->holds(bytes))
            return engine::block_ref::share(b);
    }
    return {};
}

// Queues a frame whose writer need not wait: its payload is compressed or copied, or the block that holds it is kept.
// False, and nothing done, for a large one that lies elsewhere.
inline bool connection_core::queue_at_once(outgoing_frame const& f)
{
    if (agreed_ && compresses(f) && queue_compressed(f))
        return true;
    if (f.payload.size() < large_payload || client_) { // a client's is masked on its way into the queue
        queue_frame(begin_frame(f));
        return true;
    }
    engine::block_ref holder = holder_of(f.payload);
    if (!holder)
        return false;
    queue_reference(begin_frame(f), {}, std::move(holder));
    return true;
}

// Most often a small message of a server, with nothing in its way.
bool connection_core::start(ws::connection::write_operation& op, std::coroutine_handle<> h, context const& env) noexcept
{
    bool const free = phase_ == phase::open && work_ && !work_->waiting_head && !agreed_ && !client_ && with::corking;
    if (!free || op.payload_.size() >= large_payload || !may_queue(op.op_))
        return start_otherwise(op, h, env);
    try {
        auto opcode = static_cast<proto::opcode>(op.op_);
        (void)work_->session.start_frame(opcode, op.fin_);
        copy_frame(opcode, op.fin_, false, false, op.payload_.data(), op.payload_.size());
        want_turn_end();
    } catch (std::bad_alloc const&) {
        fail_with_no_memory();
        op.outcome_ = ws::connection::write_operation::outcome::ended;
    }
    return false;
}

bool connection_core::start_otherwise(ws::connection::write_operation& op, std::coroutine_handle<> h,
                                      context const& env) noexcept
{
    outgoing_frame const frame{op.payload_, op.op_, op.fin_, op.compress_};
    bool const goes_on = frame.op == ws::opcode::continuation;
    using outcome = ws::connection::write_operation::outcome;
    if (phase_ != phase::open)
        op.outcome_ = outcome::ended;
    else if (goes_on && !sends_message())
        op.outcome_ = outcome::no_message;
    if (op.outcome_ != outcome::queued)
        return loop_.yield_due() && complete_next_turn(op, frame, h, env);
    bool now = false;
    write_waiter* waiter = nullptr;
    try {
        now = !need_work().waiting_head || goes_on;
        now = now && may_queue(frame.op);
        if (now && queue_at_once(frame)) {
            if (!with::corking)
                flush();
            return false;
        }
        waiter = new (frame_allocate(sizeof(write_waiter))) write_waiter(*this, frame);
        if (now)
            queue_reference(begin_frame(waiter->frame), {}, *waiter);
        else
            wait_for_turn(*waiter);
    } catch (std::bad_alloc const&) {
        if (waiter)
            destroy(waiter);
        fail_with_no_memory();
        op.outcome_ = outcome::ended;
        return false;
    }
    if (now && !loop_.yield_due()) {
        flush(); // most often all of it goes out, and nobody waits
        if (!work_->queue.refers_to(*waiter)) {
            destroy(waiter);
            if (phase_ == phase::dead)
                op.outcome_ = outcome::ended;
            return false;
        }
    }
    op.waiter_ = waiter;
    op.outcome_ = outcome::waited;
    waiter->suspend(h, env, [](suspension& s) noexcept {
        auto& self = static_cast<write_waiter&>(s);
        self.core.cancel(self);
    });
    return true;
}

std::error_code connection_core::write_error(ws::connection::write_operation const& op) const noexcept
{
    if (op.outcome_ == ws::connection::write_operation::outcome::no_message)
        return ws::errc::no_message;
    return end_ ? end_ : make_error_code(ws::errc::closed);
}

// For a coroutine that overlooks the end of the connection: others have their turn.
bool connection_core::complete_next_turn(ws::connection::write_operation& op, outgoing_frame const& frame,
                                         std::coroutine_handle<> h, context const& env) noexcept
{
    try {
        op.waiter_ = new (frame_allocate(sizeof(write_waiter))) write_waiter(*this, frame);
    } catch (std::bad_alloc const&) {
        return false;
    }
    op.waiter_->error = write_error(op);
    op.outcome_ = ws::connection::write_operation::outcome::waited;
    return op.waiter_->complete_at_once(h, env);
}

// A frame that goes on with the open message comes before messages that wait for its end.
void connection_core::wait_for_turn(write_waiter& w) noexcept
{
    auto goes_on = [](queued_write& q) {
        return !q.is_posted && static_cast<write_waiter&>(q).frame.op == ws::opcode::continuation;
    };
    bool const first = goes_on(w);
    queued_write** link = &work_->waiting_head;
    while (*link && (!first || goes_on(**link)))
        link = &(*link)->next_write;
    w.next_write = *link;
    *link = &w;
    if (!w.next_write)
        work_->waiting_tail = &w;
}

void connection_core::queue_control(proto::opcode op, std::span<std::byte const> payload)
{
    if (need_work().session.start_frame(op, true) == proto::errc::ok)
        queue_frame({op, true, false, payload});
    want_turn_end();
}

// What a shared message is sent as: itself, or compressed for all connections of this kind.
inline shared_form connection_core::form_of(ws::shared_message::representation& message) const noexcept
{
    if (agreed_.may_compress() && message.payload_size >= settings_->deflate.threshold)
        return message.compressed(deflate_shape());
    return message.plain();
}

// Refers to what all members of this turn refer to. False, and nothing done, where a copy takes less: a small frame behind
// what had to wait, or is this connection's own, would hold a turn's memory, and one that comes again a reference.
inline bool connection_core::queue_place(broadcast& all, ws::shared_message const& m, shared_form const& form)
{
    auto const at = all.place_of(m, form);
    auto& queue = work_->queue;
    auto const* const last = queue.last_shared();
    bool const goes_on = last == &at.in ? queue.ends_at(at.frame.data()) : last && all.made(*last);
    bool const copy = !queue.empty() && !goes_on && at.frame.size() <= broadcast::copied;
    if (copy || !with::shared_sending)
        return false;
    queue.add(at.frame, at.in);
    return true;
}

inline void connection_core::queue_shared(ws::shared_message const& m, shared_form const& form)
{
    auto opcode = m.rep()->op;
    (void)work_->session.start_frame(opcode, true);
    // A client must mask each copy with its own key.
    bool const refers = !client_ && queue_place(broadcast::of(loop_), m, form);
    if (!refers)
        queue_frame({opcode, true, form.compressed, form.payload});
    else if (trace::frames)
        trace_sent({opcode, true, form.compressed, form.payload});
    // The peer's window has these bytes now, and that of this connection's own compressor has not.
    if (auto* const kept = form.compressed ? deflate() : nullptr)
        kept->stale = true;
    want_turn_end();
}

ws::posted connection_core::post(ws::shared_message const& m) noexcept
{
    if (phase_ != phase::open || m.empty())
        return ws::posted::closed;
    auto const form = form_of(*m.rep());
    std::size_t const before = work_ ? work_->queue.size() + work_->waiting_posts : 0;
    auto const limit = settings_->send_limit;
    if (limit != 0 && before > 0 && (before >= limit || form.frame.size() > limit - before))
        return ws::posted::full;
    try {
        if (!need_work().waiting_head && !sends_message()) {
            queue_shared(m, form);
            return ws::posted::queued;
        }
        auto* waiting = new (frame_allocate(sizeof(posted_message))) posted_message(m);
        (work_->waiting_tail ? work_->waiting_tail->next_write : work_->waiting_head) = waiting;
        work_->waiting_tail = waiting;
        work_->waiting_posts += waiting->cost();
        return ws::posted::queued;
    } catch (std::bad_alloc const&) {
        return ws::posted::full;
    }
}

// Before whatever is written in answer to what comes behind the ping. However fast pings come, few pongs are queued: where
// the peer does not take them, the newest answers for those before (RFC 6455 section 5.5.3).
void connection_core::answer_ping(std::span<std::byte const> payload)
{
    if (phase_ != phase::open)
        return;
    if (work_->pong_left < room_for_pongs) {
        has_pong_ = false;
        queue_control(proto::opcode::pong, payload);
        work_->pong_left = static_cast<std::uint32_t>(work_->queue.size());
        return;
    }
    std::ranges::copy(payload, need_extras().pong.begin());
    pong_size_ = static_cast<std::uint8_t>(payload.size());
    has_pong_ = true;
}

void connection_core::queue_pending_pong() noexcept
{
    if (!has_pong_ || work_->pong_left >= room_for_pongs || phase_ == phase::dead)
        return;
    has_pong_ = false;
    try {
        queue_control(proto::opcode::pong, std::span(extras_->pong).first(pong_size_));
    } catch (std::bad_alloc const&) {
        return fail_with_no_memory();
    }
    work_->pong_left = static_cast<std::uint32_t>(work_->queue.size());
}

// Those whose turn has come join the queue.
void connection_core::queue_waiting() noexcept
{
    while (queued_write* first = work_->waiting_head) {
        auto* writer = first->is_posted ? nullptr : static_cast<write_waiter*>(first);
        ws::opcode const op = writer ? writer->frame.op : ws::opcode::binary;
        if (op == ws::opcode::continuation && !work_->session.sending_message()) { // another has ended its message
            work_->waiting_head = first->next_write;
            if (!work_->waiting_head)
                work_->waiting_tail = nullptr;
            writer->error = ws::errc::no_message;
            writer->wake();
            continue;
        }
        if (phase_ != phase::open || !may_queue(op))
            return;
        work_->waiting_head = first->next_write;
        if (!work_->waiting_head)
            work_->waiting_tail = nullptr;
        try {
            if (!writer) {
                auto* const posted = static_cast<posted_message*>(first);
                work_->waiting_posts -= posted->cost();
                ws::shared_message const message = std::move(posted->message);
                destroy(posted);
                queue_shared(message, form_of(*message.rep()));
            } else if (queue_at_once(writer->frame)) {
                writer->wake();
            } else {
                queue_reference(begin_frame(writer->frame), {}, *writer);
            }
        } catch (std::bad_alloc const&) {
            fail_with_no_memory();
            if (writer) {
                writer->error = end_;
                writer->wake();
            }
            return;
        }
    }
}

void connection_core::cancel(write_waiter& op) noexcept
{
    queued_write* previous = nullptr;
    for (queued_write* it = work_->waiting_head; it; previous = it, it = it->next_write) {
        if (it != static_cast<queued_write*>(&op))
            continue;
        (previous ? previous->next_write : work_->waiting_head) = op.next_write;
        if (work_->waiting_tail == it)
            work_->waiting_tail = previous;
        op.error = errc::canceled;
        op.wake();
        queue_waiting();
        return;
    }
    if (!work_->queue.leave(op))
        return; // complete already
    if (sending_)
        transport_->cancel_send(); // the system may be reading the bytes: on_sent() goes on
    else
        take_over_leaving();
}

// Copies what is left of the bytes of writers that were canceled, and lets them go.
void connection_core::take_over_leaving() noexcept
{
    try {
        work_->queue.take_over_leaving([](write_waiter& op) noexcept {
            op.error = errc::canceled;
            op.wake();
        });
    } catch (std::bad_alloc const&) {
        fail_with_no_memory();
    }
}

void connection_core::flush() noexcept
{
    while (work_) {
        queue_pending_pong();
        if (sending_ || work_->queue.empty() || phase_ == phase::dead)
            break;
        ssize_t const sent = work_->queue.in_one_piece() ? send_some<1>() : send_some<16>();
        if (sent == -EAGAIN)
            return;
        if (sent < 0)
            return send_failed(static_cast<int>(-sent));
        consume(static_cast<std::size_t>(sent));
    }
    if (buffered() > 0 || phase_ != phase::draining)
        return;
    // After a clean close the server ends the stream first (RFC 6455 section 7.1.1); close_timeout bounds the wait.
    if (client_ && end_ == ws::closed && !transport_->ended())
        return;
    if (!std::exchange(shut_down_, true))
        transport_->shutdown_send();
    if (transport_->ended())
        lose({}, false);
}

// Up to so many pieces of the queue: most often it has one, and hardened builds clear the array each time. Gives the
// number of bytes sent, -EAGAIN where the send goes on by itself, or another -errno.
template <std::size_t Pieces>
ssize_t connection_core::send_some() noexcept
{
    std::array<iovec, Pieces> buffers;
    auto next = [&](std::size_t most) {
        return std::span<iovec const>(buffers.data(), work_->queue.gather(buffers, most));
    };
    // Together: but for much at once, which is still in the caches.
    bool const together = loop_.batching() && work_->queue.size() < large_payload;
    if (with::inline_send && (!together || std::exchange(writable_, false)))
        if (ssize_t const sent = transport_->try_send(next(work_->queue.size())); sent != -EAGAIN)
            return sent;
    int const error = transport_->start_send(next(most_under_way));
    sending_ = error == 0;
    return sending_ ? -EAGAIN : error;
}

void connection_core::consume(std::size_t n) noexcept
{
    work_->queue.consume(n, [](write_waiter& op) noexcept {
        if (op.waiting())
            op.wake();
    });
    auto count_down = [n](std::uint32_t& left) { left -= static_cast<std::uint32_t>(std::min<std::size_t>(n, left)); };
    count_down(work_->pong_left);
    if (work_->ping_left > 0 || paused_)
        last_received_ = loop_.now(); // the peer takes what had to wait
    if (work_->ping_left > 0) {
        count_down(work_->ping_left);
        keepalive_sent_ = last_received_; // not before
    }
    if (phase_ != phase::open)
        arm_close(); // the time is for the peer's answer, which can't come before it has what is queued
    queue_waiting();
}

void connection_core::on_sent(ssize_t result) noexcept
{
    sending_ = false;
    if (result > 0)
        consume(static_cast<std::size_t>(result));
    writable_ = result == 0;
    if (phase_ == phase::dead)
        return let_go();
    take_over_leaving();
    if (result < 0 && result != -EAGAIN && result != -ECANCELED)
        return send_failed(static_cast<int>(-result));
    want_turn_end();
}

// What the peer has said before it went, a close frame perhaps, is worth more than the error.
void connection_core::send_failed(int error) noexcept
{
    parse_ahead();
    if (phase_ != phase::dead)
        lose(phase_ == phase::draining ? std::error_code() : system_error(error), false);
}

// Nothing more is queued: those who wait hear why.
void connection_core::fail_writers() noexcept
{
    if (!work_)
        return;
    while (queued_write* first = work_->waiting_head) {
        work_->waiting_head = first->next_write;
        if (first->is_posted) {
            destroy(static_cast<posted_message*>(first));
            continue;
        }
        auto* writer = static_cast<write_waiter*>(first);
        writer->error = end_ ? end_ : make_error_code(ws::errc::closed);
        writer->wake();
    }
    work_->waiting_tail = nullptr;
    work_->waiting_posts = 0;
}

void connection_core::trace_sent(parts const& f) const noexcept
{
    proto::frame_header h;
    h.op = f.op;
    h.fin = f.fin;
    h.rsv1 = f.rsv1;
    h.length = f.payload.size();
    trace::frame(*transport_, trace::direction::sent, h, f.payload);
}

} // namespace wring::detail

namespace wring {

ws::posted ws::connection::post(shared_message const& m) noexcept
{
    return core_->post(m);
}

result<> ws::connection::write_operation::finish() noexcept
{
    if (outcome_ != outcome::waited)
        return core_->write_error(*this);
    auto const error = waiter_->error;
    detail::destroy(std::exchange(waiter_, nullptr));
    return error;
}

} // namespace wring
