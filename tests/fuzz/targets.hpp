// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "fuzz.hpp"

namespace wring::fuzz {

// One per file of the same name.
void fuzz_request_head(input in);
void fuzz_response_head(input in);
void fuzz_server_frames(input in);
void fuzz_client_frames(input in);
void fuzz_connection(input in);
void fuzz_conversation(input in);
void fuzz_lists(input in);
void fuzz_utf8(input in);
void fuzz_close_payload(input in);
void fuzz_url(input in);
void fuzz_inflate(input in);
void fuzz_deflate(input in);
void fuzz_parameters(input in);
void fuzz_proxy_header(input in);
void fuzz_body(input in);
void fuzz_percent(input in);

} // namespace wring::fuzz
