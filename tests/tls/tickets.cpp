// SPDX-License-Identifier: BSL-1.0
#include "tls/tickets.hpp"

#include "catch.hpp"

#include <string>
#include <vector>

using namespace wring::detail;
using namespace std::chrono_literals;

namespace {

struct ticket
{
    unsigned char name[ticket_keys::name_size];
    unsigned char iv[EVP_MAX_IV_LENGTH];
    std::vector<unsigned char> text;
    std::vector<unsigned char> mac;
};

struct contexts
{
    contexts()
    {
        EVP_MAC* const hmac = EVP_MAC_fetch(nullptr, "HMAC", nullptr);
        mac = EVP_MAC_CTX_new(hmac);
        EVP_MAC_free(hmac);
        cipher = EVP_CIPHER_CTX_new();
    }
    ~contexts()
    {
        EVP_MAC_CTX_free(mac);
        EVP_CIPHER_CTX_free(cipher);
    }
    std::vector<unsigned char> mac_of(std::vector<unsigned char> const& text)
    {
        std::vector<unsigned char> out(EVP_MAX_MD_SIZE);
        std::size_t size = 0;
        REQUIRE(EVP_MAC_init(mac, nullptr, 0, nullptr) == 1);
        REQUIRE(EVP_MAC_update(mac, text.data(), text.size()) == 1);
        REQUIRE(EVP_MAC_final(mac, out.data(), &size, out.size()) == 1);
        out.resize(size);
        return out;
    }
    EVP_MAC_CTX* mac;
    EVP_CIPHER_CTX* cipher;
};

ticket seal(ticket_keys& keys, std::string const& session, ticket_keys::clock::time_point now)
{
    contexts c;
    ticket t;
    REQUIRE(keys.set_up(t.name, t.iv, c.cipher, c.mac, true, now) == 1);
    t.text.resize(session.size() + 64);
    int size = 0;
    int last = 0;
    auto const* in = reinterpret_cast<unsigned char const*>(session.data());
    REQUIRE(EVP_EncryptUpdate(c.cipher, t.text.data(), &size, in, static_cast<int>(session.size())) == 1);
    REQUIRE(EVP_EncryptFinal_ex(c.cipher, t.text.data() + size, &last) == 1);
    t.text.resize(static_cast<std::size_t>(size + last));
    t.mac = c.mac_of(t.text);
    return t;
}

/// What it says of the ticket's key; and where it knows it, the ticket must open.
int open(ticket_keys& keys, ticket t, std::string const& session, ticket_keys::clock::time_point now)
{
    contexts c;
    int const verdict = keys.set_up(t.name, t.iv, c.cipher, c.mac, false, now);
    if (verdict < 1)
        return verdict;
    CHECK(c.mac_of(t.text) == t.mac);
    std::string text(t.text.size() + 64, '?');
    int size = 0;
    int last = 0;
    auto* const out = reinterpret_cast<unsigned char*>(text.data());
    CHECK(EVP_DecryptUpdate(c.cipher, out, &size, t.text.data(), static_cast<int>(t.text.size())) == 1);
    CHECK(EVP_DecryptFinal_ex(c.cipher, out + size, &last) == 1);
    text.resize(static_cast<std::size_t>(size + last));
    CHECK(text == session);
    return verdict;
}

} // namespace

TEST_CASE("a ticket opens with the key that sealed it, and with no other")
{
    auto const now = ticket_keys::clock::now();
    ticket_keys ours(1h);
    ticket_keys others(1h);
    auto const t = seal(ours, "a session", now);
    CHECK(open(ours, t, "a session", now) == 1);
    CHECK(open(others, t, "a session", now) == 0);
    auto const second = seal(ours, "a session", now);
    CHECK(t.text != second.text); // another IV
}

TEST_CASE("keys of tickets change, and an old one is good for one lifetime more")
{
    auto const start = ticket_keys::clock::now();
    ticket_keys keys(1h);
    auto const early = seal(keys, "early", start);
    auto const late = seal(keys, "late", start + 59min);
    CHECK(std::equal(std::begin(early.name), std::end(early.name), std::begin(late.name)));
    auto const next = seal(keys, "next", start + 61min);
    CHECK(!std::equal(std::begin(early.name), std::end(early.name), std::begin(next.name)));
    CHECK(open(keys, early, "early", start + 61min) == 2); // and the client is to have a new one
    CHECK(open(keys, late, "late", start + 119min) == 2);
    CHECK(open(keys, next, "next", start + 119min) == 1);
    CHECK(open(keys, early, "early", start + 122min) == 0);
    CHECK(open(keys, next, "next", start + 122min) == 2);
    // After a long silence the last key is too old even to be the one before.
    CHECK(open(keys, next, "next", start + 24h) == 0);
}
