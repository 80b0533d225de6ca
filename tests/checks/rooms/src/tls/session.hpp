#pragma once
#include "engine/engine.hpp"
#include "net/net.hpp"              // expect: tls -> net points up
#include "proto/mask.hpp"           // expect: tls -> proto points up
#include <netinet/in.h>             // expect: tls may include no socket header
#include <chrono>
#include <openssl/ssl.h>
