// SPDX-License-Identifier: BSL-1.0
// TLS on top of another transport: joins a session (tls/) to it.
#include "net/tls_transport.hpp"

#include "tls/context.hpp"
#include "tls/session.hpp"

#include <wring/timeout.hpp>

#include <algorithm>
#include <array>

namespace wring {

namespace detail {

namespace {

constexpr std::size_t most_under_way = 64 * 1024;  // bytes encrypted before the transport below has taken them
constexpr std::size_t most_at_once = 256 * 1024;   // bytes that try_send() takes
constexpr std::size_t kept_unasked = 16 * 1024;    // bytes below that nobody wants yet before receiving pauses there
constexpr auto patience = std::chrono::seconds(5); // with a peer that does not take what is left when all is over
constexpr auto linger = std::chrono::seconds(1);   // for its end of the stream

/// Reads gathered bytes record by record.
class record_source
{
public:
    explicit record_source(std::span<iovec const> buffers) noexcept : buffers_(buffers) { skip_empty(); }

    [[nodiscard]] bool empty() const noexcept { return buffers_.empty(); }

    /// The bytes of the next record: where they lie, if that is in one place, else put together.
    [[nodiscard]] std::span<std::byte const> peek() const noexcept
    {
        auto const first = rest_of_first();
        if (first.size() >= tls_session::record_size || buffers_.size() == 1)
            return first.first(std::min(first.size(), tls_session::record_size));
        static thread_local std::array<std::byte, tls_session::record_size> together;
        std::size_t n = first.size();
        std::memcpy(together.data(), first.data(), n);
        for (auto const& buffer : buffers_.subspan(1)) {
            std::size_t const more = std::min(buffer.iov_len, together.size() - n);
            if (more > 0)
                std::memcpy(together.data() + n, buffer.iov_base, more);
            n += more;
        }
        return std::span(together).first(n);
    }

    void advance(std::size_t n) noexcept
    {
        done_ += n;
        while (!buffers_.empty() && done_ >= buffers_[0].iov_len) {
            done_ -= buffers_[0].iov_len;
            buffers_ = buffers_.subspan(1);
        }
    }

private:
    void skip_empty() noexcept { advance(0); }
    [[nodiscard]] std::span<std::byte const> rest_of_first() const noexcept
    {
        return std::span(static_cast<std::byte const*>(buffers_[0].iov_base), buffers_[0].iov_len).subspan(done_);
    }

    std::span<iovec const> buffers_;
    std::size_t done_ = 0; // of the first
};

class tls_transport final : public transport, transport_user, ready_node, timer_node
{
public:
    tls_transport(transport_ptr inner, std::unique_ptr<tls_session> session) noexcept :
        transport(inner->loop()), inner_(std::move(inner)), session_(std::move(session))
    {
        run = [](ready_node& node) { static_cast<tls_transport&>(node).step(); };
        fire = [](timer_node& node) noexcept { static_cast<tls_transport&>(node).finish(); };
        inner_->set_user(this);
    }

    struct [[nodiscard]] handshake_operation : suspension
    {
        explicit handshake_operation(tls_transport& t) noexcept : owner(t) {}
        bool await_ready() const noexcept { return false; }
        template <coroutine_promise P>
        bool await_suspend(std::coroutine_handle<P> h) noexcept
        {
            auto const& env = h.promise().env;
            if (env.stop && env.stop->requested())
                owner.handshake_end_ = errc::canceled;
            else if (!owner.shake_hands())
                return owner.wait_for_peer(*this, h, env), true;
            return false;
        }
        result<> await_resume() const noexcept { return owner.handshake_end_; }
        tls_transport& owner;
    };
    /// Completes when the handshake is done or has failed.
    [[nodiscard]] handshake_operation handshake() noexcept { return handshake_operation(*this); }

    // ---- transport ----

    void resume_receiving() noexcept override
    {
        receiving_ = true;
        if (session_->has_input() || inner_->ended())
            schedule();
        inner_->resume_receiving();
    }
    void pause_receiving() noexcept override
    {
        receiving_ = false;
        inner_->pause_receiving();
    }

