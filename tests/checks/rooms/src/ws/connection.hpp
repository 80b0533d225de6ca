#pragma once
#include "proto/mask.hpp"
#include "net/net.hpp"
#include "engine/engine.hpp"
#include <thread>
