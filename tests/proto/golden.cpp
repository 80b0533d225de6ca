// SPDX-License-Identifier: BSL-1.0
//
// Plays the transcripts of tests/golden against the protocol core; README.md there describes their format.
#include "proto/handshake.hpp"
#include "proto/session.hpp"

#include "bytes.hpp"
#include "catch.hpp"
#include "engine/block.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <set>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

using namespace wring::proto;
using namespace wring::test;

namespace {

struct transcript
{
    std::string name;
    std::string as;
    std::string offer;
    std::string extensions;
    limits limit;
    bool rsv1 = false;
    byte_string input;
    std::vector<std::string> events;
    byte_string answers;
};

// --- Reading ---

byte_string unescaped(std::string_view text)
{
    std::string s;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] != '\\') {
            s += text[i];
            continue;
        }
        switch (text.at(++i)) {
        case 'r':
            s += '\r';
            break;
        case 'n':
            s += '\n';
            break;
        case 't':
            s += '\t';
            break;
        case 'x':
            s += to_text(from_hex(text.substr(i + 1, 2)));
            i += 2;
            break;
        default:
            s += text[i];
        }
    }
    return from_text(s);
}

// The word before the first space; what follows it is left in `line`.
std::string take_word(std::string& line)
{
    auto const end = std::min(line.find(' '), line.size());
    auto word = line.substr(0, end);
    line.erase(0, std::min(end + 1, line.size()));
    return word;
}

// hex, text or repeat and its argument.
byte_string read_bytes(std::string rest)
{
    auto const form = take_word(rest);
    if (form == "hex") return from_hex(rest);
    if (form == "text") return unescaped(rest);
    if (form != "repeat") throw std::runtime_error("unknown form of bytes: " + form);
    auto const count = std::stoul(take_word(rest));
    return byte_string(count, from_hex(rest).at(0));
}

void read_directive(transcript& t, std::string line)
{
    auto const whole = line;
    auto const word = take_word(line);
    if (word == "as") {
        t.as = line;
    } else if (word == "offer") {
        t.offer = line;
    } else if (word == "extensions") {
        t.extensions = line;
    } else if (word == "allow") {
        t.rsv1 = true;
    } else if (word == "limit") {
        auto const which = take_word(line);
        auto const n = std::stoull(line);
        if (which == "frame") t.limit.max_frame = n;
        if (which == "message") t.limit.max_message = n;
        if (which == "fragments") t.limit.max_fragments = static_cast<std::uint32_t>(n);
    } else if (word == "expect") {
        t.events.push_back(line);
    } else if (word == "answer") {
        t.answers = t.answers + read_bytes(line);
    } else if (word == "masked") {
        auto const key = from_hex(take_word(line));
        auto bytes = read_bytes(line);
        for (std::size_t i = 0; i < bytes.size(); ++i)
            bytes[i] ^= key.at(i % 4);
        t.input = t.input + bytes;
    } else {
        t.input = t.input + read_bytes(whole);
    }
}

std::vector<transcript> read_file(std::string const& name)
{
    std::string directory = "tests";
#if defined(WRING_TEST_DATA)
    directory = WRING_TEST_DATA;
#else
    if (auto const* from_environment = std::getenv("WRING_TEST_DATA")) directory = from_environment;
#endif
    std::ifstream file{directory + "/golden/" + name};
    if (!file) throw std::runtime_error("cannot read " + directory + "/golden/" + name);
    std::vector<transcript> all;
    std::string line;
    while (std::getline(file, line)) {
        if (line.empty() || line.front() == '#' || line == "end") continue;
        if (line.starts_with("session "))
            all.emplace_back().name = line.substr(8);
        else
            read_directive(all.at(all.size() - 1), line);
    }
    return all;
}

// --- Playing ---

std::string shown(std::string const& payload)
{
    if (payload.size() > 64 && payload.find_first_not_of(payload[0]) == payload.npos) {
        char text[64];
        std::snprintf(text, sizeof text, "repeat %zu %02x", payload.size(), static_cast<unsigned char>(payload[0]));
        return text;
    }
    std::string s = "\"";
    for (char c : payload) {
        if (c == '\r')
            s += "\\r";
        else if (c == '\n')
            s += "\\n";
        else if (c == '\t')
            s += "\\t";
        else if (c == '"' || c == '\\')
            s += std::string{'\\', c};
        else if (c >= 0x20 && c < 0x7F)
            s += c;
        else {
            char text[8];
            std::snprintf(text, sizeof text, "\\x%02x", static_cast<unsigned char>(c));
            s += text;
        }
    }
    return s + "\"";
}

// What a transcript expects, in a form that is compared often and shown seldom.
struct reported
{
    std::string what;
    bool has_payload = false;
    std::string payload;

    std::string text() const { return has_payload ? what + shown(payload) : what; }
    bool operator==(reported const&) const = default;
};

