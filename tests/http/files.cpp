// SPDX-License-Identifier: BSL-1.0
#include "http/files.hpp"

#include "http/harness.hpp"

#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <sys/stat.h>

using namespace http_test;
using detail::names_etag;
using detail::opened_file;
using detail::served_folder;

namespace {

void write_file(std::string const& path, std::string_view text)
{
    std::ofstream(path) << text;
}

/// A folder to serve, with something beside it that must not be.
struct site
{
    site()
    {
        std::filesystem::create_directories(folder / "www/sub/deep");
        std::filesystem::create_directories(folder / "www/.git");
        std::filesystem::create_directories(folder / "www/.well-known");
        write_file(folder / "secret.txt", "secret");
        write_file(folder / "www/index.html", "<p>start");
        write_file(folder / "www/a b.txt", "blank");
        write_file(folder / "www/empty.txt", "");
        write_file(folder / "www/sub/index.html", "<p>sub");
        write_file(folder / "www/sub/deep/x.js", "x");
        write_file(folder / "www/.git/config", "secret");
        write_file(folder / "www/.htpasswd", "secret");
        write_file(folder / "www/.well-known/security.txt", "Contact: us");
        for (std::size_t i = 0; i < 200'000; ++i)
            large.push_back(static_cast<char>('a' + i % 23));
        write_file(folder / "www/large.bin", large);
        std::filesystem::create_symlink("../secret.txt", folder / "www/up.txt");
        std::filesystem::create_symlink(folder / "secret.txt", folder / "www/away.txt");
        std::filesystem::create_symlink("sub/index.html", folder / "www/inside.html");
        std::filesystem::create_directory_symlink("..", folder / "www/parent");
        ::mkfifo((folder / "www/fifo").c_str(), 0600);
    }
    [[nodiscard]] std::string root() const { return folder / "www"; }
    net_test::temporary_folder folder;
    std::string large;
};

/// The file's beginning, or what else there is to say.
std::string open(served_folder const& from, std::vector<std::string> const& segments)
{
    opened_file file;
    switch (from.open(segments, file)) {
    case served_folder::outcome::file:
        return file.start;
    case served_folder::outcome::nothing:
        return "404";
    case served_folder::outcome::is_directory:
        return "301";
    }
    return "?";
}

} // namespace

TEST_CASE("files are found below the folder, and nothing else is")
{
    site const s;
    for (bool walk : {false, true}) {
        INFO((walk ? "folder by folder" : "openat2"));
        served_folder from(s.root(), {});
        from.walk_only = walk;
        CHECK(open(from, {"index.html"}) == "<p>start");
        CHECK(open(from, {""}) == "<p>start");
        CHECK(open(from, {"a b.txt"}) == "blank");
        CHECK(open(from, {"empty.txt"}).empty());
        CHECK(open(from, {"sub", "deep", "x.js"}) == "x");
        CHECK(open(from, {"sub", ""}) == "<p>sub");
        CHECK(open(from, {"sub"}) == "301");
        CHECK(open(from, {"sub", "deep", ""}) == "404"); // no index there
        CHECK(open(from, {".well-known", "security.txt"}) == "Contact: us");
        CHECK(open(from, {"large.bin"}).size() == served_folder::piece_size);
        CHECK(open(from, {"inside.html"}) == (walk ? "404" : "<p>sub"));

        for (auto const& bad : std::vector<std::vector<std::string>>{{"none"},
                                                                     {"..", "secret.txt"},
                                                                     {"../secret.txt"},
                                                                     {"sub", "..", "..", "secret.txt"},
                                                                     {"up.txt"},
                                                                     {"away.txt"},
                                                                     {"parent", "secret.txt"},
                                                                     {"parent", "www", "index.html"},
                                                                     {".git", "config"},
                                                                     {".htpasswd"},
                                                                     {".", "index.html"},
                                                                     {"sub/deep/x.js"},
                                                                     {"", "index.html"},
                                                                     {"sub", "", "index.html"},
                                                                     {"fifo"},
                                                                     {"index.html", ""},
                                                                     {"index.html", "x"},
                                                                     {std::string("index.html\0", 11)},
                                                                     {std::string(300, 'x')},
                                                                     {"/etc/passwd"},
                                                                     {"", "etc", "passwd"},
                                                                     {}}) {
            INFO((bad.empty() ? "nothing" : bad.front()));
            CHECK(open(from, bad) == "404");
        }
    }
}

TEST_CASE("a folder that is not there is told at once")
{
    net_test::temporary_folder folder;
    write_file(folder / "file", "x");
    for (auto const& path : {folder / "none", folder / "file"}) {
        try {
            served_folder from(path, {});
            FAIL("it was accepted");
        } catch (std::system_error const& e) {
            CHECK(std::string(e.what()).starts_with("can't serve the files of " + path));
        }
    }
}

TEST_CASE("a file over the limit is not served")
{
    site const s;
    files_options options;
    options.max_size = 8;
    served_folder const from(s.root(), options);
    CHECK(open(from, {"index.html"}) == "<p>start"); // 8 bytes
    CHECK(open(from, {"large.bin"}) == "404");
}

TEST_CASE("entity tags change with the content")
{
    CHECK(detail::etag_of("a") == detail::etag_of("a"));
    CHECK(detail::etag_of("a") != detail::etag_of("b"));
    CHECK(detail::etag_of("").size() == 26);
    site const s;
    served_folder const from(s.root(), {});
    opened_file before;
    opened_file after;
    std::vector<std::string> const name{"index.html"};
    CHECK(from.open(name, before) == served_folder::outcome::file);
    write_file(s.root() + "/index.html", "<p>other");
    struct stat status
    {};
    ::stat((s.root() + "/index.html").c_str(), &status);
    timespec const times[] = {status.st_atim, {status.st_mtim.tv_sec, (status.st_mtim.tv_nsec + 1000) % 1'000'000'000}};
    ::utimensat(AT_FDCWD, (s.root() + "/index.html").c_str(), times, 0);
    CHECK(from.open(name, after) == served_folder::outcome::file);
    CHECK(before.etag != after.etag);
    CHECK(after.type == "text/html; charset=utf-8");
    CHECK(after.last_modified.ends_with(" GMT"));
}

TEST_CASE("If-None-Match is a list of tags, or anything")
{
    CHECK(names_etag("\"a\"", "\"a\""));
    CHECK(names_etag("\"b\", \"a\"", "\"a\""));
    CHECK(names_etag("W/\"a\"", "\"a\""));
    CHECK(names_etag("*", "\"a\""));
    CHECK(names_etag("\"x,y\", \"a\"", "\"a\""));
    CHECK(!names_etag("", "\"a\""));
    CHECK(!names_etag("a", "\"a\""));
    CHECK(!names_etag("\"b\"", "\"a\""));
    CHECK(!names_etag("w/\"a\"", "\"a\""));
}

TEST_CASE("a server sends files with their type, and asks for nothing twice")
{
    site const s;
    server app;
    app.files("/static/", s.root());
    for (kind k : kinds) {
        INFO(name_of(k));
        auto const page = ask(app, request_for("/static/"), k);
        CHECK(page.status() == 200);
        CHECK(page.body == "<p>start");
        CHECK(page.has("Content-Type: text/html; charset=utf-8"));
        CHECK(page.has("Cache-Control: no-cache"));
        CHECK(page.has("X-Content-Type-Options: nosniff"));
        CHECK(page.field("Last-Modified"));
        auto const tag = page.field("ETag").value();
        auto const again = ask(app, request_for("/static/", "If-None-Match: " + tag + "\r\n"), k);
        CHECK(again.status() == 304);
        CHECK(again.field("ETag") == tag);
        CHECK(!again.field("Content-Length"));
        CHECK(ask(app, request_for("/static/", "If-None-Match: \"x\"\r\n"), k).status() == 200);
        auto const large = ask(app, request_for("/static/large.bin"), k);
        CHECK(large.has("Content-Length: 200000"));
        CHECK(large.body == s.large);
        auto const none = ask(app, request_for("/static/empty.txt"), k);
        CHECK(none.status() == 200);
        CHECK(none.body.empty());
        CHECK(ask(app, request_for("/static/a%20b.txt"), k).body == "blank");
    }
}

TEST_CASE("a server sends the head of a file to HEAD")
{
    site const s;
    server app;
    app.files("/", s.root());
    auto const r = ask(app, request_for("/large.bin", "Connection: close\r\n", "HEAD"));
    CHECK(r.status() == 200);
    CHECK(r.has("Content-Length: 200000"));
    CHECK(r.body.empty());
}

TEST_CASE("a folder without its slash is sent on to where it has one")
{
    site const s;
    server app;
    app.files("/static/", s.root());
    auto const r = ask(app, request_for("/static/sub?x=1"));
    CHECK(r.status() == 301);
    CHECK(r.has("Location: /static/sub/?x=1"));
    server top;
    top.files("/", s.root());
    CHECK(ask(top, request_for("/sub")).has("Location: /sub/"));
    CHECK(ask(top, request_for("//sub")).status() == 404); // no host of somebody else's
}

TEST_CASE("no path leads out of the folder")
{
    site const s;
    server app;
    app.files("/static/", s.root());
    for (char const* path :
         {"/static/../secret.txt", "/static/%2e%2e/secret.txt", "/static/..%2Fsecret.txt",
          "/static/%2E%2E%2Fsecret.txt", "/static/sub/..%2f..%2f..%2fsecret.txt", "/static/up.txt", "/static/away.txt",
          "/static/parent/secret.txt", "/static/.git/config", "/static/.htpasswd", "/static//etc/passwd",
          "/static/%2Fetc%2Fpasswd", "/static/index.html%00.png", "/static/..%5Csecret.txt",
          "/static/%252e%252e/secret.txt", "/static/fifo", "/static/./index.html"}) {
        INFO(path);
        auto const r = ask(app, request_for(path));
        CHECK((r.status() == 404 || r.status() == 400));
        CHECK(r.body.find("secret") == r.body.npos);
    }
    auto const posted = ask(app, post("/static/index.html", "x"));
    CHECK(posted.status() == 405);
    CHECK(posted.has("Allow: GET, HEAD"));
}

TEST_CASE("a file that becomes shorter on the way ends the connection, not the response")
{
    static std::string path;
    site const s;
    path = s.root() + "/large.bin";
    std::filesystem::resize_file(path, 4'000'000);
    server app;
    app.files("/", s.root());
    with_client(
        app,
        [](server&, stream& client) -> task<> {
            co_await send_text(client, request_for("/large.bin"));
            auto const head = co_await read_head(client);
            CHECK(head.find("Content-Length: 4000000\r\n") != head.npos);
            std::filesystem::resize_file(path, 100'000); // the server is ahead by what the sockets hold, no more
            std::size_t size = 0;
            std::vector<std::byte> part(16 * 1024);
            auto got = co_await client.read_some(part);
            for (; got; got = co_await client.read_some(part))
                size += got->size();
            CHECK(size < 4'000'000);
            CHECK(got.error() == std::errc::connection_reset);
            std::filesystem::resize_file(path, 4'000'000);
        },
        std::array{kind::memory});
}

TEST_CASE("files are served below a path that ends in a slash")
{
    site const s;
    server app;
    CHECK_THROWS_AS(app.files("/static", s.root()), std::invalid_argument);
    CHECK_THROWS_AS(app.files("/{x}/", s.root()), std::invalid_argument);
    CHECK_THROWS_AS(app.files("/none/", s.root() + "/none"), std::system_error);
    app.files("/static/", s.root());
    CHECK_THROWS_AS(app.files("/static/", s.root()), std::invalid_argument);
}
