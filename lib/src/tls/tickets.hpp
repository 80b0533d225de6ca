// SPDX-License-Identifier: BSL-1.0
// Session tickets: the client keeps its session, encrypted by keys that only the server has and that change.
#pragma once

#include "tls/openssl.hpp"

#include <array>
#include <chrono>
#include <mutex>

namespace wring::detail {

/// The keys of tickets: one that is used now, and the one before it, whose tickets are still good. Used by all the loops
/// of a server.
class ticket_keys
{
public:
    using clock = std::chrono::steady_clock;
    static constexpr std::size_t name_size = 16;

    explicit ticket_keys(std::chrono::seconds lifetime) noexcept : lifetime_(lifetime) {}

    /// As SSL_CTX_set_tlsext_ticket_key_evp_cb wants it: sets the two contexts up to encrypt a ticket (and writes its key's
    /// name and an IV) or to decrypt one. 1: done; 2: done, and the client is to have a new one; 0: unknown key, so the
    /// handshake is a full one; -1: failed.
    int set_up(unsigned char* name, unsigned char* iv, EVP_CIPHER_CTX* cipher, EVP_MAC_CTX* mac, bool encrypt,
               clock::time_point now) noexcept;

private:
    struct key
    {
        std::array<unsigned char, name_size> name{};
        std::array<unsigned char, 32> cipher{};
        std::array<unsigned char, 32> mac{};
        clock::time_point made;
        bool good = false;
    };

    [[nodiscard]] bool turn_over(clock::time_point now) noexcept;

    std::mutex mutex_;
    key current_;
    key previous_;
    std::chrono::seconds lifetime_;
};

} // namespace wring::detail
