// SPDX-License-Identifier: BSL-1.0
#include <wring/listener.hpp>

#include "engine/run_state.hpp"
#include "net/listener_group.hpp"
#include "net/lookup.hpp"
#include "net/socket.hpp"
#include "net/transport.hpp"

#include <algorithm>
#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <vector>

namespace wring {

namespace detail {

namespace {

constexpr auto retry_delay = std::chrono::milliseconds(100);

bool out_of_resources(int error) noexcept
{
    return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM || error == ENOSPC;
}

/// Errors of the one connection that was to be accepted.
bool of_one_connection(int error) noexcept
{
    return error == ECONNABORTED || error == EINTR || error == EAGAIN || error == EPROTO;
}

/// Errors of the network, or a firewall's refusal, that pass (accept(2)).
bool passing(int error) noexcept
{
    constexpr int errors[] = {ENETDOWN, ENOPROTOOPT, EHOSTDOWN, ENONET, EHOSTUNREACH, EOPNOTSUPP, ENETUNREACH, EPERM};
    return std::find(std::begin(errors), std::end(errors), error) != std::end(errors);
}

} // namespace

/// The socket, and what its group has for it. Lives on after close() until the kernel has let go of it.
class listener_core final : group_member
{
public:
    listener_core(loop_core& loop, std::shared_ptr<listener_group> group, std::string unlink_path,
                  std::string shared_key) :
        group_member(loop), group_(std::move(group)), accept_(*this), retry_(*this),
        unlink_path_(std::move(unlink_path)), shared_key_(std::move(shared_key))
    {
        group_->join(*this);
        loop_.retain(lasting::listener);
    }

    /// Begins to listen on `fd`. An error leaves it with the caller.
    result<> open(int fd, listen_options const& options) noexcept
    {
        auto opened = loop_.io().open(fd);
        if (!opened)
            return opened.error();
        io_ = std::move(*opened);
        local_ = local_endpoint(fd);
        if (options.no_delay)
            set_no_delay(fd, true); // what is accepted inherits it
        return {};
    }

    void abandon() noexcept
    {
        close();
        abandoned_ = true;
        delete_if_done();
    }

    void close() noexcept
    {
        if (std::exchange(closed_, true))
            return;
        engine::timer_wheel::disarm(retry_);
        leave_address();
        group_->leave(*this);
        if (accept_.in_flight())
            io_->cancel(accept_);
        else
            io_.reset();
        fail(errc::closed);
    }

    bool start(listener::accept_operation& op, std::coroutine_handle<> h, context const& env) noexcept;
    void cancel(listener::accept_operation& op) noexcept;

    listener::accept_operation* waiting_ = nullptr;

    [[nodiscard]] endpoint const& local() const noexcept { return local_; }
    [[nodiscard]] int fd() const noexcept { return closed_ ? -1 : io_->fd(); }

private:
    struct accept_some : engine::operation
    {
        explicit accept_some(listener_core& o) noexcept :
            operation([](operation& op, engine::completion const& c) noexcept {
                static_cast<accept_some&>(op).owner.accepted(c);
            }),
            owner(o)
        {}
        listener_core& owner;
    };
    struct retry : timer_node
    {
        explicit retry(listener_core& o) noexcept : owner(o)
        {
            fire = [](timer_node& node) noexcept { static_cast<retry&>(node).owner.try_again(); };
        }
        listener_core& owner;
    };

    ~listener_core() { loop_.drop(lasting::listener); }

    void on_waiting() noexcept override { serve(); }

    void resume() noexcept
    {
        if (!closed_ && !error_ && !accept_.in_flight() && !retry_.armed() && !group_->full(*this))
            io_->accept(accept_);
    }

    void try_again() noexcept
    {
        no_room_ = false;
        serve();
        resume();
    }

    void accepted(engine::completion const& c) noexcept;
    [[nodiscard]] bool give(listener::accept_operation& op) noexcept;
    void serve() noexcept;
    void rest(int error) noexcept;
    void close_when_stopping() noexcept;
    void leave_address() noexcept;
    void fail(std::error_code error) noexcept;
    void delete_if_done() noexcept
    {
        if (abandoned_ && !accept_.in_flight())
            delete this;
    }

