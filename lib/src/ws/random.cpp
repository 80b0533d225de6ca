// SPDX-License-Identifier: BSL-1.0
#include "ws/random.hpp"

#include <wring/task.hpp>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <sys/mman.h>
#include <sys/random.h>

namespace wring::detail {

namespace {

constexpr std::size_t pool_size = 8192;

void fill(std::byte* to, std::size_t size) noexcept
{
    while (size > 0) {
        ssize_t const n = ::getrandom(to, size, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            fatal("wring: getrandom() failed");
        to += n;
        size -= static_cast<std::size_t>(n);
    }
}

/// Random bytes fetched ahead. The page is wiped in a forked child (MADV_WIPEONFORK), which so finds an empty pool.
class pool
{
public:
    pool() noexcept
    {
        void* memory = ::mmap(nullptr, pool_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (memory != MAP_FAILED && ::madvise(memory, pool_size, MADV_WIPEONFORK) == 0)
            page_ = static_cast<page*>(memory);
        else if (memory != MAP_FAILED)
            ::munmap(memory, pool_size);
    }
    ~pool()
    {
        if (page_)
            ::munmap(page_, pool_size);
    }
    pool(pool const&) = delete;
    pool& operator=(pool const&) = delete;

    void take(std::span<std::byte> out) noexcept
    {
        if (!page_ || out.size() > sizeof page_->bytes)
            return fill(out.data(), out.size());
        if (out.empty())
            return;
        if (page_->left < out.size()) {
            fill(page_->bytes, sizeof page_->bytes);
            page_->left = sizeof page_->bytes;
        }
        page_->left -= out.size();
        std::byte* const from = page_->bytes + page_->left;
        std::memcpy(out.data(), from, out.size());
        std::memset(from, 0, out.size());
    }

private:
    struct page
    {
        std::size_t left; // 0 in a new page and after a fork
        std::byte bytes[pool_size - sizeof(std::size_t)];
    };
    page* page_ = nullptr;
};

} // namespace

[[gnu::noinline]] void random_bytes(std::span<std::byte> out) noexcept
{
    static thread_local pool here;
    here.take(out);
}

proto::mask_key fresh_mask() noexcept
{
    proto::mask_key key;
    random_bytes(std::as_writable_bytes(std::span(key)));
    return key;
}

} // namespace wring::detail
