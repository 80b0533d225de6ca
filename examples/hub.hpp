// SPDX-License-Identifier: BSL-1.0
// The hub of broadcast_hub: its members on all loops, and the last texts for guests without a WebSocket.
#pragma once

#include <wring/wring.hpp>

#include <atomic>
#include <deque>
#include <mutex>
#include <optional>
#include <string>

/// The members, by loop. A message is framed once; each loop is handed a reference and posts it to its own members.
class hub
{
    // [room]
    struct room
    {
        std::vector<wring::ws::connection*> members; // touched by its loop only, as the event is
        wring::event news;                           // something was published
        std::optional<wring::loop_handle> home;      // once somebody has been there; under the mutex
    };
    // [/room]

public:
    explicit hub(std::size_t loops) : rooms_(loops) {}

    // [member]
    /// While it lives, a connection gets what is published: a session leaves on every way out.
    struct member
    {
        member(hub& h, wring::ws::connection& c) : where(h.here()), self(&c) { where.members.push_back(self); }
        ~member() { std::erase(where.members, self); }
        room& where;
        wring::ws::connection* self;
    };
    // [/member]

    void publish(wring::ws::shared_message const& message)
    {
        std::lock_guard lock(mutex_);
        hand_out(message);
    }
    void publish(std::string const& text)
    {
        std::lock_guard lock(mutex_);
        log_.push_back(text);
        if (log_.size() > 200)
            log_.pop_front();
        ++last_;
        hand_out(wring::ws::shared_message::text(text));
    }

    /// Somebody is there: gives the name to be known by.
    std::string enter(std::string const& name)
    {
        auto who = name + " " + std::to_string(++names_);
        publish("* " + who + " joined, " + std::to_string(++present_) + " here");
        return who;
    }
    void leave(std::string const& who) { publish("* " + who + " left, " + std::to_string(--present_) + " here"); }

    /// The number of the last text.
    std::uint64_t last()
    {
        std::lock_guard lock(mutex_);
        return last_;
    }
    /// The texts behind number `seen`, as far back as they are kept; waits for one. `seen` is the last one's then.
    wring::task<wring::result<std::deque<std::string>>> after(std::uint64_t& seen)
    {
        for (auto& news = here().news;;) {
            {
                std::lock_guard lock(mutex_);
                auto const missed = std::min<std::uint64_t>(last_ - std::min(seen, last_), log_.size());
                seen = last_;
                if (missed > 0)
                    co_return std::deque<std::string>(log_.end() - static_cast<std::ptrdiff_t>(missed), log_.end());
            }
            news.reset();
            if (auto const came = co_await news.wait(); !came)
                co_return came.error();
        }
    }

private:
    // [here]
    room& here()
    {
        std::lock_guard lock(mutex_);
        auto& mine = rooms_[wring::this_loop().index()];
        if (!mine.home)
            mine.home = wring::this_loop().handle();
        return mine;
    }
    // [/here]
    // [hand-out]
    void hand_out(wring::ws::shared_message const& message)
    {
        for (auto& r : rooms_) {
            auto const deliver = [&r, message] {
                for (auto* m : r.members)
                    if (m->post(message) == wring::ws::posted::full) // never waits: a slow client stalls nobody
                        m->abort();                                  // and is dropped; its read() ends
                r.news.set();
            };
            if (&r == &rooms_[wring::this_loop().index()])
                deliver();
            else if (r.home)
                r.home->post(deliver);
        }
    }
    // [/hand-out]

    std::mutex mutex_;
    std::vector<room> rooms_;
    std::deque<std::string> log_; // under the mutex, as the number of its last text is
    std::uint64_t last_ = 0;
    std::atomic<unsigned> names_{0}, present_{0};
};