    std::shared_ptr<listener_group> group_;
    std::unique_ptr<engine::descriptor> io_;
    accept_some accept_;
    retry retry_;
    std::error_code error_;
    endpoint local_;
    std::string unlink_path_;
    std::string shared_key_; ///< in shared_run::listening, where the loops share one socket
    bool closed_ = false;
    bool abandoned_ = false;
    bool reported_ = false;
    bool no_room_ = false; ///< for the next connection on the engine; the retry looks again
};

bool listener_core::start(listener::accept_operation& op, std::coroutine_handle<> h, context const& env) noexcept
{
    if (closed_) {
        op.error_ = errc::closed;
    } else if (waiting_) {
        op.error_ = errc::busy;
    } else if (env.stop && env.stop->requested()) {
        op.error_ = errc::canceled;
        close_when_stopping();
    } else if (!give(op)) {
        if (group_->front(*this) < 0)
            op.error_ = error_;
        if (!op.error_) {
            waiting_ = &op;
            op.suspend(h, env, [](suspension& s) noexcept { listener::accept_operation::cancel(s); });
            resume();
            return true;
        }
    }
    return op.complete_at_once(h, env);
}

void listener_core::cancel(listener::accept_operation& op) noexcept
{
    if (waiting_ != &op)
        return; // complete already
    waiting_ = nullptr;
    op.error_ = errc::canceled;
    op.wake();
    close_when_stopping();
}

// The program ends: newcomers are better refused than left waiting.
void listener_core::close_when_stopping() noexcept
{
    if (loop_.stop().requested())
        close();
}

// Makes a stream of the oldest connection. False where there is none, or no room for it on the engine.
bool listener_core::give(listener::accept_operation& op) noexcept
{
    int const fd = no_room_ ? -1 : group_->front(*this);
    if (fd < 0)
        return false;
    auto made = make_socket_stream(loop_, fd);
    if (!made) {
        no_room_ = true;
        rest(made.error().value());
        return false;
    }
    if (auto rider = group_->take(*this))
        stream_access::set_rider(*made, std::move(rider));
    op.accepted_.emplace(std::move(*made));
    return true;
}

void listener_core::serve() noexcept
{
    if (waiting_ && give(*waiting_))
        std::exchange(waiting_, nullptr)->wake();
}

// Waits until what is missing may be there again. That is told once.
void listener_core::rest(int error) noexcept
{
    if (!retry_.armed())
        loop_.arm(retry_, clock::now() + retry_delay);
    if (std::exchange(reported_, true))
        return;
    try {
        log_line(fmt::format("wring: {}: can't accept connections: {}; trying again until that has passed",
                             local_.to_string(), std::system_category().message(error)));
    } catch (std::bad_alloc const&) {
        log_line("wring: can't accept connections: out of memory; trying again until that has passed");
    }
}

void listener_core::accepted(engine::completion const& c) noexcept
{
    if (c.result >= 0) {
        group_->add(unique_fd(c.result), *this); // also when closed: there may be others
        if (!closed_ && group_->full(*this))
            io_->cancel(accept_);
    }
    if (!c.last)
        return;
    if (closed_) {
        io_.reset(); // now, so that nobody queues up in its backlog
        return delete_if_done();
    }
    if (c.result >= 0 || c.result == -ECANCELED) {
        if (waiting_)
            resume();
        return;
    }
    if (of_one_connection(-c.result))
        resume();
    else if (out_of_resources(-c.result) || passing(-c.result))
        rest(-c.result);
    else
        fail(system_error(-c.result));
}

void listener_core::leave_address() noexcept
{
    std::unique_lock<std::mutex> lock; // so that no other loop binds in between
    if (!shared_key_.empty()) { // the last of the loops puts out the light
        shared_run& run = *loop_.run_state();
        lock = std::unique_lock(run.mutex);
        auto const shared = run.listening.find(shared_key_);
        if (--shared->second.users > 0)
            return;
        if (shared->second.fd >= 0)
            ::close(shared->second.fd);
        run.listening.erase(shared);
    }
    if (!unlink_path_.empty())
        ::unlink(unlink_path_.c_str());
}

void listener_core::fail(std::error_code error) noexcept
{
    error_ = error;
    if (auto* op = std::exchange(waiting_, nullptr)) {
        op->error_ = error;
        op->wake();
    }
}

namespace {

result<int> bind_socket(endpoint const& at, listen_options const& options, bool share_port) noexcept
{
    auto opened = open_socket(at.family(), SOCK_STREAM);
    if (!opened)
        return opened.error();
    unique_fd fd(*opened);
    if (at.is_ip()) {
        if (auto r = set_option(fd.get(), SOL_SOCKET, SO_REUSEADDR, 1); !r)
            return r.error();
        if (share_port)
            if (auto r = set_option(fd.get(), SOL_SOCKET, SO_REUSEPORT, 1); !r)
                return r.error();
        if (at.family() == AF_INET6)
            if (auto r = set_option(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, options.v6_only); !r)
                return r.error();
    }
    if (::bind(fd.get(), static_cast<sockaddr const*>(at.data()), static_cast<socklen_t>(at.size())) != 0)
        return last_error();
    if (::listen(fd.get(), options.backlog) != 0)
        return last_error();
    return fd.release();
}

/// Whether a Unix path is a socket that nobody listens on any more.
bool left_over(endpoint const& at) noexcept
{
    struct stat status{};
    if (::stat(at.address().c_str(), &status) != 0 || !S_ISSOCK(status.st_mode))
        return false;
    auto probe = open_socket(AF_UNIX, SOCK_STREAM);
    if (!probe)
        return false;
    unique_fd fd(*probe);
    return ::connect(fd.get(), static_cast<sockaddr const*>(at.data()), static_cast<socklen_t>(at.size())) != 0 &&
           errno == ECONNREFUSED;
}

result<endpoint> find_endpoint(std::string_view text)
{
    auto literal = endpoint::parse(text);
    if (literal || text.starts_with("unix:"))
        return literal;
    auto const parts = split_host_port(text);
    if (!parts)
        return parts.error();
    std::vector<endpoint> found;
    if (auto error = look_up(std::string(parts->host), parts->port, found))
        return error;
    return found.front();
}

result<int> listen_on(endpoint const& at, listen_options const& options, bool share_port)
{
    auto fd = bind_socket(at, options, share_port);
    if (!fd && fd.error() == std::errc::address_in_use && at.is_unix() && left_over(at)) {
        ::unlink(at.address().c_str());
        fd = bind_socket(at, options, share_port);
    }
    if (!fd && fd.error() == std::errc::address_family_not_supported && at.address() == "::") {
        endpoint any = endpoint::parse("0.0.0.0:0").value(); // `*` on a machine without IPv6
        any.set_port(at.port());
        fd = bind_socket(any, options, share_port);
    }
    return fd;
}

/// Whether another program listens there. SO_REUSEPORT would let us share its port unnoticed.
result<> check_free(endpoint const& at, listen_options const& options) noexcept
{
    if (!at.is_ip() || at.port() == 0)
        return {};
    auto probe = bind_socket(at, options, false);
    if (!probe)
        return probe.error();
    unique_fd const close_again(*probe);
    return {};
}

struct bound_socket
{
    int fd;
    std::string shared_key; ///< of a socket that several loops accept from
    std::shared_ptr<listener_group> group;
};

/// A group for a listener that shares its connections with no other.
std::shared_ptr<listener_group> alone()
{
    return std::make_shared<listener_group>();
}

/// One for the loops that share theirs. As many wait for a loop as would wait in the kernel for all.
std::shared_ptr<listener_group> balanced_group(listen_options const& options)
{
    return std::make_shared<listener_group>(static_cast<std::size_t>(std::max(1, options.backlog)));
}

/// What the n-th listener of a name on each loop has in common.
std::string shared_key(loop_core& loop, std::string name)
{
    auto const n = loop.binds[name]++;
    return fmt::format("{}#{}", name, n);
}

bool shares(loop_core& loop) noexcept
{
    return loop.run_state() && loop.options().threads > 1;
}

/// With several loops: the first one to bind decides the port (or, for Unix sockets and where connections are balanced,
/// has the socket that the others accept from too); the n-th bind of the same text on each loop belongs together.
result<bound_socket> listen_shared(std::string_view text, listen_options const& options, loop_core& loop)
{
    auto at = find_endpoint(text);
    if (!at)
        return at.error();
    if (!shares(loop)) {
        auto fd = listen_on(*at, options, false);
        if (!fd)
            return fd.error();
        return bound_socket{*fd, {}, alone()};
    }

    bool const balanced = options.balance == balance::least_connections;
    bool const one_socket = balanced || at->is_unix();
    shared_run* const run = loop.run_state();
    std::string const key = shared_key(loop, std::string(text));
    std::lock_guard lock(run->mutex);
    auto const first = run->listening.find(key);
    if (first != run->listening.end() && first->second.fd >= 0) {
        int const copy = ::fcntl(first->second.fd, F_DUPFD_CLOEXEC, 0);
        if (copy < 0)
            return last_error();
        ++first->second.users;
        return bound_socket{copy, key, first->second.group ? first->second.group : alone()};
    }
    if (first != run->listening.end()) {
        auto fd = listen_on(first->second.at, options, true);
        if (!fd)
            return fd.error();
        return bound_socket{*fd, {}, alone()};
    }
    auto const ours = [&](auto const& other) { return other.second.at.port() == at->port(); };
    if (!one_socket && std::none_of(run->listening.begin(), run->listening.end(), ours))
        if (auto r = check_free(*at, options); !r)
            return r.error();
    auto opened = listen_on(*at, options, !one_socket);
    if (!opened)
        return opened.error();
    unique_fd fd(*opened);
    int copy = -1;
    if (one_socket) {
        copy = ::fcntl(fd.get(), F_DUPFD_CLOEXEC, 0);
        if (copy < 0)
            return last_error();
    }
    auto const group = balanced ? balanced_group(options) : nullptr;
    run->listening[key] = {local_endpoint(fd.get()), copy, 1, group};
    return bound_socket{fd.release(), one_socket ? key : std::string(), group ? group : alone()};
}

/// The same for a socket that comes from elsewhere, of which each loop has a descriptor: they are known by its inode.
result<bound_socket> adopt_shared(int fd, listen_options const& options, loop_core& loop)
{
    if (!shares(loop) || options.balance != balance::least_connections)
        return bound_socket{fd, {}, alone()};
    struct stat status{};
    if (::fstat(fd, &status) != 0)
        return last_error();
    std::string const key = shared_key(loop, fmt::format("inode {}", status.st_ino));
    std::lock_guard lock(loop.run_state()->mutex);
    auto& listening = loop.run_state()->listening[key];
    if (!listening.group)
        listening.group = balanced_group(options);
    ++listening.users;
    return bound_socket{fd, key, listening.group};
}

} // namespace

} // namespace detail

listener::listener(detail::listener_core* core) noexcept : core_(core) {}
listener::listener(listener&& other) noexcept : core_(std::exchange(other.core_, nullptr)) {}
listener& listener::operator=(listener&& other) noexcept
{
    std::swap(core_, other.core_);
    return *this;
}
listener::~listener()
{
    if (!core_)
        return;
    if (core_->waiting_)
        detail::fatal("wring: a listener was destroyed while a coroutine accepts on it");
    core_->abandon();
}

result<listener> listener::bind(std::string_view text, listen_options options)
{
    auto& loop = detail::loop_core::require();
    auto bound = detail::listen_shared(text, options, loop);
    if (!bound)
        return bound.error();
    detail::unique_fd fd(bound->fd);
    auto const at = detail::local_endpoint(fd.get());
    std::string path = at.is_unix() && !at.address().starts_with('@') ? at.address() : std::string();
    listener made(new detail::listener_core(loop, std::move(bound->group), std::move(path),
                                            std::move(bound->shared_key)));
    if (auto r = made.core_->open(fd.get(), options); !r)
        return r.error(); // and the address is free again
    (void)fd.release();
    return made;
}

result<listener> listener::adopt(int fd, listen_options options)
{
    int listening = 0;
    socklen_t size = sizeof listening;
    if (::getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) != 0)
        return detail::last_error();
    if (!listening)
        return std::make_error_code(std::errc::invalid_argument);
    if (auto r = detail::prepare_adopted(fd); !r)
        return r.error();
    auto& loop = detail::loop_core::require();
    auto shared = detail::adopt_shared(fd, options, loop);
    if (!shared)
        return shared.error();
    listener made(new detail::listener_core(loop, std::move(shared->group), {}, std::move(shared->shared_key)));
    if (auto r = made.core_->open(fd, options); !r)
        return r.error();
    return made;
}

listener::accept_operation listener::accept() noexcept
{
    return accept_operation(*core_);
}

void listener::close() noexcept
{
    core_->close();
}

endpoint listener::local() const
{
    return core_->local();
}

int listener::native_handle() const noexcept
{
    return core_->fd();
}

bool listener::accept_operation::start(std::coroutine_handle<> h, detail::context const& env) noexcept
{
    return core_.start(*this, h, env);
}

void listener::accept_operation::cancel(detail::suspension& self) noexcept
{
    auto& op = static_cast<accept_operation&>(self);
    op.core_.cancel(op);
}

} // namespace wring
