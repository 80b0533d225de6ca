// SPDX-License-Identifier: BSL-1.0
// Certificates for tests, made when they run: an authority, and what it issues. Nothing of it is in a file before.
#pragma once

#include <wring/tls.hpp>

#include <cstring>
#include <ctime>
#include <memory>
#include <stdexcept>
#include <string>

#include <openssl/pem.h>
#include <openssl/x509v3.h>

namespace tls_test {

/// PEM texts.
struct identity
{
    std::string certificate; ///< with the authority's behind it, where that is an intermediate one
    std::string key;
};

struct certificate_request
{
    std::string common_name = "test";
    std::string names = "DNS:test,DNS:localhost,IP:127.0.0.1,IP:::1"; ///< subjectAltName; empty: none
    long from = -3600; ///< seconds from now
    long to = 24 * 3600;
    bool authority = false;
    char const* usage = "serverAuth,clientAuth";
};

namespace inside {

inline void check(bool good, char const* what)
{
    if (!good)
        throw std::runtime_error(std::string("making a certificate: ") + what);
}

struct free_key
{
    void operator()(EVP_PKEY* key) const noexcept { EVP_PKEY_free(key); }
};
struct free_certificate
{
    void operator()(X509* certificate) const noexcept { X509_free(certificate); }
};
using key_ptr = std::unique_ptr<EVP_PKEY, free_key>;
using certificate_ptr = std::unique_ptr<X509, free_certificate>;

template <class Write>
std::string pem(Write write)
{
    BIO* const out = BIO_new(BIO_s_mem());
    check(out && write(out) == 1, "PEM");
    char* bytes = nullptr;
    auto const size = BIO_get_mem_data(out, &bytes);
    std::string text(bytes, static_cast<std::size_t>(size));
    BIO_free(out);
    return text;
}

// EVP_EC_gen() casts const away, of which clang warns.
inline EVP_PKEY* new_key()
{
    char curve[] = "P-256";
    return EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", curve);
}

} // namespace inside

class authority
{
public:
    explicit authority(std::string name = "Test Authority", authority const* above = nullptr) :
        key_(inside::new_key()), above_(above)
    {
        certificate_request r;
        r.common_name = std::move(name);
        r.names.clear();
        r.authority = true;
        certificate_ = make(r, key_.get(), above ? above : this, nullptr);
    }

    /// To be trusted.
    [[nodiscard]] std::string certificate() const
    {
        return inside::pem([&](BIO* out) { return PEM_write_bio_X509(out, certificate_.get()); });
    }

    [[nodiscard]] identity issue(certificate_request const& r = {}, char const* password = nullptr) const
    {
        inside::key_ptr const key(inside::new_key());
        auto const made = make(r, key.get(), this, certificate_.get());
        return as_text(made.get(), key.get(), above_ ? certificate() : "", password);
    }

    /// A certificate that its own key has signed.
    [[nodiscard]] static identity self_signed(certificate_request const& r = {})
    {
        authority alone;
        auto const made = alone.make(r, alone.key_.get(), &alone, nullptr);
        return as_text(made.get(), alone.key_.get(), "", nullptr);
    }

private:
    static identity as_text(X509* certificate, EVP_PKEY* key, std::string const& chain, char const* password)
    {
        identity i;
        i.certificate = inside::pem([&](BIO* out) { return PEM_write_bio_X509(out, certificate); }) + chain;
        auto* const pass = reinterpret_cast<unsigned char*>(const_cast<char*>(password));
        int const size = password ? static_cast<int>(std::strlen(password)) : 0;
        i.key = inside::pem([&](BIO* out) {
            return PEM_write_bio_PrivateKey(out, key, password ? EVP_aes_256_cbc() : nullptr, pass, size, nullptr,
                                            nullptr);
        });
        return i;
    }

    inside::certificate_ptr make(certificate_request const& r, EVP_PKEY* key, authority const* signer,
                                 X509* issuer) const
    {
        using inside::check;
        inside::certificate_ptr made(X509_new());
        X509* const c = made.get();
        if (!issuer)
            issuer = signer == this ? c : signer->certificate_.get();
        static long serial = std::time(nullptr) % 1'000'000 * 1000;
        check(c && X509_set_version(c, 2) == 1, "version");
        ASN1_INTEGER_set(X509_get_serialNumber(c), ++serial);
        X509_gmtime_adj(X509_getm_notBefore(c), r.from);
        X509_gmtime_adj(X509_getm_notAfter(c), r.to);
        auto const* name = reinterpret_cast<unsigned char const*>(r.common_name.c_str());
        check(X509_NAME_add_entry_by_txt(X509_get_subject_name(c), "CN", MBSTRING_UTF8, name, -1, -1, 0) == 1, "name");
        check(X509_set_issuer_name(c, X509_get_subject_name(issuer)) == 1, "issuer");
        check(X509_set_pubkey(c, key) == 1, "key");
        add(c, issuer, NID_basic_constraints, r.authority ? "critical,CA:TRUE" : "critical,CA:FALSE");
        add(c, issuer, NID_subject_key_identifier, "hash");
        if (issuer != c)
            add(c, issuer, NID_authority_key_identifier, "keyid");
        if (r.authority)
            add(c, issuer, NID_key_usage, "critical,keyCertSign,cRLSign");
        else
            add(c, issuer, NID_ext_key_usage, r.usage);
        if (!r.names.empty())
            add(c, issuer, NID_subject_alt_name, r.names.c_str());
        check(X509_sign(c, signer->key_.get(), EVP_sha256()) > 0, "signature");
        return made;
    }

    static void add(X509* to, X509* issuer, int what, char const* value)
    {
        X509V3_CTX context;
        X509V3_set_ctx(&context, issuer, to, nullptr, nullptr, 0);
        X509_EXTENSION* const e = X509V3_EXT_conf_nid(nullptr, &context, what, value);
        inside::check(e && X509_add_ext(to, e, -1) == 1, value);
        X509_EXTENSION_free(e);
    }

    inside::key_ptr key_;
    authority const* above_;
    inside::certificate_ptr certificate_;
};

/// The authority of most tests, and a certificate for "test", "localhost" and the loopback addresses.
struct usual
{
    authority ca;
    identity server = ca.issue();
    wring::tls::context accepting = wring::tls::context::server(server.certificate, server.key).value();
    wring::tls::context connecting = connecting_with({});

    [[nodiscard]] wring::tls::context connecting_with(wring::tls::client_options options) const
    {
        std::string const trust = ca.certificate();
        options.ca = trust;
        return wring::tls::context::client(options).value();
    }
    [[nodiscard]] wring::tls::context accepting_with(wring::tls::server_options options) const
    {
        options.certificate = server.certificate;
        options.key = server.key;
        return wring::tls::context::server(options).value();
    }
};

inline usual& pki()
{
    static usual one;
    return one;
}

} // namespace tls_test
