// SPDX-License-Identifier: BSL-1.0
#include "tls/error.hpp"

#include "catch.hpp"
#include "tls/openssl.hpp"

#include <cerrno>
#include <set>

using namespace wring;
using detail::tls_error;
using detail::tls_error_code;

TEST_CASE("each TLS error compares with its kind and says more")
{
    struct
    {
        int error;
        tls::errc kind;
        std::string message;
    } const rows[] = {
        {tls_error(tls::errc::truncated), tls::errc::truncated, "without a close_notify"},
        {tls_error(tls::errc::not_tls), tls::errc::not_tls, "does not speak TLS"},
        {tls_error(tls::errc::untrusted, X509_V_ERR_CERT_HAS_EXPIRED), tls::errc::untrusted, "expired"},
        {tls_error(tls::errc::untrusted, X509_V_ERR_HOSTNAME_MISMATCH), tls::errc::untrusted, "hostname mismatch"},
        {tls_error(tls::errc::untrusted, detail::no_certificate), tls::errc::untrusted, "no certificate"},
        {tls_error(tls::errc::untrusted, detail::not_pinned), tls::errc::untrusted, "pinned"},
        {tls_error(tls::errc::refused, SSL_AD_UNKNOWN_CA), tls::errc::refused, "unknown CA"},
        {tls_error(tls::errc::failed), tls::errc::failed, "reason 0"},
        {detail::tls_failure(ERR_PACK(ERR_LIB_SSL, 0, SSL_R_NO_SHARED_CIPHER)), tls::errc::failed, "no shared cipher"},
        {tls_error(tls::errc::flooded), tls::errc::flooded, "without data"},
        {detail::tls_unusable("a.pem: is no good"), tls::errc::unusable, "a.pem: is no good"},
    };
    std::set<std::string> messages;
    for (auto const& row : rows) {
        INFO(row.message);
        CHECK(detail::is_tls_error(row.error));
        std::error_code const code = tls_error_code(row.error);
        CHECK(code.message().find(row.message) != std::string::npos);
        CHECK(code.category() == tls::error_category());
        for (auto kind : {tls::errc::truncated, tls::errc::not_tls, tls::errc::untrusted, tls::errc::refused,
                          tls::errc::failed, tls::errc::flooded, tls::errc::unusable})
            CHECK((code == kind) == (kind == row.kind));
        CHECK(!std::error_condition(row.kind).message().empty());
        messages.insert(code.message());
    }
    CHECK(messages.size() == std::size(rows));
    CHECK(std::string(tls::error_category().name()) == "wring.tls");
    CHECK(tls::error_category().message(0x70 << 24) == "unknown TLS error");
}

TEST_CASE("TLS errors compare with the conditions of the system")
{
    CHECK(tls_error_code(tls_error(tls::errc::truncated)) == std::errc::connection_aborted);
    CHECK(tls_error_code(tls_error(tls::errc::untrusted, X509_V_ERR_CERT_HAS_EXPIRED)) == std::errc::permission_denied);
    CHECK(tls_error_code(tls_error(tls::errc::failed, 1)) == std::errc::protocol_error);
    CHECK(tls_error_code(detail::tls_unusable("x")) == std::errc::invalid_argument);
    CHECK(tls_error_code(tls_error(tls::errc::truncated)) != std::errc::protocol_error);
}

TEST_CASE("no errno is a TLS error")
{
    for (int e : {0, 1, EPIPE, ECONNRESET, 133, 4095, -1, -ECONNRESET})
        CHECK(!detail::is_tls_error(e));
}

TEST_CASE("what can't be used has its text, each text one code, and not without end")
{
    auto const a = detail::tls_unusable("first text");
    auto const b = detail::tls_unusable("second text");
    CHECK(a != b);
    CHECK(detail::tls_unusable("first text") == a);
    int last = 0;
    for (int i = 0; i < 2000; ++i)
        last = detail::tls_unusable("text " + std::to_string(i));
    CHECK(tls_error_code(last) == tls::errc::unusable); // still an error, if without its text
    CHECK(!tls_error_code(last).message().empty());
    CHECK(tls_error_code(a).message() == "first text");
    CHECK(tls_error_code(b).message() == "second text");
}