    ssize_t try_send(std::span<iovec const> buffers) noexcept override
    {
        if (int const error = sending_error())
            return -error;
        record_source from(buffers);
        std::size_t taken = 0;
        while (!from.empty() && !inner_sending_ && taken < most_at_once) {
            std::size_t const n = encrypt(from);
            pump(false);
            if (int const error = sending_error())
                return -error;
            if (n == 0)
                break;
            taken += n;
        }
        return taken > 0 || from.empty() ? static_cast<ssize_t>(taken) : -EAGAIN;
    }

    int start_send(std::span<iovec const> buffers) noexcept override
    {
        user_sending_ = true;
        taken_ = 0;
        if (!inner_sending_ && !sending_error()) {
            record_source from(buffers);
            taken_ = encrypt(from);
            if (blocked_)
                return inner_->resume_receiving(), 0; // and on_readable() goes on
            if (taken_ > 0)
                return pump(true), 0;
        }
        if (!inner_sending_)
            report_soon(-sending_error());
        return 0; // else drained() goes on
    }

    // What has been encrypted is sent in any case: the user need not wait for that.
    void cancel_send() noexcept override
    {
        if (user_sending_ && !report_)
            report_soon(taken_ > 0 ? static_cast<ssize_t>(taken_) : -ECANCELED);
    }

    void shutdown_send() noexcept override
    {
        if (std::exchange(closing_, true))
            return;
        session_->close();
        pump(false);
    }

    void abandon(bool reset) noexcept override
    {
        user_ = nullptr;
        abandoned_ = true;
        reset_ = reset;
        user_sending_ = false;
        inbound_.clear();
        bool const has_last_words = session_->established() || session_->error();
        if (reset || send_error_ || !has_last_words)
            return finish();
        // As with sockets: what was taken is still sent, in the background.
        loop_.arm(*this, clock::now() + patience);
        last_call_.owner = this;
        last_call_.on_stop = [](stop_callback& c) noexcept { static_cast<last_call&>(c).owner->finish(); };
        loop_.give_up().add(last_call_);
        if (!std::exchange(closing_, true))
            session_->close();
        pump(false);
        if (!finished_)
            inner_->resume_receiving();
        on_readable(); // perhaps the peer has gone already
    }

    endpoint local() const override { return inner_->local(); }
    endpoint remote() const override { return inner_->remote(); }
    int fd() const noexcept override { return inner_->fd(); }
    tls_session const* tls() const noexcept override { return session_.get(); }
    bool quiet() const noexcept override { return !user_sending_; }

private:
    struct last_call : stop_callback // the loop's, for when its drain has lasted too long
    {
        tls_transport* owner = nullptr;
    };

    ~tls_transport() override { disarm_timer(*this); }

    // ---- the handshake ----

    /// Goes on with it; true when it is over, one way or the other.
    bool shake_hands() noexcept
    {
        auto const now = session_->handshake();
        pump(false);
        if (now == tls_session::state::good) {
            handshake_end_ = {};
            return true;
        }
        if (now != tls_session::state::wants_input)
            handshake_end_ = system_error(session_->error());
        else if (inner_->ended())
            handshake_end_ = inner_->end_error() ? system_error(inner_->end_error()) : errc::end_of_stream;
        else
            return false;
        return true;
    }

    void wait_for_peer(handshake_operation& op, std::coroutine_handle<> h, context const& env) noexcept
    {
        shaking_ = &op;
        op.suspend(h, env, [](suspension& s) noexcept {
            auto& self = static_cast<handshake_operation&>(s);
            if (!std::exchange(self.owner.shaking_, nullptr))
                return; // complete already
            self.owner.handshake_end_ = errc::canceled;
            self.wake();
        });
        inner_->resume_receiving();
    }

    // ---- what the transport below tells ----

    void on_readable() noexcept override
    {
        if (finished_)
            return;
        if (abandoned_) {
            inner_->inbound().clear();
            if (inner_->ended() && (inner_->end_error() || output_is_out()))
                finish();
            return;
        }
        if (shaking_) {
            if (shake_hands())
                std::exchange(shaking_, nullptr)->wake();
            return;
        }
        if (ended_)
            inner_->inbound().clear(); // what comes behind the end is for nobody
        else if (receiving_)
            receive();
        else if (inner_->inbound().size() >= kept_unasked && !blocked_)
            inner_->pause_receiving();
        if (std::exchange(blocked_, false) && user_sending_ && !inner_sending_)
            complete_send(0);
    }

