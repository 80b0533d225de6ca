#pragma once
#include "proto/mask.hpp"
#include <cstdint>
#include <wring/good.hpp>           // expect: proto may include nothing of ours
#include <wring/missing.hpp>        // expect: proto may include nothing of ours
#include "engine/engine.hpp"        // expect: proto may include nothing of ours
#include <sys/socket.h>             // expect: no socket header
#include <chrono>                   // expect: no clock header
#  include <mutex>                  // expect: no thread header
#include <coroutine>                // expect: no coroutine header
/* #include <thread> */
