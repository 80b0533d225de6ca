// SPDX-License-Identifier: BSL-1.0
#include "http/files.hpp"

#include "http/date.hpp"
#include "proto/http.hpp"

#include <wring/http.hpp>

#include <cerrno>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/openat2.h>
#include <openssl/evp.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace wring::detail {

namespace {

// A FIFO does not hold the opener up; it is refused afterwards.
constexpr int how_to_open = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;

/// Whether a segment may name a file: none that are hidden, or lead elsewhere.
bool may_be_name(std::string_view segment) noexcept
{
    return !segment.empty() && segment.size() <= 255 && segment.find('/') == segment.npos &&
           segment.find('\0') == segment.npos && (segment.front() != '.' || segment == ".well-known");
}

} // namespace

std::string etag_of(std::string_view content)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    if (EVP_Digest(content.data(), content.size(), digest, &size, EVP_sha256(), nullptr) != 1)
        throw std::runtime_error("the cryptographic library refuses SHA-256");
    std::string tag = "\"";
    for (unsigned i = 0; i < 12; ++i)
        tag += fmt::format("{:02x}", digest[i]);
    return tag + '"';
}

bool names_etag(std::string_view if_none_match, std::string_view etag) noexcept
{
    for (auto element : proto::list_range(if_none_match)) {
        if (element == "*")
            return true;
        if (element.starts_with("W/"))
            element.remove_prefix(2);
        if (element == etag)
            return true;
    }
    return false;
}

served_folder::served_folder(std::string const& path, files_options const& options) :
    folder_(::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)), index_(options.index),
    cache_control_(options.cache_control), max_size_(options.max_size)
{
    if (folder_.get() < 0)
        throw std::system_error(errno, std::system_category(), "can't serve the files of " + path);
}

served_folder::outcome served_folder::open(std::span<std::string const> segments, opened_file& out) const
{
    std::string path;
    for (std::size_t i = 0; i < segments.size(); ++i) {
        bool const index = i + 1 == segments.size() && segments[i].empty();
        auto const& name = index ? index_ : segments[i];
        if (!may_be_name(name))
            return outcome::nothing;
        path.append(path.empty() ? "" : "/").append(name);
    }
    if (path.empty())
        return outcome::nothing;
    unique_fd fd(open_beneath(path));
    struct stat status{};
    if (fd.get() < 0 || ::fstat(fd.get(), &status) != 0)
        return outcome::nothing;
    if (S_ISDIR(status.st_mode))
        return segments.back().empty() ? outcome::nothing : outcome::is_directory;
    if (!S_ISREG(status.st_mode) || static_cast<std::uint64_t>(status.st_size) > max_size_)
        return outcome::nothing;
    out.size = static_cast<std::uint64_t>(status.st_size);
    out.etag = fmt::format("\"{:x}-{:x}{:08x}-{:x}\"", status.st_size, status.st_mtim.tv_sec, status.st_mtim.tv_nsec,
                           status.st_ino);
    out.last_modified = http_date(status.st_mtim.tv_sec);
    out.type = content_type_of(path);
    if (out.size > 0 && !read(fd.get(), 0, out.start))
        return outcome::nothing; // unreadable, or cut short meanwhile
    out.fd = std::move(fd);
    return outcome::file;
}

bool served_folder::read(int fd, std::uint64_t offset, std::string& out)
{
    out.resize(piece_size);
    ssize_t n = 0;
    do
        n = ::pread(fd, out.data(), out.size(), static_cast<off_t>(offset));
    while (n < 0 && errno == EINTR);
    out.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
    return n > 0;
}

int served_folder::open_beneath(std::string const& path) const
{
    open_how how{};
    how.flags = how_to_open;
    how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
    long fd = -1;
    if (walk_only)
        errno = ENOSYS;
    else
        for (int attempts = 0; attempts < 100; ++attempts) { // a rename somewhere on the way gives EAGAIN
            fd = ::syscall(SYS_openat2, folder_.get(), path.c_str(), &how, sizeof how);
            if (fd >= 0 || (errno != EAGAIN && errno != EINTR))
                break;
        }
    if (fd < 0 && (errno == ENOSYS || errno == EPERM)) // an old kernel, or a filter that does not know it
        return walk(path);
    return static_cast<int>(fd);
}

/// Folder by folder, following no symbolic link at all.
int served_folder::walk(std::string const& path) const
{
    unique_fd at(::fcntl(folder_.get(), F_DUPFD_CLOEXEC, 0));
    std::size_t from = 0;
    for (auto slash = path.find('/'); slash != path.npos; slash = path.find('/', from)) {
        auto const name = path.substr(from, slash - from);
        unique_fd next(::openat(at.get(), name.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
        if (next.get() < 0)
            return -1;
        std::swap(at, next);
        from = slash + 1;
    }
    return ::openat(at.get(), path.c_str() + from, how_to_open | O_NOFOLLOW);
}

} // namespace wring::detail
