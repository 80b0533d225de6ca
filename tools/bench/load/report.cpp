// SPDX-License-Identifier: BSL-1.0
#include "report.hpp"

#include <array>

namespace load {

namespace {

double microseconds(std::uint64_t ns) noexcept
{
    return static_cast<double>(ns) / 1000;
}

struct percentile
{
    char const* name;
    double quantile;
};
constexpr std::array<percentile, 6> percentiles{
    {{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p99.9", 0.999}, {"p99.99", 0.9999}, {"max", 1}}};

/// What is counted: one, and several.
struct unit
{
    char const* one;
    char const* many;
};
constexpr unit unit_of(mode m) noexcept
{
    switch (m) {
    case mode::broadcast: return {"delivery", "deliveries"};
    case mode::churn: return {"connection", "connections"};
    case mode::handshake: return {"handshake", "handshakes"};
    default: return {"message", "messages"};
    }
}

double per_second(run const& r) noexcept
{
    return static_cast<double>(r.results.messages) / r.results.seconds;
}

double cpu_per_message(run const& r) noexcept
{
    return r.results.messages > 0 ? r.results.cpu_ns / static_cast<double>(r.results.messages) : 0;
}

void print_head(std::FILE* to, run const& r)
{
    auto const& o = r.how;
    std::fprintf(to, "%s%s%s, %u connections", to_string(o.mode), o.raw ? " (raw TCP)" : "", o.tls ? " over TLS" : "",
                 o.connections);
    if (o.mode == mode::broadcast)
        std::fprintf(to, ", %u %s", o.senders, o.senders == 1 ? "sends" : "send");
    if (o.rate > 0)
        std::fprintf(to, ", %.0f messages/s", o.rate);
    else if (o.mode == mode::echo || o.mode == mode::broadcast)
        std::fprintf(to, " x %u in flight", o.in_flight);
    if (!o.sizes.empty())
        std::fprintf(to, ", sizes of %s (%.0f bytes on average)", o.sizes_file.c_str(), r.pool.mean_payload());
    else if (!o.opens_again())
        std::fprintf(to, " x %zu bytes", o.size);
    std::fprintf(to, ", %.1f s\n", r.results.seconds);
}

void print_latency(std::FILE* to, char const* name, histogram const& h)
{
    std::fprintf(to, "  %-30s", name);
    for (auto const& p : percentiles)
        std::fprintf(to, " %s %.1f", p.name, microseconds(h.quantile(p.quantile)));
    std::fprintf(to, " us\n");
}

void print_latency_json(std::FILE* to, char const* name, histogram const& h)
{
    std::fprintf(to, "\"%s\": {\"mean\": %.2f", name, h.mean() / 1000);
    for (auto const& p : percentiles)
        std::fprintf(to, ", \"%s\": %.2f", p.name, microseconds(h.quantile(p.quantile)));
    std::fprintf(to, "}, ");
}

/// A string of ours, or of a command line, as JSON has it.
std::string quoted(std::string const& s)
{
    std::string out = "\"";
    for (char const c : s) {
        if (c == '"' || c == '\\')
            out += '\\';
        out += static_cast<unsigned char>(c) < ' ' ? ' ' : c;
    }
    return out + '"';
}

char const* boolean(bool b) noexcept
{
    return b ? "true" : "false";
}

} // namespace

void print_table(std::FILE* to, run const& r)
{
    auto const& got = r.results;
    auto const units = unit_of(r.how.mode);
    print_head(to, r);
    if (r.how.mode == mode::idle) {
        std::fprintf(to, "  server memory per connection   %.0f bytes private dirty, %.0f bytes resident\n",
                     got.dirty_per_connection, got.rss_per_connection);
        std::fprintf(to, "  server CPU while idle          %.2f %%\n", got.cpu_ns / got.seconds / 1e7);
        std::fprintf(to, "  connected in                   %.2f s\n", got.connect_seconds);
    } else {
        std::fprintf(to, "  %-30s %.0f\n", (std::string(units.many) + "/s").c_str(), per_second(r));
        if (r.how.server_pid != 0) {
            std::fprintf(to, "  server CPU per %-15s %.0f ns\n", units.one, cpu_per_message(r));
            std::fprintf(to, "  server busy                    %.0f %% (of it user code %.0f %%)\n",
                         got.cpu_ns / got.seconds / 1e7, got.user_share * 100);
        }
        print_latency(to, "latency", r.counts.latency);
        if (r.how.rate > 0)
            print_latency(to, "sent late by", r.counts.send_delay);
        std::fprintf(to, "  generator busy                 %.0f %%\n", got.generator_share * 100);
    }
    std::fprintf(to, "  errors                         %llu\n", static_cast<unsigned long long>(r.counts.errors));
    for (auto const& [what, count] : r.counts.error_counts)
        std::fprintf(to, "    %llu x %s\n", static_cast<unsigned long long>(count), what.c_str());
}

void print_json(std::FILE* to, run const& r)
{
    auto const& o = r.how;
    auto const& got = r.results;
    std::fprintf(to, "{\"mode\": \"%s\", \"raw\": %s, \"tls\": %s, \"text\": %s, ", to_string(o.mode), boolean(o.raw),
                 boolean(o.tls), boolean(o.text));
    std::fprintf(to, "\"deflate\": \"%s\", ", !o.deflate ? "none" : o.takeover ? "takeover" : "fresh");
    std::fprintf(to, "\"connections\": %u, \"in_flight\": %u, \"senders\": %u, ", o.connections, o.in_flight,
                 o.sending());
    if (o.rate > 0)
        std::fprintf(to, "\"rate\": %.3f, ", o.rate);
    if (!o.sizes.empty())
        std::fprintf(to, "\"sizes\": %s, ", quoted(o.sizes_file).c_str());
    std::fprintf(to, "\"size\": %.0f, \"seconds\": %.3f, \"messages\": %llu, \"messages_per_second\": %.1f, ",
                 r.pool.mean_payload(), got.seconds, static_cast<unsigned long long>(got.messages), per_second(r));
    if (o.server_pid != 0)
        std::fprintf(to, "\"server_cpu_ns\": %.0f, \"cpu_ns_per_message\": %.2f, \"server_user_share\": %.3f, ",
                     got.cpu_ns, cpu_per_message(r), got.user_share);
    if (o.mode == mode::idle) {
        std::fprintf(to, "\"dirty_bytes_per_connection\": %.1f, \"rss_bytes_per_connection\": %.1f, ",
                     got.dirty_per_connection, got.rss_per_connection);
    } else {
        print_latency_json(to, "latency_us", r.counts.latency);
        if (o.rate > 0)
            print_latency_json(to, "sent_late_us", r.counts.send_delay);
        std::fprintf(to, "\"latency_curve_us\": [");
        char const* comma = "";
        for (auto const& p : r.counts.latency.curve()) {
            std::fprintf(to, "%s[%.7f, %.2f]", comma, p.quantile, microseconds(p.value));
            comma = ", ";
        }
        std::fprintf(to, "], ");
    }
    std::fprintf(to, "\"generator_share\": %.3f, \"connect_seconds\": %.3f, \"errors\": %llu}\n", got.generator_share,
                 got.connect_seconds, static_cast<unsigned long long>(r.counts.errors));
}

} // namespace load
