#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0
"""The client example against our own servers: lines in, lines out, exit statuses, and what it says where something is wrong."""
import asyncio
import socket

import harness
from harness import Program, call, check, same, wait


class Scenarios:
    def __init__(self, suite, engine):
        self.suite, self.engine = suite, engine

    def serve(self, name, where="127.0.0.1:0"):
        return Program.start(name, "--bind", where, "--engine", self.engine, ready=1)

    def call(self, *arguments, text="", env=None):
        return call("client", *arguments, "--engine", self.engine, text=text, env=env)

    async def lines(self):
        for where in ("127.0.0.1:0", "[::1]:0", "unix:" + self.suite.path()):
            if where.startswith("[") and not has_ipv6():
                continue
            server = await self.serve("echo_server", where)
            client = await Program.start("client", server.url + "/echo", "--engine", self.engine)
            for line in ("hello", "", "Grüße, 世界 🌍", " blanks stay \t", "x" * 1_000_000):
                await client.write(line + "\n")
                await client.expect(line)
            client.end_input()
            await client.expect(None)
            await client.exit(0)
            same(client.errors, "", "errors of the client")
            await server.stop()

    async def file(self):
        """All of the input at once, as from a file: every line comes back before the close."""
        server = await self.serve("echo_server")
        text = "".join(f"line {n}\n" for n in range(5000)) + "the end"
        client = await Program.start("client", server.url + "/", "--engine", self.engine)
        sending = asyncio.ensure_future(client.write(text))
        for n in range(5000):
            await client.expect(f"line {n}")
        await sending
        client.end_input()
        await client.expect("the end", None)
        await client.exit(0)
        await server.stop()

    async def no_input(self):
        server = await self.serve("echo_server")
        same(await self.call(server.url + "/"), (0, "", ""), "how the client ended")
        await server.stop()

    async def localhost(self):
        server = await self.serve("echo_server")
        port = server.url.rsplit(":", 1)[1]
        client = await Program.start("client", f"ws://localhost:{port}", "--engine", self.engine)
        await client.write("by name\n")
        await client.expect("by name")
        client.end_input()
        await client.exit(0)
        await server.stop()

    async def tls(self):
        """wss:// with a certificate that is trusted; and what the client says where it is not."""
        identity = self.suite.identity("here")
        server = await Program.start("echo_server", "--bind", "127.0.0.1:0", "--engine", self.engine, *identity.options, ready=1)
        check(server.url.startswith("wss://127.0.0.1:"), f"where it listens: {server.url}")
        port = server.url.rsplit(":", 1)[1]
        for url, trust in ((server.url, ("--ca", identity.cert)), (f"wss://localhost:{port}", ("--ca", identity.cert)),
                           (server.url, ("--insecure-skip-verify",))):
            client = await Program.start("client", url + "/echo", "--engine", self.engine, *trust)
            for line in ("hello", "Grüße, 世界 🌍", "x" * 1_000_000):
                await client.write(line + "\n")
                await client.expect(line)
            client.end_input()
            await client.expect(None)
            await client.exit(0)
            same(client.errors, "", "errors of the client")
        other = self.suite.identity("other", "DNS:example.org")
        for url, options, why in ((server.url, (), "self-signed certificate"),
                                  (server.url, ("--ca", other.cert), "self-signed certificate"),
                                  (f"wss://127.0.0.1:{port}", ("--ca", "/no/such/file"), "/no/such/file: No such file or directory"),
                                  (f"ws://127.0.0.1:{port}", (), "HTTP status 400\nthis port speaks TLS")):
            status, output, errors = await self.call(url + "/", *options, text="hello\n")
            same((status, output), (1, ""), f"how the client ended for {url} {options}")
            check(why in errors and errors.strip().count("\n") == why.count("\n"),
                  f"errors of the client for {url} {options}: {errors!r}")
        await server.stop()
        elsewhere = await Program.start("echo_server", "--bind", "127.0.0.1:0", "--engine", self.engine, *other.options, ready=1)
        status, output, errors = await self.call(elsewhere.url + "/", "--ca", other.cert)
        check(status == 1 and "mismatch" in errors, f"errors of the client for another host's certificate: {errors!r}")
        await elsewhere.stop()
        plain = await self.serve("echo_server")
        status, output, errors = await self.call(plain.url.replace("ws://", "wss://") + "/")
        check(status == 1 and "does not speak TLS" in errors, f"errors of the client for a server without TLS: {errors!r}")
        await plain.stop()

    async def hub(self):
        server = await self.serve("broadcast_hub")
        ada = await Program.start("client", server.url + "/hub?name=ada", "--engine", self.engine)
        await ada.expect("* ada 1 joined, 1 here")
        bob = await Program.start("client", server.url + "/hub?name=bob", "--engine", self.engine)
        await ada.expect("* bob 2 joined, 2 here")
        await bob.expect("* bob 2 joined, 2 here")
        await ada.write("hello\n")
        await ada.expect("ada 1: hello")
        await bob.expect("ada 1: hello")
        await bob.write("hello yourself\n")
        await ada.expect("bob 2: hello yourself")
        await bob.expect("bob 2: hello yourself")
        bob.interrupt()
        await bob.exit(0)
        await ada.expect("* bob 2 left, 1 here")
        await server.stop()
        await ada.expect(None)
        await ada.exit(0)
        same(ada.errors, "client: closed by the server: 1001\n", "errors of the client")

    async def too_long(self):
        """A line above the server's limit: the server closes, and the client says so."""
        server = await self.serve("echo_server")
        client = await Program.start("client", server.url + "/", "--engine", self.engine)
        await client.write("x" * ((1 << 20) + 1) + "\n")
        await client.exit()
        check("1009" in client.errors or "lost the connection" in client.errors, f"errors of the client: {client.errors!r}")
        await server.stop()

    async def killed_server(self):
        server = await self.serve("echo_server")
        client = await Program.start("client", server.url + "/", "--engine", self.engine)
        await client.write("hello\n")
        await client.expect("hello")
        await server.kill()
        await client.exit(1)
        check(client.errors.startswith("wring: lost the connection: ") and client.errors.count("\n") == 1,
              f"errors of the client: {client.errors!r}")

    async def interrupted_while_connecting(self):
        """A server that takes the connection and says nothing."""
        with socket.create_server(("127.0.0.1", 0)) as mute:
            mute.setblocking(False)
            client = await Program.start("client", f"ws://127.0.0.1:{mute.getsockname()[1]}/", "--engine", self.engine)
            peer, _ = await wait(asyncio.get_running_loop().sock_accept(mute), "the client to connect")
            head = await wait(asyncio.get_running_loop().sock_recv(peer, 4096), "the client's request")
            check(head.startswith(b"GET / HTTP/1.1\r\n"), f"the request: {head!r}")
            client.interrupt()
            await client.exit(1)
            check(client.errors.count("\n") == 1 and "can't connect" in client.errors, f"errors of the client: {client.errors!r}")
            peer.close()

    async def no_websocket(self):
        """What answers is no WebSocket server."""
        server = await self.serve("tcp_echo")
        where = server.addresses[0].removeprefix("tcp://")
        status, output, errors = await self.call(f"ws://{where}/", text="hello\n")
        same((status, output), (1, ""), "how the client ended")
        check(f"can't connect to ws://{where}/: " in errors and errors.count("\n") == 1, f"errors of the client: {errors!r}")
        await server.stop()

    async def unreachable(self):
        with socket.socket() as bound:
            bound.bind(("127.0.0.1", 0))        # and does not listen
            missing = self.suite.path()
            for url, cause in ((f"ws://127.0.0.1:{bound.getsockname()[1]}/", "Connection refused"),
                               (f"ws+unix:{missing}:/", "No such file or directory"),
                               ("ws://does-not-exist.invalid/", "")):
                status, output, errors = await self.call(url, text="hello\n")
                same((status, output), (1, ""), "how the client ended")
                check(errors.startswith(f"wring: can't connect to {url}: ") and cause in errors and errors.count("\n") == 1,
                      f"errors of the client for {url}: {errors!r}")

    async def bad_urls(self):
        for url in ("", "nonsense", "http://localhost/", "ws://", "ws://[::1/", "ws://localhost:99999/", "ws://localhost:x/",
                    "ws://localhost/#fragment", "ws://user@localhost/", "ws+unix:", "wss://localhost/", "ws://local host/"):
            status, output, errors = await self.call(url)
            same((status, output), (1, ""), f"how the client ended for {url!r}")
            check(errors.startswith(f"wring: can't connect to {url}: ") and errors.count("\n") == 1,
                  f"errors of the client for {url!r}: {errors!r}")

    async def bad_header(self):
        """A header that would smuggle a line is refused before anything is sent."""
        server = await self.serve("echo_server")
        for bad in ("X-A: b\r\nX-Evil: c", "Bad Name: x", ": x", "Host: other", "Sec-WebSocket-Key: x"):
            status, output, errors = await self.call(server.url + "/", "--header", bad)
            same((status, output), (1, ""), f"how the client ended for {bad!r}")
            check("can't connect" in errors and errors.count("\n") == 1, f"errors of the client for {bad!r}: {errors!r}")
        for bad in ("a b", "a,a", "ä"):
            status, output, errors = await self.call(server.url + "/", "--subprotocol", bad)
            same((status, output), (1, ""), f"how the client ended for {bad!r}")
        await server.stop()

    async def refused(self):
        """What a server says that refuses is shown."""
        async def refuse(reader, writer):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nmembers \r\n4\r\nonly\r\n0\r\n\r\n")
            writer.close()
        async with Listening(refuse) as port:
            status, output, errors = await self.call(f"ws://127.0.0.1:{port}/", text="hello\n")
        same((status, output), (1, ""), "how the client ended")
        check("HTTP status 403" in errors and "members only" in errors, f"errors of the client: {errors!r}")

    async def redirect(self):
        server = await self.serve("echo_server")
        async def redirect(reader, writer):
            head = await reader.readuntil(b"\r\n\r\n")
            where = server.url.replace("ws://", "http://") + "/echo" if b"/second" in head else "/second"
            writer.write(f"HTTP/1.1 302 Found\r\nLocation: {where}\r\nContent-Length: 0\r\n\r\n".encode())
            writer.close()
        async with Listening(redirect) as port:
            url = f"ws://127.0.0.1:{port}/first"
            same(await self.call("--max-redirects", "2", url, text="hello\n"), (0, "hello\n", ""), "how the client ended")
            for arguments in ((), ("--max-redirects", "1")):
                status, output, errors = await self.call(*arguments, url, text="hello\n")
                same((status, output), (1, ""), "how the client ended")
                check("HTTP status 302" in errors, f"errors of the client: {errors!r}")
        await server.stop()

    async def proxy(self):
        """A CONNECT proxy of Python's, which resolves the name that only it knows."""
        server = await self.serve("echo_server")
        seen = []
        async def proxy(reader, writer):
            head = (await reader.read(3))
            if head[0] == 5:                        # SOCKS
                writer.write(b"\5\2")
                await reader.read(100)
                writer.close()
                return
            head = (head + await reader.readuntil(b"\r\n\r\n")).decode()
            seen.append(head)
            if "Proxy-Authorization: Basic dTpw\r\n" not in head:
                writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
                writer.close()
                return
            port = int(server.url.rsplit(":", 1)[1])
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"HTTP/1.0 200 Connection established\r\n\r\n")
            await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer))
        async with Listening(proxy) as port:
            url = "ws://only.the.proxy.knows.test:81/echo"
            for arguments, extra in ((("--proxy", f"http://u:p@127.0.0.1:{port}"), {}),
                                     (("--proxy", "env"), {"http_proxy": f"http://u:p@127.0.0.1:{port}"})):
                same(await self.call(*arguments, url, text="hello\n", env=extra), (0, "hello\n", ""), "how the client ended")
                check(seen[-1].startswith("CONNECT only.the.proxy.knows.test:81 HTTP/1.1\r\n"), f"the request: {seen[-1]!r}")
            status, output, errors = await self.call("--proxy", f"http://u:x@127.0.0.1:{port}", url, text="hello\n")
            same((status, output), (1, ""), "how the client ended")
            check("at the proxy" in errors and "407" in errors, f"errors of the client: {errors!r}")
            for scheme in ("http", "socks5"):       # nothing secret in a trace
                status, output, errors = await self.call("--proxy", f"{scheme}://u:secret@127.0.0.1:{port}", url,
                                                         env={"WRING_TRACE": "handshake,frames"})
                same(status, 1, "how the client ended")
                check("secret" not in errors and "dTpzZWNyZXQ" not in errors, f"the trace: {errors!r}")
        await server.stop()

    async def reconnect(self):
        """The server is killed and started again at the same place; the client goes on."""
        where = "unix:" + self.suite.path()
        server = await self.serve("echo_server", where)
        client = await Program.start("client", "--reconnect", server.url + "/", "--engine", self.engine)
        await client.write("one\n")
        await client.expect("one")
        await server.kill()
        await gone(where.removeprefix("unix:"))
        server = await self.serve("echo_server", where)
        await client.complains("client: open", 2)
        await client.write("two\n")
        await client.expect("two")
        client.end_input()
        await client.expect(None)
        await client.exit(0)
        check("client: waiting" in client.errors and client.errors.count("client: open") == 2, f"errors of the client: {client.errors!r}")
        await server.stop()

    async def help(self):
        status, output, errors = await call("client", "--help")
        same((status, errors), (0, ""), "--help")
        for word in ("usage:", "URL", "--origin", "--header", "--subprotocol", "--no-deflate", "--takeover", "--ca", "--max-redirects",
                     "--proxy", "--reconnect", "--engine", "xit status"):
            check(word in output, f"--help without {word}: {output!r}")

    async def bad_usage(self):
        for arguments in ((), ("ws://a/", "ws://b/"), ("--nonsense", "ws://a/"), ("ws://a/", "--origin"), ("ws://a/", "--engine", "steam"),
                          ("ws://a/", "--header", "no colon"), ("ws://a/", "--max-redirects", "x"), ("ws://a/", "--max-redirects", "-1")):
            status, output, errors = await call("client", *arguments)
            same((status, output), (2, ""), f"how the client ended for {arguments}")
            check("usage:" in errors, f"errors of the client for {arguments}: {errors!r}")