struct outcome
{
    std::vector<reported> events;
    byte_string answers;
    bool operator==(outcome const&) const = default;
};

// One end of a connection built of nothing but the protocol core: the least that a caller of it has to do.
class endpoint
{
public:
    // `input` is where the bytes arrive, one after the other.
    endpoint(transcript const& t, std::byte* input)
        : t_(t), input_(input),
          session_(t.as == "server" || t.as == "request" ? role::server : role::client, t.limit, t.rsv1),
          scanner_(kind_of(t)), state_(t.as == "server" || t.as == "client" ? state::frames : state::head)
    {}

    // The next `size` bytes have arrived, behind those that were left.
    void feed(std::size_t size)
    {
        arrived_ += size;
        if (state_ == state::closed) return;
        while (state_ == state::head && scanned_ < arrived_)
            if (!read_head()) break;
        if (state_ == state::frames) read_frames();
    }

    outcome finish()
    {
        if (state_ == state::head) report("incomplete");
        if (open_) report_frame("part ");
        return std::move(result_);
    }

private:
    enum class state
    {
        head,
        frames,
        closed
    };

    static head_scanner::kind kind_of(transcript const& t)
    {
        return t.as == "response" ? head_scanner::kind::response : head_scanner::kind::request;
    }

    // False once the bytes at hand are used up.
    bool read_head()
    {
        std::string_view const text{reinterpret_cast<char const*>(input_ + taken_), arrived_ - taken_};
        auto const p = scanner_.feed(text.substr(scanned_ - taken_));
        if (p.error != errc::ok) return refuse(p.error);
        scanned_ += p.consumed;
        if (!p.complete) return false;
        auto const end = taken_ + scanner_.size();
        if (t_.as == "request")
            answer_request(scanner_.request(text));
        else
            judge_response(scanner_.response(text));
        scanned_ = taken_ = end;
        return true;
    }

    bool refuse(errc e)
    {
        state_ = state::closed;
        auto const status = http_status_for(e);
        if (t_.as == "response") {
            report(std::string{"fail "} + message(e));
        } else if (e == errc::not_an_upgrade) {
            report("plain");
        } else {
            report("refuse " + std::to_string(status) + " " + message(e));
            refusal r;
            r.status = status;
            std::string out;
            CHECK(write_refusal(out, r) == errc::ok);
            result_.answers = result_.answers + from_text(out);
        }
        return false;
    }

    void answer_request(request_head const& request)
    {
        if (auto const e = check_upgrade(request); e != errc::ok) return void(refuse(e));
        auto const choice = choose_subprotocol(request, t_.offer);
        if (choice.error != errc::ok) return void(refuse(choice.error));
        std::string out;
        CHECK(write_switching_protocols(out, {*request.fields.find("Sec-WebSocket-Key"), choice.name, "", {}}) ==
              errc::ok);
        result_.answers = result_.answers + from_text(out);
        report("upgrade" + (choice.name.empty() ? std::string{} : " " + std::string{choice.name}));
        state_ = state::frames;
    }

    void judge_response(response_head const& response)
    {
        bool skip = false;
        if (auto const e = skip_interim(response, interim_, skip); e != errc::ok) return void(refuse(e));
        if (skip) {
            report("interim " + std::to_string(response.status));
            scanner_ = head_scanner{head_scanner::kind::response};
            return;
        }
        client_request sent;
        sent.key = "dGhlIHNhbXBsZSBub25jZQ==";
        sent.subprotocols = t_.offer;
        sent.extensions = t_.extensions;
        accepted a;
        if (auto const e = check_response(response, sent, a); e != errc::ok) return void(refuse(e));
        report("open" + (a.subprotocol.empty() ? std::string{} : " " + std::string{a.subprotocol}));
        state_ = state::frames;
    }

    void read_frames()
    {
        std::span<std::byte> rest{input_ + taken_, arrived_ - taken_};
        for (auto e = session_.next(rest); e.what != event::kind::need_more; e = session_.next(rest))
            take(e);
        taken_ = arrived_ - rest.size();
        if (rest.size() >= max_control_frame) throw std::runtime_error("next() left more than a control frame");
    }

    void take(event const& e)
    {
        switch (e.what) {
        case event::kind::data:
            if (e.frame_start) {
                open_ = true;
                payload_.clear();
                flags_ = std::string{e.op == opcode::text ? "data text " : "data binary "} +
                         (e.compressed ? "compressed " : "") + (e.message_start ? "first " : "");
            }
            payload_.append(reinterpret_cast<char const*>(e.payload.data()), e.payload.size());
            if (e.frame_end) report_frame(e.message_end ? "last " : "");
            break;
        case event::kind::ping:
            report("ping ", to_text(e.payload));
            send(opcode::pong, e.payload);
            break;
        case event::kind::pong:
            report("pong ", to_text(e.payload));
            break;
        case event::kind::close:
            if (e.has_code)
                report("close " + std::to_string(e.code) + " ", std::string{e.reason});
            else
                report("close none");
            send_close();
            break;
        case event::kind::violation:
            open_ = false;
            report(std::string{"violation "} + message(e.error));
            send_close();
            break;
        case event::kind::need_more:
            break;
        }
    }

