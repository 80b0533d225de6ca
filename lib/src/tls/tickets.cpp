// SPDX-License-Identifier: BSL-1.0
#include "tls/tickets.hpp"

#include <cstring>
#include <openssl/core_names.h>
#include <openssl/rand.h>

namespace wring::detail {

// A key makes tickets for one lifetime, and reads them for one more: so each ticket can be used for all of its life.
bool ticket_keys::turn_over(clock::time_point now) noexcept
{
    if (current_.good && now - current_.made < lifetime_)
        return true;
    key fresh;
    if (RAND_bytes(fresh.name.data(), static_cast<int>(fresh.name.size())) != 1 ||
        RAND_priv_bytes(fresh.cipher.data(), static_cast<int>(fresh.cipher.size())) != 1 ||
        RAND_priv_bytes(fresh.mac.data(), static_cast<int>(fresh.mac.size())) != 1)
        return false;
    fresh.made = now;
    fresh.good = true;
    previous_ = current_;
    if (now - previous_.made >= 2 * lifetime_)
        previous_.good = false;
    current_ = fresh;
    return true;
}

int ticket_keys::set_up(unsigned char* name, unsigned char* iv, EVP_CIPHER_CTX* cipher, EVP_MAC_CTX* mac, bool encrypt,
                        clock::time_point now) noexcept
{
    std::lock_guard lock(mutex_);
    if (!turn_over(now))
        return -1;
    key const* chosen = nullptr;
    if (encrypt) {
        chosen = &current_;
        std::memcpy(name, chosen->name.data(), chosen->name.size());
        if (RAND_bytes(iv, EVP_CIPHER_get_iv_length(EVP_aes_256_cbc())) != 1)
            return -1;
    } else {
        for (auto const* k : {&current_, &previous_})
            if (k->good && std::memcmp(name, k->name.data(), k->name.size()) == 0)
                chosen = k;
        if (!chosen)
            return 0;
    }
    char digest[] = "SHA256";
    OSSL_PARAM const parameters[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, const_cast<unsigned char*>(chosen->mac.data()),
                                          chosen->mac.size()),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end(),
    };
    auto const initialise = encrypt ? EVP_EncryptInit_ex : EVP_DecryptInit_ex;
    if (initialise(cipher, EVP_aes_256_cbc(), nullptr, chosen->cipher.data(), iv) != 1 ||
        EVP_MAC_CTX_set_params(mac, parameters) != 1)
        return -1;
    return encrypt || chosen == &current_ ? 1 : 2;
}

} // namespace wring::detail
