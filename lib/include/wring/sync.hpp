// SPDX-License-Identifier: BSL-1.0
// event and channel: coordination of coroutines on one loop. Neither may be touched from another thread.
#pragma once

#include <wring/task.hpp>

#include <deque>

namespace wring {

namespace detail {

/// A FIFO of waiting operations, each of which can leave from the middle.
class wait_list
{
public:
    struct node : suspension
    {
        node* next = nullptr;
        node* previous = nullptr;
        wait_list* list = nullptr;
        bool canceled = false;

        /// For suspend(): leaves the list and completes as canceled.
        static void cancel(suspension& s) noexcept
        {
            auto& self = static_cast<node&>(s);
            if (!self.list)
                return; // already woken
            self.list->remove(self);
            self.canceled = true;
            self.wake();
        }
    };

    wait_list() = default;
    wait_list(wait_list const&) = delete;
    wait_list& operator=(wait_list const&) = delete;
    ~wait_list()
    {
        if (head_)
            fatal("wring: an event or a channel was destroyed while a coroutine waits on it; children must end before "
                  "their parents");
    }

    [[nodiscard]] bool empty() const noexcept { return !head_; }
    [[nodiscard]] node* front() const noexcept { return head_; }

    void add(node& n) noexcept
    {
        n.list = this;
        n.previous = tail_;
        n.next = nullptr;
        (tail_ ? tail_->next : head_) = &n;
        tail_ = &n;
    }
    void remove(node& n) noexcept
    {
        (n.previous ? n.previous->next : head_) = n.next;
        (n.next ? n.next->previous : tail_) = n.previous;
        n.list = nullptr;
    }
    node* take() noexcept
    {
        node* n = head_;
        if (n)
            remove(*n);
        return n;
    }
    void wake_all() noexcept
    {
        while (node* n = take())
            n->wake();
    }

private:
    node* head_ = nullptr;
    node* tail_ = nullptr;
};

} // namespace detail

/// A flag that coroutines wait for. Stays set until reset. Must outlive those who wait: to destroy it under one aborts
/// with a message.
class event
{
public:
    event() = default;
    event(event const&) = delete;
    event& operator=(event const&) = delete;

    [[nodiscard]] bool is_set() const noexcept { return set_; }
    void set() noexcept
    {
        set_ = true;
        waiters_.wake_all();
    }
    void reset() noexcept { set_ = false; }

    class [[nodiscard]] wait_operation : detail::wait_list::node
    {
    public:
        explicit wait_operation(event& e) noexcept : event_(e) {}
        bool await_ready() const noexcept { return event_.set_; }
        template <detail::coroutine_promise P>
        void await_suspend(std::coroutine_handle<P> h) noexcept
        {
            event_.waiters_.add(*this);
            suspend(h, [](detail::suspension& s) noexcept { node::cancel(s); });
        }
        result<> await_resume() const noexcept { return canceled ? result<>(errc::canceled) : result<>(); }

    private:
        event& event_;
    };

    /// Completes when the event is set, at once where it is. Any number of coroutines may wait; set() wakes all, even
    /// where a reset() follows before they run. A cancel completes it with errc::canceled.
    wait_operation wait() noexcept { return wait_operation(*this); }

private:
    detail::wait_list waiters_;
    bool set_ = false;
};

/// A bounded FIFO between coroutines of one loop. Any number may send and receive; each value reaches one receiver.
/// Must outlive those who wait: to destroy it under one aborts with a message. T moves, and must not throw when it
/// does.
template <class T>
class channel
{
public:
    /// Holds up to `capacity` values, at least one.
    explicit channel(std::size_t capacity) : capacity_(capacity ? capacity : 1) {}
    channel(channel const&) = delete;
    channel& operator=(channel const&) = delete;

    class [[nodiscard]] send_operation : detail::wait_list::node
    {
    public:
        send_operation(channel& c, T&& value) : channel_(c), value_(std::move(value)) {}
        bool await_ready() { return channel_.closed_ || (channel_.senders_.empty() && channel_.offer(value_)); }
        template <detail::coroutine_promise P>
        void await_suspend(std::coroutine_handle<P> h) noexcept
        {
            waited_ = true;
            channel_.senders_.add(*this);
            suspend(h, [](detail::suspension& s) noexcept { node::cancel(s); });
        }
        result<> await_resume() const noexcept
        {
            if (canceled)
                return errc::canceled;
            return refused_ || (!waited_ && channel_.closed_) ? result<>(errc::queue_closed) : result<>();
        }

    private:
        friend channel;
        channel& channel_;
        T value_;
        bool waited_ = false;
        bool refused_ = false;
    };

    class [[nodiscard]] receive_operation : detail::wait_list::node
    {
    public:
        explicit receive_operation(channel& c) noexcept : channel_(c) {}
        bool await_ready()
        {
            value_ = channel_.try_receive();
            return value_ || channel_.closed_;
        }
        template <detail::coroutine_promise P>
        void await_suspend(std::coroutine_handle<P> h) noexcept
        {
            channel_.receivers_.add(*this);
            suspend(h, [](detail::suspension& s) noexcept { node::cancel(s); });
        }
        result<T> await_resume()
        {
            if (value_)
                return std::move(*value_);
            return canceled ? errc::canceled : errc::queue_closed;
        }

    private:
        friend channel;
        channel& channel_;
        std::optional<T> value_;
    };

    /// Completes when there was room and the value is in the channel, or with its receiver; senders that wait have
    /// their turn in the order they came. errc::queue_closed, and the value is dropped, after close(). A cancel
    /// completes it with errc::canceled, and the value is dropped.
    send_operation send(T value) { return send_operation(*this, std::move(value)); }

    /// Completes with the oldest value, or errc::queue_closed where the channel is closed and empty. Receivers have
    /// their turn in the order they came. A cancel completes it with errc::canceled and loses no value.
    receive_operation receive() noexcept { return receive_operation(*this); }

    /// Puts `value` in and returns true, or leaves it as it is where the channel is full or closed.
    bool try_send(T& value) { return !closed_ && senders_.empty() && offer(value); }

    /// The oldest value; nothing where the channel is empty.
    std::optional<T> try_receive()
    {
        if (values_.empty())
            return std::nullopt;
        std::optional<T> value(std::move(values_.front()));
        values_.pop_front();
        if (auto* sender = static_cast<send_operation*>(senders_.take())) {
            values_.push_back(std::move(sender->value_));
            sender->wake();
        }
        return value;
    }

    /// No more values go in; what is inside can still be received. Waiting senders get errc::queue_closed.
    void close() noexcept
    {
        closed_ = true;
        while (auto* sender = static_cast<send_operation*>(senders_.take())) {
            sender->refused_ = true;
            sender->wake();
        }
        receivers_.wake_all();
    }

    [[nodiscard]] bool closed() const noexcept { return closed_; }
    [[nodiscard]] std::size_t size() const noexcept { return values_.size(); }
    [[nodiscard]] std::size_t capacity() const noexcept { return capacity_; }

private:
    bool offer(T& value)
    {
        if (auto* receiver = static_cast<receive_operation*>(receivers_.take())) {
            receiver->value_.emplace(std::move(value));
            receiver->wake();
            return true;
        }
        if (values_.size() >= capacity_)
            return false;
        values_.push_back(std::move(value));
        return true;
    }

    std::size_t capacity_;
    std::deque<T> values_;
    detail::wait_list senders_;
    detail::wait_list receivers_;
    bool closed_ = false;
};

} // namespace wring
