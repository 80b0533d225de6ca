// SPDX-License-Identifier: BSL-1.0
#include "net/socket.hpp"
#include "net/transport.hpp"
#include "tls/error.hpp"

namespace wring::detail {

namespace {

class socket_transport;

// A base of its transport, as every connection has one always.
struct receive_operation : engine::operation
{
    receive_operation() noexcept;
};
// Made for each send that has to wait or goes out with others: an idle connection has none.
struct send_operation : engine::operation
{
    explicit send_operation(socket_transport& t) noexcept;
    static void* operator new(std::size_t size) { return frame_allocate(size); }
    static void operator delete(void* memory, std::size_t size) noexcept { frame_deallocate(memory, size); }
    socket_transport& owner;
};

class socket_transport final : public transport, receive_operation
{
public:
    socket_transport(loop_core& loop, std::unique_ptr<engine::descriptor> io) noexcept :
        transport(loop), io_(std::move(io))
    {}

    void resume_receiving() noexcept override
    {
        receiving_ = true;
        if (!receive_operation::in_flight() && !ended_)
            io_->receive(receiving());
    }

    void pause_receiving() noexcept override
    {
        receiving_ = false;
        io_->cancel(receiving());
    }

    bool receives_directly() const noexcept override { return true; }
    bool rests() const noexcept override { return !receive_operation::in_flight() && !ended_; }
    void receive_into(engine::block* into, std::size_t size) noexcept override
    {
        io_->receive_into(receiving(), into, size);
    }

    ssize_t try_send(std::span<iovec const> buffers) noexcept override
    {
        ssize_t n = 0;
        do {
            if (buffers.size() == 1) {
                n = ::send(io_->fd(), buffers[0].iov_base, buffers[0].iov_len, MSG_DONTWAIT | MSG_NOSIGNAL);
            } else {
                msghdr message{};
                message.msg_iov = const_cast<iovec*>(buffers.data());
                message.msg_iovlen = buffers.size();
                n = ::sendmsg(io_->fd(), &message, MSG_DONTWAIT | MSG_NOSIGNAL);
            }
        } while (n < 0 && errno == EINTR);
        if (n >= 0)
            return n;
        int const error = errno;
        note(error);
        return -error;
    }

    int start_send(std::span<iovec const> buffers) noexcept override
    {
        try {
            send_ = std::make_unique<send_operation>(*this);
        } catch (std::bad_alloc const&) {
            return -ENOMEM;
        }
        io_->send(*send_, buffers);
        return 0;
    }
    void cancel_send() noexcept override
    {
        if (send_)
            io_->cancel(*send_);
    }
    void shutdown_send() noexcept override { ::shutdown(io_->fd(), SHUT_WR); }

    void abandon(bool reset) noexcept override
    {
        user_ = nullptr;
        abandoned_ = true;
        inbound_.clear();
        if (io_->fd() >= 0) {
            // Either also ends what is in flight, which a cancel may miss. Disconnecting resets at once; after a
            // shutdown the peer would see a clean end before the reset.
            sockaddr const nowhere{AF_UNSPEC, {}};
            bool const was_reset = reset && ::connect(io_->fd(), &nowhere, sizeof nowhere) == 0;
            if (!was_reset && !quiet())
                ::shutdown(io_->fd(), SHUT_RDWR);
        }
        io_->cancel(receiving());
        cancel_send();
        delete_if_done();
    }

    endpoint local() const override { return local_endpoint(io_->fd()); }
    endpoint remote() const override
    {
        auto const* const told = told_remote();
        return told ? *told : remote_endpoint(io_->fd());
    }
    int fd() const noexcept override { return io_->fd(); }
    bool quiet() const noexcept override { return !receive_operation::in_flight() && !send_; }
    int release_fd() noexcept override { return io_->release(); }

private:
    ~socket_transport() override = default;

    friend receive_operation;
    friend send_operation;
    [[nodiscard]] engine::operation& receiving() noexcept { return static_cast<receive_operation&>(*this); }

    void received(engine::completion const& c) noexcept
    {
        if (abandoned_) {
            if (c.data)
                engine::release(c.data);
            return delete_if_done();
        }
        if (c.data) {
            if (c.last && receiving_)
                resume_receiving(); // first, as the user may let go of this
            return arrived(c.data);
        }
        if (!c.last)
            return;
        if (c.result == -ECANCELED) {
            if (receiving_)
                resume_receiving(); // wanted again before the cancel was through
            else if (user_)
                user_->on_readable(); // somebody may wait until all is quiet
            return;
        }
        end(c.result == 0 ? end_error_ : -c.result);
    }

    void sent(engine::completion const& c) noexcept
    {
        send_.reset();
        if (abandoned_)
            return delete_if_done();
        if (c.result < 0)
            note(-c.result);
        if (user_)
            user_->on_sent(c.result);
    }

    /// The system tells of a reset once. Where a send was told, the receive sees an end, which must not pass for a
    /// clean one. EPIPE says nothing of the other direction.
    void note(int error) noexcept
    {
        bool const lasting = error != EAGAIN && error != ECANCELED && error != EPIPE && error != ENOBUFS && error != ENOMEM;
        if (lasting && !ended_)
            end_error_ = error;
    }

    void delete_if_done() noexcept
    {
        if (quiet())
            delete this;
    }

    std::unique_ptr<engine::descriptor> io_;
    std::unique_ptr<send_operation> send_; // in flight
};

receive_operation::receive_operation() noexcept :
    operation([](operation& op, engine::completion const& c) noexcept {
        static_cast<socket_transport&>(static_cast<receive_operation&>(op)).received(c);
    })
{}

send_operation::send_operation(socket_transport& t) noexcept :
    operation([](operation& op, engine::completion const& c) noexcept {
        static_cast<send_operation&>(op).owner.sent(c);
    }),
    owner(t)
{}

} // namespace

std::error_code system_error(int error) noexcept
{
    if (is_tls_error(error))
        return tls_error_code(error);
    return {error, std::system_category()};
}

transport_ptr make_socket_transport(loop_core& loop, std::unique_ptr<engine::descriptor>&& io)
{
    return transport_ptr(new socket_transport(loop, std::move(io)));
}

result<stream> make_socket_stream(loop_core& loop, int fd) noexcept
{
    auto io = loop.io().open(fd);
    if (!io)
        return io.error();
    transport_ptr t;
    try {
        t = make_socket_transport(loop, std::move(*io));
        return stream_access::make(std::move(t));
    } catch (std::bad_alloc const&) {
        (void)(t ? t->release_fd() : (*io)->release());
        return std::make_error_code(std::errc::not_enough_memory);
    }
}

} // namespace wring::detail
