// SPDX-License-Identifier: BSL-1.0
#include "connection.hpp"

#include <algorithm>
#include <cstring>

using namespace wring;

namespace load {

traffic::outgoing traffic::next(connection const& c, std::uint64_t n, std::uint64_t most)
{
    return of_pool(c.id() + n, most);
}

std::size_t traffic::size_of_next(connection const& c) const
{
    return pool_.at(c.id() + c.received()).bytes.size();
}

task<> connection::open(connector& by)
{
    if (how_.raw)
        tcp_ = co_await by.stream(id_);
    else
        ws_ = co_await by.websocket(id_);
    open_ = true;
    ++counts_.open;
}

task<> connection::read(traffic& all)
{
    try {
        if (tcp_)
            co_await read_bytes(all);
        else
            co_await read_messages(all);
    } catch (failure const& e) {
        fail(e.what());
    }
}

task<> connection::read_messages(traffic& all)
{
    for (;;) {
        auto const message = co_await ws_->read();
        if (!message && message.error() == errc::canceled)
            co_return;
        if (!message)
            throw failure(how_it_ended(*ws_));
        counts_.bytes += message->payload.size();
        all.received(*this, message->payload, message->is_text);
    }
}

task<> connection::read_bytes(traffic& all)
{
    auto const largest = all.pool().largest();
    std::vector<std::byte> buffer(std::max(largest, std::min<std::size_t>(how_.in_flight * largest, 64 * 1024)));
    for (std::size_t filled = 0;;) {
        auto const got = co_await tcp_->read_some(std::span(buffer).subspan(filled));
        if (!got && got.error() == errc::canceled)
            co_return;
        if (!got && got.error() == errc::end_of_stream)
            throw failure("closed by the server");
        if (!got)
            throw failure("receive: " + got.error().message());
        counts_.bytes += got->size();
        auto left = std::span(buffer).first(filled + got->size());
        for (auto size = all.size_of_next(*this); left.size() >= size; size = all.size_of_next(*this)) {
            all.received(*this, left.first(size), false);
            left = left.subspan(size);
        }
        std::memmove(buffer.data(), left.data(), left.size());
        filled = left.size();
    }
}

task<> connection::write(traffic& all)
{
    try {
        co_await write_owed(all);
    } catch (failure const& e) {
        fail(e.what());
    }
}

task<> connection::write_owed(traffic& all)
{
    for (;;) {
        while (sent_ < owed_) {
            auto const next = all.next(*this, sent_, owed_ - sent_);
            result<> done;
            if (tcp_) {
                done = co_await tcp_->write(next.bytes);
            } else if (!next.framed || ws_->post(*next.framed) == ws::posted::full) {
                ws::message const m{how_.text, next.bytes};
                done = co_await ws_->write(m);
            }
            if (!done && done.error() == errc::canceled)
                co_return;
            if (!done)
                throw failure("send: " + done.error().message());
            sent_ += next.messages;
        }
        wake_.reset();
        auto const woken = co_await wake_.wait();
        if (!woken)
            co_return;
    }
}

void connection::fail(std::string const& what)
{
    if (!open_)
        return; // its other coroutine has said why
    open_ = false;
    --counts_.open;
    counts_.failed(id_, what);
    reset();
}

void connection::reset() noexcept
{
    if (ws_)
        ws_->abort();
    if (tcp_)
        tcp_->abort();
}

} // namespace load
