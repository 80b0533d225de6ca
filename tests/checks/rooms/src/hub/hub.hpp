#pragma once
#include "net/net.hpp"
#include "../ws/connection.hpp"     // expect: hub -> ws points up
#include "proto/frame.hpp"          // expect: hub -> proto points up
