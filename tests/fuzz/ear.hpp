// SPDX-License-Identifier: BSL-1.0
//
// A session that is fed as a connection feeds it, and what it heard in the words of the model.
#pragma once

#include "model.hpp"

namespace wring::fuzz {

class ear
{
public:
    /// Hears whole messages by next_whole() where `whole_first`.
    ear(proto::role self, proto::limits const& l, bool rsv1, bool whole_first = false) noexcept :
        session_(self, l, rsv1), whole_first_(whole_first)
    {}

    void hear(input piece)
    {
        auto const bytes = std::as_bytes(piece);
        held_.insert(held_.end(), bytes.begin(), bytes.end());
        std::span<std::byte> rest{held_};
        std::size_t events = 0;
        for (proto::event e;;) {
            if (!whole_first_ || !take_whole(rest)) {
                e = session_.next(rest);
                if (e.what == proto::event::kind::need_more) break;
                take(e);
            }
            require(++events <= held_.size() / 2 + 2, "each event but the last takes a header's bytes");
        }
        require(rest.size() < proto::max_control_frame, "what is left is less than a control frame");
        held_ = std::vector<std::byte>(rest.begin(), rest.end());
    }

    // A frame that was cut short is not counted.
    [[nodiscard]] std::vector<happening> heard() const
    {
        auto all = all_;
        if (open_) all.pop_back();
        return all;
    }

private:
    bool take_whole(std::span<std::byte>& rest)
    {
        auto const payload = session_.next_whole(rest);
        if (!payload.data()) return false;
        require(!over_ && !open_, "a whole message stands alone");
        all_.push_back({rest[0] == std::byte{0x81} ? "text" : "binary", true, true, 0,
                        std::string(reinterpret_cast<char const*>(payload.data()), payload.size())});
        rest = {payload.data() + payload.size(), rest.data() + rest.size()};
        return true;
    }

    void take(proto::event const& e)
    {
        require(!over_, "nothing follows a violation or a close frame");
        auto const payload = std::string(reinterpret_cast<char const*>(e.payload.data()), e.payload.size());
        using kind = proto::event::kind;
        switch (e.what) {
        case kind::data:
            require(e.frame_start != open_, "a frame's first piece says so, and no other");
            require(e.frame_end == (e.frame_remaining == 0), "a frame ends when nothing of it remains");
            require(e.frame_remaining == session_.frame_remaining(), "the session knows what remains");
            require(!e.payload.empty() || e.frame_length == 0, "only an empty frame has an empty piece");
            if (e.frame_start)
                all_.push_back({e.op == proto::opcode::text ? "text" : "binary", e.message_start, false, 0, ""});
            all_.back().payload += payload;
            all_.back().last = e.message_end;
            open_ = !e.frame_end;
            require(!e.frame_end || all_.back().payload.size() == e.frame_length, "a frame has the length it declared");
            break;
        case kind::ping:
        case kind::pong:
            require(!open_, "a control frame stands between frames");
            all_.push_back({e.what == kind::ping ? "ping" : "pong", false, false, 0, payload});
            break;
        case kind::close:
            over_ = true;
            require(session_.close_received(), "a close frame was received");
            require(session_.close_reply_code() == (e.has_code ? e.code : 0), "a close frame's code is echoed");
            all_.push_back({"close", false, false, e.code, std::string(e.reason)});
            break;
        case kind::violation:
            over_ = true;
            if (open_) all_.pop_back();
            open_ = false;
            require(session_.error() == e.error, "a session keeps its error");
            require(session_.close_reply_code() == proto::close_code_for(e.error), "a violation has its code");
            all_.push_back({"fail", false, false, proto::close_code_for(e.error), ""});
            break;
        case kind::need_more:
            break;
        }
    }

    proto::session session_;
    std::vector<std::byte> held_;
    std::vector<happening> all_;
    bool open_ = false;
    bool over_ = false;
    bool whole_first_;
};

} // namespace wring::fuzz
