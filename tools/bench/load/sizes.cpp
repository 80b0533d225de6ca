// SPDX-License-Identifier: BSL-1.0
#include "sizes.hpp"

#include "failure.hpp"

#include <algorithm>
#include <cmath>
#include <random>
#include <sstream>

namespace load {

std::vector<size_share> read_sizes(std::istream& in, std::string const& name)
{
    std::vector<size_share> shares;
    std::string line;
    for (unsigned number = 1; std::getline(in, line); ++number) {
        auto const bad = [&](char const* why) {
            return failure(name + ":" + std::to_string(number) + ": " + why);
        };
        std::istringstream words(line.substr(0, line.find('#')));
        words >> std::ws;
        if (words.eof())
            continue;
        long long bytes = 0;
        double weight = 0;
        std::string rest;
        if (!(words >> bytes >> weight) || words >> rest)
            throw bad("a line is `BYTES WEIGHT`");
        if (bytes < 0 || static_cast<std::size_t>(bytes) > largest_message)
            throw bad("a message has 0 to 67108864 bytes");
        if (!(weight > 0) || !std::isfinite(weight))
            throw bad("a weight is a number above 0");
        shares.push_back({static_cast<std::size_t>(bytes), weight});
    }
    if (shares.empty())
        throw failure(name + ": no sizes in there");
    return shares;
}

std::vector<std::size_t> draw_sizes(std::vector<size_share> const& shares, std::size_t count)
{
    double all = 0;
    for (auto const& s : shares)
        all += s.weight;
    std::vector<std::size_t> sizes;
    std::vector<std::pair<double, std::size_t>> rests; // what rounding down has left over, the largest first
    for (auto const& s : shares) {
        double const exact = s.weight / all * static_cast<double>(count);
        sizes.insert(sizes.end(), static_cast<std::size_t>(exact), s.bytes);
        rests.emplace_back(std::floor(exact) - exact, s.bytes);
    }
    std::ranges::sort(rests);
    for (std::size_t i = 0; sizes.size() < count; i = (i + 1) % rests.size())
        sizes.push_back(rests[i].second);
    sizes.resize(count);
    std::mt19937 random(1);
    for (std::size_t i = count; i > 1; --i)
        std::swap(sizes[i - 1], sizes[random() % i]);
    return sizes;
}

} // namespace load