class Listening:
    """A server of Python's on a port of 127.0.0.1, for the life of a block."""
    def __init__(self, handler):
        self.handler = handler

    async def __aenter__(self):
        self.server = await asyncio.start_server(self.handler, "127.0.0.1", 0)
        return self.server.sockets[0].getsockname()[1]

    async def __aexit__(self, *exception):
        self.server.close()
        await self.server.wait_closed()


async def pump(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
    writer.close()


async def gone(path):
    """Waits until nobody listens on this Unix socket: with io_uring that is a moment after the process has ended."""
    while True:
        try:
            _, writer = await asyncio.open_unix_connection(path)
        except OSError:
            return
        writer.close()
        await asyncio.sleep(0.01)


def has_ipv6():
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


async def scenarios(suite):
    here = Scenarios(suite, given.engine)
    for name, scenario in (
            ("lines in, lines out over TCP, IPv6 and Unix sockets", here.lines),
            ("a file as input", here.file),
            ("no input", here.no_input),
            ("a host by name", here.localhost),
            ("TLS, and certificates that are not trusted", here.tls),
            ("two clients in the hub", here.hub),
            ("a line above the limit", here.too_long),
            ("the server is killed", here.killed_server),
            ("Ctrl-C while connecting", here.interrupted_while_connecting),
            ("no WebSocket server", here.no_websocket),
            ("an unreachable server", here.unreachable),
            ("a server that refuses", here.refused),
            ("redirects", here.redirect),
            ("a proxy", here.proxy),
            ("connecting again", here.reconnect),
            ("bad URLs", here.bad_urls),
            ("bad headers and subprotocols", here.bad_header),
            ("--help", here.help),
            ("bad usage", here.bad_usage)):
        if given.only in name:
            await suite.run("client: " + name, scenario)


if __name__ == "__main__":
    given = harness.arguments(__doc__, engine=dict(default="auto"), only=dict(default=""))
    harness.main(scenarios, given.engine)
