// SPDX-License-Identifier: BSL-1.0
// The free lists behind detail::frame_allocate.
#include "ablation.hpp"
#include "engine/block.hpp"

#include <wring/task.hpp>

#include <cstdint>
#include <cstdlib>
#include <new>

namespace wring::detail {

namespace {

// Sizes of 8, 24, 40 ... bytes, as malloc gives them out: 16 bytes apart, with 8 for itself.
constexpr std::size_t step = 16;
constexpr std::size_t classes = 257;             // up to 4 KiB; larger blocks come from the heap
constexpr std::size_t max_free_bytes = 256 << 10; // kept per class: what the connections of one turn hold

constexpr std::size_t class_of(std::size_t size) noexcept
{
    return (size + 7) / step;
}
constexpr std::size_t size_of(std::size_t index) noexcept
{
    return index * step + 8;
}
static_assert(class_of(8) == 0 && class_of(9) == 1 && class_of(24) == 1 && class_of(4096) == classes - 1);

// Of one thread. Neither made nor destroyed, so that every allocation finds them at once, and what is freed when the thread
// ends, after them, finds them too.
class free_lists
{
public:
    void* pop(std::size_t index) noexcept
    {
        auto& list = lists_[index];
        node* block = list.head;
        if (!block)
            return nullptr;
        WRING_UNPOISON(block, size_of(index));
        list.head = block->next;
        list.bytes -= size_of(index);
        return block;
    }

    bool push(void* memory, std::size_t index) noexcept
    {
        auto& list = lists_[index];
        if (state_ != state::open && !open())
            return false;
        if (list.bytes >= max_free_bytes)
            return false;
        list.head = new (memory) node{list.head};
        list.bytes += size_of(index);
        WRING_POISON(memory, size_of(index));
        return true;
    }

private:
    enum class state : std::uint8_t {
        unused,
        open,
        closed, // the thread ends
    };
    struct node
    {
        node* next;
    };
    struct free_list
    {
        node* head = nullptr;
        std::size_t bytes = 0;
    };

    [[gnu::noinline]] bool open() noexcept
    {
        if (state_ == state::closed)
            return false;
        struct at_thread_end
        {
            ~at_thread_end() { lists.close(); }
            free_lists& lists;
        };
        static thread_local at_thread_end const end{*this};
        state_ = state::open;
        return true;
    }

    void close() noexcept
    {
        state_ = state::closed;
        for (std::size_t i = 0; i < classes; ++i)
            while (void* block = pop(i))
                std::free(block);
    }

    free_list lists_[classes];
    state state_ = state::unused;
};

constinit thread_local free_lists lists;

} // namespace

// Not inlined, nor its opposite: compilers may keep a thread's address across the suspension of a coroutine.
[[gnu::noinline]] void* frame_allocate(std::size_t size)
{
    std::size_t const index = class_of(size);
    if (with::frame_pool && index < classes) {
        if (void* block = lists.pop(index))
            return block;
        size = size_of(index);
    }
    if (void* block = std::malloc(size))
        return block;
    throw std::bad_alloc();
}

[[gnu::noinline]] void frame_deallocate(void* block, std::size_t size) noexcept
{
    std::size_t const index = class_of(size);
    if (!with::frame_pool || index >= classes || !lists.push(block, index))
        std::free(block);
}

} // namespace wring::detail
