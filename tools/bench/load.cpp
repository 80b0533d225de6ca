// SPDX-License-Identifier: BSL-1.0
// Load generator. One thread on plain epoll with framing of its own, so that what it measures does not share code
// with it. Frames are masked once, before the run, in a pool that the connections cycle through: sending any number
// of consecutive messages is one send() of bytes that are ready.
#include "common.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <dirent.h>
#include <fstream>
#include <map>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <random>
#include <sys/epoll.h>
#include <utility>
#include <vector>
#include <zlib.h>

namespace {

using clock_type = std::chrono::steady_clock;
using namespace std::chrono_literals;

std::uint64_t now_ns()
{
    return static_cast<std::uint64_t>(
        std::chrono::duration_cast<std::chrono::nanoseconds>(clock_type::now().time_since_epoch()).count());
}

enum class run_mode
{
    echo,
    broadcast,
    idle
};

struct options
{
    std::string url = "ws://127.0.0.1:9001/";
    run_mode mode = run_mode::echo;
    unsigned connections = 64;
    unsigned in_flight = 1;
    std::size_t size = 64;
    bool text = false;
    bool raw = false;
    bool deflate = false;
    bool takeover = false;
    bool touch = false;
    bool tls = false;
    double seconds = 3;
    double warmup = 1;
    int server_pid = 0;
    std::string json;
    bool quiet = false;

    std::string host_port;
    std::string path = "/";
};

constexpr const char* help =
    "[options]\n"
    "  --url ws://HOST:PORT/PATH   server (tcp://HOST:PORT implies --raw; wss:// speaks TLS and trusts whoever\n"
    "                              answers); default ws://127.0.0.1:9001/\n"
    "  --mode echo|broadcast|idle  echo: every connection sends and waits for its own message;\n"
    "                              broadcast: one connection sends, all receive; idle: connections are only held\n"
    "  --connections N             default 64\n"
    "  --in-flight N               messages under way per connection (broadcast: of the one sender); default 1\n"
    "  --size BYTES                payload of a message; default 64\n"
    "  --text | --binary           opcode; default binary\n"
    "  --deflate fresh|takeover    messages are words and go compressed, each by itself; windows are kept by the\n"
    "                              server (takeover) or not (fresh), if it agrees\n"
    "  --touch                     idle: each connection has echoed a message before memory is looked at\n"
    "  --raw                       plain TCP without handshake or frames, for servers that parse nothing: as many\n"
    "                              bytes up as a masked frame has, the same number down\n"
    "  --seconds S --warmup S      measured time, default 3; time before it, default 1\n"
    "  --server-pid PID            report the CPU time (/proc/PID/task/*/schedstat) and memory of the server\n"
    "  --json FILE                 write the results there too\n"
    "  --quiet                     no progress lines\n"
    "Exit status: 0 measured without an error, 1 errors, 2 wrong usage.";

// --- what /proc says about the server ------------------------------------------------------------------------------

struct cpu_time
{
    double total_ns = 0; // exact
    double user = 0;     // clock ticks, so only the proportion to `kernel` means something
    double kernel = 0;
};

cpu_time server_cpu(int pid)
{
    cpu_time out;
    auto base = "/proc/" + std::to_string(pid);
    DIR* dir = opendir((base + "/task").c_str());
    if (dir == nullptr) return out;
    while (auto* entry = readdir(dir)) {
        if (entry->d_name[0] == '.') continue;
        double ns = 0;
        if (std::ifstream(base + "/task/" + entry->d_name + "/schedstat") >> ns) out.total_ns += ns;
    }
    closedir(dir);
    std::string line;
    std::getline(std::ifstream(base + "/stat"), line);
    unsigned long user = 0, kernel = 0;
    if (auto name_end = line.rfind(')'); name_end != line.npos)
        std::sscanf(line.c_str() + name_end, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &kernel);
    out.user = static_cast<double>(user);
    out.kernel = static_cast<double>(kernel);
    return out;
}

struct memory
{
    double rss = 0;
    double dirty = 0; // Private_Dirty: what this process alone has written, without shared and unchanged pages
};

memory server_memory(int pid)
{
    memory out;
    std::ifstream file("/proc/" + std::to_string(pid) + "/smaps_rollup");
    for (std::string line; std::getline(file, line);) {
        double kib = 0;
        if (std::sscanf(line.c_str(), "Rss: %lf", &kib) == 1) out.rss = kib * 1024;
        if (std::sscanf(line.c_str(), "Private_Dirty: %lf", &kib) == 1) out.dirty = kib * 1024;
    }
    return out;
}

// --- latency histogram: 64 steps per power of two, so an error below 1.6 % -----------------------------------------

class histogram
{
public:
    void add(std::uint64_t ns)
    {
        ++counts_[index(ns)];
        ++total_;
        max_ = std::max(max_, ns);
    }

    double quantile_us(double q) const
    {
        if (total_ == 0) return 0;
        auto wanted = static_cast<std::uint64_t>(q * static_cast<double>(total_ - 1)) + 1;
        std::uint64_t seen = 0;
        for (std::size_t i = 0; i < counts_.size(); ++i)
            if ((seen += counts_[i]) >= wanted) return static_cast<double>(value(i)) / 1000;
        return max_us();
    }

    double max_us() const { return static_cast<double>(max_) / 1000; }
    void clear() { *this = {}; }

private:
    static std::size_t index(std::uint64_t v)
    {
        if (v < 128) return v;
        auto shift = static_cast<unsigned>(std::bit_width(v)) - 7;
        return std::min<std::size_t>(shift * 64 + (v >> shift), buckets - 1);
    }

    static std::uint64_t value(std::size_t i)
    {
        if (i < 128) return i;
        auto shift = i / 64 - 1;
        return ((i - shift * 64) << shift) + ((std::uint64_t{1} << shift) >> 1);
    }

