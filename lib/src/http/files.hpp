// SPDX-License-Identifier: BSL-1.0
// The files of a folder, and entity tags.
#pragma once

#include "net/socket.hpp"

#include <wring/server.hpp>

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace wring::detail {

/// An entity tag (with its quotes) for these bytes.
[[nodiscard]] std::string etag_of(std::string_view content);

/// Whether an If-None-Match field names the tag (RFC 9110 section 13.1.2: weakly compared, a list, or `*`).
[[nodiscard]] bool names_etag(std::string_view if_none_match, std::string_view etag) noexcept;

/// A regular file that was found and opened.
struct opened_file
{
    unique_fd fd{-1};
    std::uint64_t size = 0;
    std::string etag;
    std::string last_modified;
    std::string type;
    std::string start; ///< its first bytes: all of a small one
};

/// A folder that is served. All calls but the constructor block, and may come from any thread.
class served_folder
{
public:
    static constexpr std::size_t piece_size = 64 * 1024; // read, and sent, at a time

    /// Throws std::system_error.
    served_folder(std::string const& path, files_options const& options);

    enum class outcome {
        file,
        nothing,      // 404
        is_directory, // without the slash at its end
    };
    /// `segments`: of the path below the folder, decoded; an empty last one asks for the index.
    [[nodiscard]] outcome open(std::span<std::string const> segments, opened_file& out) const;

    /// Reads up to piece_size bytes from `offset` into `out`. False where there are none.
    static bool read(int fd, std::uint64_t offset, std::string& out);

    [[nodiscard]] std::string const& cache_control() const noexcept { return cache_control_; }

    /// For tests: as where the system has no openat2().
    bool walk_only = false;

private:
    [[nodiscard]] int open_beneath(std::string const& path) const;
    [[nodiscard]] int walk(std::string const& path) const;

    unique_fd folder_;
    std::string index_;
    std::string cache_control_;
    std::uint64_t max_size_;
};

} // namespace wring::detail
