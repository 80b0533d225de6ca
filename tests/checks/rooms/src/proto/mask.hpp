#pragma once
#include "frame.hpp"                // expect: include cycle