    void report_frame(std::string const& flag)
    {
        report(flags_ + flag, std::move(payload_));
        open_ = false;
    }

    void report(std::string what) { result_.events.push_back({std::move(what), false, {}}); }
    void report(std::string what, std::string payload)
    {
        result_.events.push_back({std::move(what), true, std::move(payload)});
    }

    void send(opcode op, std::span<std::byte const> payload)
    {
        CHECK(session_.start_frame(op, true) == errc::ok);
        std::array<std::byte, max_control_frame> frame{};
        auto const size = session_.encode_control(op, payload, {1, 2, 3, 4}, frame);
        result_.answers.insert(result_.answers.end(), frame.begin(), frame.begin() + static_cast<std::ptrdiff_t>(size));
    }

    void send_close()
    {
        // An echo: what was received may be sent back, 1010 included.
        auto const code = session_.close_reply_code();
        std::array<std::byte, 2> const payload{static_cast<std::byte>(code >> 8), static_cast<std::byte>(code & 0xFF)};
        send(opcode::close, std::span{payload}.first(code == 0 ? 0u : 2u));
    }

    transcript const& t_;
    std::byte* input_;
    session session_;
    head_scanner scanner_;
    state state_;
    unsigned interim_ = 0;
    std::size_t arrived_ = 0; // of the input
    std::size_t scanned_ = 0; // of it, by the scanner
    std::size_t taken_ = 0;   // of it, for good
    bool open_ = false;
    std::string flags_;
    std::string payload_;
    outcome result_;
};

// Where the input of all plays arrives: piece by piece, in place, so that a play costs little more than the core does.
class arena
{
public:
    explicit arena(byte_string const& input) : input_(input), bytes_(input.size() + guard) {}
    arena(arena const&) = delete;
    arena& operator=(arena const&) = delete;
    ~arena() { WRING_UNPOISON(bytes_.data(), bytes_.size()); }

    [[nodiscard]] std::byte* data() noexcept { return bytes_.data(); }

    // Bytes [from, from + size) of the input arrive. What lies behind them is not to be read, and not what comes next.
    void arrive(std::size_t from, std::size_t size) noexcept
    {
        WRING_UNPOISON(bytes_.data() + from, size + guard);
        std::memcpy(bytes_.data() + from, input_.data() + from, size);
        std::memset(bytes_.data() + from + size, 0xA5, guard);
        WRING_POISON(bytes_.data() + from + size, bytes_.size() - from - size);
    }

private:
    static constexpr std::size_t guard = 64;
    byte_string const& input_;
    byte_string bytes_;
};

// Plays the input in pieces of `step` bytes after a first one of `cut`.
outcome play(transcript const& t, arena& a, std::size_t cut, std::size_t step)
{
    endpoint e{t, a.data()};
    std::size_t arrived = 0;
    for (auto size = cut; arrived < t.input.size(); size = step) {
        size = std::min(size, t.input.size() - arrived);
        a.arrive(arrived, size);
        arrived += size;
        e.feed(size);
    }
    return e.finish();
}

void play_all(std::string const& file)
{
    std::set<std::string> names;
    for (auto const& t : read_file(file)) {
        INFO(file << ": " << t.name);
        CHECK(names.insert(t.name).second);
        auto const size = t.input.size();
        arena a{t.input};
        auto const whole = play(t, a, size, size);
        std::vector<std::string> events;
        for (auto const& e : whole.events)
            events.push_back(e.text());
        CHECK(events == t.events);
        CHECK(to_text(whole.answers) == to_text(t.answers));

        std::vector<std::size_t> different;
        for (std::size_t cut = 1; cut < size; ++cut)
            if (play(t, a, cut, size) != whole) different.push_back(cut);
        CHECK(different == std::vector<std::size_t>{});
        CHECK((play(t, a, 1, 1) == whole));
    }
    CHECK(names.size() >= 40);
}

} // namespace

TEST_CASE("golden transcripts of a server's frames, however cut", "[proto][golden]")
{
    play_all("frames-server.txt");
}

TEST_CASE("golden transcripts of a client's frames, however cut", "[proto][golden]")
{
    play_all("frames-client.txt");
}

TEST_CASE("golden transcripts of opening handshakes, however cut", "[proto][golden]")
{
    play_all("requests.txt");
}

TEST_CASE("golden transcripts of answers to opening handshakes, however cut", "[proto][golden]")
{
    play_all("responses.txt");
}
