// SPDX-License-Identifier: BSL-1.0
// Operations that an engine keeps for later.
#pragma once

#include "engine/engine.hpp"

namespace wring::engine {

/// A FIFO of operations. An operation is in one list at most, and leaves it in constant time.
class operation_list
{
public:
    operation_list() noexcept { ends_.next_ = ends_.previous_ = &ends_; }
    operation_list(operation_list const&) = delete;
    operation_list& operator=(operation_list const&) = delete;

    [[nodiscard]] bool empty() const noexcept { return ends_.next_ == &ends_; }

    /// Leaves one that is in a list already where it is.
    void push(operation& op) noexcept
    {
        if (op.listed())
            return;
        op.next_ = &ends_;
        op.previous_ = std::exchange(ends_.previous_, &op);
        op.previous_->next_ = &op;
    }
    /// Null where the list is empty.
    operation* pop() noexcept
    {
        operation* const op = first();
        if (op)
            remove(*op);
        return op;
    }
    /// Out of whatever list it is in.
    static void remove(operation& op) noexcept
    {
        if (!op.listed())
            return;
        op.previous_->next_ = op.next_;
        op.next_->previous_ = op.previous_;
        op.next_ = op.previous_ = nullptr;
    }
    /// Takes all of `other` over, behind its own.
    void append(operation_list& other) noexcept
    {
        while (operation* op = other.pop())
            push(*op);
    }

    [[nodiscard]] operation* first() const noexcept { return as_operation(ends_.next_); }
    [[nodiscard]] operation* after(operation const& op) const noexcept { return as_operation(op.next_); }

private:
    [[nodiscard]] operation* as_operation(operation_link* link) const noexcept
    {
        return link == &ends_ ? nullptr : static_cast<operation*>(link);
    }

    operation_link ends_;
};

} // namespace wring::engine