    void on_sent(ssize_t result) noexcept override
    {
        inner_sending_ = false;
        if (result > 0)
            sent(static_cast<std::size_t>(result));
        if (finished_)
            return let_go();
        if (result < 0 && result != -EAGAIN && result != -ECANCELED)
            return fail_sending(static_cast<int>(-result));
        pump(false);
    }

    // ---- receiving ----

    void receive() noexcept
    {
        auto now = tls_session::state::good;
        while (now == tls_session::state::good && receiving_ && !ended_ && !abandoned_) {
            engine::block* const b = loop_.blocks().take();
            if (!b)
                return end(ENOMEM);
            while (now == tls_session::state::good && b->end < b->limit()) { // small records together
                auto const got = session_->read({b->end, b->limit()});
                b->end += got.size;
                now = got.now == tls_session::state::good && !session_->has_input() ? tls_session::state::wants_input
                                                                                   : got.now;
            }
            pump(false); // there may be something to answer
            if (b->size() == 0 || abandoned_)
                engine::release(b);
            else
                arrived(b);
        }
        if (ended_ || abandoned_ || !receiving_)
            return;
        if (now == tls_session::state::ended)
            end(0);
        else if (now == tls_session::state::failed)
            end(session_->error());
        else if (inner_->ended())
            end(inner_->end_error() ? inner_->end_error() : tls_error(tls::errc::truncated));
    }

    // ---- sending ----

    /// Encrypts up to most_under_way bytes, and gives how many.
    std::size_t encrypt(record_source& from) noexcept
    {
        std::size_t done = 0;
        while (!from.empty() && done < most_under_way) {
            auto const taken = session_->write(from.peek());
            if (taken.now == tls_session::state::wants_input) {
                if (inner_->ended())
                    send_error_ = EPIPE; // what it waits for will not come
                else
                    blocked_ = done == 0;
                break;
            }
            if (taken.now != tls_session::state::good)
                break;
            from.advance(taken.size);
            done += taken.size;
        }
        return done;
    }

    /// Hands what is encrypted to the transport below. wait: it has to be sent later in any case, with others.
    void pump(bool wait) noexcept
    {
        if (finished_)
            return;
        auto& output = session_->output();
        while (!inner_sending_ && !output.empty() && !send_error_) {
            std::array<iovec, 8> buffers;
            std::size_t count = 0;
            for (auto* b = output.front(); b && count < buffers.size(); b = b->next)
                buffers[count++] = {b->begin, b->size()};
            std::span<iovec const> const pieces(buffers.data(), count);
            ssize_t const n = wait ? -EAGAIN : inner_->try_send(pieces);
            if (n == -EAGAIN) {
                int const error = inner_->start_send(pieces);
                inner_sending_ = error == 0;
                return error == 0 ? void() : fail_sending(-error);
            }
            if (n < 0)
                return fail_sending(static_cast<int>(-n));
            sent(static_cast<std::size_t>(n));
        }
        if (output_is_out())
            drained();
    }

    [[nodiscard]] bool output_is_out() const noexcept { return !inner_sending_ && session_->output().empty(); }

    void sent(std::size_t n) noexcept
    {
        auto& output = session_->output();
        while (n > 0) {
            std::size_t const part = std::min(n, output.front()->size());
            output.consume(part);
            n -= part;
        }
        if (abandoned_ && !finished_)
            loop_.arm(*this, clock::now() + patience);
    }

    void drained() noexcept
    {
        if (closing_ && !std::exchange(shut_down_, true))
            inner_->shutdown_send();
        if (!abandoned_) {
            if (user_sending_ && !blocked_)
                complete_send(static_cast<ssize_t>(taken_));
        } else if (!finished_) {
            // Closed with something unread, a ticket perhaps, a socket would reset, and the peer lose what was sent.
            loop_.arm(*this, clock::now() + linger);
        }
    }