    static constexpr std::size_t buckets = 64 * 40;
    std::array<std::uint64_t, buckets> counts_{};
    std::uint64_t total_ = 0;
    std::uint64_t max_ = 0;
};

// --- messages ready to send ----------------------------------------------------------------------------------------

// Frames of equal size one behind the other, each with a mask and a payload of its own. The first `in_flight` are there
// twice, so that any run of consecutive frames is contiguous.
class frame_pool
{
public:
    explicit frame_pool(const options& o) : size_(o.size)
    {
        if (o.deflate) make_words(o);
        wire_ = o.deflate ? compressed_.size() : o.size;
        header_ = wire_ < 126 ? 2 : wire_ < 65536 ? 4 : 10;
        frame_ = header_ + 4 + wire_;
        stride_ = std::max(frame_, o.size);
        count_ = std::clamp<std::size_t>(256 * 1024 / frame_, 3, 61); // odd, so neighbours do not run in step
        std::mt19937_64 random(std::random_device{}());
        payloads_.resize(count_ * stride_);
        for (std::size_t i = 0; i < count_; ++i) {
            auto* payload = payloads_.data() + i * stride_;
            // Raw messages are compared in full, frames only by payload; both have random bytes to compare.
            for (std::size_t k = 0; k < frame_; ++k)
                payload[k] = o.text ? static_cast<char>(' ' + random() % 95) : static_cast<char>(random());
            if (o.deflate) std::copy(words_.begin(), words_.end(), payload);
            std::vector<char> frame(frame_);
            if (o.raw)
                frame.assign(payload, payload + frame_);
            else
                encode(frame, o.deflate ? compressed_.data() : payload, o, static_cast<std::uint32_t>(random()));
            bytes_.insert(bytes_.end(), frame.begin(), frame.end());
        }
        for (std::size_t i = 0; i < o.in_flight * frame_; ++i)
            bytes_.push_back(bytes_[i % (count_ * frame_)]);
    }

    std::size_t count() const { return count_; }
    std::size_t frame_size() const { return frame_; }
    std::size_t message_size() const { return size_; }
    std::size_t cycle() const { return count_ * frame_; }
    const char* bytes() const { return bytes_.data(); }
    const char* payload(std::size_t i) const { return payloads_.data() + i * stride_; }

private:
    // All messages of a run are the same ones: so their frames have one size. Something like what applications send.
    void make_words(const options& o)
    {
        std::mt19937 random(1);
        static constexpr const char* names[] = {"alice", "bob", "carol", "dave"};
        while (words_.size() < o.size)
            words_ += "{\"id\":" + std::to_string(random() % 100000) + ",\"user\":\"" + names[random() % 4] +
                      "\",\"text\":\"hello from side " + std::to_string(random() % 10) +
                      "\",\"value\":" + std::to_string(random() % 1000) + "},";
        words_.resize(o.size);
        z_stream z{};
        if (deflateInit2(&z, 6, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY) != Z_OK) bench::die("zlib");
        compressed_.resize(deflateBound(&z, words_.size()) + 16);
        z.next_in = reinterpret_cast<Bytef*>(words_.data());
        z.avail_in = static_cast<uInt>(words_.size());
        z.next_out = reinterpret_cast<Bytef*>(compressed_.data());
        z.avail_out = static_cast<uInt>(compressed_.size());
        deflate(&z, Z_SYNC_FLUSH);
        compressed_.resize(compressed_.size() - z.avail_out - 4); // without the tail (RFC 7692 section 7.2.1)
        deflateEnd(&z);
    }

    void encode(std::vector<char>& frame, const char* payload, const options& o, std::uint32_t mask) const
    {
        auto* f = reinterpret_cast<unsigned char*>(frame.data());
        f[0] = static_cast<unsigned char>(0x80 | (o.deflate ? 0x40 : 0) | (o.text ? 1 : 2));
        if (header_ == 2) {
            f[1] = static_cast<unsigned char>(0x80 | wire_);
        } else {
            f[1] = static_cast<unsigned char>(0x80 | (header_ == 4 ? 126 : 127));
            for (std::size_t k = 0; k < header_ - 2; ++k)
                f[header_ - 1 - k] = static_cast<unsigned char>(wire_ >> (8 * k));
        }
        std::memcpy(f + header_, &mask, 4);
        for (std::size_t k = 0; k < wire_; ++k)
            f[header_ + 4 + k] = static_cast<unsigned char>(payload[k] ^ frame[header_ + k % 4]);
    }

