// SPDX-License-Identifier: BSL-1.0
// What a client makes of an HTTP answer: a server's, or a proxy's.
#pragma once

#include "ws/handshake_io.hpp"

#include <wring/ws.hpp>

namespace wring::detail {

/// Reads the next head that is no interim answer. What it gives are views of `text`.
task<result<proto::response_head>> read_answer(handshake_io& io, ws::connect_options const& options,
                                               std::string& text);

/// Notes an answer that was not the one wanted in options.refusal, if that is set.
void note_refusal(proto::response_head const& head, ws::connect_options const& options);

/// The same with what comes of its body within a second.
task<> report_refusal(handshake_io& io, proto::response_head const& head, ws::connect_options const& options);

} // namespace wring::detail
