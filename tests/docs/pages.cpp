// SPDX-License-Identifier: BSL-1.0
// docs/howto/pages.md: pages, files, forms and streams beside WebSocket.
#include "program.hpp"

#include <fstream>

using namespace wring;
using namespace std::chrono_literals;

constexpr std::string_view chat_html = "<!doctype html><title>chat</title>";
constexpr std::string_view chat_js = "new WebSocket('/chat')";

task<> chat(ws::connection& ws)
{
    while (auto message = co_await ws.read())
        if (!co_await ws.write(*message))
            break;
}

// [handler]
/// What a form sends: POST /guestbook with `name=Ann&text=Hello`.
task<response> sign(request& r, std::vector<std::string>& book)
{
    auto const form = (co_await r.body()).value();
    auto const name = form_value(form, "name");
    auto const text = form_value(form, "text");
    if (!name || !text)
        co_return response::refuse(400, "name and text, please\n");
    book.push_back(*name + ": " + *text);
    co_return response::redirect("/guestbook"); // so that reloading the page does not sign twice
}
// [/handler]

// [upload]
/// A body of any size, piece by piece: never more in memory than what has arrived.
task<response> count_lines(request& r)
{
    std::size_t lines = 0;
    auto piece = co_await r.read_some();
    for (; piece; piece = co_await r.read_some())
        lines += static_cast<std::size_t>(std::count(piece->begin(), piece->end(), '\n'));
    if (piece.error() != errc::end_of_stream)
        piece.value(); // throws: answered with the status that belongs to it, 400, 408 or 413
    co_return response(200, std::to_string(lines) + " lines\n");
}
// [/upload]

// [stream]
/// Server-sent events: `new EventSource("/clock")` in a page.
task<> tell_time(body_writer& out)
{
    for (int second = 1; co_await out.write(server_sent_event(std::to_string(second) + " s")); ++second)
        if (auto slept = co_await sleep_for(1s); !slept)
            break; // the peer has left, or the server ends
}
// [/stream]

// [setup]
void set_up(server& app, std::string const& folder, std::vector<std::string>& book)
{
    app.page("/", chat_html);
    app.page("/chat.js", chat_js, "text/javascript");
    app.files("/static/", folder);
    app.ws("/chat", chat);
    app.get("/guestbook", [&](request&) -> task<response> {
        std::string all;
        for (auto const& line : book)
            all += line + "\n";
        co_return response(200, all);
    });
    app.post("/guestbook", [&](request& r) { return sign(r, book); }, {.max_body = 10'000});
    app.route("PUT", "/lines", count_lines, {.max_body = 1 << 30});
    app.get("/clock", [](request&) -> task<response> { co_return response::streamed("text/event-stream", tell_time); });
    app.health("/health");
}
// [/setup]

/// What comes back for a request, up to `until`.
task<std::string> ask(server& app, std::string text, std::string until)
{
    auto [ours, theirs] = make_stream_pair();
    scope serving;
    serving.spawn(app.serve(std::move(theirs)));
    std::string answer;
    {
        stream client = std::move(ours);
        (co_await client.write(text)).value();
        std::byte part[1024];
        while (answer.find(until) == answer.npos) {
            auto const got = co_await client.read_some(part);
            docs::expect(got.has_value(), ("something with " + until + " comes back").c_str());
            answer.append(reinterpret_cast<char const*>(got->data()), got->size());
        }
    }
    co_await serving.join();
    co_return answer;
}

task<> try_all(std::string folder)
{
    std::vector<std::string> book;
    server app;
    set_up(app, folder, book);
    auto const get = [](std::string path) { return "GET " + path + " HTTP/1.1\r\nHost: test\r\n\r\n"; };
    auto const page = co_await ask(app, get("/"), "<title>chat");
    docs::expect(page.find("\r\nETag: ") != page.npos, "pages have a tag");
    (void)co_await ask(app, get("/chat.js"), "text/javascript");
    (void)co_await ask(app, get("/static/style.css"), "p { color: red }");
    (void)co_await ask(app, get("/static/../secret"), "HTTP/1.1 400 ");
    (void)co_await ask(app, get("/clock"), "data: 1 s");
    (void)co_await ask(app, get("/health"), "ok");
    (void)co_await ask(app, "PUT /lines HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\n\r\na\nb\n", "2 lines");
    (void)co_await ask(app, "PUT /lines HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\nz", "HTTP/1.1 400 ");
    (void)co_await ask(app, "POST /guestbook HTTP/1.1\r\nHost: test\r\nContent-Length: 21\r\n\r\nname=Ann+B&text=hello", "303");
    (void)co_await ask(app, get("/guestbook"), "Ann B: hello");
}

int main()
{
    std::string folder = (std::filesystem::temp_directory_path() / "wring-XXXXXX").string();
    docs::expect(::mkdtemp(folder.data()) != nullptr, "a temporary folder can be made");
    std::ofstream(folder + "/style.css") << "p { color: red }";
    int const status = docs::run_in_time(try_all(folder));
    std::filesystem::remove_all(folder);
    return status;
}
