// SPDX-License-Identifier: BSL-1.0
#include "engine/uring/ring.hpp"

#include "ablation.hpp"
#include "engine/uring/uapi.hpp"

#include <algorithm>
#include <cerrno>
#include <sys/mman.h>
#include <system_error>

#if defined(__SANITIZE_THREAD__)
#define WRING_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define WRING_TSAN 1
#endif
#endif
#ifdef WRING_TSAN
#include <sanitizer/tsan_interface.h>
#endif

namespace wring::engine {

namespace {

// liburing maps and unmaps past TSan's eyes, and a ring may get the addresses of one that another thread has closed.
// The kernel orders the two; this tells TSan.
[[maybe_unused]] char all_rings;

void ring_opened() noexcept
{
#ifdef WRING_TSAN
    __tsan_acquire(&all_rings);
#endif
}
void ring_closing() noexcept
{
#ifdef WRING_TSAN
    __tsan_release(&all_rings);
#endif
}

} // namespace

ring::ring(unsigned submission_entries, unsigned completion_entries, unsigned first_rung)
{
    // From Linux 6.1 down to 5.19. Distributions move features between versions, so each rung is tried.
    constexpr unsigned common = IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CLAMP | IORING_SETUP_CQSIZE;
    constexpr unsigned flags_of_rung[rungs] = {
        common | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
        common | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
        common | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
    };
    int error = -EINVAL;
    if (!with::deferred_task_run)
        first_rung = std::max(first_rung, 1U);
    for (unsigned rung = first_rung; rung < rungs; ++rung) {
        io_uring_params params{};
        params.flags = flags_of_rung[rung];
        params.cq_entries = completion_entries;
        error = io_uring_queue_init_params(submission_entries, &ring_, &params);
        if (error == 0) break;
        if (error != -EINVAL) throw std::system_error(-error, std::system_category(), "io_uring_setup");
    }
    if (error != 0) throw std::system_error(-error, std::system_category(), "io_uring_setup");
    ring_opened();
    io_uring_ring_dontfork(&ring_);    // a child must not share the queues
    unsigned workers[2] = {4, 8};
    io_uring_register_iowq_max_workers(&ring_, workers); // sockets never need them: keep what does bounded
}

ring::~ring()
{
    ring_closing();
    io_uring_queue_exit(&ring_);
}

buffer_ring::buffer_ring(io_uring* owner, unsigned entries, block_pool& blocks)
    : owner_(owner), ring_bytes_(entries * sizeof(io_uring_buf)), entries_(entries),
    used_(std::min(entries, 16U)), blocks_(blocks), slots_(entries)
{
    void* memory =
        ::mmap(nullptr, ring_bytes_, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | MAP_PRIVATE | MAP_POPULATE, -1, 0);
    if (memory == MAP_FAILED) throw std::system_error(errno, std::system_category(), "mmap of a buffer ring");
    ::madvise(memory, ring_bytes_, MADV_DONTFORK);
    ring_ = static_cast<io_uring_buf_ring*>(memory);
    uapi::buffer_ring_registration registration{};
    registration.ring_address = reinterpret_cast<unsigned long long>(memory);
    registration.ring_entries = entries;
    registration.group = group;
    int const error = io_uring_register_buf_ring(owner_, reinterpret_cast<io_uring_buf_reg*>(&registration), 0);
    if (error != 0) {
        ::munmap(memory, ring_bytes_);
        throw std::system_error(-error, std::system_category(), "registering a buffer ring");
    }
    io_uring_buf_ring_init(ring_);
    empty_ = used_;
    publish();
}

buffer_ring::~buffer_ring()
{
    io_uring_unregister_buf_ring(owner_, group);
    ::munmap(ring_, ring_bytes_);
    for (block* b : slots_)
        if (b) {
            WRING_UNPOISON(b->data(), b->capacity);
            release(b);
        }
}

bool buffer_ring::fill(unsigned short id) noexcept
{
    block* b = blocks_.take();
    slots_[id] = b;
    if (!b) return false;
    WRING_POISON(b->data(), b->capacity); // the kernel's, until a completion names it
    io_uring_buf_ring_add(ring_, b->data(), b->capacity, id, io_uring_buf_ring_mask(entries_), added_);
    ++added_;
    return true;
}

block* buffer_ring::take(unsigned short id, std::size_t size) noexcept
{
    block* b = slots_[id];
    WRING_UNPOISON(b->data(), b->capacity);
    b->end = b->begin + size;
    if (!fill(id)) ++empty_;
    return b;
}

bool buffer_ring::publish() noexcept
{
    for (unsigned id = 0; empty_ > 0 && id < used_; ++id) {
        if (slots_[id]) continue;
        if (!fill(static_cast<unsigned short>(id))) break;
        --empty_;
    }
    if (added_ > 0) io_uring_buf_ring_advance(ring_, std::exchange(added_, static_cast<unsigned short>(0)));
    return empty_ < used_;
}

void buffer_ring::grow() noexcept
{
    unsigned const more = std::min(entries_ - used_, used_);
    used_ += more;
    empty_ += more;
}

} // namespace wring::engine
