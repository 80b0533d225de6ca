// SPDX-License-Identifier: BSL-1.0
// A WebSocket echo server: what comes in goes out again, on any path. GET / shows a page that tries it.
#include "echo_page.hpp"
#include "options.hpp"

using namespace wring;

task<> echo(ws::connection& ws)
{
    while (auto frame = co_await ws.read_frame())
        if (!co_await ws.write_frame(*frame))
            break;
}

task<response> nothing_here(request&)
{
    co_return response::refuse(404, "there is a page at /, and WebSocket everywhere\n");
}

int main(int argc, char** argv)
{
    auto options = parse_command_line(argc, argv, "Echoes WebSocket messages; GET / shows a page to try it.");
    server app;
    app.page("/", echo_page);
    app.get("/*", nothing_here);
    options.ws.origins = "*";
    app.ws("/*", echo, options.ws);
    listen(app, options);
    return run([&] { return serve(app, options); }, options.run);
}
