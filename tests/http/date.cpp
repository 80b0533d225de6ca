// SPDX-License-Identifier: BSL-1.0
#include "http/date.hpp"

#include "catch.hpp"

using wring::detail::http_date;

TEST_CASE("dates are as HTTP has them")
{
    CHECK(http_date(784111777) == "Sun, 06 Nov 1994 08:49:37 GMT"); // the example of RFC 9110
    CHECK(http_date(0) == "Thu, 01 Jan 1970 00:00:00 GMT");
    CHECK(http_date(951782400) == "Tue, 29 Feb 2000 00:00:00 GMT");
    CHECK(http_date(4102444799) == "Thu, 31 Dec 2099 23:59:59 GMT");
}
