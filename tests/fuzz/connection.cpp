// SPDX-License-Identifier: BSL-1.0
//
// A whole connection on a loop, over a stream in memory, against the model: what is read, what is answered, how it
// ends. Input: cuts, flags, how it is read, then the bytes on the wire.
#include "model.hpp"
#include "targets.hpp"

#include "net/stream_core.hpp"
#include "proto/error.hpp"
#include "ws/connection_core.hpp"

#include <wring/wring.hpp>

#include <optional>

namespace wring::fuzz {
namespace {

using namespace std::chrono_literals;

struct scenario
{
    proto::role self = proto::role::server;
    cutter cuts{0};
    std::size_t chunk = 0;
    std::uint8_t reads = 0; // bit by bit: read() or read_frame(), and which are canceled
    ws::upgrade_options options;
    input wire;
};

struct outcome
{
    std::vector<happening> messages;
    std::error_code end;
    ws::status status;
    std::string sent;
};

task<> peer(stream& raw, scenario const& s)
{
    cutter cuts = s.cuts;
    for (auto left = s.wire; !left.empty();) {
        auto const n = cuts.next(left.size());
        auto const sent = co_await raw.write(std::as_bytes(left.first(n)));
        if (!sent) co_return; // our side has closed
        left = left.subspan(n);
    }
    raw.shutdown();
}

task<> hear(stream& raw, std::string& all)
{
    std::vector<std::byte> part(4096);
    while (auto const got = co_await raw.read_some(part))
        all.append(reinterpret_cast<char const*>(got->data()), got->size());
}

task<> read_all(ws::connection& ws, scenario const& s, outcome& out)
{
    happening message;
    auto const add = [&](bool text, bool first, bool fin, std::span<std::byte const> payload) {
        if (first) message = {text ? "text" : "binary", true, true, 0, ""};
        message.payload.append(reinterpret_cast<char const*>(payload.data()), payload.size());
        if (fin) out.messages.push_back(std::exchange(message, {}));
    };
    for (unsigned n = 0;; ++n) {
        bool const whole = (s.reads >> n % 4 & 1) != 0;
        bool const hurried = (s.reads >> (4 + n % 4) & 1) != 0;
        if (whole) {
            bool const fresh = message.what.empty();
            result<ws::message> m = errc::canceled;
            if (hurried) m = co_await timeout(0ms, ws.read());
            if (!m && (m.error() == errc::canceled || m.error() == errc::timed_out)) m = co_await ws.read();
            if (!m) {
                out.end = m.error();
                break;
            }
            add(m->is_text, fresh, true, m->payload);
        } else {
            result<ws::frame> f = errc::canceled;
            if (hurried) f = co_await timeout(0ms, ws.read_frame());
            if (!f && (f.error() == errc::canceled || f.error() == errc::timed_out)) f = co_await ws.read_frame();
            if (!f) {
                out.end = f.error();
                break;
            }
            require((f->op == ws::opcode::continuation) == !message.what.empty(), "a message begins with its opcode");
            add(f->op == ws::opcode::text, message.what.empty(), f->fin, f->payload);
        }
    }
    out.status = ws.status();
    out.status.reason = {};
}

task<> meet(scenario const& s, outcome& out)
{
    stream_pair_options pieces;
    pieces.chunk = s.chunk;
    auto ends = make_stream_pair(pieces);
    scope both;
    both.spawn(peer(ends.second, s));
    both.spawn(hear(ends.second, out.sent));
    {
        ws::connection ws(new detail::connection_core(detail::stream_access::take(std::move(ends.first)), s.self,
                                                      detail::connection_settings(s.options), ""));
        co_await read_all(ws, s, out);
    }
    co_await both.join();
}

// Frames to messages; a message that is not finished is not given.
std::vector<happening> messages_of(std::vector<happening> const& frames)
{
    std::vector<happening> all;
    happening message;
    for (auto const& f : frames) {
        if (f.what != "text" && f.what != "binary") continue;
        if (f.first) message = f;
        if (!f.first) message.payload += f.payload;
        message.last = f.last;
        if (f.last) all.push_back(message);
    }
    return all;
}

void check_answers(std::vector<happening> const& model, outcome const& out, scenario const& s)
{
    auto const other = s.self == proto::role::server ? proto::role::client : proto::role::server;
    auto const bytes = std::as_bytes(std::span(out.sent));
    auto const sent =
        expected({reinterpret_cast<std::uint8_t const*>(bytes.data()), bytes.size()}, other, {0, 0, 0}, false);
    auto const& end = model.empty() ? happening{} : model.back();
    bool const ended = end.what == "fail" || end.what == "close";
    std::size_t ping = 0;
    std::string newest;
    for (auto const& f : sent) {
        if (f.what != "pong") continue;
        while (ping < model.size() && (model[ping].what != "ping" || model[ping].payload != f.payload))
            ++ping; // the newest ping's pong answers for those before it
        require(ping++ < model.size(), "each pong answers a ping, in their order");
    }
    require(sent.empty() || sent.back().what != "fail", "what is sent is sound");
    std::size_t closes = 0;
    for (auto const& f : sent) {
        require(f.what == "pong" || f.what == "close", "nothing but pongs and a close is sent");
        closes += f.what == "close" ? 1 : 0;
    }
    require(closes == (ended ? 1 : 0), "a violation and a close frame are answered, an end without them is not");
    if (ended) require(sent.back().what == "close" && sent.back().code == end.code, "... with the right code, at last");
}

} // namespace

void fuzz_connection(input in)
{
    scenario s;
    reader r(in);
    s.cuts = cutter(r.byte());
    auto const flags = r.byte();
    s.self = (flags & 1) != 0 ? proto::role::client : proto::role::server;
    s.reads = r.byte();
    if ((flags & 2) != 0) s.chunk = 1u + r.byte();
    if ((flags & 4) != 0) {
        s.options.max_frame = r.byte() * 4u;
        s.options.max_message = r.byte() * 8u;
        s.options.max_fragments = r.byte() % 16;
    }
    s.options.read_limit = (flags & 8) != 0 ? 64 : 64 * 1024;
    s.options.ping_interval = s.options.pong_timeout = s.options.idle_timeout = duration::zero();
    s.wire = r.rest();

    run_options options;
    options.handle_signals = false;
    options.receive_buffer_size = (flags & 16) != 0 ? 256 : 16 * 1024;
    options.submission_entries = 8;
    options.completion_entries = 64;
    outcome out;
    require(run(meet(s, out), options) == 0, "the loop ends well");

    proto::limits const limit{s.options.max_frame, s.options.max_message, s.options.max_fragments};
    auto const model = expected(s.wire, s.self, limit, false);
    require(out.messages == messages_of(model), "each whole message is read, and nothing else");
    auto const& end = model.empty() ? happening{} : model.back();
    if (end.what == "fail") {
        require(out.end.category() == ws::protocol_category(), "a violation is told");
        require(proto::close_code_for(static_cast<proto::errc>(out.end.value())) == end.code, "... by its rule");
    } else {
        require(out.end == (end.what == "close" ? ws::errc::closed : ws::errc::abnormal_closure), "the end is told");
    }
    require(!out.status.open && out.status.error == out.end, "the status says the same");
    if (end.what == "close") require(static_cast<unsigned>(out.status.code) == end.code, "... and the peer's code");
    check_answers(model, out, s);
}

} // namespace wring::fuzz