    std::string words_;
    std::vector<char> compressed_;
    std::size_t size_;
    std::size_t wire_; // of the payload as it is sent
    std::size_t header_;
    std::size_t frame_;
    std::size_t stride_;
    std::size_t count_;
    std::vector<char> bytes_;
    std::vector<char> payloads_;
};

// --- connections ---------------------------------------------------------------------------------------------------

enum class state : std::uint8_t
{
    unused,
    connecting,
    securing, // the handshake of TLS
    handshaking,
    open,
    failed
};

struct connection
{
    int fd = -1;
    SSL* ssl = nullptr;
    state where = state::unused;
    bool want_write = false;     // registered for EPOLLOUT
    bool fragmented = false;     // inside a message of several frames
    std::uint8_t header_got = 0; // bytes of a frame header that was cut by the end of a receive
    std::uint8_t opcode = 0;
    bool final_frame = false;
    bool deflates = false;       // the server has agreed
    bool compressed = false;     // the message under way
    bool kept = false;           // the server's window
    z_stream* inflater = nullptr;
    std::array<unsigned char, 10> header{};
    unsigned id = 0;
    std::uint64_t frame_left = 0;  // payload still to come of the frame
    std::uint64_t message_got = 0; // payload so far of the message
    std::uint64_t received = 0;    // whole messages
    std::uint64_t queued = 0;      // bytes of messages asked for
    std::uint64_t sent = 0;        // bytes of messages given to the kernel
    std::string control;           // payload of an incoming control frame, or the response head before it is open
    std::string answers;           // pongs to send at the next frame boundary
};

struct results
{
    double seconds = 0;
    std::uint64_t messages = 0; // echoed, or delivered to a member
    double cpu_ns = 0;
    double user_share = 0;
    double generator_share = 0;
    double connect_seconds = 0;
    double rss_per_connection = 0;
    double dirty_per_connection = 0;
    double idle_cpu_share = 0;
};

class generator
{
public:
    explicit generator(options o)
        : options_(std::move(o)), target_(bench::resolve(bench::split_host_port(options_.host_port))), pool_(options_),
          buffer_(256 * 1024), epoll_(epoll_create1(EPOLL_CLOEXEC)), events_(1024)
    {
        if (epoll_ < 0) bench::die_errno("epoll_create1");
        connections_.resize(options_.connections);
        auto slots = options_.mode == run_mode::broadcast ? 1 : options_.connections;
        if (options_.mode != run_mode::idle) times_.resize(std::size_t{slots} * options_.in_flight);
        done_.resize(options_.in_flight);
        if (options_.tls) {
            tls_ = SSL_CTX_new(TLS_client_method());
            if (tls_ == nullptr) bench::die("no TLS");
            SSL_CTX_set_mode(tls_, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                       SSL_MODE_RELEASE_BUFFERS);
        }
    }

    int run()
    {
        if (options_.server_pid != 0 && server_cpu(options_.server_pid).total_ns == 0)
            bench::die("cannot read /proc/" + std::to_string(options_.server_pid) + "/task/*/schedstat");
        if (options_.mode == run_mode::idle) return run_idle();
        connect(0, options_.connections);
        if (options_.mode == run_mode::broadcast) calibrate();
        start_messages();
        phase(options_.warmup, "warm-up");
        measure();
        report();
        return errors_ == 0 ? 0 : 1;
    }

private:
    // --- phases ---

    void connect(unsigned next, unsigned end)
    {
        auto began = clock_type::now();
        auto deadline = began + 30s;
        auto next_line = began + 1s;
        while (open_ < end) {
            // A window, so that the server's accept queue does not overflow: a lost SYN would cost a second each.
            while (next < end && next - open_ < 256)
                connect_one(next++);
            poll(100);
            if (errors_ != 0) bench::die("gave up after " + std::to_string(open_) + " connections: " + first_error_);
            if (clock_type::now() > deadline)
                bench::die("only " + std::to_string(open_) + " of " + std::to_string(end) +
                           " connections were open after 30 s");
            if (clock_type::now() > next_line && !options_.quiet) {
                std::fprintf(stderr, "connecting: %u of %u\n", open_, end);
                next_line += 1s;
            }
        }
        results_.connect_seconds = std::chrono::duration<double>(clock_type::now() - began).count();
    }

    // A hub may greet and announce: wait until it is silent, then send one message and see who gets it.
    void calibrate()
    {
        calibrating_ = true;
        quiet_for(300ms, 20s);
        for (auto& c : connections_)
            c.received = 0;
        queue_messages(connections_[0], 1);
        quiet_for(300ms, 10s);
        expected_ = 0;
        for (auto& c : connections_) {
            if (c.received > 1 && !options_.raw) bench::die("a member got one message several times");
            expected_ += c.received > 0 ? 1 : 0;
            c.received = 0;
        }
        calibrating_ = false;
        // A server may leave the sender out, none of the others.
        if (expected_ + 1 < options_.connections || expected_ == 0)
            bench::die("a broadcast reached only " + std::to_string(expected_) + " of " +
                       std::to_string(options_.connections) + " members: is this a broadcasting server?");
    }

    void quiet_for(std::chrono::milliseconds silence, std::chrono::seconds at_most)
    {
        auto end = clock_type::now() + at_most;
        auto last = clock_type::now();
        auto seen = bytes_received_;
        while (clock_type::now() - last < silence && clock_type::now() < end) {
            poll(20);
            if (seen != bytes_received_) {
                seen = bytes_received_;
                last = clock_type::now();
            }
        }
    }

    void start_messages()
    {
        auto t = now_ns();
        std::fill(times_.begin(), times_.end(), t);
        if (options_.mode == run_mode::broadcast)
            queue_messages(connections_[0], options_.in_flight);
        else
            for (auto& c : connections_)
                queue_messages(c, options_.in_flight);
    }

    // Runs for a time with a line each second; gives up when nothing arrives any more.
    void phase(double seconds, const char* name)
    {
        auto began = clock_type::now();
        auto end = began + std::chrono::duration_cast<clock_type::duration>(std::chrono::duration<double>(seconds));
        auto tick = began + 1s;
        auto last_progress = began;
        auto count = messages_, line_count = messages_;
        for (int second = 1;;) {
            auto now = clock_type::now();
            if (now >= end) return;
            auto until = std::min(end, tick) - now;
            poll(static_cast<int>(std::chrono::duration_cast<std::chrono::milliseconds>(until).count()) + 1);
            now = clock_type::now();
            if (now >= tick) {
                if (!options_.quiet)
                    std::fprintf(stderr, "%s %d s: %llu messages/s, %llu errors\n", name, second,
                                 static_cast<unsigned long long>(messages_ - line_count),
                                 static_cast<unsigned long long>(errors_));
                line_count = messages_;
                tick += 1s;
                ++second;
            }
            if (open_ == 0) bench::die("every connection has ended: " + first_error_);
            if (options_.mode == run_mode::broadcast && errors_ != 0) bench::die("a member was lost: " + first_error_);
            if (options_.mode == run_mode::idle) continue;
            if (count != messages_) {
                count = messages_;
                last_progress = now;
            } else if (now - last_progress > 5s) {
                bench::die("no message for 5 s; so far " + std::to_string(messages_) + ", errors " +
                           std::to_string(errors_) + (first_error_.empty() ? "" : ": " + first_error_));
            }
        }
    }

