// SPDX-License-Identifier: BSL-1.0
#include "ws/shared_message.hpp"

#include "ws/deflate.hpp"

#include <cstdlib>
#include <new>

namespace wring::ws {

namespace {

/// Writes the header of a whole message in front of where its payload begins; gives its size.
std::uint8_t write_header_before(std::byte* payload, proto::frame_header const& h) noexcept
{
    std::array<std::byte, proto::max_header_size> header;
    std::size_t const n = proto::write_header(h, header.data());
    std::memcpy(payload - n, header.data(), n);
    return static_cast<std::uint8_t>(n);
}

} // namespace

shared_message::representation::~representation()
{
    for (variant* v = variants_; v;) {
        variant* const next = v->next;
        v->~variant();
        std::free(v);
        v = next;
    }
}

void shared_message::representation::release() noexcept
{
    if (references.fetch_sub(1, std::memory_order_acq_rel) != 1)
        return;
    this->~representation();
    std::free(this);
}

detail::shared_form shared_message::representation::form_of(variant& v) noexcept
{
    if (v.payload_size == 0)
        return plain();
    auto const* const payload = v.storage() + proto::max_header_size;
    return {{payload - v.header_size, v.header_size + v.payload_size}, {payload, v.payload_size}, true};
}

detail::shared_form shared_message::representation::compressed(proto::deflate_shape const& shape) noexcept
{
    auto find = [&]() noexcept {
        variant* v = variants_.load(std::memory_order_acquire);
        while (v && v->shape != shape)
            v = v->next;
        return v;
    };
    if (!compress)
        return plain();
    if (variant* const made = find())
        return form_of(*made);
    // Another loop that wants it meanwhile waits: to make it as well would take as long.
    std::lock_guard lock(making_);
    if (variant* const made = find())
        return form_of(*made);
    try {
        variant* const v = make_variant(shape);
        v->next = variants_.load(std::memory_order_relaxed);
        variants_.store(v, std::memory_order_release);
        return form_of(*v);
    } catch (std::bad_alloc const&) {
        return plain();
    }
}

shared_message::representation::variant* shared_message::representation::make_variant(proto::deflate_shape const& shape)
{
    // Room for all that is worth having, and the tail.
    std::size_t const worth = payload_size > 0 ? payload_size - 1 : 0;
    std::size_t const room = std::max(worth + proto::deflate_tail_size, proto::deflater::least_room);
    void* const memory = std::malloc(sizeof(variant) + proto::max_header_size + room);
    if (!memory)
        throw std::bad_alloc();
    auto* v = new (memory) variant;
    v->shape = shape;
    try {
        auto const deflater = detail::lend_deflater(shape);
        auto input = payload();
        std::byte* const at = v->storage() + proto::max_header_size;
        auto const step = deflater->step(input, {at, room});
        if (step.done && step.written > proto::deflate_tail_size && step.written - proto::deflate_tail_size <= worth)
            v->payload_size = step.written - proto::deflate_tail_size;
    } catch (std::bad_alloc const&) {
        std::free(memory);
        throw;
    }
    // What is not used goes back.
    std::size_t const used = v->payload_size > 0 ? proto::max_header_size + v->payload_size : 0;
    if (void* const smaller = std::realloc(memory, sizeof(variant) + used))
        v = static_cast<variant*>(smaller);
    if (v->payload_size > 0) {
        proto::frame_header h;
        h.op = op;
        h.rsv1 = true;
        h.length = v->payload_size;
        v->header_size = write_header_before(v->storage() + proto::max_header_size, h);
    }
    return v;
}

shared_message shared_message::make(opcode op, std::span<std::byte const> payload, write_options how)
{
    void* memory = std::malloc(sizeof(representation) + proto::max_header_size + payload.size());
    if (!memory)
        throw std::bad_alloc();
    auto* rep = new (memory) representation;
    rep->op = static_cast<proto::opcode>(op);
    rep->payload_size = payload.size();
    rep->compress = how.compress;
    proto::frame_header h;
    h.op = rep->op;
    h.length = payload.size();
    std::array<std::byte, proto::max_header_size> header;
    rep->header_size = static_cast<std::uint8_t>(proto::write_header(h, header.data()));
    std::memcpy(rep->storage(), header.data(), rep->header_size);
    if (!payload.empty())
        std::memcpy(rep->storage() + rep->header_size, payload.data(), payload.size());
    return shared_message(rep);
}

shared_message shared_message::text(std::string_view text, write_options how)
{
    return make(opcode::text, std::as_bytes(std::span(text)), how);
}

shared_message shared_message::binary(std::span<std::byte const> bytes, write_options how)
{
    return make(opcode::binary, bytes, how);
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
