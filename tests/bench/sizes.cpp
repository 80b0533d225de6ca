// SPDX-License-Identifier: BSL-1.0
#include "../catch.hpp"

#include "../../tools/bench/load/failure.hpp"
#include "../../tools/bench/load/sizes.hpp"

#include <algorithm>
#include <fstream>
#include <sstream>

using namespace load;

namespace {

std::vector<size_share> read(std::string const& text)
{
    std::istringstream in(text);
    return read_sizes(in, "file");
}

std::string refusal(std::string const& text)
{
    try {
        (void)read(text);
    } catch (failure const& e) {
        return e.what();
    }
    return "accepted";
}

} // namespace

TEST_CASE("a file of sizes has comments, blank lines and any blanks")
{
    auto const shares = read("# chat\n\n  16 2.5 # short\n\t4096   1\n");
    REQUIRE(shares.size() == 2);
    CHECK(shares[0].bytes == 16);
    CHECK(shares[0].weight == 2.5);
    CHECK(shares[1].bytes == 4096);
}

TEST_CASE("what is wrong in a file of sizes is told with its line")
{
    CHECK(refusal("16 1\nsmall 2\n") == "file:2: a line is `BYTES WEIGHT`");
    CHECK(refusal("16\n") == "file:1: a line is `BYTES WEIGHT`");
    CHECK(refusal("16 1 1\n") == "file:1: a line is `BYTES WEIGHT`");
    CHECK(refusal("-1 1\n") == "file:1: a message has 0 to 67108864 bytes");
    CHECK(refusal("67108865 1\n") == "file:1: a message has 0 to 67108864 bytes");
    CHECK(refusal("16 0\n") == "file:1: a weight is a number above 0");
    CHECK(refusal("16 -1\n") == "file:1: a weight is a number above 0");
    CHECK(refusal("# nothing\n") == "file: no sizes in there");
}

TEST_CASE("sizes are drawn in their proportions, mixed, and the same each time")
{
    std::vector<size_share> const shares{{16, 60}, {64, 30}, {4096, 10}};
    auto const sizes = draw_sizes(shares, 1021);
    CHECK(sizes.size() == 1021);
    CHECK(std::ranges::count(sizes, 16U) == 613);
    CHECK(std::ranges::count(sizes, 64U) == 306);
    CHECK(std::ranges::count(sizes, 4096U) == 102);
    CHECK_FALSE(std::ranges::is_sorted(sizes));
    CHECK(sizes == draw_sizes(shares, 1021));
}

TEST_CASE("a single size is drawn for all")
{
    auto const sizes = draw_sizes({{7, 0.1}}, 5);
    CHECK(sizes == std::vector<std::size_t>(5, 7));
}

TEST_CASE("the files of sizes that come with the bench can be read")
{
    for (std::string const name : {"chat.txt", "market.txt"}) {
        std::ifstream in(std::string(WRING_TEST_BENCH) + "/sizes/" + name);
        CAPTURE(name);
        REQUIRE(in);
        CHECK(read_sizes(in, name).size() > 4);
    }
}
