// SPDX-License-Identifier: BSL-1.0
// Bytes on their way out of a connection, in order.
#pragma once

#include "engine/block.hpp"
#include "ws/broadcast.hpp"
#include "ws/write_waiter.hpp"

#include <sys/uio.h>
#include <variant>

namespace wring::detail {

/// Small frames are copied together; large payloads, what is shared and what lies in a block are referred to. Segments
/// come from the loop's free lists and its blocks, so an idle connection owns nothing here and a busy one allocates
/// nothing.
class send_queue
{
public:
    /// Told when the bytes that were referred to are no longer needed.
    using owner = write_waiter;

    send_queue() noexcept = default;
    send_queue(send_queue const&) = delete;
    send_queue& operator=(send_queue const&) = delete;
    ~send_queue()
    {
        clear([](owner&) {});
    }

    [[nodiscard]] bool empty() const noexcept { return !head_; }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }

    /// Bytes that extend() can give without taking memory.
    [[nodiscard]] std::size_t room() const noexcept
    {
        return tail_ ? static_cast<std::size_t>(tail_->limit - tail_->end) : 0;
    }
    /// Room for `n` bytes at the end, to be written at once.
    [[nodiscard]] std::byte* extend(std::size_t n, engine::block_pool& pool)
    {
        if (room() < n)
            make_room(n, pool);
        size_ += n;
        return std::exchange(tail_->end, tail_->end + n);
    }
    /// Refers to bytes that others refer to as well. Such as lie behind the last ones in one piece become part of it.
    void add(std::span<std::byte const> bytes, shared_bytes& in)
    {
        if (last_shared() != &in || !ends_at(bytes.data()))
            return add_reference(bytes, in);
        tail_->end += bytes.size();
        tail_->limit = tail_->end;
        size_ += bytes.size();
    }
    /// What the last bytes lie in, where that is such.
    [[nodiscard]] shared_bytes const* last_shared() const noexcept
    {
        auto* const shared = tail_ ? std::get_if<shared_bytes*>(&tail_->keeper) : nullptr;
        return shared ? *shared : nullptr;
    }
    /// Refers to bytes of a block.
    void add(std::span<std::byte const> bytes, engine::block_ref block);
    /// Refers to a writer's bytes, until done() names it.
    void add(std::span<std::byte const> bytes, owner& writer);

    [[nodiscard]] bool in_one_piece() const noexcept { return head_ == tail_; }
    [[nodiscard]] bool ends_at(std::byte const* at) const noexcept { return tail_ && tail_->end == at; }
    /// The bytes from the front, up to `most`, in up to out.size() pieces; gives the number of pieces.
    [[nodiscard]] std::size_t gather(std::span<iovec> out, std::size_t most) const noexcept;

    /// Drops `n` bytes from the front. Calls done(writer) for each whose last byte was among them.
    template <class Done>
    void consume(std::size_t n, Done done) noexcept
    {
        size_ -= n;
        while (head_ && n >= head_->left()) {
            n -= head_->left();
            owner* const writer = head_->writer();
            pop();
            if (writer)
                done(*writer);
        }
        if (head_)
            head_->begin += n;
    }

    [[nodiscard]] bool refers_to(owner const& writer) const noexcept;
    [[nodiscard]] bool has_writer() const noexcept;
    /// The writer wants to go before its bytes are sent. False where they are not here.
    [[nodiscard]] bool leave(owner const& writer) noexcept;
    /// Copies what is left of the bytes of those who want to go, and calls done(writer) for each. Not while the system
    /// may be reading them. May throw.
    template <class Done>
    void take_over_leaving(Done done)
    {
        for (segment** link = &head_; *link; link = &(*link)->next) {
            if (!(*link)->leaving)
                continue;
            owner& writer = *(*link)->writer();
            replace_by_copy(link);
            done(writer);
        }
    }
    /// Drops everything, and calls done(writer) for each that was referred to.
    template <class Done>
    void clear(Done done) noexcept
    {
        while (head_) {
            owner* const writer = head_->writer();
            pop();
            if (writer)
                done(*writer);
        }
        size_ = 0;
    }

private:
    struct segment
    {
        segment* next = nullptr;
        std::byte* begin = nullptr;
        std::byte* end = nullptr;
        std::byte* limit = nullptr; // of its own memory; `end` where it refers to somebody else's
        // Whose the bytes are, where they are not its own.
        std::variant<std::monostate, shared_bytes*, engine::block*, owner*> keeper;
        std::size_t allocated = sizeof(segment); // 0: it lies in a block
        bool leaving = false;

        [[nodiscard]] owner* writer() const noexcept
        {
            auto* const w = std::get_if<owner*>(&keeper);
            return w ? *w : nullptr;
        }
        [[nodiscard]] std::size_t left() const noexcept { return static_cast<std::size_t>(end - begin); }
        [[nodiscard]] std::byte* memory() noexcept { return reinterpret_cast<std::byte*>(this + 1); }
    };

    void add_reference(std::span<std::byte const> bytes, shared_bytes& in);
    void make_room(std::size_t n, engine::block_pool& pool);
    static segment* make(std::size_t room);
    segment* refer_to(std::span<std::byte const> bytes);
    static segment* make_in_block(std::size_t room, engine::block_pool& pool) noexcept;
    static void destroy(segment* s) noexcept;
    void push(segment* s) noexcept;
    void pop() noexcept;
    void replace_by_copy(segment** link);

    segment* head_ = nullptr;
    segment* tail_ = nullptr;
    std::size_t size_ = 0;
};

} // namespace wring::detail
