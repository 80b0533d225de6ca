#pragma once
#include "engine/engine.hpp"
#include "tls/error.hpp"
#include "nowhere.hpp"              // expect: a file that is not there
#include "hub/hub.hpp"              // expect: net -> hub points up
