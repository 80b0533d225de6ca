// SPDX-License-Identifier: BSL-1.0
// One TLS connection without its stream: records in, records out, plain bytes between.
#pragma once

#include "engine/block.hpp"
#include "tls/material.hpp"

namespace wring::detail {

/// Records of the peer are taken from a queue of the owner's, those for the peer are put into output(), in blocks of the
/// loop's. It keeps no buffer while nothing is under way.
class tls_session
{
public:
    enum class state : std::uint8_t {
        good,
        wants_input, ///< more of the peer's records
        ended,       ///< the peer has sent its close_notify
        failed,      ///< error() says why; there may be last words in output()
    };
    struct progress
    {
        std::size_t size; ///< bytes of data taken or given
        state now;        ///< good where there are any
    };

    static constexpr std::size_t record_size = 16 * 1024; ///< bytes of data that a record has room for

    /// The server's side; an error where there is no memory. `input` and `pool` must outlive it.
    [[nodiscard]] static result<std::unique_ptr<tls_session>>
    accept(std::shared_ptr<tls_material> material, engine::block_queue& input, engine::block_pool& pool);
    /// The client's. `host` is a name or an IP address: see tls::connect().
    [[nodiscard]] static result<std::unique_ptr<tls_session>>
    connect(std::shared_ptr<tls_material> material, std::string host, engine::block_queue& input,
            engine::block_pool& pool);

    tls_session(tls_session const&) = delete;
    tls_session& operator=(tls_session const&) = delete;

    /// Goes on with the handshake: good when it is done.
    [[nodiscard]] state handshake() noexcept;
    [[nodiscard]] bool established() const noexcept { return established_; }

    /// Decrypts into `into`, which is not empty.
    [[nodiscard]] progress read(std::span<std::byte> into) noexcept;
    /// Encrypts up to record_size bytes as one record. wants_input (only in the middle of a message of the peer's that
    /// comes in parts) means that nothing was done, and has to be tried again with more input.
    [[nodiscard]] progress write(std::span<std::byte const> bytes) noexcept;
    /// Sends close_notify: nothing can be written any more.
    void close() noexcept;

    [[nodiscard]] engine::block_queue& output() noexcept { return output_; }
    /// Whether read() could do something without more input.
    [[nodiscard]] bool has_input() const noexcept { return !input_.empty() || SSL_has_pending(ssl_.get()) == 1; }
    /// Of a transport: an errno or a tls_error().
    [[nodiscard]] int error() const noexcept { return error_; }

    [[nodiscard]] tls::info info() const;

private:
    // Messages that bring no data are for keys and alerts, and rare: so many per so much data are let through.
    static constexpr unsigned most_idle_messages = 64;
    static constexpr std::size_t data_per_allowance = 64 * 1024;

    tls_session(std::shared_ptr<tls_material> material, ssl_ptr ssl, engine::block_queue& input,
                engine::block_pool& pool) noexcept;
    static result<std::unique_ptr<tls_session>> make(std::shared_ptr<tls_material> material,
                                                     engine::block_queue& input, engine::block_pool& pool);
    [[nodiscard]] int aim_at(std::string const& host) noexcept;

    [[nodiscard]] state look_at_first_byte() noexcept;
    [[nodiscard]] state judge(int result) noexcept;
    state fail(int error) noexcept;

    // OpenSSL's side of the queues.
    static BIO_METHOD const* bio_method() noexcept;
    static int take(BIO* bio, char* to, int size) noexcept;
    static int give(BIO* bio, char const* from, int size) noexcept;
    static long control(BIO* bio, int command, long number, void* pointer) noexcept;
    static void on_message(int is_sent, int version, int type, void const* bytes, std::size_t size, SSL* ssl,
                           void* self) noexcept;

    std::shared_ptr<tls_material> material_; // outlives ssl_
    engine::block_queue& input_;
    engine::block_pool& pool_;
    engine::block_queue output_;
    ssl_ptr ssl_;
    int error_ = 0;
    unsigned idle_messages_ = 0;
    std::size_t data_ = 0; // since they were counted anew
    bool established_ = false;
    bool looked_ = false; // at the first byte
    bool no_memory_ = false;
};

} // namespace wring::detail
