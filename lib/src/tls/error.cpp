// SPDX-License-Identifier: BSL-1.0
#include "tls/error.hpp"

#include "tls/openssl.hpp"

#include <algorithm>
#include <mutex>
#include <new>

namespace wring {

namespace detail {

namespace {

constexpr std::size_t most_texts = 1000;

/// What errors of errc::unusable say: an error code has no room for the name of a file.
class text_table
{
public:
    /// The number of a text, from 1 on; 0 where the table is full.
    int add(std::string text)
    {
        std::lock_guard lock(mutex_);
        auto const known = std::find(texts_.begin(), texts_.end(), text);
        if (known != texts_.end())
            return static_cast<int>(known - texts_.begin()) + 1;
        if (texts_.size() >= most_texts)
            return 0;
        texts_.push_back(std::move(text));
        return static_cast<int>(texts_.size());
    }
    std::string get(int number)
    {
        std::lock_guard lock(mutex_);
        auto const index = static_cast<std::size_t>(number) - 1;
        return index < texts_.size() ? texts_[index] : "a certificate, key or option can't be used";
    }

private:
    std::mutex mutex_;
    std::vector<std::string> texts_;
};

text_table& texts()
{
    static text_table table;
    return table;
}

std::string reason_of(int detail)
{
    auto const error = ERR_PACK(detail >> 16, 0, detail & 0xFFFF);
    if (char const* const reason = ERR_reason_error_string(error))
        return reason;
    return "reason " + std::to_string(detail & 0xFFFF) + " of OpenSSL's library " + std::to_string(detail >> 16);
}

std::string distrust(int detail)
{
    switch (detail) {
    case no_certificate: return "the peer has sent no certificate";
    case not_pinned: return "the peer's certificate is not one of those pinned";
    default: return std::string("the peer's certificate is not trusted: ") + X509_verify_cert_error_string(detail);
    }
}

// A condition's value is the kind alone.
tls::errc kind_of(int code) noexcept
{
    return static_cast<tls::errc>(is_tls_error(code) ? code >> tls_error_shift : code);
}

std::string alert_name(int alert)
{
    std::string const name = SSL_alert_desc_string_long(alert);
    if (name != "unknown")
        return name;
    std::string const reason = reason_of(ERR_LIB_SSL << 16 | (SSL_AD_REASON_OFFSET + alert)); // "tlsv13 alert NAME"
    auto const at = reason.find("alert ");
    return at == reason.npos ? reason : reason.substr(at + 6);
}

class category final : public std::error_category
{
public:
    char const* name() const noexcept override { return "wring.tls"; }

    std::string message(int code) const override
    {
        int const detail = code & tls_detail_mask;
        switch (kind_of(code)) {
        case tls::errc::truncated: return "the stream ended without a close_notify of TLS: it may have been cut off";
        case tls::errc::not_tls: return "the peer does not speak TLS";
        case tls::errc::untrusted: return distrust(detail);
        case tls::errc::refused: return "the peer has ended TLS with an alert: " + alert_name(detail);
        case tls::errc::failed: return "TLS failed: " + reason_of(detail);
        case tls::errc::flooded: return "the peer sends TLS messages without data and without end";
        case tls::errc::unusable: return texts().get(detail);
        }
        return "unknown TLS error";
    }

    std::error_condition default_error_condition(int code) const noexcept override
    {
        switch (kind_of(code)) {
        case tls::errc::truncated: return std::errc::connection_aborted;
        case tls::errc::untrusted:
        case tls::errc::refused: return std::errc::permission_denied;
        case tls::errc::unusable: return std::errc::invalid_argument;
        default: return std::errc::protocol_error;
        }
    }

    bool equivalent(int code, std::error_condition const& condition) const noexcept override
    {
        if (condition.category() == *this)
            return static_cast<int>(kind_of(code)) == condition.value();
        return default_error_condition(code) == condition;
    }
};

} // namespace

int tls_failure(unsigned long openssl_error) noexcept
{
    return tls_error(tls::errc::failed,
                     (ERR_GET_LIB(openssl_error) & 0xFF) << 16 | (ERR_GET_REASON(openssl_error) & 0xFFFF));
}

int tls_unusable(std::string why) noexcept
{
    int number = 0;
    try {
        number = texts().add(std::move(why));
    } catch (std::bad_alloc const&) { // it is an error all the same, without its text
    }
    return tls_error(tls::errc::unusable, number);
}

} // namespace detail

std::error_category const& tls::error_category() noexcept
{
    static detail::category const instance;
    return instance;
}

std::error_condition tls::make_error_condition(errc e) noexcept
{
    return {static_cast<int>(e), error_category()};
}

} // namespace wring
