// SPDX-License-Identifier: BSL-1.0
#include "net/stream_core.hpp"

#include "net/socket.hpp"
#include "tls/session.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>

namespace wring {

namespace detail {

stream_core::~stream_core()
{
    if (!idle())
        fatal("wring: a stream was destroyed while a coroutine waits on it; children must end before their parents");
}

transport_ptr stream_core::take() noexcept
{
    if (!transport_ || !idle() || sending_)
        return nullptr;
    transport_->set_user(nullptr);
    return std::move(transport_);
}

// ---- reading -------------------------------------------------------------------------------------------------------

bool stream_core::try_read(stream::read_operation& op) noexcept
{
    if (op.buffer_.empty())
        return true;
    op.done_ += transport_->inbound().read(op.buffer_.subspan(op.done_));
    if (op.done_ == op.buffer_.size() || (op.done_ > 0 && !op.whole_))
        return true;
    if (transport_->ended()) {
        int const error = transport_->end_error();
        op.error_ = error ? system_error(error) : make_error_code(errc::end_of_stream);
        return true;
    }
    return false;
}

bool stream_core::start(stream::read_operation& op, std::coroutine_handle<> h, context const& env) noexcept
{
    if (!transport_)
        op.error_ = errc::closed;
    else if (reader_ || quiet_)
        op.error_ = errc::busy;
    else if (env.stop && env.stop->requested())
        op.error_ = errc::canceled;
    if (op.error_ || try_read(op))
        return op.complete_at_once(h, env);
    reader_ = &op;
    op.suspend(h, env, [](suspension& s) noexcept { stream::read_operation::cancel(s); });
    transport_->resume_receiving();
    return true;
}

void stream_core::cancel(stream::read_operation& op) noexcept
{
    if (reader_ != &op)
        return; // complete already
    reader_ = nullptr;
    op.error_ = errc::canceled;
    if (op.done_ > 0 && !transport_->inbound().unread(op.buffer_.first(op.done_), transport_->loop().blocks())) {
        op.error_ = std::make_error_code(std::errc::not_enough_memory);
        abort();
    }
    op.wake();
}

void stream_core::on_readable() noexcept
{
    if (quiet_ && transport_->quiet())
        std::exchange(quiet_, nullptr)->wake();
    if (reader_) {
        if (try_read(*reader_))
            std::exchange(reader_, nullptr)->wake();
    } else if (transport_->inbound().size() >= read_ahead) {
        transport_->pause_receiving();
    }
}

// ---- writing -------------------------------------------------------------------------------------------------------

bool stream_core::start(stream::write_operation& op, std::coroutine_handle<> h, context const& env) noexcept
{
    if ((!transport_ || shutdown_) && !write_error_)
        write_error_ = errc::closed;
    bool done = false;
    if (quiet_) {
        op.error_ = errc::busy;
    } else if (write_error_) {
        op.error_ = write_error_;
    } else if (env.stop && env.stop->requested()) {
        op.error_ = errc::canceled;
    } else if (!writer_head_ && !sending_) {
        // The common case: the system takes it at once.
        if (int const error = try_write(op))
            write_error_ = op.error_ = system_error(error);
        done = op.done_ == op.bytes_.size();
    }
    if (done || op.error_)
        return op.complete_at_once(h, env);
    (writer_tail_ ? writer_tail_->next_ : writer_head_) = &op;
    writer_tail_ = &op;
    op.suspend(h, env, [](suspension& s) noexcept { stream::write_operation::cancel(s); });
    write_some();
    return true;
}

iovec stream_core::rest_of(stream::write_operation const& op) noexcept
{
    return {const_cast<std::byte*>(op.bytes_.data() + op.done_), op.bytes_.size() - op.done_};
}

/// Sends what goes out without waiting. Gives the errno of a failure, else 0.
int stream_core::try_write(stream::write_operation& op) noexcept
{
    iovec const rest = rest_of(op);
    ssize_t const n = rest.iov_len == 0 ? 0 : transport_->try_send({&rest, 1});
    if (n > 0)
        op.done_ += static_cast<std::size_t>(n);
    return n < 0 && n != -EAGAIN ? static_cast<int>(-n) : 0;
}

void stream_core::write_some() noexcept
{
    if (sending_ || !writer_head_)
        return;
    iovec const rest = rest_of(*writer_head_);
    int const error = transport_->start_send({&rest, 1});
    sending_ = error == 0;
    if (error)
        fail_writers(system_error(-error));
}

void stream_core::on_sent(ssize_t result) noexcept
{
    sending_ = false;
    if (quiet_ && transport_->quiet())
        std::exchange(quiet_, nullptr)->wake();
    if (!writer_head_)
        return;
    auto& op = *writer_head_;
    if (result > 0)
        op.done_ += static_cast<std::size_t>(result);
    bool const canceled = std::exchange(canceling_, false);
    if (op.done_ == op.bytes_.size()) {
        pop_writer({});
    } else if (canceled) {
        bool const torn = op.done_ > 0; // the peer has a part of it
        pop_writer(errc::canceled);
        if (torn)
            fail_writers(errc::closed);
    } else if (result < 0 && result != -EAGAIN) {
        fail_writers(system_error(static_cast<int>(-result)));
        return;
    }
    while (writer_head_ && !sending_) {
        if (int const error = try_write(*writer_head_))
            return fail_writers(system_error(error));
        if (writer_head_->done_ == writer_head_->bytes_.size())
            pop_writer({});
        else
            write_some();
    }
    if (shutdown_ && !writer_head_)
        transport_->shutdown_send();
}

void stream_core::cancel(stream::write_operation& op) noexcept
{
    if (&op == writer_head_ && (sending_ || op.done_ > 0)) {
        if (sending_) {
            canceling_ = true;
            transport_->cancel_send(); // and on_sent() decides
        }
        return;
    }
    stream::write_operation* previous = nullptr;
    for (auto* it = writer_head_; it; previous = it, it = it->next_) {
        if (it != &op)
            continue;
        (previous ? previous->next_ : writer_head_) = op.next_;
        if (writer_tail_ == &op)
            writer_tail_ = previous;
        op.error_ = errc::canceled;
        op.wake();
        return;
    }
}

void stream_core::pop_writer(std::error_code error) noexcept
{
    auto& op = *writer_head_;
    writer_head_ = op.next_;
    if (!writer_head_)
        writer_tail_ = nullptr;
    op.error_ = error;
    op.wake();
}

void stream_core::fail_writers(std::error_code error) noexcept
{
    write_error_ = error;
    while (writer_head_)
        pop_writer(error);
}

void stream_core::shutdown() noexcept
{
    if (!transport_ || std::exchange(shutdown_, true))
        return;
    if (!writer_head_)
        transport_->shutdown_send();
}

void stream_core::close() noexcept
{
    transport_.reset();
    if (!write_error_)
        write_error_ = errc::closed;
}

void stream_core::abort() noexcept
{
    if (!transport_)
        return;
    transport_.release()->abandon(true);
    write_error_ = errc::closed;
    if (auto* op = std::exchange(reader_, nullptr)) {
        op->error_ = errc::closed;
        op->wake();
    }
    fail_writers(errc::closed);
    if (quiet_)
        std::exchange(quiet_, nullptr)->wake();
}

stream stream_access::make(transport_ptr&& t)
{
    return stream(std::make_unique<stream_core>(std::move(t)));
}

transport_ptr stream_access::take(stream&& s) noexcept
{
    auto core = std::move(s.core_);
    return core ? core->take() : nullptr;
}

void stream_access::set_rider(stream& s, std::unique_ptr<transport_rider> rider) noexcept
{
    s.core_->get()->set_rider(std::move(rider));
}

} // namespace detail

stream::stream(std::unique_ptr<detail::stream_core> core) noexcept : core_(std::move(core)) {}
stream::stream(stream&&) noexcept = default;
stream& stream::operator=(stream&&) noexcept = default;
stream::~stream() = default;

stream::read_operation stream::read_some(std::span<std::byte> buffer) noexcept
{
    return {*core_, buffer, false};
}

stream::read_operation stream::read(std::span<std::byte> buffer) noexcept
{
    return {*core_, buffer, true};
}

stream::write_operation stream::write(std::span<std::byte const> bytes) noexcept
{
    return {*core_, bytes};
}

stream::write_operation stream::write(std::string_view text) noexcept
{
    return {*core_, std::as_bytes(std::span(text))};
}

bool stream::read_operation::start(std::coroutine_handle<> h, detail::context const& env) noexcept
{
    return core_.start(*this, h, env);
}

void stream::read_operation::cancel(detail::suspension& self) noexcept
{
    auto& op = static_cast<read_operation&>(self);
    op.core_.cancel(op);
}

bool stream::write_operation::start(std::coroutine_handle<> h, detail::context const& env) noexcept
{
    return core_.start(*this, h, env);
}

void stream::write_operation::cancel(detail::suspension& self) noexcept
{
    auto& op = static_cast<write_operation&>(self);
    op.core_.cancel(op);
}

void stream::shutdown() noexcept
{
    core_->shutdown();
}

void stream::abort() noexcept
{
    core_->abort();
}

endpoint stream::local() const
{
    return core_->get() ? core_->get()->local() : endpoint();
}

endpoint stream::remote() const
{
    return core_->get() ? core_->get()->remote() : endpoint();
}

std::size_t stream::buffered() const noexcept
{
    return core_->get() ? core_->get()->inbound().size() : 0;
}

std::optional<tls::info> stream::tls_info() const
{
    auto const* const session = core_->get() ? core_->get()->tls() : nullptr;
    if (!session)
        return std::nullopt;
    return session->info();
}

int stream::native_handle() const noexcept
{
    return core_->get() ? core_->get()->fd() : -1;
}

result<> stream::set_no_delay(bool on) noexcept
{
    detail::set_no_delay(native_handle(), on);
    return {};
}

result<> stream::set_keepalive(keepalive_options options) noexcept
{
    int const fd = native_handle();
    if (fd < 0 || !remote().is_ip())
        return {};
    auto set = [fd](int level, int name, auto value) {
        return detail::set_option(fd, level, name, static_cast<int>(value));
    };
    if (auto r = set(SOL_SOCKET, SO_KEEPALIVE, options.on); !r)
        return r;
    if (auto r = set(IPPROTO_TCP, TCP_KEEPIDLE, options.idle.count()); !r)
        return r;
    if (auto r = set(IPPROTO_TCP, TCP_KEEPINTVL, options.interval.count()); !r)
        return r;
    return set(IPPROTO_TCP, TCP_KEEPCNT, options.probes);
}

result<stream> stream::adopt(int fd)
{
    int type = 0;
    socklen_t size = sizeof type;
    if (::getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) != 0)
        return detail::last_error();
    if (type != SOCK_STREAM)
        return std::make_error_code(std::errc::wrong_protocol_type);
    if (detail::remote_endpoint(fd).size() == 0)
        return std::make_error_code(std::errc::not_connected);
    if (auto r = detail::prepare_adopted(fd); !r)
        return r.error();
    return detail::make_socket_stream(detail::loop_core::require(), fd);
}

task<result<int>> stream::release()
{
    auto& core = *core_;
    if (!core.get())
        co_return errc::closed;
    if (!core.idle() || core.get()->inbound().size() > 0)
        co_return errc::busy;
    if (core.get()->fd() < 0 || core.get()->tls())
        co_return std::make_error_code(std::errc::operation_not_supported);
    core.get()->pause_receiving();
    co_await detail::stream_core::quiet_operation(core);
    if (!core.get())
        co_return errc::closed;
    if (core.get()->inbound().size() > 0)
        co_return errc::busy;
    if (int const error = core.get()->end_error())
        co_return detail::system_error(error);
    int const fd = core.get()->release_fd();
    core.close();
    co_return fd;
}

} // namespace wring
