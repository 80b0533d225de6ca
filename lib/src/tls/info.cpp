// SPDX-License-Identifier: BSL-1.0
// What is told of a TLS connection.
#include "tls/session.hpp"

#include <array>
#include <cstdio>

namespace wring::detail {

namespace {

std::string text_of(char const* text)
{
    return text ? text : "";
}

std::string subject_of(X509* certificate)
{
    bio_ptr const out(BIO_new(BIO_s_mem()));
    constexpr unsigned long style = XN_FLAG_RFC2253 & ~static_cast<unsigned long>(ASN1_STRFLGS_ESC_MSB); // UTF-8 as it is
    if (!out || X509_NAME_print_ex(out.get(), X509_get_subject_name(certificate), 0, style) < 0)
        return {};
    char* bytes = nullptr;
    auto const size = BIO_get_mem_data(out.get(), &bytes);
    return {bytes, static_cast<std::size_t>(size)};
}

std::string text_of(ASN1_STRING const* text)
{
    auto const* bytes = reinterpret_cast<char const*>(ASN1_STRING_get0_data(text));
    return {bytes, static_cast<std::size_t>(ASN1_STRING_length(text))};
}

std::string address_of(ASN1_OCTET_STRING const* bytes)
{
    auto const* const octets = ASN1_STRING_get0_data(bytes);
    int const size = ASN1_STRING_length(bytes);
    std::string text;
    char part[8];
    if (size == 4) {
        for (int i = 0; i < size; ++i)
            text += (i ? "." : "") + std::to_string(octets[i]);
    } else if (size == 16) {
        for (int i = 0; i < size; i += 2) {
            std::snprintf(part, sizeof part, "%s%x", i ? ":" : "", octets[i] << 8 | octets[i + 1]);
            text += part;
        }
    }
    return text;
}

std::vector<std::string> names_of(X509* certificate)
{
    std::vector<std::string> names;
    auto* const found =
        static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr));
    std::unique_ptr<GENERAL_NAMES, openssl_free<GENERAL_NAMES_free>> const all(found);
    for (int i = 0; i < sk_GENERAL_NAME_num(all.get()); ++i) {
        GENERAL_NAME const* const name = sk_GENERAL_NAME_value(all.get(), i);
        switch (name->type) {
        case GEN_DNS: names.push_back("DNS:" + text_of(name->d.dNSName)); break;
        case GEN_EMAIL: names.push_back("email:" + text_of(name->d.rfc822Name)); break;
        case GEN_URI: names.push_back("URI:" + text_of(name->d.uniformResourceIdentifier)); break;
        case GEN_IPADD: names.push_back("IP:" + address_of(name->d.iPAddress)); break;
        default: break; // kinds without a usual text
        }
    }
    return names;
}

std::string fingerprint_of(X509* certificate)
{
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest;
    unsigned size = 0;
    if (X509_digest(certificate, EVP_sha256(), digest.data(), &size) != 1)
        return {};
    std::string text;
    for (unsigned i = 0; i < size; ++i) {
        constexpr char digits[] = "0123456789abcdef";
        text += digits[digest[i] >> 4];
        text += digits[digest[i] & 15];
    }
    return text;
}

} // namespace

tls::info tls_session::info() const
{
    SSL const* const ssl = ssl_.get();
    tls::info i;
    i.version = SSL_get_version(ssl);
    i.cipher = text_of(SSL_get_cipher_name(ssl));
    unsigned char const* protocol = nullptr;
    unsigned protocol_size = 0;
    SSL_get0_alpn_selected(ssl, &protocol, &protocol_size);
    if (protocol)
        i.alpn.assign(reinterpret_cast<char const*>(protocol), protocol_size);
    i.server_name = text_of(SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name));
    i.resumed = SSL_session_reused(ssl) == 1;
    bool const verified = SSL_get_verify_mode(ssl) != SSL_VERIFY_NONE && SSL_get_verify_result(ssl) == X509_V_OK;
    X509* const certificate = verified ? SSL_get0_peer_certificate(ssl) : nullptr;
    if (certificate) {
        i.peer_subject = subject_of(certificate);
        i.peer_names = names_of(certificate);
        i.peer_fingerprint = fingerprint_of(certificate);
    }
    return i;
}

} // namespace wring::detail
