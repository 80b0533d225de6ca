// SPDX-License-Identifier: BSL-1.0
#include "ws/handshake_io.hpp"

#include "ws/trace.hpp"

#include <wring/timeout.hpp>
#include <wring/ws.hpp>

#include <new>

namespace wring::detail {

task<result<>> handshake_io::readable(std::size_t beyond)
{
    for (;;) {
        if (co_await stop_requested())
            co_return errc::canceled;
        if (transport_->inbound().size() > beyond)
            co_return {};
        if (transport_->ended()) {
            int const error = transport_->end_error();
            co_return error ? system_error(error) : make_error_code(errc::end_of_stream);
        }
        transport_->resume_receiving();
        co_await change_operation(*this);
    }
}

task<result<std::string_view>> handshake_io::received()
{
    for (;;) {
        if (co_await stop_requested())
            co_return errc::canceled;
        if (engine::block* b = transport_->inbound().front()) {
            auto const bytes = b->bytes();
            co_return std::string_view(reinterpret_cast<char const*>(bytes.data()), bytes.size());
        }
        if (transport_->ended()) {
            int const error = transport_->end_error();
            co_return error ? system_error(error) : make_error_code(errc::end_of_stream);
        }
        transport_->resume_receiving();
        co_await change_operation(*this);
    }
}

task<result<>> handshake_io::read_head(proto::head_scanner& scanner, std::string& text)
{
    for (;;) {
        auto const piece = co_await received();
        if (!piece)
            co_return piece.error();
        auto const progress = scanner.feed(*piece);
        text.append(piece->substr(0, progress.consumed));
        consume(progress.consumed);
        if (trace::handshakes && (progress.complete || progress.error != proto::errc::ok))
            trace::head(*transport_, trace::direction::received, text);
        if (progress.error != proto::errc::ok)
            co_return std::error_code(static_cast<int>(progress.error), ws::protocol_category());
        if (progress.complete)
            co_return {};
    }
}

task<result<>> handshake_io::write(std::string_view text)
{
    if (trace::handshakes)
        trace::head(*transport_, trace::direction::sent, text);
    return write_bytes(text);
}

task<result<>> handshake_io::write_bytes(std::string_view text)
{
    while (!text.empty()) {
        iovec const buffer{const_cast<char*>(text.data()), text.size()};
        ssize_t n = transport_->try_send({&buffer, 1});
        if (n == -EAGAIN) {
            if (co_await stop_requested())
                co_return errc::canceled;
            if (int const error = transport_->start_send({&buffer, 1}))
                co_return system_error(-error);
            sending_ = true;
            co_await change_operation(*this);
            n = sent_;
        }
        if (n == -ECANCELED)
            co_return errc::canceled;
        if (n < 0 && n != -EAGAIN)
            co_return system_error(static_cast<int>(-n));
        if (n > 0)
            text.remove_prefix(static_cast<std::size_t>(n));
    }
    co_return {};
}

namespace {

class lingering final : transport_user, timer_node
{
public:
    explicit lingering(transport_ptr t) noexcept : loop_(t->loop()), transport_(std::move(t))
    {
        fire = [](timer_node& node) noexcept { static_cast<lingering&>(node).finish(); };
        loop_.arm(*this, clock::now() + std::chrono::seconds(1));
        transport_->inbound().clear();
        transport_->set_user(this);
        transport_->shutdown_send();
        transport_->resume_receiving();
    }

private:
    ~lingering() { disarm_timer(*this); }

    void on_readable() noexcept override
    {
        transport_->inbound().clear();
        if (transport_->ended())
            finish();
    }
    void on_sent(ssize_t) noexcept override {}
    void finish() noexcept { delete this; }

    loop_core& loop_;
    transport_ptr transport_;
};

} // namespace

void close_lingering(transport_ptr t) noexcept
{
    if (!t->ended())
        new (std::nothrow) lingering(std::move(t)); // without memory the stream closes at once
}

} // namespace wring::detail
