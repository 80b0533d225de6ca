// SPDX-License-Identifier: BSL-1.0
#include "ws/deflate.hpp"

#include "ws/connection_core.hpp"
#include "ws/random.hpp"

#include <algorithm>
#include <array>
#include <new>

namespace wring::detail {

bool valid(ws::deflate_options const& o) noexcept
{
    auto const bits = [](int b) { return b >= proto::min_window_bits && b <= proto::max_window_bits; };
    return bits(o.server_window_bits) && bits(o.client_window_bits) && o.level >= 0 && o.level <= 9 &&
           o.mem_level >= 1 && o.mem_level <= 9;
}

proto::deflate_parameters parameters_of(ws::deflate_options const& o) noexcept
{
    return {o.server_takeover, o.client_takeover, static_cast<std::uint8_t>(o.server_window_bits),
            static_cast<std::uint8_t>(o.client_window_bits)};
}

deflate_agreement::deflate_agreement(proto::deflate_parameters const& p, proto::role self) noexcept :
    own_bits(self == proto::role::server ? p.server_bits : p.client_bits),
    peer_bits(self == proto::role::server ? p.client_bits : p.server_bits),
    own_takeover(self == proto::role::server ? p.server_takeover : p.client_takeover),
    peer_takeover(self == proto::role::server ? p.client_takeover : p.server_takeover)
{}

// ---- what the connections of a thread share ------------------------------------------------------------------------

namespace {

/// Those that nobody uses; the one used last comes first.
template <class T>
class idle_ones
{
public:
    template <class Fits>
    std::unique_ptr<T> take(Fits fits) noexcept
    {
        auto const at = std::find_if(all_.begin(), all_.end(), [&](auto const& one) { return one && fits(*one); });
        if (at == all_.end())
            return nullptr;
        auto taken = std::move(*at);
        std::move(at + 1, all_.end(), at);
        return taken;
    }
    void put(std::unique_ptr<T> one) noexcept
    {
        std::move_backward(all_.begin(), all_.end() - 1, all_.end()); // one too many is freed
        all_.front() = std::move(one);
    }

private:
    std::array<std::unique_ptr<T>, 4> all_;
};

// Outlives them, so that what is given back later on this thread is freed.
thread_local bool kept_alive = false;

struct kept
{
    kept() { kept_alive = true; }
    ~kept() { kept_alive = false; }
    idle_ones<proto::deflater> deflaters;
    idle_ones<proto::inflater> inflaters;
};

// Not inlined: compilers may otherwise keep a thread's address across the suspension of a coroutine.
[[gnu::noinline]] kept& here()
{
    static thread_local kept k;
    return k;
}

} // namespace

lent_deflater lend_deflater(proto::deflate_shape const& shape)
{
    auto d = here().deflaters.take([&](proto::deflater const& one) { return one.shape() == shape; });
    if (d)
        d->forget();
    else
        d = std::make_unique<proto::deflater>(shape);
    return lent_deflater(d.release());
}

lent_inflater lend_inflater(int bits)
{
    auto i = here().inflaters.take([&](proto::inflater const& one) { return one.bits() == bits; });
    if (i)
        i->forget();
    else
        i = std::make_unique<proto::inflater>(bits);
    return lent_inflater(i.release());
}

void give_back::operator()(proto::deflater* d) const noexcept
{
    std::unique_ptr<proto::deflater> one(d);
    if (kept_alive)
        here().deflaters.put(std::move(one));
}

void give_back::operator()(proto::inflater* i) const noexcept
{
    std::unique_ptr<proto::inflater> one(i);
    if (kept_alive)
        here().inflaters.put(std::move(one));
}

// ---- a connection's ------------------------------------------------------------------------------------------------

deflate_state::deflate_state(connection_core& c) noexcept
{
    timer.core = &c;
    timer.fire = [](timer_node& node) noexcept { static_cast<waiting&>(node).core->on_deflate_timer(); };
}

deflate_state::~deflate_state()
{
    engine::timer_wheel::disarm(timer);
}

deflate_state& connection_core::need_deflate()
{
    auto& state = need_extras().deflate;
    if (!state)
        state = std::make_unique<deflate_state>(*this);
    return *state;
}

void connection_core::drop_deflate() noexcept
{
    if (extras_)
        extras_->deflate.reset();
}

void connection_core::drop_unused_deflate() noexcept
{
    auto const* const d = deflate();
    if (d && !d->in_use())
        drop_deflate();
    else if (d && settings_->deflate.free_when_idle > duration::zero() && !d->timer.armed())
        arm_idle_deflate();
}

proto::deflate_shape connection_core::deflate_shape() const noexcept
{
    auto const& o = settings_->deflate;
    return {agreed_.own_bits, static_cast<std::uint8_t>(o.level), static_cast<std::uint8_t>(o.mem_level)};
}

// ---- receiving

namespace {
constexpr std::size_t inflated_unit = 64;
constexpr std::uint16_t inflated_at_once = 256 * 1024 / inflated_unit; // by a connection, before others have their turn
}

// A turn's end: what was decompressed in the next one counts from 0, unless this connection has been told to wait.
void connection_core::forget_inflated() noexcept
{
    if (inflated_ < inflated_at_once)
        inflated_ = 0;
}

// A part of a compressed frame has come: `block` holds it.
void connection_core::start_inflating(proto::event const& e, engine::block_ref block)
{
    auto& d = need_deflate();
    if (e.message_start) {
        d.message_start = true;
        d.size = 0;
        d.utf8.reset();
        d.op = static_cast<ws::opcode>(e.op);
    }
    if (!d.inflater) {
        // A window that is not kept costs nothing here, so it need not be small.
        d.inflater = lend_inflater(agreed_.peer_takeover ? std::max<int>(agreed_.peer_bits, proto::min_window_bits)
                                                         : proto::max_window_bits);
        if (d.window)
            d.inflater->set_window({d.window.get(), d.window_size});
        d.window.reset();
    }
    d.input = e.payload;
    d.block = std::move(block);
    d.frame_end = e.frame_end;
    d.message_end = e.message_end;
    d.tail_given = false;
    d.input_waits = true;
}

// Whether this connection may decompress more in this turn. It goes on in the next one; meanwhile not much more is
// received.
bool connection_core::may_inflate() noexcept
{
    if (inflated_ < inflated_at_once)
        return true;
    if (!paused_ && settings_->read_limit != 0 && transport_->inbound().size() >= settings_->read_limit) {
        paused_ = true;
        transport_->pause_receiving();
    }
    loop_.arm(deflate()->timer, loop_.now() - std::chrono::milliseconds(1));
    return false;
}

// Decompresses as much as a block holds. False where that is nothing to give to a reader, or not allowed.
bool connection_core::inflate(piece& out)
{
    auto& d = *deflate();
    engine::block_ref into(loop_.blocks().take());
    if (!into)
        throw std::bad_alloc();
    std::span<std::byte> const room(into.get()->data(), into.get()->capacity);
    auto step = d.inflater->step(d.input, room);
    std::size_t n = step.written;
    if (step.done && d.message_end && !d.tail_given && !d.inflater->complete()) {
        d.tail_given = true;
        d.input = proto::inflater::tail();
        step = d.inflater->step(d.input, room.subspan(n));
        n += step.written;
    }
    bool const message_end = step.done && d.message_end;
    auto const payload = room.first(n);
    auto error = step.error;
    if (error == proto::errc::ok && message_end && !d.inflater->complete())
        error = proto::errc::deflate_invalid;
    d.size += n;
    inflated_ = static_cast<std::uint16_t>(std::min<std::size_t>(inflated_ + 1 + n / inflated_unit, inflated_at_once));
    if (settings_->limits.max_message != 0 && d.size > settings_->limits.max_message)
        error = proto::errc::message_too_large;
    else if (d.op == ws::opcode::text && (!d.utf8.feed(payload) || (message_end && !d.utf8.complete())))
        error = error == proto::errc::ok ? proto::errc::utf8_text : error;
    if (error != proto::errc::ok) {
        violated(error);
        return false;
    }
    out.block = std::move(into);
    out.payload = payload;
    out.op = d.op;
    out.frame_end = step.done && d.frame_end;
    out.large_frame = !step.done;
    out.message_end = message_end;
    bool const something = n > 0 || out.frame_end;
    out.message_start = something && std::exchange(d.message_start, false);
    if (step.done) {
        d.input_waits = false;
        d.block.reset();
    }
    if (message_end) {
        d.received = loop_.now();
        if (!agreed_.peer_takeover)
            d.inflater.reset();
        drop_unused_deflate();
    }
    return something;
}

// ---- sending

namespace {
constexpr std::byte no_more{0}; // of a message, where nothing came out for its last frame
}

bool connection_core::compresses(outgoing_frame const& f) const noexcept
{
    if (f.op == ws::opcode::continuation)
        return deflate() && deflate()->sending;
    return f.compress && agreed_.may_compress() && (!f.fin || f.payload.size() >= settings_->deflate.threshold);
}

// Queues a frame compressed. False, and nothing done, where that makes a message no smaller, and it may go as it is.
bool connection_core::queue_compressed(outgoing_frame const& f)
{
    bool const first = f.op != ws::opcode::continuation;
    deflate_state* const kept = agreed_.own_takeover || !first || !f.fin ? &need_deflate() : nullptr;
    lent_deflater lent;
    if (kept) {
        if (!kept->deflater)
            kept->deflater = lend_deflater(deflate_shape());
        else if (kept->stale)
            kept->deflater->forget();
        kept->stale = false;
    } else {
        lent = lend_deflater(deflate_shape());
    }
    auto& deflater = kept ? *kept->deflater : *lent;
    assembly out;
    auto input = f.payload;
    for (bool done = false; !done;) {
        engine::block& b = out.reserve(proto::deflater::least_room, loop_.blocks());
        auto const step = deflater.step(input, {b.end, b.limit()});
        out.append({b.end, step.written}, loop_.blocks());
        done = step.done;
    }
    std::span<std::byte> payload(out.block().get()->data(), out.size());
    if (f.fin && payload.empty()) {
        out.append({&no_more, 1}, loop_.blocks());
        payload = {out.block().get()->data(), 1};
    } else if (f.fin) {
        payload = payload.first(payload.size() - proto::deflate_tail_size);
    }
    if (!kept && payload.size() >= f.payload.size())
        return false;

    auto frame = begin_frame(f);
    frame.rsv1 = first;
    frame.payload = payload;
    engine::block* const block = out.block().get();
    if (payload.size() >= block->capacity / 2) {
        proto::mask_key key{};
        if (client_) {
            key = fresh_mask();
            proto::mask(payload, key);
        }
        queue_reference(frame, key, engine::block_ref::share(block));
    } else {
        queue_frame(frame);
    }
    if (kept) {
        kept->sending = !f.fin;
        kept->sent = loop_.now();
        if (f.fin && !agreed_.own_takeover)
            kept->deflater.reset();
        drop_unused_deflate();
    }
    return true;
}

// ---- memory

// Frees what was not used for long. A compressor may forget at any time. A decompressor may not, as the peer's goes on
// from what it has sent: what it may refer to is kept, and nothing else.
void connection_core::on_deflate_timer() noexcept
{
    if (inflated_ >= inflated_at_once) {
        inflated_ = 0;
        want_turn_end();
    }
    auto& d = *deflate();
    auto const limit = settings_->deflate.free_when_idle;
    if (limit <= duration::zero())
        return;
    auto const now = loop_.now();
    if (!d.sending && now - d.sent >= limit)
        d.deflater.reset();
    if (d.inflater && !d.input_waits && !receives_compressed() && now - d.received >= limit) {
        std::size_t const size = d.inflater->window_size();
        d.window.reset(new (std::nothrow) std::byte[size]);
        d.received = now; // where there is no memory: another time
        if (d.window) {
            d.inflater->copy_window(d.window.get());
            d.window_size = size;
            d.inflater.reset();
        }
    }
    drop_unused_deflate();
}

void connection_core::arm_idle_deflate() noexcept
{
    auto& d = *deflate();
    auto const limit = settings_->deflate.free_when_idle;
    auto when = clock::time_point::max();
    if (d.deflater && !d.sending)
        when = later(d.sent, limit);
    if (d.inflater && !d.input_waits && !receives_compressed())
        when = std::min(when, later(d.received, limit));
    if (when != clock::time_point::max())
        loop_.arm(d.timer, when);
}

} // namespace wring::detail
