#pragma once
#include <wring/good.hpp>
