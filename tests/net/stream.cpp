// SPDX-License-Identifier: BSL-1.0
// One set of cases for every kind of stream: TCP, Unix and in-memory streams behave alike.
#include "net.hpp"

#include "child.hpp"
#include "net/transport.hpp"

#include <fcntl.h>

using namespace net_test;

namespace {

/// A case on every kind of stream.
void on_every_kind(task<> (*body)(kind))
{
    auto const k = GENERATE(from_range(std::begin(all_kinds), std::end(all_kinds)));
    CAPTURE(name_of(k));
    no_descriptor_leaks const check;
    on_loop(body(k));
}

bool is_ip(kind k)
{
    return below(k) == kind::tcp || k == kind::tcp6;
}

task<> write_all(stream& s, std::vector<std::byte> bytes, std::error_code& outcome, bool& done)
{
    auto const written = co_await s.write(bytes);
    outcome = written.error();
    done = true;
}

/// A write on the side, and how it ended.
struct background_write
{
    std::error_code error;
    bool done = false;
    scope running;
    void start(stream& s, std::vector<std::byte> bytes) { running.spawn(write_all(s, std::move(bytes), error, done)); }
};

task<> read_into(stream& s, std::span<std::byte> buffer, bool whole, result<std::span<std::byte>>& outcome)
{
    if (whole)
        outcome = co_await s.read(buffer);
    else
        outcome = co_await s.read_some(buffer);
}

// ---- reading and writing -------------------------------------------------------------------------------------------

task<> whole_and_in_order(kind k)
{
    auto pair = co_await connected(k);
    for (std::size_t size :
         {std::size_t{1}, std::size_t{125}, std::size_t{16384}, std::size_t{16385}, std::size_t{300000}}) {
        CAPTURE(size);
        background_write there;
        auto const sent = pattern(size, static_cast<std::uint32_t>(size));
        there.start(pair.first, sent);
        std::vector<std::byte> got(size);
        auto const read = co_await pair.second.read(got);
        co_await there.running.join();
        CHECK_FALSE(there.error);
        CHECK(read);
        CHECK(same_bytes(got, sent));

        // And back.
        background_write back;
        back.start(pair.second, got);
        std::vector<std::byte> again(size);
        auto const read_back = co_await pair.first.read(again);
        co_await back.running.join();
        CHECK(read_back);
        CHECK(same_bytes(again, sent));
    }
}

task<> read_some_gives_what_is_there(kind k)
{
    auto pair = co_await connected(k);
    auto const written = co_await pair.first.write("hello");
    CHECK(written);
    std::byte buffer[100];
    auto const some = co_await pair.second.read_some(std::span(buffer));
    REQUIRE(some);
    CHECK(text_of(*some) == "hello");
    CHECK(some->data() == buffer);

    auto const more = co_await pair.first.write("world");
    CHECK(more);
    auto const two = co_await pair.second.read_some(std::span(buffer).first(2));
    CHECK(text_of(two.value()) == "wo");
    CHECK(pair.second.buffered() == 3);
    auto const none = co_await pair.second.read_some({});
    CHECK(none.value().empty());
    auto const none_whole = co_await pair.second.read({});
    CHECK(none_whole.value().empty());
    auto const rest = co_await pair.second.read(std::span(buffer).first(3));
    CHECK(text_of(rest.value()) == "rld");
    CHECK(pair.second.buffered() == 0);
}

task<> write_bytes(stream& s, std::vector<std::byte> const& bytes, std::error_code& error)
{
    for (std::byte const b : bytes) {
        auto const written = co_await s.write(std::span(&b, 1));
        if (!written) error = written.error();
    }
    s.shutdown();
}

task<> one_byte_at_a_time(kind k)
{
    pair_options options;
    options.small_buffers = true;
    auto pair = co_await connected(k, options);
    auto const sent = pattern(20000);
    std::error_code error;
    scope writer;
    writer.spawn(write_bytes(pair.first, sent, error));
    auto const got = co_await read_all(pair.second);
    co_await writer.join();
    CHECK_FALSE(error);
    CHECK(same_bytes(got.value(), sent));
}

task<> empty_writes(kind k)
{
    auto pair = co_await connected(k);
    auto const empty = co_await pair.first.write("");
    CHECK(empty);
    auto const text = co_await pair.first.write("x");
    CHECK(text);
    auto const got = co_await read_text(pair.second, 1);
    CHECK(got == "x");
}

// ---- ends ----------------------------------------------------------------------------------------------------------

task<> half_closes(kind k)
{
    auto pair = co_await connected(k);
    auto const written = co_await pair.first.write("last words");
    CHECK(written);
    pair.first.shutdown();
    pair.first.shutdown(); // no harm
    auto const got = co_await read_text(pair.second, 10);
    CHECK(got == "last words");
    std::byte buffer[10];
    auto const end = co_await pair.second.read_some(std::span(buffer));
    CHECK(end.error() == errc::end_of_stream);
    auto const again = co_await pair.second.read_some(std::span(buffer));
    CHECK(again.error() == errc::end_of_stream);
    auto const whole = co_await pair.second.read(std::span(buffer));
    CHECK(whole.error() == errc::end_of_stream);

    auto const refused = co_await pair.first.write("more");
    CHECK(refused.error() == errc::closed);

    // The other direction goes on.
    auto const back = co_await pair.second.write("still here");
    CHECK(back);
    auto const got_back = co_await read_text(pair.first, 10);
    CHECK(got_back == "still here");
    pair.second.shutdown();
    auto const other_end = co_await pair.first.read_some(std::span(buffer));
    CHECK(other_end.error() == errc::end_of_stream);
}

task<> ends_inside_a_read(kind k)
{
    auto pair = co_await connected(k);
    auto const written = co_await pair.first.write("short");
    CHECK(written);
    pair.first.shutdown();
    std::byte buffer[10];
    auto const end = co_await pair.second.read(std::span(buffer));
    CHECK(end.error() == errc::end_of_stream);
}

task<> end_after_what_was_written(kind k)
{
    pair_options options;
    options.small_buffers = true;
    auto pair = co_await connected(k, options);
    auto const sent = pattern(500'000);
    background_write write;
    write.start(pair.first, sent);
    co_await turns(2);
    pair.first.shutdown(); // the write waits for room
    CHECK_FALSE(write.done);
    auto const late = co_await pair.first.write("late");
    CHECK(late.error() == errc::closed);
    auto const got = co_await read_all(pair.second);
    co_await write.running.join();
    CHECK_FALSE(write.error);
    CHECK(same_bytes(got.value(), sent));
}

task<> destroyed_after_a_write(kind k)
{
    auto pair = co_await connected(k);
    auto const sent = pattern(10'000);
    {
        stream leaving = std::move(pair.first);
        auto const written = co_await leaving.write(sent);
        CHECK(written);
    }
    auto const got = co_await read_all(pair.second);
    CHECK(same_bytes(got.value(), sent));
}

task<> destroyed_with_unread_data(kind k)
{
    auto pair = co_await connected(k);
    auto const to_be_dropped = co_await pair.first.write("nobody reads this");
    CHECK(to_be_dropped);
    {
        stream leaving = std::move(pair.second);
        auto const reply = co_await leaving.write("bye");
        CHECK(reply);
    }
    // What had been sent arrives, and then the peer hears that something was lost.
    auto const got = co_await read_text(pair.first, 3);
    CHECK(got == "bye");
    std::byte buffer[10];
    auto const end = co_await pair.first.read_some(std::span(buffer));
    if (is_tls(k)) // ... which comes behind TLS's own end
        CHECK(end.error() == errc::end_of_stream);
    else
        CHECK(end.error() == std::errc::connection_reset);
}

task<> destroyed_with_bytes_taken_in(kind k)
{
    auto pair = co_await connected(k);
    auto const written = co_await pair.first.write("one two");
    CHECK(written);
    auto const got = co_await read_text(pair.second, 3);
    CHECK(got == "one");
    CHECK(pair.second.buffered() == 4);
    {
        stream leaving = std::move(pair.second);
    }
    std::byte buffer[10];
    auto const end = co_await pair.first.read_some(std::span(buffer));
    CHECK(end.error() == errc::end_of_stream);
}

// ---- resets --------------------------------------------------------------------------------------------------------

std::error_code reset_of(kind k)
{
    // A Unix socket knows no reset of its own; it gives one where bytes were lost only.
    if (k == kind::unix_path || k == kind::unix_abstract) return errc::end_of_stream;
    return std::make_error_code(std::errc::connection_reset);
}

bool same(std::error_code a, std::error_code b)
{
    return a == b || a.default_error_condition() == b.default_error_condition();
}

task<> reset_while_the_peer_reads(kind k)
{
    for (bool const received_before : {false, true}) {
        CAPTURE(received_before);
        auto pair = co_await connected(k);
        if (received_before) { // and so the aborting side has a receive under way
            auto const written = co_await pair.second.write("x");
            CHECK(written);
            auto const got = co_await read_text(pair.first, 1);
            CHECK(got == "x");
        }
        scope reader;
        std::byte buffer[10];
        result<std::span<std::byte>> outcome = errc::busy;
        reader.spawn(read_into(pair.second, buffer, false, outcome));
        co_await turns(2);
        pair.first.abort();
        pair.first.abort(); // no harm
        co_await reader.join();
        CAPTURE(outcome.error().message());
        CHECK(same(outcome.error(), reset_of(k)));
        auto const again = co_await pair.second.read(std::span(buffer));
        CHECK(same(again.error(), reset_of(k)));

        auto const own_read = co_await pair.first.read_some(std::span(buffer));
        CHECK(own_read.error() == errc::closed);
        auto const own_write = co_await pair.first.write("x");
        CHECK(own_write.error() == errc::closed);
        CHECK(pair.first.native_handle() == -1);
        CHECK(pair.first.buffered() == 0);
        CHECK(pair.first.remote() == endpoint());
    }
}

task<> reset_keeps_what_had_arrived(kind k)
{
    auto pair = co_await connected(k);
    auto const written = co_await pair.first.write("hello");
    CHECK(written);
    pair.first.abort();
    auto const got = co_await read_text(pair.second, 5);
    CHECK(got == "hello");
    std::byte buffer[10];
    auto const end = co_await pair.second.read_some(std::span(buffer));
    CHECK(same(end.error(), reset_of(k)));
}

task<> reset_seen_by_a_write_first(kind k)
{
    for (bool const receiving : {false, true}) {
        CAPTURE(receiving);
        auto pair = co_await connected(k);
        if (receiving) {
            auto const written = co_await pair.first.write("x");
            CHECK(written);
            auto const got = co_await read_text(pair.second, 1);
            CHECK(got == "x");
        }
        pair.first.abort();
        auto const failed = co_await pair.second.write("into the void");
        CHECK_FALSE(failed);
        auto const sticky = co_await pair.second.write("again");
        CHECK(sticky.error() == failed.error());
        std::byte buffer[10];
        auto const end = co_await pair.second.read_some(std::span(buffer)); // never a clean end
        CAPTURE(end.error().message());
        CHECK(same(end.error(), reset_of(k)));
        auto const again = co_await pair.second.read_some(std::span(buffer));
        CHECK(again.error() == end.error());
    }
}

task<> reset_ends_waiting_writes(kind k)
{
    pair_options options;
    options.small_buffers = true;
    auto pair = co_await connected(k, options);
    background_write first;
    first.start(pair.second, pattern(1'000'000));
    background_write second;
    second.start(pair.second, pattern(10));
    co_await turns(3);
    CHECK_FALSE(first.done);
    pair.first.abort();
    co_await first.running.join();
    co_await second.running.join();
    CHECK(first.error);
    CHECK(second.error == first.error);
    auto const later = co_await pair.second.write("x");
    CHECK(later.error() == first.error);
}

task<> abort_ends_ones_own_operations(kind k)
{
    pair_options options;
    options.small_buffers = true;
    auto pair = co_await connected(k, options);
    background_write first;
    first.start(pair.first, pattern(1'000'000));
    background_write second;
    second.start(pair.first, pattern(10));
    scope reader;
    std::byte buffer[10];
    result<std::span<std::byte>> outcome = errc::busy;
    reader.spawn(read_into(pair.first, buffer, true, outcome));
    co_await turns(3);
    pair.first.abort();
    co_await first.running.join();
    co_await second.running.join();
    co_await reader.join();
    CHECK(first.error == errc::closed);
    CHECK(second.error == errc::closed);
    CHECK(outcome.error() == errc::closed);
}

// ---- several coroutines --------------------------------------------------------------------------------------------

task<> writers_take_turns(kind k)
{
    pair_options options;
    options.small_buffers = true;
    auto pair = co_await connected(k, options);
    constexpr std::size_t sizes[] = {100'000, 1, 30'000, 0, 65'536, 7, 200'000, 4096};
    std::vector<std::byte> expected;
    background_write writes[std::size(sizes)];
    for (std::size_t i = 0; i < std::size(sizes); ++i) {
        auto const bytes = pattern(sizes[i], static_cast<std::uint32_t>(i));
        expected.insert(expected.end(), bytes.begin(), bytes.end());
        writes[i].start(pair.first, bytes);
    }
    co_await turns(2);
    pair.first.shutdown();
    auto const got = co_await read_all(pair.second);
    for (auto& w : writes) {
        co_await w.running.join();
        CHECK_FALSE(w.error);
    }
    CHECK(same_bytes(got.value(), expected));
}

task<> second_reader_is_refused(kind k)
{
    auto pair = co_await connected(k);
    scope reader;
    std::byte first[5];
    std::byte second[5];
    result<std::span<std::byte>> outcome = errc::busy;
    reader.spawn(read_into(pair.second, first, true, outcome));
    co_await turns(1);
    auto const refused = co_await pair.second.read_some(std::span(second));
    CHECK(refused.error() == errc::busy);
    auto const written = co_await pair.first.write("12345");
    CHECK(written);
    co_await reader.join();
    CHECK(text_of(outcome.value()) == "12345"); // the first was not disturbed
    auto const more = co_await pair.first.write("x");
    CHECK(more);
    auto const third = co_await pair.second.read_some(std::span(second));
    CHECK(text_of(third.value()) == "x");
}

task<> echo_all(stream& s)
{
    std::vector<std::byte> buffer(5000);
    while (auto const got = co_await s.read_some(buffer)) {
        auto const written = co_await s.write(*got);
        if (!written) break;
    }
    s.shutdown();
}

task<> reads_while_writing(kind k)
{
    pair_options options;
    options.small_buffers = true;
    auto pair = co_await connected(k, options);
    scope echo;
    echo.spawn(echo_all(pair.second));
    auto const sent = pattern(500'000);
    background_write write;
    write.start(pair.first, sent);
    std::vector<std::byte> got(sent.size());
    auto const read = co_await pair.first.read(got);
    co_await write.running.join();
    pair.first.shutdown();
    co_await echo.join();
    CHECK(read);
    CHECK(same_bytes(got, sent));
}

// ---- back pressure -------------------------------------------------------------------------------------------------

task<> receiving_pauses(kind k)
{
    auto pair = co_await connected(k);
    auto const sent = pattern(test::load(32 << 20, 1 << 20));
    background_write write;
    write.start(pair.first, sent);
    std::vector<std::byte> got(sent.size());
    auto const one = co_await pair.second.read(std::span(got).first(1)); // from here on bytes are taken in
    CHECK(one);

    // Until nothing moves any more.
    std::size_t before = 0;
    for (int still = 0; still < 20; ++still) {
        co_await turns(5);
        if (pair.second.buffered() != before) still = 0;
        before = pair.second.buffered();
    }
    CHECK_FALSE(write.done);
    CHECK(pair.second.buffered() > 0);
    // The limit, and at most the loop's receive buffers, which may all have been on their way when receiving was
    // paused.
    run_options const defaults;
    CHECK(pair.second.buffered() <= 64 * 1024 + std::size_t{defaults.receive_buffers} * defaults.receive_buffer_size);

    auto const rest = co_await pair.second.read(std::span(got).subspan(1));
    co_await write.running.join();
    CHECK_FALSE(write.error);
    CHECK(rest);
    CHECK(same_bytes(got, sent));
}

// ---- cancels -------------------------------------------------------------------------------------------------------

constexpr struct
{
    std::size_t size;
    bool whole;
} script[] = {{1, true},     {7, false}, {100, true},   {64 * 1024, false}, {4096, true}, {3, true},
              {30000, true}, {1, false}, {50000, true}, {20000, false},     {9999, true}};

task<> write_in_pieces(stream& s, std::vector<std::byte> const& bytes)
{
    std::size_t const sizes[] = {1, 2, 130, 17, 5000, 1, 16384, 700, 3};
    std::size_t done = 0;
    for (std::size_t i = 0; done < bytes.size(); ++i) {
        std::size_t const n = std::min(sizes[i % std::size(sizes)], bytes.size() - done);
        auto const written = co_await s.write(std::span(bytes).subspan(done, n));
        if (!written) co_return;
        done += n;
        co_await turns(2);
    }
    s.shutdown();
}

/// Reads all by the script, tries again what was canceled, and gives what came.
task<> scripted_session(kind k, cancel_plan& plan, std::vector<std::byte> const& sent, std::vector<std::byte>& got)
{
    pair_options options;
    options.chunk = 1000;
    auto pair = co_await connected(k, options);
    scope writer;
    writer.spawn(write_in_pieces(pair.first, sent));
    std::vector<std::byte> buffer(64 * 1024);
    for (std::size_t i = 0;;) {
        auto const step = script[i % std::size(script)];
        std::size_t const size = std::min(step.size, sent.size() - got.size());
        auto const part = std::span(buffer).first(size ? size : 1);
        result<std::span<std::byte>> read = errc::busy;
        if (step.whole)
            read = co_await under(plan, pair.second.read(part));
        else
            read = co_await under(plan, pair.second.read_some(part));
        if (read) {
            got.insert(got.end(), read->begin(), read->end());
            ++i;
        } else if (read.error() != errc::canceled) {
            CHECK(read.error() == errc::end_of_stream);
            break;
        }
    }
    co_await writer.join();
}

void canceled_at_every_suspension(kind k)
{
    auto const sent = pattern(120'000);
    std::size_t canceled = 0;
    for (int const delay : {0, 1, 4}) {
        for (std::size_t at = 0;; ++at) {
            CAPTURE(at, delay);
            cancel_plan plan;
            plan.at = at;
            plan.delay = delay;
            std::vector<std::byte> got;
            on_loop(scripted_session(k, plan, sent, got));
            CHECK(same_bytes(got, sent));
            canceled += plan.canceled;
            if (plan.suspensions <= at) break; // the script ran through
            CHECK(plan.canceled <= 1);
        }
    }
    CHECK(canceled >= 10);
}

task<> canceled_beforehand(kind k)
{
    auto pair = co_await connected(k);
    auto const written = co_await pair.first.write("abc");
    CHECK(written);
    std::byte buffer[3];
    {
        auto& env = co_await detail::get_context();
        detail::own_stop own(env);
        own.stop.request();
        auto const read = co_await pair.second.read(std::span(buffer));
        CHECK(read.error() == errc::canceled);
        auto const write = co_await pair.second.write("x");
        CHECK(write.error() == errc::canceled);
    }
    auto const got = co_await read_text(pair.second, 3);
    CHECK(got == "abc");
    auto const write = co_await pair.second.write("y"); // that write had no effect
    CHECK(write);
    auto const back = co_await read_text(pair.first, 1);
    CHECK(back == "y");
}

task<> read_times_out(kind k)
{
    auto pair = co_await connected(k);
    auto const part = co_await pair.first.write("ab");
    CHECK(part);
    std::byte buffer[4];
    auto const late = co_await timeout(5ms, pair.second.read(std::span(buffer)));
    CHECK(late.error() == errc::timed_out);
    auto const rest = co_await pair.first.write("cd");
    CHECK(rest);
    auto const whole = co_await timeout(10s, pair.second.read(std::span(buffer)));
    CHECK(text_of(whole.value()) == "abcd");
}

/// Fills the way to the peer to the last byte and gives how much went in.
task<std::size_t> fill(kind k, stream& s)
{
    std::size_t filled = 0;
    if (is_tls(k)) { // where a write goes in whole, or waits and takes nothing
        auto const bytes = pattern(4096);
        for (;;) {
            auto const written = co_await timeout(100ms, s.write(bytes));
            if (!written)
                co_return filled;
            filled += bytes.size();
        }
    }
    if (k == kind::memory) {
        auto const bytes = pattern(4096);
        auto const written = co_await s.write(bytes);
        CHECK(written);
        co_return bytes.size();
    }
    std::vector<char> const zeros(4096);
    for (int still = 0; still < 12; ++still) { // the system may make room again, up to a delayed ACK (40 ms) later
        for (std::size_t size = zeros.size(); size > 0;) {
            ssize_t const n = ::send(s.native_handle(), zeros.data(), size, MSG_DONTWAIT | MSG_NOSIGNAL);
            if (n > 0) {
                filled += static_cast<std::size_t>(n);
                still = 0;
            } else {
                size = size == 1 ? 0 : 1;
            }
        }
        auto const waited = co_await sleep_for(10ms);
        CHECK(waited);
    }
    co_return filled;
}

task<> write_canceled_before_its_first_byte(kind k)
{
    pair_options options;
    options.small_buffers = true;
    auto pair = co_await connected(k, options);
    std::size_t const filled = co_await fill(k, pair.first);

    auto const text = std::string_view("never sent");
    auto const first = co_await timeout(5ms, pair.first.write(text));
    CHECK(first.error() == errc::timed_out);

    // The same for one in the middle of the queue.
    scope outer;
    background_write before;
    background_write middle;
    background_write after;
    auto const begin = pattern(100'000, 1);
    auto const end = pattern(1000, 2);
    before.start(pair.first, begin);
    middle.start(pair.first, pattern(500, 3));
    after.start(pair.first, end);
    co_await turns(2);
    middle.running.request_stop();
    co_await middle.running.join();
    CHECK(middle.error == errc::canceled);
    CHECK_FALSE(before.done);
    CHECK_FALSE(after.done);

    std::vector<std::byte> drained(filled);
    auto const drain = co_await pair.second.read(drained);
    CHECK(drain);
    pair.first.shutdown();
    auto got = co_await read_all(pair.second);
    co_await before.running.join();
    co_await after.running.join();
    CHECK_FALSE(before.error);
    CHECK_FALSE(after.error);
    std::vector<std::byte> expected(begin);
    expected.insert(expected.end(), end.begin(), end.end());
    CHECK(same_bytes(got.value(), expected));
}

task<> last_write_in_the_queue_canceled(kind k)
{
    pair_options options;
    options.small_buffers = true;
    auto pair = co_await connected(k, options);
    auto const begin = pattern(100'000, 1);
    auto const end = pattern(10'000, 2);
    background_write before;
    background_write last;
    before.start(pair.first, begin);
    last.start(pair.first, pattern(500, 3));
    co_await turns(2);
    last.running.request_stop();
    background_write after;
    after.start(pair.first, end);
    co_await turns(1);
    pair.first.shutdown();
    auto got = co_await read_all(pair.second);
    co_await before.running.join();
    co_await last.running.join();
    co_await after.running.join();
    CHECK(last.error == errc::canceled);
    std::vector<std::byte> expected(begin);
    expected.insert(expected.end(), end.begin(), end.end());
    CHECK(same_bytes(got.value(), expected));
}

task<> write_canceled_in_the_middle(kind k)
{
    pair_options options;
    options.small_buffers = true;
    auto pair = co_await connected(k, options);
    background_write torn;
    background_write next;
    auto const sent = pattern(1'000'000);
    torn.start(pair.first, sent);
    next.start(pair.first, pattern(10));
    co_await turns(3);
    CHECK_FALSE(torn.done);
    torn.running.request_stop();
    co_await torn.running.join();
    co_await next.running.join();
    CHECK(torn.error == errc::canceled);
    CHECK(next.error == errc::closed);
    auto const later = co_await pair.first.write("x");
    CHECK(later.error() == errc::closed);

    // The peer gets the part that was sent and, once asked for, the end; the other direction works.
    pair.first.shutdown();
    auto const got = co_await read_all(pair.second);
    REQUIRE(got);
    CHECK(got->size() > 0);
    CHECK(got->size() < sent.size());
    CHECK(std::equal(got->begin(), got->end(), sent.begin()));
    auto const back = co_await pair.second.write("still here");
    CHECK(back);
    auto const heard = co_await read_text(pair.first, 10);
    CHECK(heard == "still here");
}

task<> torn_write_after_shutdown(kind k)
{
    pair_options options;
    options.small_buffers = true;
    auto pair = co_await connected(k, options);
    background_write torn;
    torn.start(pair.first, pattern(1'000'000));
    co_await turns(3);
    pair.first.shutdown(); // waits for the write
    torn.running.request_stop();
    co_await torn.running.join();
    CHECK(torn.error == errc::canceled);
    auto const got = co_await timeout(10s, read_all(pair.second)); // and does not wait for ever
    CHECK(got);
}

// ---- addresses, options, descriptors -----------------------------------------------------------------------------

task<> addresses(kind k)
{
    auto pair = co_await connected(k);
    if (below(k) == kind::memory) {
        CHECK(pair.first.local() == endpoint());
        CHECK(pair.second.remote() == endpoint());
        CHECK(pair.first.native_handle() == -1);
        co_return;
    }
    CHECK(pair.first.native_handle() >= 0);
    CHECK(pair.first.remote() == pair.second.local());
    CHECK(pair.first.local() == pair.second.remote());
    CHECK(pair.first.remote().is_ip() == is_ip(k));
    CHECK(pair.first.remote().is_unix() == !is_ip(k));
    if (is_ip(k)) {
        CHECK(pair.first.local().address() == (below(k) == kind::tcp ? "127.0.0.1" : "::1"));
        CHECK(pair.first.local().port() != 0);
        CHECK(pair.first.local().port() != pair.first.remote().port());
    } else {
        CHECK(pair.first.local().address().empty());
        CHECK(pair.first.remote().address().starts_with('@') == (k == kind::unix_abstract));
    }
}

task<> socket_options(kind k)
{
    auto pair = co_await connected(k);
    int const fd = pair.second.native_handle();
    CHECK(pair.second.set_no_delay(false));
    if (is_ip(k)) CHECK(socket_option(fd, IPPROTO_TCP, TCP_NODELAY) == 0);
    CHECK(pair.second.set_no_delay(true));
    if (is_ip(k)) CHECK(socket_option(fd, IPPROTO_TCP, TCP_NODELAY) == 1);

    keepalive_options keep;
    keep.idle = 11s;
    keep.interval = 12s;
    keep.probes = 13;
    CHECK(pair.second.set_keepalive(keep));
    if (is_ip(k)) {
        CHECK(socket_option(fd, SOL_SOCKET, SO_KEEPALIVE) == 1);
        CHECK(socket_option(fd, IPPROTO_TCP, TCP_KEEPIDLE) == 11);
        CHECK(socket_option(fd, IPPROTO_TCP, TCP_KEEPINTVL) == 12);
        CHECK(socket_option(fd, IPPROTO_TCP, TCP_KEEPCNT) == 13);
    }
    keep.on = false;
    CHECK(pair.second.set_keepalive(keep));
    if (is_ip(k)) {
        CHECK(socket_option(fd, SOL_SOCKET, SO_KEEPALIVE) == 0);
        keep.probes = -1;
        CHECK(pair.second.set_keepalive(keep).error() == std::errc::invalid_argument);
    }
}

task<> release_and_adopt(kind k)
{
    auto pair = co_await connected(k);
    auto const greeting = co_await pair.first.write("hello");
    CHECK(greeting);
    auto const got = co_await read_text(pair.second, 5); // and so a receive is under way
    CHECK(got == "hello");
    auto released = co_await pair.second.release();
    if (k == kind::memory || is_tls(k)) {
        CHECK(released.error() == std::errc::operation_not_supported);
        auto const still = co_await pair.second.write("x");
        CHECK(still);
        co_return;
    }
    REQUIRE(released);
    raw_socket fd(*released);
    CHECK(pair.second.native_handle() == -1);
    auto const closed = co_await pair.second.write("x");
    CHECK(closed.error() == errc::closed);
    auto const twice = co_await pair.second.release();
    CHECK(twice.error() == errc::closed);

    // Plain system calls.
    CHECK((::fcntl(fd.get(), F_GETFL) & O_NONBLOCK) != 0);
    CHECK(::write(fd.get(), "plain", 5) == 5);
    auto const heard = co_await read_text(pair.first, 5);
    CHECK(heard == "plain");
    auto const sent = co_await pair.first.write("words");
    CHECK(sent);
    char buffer[10];
    CHECK(::read(fd.get(), buffer, sizeof buffer) == 5);
    CHECK(std::string_view(buffer, 5) == "words");

    // And back to wring, as a blocking descriptor.
    ::fcntl(fd.get(), F_SETFL, 0);
    auto adopted = stream::adopt(fd.get());
    REQUIRE(adopted);
    CHECK(adopted->native_handle() == fd.release());
    CHECK((::fcntl(adopted->native_handle(), F_GETFL) & O_NONBLOCK) != 0);
    auto const again = co_await adopted->write("back");
    CHECK(again);
    auto const home = co_await read_text(pair.first, 4);
    CHECK(home == "back");
}

task<> not_released_while_in_use(kind k)
{
    auto pair = co_await connected(k);
    std::byte buffer[4];
    scope reader;
    result<std::span<std::byte>> outcome = errc::busy;
    reader.spawn(read_into(pair.second, buffer, true, outcome));
    co_await turns(1);
    auto const reading = co_await pair.second.release();
    CHECK(reading.error() == errc::busy);
    auto const written = co_await pair.first.write("12345");
    CHECK(written);
    co_await reader.join();
    CHECK(text_of(outcome.value()) == "1234");

    auto const unread = co_await pair.second.release();
    CHECK(unread.error() == errc::busy);
    auto const rest = co_await read_text(pair.second, 1); // the stream is as it was
    CHECK(rest == "5");
    auto const back = co_await pair.second.write("ok");
    CHECK(back);
    auto const more = co_await pair.first.write("more");
    CHECK(more);
    auto const got = co_await read_text(pair.second, 4);
    CHECK(got == "more");
}

task<> release_into(stream& s, std::optional<result<int>>& outcome)
{
    outcome.emplace(co_await s.release());
}

/// Leaves a receive in flight on `s`, for which a release must wait.
task<> receive_once(stream& peer, stream& s)
{
    auto const written = co_await peer.write("x");
    CHECK(written);
    auto const text = co_await read_text(s, 1);
    CHECK(text == "x");
}

task<> released_twice(kind k)
{
    if (k == kind::memory || is_tls(k))
        co_return;
    auto pair = co_await connected(k);
    co_await receive_once(pair.first, pair.second);
    std::optional<result<int>> first;
    std::optional<result<int>> second;
    scope releases;
    releases.spawn(release_into(pair.second, first));
    releases.spawn(release_into(pair.second, second));
    co_await releases.join();
    REQUIRE(first);
    REQUIRE(*first);
    raw_socket const fd(**first);
    REQUIRE(second);
    CHECK(second->error() == errc::busy);
}

task<> replace(stream& s, stream& by)
{
    s = std::move(by);
    co_return;
}

task<> destroyed_while_released()
{
    auto pair = co_await connected(kind::tcp);
    co_await receive_once(pair.first, pair.second);
    std::optional<result<int>> outcome;
    scope releases;
    releases.spawn(release_into(pair.second, outcome));
    releases.spawn(replace(pair.second, pair.first)); // in the same turn
    co_await releases.join();
}

task<> what_cannot_be_adopted()
{
    CHECK(stream::adopt(-1).error() == std::errc::bad_file_descriptor);
    raw_socket const datagrams(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    CHECK(stream::adopt(datagrams.get()).error() == std::errc::wrong_protocol_type);
    raw_socket const unconnected(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    CHECK(stream::adopt(unconnected.get()).error() == std::errc::not_connected);
    raw_socket const file(::open("/dev/null", O_RDWR | O_CLOEXEC));
    CHECK(stream::adopt(file.get()).error() == std::errc::not_a_socket);
    for (int fd : {datagrams.get(), unconnected.get(), file.get()})
        CHECK(::fcntl(fd, F_GETFD) >= 0); // still the caller's
    co_return;
}

task<> adopt_half_a_socket_pair()
{
    int fds[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
    raw_socket other(fds[1]);
    auto s = stream::adopt(fds[0]).value();
    CHECK(::write(other.get(), "abc", 3) == 3);
    auto const got = co_await read_text(s, 3);
    CHECK(got == "abc");
    other.reset();
    std::byte buffer[1];
    auto const end = co_await s.read_some(std::span(buffer));
    CHECK(end.error() == errc::end_of_stream);
}

task<> moved_while_in_use()
{
    auto pair = make_stream_pair();
    scope reader;
    std::byte buffer[4];
    result<std::span<std::byte>> outcome = errc::busy;
    reader.spawn(read_into(pair.second, buffer, true, outcome));
    co_await turns(1);
    stream moved = std::move(pair.second);
    auto const written = co_await pair.first.write("moved");
    CHECK(written);
    co_await reader.join();
    CHECK(text_of(outcome.value()) == "move");
    auto const rest = co_await read_text(moved, 1);
    CHECK(rest == "d");
    moved = std::move(pair.first); // closes what it was
}

} // namespace

TEST_CASE("what is written arrives whole and in order")
{
    on_every_kind(whole_and_in_order);
}
TEST_CASE("read_some gives what is there, read fills the buffer", "[sizes]")
{
    on_every_kind(read_some_gives_what_is_there);
}
TEST_CASE("writers of single bytes are no trouble")
{
    on_every_kind(one_byte_at_a_time);
}
TEST_CASE("writing nothing does nothing")
{
    on_every_kind(empty_writes);
}

TEST_CASE("each direction of a stream ends by itself")
{
    on_every_kind(half_closes);
}
TEST_CASE("a stream that ends inside a read is an error")
{
    on_every_kind(ends_inside_a_read);
}
TEST_CASE("the end comes after what was written before it")
{
    on_every_kind(end_after_what_was_written);
}
TEST_CASE("a destroyed stream delivers what was written", "[sizes]")
{
    on_every_kind(destroyed_after_a_write);
}
TEST_CASE("a stream destroyed with unread data in the system resets")
{
    on_every_kind(destroyed_with_unread_data);
}
TEST_CASE("a stream destroyed with bytes taken in ends cleanly", "[sizes]")
{
    on_every_kind(destroyed_with_bytes_taken_in);
}

TEST_CASE("a reset reaches a peer that reads")
{
    on_every_kind(reset_while_the_peer_reads);
}
TEST_CASE("what had arrived before a reset can be read")
{
    on_every_kind(reset_keeps_what_had_arrived);
}
TEST_CASE("a reset that a write saw first is no clean end for a read")
{
    on_every_kind(reset_seen_by_a_write_first);
}
TEST_CASE("a reset ends the writes that wait")
{
    on_every_kind(reset_ends_waiting_writes);
}
TEST_CASE("an abort ends the operations of its own side")
{
    on_every_kind(abort_ends_ones_own_operations);
}

TEST_CASE("concurrent writes go out whole, in the order of the calls")
{
    on_every_kind(writers_take_turns);
}
TEST_CASE("a second reader is refused and disturbs nothing")
{
    on_every_kind(second_reader_is_refused);
}
TEST_CASE("reading and writing go on side by side")
{
    on_every_kind(reads_while_writing);
}

TEST_CASE("receiving pauses where nobody reads, and the peer's write waits")
{
    on_every_kind(receiving_pauses);
}

TEST_CASE("a read canceled at any suspension loses no byte")
{
    auto const k = GENERATE(from_range(std::begin(all_kinds), std::end(all_kinds)));
    CAPTURE(name_of(k));
    no_descriptor_leaks const check;
    canceled_at_every_suspension(k);
}
TEST_CASE("an operation under a stop request has no effect")
{
    on_every_kind(canceled_beforehand);
}
TEST_CASE("a read that timed out goes on later")
{
    on_every_kind(read_times_out);
}
TEST_CASE("a write canceled before its first byte leaves the stream good")
{
    on_every_kind(write_canceled_before_its_first_byte);
}
TEST_CASE("the last write of the queue can be canceled")
{
    on_every_kind(last_write_in_the_queue_canceled);
}
TEST_CASE("a write canceled in the middle closes its direction")
{
    on_every_kind(write_canceled_in_the_middle);
}
TEST_CASE("an end that waited for a torn write is sent")
{
    on_every_kind(torn_write_after_shutdown);
}

TEST_CASE("a stream knows its addresses")
{
    on_every_kind(addresses);
}
TEST_CASE("the options of a stream reach its socket")
{
    on_every_kind(socket_options);
}
TEST_CASE("a descriptor can be released and adopted")
{
    on_every_kind(release_and_adopt);
}
TEST_CASE("a stream in use is not released and stays as it was")
{
    on_every_kind(not_released_while_in_use);
}
TEST_CASE("a stream is released once at a time, and not destroyed meanwhile")
{
    on_every_kind(released_twice);
    auto const end = wring::test::in_child([] {
        on_loop(destroyed_while_released());
        return 0;
    });
    INFO(end.output);
    CHECK(end.aborted());
    CHECK(end.says("a stream was destroyed while a coroutine waits on it"));
}
TEST_CASE("only connected stream sockets are adopted")
{
    no_descriptor_leaks const check;
    on_loop(what_cannot_be_adopted());
}
TEST_CASE("half of a socket pair is a stream")
{
    no_descriptor_leaks const check;
    on_loop(adopt_half_a_socket_pair());
}
TEST_CASE("a stream may move while it is read")
{
    on_loop(moved_while_in_use());
}

// ---- riders -------------------------------------------------------------------------------------------------------

namespace {

struct rider final : detail::transport_rider
{
    rider(bool& gone, endpoint at) : gone_(gone), at_(at) {}
    ~rider() override { gone_ = true; }
    endpoint const* remote() const noexcept override { return &at_; }
    bool& gone_;
    endpoint at_;
};

} // namespace

TEST_CASE("a rider says whom a stream is from, and goes with its socket")
{
    for (kind k : {kind::memory, kind::tcp, kind::unix_path}) // with TLS it rides below
        on_loop([](kind which) -> task<> {
            auto pair = co_await connected(which);
            bool gone = false;
            auto const client = endpoint::parse("192.0.2.7:99").value();
            auto transport = detail::stream_access::take(std::move(pair.first));
            transport->set_rider(std::make_unique<rider>(gone, client));
            {
                auto s = detail::stream_access::make(std::move(transport));
                CHECK(s.remote() == client);
                auto const got = co_await timeout(1ms, read_text(s, 1)); // a receive is under way
                CHECK((!got || got->starts_with("error")));
            }
            auto const end = co_await read_text(pair.second, 1);
            CHECK(end.starts_with("error"));
            for (int i = 0; i < 100 && !gone; ++i)
                co_await turns(1);
            CHECK(gone);
        }(k));
}
