// SPDX-License-Identifier: BSL-1.0
// Addresses of TCP, UDP and Unix sockets, and name resolution.
#pragma once

#include <wring/task.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace wring {

/// The address of a socket: IPv4, IPv6 or Unix. A value; no name is ever looked up by it.
class endpoint
{
public:
    /// No address; to_string() gives "unknown".
    endpoint() noexcept = default;

    /// Reads `127.0.0.1:9001`, `[::1]:9001`, `[fe80::1%eth0]:9001`, `*:9001` (any address, IPv6 and IPv4), `unix:/path`
    /// or `unix:@abstract`. A name gives errc::bad_endpoint: see resolve().
    [[nodiscard]] static result<endpoint> parse(std::string_view text) noexcept;

    /// From a sockaddr of the system, copied. A size that does not fit gives an endpoint without address.
    static endpoint from_sockaddr(void const* address, std::size_t size) noexcept;

    [[nodiscard]] bool is_ip() const noexcept;
    [[nodiscard]] bool is_unix() const noexcept;
    /// Of an IP endpoint; 0 otherwise.
    [[nodiscard]] std::uint16_t port() const noexcept;
    void set_port(std::uint16_t port) noexcept;
    /// `127.0.0.1`, `::1`, or the path; without port.
    [[nodiscard]] std::string address() const;
    /// The form that parse() reads; "unknown" without address, `unix:` for a Unix socket that has no name.
    [[nodiscard]] std::string to_string() const;

    /// For system calls: a sockaddr of size() bytes.
    [[nodiscard]] void const* data() const noexcept { return storage_.data(); }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    [[nodiscard]] int family() const noexcept;

    friend bool operator==(endpoint const& a, endpoint const& b) noexcept;

private:
    alignas(8) std::array<std::byte, 112> storage_{};
    std::uint8_t size_ = 0;
};

/// A host and a port apart: `example.org:80`, `[::1]:9001`. Views of the text.
struct host_port
{
    std::string_view host;
    std::uint16_t port = 0;
};
[[nodiscard]] result<host_port> split_host_port(std::string_view text) noexcept;

/// Failures of the system's resolver, by their EAI_ numbers. EAI_AGAIN, a name server that does not answer for now,
/// equals std::errc::resource_unavailable_try_again.
[[nodiscard]] std::error_category const& resolver_category() noexcept;

/// The addresses of `host` (a name or a literal) with `port`, in the system's order of preference (RFC 6724).
/// Runs getaddrinfo on the thread pool (see offload). A cancel completes it at once with errc::canceled; the look-up
/// itself ends in the background. errc::host_not_found where the name has no address; other errors in
/// resolver_category() or the system's, as where the pool can have no thread.
task<result<std::vector<endpoint>>> resolve(std::string host, std::uint16_t port);

/// The same for an endpoint's text; a Unix or literal address comes back as it is.
task<result<std::vector<endpoint>>> resolve(std::string text);

} // namespace wring
