// SPDX-License-Identifier: BSL-1.0
// Who is in the hub without a connection to show for it.
#pragma once

#include "hub.hpp"

#include <map>
#include <random>

/// Those who come by plain HTTP, again and again: each is known by a key that nobody else has.
class guest_book
{
public:
    explicit guest_book(hub& all) : all_(all) {}

    std::string enter(std::string const& name)
    {
        std::random_device random;
        auto key = std::to_string(random()) + std::to_string(random());
        auto who = all_.enter(name);
        std::lock_guard lock(mutex_);
        guests_[key] = {std::move(who), wring::clock::now()};
        return key;
    }
    /// Whose key it is; nothing where it is nobody's. Whoever is not heard of for a minute has left.
    std::string who(std::string_view key)
    {
        std::lock_guard lock(mutex_);
        auto const now = wring::clock::now();
        if (auto const found = guests_.find(key); found != guests_.end())
            found->second.seen = now;
        std::erase_if(guests_, [&](auto const& g) {
            bool const gone = now - g.second.seen > std::chrono::minutes(1);
            if (gone)
                all_.leave(g.second.name);
            return gone;
        });
        auto const found = guests_.find(key);
        return found == guests_.end() ? std::string() : found->second.name;
    }
    void leave(std::string_view key)
    {
        std::lock_guard lock(mutex_);
        if (auto const found = guests_.find(key); found != guests_.end()) {
            all_.leave(found->second.name);
            guests_.erase(found);
        }
    }

private:
    struct guest
    {
        std::string name;
        wring::clock::time_point seen;
    };
    hub& all_;
    std::mutex mutex_;
    std::map<std::string, guest, std::less<>> guests_;
};
