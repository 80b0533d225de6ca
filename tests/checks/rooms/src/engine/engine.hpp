#pragma once
#include <wring/good.hpp>
#include <sys/socket.h>
#include "proto/frame.hpp"          // expect: engine -> proto points up
#include "ws/connection.hpp"        // expect: engine -> ws points up
