// An echo server and a client of it in one program: sends one frame, prints what came back.
#include <wring/wring.hpp>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <utility>

using namespace wring;

// What wring is built with is no business of the project that uses it.
#if defined(ASIO_STANDALONE) || defined(ASIO_VERSION) || defined(FMT_VERSION) || defined(LIB_URING_H) || defined(ZLIB_VERSION)
#error "a dependency of wring, or its settings, reached the project that uses wring"
#endif

task<> echo(stream peer)
{
    auto ws = co_await upgrade(std::move(peer));
    if (!ws) co_return;
    while (auto frame = co_await ws->read_frame())
        if (!co_await ws->write_frame(*frame)) break;
}

task<> serve_one(listener& server)
{
    auto peer = co_await server.accept();
    if (peer) co_await echo(std::move(*peer));
}

task<> echo_once()
{
    auto server = listener::bind("127.0.0.1:0").value();
    scope children;
    children.spawn(serve_one(server));

    const std::string url = "ws://" + server.local().to_string() + "/";
    auto ws = (co_await connect(url)).value();
    (co_await ws.write("hello from the parent")).value();
    auto reply = (co_await ws.read()).value();
    const std::string text = reply.to_string();
    std::printf("echo: %s\n", text.c_str());
    (co_await ws.close()).value();
    co_await children.join();
    if (text != "hello from the parent") std::exit(1);
}

int main()
{
    return run(echo_once());
}
