// SPDX-License-Identifier: BSL-1.0
#include "../catch.hpp"

#include "../../tools/bench/load/failure.hpp"
#include "../../tools/bench/load/options.hpp"

using namespace load;

namespace {

options read(std::vector<std::string> words)
{
    words.insert(words.begin(), "load");
    std::vector<char*> argv;
    for (auto& w : words)
        argv.push_back(w.data());
    return read_options(static_cast<int>(argv.size()), argv.data());
}

std::string refusal(std::vector<std::string> words)
{
    try {
        (void)read(std::move(words));
    } catch (wrong_usage const& e) {
        return e.what();
    }
    return "accepted";
}

} // namespace

TEST_CASE("the URL says how the server is spoken to")
{
    auto o = read({"--url", "ws://localhost:81/a/b"});
    CHECK(o.address == "localhost:81");
    CHECK_FALSE(o.raw);
    CHECK_FALSE(o.tls);
    CHECK(read({"--url", "tcp://[::1]:81"}).raw);
    CHECK(read({"--url", "tcp://[::1]:81"}).address == "[::1]:81");
    CHECK(read({"--url", "wss://127.0.0.1:81"}).tls);
    CHECK(refusal({"--url", "http://a:1/"}) == "'http://a:1/' is no ws://, wss:// or tcp:// URL");
    CHECK(refusal({"--url", "wss://a:1/", "--raw"}) == "--raw speaks no TLS");
}

TEST_CASE("numbers and names are checked")
{
    CHECK(read({"--connections", "7", "--in-flight", "3", "--size", "0"}).connections == 7);
    CHECK(refusal({"--connections", "0"}) == "--connections: '0' is not a number in its range");
    CHECK(refusal({"--size", "64k"}) == "--size: '64k' is not a number in its range");
    CHECK(refusal({"--rate", "nan"}) == "--rate: 'nan' is not a number in its range");
    CHECK(refusal({"--mode", "flood"}) == "--mode: 'flood' is not one of its values");
    CHECK(refusal({"--seconds"}) == "--seconds needs a value");
    CHECK(refusal({"--fast"}) == "unknown option --fast; --help lists them");
}

TEST_CASE("a broadcast has one sender, several or all")
{
    std::vector<std::string> const hub{"--mode", "broadcast", "--connections", "20"};
    auto with = [&](std::vector<std::string> more) {
        more.insert(more.begin(), hub.begin(), hub.end());
        return more;
    };
    CHECK(read(hub).sending() == 1);
    CHECK(read(with({"--senders", "all"})).sending() == 20);
    CHECK(read(with({"--senders", "3"})).sending() == 3);
    CHECK(refusal(with({"--senders", "21"})) == "--senders: there are fewer connections");
    CHECK(refusal(with({"--senders", "2", "--size", "8"})) == "messages of several --senders have 12 bytes at least");
    CHECK(refusal({"--senders", "2"}) == "--senders is for --mode broadcast");
    CHECK(read({}).sending() == 64);
}

TEST_CASE("what makes no sense together is refused")
{
    CHECK(refusal({"--mode", "idle", "--connections", "1", "--server-pid", "1"}) ==
          "--mode idle needs at least 2 connections");
    CHECK(refusal({"--mode", "idle"}) == "--mode idle measures memory: it needs --server-pid");
    CHECK(refusal({"--mode", "churn", "--raw"}) == "--raw has no handshake");
    CHECK(refusal({"--deflate", "fresh", "--raw"}) == "--raw has no messages to compress");
    CHECK(refusal({"--mode", "handshake", "--rate", "5"}) == "--mode handshake has no messages for a --rate");
}
