// SPDX-License-Identifier: BSL-1.0
// The server's part of the opening handshake, for whoever has read the request: upgrade(), and the room http.
#pragma once

#include "ws/deflate.hpp"
#include "ws/handshake_io.hpp"
#include "ws/request_data.hpp"

#include <wring/ws.hpp>

namespace wring::detail {

/// A handshake under way: what its steps share.
struct server_handshake
{
    handshake_io& io;
    ws::upgrade_options const& options;
    request_data& data;
    bool answered = false;         // an answer has been begun: no other may follow
    bool busy_if_canceled = false; // a cancel is answered with 503, for whoever has time for that
    deflate_agreement deflate = {};
};

/// Passes a request to one stop state on to another.
struct stop_relay : stop_callback
{
    stop_relay(stop_state* from, stop_state& to) noexcept : target(to)
    {
        on_stop = [](stop_callback& c) noexcept { static_cast<stop_relay&>(c).target.request(); };
        if (from)
            from->add(*this);
    }
    stop_state& target;
};

/// Whether a page of this origin may have its request (upgrade_options::origins).
[[nodiscard]] bool origin_allowed(proto::request_head const& head, std::string_view allowed) noexcept;

/// What a request that breaks a rule is told; a status of 0 where there is nothing to tell.
[[nodiscard]] response answer_to(std::error_code error);

/// The fields of a response as the protocol's room takes them. Views.
[[nodiscard]] std::vector<proto::field> as_fields(std::vector<std::pair<std::string, std::string>> const& headers);

/// Awaits what a hook or handler says; it is asked to stop when the peer ends the stream, or when `also` is. An error
/// means that it has thrown what that cancel gave it.
task<result<response>> until_gone(handshake_io& io, stop_state* also, task<response> hook);

/// Judges the request whose head is in `shake.data`, asks the hooks, sends the 101. The subprotocol agreed on.
task<result<std::string>> shake_hands(server_handshake& shake);

/// Runs `steps`, which end in shake_hands(), until `limit`; answers what they have left unanswered. After an error the
/// stream is closing in the background.
task<result<ws::connection>> conclude(server_handshake& shake, task<result<std::string>> steps,
                                      clock::time_point limit);

} // namespace wring::detail
