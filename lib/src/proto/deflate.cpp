// SPDX-License-Identifier: BSL-1.0
#include "proto/deflate.hpp"

#include "proto/extension.hpp"

#define ZLIB_CONST
#include <zlib.h>

#include <algorithm>
#include <cassert>
#include <cstdlib>
#include <limits>
#include <new>
#include <utility>

namespace wring::proto {
namespace {

constexpr std::string_view extension_name = "permessage-deflate";

// --- Parameters ---

// What an offer or an answer says. Bits of 0: the parameter is not there, or has no value.
struct named_parameters
{
    bool server_no_takeover = false;
    bool client_no_takeover = false;
    bool client_window = false; // client_max_window_bits is there
    std::uint8_t server_bits = 0;
    std::uint8_t client_bits = 0;
};

// 8 to 15 without leading zeros (sections 7.1.2.1 and 7.1.2.2); 0 for anything else. In a quoted string, which stands
// for a token, a backslash means the character behind it.
std::uint8_t window_bits(std::string_view value) noexcept
{
    unsigned n = 0;
    for (char c : value) {
        if (c == '\\') continue; // none stands for itself, as it is not part of a token
        if (c < '0' || c > '9' || (c == '0' && n == 0)) return 0;
        n = n * 10 + static_cast<unsigned>(c - '0');
        if (n > max_window_bits) return 0;
    }
    return n < 8 ? std::uint8_t{0} : static_cast<std::uint8_t>(n);
}

// Reads the parameters of one element; false where one is unknown, there twice, or has a value that it may not have. An
// answer's client_max_window_bits must have one, an offer's need not.
bool read_parameters(extension_reader& element, bool answer, named_parameters& out) noexcept
{
    for (extension_parameter p; element.next(p);) {
        auto const once = [&](bool& seen) { return !p.value && !std::exchange(seen, true); };
        if (equal_ignoring_case(p.name, "server_no_context_takeover")) {
            if (!once(out.server_no_takeover)) return false;
        } else if (equal_ignoring_case(p.name, "client_no_context_takeover")) {
            if (!once(out.client_no_takeover)) return false;
        } else if (equal_ignoring_case(p.name, "server_max_window_bits")) {
            if (out.server_bits != 0 || !p.value) return false;
            out.server_bits = window_bits(*p.value);
            if (out.server_bits == 0) return false;
        } else if (equal_ignoring_case(p.name, "client_max_window_bits")) {
            if (std::exchange(out.client_window, true) || (answer && !p.value)) return false;
            if (p.value) {
                out.client_bits = window_bits(*p.value);
                if (out.client_bits == 0) return false;
            }
        } else {
            return false;
        }
    }
    return element.valid();
}

void append_bits(std::string& out, std::string_view name, unsigned bits)
{
    out.append("; ").append(name).append("=").append(std::to_string(bits));
}

// --- zlib ---

// Our own calls of malloc and free, so that tests that count and refuse memory see zlib's as well.
extern "C" {
static voidpf allocate_for_zlib(voidpf, uInt items, uInt size)
{
    return std::malloc(std::size_t{items} * size);
}
static void free_for_zlib(voidpf, voidpf memory)
{
    std::free(memory);
}
}

std::unique_ptr<z_stream> new_stream()
{
    auto s = std::make_unique<z_stream>();
    s->zalloc = allocate_for_zlib;
    s->zfree = free_for_zlib;
    return s;
}

Bytef* zlib_bytes(std::byte* p) noexcept
{
    return reinterpret_cast<Bytef*>(p);
}

Bytef const* zlib_bytes(std::byte const* p) noexcept
{
    return reinterpret_cast<Bytef const*>(p);
}

// Lends zlib what its sizes can say of the two spans.
void lend(z_stream& z, std::span<std::byte const> input, std::span<std::byte> output) noexcept
{
    constexpr std::size_t most = std::numeric_limits<uInt>::max();
    z.next_in = zlib_bytes(input.data());
    z.avail_in = static_cast<uInt>(std::min(input.size(), most));
    z.next_out = zlib_bytes(output.data());
    z.avail_out = static_cast<uInt>(std::min(output.size(), most));
}

} // namespace

std::optional<deflate_parameters> accept_deflate(field_range const& request, deflate_parameters const& wanted,
                                                 std::string& answer)
{
    std::optional<deflate_parameters> agreed;
    request.each_element("Sec-WebSocket-Extensions", [&](std::string_view text) {
        extension_reader offer(text);
        named_parameters asked;
        if (!equal_ignoring_case(offer.name(), extension_name) || !read_parameters(offer, false, asked)) return true;
        if (asked.server_bits != 0 && asked.server_bits < min_window_bits) return true;
        auto const smaller = [](std::uint8_t ours, std::uint8_t theirs) {
            return theirs == 0 ? ours : std::min(ours, theirs);
        };
        deflate_parameters p;
        p.server_takeover = wanted.server_takeover && !asked.server_no_takeover;
        p.client_takeover = wanted.client_takeover && !asked.client_no_takeover;
        p.server_bits = smaller(wanted.server_bits, asked.server_bits);
        if (asked.client_window) p.client_bits = smaller(wanted.client_bits, asked.client_bits);

        answer.append(extension_name);
        if (!p.server_takeover) answer.append("; server_no_context_takeover");
        if (!p.client_takeover) answer.append("; client_no_context_takeover");
        if (asked.server_bits != 0 || p.server_bits < max_window_bits)
            append_bits(answer, "server_max_window_bits", p.server_bits);
        if (p.client_bits < max_window_bits) append_bits(answer, "client_max_window_bits", p.client_bits);
        agreed = p;
        return false;
    });
    return agreed;
}

std::string deflate_offer(deflate_parameters const& wanted)
{
    std::string offer;
    auto const add = [&](bool with_window) {
        offer.append(offer.empty() ? "" : ", ").append(extension_name);
        if (!wanted.server_takeover) offer.append("; server_no_context_takeover");
        if (!wanted.client_takeover) offer.append("; client_no_context_takeover");
        if (with_window) append_bits(offer, "server_max_window_bits", wanted.server_bits);
        if (wanted.client_bits < max_window_bits)
            append_bits(offer, "client_max_window_bits", wanted.client_bits);
        else
            offer.append("; client_max_window_bits");
    };
    bool const small_window = wanted.server_bits < max_window_bits;
    add(small_window);
    if (small_window && !wanted.server_takeover) add(false);
    return offer;
}

errc check_deflate(std::string_view answer, deflate_parameters const& wanted,
                   std::optional<deflate_parameters>& out) noexcept
{
    out.reset();
    for (auto text : list_range{answer}) { // at most one, or check_response() would have said so
        extension_reader element(text);
        named_parameters said;
        if (!read_parameters(element, true, said)) return errc::extension_parameters;
        deflate_parameters p;
        p.server_takeover = !said.server_no_takeover;
        p.client_takeover = wanted.client_takeover && !said.client_no_takeover;
        if (said.server_bits != 0) p.server_bits = said.server_bits;
        p.client_bits = said.client_bits != 0 ? said.client_bits : wanted.client_bits;
        bool const alternative = said.server_bits == 0 && !wanted.server_takeover; // the offer's second form
        if ((p.server_takeover && !wanted.server_takeover) || p.client_bits > wanted.client_bits ||
            (p.server_bits > wanted.server_bits && !alternative))
            return errc::extension_parameters;
        out = p;
    }
    return errc::ok;
}

deflater::deflater(deflate_shape const& shape) : stream_(new_stream()), shape_(shape)
{
    assert(valid(shape));
    if (::deflateInit2(stream_.get(), shape.level, Z_DEFLATED, -int{shape.bits}, shape.mem_level,
                       Z_DEFAULT_STRATEGY) != Z_OK)
        throw std::bad_alloc();
}

deflater::~deflater()
{
    ::deflateEnd(stream_.get());
}

deflater::progress deflater::step(std::span<std::byte const>& input, std::span<std::byte> output) noexcept
{
    assert(output.size() >= least_room); // else a flush could begin again and again
    z_stream& z = *stream_;
    lend(z, input, output);
    auto const taken = z.avail_in;
    auto const room = z.avail_out;
    // Z_BUF_ERROR, nothing to do, is as good as Z_OK; others only misuse can give.
    (void)::deflate(&z, taken == input.size() ? Z_SYNC_FLUSH : Z_NO_FLUSH);
    input = input.subspan(taken - z.avail_in);
    return {room - z.avail_out, input.empty() && z.avail_out > 0};
}

void deflater::forget() noexcept
{
    ::deflateReset(stream_.get());
}

inflater::inflater(int bits) : stream_(new_stream()), bits_(bits)
{
    if (::inflateInit2(stream_.get(), -std::max(bits, min_window_bits)) != Z_OK) throw std::bad_alloc();
}

inflater::~inflater()
{
    ::inflateEnd(stream_.get());
}

inflater::progress inflater::step(std::span<std::byte const>& input, std::span<std::byte> output)
{
    z_stream& z = *stream_;
    progress p;
    for (bool more = true; more;) {
        lend(z, input, output.subspan(p.written));
        auto const taken = z.avail_in;
        auto const room = z.avail_out;
        int const result = ::inflate(&z, Z_SYNC_FLUSH);
        if (result == Z_MEM_ERROR) throw std::bad_alloc();
        bool const last_block = result == Z_STREAM_END;
        if (result != Z_OK && result != Z_BUF_ERROR && !last_block) {
            p.error = errc::deflate_invalid;
            return p;
        }
        auto const used = taken - z.avail_in;
        auto const written = room - z.avail_out;
        input = input.subspan(used);
        p.written += written;
        // 128: at the end of a block; the low bits: how many of the last byte's bits are left. Only a call that did
        // something tells.
        if (used > 0 || written > 0) complete_ = (z.data_type & 128) != 0 && (z.data_type & 63) == 0;
        if (last_block) { // others may follow, and may refer to what was before (section 7.2.3.4)
            ::inflateResetKeep(&z);
            complete_ = true;
        }
        more = !input.empty() && p.written < output.size() && (used > 0 || written > 0 || last_block);
    }
    p.done = input.empty() && p.written < output.size();
    return p;
}

std::span<std::byte const> inflater::tail() noexcept
{
    static constexpr std::byte bytes[deflate_tail_size] = {std::byte{0}, std::byte{0}, std::byte{255}, std::byte{255}};
    return bytes;
}

void inflater::forget() noexcept
{
    ::inflateReset(stream_.get());
    complete_ = true;
}

std::size_t inflater::window_size() const noexcept
{
    uInt size = 0;
    ::inflateGetDictionary(stream_.get(), nullptr, &size);
    return size;
}

void inflater::copy_window(std::byte* out) const noexcept
{
    uInt size = 0;
    ::inflateGetDictionary(stream_.get(), zlib_bytes(out), &size);
}

void inflater::set_window(std::span<std::byte const> window)
{
    if (::inflateSetDictionary(stream_.get(), zlib_bytes(window.data()), static_cast<uInt>(window.size())) != Z_OK)
        throw std::bad_alloc();
}

} // namespace wring::proto