    [[nodiscard]] int sending_error() const noexcept
    {
        if (closing_)
            return EPIPE;
        return send_error_ ? send_error_ : session_->error();
    }

    void fail_sending(int error) noexcept
    {
        send_error_ = error;
        session_->output().clear();
        if (abandoned_)
            finish();
        else if (user_sending_)
            complete_send(-error);
    }

    void complete_send(ssize_t result) noexcept
    {
        report_ = false;
        user_sending_ = false;
        taken_ = 0;
        if (user_)
            user_->on_sent(result);
    }

    void report_soon(ssize_t result) noexcept
    {
        report_ = true;
        report_result_ = result;
        schedule();
    }

    // ---- the loop's ready queue, for what must not happen inside a call of the user's ----

    void schedule() noexcept
    {
        if (!std::exchange(scheduled_, true))
            loop_.make_ready(*this);
    }

    void step() noexcept
    {
        scheduled_ = false;
        if (finished_ && !inner_) {
            delete this;
            return;
        }
        if (report_)
            complete_send(report_result_);
        if (receiving_ && !abandoned_)
            receive();
    }

    /// All is over.
    void finish() noexcept
    {
        if (std::exchange(finished_, true))
            return;
        disarm_timer(*this);
        last_call_.unlink();
        if (inner_sending_)
            inner_->cancel_send(); // it may be reading the output: on_sent() goes on
        else
            let_go();
    }
    void let_go() noexcept
    {
        inner_.release()->abandon(reset_);
        schedule(); // and step() deletes: this may be called from within it
    }

    transport_ptr inner_;
    std::unique_ptr<tls_session> session_;
    handshake_operation* shaking_ = nullptr;
    std::error_code handshake_end_;
    last_call last_call_;
    std::size_t taken_ = 0; // bytes of the user's send that are encrypted
    ssize_t report_result_ = 0;
    int send_error_ = 0;         // of the transport below
    bool user_sending_ = false;  // start_send() has not ended
    bool inner_sending_ = false; // the same of the transport below
    bool blocked_ = false;       // nothing can be encrypted before more has come from the peer
    bool report_ = false;        // step() is to end the user's send
    bool closing_ = false;       // there is nothing to send but close_notify
    bool shut_down_ = false;     // it is out
    bool scheduled_ = false;
    bool reset_ = false;
    bool finished_ = false;
};

task<result<transport_ptr>> shake_hands(transport_ptr inner, std::shared_ptr<tls_material> material, bool accepting,
                                        std::string host)
{
    if (material->is_server() != accepting)
        co_return tls_error_code(tls_unusable("the context is for the other role, server or client"));
    auto& input = inner->inbound();
    auto& pool = inner->loop().blocks();
    auto session = accepting ? tls_session::accept(std::move(material), input, pool)
                             : tls_session::connect(std::move(material), std::move(host), input, pool);
    if (!session)
        co_return session.error();
    auto* const made = new tls_transport(std::move(inner), std::move(*session));
    transport_ptr owner(made);
    auto const done = co_await made->handshake();
    if (!done)
        co_return done.error();
    co_return std::move(owner);
}

} // namespace

task<result<transport_ptr>> tls_accept(transport_ptr inner, tls::context const& with)
{
    return shake_hands(std::move(inner), with.core().material(), true, {});
}

task<result<transport_ptr>> tls_connect(transport_ptr inner, tls::context const& with, std::string host)
{
    return shake_hands(std::move(inner), with.core().material(), false, std::move(host));
}

} // namespace detail

task<result<stream>> tls::accept(stream peer, context with)
{
    auto inner = detail::stream_access::take(std::move(peer));
    if (!inner)
        co_return wring::errc::closed;
    auto done = co_await detail::tls_accept(std::move(inner), with);
    if (!done)
        co_return done.error();
    co_return detail::stream_access::make(std::move(*done));
}

task<result<stream>> tls::connect(stream peer, context with, std::string host)
{
    auto inner = detail::stream_access::take(std::move(peer));
    if (!inner)
        co_return wring::errc::closed;
    auto done = co_await detail::tls_connect(std::move(inner), with, std::move(host));
    if (!done)
        co_return done.error();
    co_return detail::stream_access::make(std::move(*done));
}

} // namespace wring
