// SPDX-License-Identifier: BSL-1.0
// Receiving: bytes of the transport through the protocol to whoever reads.
#include "ablation.hpp"
#include "ws/connection_core.hpp"
#include "ws/trace.hpp"

#include <algorithm>
#include <new>

namespace wring::detail {

namespace {
constexpr std::uint64_t worth_receiving_directly = 512 * 1024; // bytes that a frame lacks: fewer gain nothing
constexpr std::size_t first_part = 16 * 1024; // received so
}

bool connection_core::start(reading& op, std::coroutine_handle<> h, context const& env) noexcept
{
    if (reader_) {
        op.outcome_ = reading::outcome::busy;
        return op.complete_at_once(h, env);
    }
    auto end_at_once = [&] {
        if (!op.complete_at_once(h, env))
            return false;
        reader_ = &op;
        op.waited_ = reader_served_ = true;
        return true;
    };
    if (env.stop && env.stop->requested()) {
        op.outcome_ = reading::outcome::canceled;
        return end_at_once();
    }
    if (work_) {
        work_->view.reset();
        if (std::exchange(work_->assembly_given, false))
            work_->assembly.clear();
    }
    if (complete(op)) // data ends by itself, when what has been received is read
        return op.outcome_ != reading::outcome::data && end_at_once();
    reader_ = &op;
    op.waited_ = true;
    op.suspend(h, env, [](suspension& s) noexcept {
        auto& self = static_cast<reading&>(s);
        self.core_->cancel(self);
    });
    return true;
}

void connection_core::cancel(reading& op) noexcept
{
    if (reader_ != &op || reader_served_)
        return; // complete already
    op.outcome_ = reading::outcome::canceled; // what it has assembled so far stays for the next one
    serve_reader();
}

void connection_core::on_readable() noexcept
{
    last_received_ = loop_.now();
    if (phase_ == phase::draining) {
        transport_->inbound().clear();
        if (transport_->ended())
            transport_->end_error() ? lose({}, false) : want_turn_end(); // what is queued is still sent
        return;
    }
    if (phase_ == phase::dead || !have_work())
        return;
    settle_reader();
    // A limit for what comes in one turn; at its end parse_ahead() is stricter.
    if (transport_ && !paused_ && settings_->read_limit != 0 &&
        transport_->inbound().size() / 4 >= settings_->read_limit) {
        paused_ = true;
        transport_->pause_receiving();
    }
    // What is left after the coroutines of this turn have read is looked at for control frames.
    if (transport_ && (direct_ || !transport_->inbound().empty() || transport_->ended()))
        want_turn_end();
}

// Nor has it ended: what comes next is the first frame of a message, received or still to come.
bool connection_core::nothing_under_way() const noexcept
{
    return phase_ == phase::open && !end_ && (!work_ || (!work_->pieces_head && work_->assembly.empty())) && !deflate();
}

// A message that lies there whole: by far the most, and in half of the steps that pull() takes.
inline bool connection_core::take_whole(reading& op, engine::block& first) noexcept
{
    if (trace::frames)
        return false;
    auto const payload = work_->session.next_whole(first.bytes());
    if (!payload.data())
        return false;
    op.give(static_cast<ws::opcode>(first.begin[0] & std::byte{0x0F}), true, payload);
    work_->view = engine::block_ref::share(&first);
    transport_->inbound().consume(static_cast<std::size_t>(payload.data() + payload.size() - first.begin));
    frame_came();
    return true;
}

bool connection_core::complete(reading& op) noexcept
{
    if (nothing_under_way()) {
        engine::block* const first = transport_->inbound().front();
        if (first && work_ && take_whole(op, *first))
            return true;
        if (!first && !paused_ && !transport_->ended() && frame_remaining() == 0)
            return false;
    }
    try {
        if (work_ && (op.whole_ ? complete_message(op) : complete_frame(op)))
            return true;
    } catch (std::bad_alloc const&) {
        fail_with_no_memory();
    }
    if (!end_ && work_)
        receive_rest(op);
    if (end_)
        op.outcome_ = reading::outcome::ended;
    return static_cast<bool>(end_);
}

// The rest of a large frame is received where read() wants it to lie, rather than copied out of blocks of the loop's;
// read_frame() gives it in parts as they lie in these. First the receive under way must have ended: what it still brings
// comes before.
void connection_core::receive_rest(reading const& op) noexcept
{
    auto const rest = work_->session.frame_remaining();
    if (!with::direct_receive || !op.whole_ || rest < worth_receiving_directly || paused_ ||
        work_->session.receiving_compressed() || !transport_->receives_directly())
        return;
    if (!std::exchange(direct_, true))
        transport_->pause_receiving();
    if (!transport_->rests())
        return; // on_readable() comes when it does
    // Memory grows with what has been received, never with what a header promises.
    bool const join = work_->assembly.size() > 0;
    auto const n = static_cast<std::size_t>(std::min<std::uint64_t>(rest, std::max(first_part, 3 * work_->assembly.size())));
    try {
        engine::block_ref into;
        if (join)
            into = engine::block_ref::share(&work_->assembly.reserve(n, loop_.blocks()));
        else
            into = engine::block_ref(loop_.blocks().take(n));
        if (!into)
            throw std::bad_alloc();
        transport_->receive_into(into.release(), n);
    } catch (std::bad_alloc const&) {
        fail_with_no_memory();
    }
}

void connection_core::settle_reader() noexcept
{
    if (reader_waits() && complete(*reader_))
        serve_reader();
}

// It stays the reader until it runs: another would take away what it was given.
void connection_core::serve_reader() noexcept
{
    reader_served_ = true;
    reader_->wake();
}

bool connection_core::complete_frame(reading& op)
{
    std::size_t const most = loop_.blocks().capacity();
    auto give_assembled = [&](bool fin) {
        op.give(work_->assembly_starts ? work_->assembly_op : ws::opcode::continuation, fin, work_->assembly.bytes());
        work_->assembly_given = true;
        return true;
    };
    if (work_->assembly.size() >= most) // read() had come so far when it was canceled
        return give_assembled(false);
    for (piece p; next_piece(p);) {
        // The rest of a frame is given as it lies there; so are the large parts of a frame too large to come whole.
        if (work_->assembly.empty() && (p.frame_end || (p.large_frame && p.payload.size() >= most / 4))) {
            op.give(p.message_start ? p.op : ws::opcode::continuation, p.message_end, p.payload);
            work_->view = std::move(p.block);
            return true;
        }
        std::size_t const n = std::min(most - work_->assembly.size(), p.payload.size());
        assemble(p, n);
        if (n < p.payload.size()) {
            p.payload = p.payload.subspan(n);
            p.message_start = false;
            put_back(std::move(p));
            return give_assembled(false);
        }
        if (p.frame_end || work_->assembly.size() == most)
            return give_assembled(p.message_end);
    }
    return false;
}

bool connection_core::complete_message(reading& op)
{
    for (piece p; next_piece(p);) {
        if (work_->assembly.empty() && p.message_end) {
            op.give(p.op, true, p.payload);
            work_->view = std::move(p.block);
            return true;
        }
        assemble(p, p.payload.size());
        if (p.message_end) {
            op.give(work_->assembly_op, true, work_->assembly.bytes());
            work_->assembly_given = true;
            return true;
        }
    }
    return false;
}

void connection_core::assemble(piece const& p, std::size_t n)
{
    if (work_->assembly.empty()) {
        work_->assembly_op = p.op;
        work_->assembly_starts = p.message_start;
    }
    // A message that is decompressed does not say how large it becomes: it must not have twice its limit on the way.
    work_->assembly.append(p.payload.first(n), loop_.blocks(),
                     agreed_ ? assembly::growth::in_place : assembly::growth::doubled);
}

// What was parsed before anybody asked for it.
void connection_core::next_kept(piece& out)
{
    piece* const p = work_->pieces_head;
    work_->pieces_head = p->next;
    if (!work_->pieces_head) {
        work_->pieces_tail = nullptr;
        work_->ahead.reset();
    }
    work_->unread -= p->payload.size() + sizeof(piece);
    out = std::move(*p);
    out.next = nullptr;
    p->~piece();
    frame_deallocate(p, sizeof(piece));
    if (paused_ && work_->unread <= settings_->read_limit / 2 && transport_)
        listen_again();
}

void connection_core::trace_received(proto::event const& e) const noexcept
{
    using kind = proto::event::kind;
    bool const data = e.what == kind::data;
    if (!data && e.what != kind::ping && e.what != kind::pong && e.what != kind::close)
        return;
    if (data && !e.frame_start)
        return;
    proto::frame_header h;
    h.op = data && !e.message_start ? proto::opcode::continuation : e.op;
    h.fin = !data || work_->session.frame_is_final();
    h.rsv1 = e.compressed && e.message_start;
    h.length = data ? e.frame_length : e.payload.size();
    trace::frame(*transport_, trace::direction::received, h, e.payload);
}

// Takes the next piece of data out of the received bytes, and handles the control frames before it.
bool connection_core::pull(piece& out, bool wanted)
{
    while (phase_ == phase::open || phase_ == phase::closing) {
        if (auto const* const d = deflate(); d && d->input_waits) {
            if (!may_inflate())
                return false;
            if (inflate(out) && wanted)
                return true;
            continue;
        }
        auto& inbound = transport_->inbound();
        engine::block* const first = inbound.front();
        if (!first) {
            if (paused_)
                listen_again();
            if (transport_->ended()) {
                int const error = transport_->end_error();
                lose(error ? system_error(error) : make_error_code(ws::errc::abnormal_closure), false);
            } else if (work_->session.frame_remaining() > 0) {
                await_frame();
            }
            return false;
        }
        auto keep = engine::block_ref::share(first);
        auto const bytes = first->bytes();
        auto left = bytes;
        auto const e = work_->session.next(left);
        inbound.consume(bytes.size() - left.size());
        if (trace::frames)
            trace_received(e);
        if (e.what != proto::event::kind::need_more && (e.what != proto::event::kind::data || e.frame_end))
            frame_came();
        switch (e.what) {
        case proto::event::kind::need_more:
            if (left.empty() || inbound.merge_front())
                continue;
            if (paused_)
                listen_again();
            if (!transport_->ended()) {
                await_frame();
                return false;
            }
            inbound.clear(); // a part of a header
            continue;
        case proto::event::kind::ping: answer_ping(e.payload); continue;
        case proto::event::kind::pong: received_pong(e.payload); continue;
        case proto::event::kind::close: received_close(e); return false;
        case proto::event::kind::violation:
            violated(e.error);
            return false;
        case proto::event::kind::data:
            if (e.compressed) {
                // Dropped or not, what comes later may refer to it, as long as somebody may read that.
                if (!orphaned_)
                    start_inflating(e, std::move(keep));
                continue;
            }
            if (!wanted)
                continue;
            out.block = std::move(keep);
            out.payload = e.payload;
            out.op = static_cast<ws::opcode>(e.op);
            out.frame_end = e.frame_end;
            out.large_frame = e.frame_length > loop_.blocks().capacity();
            out.message_start = e.message_start;
            out.message_end = e.message_end;
            return true;
        }
    }
    return false;
}

void connection_core::put_back(piece&& p)
{
    auto* kept = new (frame_allocate(sizeof(piece))) piece(std::move(p));
    kept->next = work_->pieces_head;
    work_->pieces_head = kept;
    if (!work_->pieces_tail)
        work_->pieces_tail = kept;
    work_->unread += kept->payload.size() + sizeof(piece);
}

// Looks at what nobody has read, so that control frames behind it are answered, up to the limit. Once this side has
// closed, data that nobody waits for is dropped.
void connection_core::parse_ahead() noexcept
{
    if (phase_ != phase::open && phase_ != phase::closing)
        return;
    try {
        while (work_->unread < settings_->read_limit || settings_->read_limit == 0 || phase_ == phase::closing) {
            piece p;
            if (!pull(p, phase_ == phase::open))
                return;
            keep(std::move(p));
        }
    } catch (std::bad_alloc const&) {
        return fail_with_no_memory();
    }
    if (!paused_) {
        paused_ = true;
        transport_->pause_receiving();
    }
}

// A small piece would hold a whole buffer until somebody reads it, and many would hold many: they are put together.
void connection_core::keep(piece&& p)
{
    std::size_t const n = p.payload.size();
    if (n <= loop_.blocks().capacity() / 4) {
        if (!work_->ahead || static_cast<std::size_t>(work_->ahead.get()->limit() - work_->ahead.get()->end) < n) {
            work_->ahead = engine::block_ref(loop_.blocks().take(n));
            if (!work_->ahead)
                throw std::bad_alloc();
        }
        engine::block& b = *work_->ahead.get();
        if (n > 0)
            std::memcpy(b.end, p.payload.data(), n);
        p.payload = {b.end, n};
        b.end += n;
        p.block = engine::block_ref::share(&b);
    }
    auto* kept = new (frame_allocate(sizeof(piece))) piece(std::move(p));
    (work_->pieces_tail ? work_->pieces_tail->next : work_->pieces_head) = kept;
    work_->pieces_tail = kept;
    work_->unread += n + sizeof(piece);
}

// After a pause, in which nothing could be heard of the peer: its time begins anew.
void connection_core::listen_again() noexcept
{
    paused_ = false;
    last_received_ = loop_.now();
    if (extras_)
        extras_->frame_from = last_received_;
    keepalive_id_ = 0;
    if (phase_ == phase::open)
        arm_keepalive();
    transport_->resume_receiving();
    want_turn_end(); // what had arrived before the pause is still to be looked at
}

} // namespace wring::detail
