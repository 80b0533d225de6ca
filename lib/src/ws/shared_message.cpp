// SPDX-License-Identifier: BSL-1.0
#include "ws/shared_message.hpp"

#include <cstdlib>
#include <new>

namespace wring::ws {

void shared_message::representation::release() noexcept
{
    if (references.fetch_sub(1, std::memory_order_acq_rel) != 1)
        return;
    this->~representation();
    std::free(this);
}

shared_message shared_message::make(opcode op, std::span<std::byte const> payload)
{
    void* memory = std::malloc(sizeof(representation) + proto::max_header_size + payload.size());
    if (!memory)
        throw std::bad_alloc();
    auto* rep = new (memory) representation;
    rep->op = static_cast<proto::opcode>(op);
    rep->payload_size = payload.size();
    proto::frame_header h;
    h.op = rep->op;
    h.length = payload.size();
    std::array<std::byte, proto::max_header_size> header;
    rep->header_size = static_cast<std::uint8_t>(proto::write_header(h, header));
    std::memcpy(rep->storage(), header.data(), rep->header_size);
    if (!payload.empty())
        std::memcpy(rep->storage() + rep->header_size, payload.data(), payload.size());
    return shared_message(rep);
}

shared_message shared_message::text(std::string_view text)
{
    return make(opcode::text, std::as_bytes(std::span(text)));
}

shared_message shared_message::binary(std::span<std::byte const> bytes)
{
    return make(opcode::binary, bytes);
}

shared_message::shared_message(shared_message const& other) noexcept : rep_(other.rep_)
{
    if (rep_)
        rep_->add_reference();
}

shared_message::~shared_message()
{
    if (rep_)
        rep_->release();
}

std::size_t shared_message::size() const noexcept
{
    return rep_ ? rep_->payload_size : 0;
}

} // namespace wring::ws
