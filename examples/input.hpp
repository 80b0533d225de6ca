// SPDX-License-Identifier: BSL-1.0
// The lines of standard input, for programs that do other things while they wait for one.
#pragma once

#include <wring/wring.hpp>

#include <array>
#include <cerrno>
#include <string>
#include <string_view>
#include <sys/socket.h>
#include <system_error>
#include <thread>
#include <unistd.h>

/// Reading standard input blocks, and nothing cancels that. So a thread does it and hands the bytes on through a socket, which
/// can be awaited; the program may end without waiting for the thread.
class input_lines
{
public:
    input_lines() : bytes_(open()) {}

    /// The next line, valid until the next call; errc::end_of_stream after the last. A cancel loses nothing.
    wring::task<wring::result<std::string_view>> next()
    {
        text_.erase(0, taken_);
        taken_ = 0;
        for (std::size_t searched = 0;;) {
            if (auto const end = text_.find('\n', searched); end != text_.npos) {
                taken_ = end + 1;
                co_return std::string_view(text_).substr(0, end);
            }
            searched = text_.size();
            auto const got = co_await bytes_.read_some(buffer_);
            if (!got && got.error() == wring::errc::end_of_stream && !text_.empty()) { // a last line without a line feed
                taken_ = text_.size();
                co_return std::string_view(text_);
            }
            if (!got)
                co_return got.error();
            text_.append(reinterpret_cast<char const*>(got->data()), got->size());
        }
    }

private:
    static wring::stream open()
    {
        int ends[2];
        if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
            throw std::system_error(errno, std::system_category(), "socketpair");
        std::thread([to = ends[1]] {
            char some[4096];
            for (ssize_t n = 0; (n = ::read(STDIN_FILENO, some, sizeof some)) > 0;)
                if (::send(to, some, static_cast<std::size_t>(n), MSG_NOSIGNAL) != n)
                    break;
            ::close(to);
        }).detach();
        return wring::stream::adopt(ends[0]).value();
    }

    wring::stream bytes_;
    std::array<std::byte, 4096> buffer_;
    std::string text_;
    std::size_t taken_ = 0; // of text_, by the line given last
};
