// The one place that knows which Catch2 is there: 2.13 is a single header, 3 a set of them.
#pragma once

#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_test_macros.hpp>
#include <catch2/catch_template_test_macros.hpp>
#include <catch2/catch_approx.hpp>
#include <catch2/catch_tostring.hpp>
#include <catch2/generators/catch_generators_all.hpp>
#include <catch2/matchers/catch_matchers_all.hpp>
#else
#include <catch2/catch.hpp>

// Names that only Catch2 3 has.
namespace Catch::Matchers {
using Catch::Equals;
}
#define STATIC_CHECK(...) STATIC_REQUIRE(__VA_ARGS__)
#endif
