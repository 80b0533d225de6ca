// SPDX-License-Identifier: BSL-1.0
// TLS 1.2 and 1.3 on any stream: a context has the certificates and the trust; accept() and connect() do the handshake
// and give a stream of the same type.
#pragma once

#include <wring/stream.hpp>

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace wring {

namespace detail {
class tls_context;
}

namespace tls {

/// What can go wrong with TLS. An error of error_category() compares equal to one of these and knows more: its message
/// says which file, which alert, what about a certificate.
enum class errc {
    truncated = 1, ///< the stream ended without TLS's own end (close_notify): what came may have been cut off
    not_tls,       ///< the peer does not speak TLS. A plain HTTP request gets an answer that says so
    untrusted,     ///< the peer has no certificate, or one that does not verify or is for another host
    refused,       ///< the peer has ended TLS with an alert, perhaps because it does not trust this side's certificate
    failed,        ///< the handshake or a record is against TLS's rules, or the two sides have nothing in common
    flooded,       ///< the peer sends messages that bring no data (KeyUpdate, renegotiation ...) without end
    unusable,      ///< a certificate, key, trust or option that was given can't be used
};

[[nodiscard]] std::error_category const& error_category() noexcept;
[[nodiscard]] std::error_condition make_error_condition(errc e) noexcept;

enum class version : std::uint8_t { v1_2, v1_3 };

/// Whether a server asks its clients for a certificate.
enum class client_certificates : std::uint8_t {
    off,
    ask,     ///< none is fine; one that does not verify is not
    require, ///< none is an error (errc::untrusted)
};

// Certificates and keys are given as the path of a PEM file, which reload() reads again, or as the PEM text itself, which
// begins with `-----BEGIN`.

struct certificate_files
{
    std::string_view certificate; ///< with the chain behind it: leaf first, root not needed
    std::string_view key;
};
static_assert(std::is_trivially_destructible_v<certificate_files>);

/// Options of context::server(). What they refer to is copied.
struct server_options
{
    std::string_view certificate = {}; ///< as in certificate_files
    std::string_view key = {};
    std::string_view key_password = {}; ///< of encrypted keys
    /// Further certificates: the first whose names match what the client asks for (SNI) is used, else the one above.
    std::span<certificate_files const> more = {};
    /// Protocols in the order of preference, separated by commas (ALPN); a client that offers none of them is refused,
    /// one that does not ask is not. Empty: not negotiated.
    std::string_view alpn = "http/1.1";
    client_certificates clients = client_certificates::off;
    std::string_view client_ca = {}; ///< the authorities (or certificates) that client certificates must come from
    version min_version = version::v1_2;
    /// How long a client may resume its session, by a ticket that it keeps itself: the server stores nothing. The keys of
    /// tickets are changed as often. 0: sessions are not resumed.
    std::chrono::seconds ticket_lifetime = std::chrono::hours(2);
};

/// Options of context::client(). What they refer to is copied. By default the system's authorities are trusted, and the
/// certificate must be for the host that one connects to, by name or IP address in its subjectAltName.
struct client_options
{
    std::string_view ca = {}; ///< authorities (or certificates) to trust in place of the system's
    /// SHA-256 of the server's certificate or of its public key (SubjectPublicKeyInfo), in hex or base64; several
    /// separated by commas. Alone they are all the trust there is: chain, names and dates are not looked at. With `ca`
    /// both must hold.
    std::string_view pins = {};
    std::string_view certificate = {}; ///< of the client, as in certificate_files; shown to a server that asks
    std::string_view key = {};
    std::string_view key_password = {};
    std::string_view alpn = "http/1.1"; ///< offered to the server, in the order of preference, separated by commas
    version min_version = version::v1_2;
    /// Whoever answers is taken for the server, and can read and change everything. Only for tests.
    bool dangerously_skip_verification = false;
};

static_assert(std::is_trivially_destructible_v<server_options>, "g++ 12 destroys such temporaries twice");
static_assert(std::is_trivially_destructible_v<client_options>, "g++ 12 destroys such temporaries twice");

/// Certificates, keys, trust and rules, of one role. A counted handle: copies are cheap, and any number of threads may
/// use them. Outlives nothing: streams keep what they need of it.
class context
{
public:
    /// Reads the files. errc::unusable says which can't be used and why.
    [[nodiscard]] static result<context> server(server_options const& options);
    [[nodiscard]] static result<context> server(std::string_view certificate, std::string_view key);
    [[nodiscard]] static result<context> client(client_options const& options = {});

    /// Reads the files again. Handshakes from now on use what they say; what was agreed before goes on, but is not
    /// resumed. Where a file can't be used the error says which and why, and everything stays as it was. From any
    /// thread; blocks while it reads.
    result<> reload();

    /// For wring itself.
    [[nodiscard]] detail::tls_context& core() const noexcept { return *core_; }

private:
    explicit context(std::shared_ptr<detail::tls_context> core) noexcept : core_(std::move(core)) {}
    std::shared_ptr<detail::tls_context> core_;
};

/// What a handshake has agreed on, and who the peer has proved to be.
struct info
{
    std::string version;     ///< "TLSv1.3"
    std::string cipher;      ///< "TLS_AES_256_GCM_SHA384"
    std::string alpn;        ///< the protocol agreed on; empty: none
    std::string server_name; ///< that the client asked for (SNI); empty: none
    bool resumed = false;    ///< an earlier session goes on
    /// Of the peer's certificate, where it has one and it was verified; else empty. The subject is as in RFC 2253
    /// (`CN=alice,O=Example`), the names are those of subjectAltName (`DNS:example.org`, `IP:192.0.2.1`,
    /// `email:alice@example.org`, `URI:spiffe://example.org/alice`), the fingerprint is SHA-256 in hex.
    std::string peer_subject;
    std::vector<std::string> peer_names;
    std::string peer_fingerprint;
};

/// Does the server's part of the handshake on a stream just accepted, which is used up. Completes with the stream on
/// which TLS is spoken. It behaves as any other; besides
/// - the end of the stream is TLS's own (close_notify): without it a read gives errc::truncated, never a clean end;
/// - what write() has taken may still be in memory: it is sent in the background, also when the stream has been
///   destroyed, as long as the peer takes it (5 seconds without progress end that);
/// - release() gives std::errc::operation_not_supported;
/// - renegotiation is refused, and nothing is compressed.
///
/// Errors: those of errc, or of the stream. No time limit of its own: use timeout(). A cancel closes the stream.
task<result<stream>> accept(stream peer, context with);

/// The client's part: `host` is the name, or the IP address, that the server's certificate must be for, and that is asked
/// for (SNI).
task<result<stream>> connect(stream peer, context with, std::string host);

} // namespace tls

} // namespace wring

template <>
struct std::is_error_condition_enum<wring::tls::errc> : std::true_type
{};
