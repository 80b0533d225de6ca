#pragma once
#include <wring/good.hpp>
// #include "proto/frame.hpp"
#include "engine/engine.hpp"        // expect: a public header may not include a private one
#include "../../src/net/net.hpp"    // expect: a public header may not include a private one