    void measure()
    {
        auto own = [] {
            rusage u{};
            getrusage(RUSAGE_SELF, &u);
            return static_cast<double>(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
                   static_cast<double>(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
        };
        latency_.clear();
        auto messages = messages_;
        auto own_cpu = own();
        auto cpu = options_.server_pid != 0 ? server_cpu(options_.server_pid) : cpu_time{};
        auto began = now_ns();
        phase(options_.seconds, "measuring");
        auto cpu_end = options_.server_pid != 0 ? server_cpu(options_.server_pid) : cpu_time{};
        results_.seconds = static_cast<double>(now_ns() - began) / 1e9;
        results_.messages = messages_ - messages;
        results_.cpu_ns = cpu_end.total_ns - cpu.total_ns;
        results_.generator_share = (own() - own_cpu) / results_.seconds;
        auto ticks = cpu_end.user + cpu_end.kernel - cpu.user - cpu.kernel;
        results_.user_share = ticks > 0 ? (cpu_end.user - cpu.user) / ticks : 0;
        if (options_.mode != run_mode::idle && results_.messages == 0)
            bench::die("no message arrived in the measured time" + (first_error_.empty() ? "" : ": " + first_error_));
        if (options_.server_pid != 0 && cpu_end.total_ns <= 0)
            bench::die("the server ended while it was measured" + (first_error_.empty() ? "" : ": " + first_error_));
    }

    int run_idle()
    {
        if (options_.server_pid == 0) bench::die("--mode idle measures memory: it needs --server-pid");
        // One connection first: what a server allocates once, at its first client, is no cost of a connection.
        connect(0, 1);
        settle(0.5);
        auto before = server_memory(options_.server_pid);
        connect(1, options_.connections);
        if (options_.touch) touch();
        settle(1);
        auto after = server_memory(options_.server_pid);
        if (before.rss == 0 || after.rss == 0) bench::die("cannot read the server's smaps_rollup");
        auto n = static_cast<double>(options_.connections - 1);
        results_.rss_per_connection = (after.rss - before.rss) / n;
        results_.dirty_per_connection = (after.dirty - before.dirty) / n;
        measure();
        report();
        return errors_ == 0 ? 0 : 1;
    }

    // Some at a time: all at once would only measure how many buffers that takes.
    void touch()
    {
        for (std::size_t i = 0; i < connections_.size(); i += 16) {
            auto end = std::min(connections_.size(), i + 16);
            for (auto k = i; k < end; ++k)
                queue_messages(connections_[k], 1);
            auto deadline = clock_type::now() + 10s;
            auto all = [&] {
                for (auto k = i; k < end; ++k)
                    if (connections_[k].received == 0) return false;
                return true;
            };
            while (!all()) {
                poll(100);
                if (errors_ != 0 || clock_type::now() > deadline) bench::die("no echo came back: " + first_error_);
            }
        }
    }

    void settle(double seconds)
    {
        auto end = clock_type::now() + std::chrono::duration<double>(seconds);
        while (clock_type::now() < end)
            poll(50);
    }

    // --- connecting ---

    void connect_one(unsigned id)
    {
        auto& c = connections_[id];
        c.id = id;
        c.fd = socket(target_.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (c.fd < 0) bench::die_errno("socket for connection " + std::to_string(id));
        bench::set_nodelay(c.fd);
        // The end of a run resets thousands of connections at once instead of leaving them in TIME_WAIT for a minute,
        // where they would hold the ports that the next run needs.
        linger reset{1, 0};
        setsockopt(c.fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        take_source_address(c);
        if (::connect(c.fd, target_.get(), target_.length) != 0 && errno != EINPROGRESS)
            bench::die_errno("cannot connect to " + options_.host_port);
        c.where = state::connecting;
        c.want_write = true;
        epoll_event e{};
        e.events = EPOLLIN | EPOLLOUT;
        e.data.ptr = &c;
        epoll_ctl(epoll_, EPOLL_CTL_ADD, c.fd, &e);
    }

    // One source address has about 28,000 ports towards one server; all of 127/8 is ours.
    void take_source_address(connection& c) const
    {
        constexpr unsigned per_address = 20000;
        if (c.id < per_address || target_.family() != AF_INET) return;
        auto server = ntohl(reinterpret_cast<const sockaddr_in&>(target_.storage).sin_addr.s_addr);
        if (server >> 24 != 127) return;
        int one = 1;
        setsockopt(c.fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
        sockaddr_in from{};
        from.sin_family = AF_INET;
        from.sin_addr.s_addr = htonl((127u << 24) + 1 + c.id / per_address);
        if (bind(c.fd, reinterpret_cast<sockaddr*>(&from), sizeof from) != 0) bench::die_errno("bind to 127.0.0.x");
    }

    void connected(connection& c)
    {
        int error = 0;
        socklen_t length = sizeof error;
        getsockopt(c.fd, SOL_SOCKET, SO_ERROR, &error, &length);
        if (error != 0) return fail(c, "cannot connect to " + options_.host_port + ": " + std::strerror(error));
        watch(c, false);
        if (options_.raw) {
            c.where = state::open;
            ++open_;
            return;
        }
        if (tls_ == nullptr) return request(c);
        c.ssl = SSL_new(tls_);
        if (c.ssl == nullptr || SSL_set_fd(c.ssl, c.fd) != 1) bench::die("no memory for TLS");
        c.where = state::securing;
        secure(c);
    }

    void secure(connection& c)
    {
        ERR_clear_error();
        int done = SSL_connect(c.ssl);
        if (done == 1) return request(c);
        int why = SSL_get_error(c.ssl, done);
        if (why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE) {
            auto reason = ERR_reason_error_string(ERR_peek_error());
            return fail(c, std::string("TLS: ") + (reason ? reason : "the connection was lost"));
        }
        watch(c, why == SSL_ERROR_WANT_WRITE);
    }

    // As send() and recv().
    static ssize_t transmit(connection& c, const char* bytes, std::size_t n)
    {
        if (c.ssl == nullptr) return send(c.fd, bytes, n, MSG_NOSIGNAL);
        ERR_clear_error();
        return result_of(c, SSL_write(c.ssl, bytes, static_cast<int>(std::min<std::size_t>(n, 1 << 30))));
    }
    static ssize_t receive(connection& c, char* to, std::size_t n)
    {
        if (c.ssl == nullptr) return recv(c.fd, to, n, 0);
        ERR_clear_error();
        return result_of(c, SSL_read(c.ssl, to, static_cast<int>(n)));
    }
    static ssize_t result_of(connection& c, int n)
    {
        if (n > 0) return n;
        int why = SSL_get_error(c.ssl, n);
        if (why == SSL_ERROR_ZERO_RETURN) return 0;
        if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE)
            errno = EAGAIN;
        else if (why != SSL_ERROR_SYSCALL || errno == 0)
            errno = EPROTO;
        return -1;
    }

    void request(connection& c)
    {
        // The key of the RFC's example, so the answer that the server must give is known.
        auto text = "GET " + options_.path + " HTTP/1.1\r\nHost: " + options_.host_port +
                       "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                       "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";
        if (options_.deflate)
            text += options_.takeover ? "Sec-WebSocket-Extensions: permessage-deflate\r\n"
                                         : "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; "
                                           "client_no_context_takeover\r\n";
        text += "\r\n";
        if (transmit(c, text.data(), text.size()) != static_cast<ssize_t>(text.size()))
            return fail(c, "the request could not be sent");
        c.where = state::handshaking;
    }

    // Returns how many of the bytes belonged to the response head.
    std::size_t handshake(connection& c, const char* p, std::size_t n)
    {
        auto before = c.control.size();
        c.control.append(p, n);
        auto end = c.control.find("\r\n\r\n");
        if (end == c.control.npos) {
            if (c.control.size() > 16384) fail(c, "handshake: the response head does not end");
            return n;
        }
        if (c.control.compare(0, 12, "HTTP/1.1 101") != 0) {
            fail(c, "handshake refused: " + c.control.substr(0, c.control.find('\r')));
            return n;
        }
        if (c.control.find("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=") > end) {
            fail(c, "handshake: Sec-WebSocket-Accept is missing or wrong");
            return n;
        }
        c.deflates = c.control.find("permessage-deflate") < end;
        c.kept = c.control.find("server_no_context_takeover") > end;
        if (c.deflates != options_.deflate) {
            fail(c, options_.deflate ? "handshake: the server declines permessage-deflate" : "handshake: unasked extension");
            return n;
        }
        if (c.kept != options_.takeover && c.deflates)
            bench::die("the server does not keep its window: this would measure --deflate fresh");
        c.where = state::open;
        ++open_;
        c.control = {};
        return end + 4 - before;
    }

    // --- events ---

    void poll(int milliseconds)
    {
        int n = epoll_wait(epoll_, events_.data(), static_cast<int>(events_.size()), milliseconds);
        if (n < 0 && errno != EINTR) bench::die_errno("epoll_wait");
        for (int i = 0; i < n; ++i) {
            auto& e = events_[static_cast<std::size_t>(i)];
            auto& c = *static_cast<connection*>(e.data.ptr);
            if (c.where == state::connecting)
                connected(c);
            else if (c.where == state::securing)
                secure(c);
            else if (e.events & EPOLLOUT)
                flush(c);
            // What is left of a record shows in no event.
            bool more = (e.events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0 && c.where != state::securing;
            for (; more && c.where != state::failed; more = c.ssl != nullptr && SSL_pending(c.ssl) > 0)
                readable(c);
        }
        if (broadcast_done_ != 0) {
            auto more = broadcast_done_;
            broadcast_done_ = 0;
            queue_messages(connections_[0], more);
        }
    }

    void readable(connection& c)
    {
        auto n = receive(c, buffer_.data(), buffer_.size());
        if (n < 0) {
            if (errno == EAGAIN || errno == EINTR) return;
            return fail(c, std::string("receive: ") + std::strerror(errno));
        }
        if (n == 0)
            return fail(c, c.where == state::handshaking ? "closed during the handshake" : "closed by the server");
        bytes_received_ += static_cast<std::uint64_t>(n);
        const char* p = buffer_.data();
        auto left = static_cast<std::size_t>(n);
        if (c.where == state::handshaking) {
            auto used = handshake(c, p, left);
            if (c.where != state::open) return;
            p += used;
            left -= used;
        }
        now_ = now_ns();
        auto before = c.received;
        if (options_.raw)
            parse_raw(c, p, left);
        else
            parse(c, p, left);
        if (c.where != state::open) return;
        if (options_.mode == run_mode::echo && c.received != before)
            queue_messages(c, static_cast<unsigned>(c.received - before));
        else if (!c.answers.empty())
            flush(c);
    }

    void parse_raw(connection& c, const char* p, std::size_t left)
    {
        auto size = pool_.frame_size();
        while (left != 0) {
            auto take = std::min<std::uint64_t>(left, size - c.message_got);
            if (!same(c, p, take)) return;
            c.message_got += take;
            p += take;
            left -= take;
            if (c.message_got == size && !complete(c)) return;
        }
    }

    void parse(connection& c, const char* p, std::size_t left)
    {
        while (left != 0) {
            if (c.header_got != 0xff) { // 0xff: the header is complete, payload follows
                auto need = header_size(c);
                while (c.header_got < need && left != 0) {
                    c.header[c.header_got++] = static_cast<unsigned char>(*p++);
                    --left;
                    need = header_size(c);
                }
                if (c.header_got < need) return;
                if (!begin_frame(c)) return;
                c.header_got = 0xff;
            }
            auto take = std::min<std::uint64_t>(left, c.frame_left);
            if (c.opcode >= 8) {
                c.control.append(p, take);
            } else if (c.compressed) {
                if (!inflate(c, p, take)) return;
            } else {
                if (!calibrating_ && !same(c, p, take)) return;
                c.message_got += take;
            }
            c.frame_left -= take;
            p += take;
            left -= take;
            if (c.frame_left != 0) return;
            c.header_got = 0;
            if (c.opcode >= 8) {
                if (!control_frame(c)) return;
            } else if (c.final_frame) {
                c.fragmented = false;
                if (c.compressed && !inflate(c, "\0\0\xFF\xFF", 4)) return;
                if (c.inflater != nullptr && !c.kept) inflateReset(c.inflater);
                if (!complete(c)) return;
            }
        }
    }

    static unsigned header_size(const connection& c)
    {
        if (c.header_got < 2) return 2;
        auto length = c.header[1] & 127;
        return length == 126 ? 4 : length == 127 ? 10 : 2;
    }

    bool begin_frame(connection& c)
    {
        auto opcode = static_cast<std::uint8_t>(c.header[0] & 15);
        auto length = static_cast<std::uint64_t>(c.header[1] & 127);
        if (length >= 126) {
            auto bytes = length == 126 ? 2u : 8u;
            length = 0;
            for (unsigned k = 0; k < bytes; ++k)
                length = length << 8 | c.header[2 + k];
        }
        c.frame_left = length;
        c.opcode = opcode;
        if (c.header[0] & (c.deflates && opcode != 0 && opcode < 8 ? 0x30 : 0x70))
            return bad(c, "a reserved bit is set");
        if (c.header[1] & 0x80) return bad(c, "a frame of the server is masked");
        if (opcode >= 8) {
            c.control.clear();
            return length <= 125 && opcode <= 10 ? true : bad(c, "bad control frame");
        }
        c.final_frame = (c.header[0] & 0x80) != 0;
        if (c.fragmented != (opcode == 0)) return bad(c, "unexpected opcode inside or outside a fragmented message");
        if (opcode != 0) {
            if (options_.mode == run_mode::echo && opcode != (options_.text ? 1 : 2)) return bad(c, "wrong opcode");
            c.fragmented = true;
            c.compressed = (c.header[0] & 0x40) != 0;
        }
        return true;
    }

    // A part of a compressed message: what it says is compared as what comes plain is.
    bool inflate(connection& c, const char* p, std::uint64_t n)
    {
        if (c.inflater == nullptr) {
            c.inflater = new z_stream{}; // until the end of the run
            if (inflateInit2(c.inflater, -15) != Z_OK) bench::die("zlib");
        }
        auto& z = *c.inflater;
        z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(p));
        z.avail_in = static_cast<uInt>(n);
        do {
            z.next_out = reinterpret_cast<Bytef*>(inflated_.data());
            z.avail_out = static_cast<uInt>(inflated_.size());
            int result = ::inflate(&z, Z_SYNC_FLUSH);
            if (result != Z_OK && result != Z_BUF_ERROR) return bad(c, "a reply cannot be decompressed");
            auto got = inflated_.size() - z.avail_out;
            if (!calibrating_ && !same(c, inflated_.data(), got)) return false;
            c.message_got += got;
        } while (z.avail_out == 0);
        return true;
    }

    bool control_frame(connection& c)
    {
        if (c.opcode == 8) {
            auto code = c.control.size() < 2
                            ? 1005
                            : static_cast<unsigned char>(c.control[0]) << 8 | static_cast<unsigned char>(c.control[1]);
            return bad(c, "the server closes with code " + std::to_string(code) +
                              (c.control.size() > 2 ? " " + c.control.substr(2) : ""));
        }
        if (c.opcode == 9) { // pong, with a mask of zero: this is no data that a proxy could mistake for a request
            c.answers += static_cast<char>(0x8a);
            c.answers += static_cast<char>(0x80 | c.control.size());
            c.answers.append(4, '\0');
            c.answers += c.control;
        }
        return true;
    }

    // Lengths are compared always, contents of every sixteenth message of a connection.
    bool same(connection& c, const char* p, std::uint64_t n)
    {
        if (options_.mode != run_mode::echo) return true;
        auto size = options_.raw ? pool_.frame_size() : pool_.message_size();
        if (c.message_got + n > size) return bad(c, "a reply is longer than what was sent");
        if ((c.received + c.id) % 16 != 0) return true;
        auto* wanted = options_.raw ? pool_.bytes() + (c.id + c.received) % pool_.count() * size
                                    : pool_.payload((c.id + c.received) % pool_.count());
        if (std::memcmp(wanted + c.message_got, p, n) != 0) return bad(c, "a reply differs from what was sent");
        return true;
    }

    bool complete(connection& c)
    {
        auto got = c.message_got;
        c.message_got = 0;
        if (calibrating_) { // announcements that are shorter than a message do not count
            c.received += got >= pool_.message_size() ? 1 : 0;
            return true;
        }
        if (options_.mode == run_mode::idle) {
            ++c.received;
            return true;
        }
        auto size = options_.raw ? pool_.frame_size() : pool_.message_size();
        if (got != size && (options_.mode == run_mode::echo || got < size))
            return bad(c, "a reply has " + std::to_string(got) + " bytes, not " + std::to_string(size));
        auto slot = c.received % options_.in_flight;
        if (options_.mode == run_mode::echo) {
            if (c.received * pool_.frame_size() >= c.queued) return bad(c, "a reply that nothing was sent for");
            slot += std::size_t{c.id} * options_.in_flight;
        } else if (++done_[slot] == expected_) {
            done_[slot] = 0;
            ++broadcast_done_;
        }
        latency_.add(now_ - times_[slot]);
        ++c.received;
        ++messages_;
        return true;
    }

    // --- sending ---

    void queue_messages(connection& c, unsigned count)
    {
        if (c.where != state::open) return;
        if (!calibrating_ && c.sent != 0 && options_.mode != run_mode::idle) {
            auto first = (c.queued - calibration_bytes_) / pool_.frame_size();
            auto t = now_ns();
            auto base = options_.mode == run_mode::echo ? std::size_t{c.id} * options_.in_flight : 0;
            for (unsigned i = 0; i < count; ++i)
                times_[base + (first + i) % options_.in_flight] = t;
        }
        c.queued += count * pool_.frame_size();
        if (calibrating_) calibration_bytes_ += count * pool_.frame_size();
        flush(c);
    }

    void flush(connection& c)
    {
        if (c.where != state::open) return;
        while (c.sent < c.queued || !c.answers.empty()) {
            ssize_t n = 0;
            if (!c.answers.empty() && c.sent % pool_.frame_size() == 0) {
                n = transmit(c, c.answers.data(), c.answers.size());
                if (n > 0) {
                    c.answers.erase(0, static_cast<std::size_t>(n));
                    if (!c.answers.empty()) break; // the rest must come before the next message
                    continue;
                }
            } else {
                // The connections start at different places of the pool.
                auto at = (c.id * pool_.frame_size() + c.sent) % pool_.cycle();
                auto length = std::min<std::uint64_t>(c.queued - c.sent,
                                                      pool_.cycle() - at + options_.in_flight * pool_.frame_size());
                n = transmit(c, pool_.bytes() + at, length);
                if (n > 0) {
                    c.sent += static_cast<std::uint64_t>(n);
                    if (static_cast<std::uint64_t>(n) < length && c.ssl == nullptr) break;
                    continue;
                }
            }
            if (errno == EAGAIN || errno == EINTR) break;
            return fail(c, std::string("send: ") + std::strerror(errno));
        }
        watch(c, c.sent < c.queued || !c.answers.empty());
    }

    void watch(connection& c, bool write)
    {
        if (c.want_write == write) return;
        c.want_write = write;
        epoll_event e{};
        e.events = write ? EPOLLIN | EPOLLOUT : EPOLLIN;
        e.data.ptr = &c;
        epoll_ctl(epoll_, EPOLL_CTL_MOD, c.fd, &e);
    }

    // --- errors ---

    bool bad(connection& c, std::string what)
    {
        fail(c, std::move(what));
        return false;
    }

    void fail(connection& c, std::string what)
    {
        if (first_error_.empty()) {
            first_error_ = what;
            std::fprintf(stderr, "connection %u: %s\n", c.id, what.c_str());
        }
        ++errors_;
        ++error_counts_[std::move(what)];
        if (c.where == state::open) --open_;
        c.where = state::failed;
        SSL_free(std::exchange(c.ssl, nullptr));
        close(c.fd);
    }

    // --- report ---

    void report()
    {
        auto mode = options_.mode == run_mode::echo        ? "echo"
                    : options_.mode == run_mode::broadcast ? "broadcast"
                                                           : "idle";
        auto messages = static_cast<double>(results_.messages);
        auto per_second = messages / results_.seconds;
        auto cpu_per_message = messages > 0 ? results_.cpu_ns / messages : 0;
        std::printf("%s%s%s, %u connections x %u in flight x %zu bytes, %.1f s\n", mode, options_.raw ? " (raw TCP)" : "", options_.tls ? " over TLS" : "",
                    options_.connections, options_.in_flight, options_.size, results_.seconds);
        if (options_.mode == run_mode::idle) {
            std::printf("  server memory per connection   %.0f bytes private dirty, %.0f bytes resident\n",
                        results_.dirty_per_connection, results_.rss_per_connection);
            std::printf("  server CPU while idle          %.2f %%\n", results_.cpu_ns / results_.seconds / 1e7);
            std::printf("  connected in                   %.2f s\n", results_.connect_seconds);
        } else {
            std::printf("  %-30s %.0f\n", options_.mode == run_mode::echo ? "messages/s" : "deliveries/s", per_second);
            if (options_.server_pid != 0) {
                std::printf("  server CPU per %-15s %.0f ns\n",
                            options_.mode == run_mode::echo ? "message" : "delivery", cpu_per_message);
                std::printf("  server busy                    %.0f %% (of it user code %.0f %%)\n",
                            results_.cpu_ns / results_.seconds / 1e7, results_.user_share * 100);
            }
            std::printf("  latency p50/p99/p99.9/max      %.1f / %.1f / %.1f / %.1f us\n", latency_.quantile_us(0.5),
                        latency_.quantile_us(0.99), latency_.quantile_us(0.999), latency_.max_us());
            std::printf("  generator busy                 %.0f %%\n", results_.generator_share * 100);
        }
        std::printf("  errors                         %llu\n", static_cast<unsigned long long>(errors_));
        for (const auto& [what, count] : error_counts_)
            std::printf("    %llu x %s\n", static_cast<unsigned long long>(count), what.c_str());
        if (options_.json.empty()) return;

        std::FILE* f = options_.json == "-" ? stdout : std::fopen(options_.json.c_str(), "w");
        if (f == nullptr) bench::die_errno("cannot write " + options_.json);
        std::fprintf(f,
                     "{\"mode\": \"%s\", \"raw\": %s, \"text\": %s, \"connections\": %u, \"in_flight\": %u, "
                     "\"size\": %zu, \"seconds\": %.3f, \"messages\": %llu, \"messages_per_second\": %.1f, ",
                     mode, options_.raw ? "true" : "false", options_.text ? "true" : "false", options_.connections,
                     options_.in_flight, options_.size, results_.seconds,
                     static_cast<unsigned long long>(results_.messages), per_second);
        if (options_.server_pid != 0)
            std::fprintf(f, "\"server_cpu_ns\": %.0f, \"cpu_ns_per_message\": %.2f, \"server_user_share\": %.3f, ",
                         results_.cpu_ns, cpu_per_message, results_.user_share);
        if (options_.mode == run_mode::idle)
            std::fprintf(f, "\"dirty_bytes_per_connection\": %.1f, \"rss_bytes_per_connection\": %.1f, ",
                         results_.dirty_per_connection, results_.rss_per_connection);
        else
            std::fprintf(f, "\"latency_us\": {\"p50\": %.2f, \"p99\": %.2f, \"p99.9\": %.2f, \"max\": %.2f}, ",
                         latency_.quantile_us(0.5), latency_.quantile_us(0.99), latency_.quantile_us(0.999),
                         latency_.max_us());
        std::fprintf(f, "\"generator_share\": %.3f, \"connect_seconds\": %.3f, \"errors\": %llu}\n",
                     results_.generator_share, results_.connect_seconds, static_cast<unsigned long long>(errors_));
        if (f != stdout) std::fclose(f);
    }

    options options_;
    SSL_CTX* tls_ = nullptr;
    bench::address target_;
    frame_pool pool_;
    std::vector<char> buffer_;
    std::vector<char> inflated_ = std::vector<char>(64 * 1024);
    int epoll_;
    std::vector<epoll_event> events_;
    std::vector<connection> connections_;
    std::vector<std::uint64_t> times_; // when the messages under way were sent, a ring per sender
    std::vector<unsigned> done_;       // broadcast: members that have message i, a ring
    unsigned expected_ = 0;            // broadcast: members that a message must reach
    unsigned broadcast_done_ = 0;      // broadcast: messages that reached all since the last poll
    bool calibrating_ = false;
    std::uint64_t calibration_bytes_ = 0;
    unsigned open_ = 0;
    std::uint64_t now_ = 0;
    std::uint64_t messages_ = 0;
    std::uint64_t bytes_received_ = 0;
    std::uint64_t errors_ = 0;
    std::string first_error_;
    std::map<std::string, std::uint64_t> error_counts_;
    histogram latency_;
    results results_;
};

options read_options(int argc, char** argv)
{
    options o;
    for (int i = 1; i < argc; ++i) {
        std::string_view name = argv[i];
        auto value = [&]() -> std::string {
            if (i + 1 >= argc) bench::die(std::string(name) + " needs a value");
            return argv[++i];
        };
        auto number = [&](double low, double high) {
            auto text = value();
            char* end = nullptr;
            double n = std::strtod(text.c_str(), &end);
            if (end == text.c_str() || *end != '\0' || n < low || n > high)
                bench::die(std::string(name) + ": '" + text + "' is not a number in its range");
            return n;
        };
        if (name == "--url")
            o.url = value();
        else if (name == "--mode") {
            auto mode = value();
            if (mode != "echo" && mode != "broadcast" && mode != "idle") bench::usage(help);
            o.mode = mode == "echo" ? run_mode::echo : mode == "idle" ? run_mode::idle : run_mode::broadcast;
        } else if (name == "--connections")
            o.connections = static_cast<unsigned>(number(1, 1000000));
        else if (name == "--in-flight")
            o.in_flight = static_cast<unsigned>(number(1, 65536));
        else if (name == "--size")
            o.size = static_cast<std::size_t>(number(0, 64 << 20));
        else if (name == "--text")
            o.text = true;
        else if (name == "--binary")
            o.text = false;
        else if (name == "--raw")
            o.raw = true;
        else if (name == "--deflate") {
            auto how = value();
            if (how != "fresh" && how != "takeover") bench::usage(help);
            o.deflate = true;
            o.takeover = how == "takeover";
        } else if (name == "--touch")
            o.touch = true;
        else if (name == "--seconds")
            o.seconds = number(0.01, 3600);
        else if (name == "--warmup")
            o.warmup = number(0, 3600);
        else if (name == "--server-pid")
            o.server_pid = static_cast<int>(number(1, 1 << 30));
        else if (name == "--json")
            o.json = value();
        else if (name == "--quiet")
            o.quiet = true;
        else
            bench::usage(help);
    }
    std::string_view rest = o.url;
    if (rest.substr(0, 6) == "tcp://")
        o.raw = true;
    else if (rest.substr(0, 6) == "wss://")
        o.tls = true;
    else if (rest.substr(0, 5) != "ws://")
        bench::die("'" + o.url + "' is no ws://, wss:// or tcp:// URL");
    rest.remove_prefix(rest.find("//") + 2);
    auto slash = rest.find('/');
    o.host_port = rest.substr(0, slash);
    if (slash != rest.npos) o.path = rest.substr(slash);
    if (o.deflate && o.raw) bench::die("--raw has no messages to compress");
    if (o.mode == run_mode::idle && o.connections < 2) bench::die("--mode idle needs at least 2 connections");
    return o;
}

} // namespace

int main(int argc, char** argv)
{
    auto o = read_options(argc, argv);
    std::signal(SIGPIPE, SIG_IGN);
    auto limit = bench::raise_descriptor_limit(o.connections + 64);
    if (limit < o.connections + 16)
        bench::die(std::to_string(o.connections) + " connections need a higher limit of open files (ulimit -n is " +
                   std::to_string(limit) + ")");
    return generator(std::move(o)).run();
}
