// SPDX-License-Identifier: BSL-1.0
// What coroutine frames weigh, and the operations that lie in them. Prints it, and fails beyond the bounds below: those are
// what was reached, so that a frame grows on purpose only.
#include "ws/harness.hpp"

#include <wring/server.hpp>

#include <cstdio>

namespace {

thread_local std::size_t live = 0; // bytes of frames
thread_local std::size_t most = 0;

} // namespace

extern "C" {
// detail::frame_allocate and detail::frame_deallocate, by the linker's --wrap.
void* __real__ZN5wring6detail14frame_allocateEm(std::size_t size);
void* __wrap__ZN5wring6detail14frame_allocateEm(std::size_t size);
void* __wrap__ZN5wring6detail14frame_allocateEm(std::size_t size)
{
    live += size;
    most = std::max(most, live);
    return __real__ZN5wring6detail14frame_allocateEm(size);
}

void __real__ZN5wring6detail16frame_deallocateEPvm(void* block, std::size_t size) noexcept;
void __wrap__ZN5wring6detail16frame_deallocateEPvm(void* block, std::size_t size) noexcept;
void __wrap__ZN5wring6detail16frame_deallocateEPvm(void* block, std::size_t size) noexcept
{
    live -= size;
    __real__ZN5wring6detail16frame_deallocateEPvm(block, size);
}
}

namespace {

using namespace ws_test;

#ifdef __clang__
[[maybe_unused]] constexpr bool known_compiler = __clang_major__ == 19;
#else
[[maybe_unused]] constexpr bool known_compiler = __GNUC__ == 12;
#endif
#if defined(__OPTIMIZE__) && !defined(WRING_WRAP_NEW) // which stands for a sanitizer
constexpr bool judged = known_compiler;
#else
constexpr bool judged = false;
#endif

/// At most so many bytes, by g++ 12 and by clang 19: others have numbers of their own, which are only printed.
struct bound
{
    char const* what;
    std::size_t gcc;
    std::size_t clang;
};

constexpr bound session_by_frames{"session of the echo example", 336, 400};
constexpr bound session_by_messages{"session that echoes messages", 336, 400};
constexpr bound session_idle{"all frames of an idle session", 336, 400};
constexpr bound server_idle{"the same with `server`", 1168, 1264};
constexpr bound upgrading{"upgrade()", 888, 2280};
constexpr bound handshake{"upgrade() and all that it awaits, at most", 3224, 6160};
constexpr bound accepting{"loop that accepts and spawns", 264, 272};
constexpr bound accept_one{"operation: accept()", 96, 96};
constexpr bound read_frame{"operation: read_frame()", 88, 88};
constexpr bound read_message{"operation: read()", 88, 88};
constexpr bound write_message{"operation: write()", 40, 40};
constexpr bound read_stream{"operation: read() of a stream", 112, 112};
constexpr bound write_stream{"operation: write() of a stream", 112, 112};

void check(bound const& b, std::size_t bytes)
{
#ifdef __clang__
    std::size_t const allowed = b.clang;
#else
    std::size_t const allowed = b.gcc;
#endif
    std::printf("%-45s %5zu bytes, %5zu %s\n", b.what, bytes, allowed, judged ? "allowed" : "elsewhere: not judged");
    INFO(b.what << ": " << bytes << " bytes");
    CHECK(bytes > 0);
    if (judged)
        CHECK(bytes <= allowed);
}

// ---- the coroutines of examples/echo_server.cpp -------------------------------------------------------------------

task<result<ws::connection>> open(stream peer, ws::upgrade_options const& options)
{
    auto how = options;
    how.origins = "*";
    return upgrade(std::move(peer), how);
}

task<> session(stream peer, ws::upgrade_options const& options)
{
    auto ws = co_await open(std::move(peer), options);
    if (!ws)
        co_return;
    while (auto frame = co_await ws->read_frame())
        if (!co_await ws->write_frame(*frame))
            break;
}

task<> message_session(stream peer, ws::upgrade_options const& options)
{
    auto ws = co_await open(std::move(peer), options);
    if (!ws)
        co_return;
    while (auto message = co_await ws->read())
        if (!co_await ws->write(*message))
            break;
}

task<> accept_sessions(scope& sessions, std::string where, ws::upgrade_options const& options)
{
    auto server = listener::bind(where).value();
    while (auto peer = co_await server.accept())
        sessions.spawn(session(std::move(*peer), options));
}

// ---- how they are weighed -----------------------------------------------------------------------------------------

/// The frame of a coroutine that is made and not started.
template <class... P, class... A>
std::size_t frame_of(task<P...> (*function)(A...), std::type_identity_t<A>... arguments)
{
    auto* volatile hidden = function; // or the compiler would see that it needs no frame
    auto const before = live;
    auto const made = hidden(std::forward<A>(arguments)...);
    return live - before;
}

/// The frames that stay while an open session waits for its peer.
template <class Start>
task<std::size_t> idle_frames(Start start)
{
    auto both = make_stream_pair();
    co_await send_text(both.second, request_text());
    scope sessions;
    auto const before = live;
    sessions.spawn(start(std::move(both.first)));
    auto const answer = co_await read_head(both.second);
    CHECK(answer.starts_with("HTTP/1.1 101 "));
    co_await turns(10);
    auto const bytes = live - before;
    both.second.abort();
    co_await sessions.join();
    co_return bytes;
}

} // namespace

TEST_CASE("coroutine frames and operations keep to their bounds", "[sizes]")
{
    on_loop([]() -> task<> {
        auto const options = quiet_server();
        scope sessions;
        check(session_by_frames, frame_of(session, make_stream_pair().first, options));
        check(session_by_messages, frame_of(message_session, make_stream_pair().first, options));
        check(upgrading, frame_of(upgrade, make_stream_pair().first, options));
        check(accepting, frame_of(accept_sessions, sessions, "127.0.0.1:0", options));

        auto both = make_stream_pair();
        co_await send_text(both.second, request_text());
        most = live;
        auto const before = live;
        auto const ws = co_await upgrade(std::move(both.first), options);
        check(handshake, most - before);
        CHECK(ws);
        co_await turns(3); // it gives back what opening took

        auto const idle = co_await idle_frames([&](stream s) { return session(std::move(s), options); });
        check(session_idle, idle);
        server app;
        app.ws("/", [](ws::connection& c) -> task<> { co_await echo(c); });
        auto const idle_in_server = co_await idle_frames([&](stream s) { return app.serve(std::move(s)); });
        check(server_idle, idle_in_server);
    }());
    check(accept_one, sizeof(listener::accept_operation));
    check(read_frame, sizeof(ws::connection::read_frame_operation));
    check(read_message, sizeof(ws::connection::read_operation));
    check(write_message, sizeof(ws::connection::write_operation));
    check(read_stream, sizeof(stream::read_operation));
    check(write_stream, sizeof(stream::write_operation));
}
