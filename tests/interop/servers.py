#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0
"""The example servers: their command line, their start and their end, their pages; and tcp_echo with plain sockets."""
import asyncio
import os
import re
import shutil
import signal
import socket
import stat

import harness
from harness import Program, call, check, same, wait

SERVERS = ("echo_server", "broadcast_hub", "tcp_echo")


async def open_to(where):
    """Reader and writer of a connection to what a `listening on` line names."""
    where = re.sub("^(wss?|tcp)://", "", where)
    if where.startswith("unix:@"):
        return await wait(asyncio.open_unix_connection("\0" + where[6:]), "a connection to " + where)
    if where.startswith("unix:"):
        return await wait(asyncio.open_unix_connection(where[5:]), "a connection to " + where)
    host, _, port = where.rpartition(":")
    return await wait(asyncio.open_connection(host.strip("[]"), int(port)), "a connection to " + where)


async def ask(where, request):
    """An HTTP exchange; returns status, fields in lower case, body."""
    reader, writer = await open_to(where)
    writer.write(request)
    answer = await wait(reader.read(), "the whole answer")
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    return int(first.split(" ")[1]), {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines)}, body


UPGRADE = (b"GET /x HTTP/1.1\r\nHost: here\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
           b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")


async def mute_member(where):
    """A WebSocket client that never answers anything."""
    reader, writer = await open_to(where)
    writer.write(UPGRADE)
    head = await wait(reader.readuntil(b"\r\n\r\n"), "the answer to an upgrade")
    check(head.startswith(b"HTTP/1.1 101 "), f"the answer to an upgrade: {head!r}")
    return reader, writer


async def echoed(where, data=b"some bytes"):
    """What tcp_echo gives back for this."""
    reader, writer = await open_to(where)

    async def send():
        writer.write(data)
        await writer.drain()
        writer.write_eof()
    sending = asyncio.ensure_future(send())
    got = await wait(reader.read(), f"{len(data)} bytes from {where}")
    await sending
    writer.close()
    return got


async def answers(name, where):
    """Whether the server serves there."""
    if name == "tcp_echo":
        same(await echoed(where), b"some bytes", f"what {name} at {where} gives back")
    else:
        status, _, _ = await ask(where, b"GET / HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
        same(status, 200, f"what {name} at {where} answers")


async def dead(path):
    """Completes when nobody listens there. The system ends an io_uring, and its sockets with it, a little after its process."""
    while True:
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(path)
            except ConnectionRefusedError:
                return
        await asyncio.sleep(0.01)


class Scenarios:
    def __init__(self, suite, name, engine):
        self.suite, self.name, self.engine = suite, name, engine

    def start(self, *arguments, ready=1):
        return Program.start(self.name, *arguments, "--engine", self.engine, ready=ready)

    async def help(self):
        status, output, errors = await call(self.name, "--help")
        same((status, errors), (0, ""), "--help")
        for word in ("usage:", "--bind", "--threads", "--engine", "unix:"):
            check(word in output, f"--help without {word}: {output!r}")
        for word in ("--deflate", "--takeover", "--max-message", "--max-fragments"):
            same(word in output, self.name != "tcp_echo", f"whether --help has {word}: {output!r}")

    async def bad_usage(self):
        for arguments in (("--nonsense",), ("--bind",), ("--threads", "many"), ("--threads", "-1"), ("--threads", "5000"),
                          ("--threads", ""), ("--engine", "steam"), ("127.0.0.1:9001",), ("--max-message", "much"),
                          ("--max-message", "-1"), ("--max-fragments", ""), ("--deflate=1",)):
            status, output, errors = await call(self.name, *arguments)
            same((status, output), (2, ""), f"how {self.name} ended for {arguments}")
            check("usage:" in errors, f"errors for {arguments}: {errors!r}")

    async def bad_address(self):
        for where in ("nonsense", "127.0.0.1", "127.0.0.1:99999", "127.0.0.1:x", "[::1:80", "", "unix:", "192.0.2.1:80",
                      "unix:" + self.suite.path() + "/no/such/folder", "unix:/" + "x" * 200):
            for threads in ("1", "2"):
                status, output, errors = await call(self.name, "--bind", where, "--threads", threads, "--engine", self.engine)
                same((status, output), (1, ""), f"how {self.name} ended for {where!r}")
                check(errors.startswith(f"wring: can't listen on {where}: ") and errors.count("\n") == 1,
                      f"errors for {where!r}, {threads} threads: {errors!r}")

    async def port_in_use(self):
        with socket.create_server(("127.0.0.1", 0)) as other:
            where = "127.0.0.1:%d" % other.getsockname()[1]
            for threads in ("1", "2"):
                status, output, errors = await call(self.name, "--bind", where, "--threads", threads, "--engine", self.engine)
                same((status, output, errors), (1, "", f"wring: can't listen on {where}: Address already in use\n"), "how it ended")
        # And by another one of ours, which goes on.
        for threads in ("1", "2"):
            first = await self.start("--bind", "127.0.0.1:0", "--threads", threads)
            where = re.sub("^.*//", "", first.addresses[0])
            status, output, errors = await call(self.name, "--bind", where, "--threads", threads, "--engine", self.engine)
            same((status, output, errors), (1, "", f"wring: can't listen on {where}: Address already in use\n"), "how it ended")
            await answers(self.name, first.addresses[0])
            await first.stop()

    async def several(self):
        path = self.suite.path()
        for threads in ("1", "2"):
            server = await self.start("--bind", "127.0.0.1:0", "--bind", "127.0.0.1:0", "--bind", "unix:" + path,
                                      "--bind", "unix:@" + path, "--threads", threads, ready=4)
            same(server.addresses[2:], ["unix:" + path, "unix:@" + path], "the Unix sockets")
            check(server.addresses[0] != server.addresses[1], f"two addresses: {server.addresses}")
            for where in server.addresses:
                await answers(self.name, where)
            await server.stop()
            same(len(server.log), 4, f"lines of output, with {threads} threads")
            check(not os.path.exists(path), "the path of the Unix socket is still there")

    async def unix_path(self):
        """The path is removed at the end; a dead one is taken over; one in use and other files are left alone."""
        path = self.suite.path()
        for threads in ("1", "2"):
            first = await self.start("--bind", "unix:" + path, "--threads", threads)
            check(stat.S_ISSOCK(os.stat(path).st_mode), "no socket at the path")
            status, output, errors = await call(self.name, "--bind", "unix:" + path, "--engine", self.engine)
            same((status, output, errors), (1, "", f"wring: can't listen on unix:{path}: Address already in use\n"), "how a second one ended")
            await answers(self.name, first.addresses[0])
            await first.kill()
            check(os.path.exists(path), "a killed server has left no path to test with")
            await wait(dead(path), "the system to close the socket of a killed server")
            second = await self.start("--bind", "unix:" + path, "--threads", threads)
            await answers(self.name, second.addresses[0])
            await second.stop()
            check(not os.path.exists(path), "the path is still there")
        with open(path, "w") as file:
            file.write("precious")
        status, output, errors = await call(self.name, "--bind", "unix:" + path, "--engine", self.engine)
        same((status, output), (1, ""), "how it ended where a file stands")
        with open(path) as file:
            same(file.read(), "precious", "the file")

    async def threads(self):
        """Every one of many connections is served, whichever loop has it."""
        server = await self.start("--bind", "127.0.0.1:0", "--threads", "2")
        await asyncio.gather(*(answers(self.name, server.addresses[0]) for _ in range(40)))
        server.process.send_signal(signal.SIGTERM)
        await server.exit(0)
        same((server.errors, len(server.log)), ("", 1), "errors, and lines of output")

    async def idle_stop(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            for threads in ("1", "2"):
                server = await self.start("--bind", "127.0.0.1:0", "--threads", threads)
                server.process.send_signal(number)
                await server.exit(0)
                same((server.errors, len(server.log)), ("", 1), "errors, and lines of output")

    async def stop_with_peer(self):
        """An idle TCP peer of tcp_echo and one in the middle of a request do not hold the end up."""
        server = await self.start("--bind", "127.0.0.1:0")
        reader, writer = await open_to(server.addresses[0])
        if self.name == "tcp_echo":
            writer.write(b"x")
            same(await wait(reader.readexactly(1), "a byte"), b"x", "the byte")
        else:
            writer.write(b"GET / HTTP/1.1\r\nHost:")
            await answers(self.name, server.addresses[0])
        server.interrupt()
        try:
            rest = await wait(reader.read(), "the end of the connection")
        except ConnectionResetError:
            rest = b""
        check(rest == b"" or rest.startswith(b"HTTP/1.1 503 "), f"the peer got {rest!r}")
        writer.close()
        await server.exit(0)
        same(server.errors, "", "errors")

    # ---- WebSocket servers ----------------------------------------------------------------------------------------

    async def mute_peer(self):
        """A peer that does not answer the close frame is waited for, but not for ever."""
        server = await self.start("--bind", "127.0.0.1:0")
        reader, writer = await mute_member(server.addresses[0])
        server.interrupt()
        await wait(reader.readuntil(b"\x88\x02\x03\xe9"), "the close frame with 1001")
        try:
            same(await wait(reader.read(), "the end of the connection"), b"", "what came after the close frame")
        except ConnectionResetError:
            pass
        await server.exit(0)
        writer.close()

    async def two_interrupts(self):
        server = await self.start("--bind", "127.0.0.1:0")
        reader, writer = await mute_member(server.addresses[0])
        server.interrupt()
        await wait(reader.readuntil(b"\x88\x02\x03\xe9"), "the close frame with 1001")
        server.interrupt()
        await server.exit(130)
        same(server.errors, "second signal: ending at once\n", "errors")
        writer.close()

    async def page(self):
        server = await self.start("--bind", "127.0.0.1:0")
        where = server.addresses[0]
        status, fields, body = await ask(where, b"GET / HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
        same((status, fields.get("content-type"), fields.get("content-length")), (200, "text/html; charset=utf-8", str(len(body))), "the page")
        check(body.startswith(b"<!doctype html>") and b"WebSocket" in body, f"the page: {body[:200]!r}")
        length = fields["content-length"]
        status, fields, body = await ask(where, b"HEAD / HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
        same((status, fields.get("content-length"), body), (200, length, b""), "the answer to HEAD")
        status, fields, body = await ask(where, UPGRADE.replace(b"GET", b"POST"))
        same((status, fields.get("allow")), (405, "GET"), "the answer to an upgrade by POST")
        status, fields, body = await ask(where, b"nonsense\r\n\r\n")
        same(status, 400, "the answer to nonsense")
        status, fields, body = await ask(where, UPGRADE.replace(b"Version: 13", b"Version: 8"))
        same((status, fields.get("sec-websocket-version")), (426, "13"), "the answer to an old version")
        if self.name == "echo_server":
            status, fields, body = await ask(where, b"GET /nowhere HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
            same(status, 404, "the answer for a path that is not there")
        await server.stop()

    async def origins(self):
        """The echo server takes any page's connection, the hub those of its own page only."""
        server = await self.start("--bind", "127.0.0.1:0")
        host = re.sub("^.*//", "", server.addresses[0]).encode()
        for origin, allowed in ((b"http://" + host, True), (b"https://example.org", self.name == "echo_server")):
            reader, writer = await open_to(server.addresses[0])
            writer.write(UPGRADE.replace(b"Host: here", b"Host: " + host + b"\r\nOrigin: " + origin))
            line = await wait(reader.readline(), "the answer to an upgrade")
            same(line.split(b" ")[1], b"101" if allowed else b"403", f"the answer to a page of {origin.decode()}")
            writer.transport.abort()
        await server.stop()

    async def tls(self):
        """wss:// and https://; SIGHUP reads the files again and disturbs nobody."""
        first, second = self.suite.identity("first"), self.suite.identity("second")
        files = self.suite.identity("files")

        def put(identity):
            for name in ("cert", "key"):
                shutil.copyfile(getattr(identity, name), getattr(files, name))

        async def upgraded(identity):
            port = int(server.addresses[0].rsplit(":", 1)[1])
            reader, writer = await wait(asyncio.open_connection("127.0.0.1", port, ssl=identity.trusting()), "TLS")
            writer.write(UPGRADE)
            head = await wait(reader.readuntil(b"\r\n\r\n"), "the answer to an upgrade")
            check(head.startswith(b"HTTP/1.1 101 "), f"the answer to an upgrade: {head!r}")
            return reader, writer

        for threads in ("1", "2"):
            put(first)
            server = await self.start("--bind", "127.0.0.1:0", "--threads", threads, *files.options)
            check(server.addresses[0].startswith("wss://127.0.0.1:"), f"where it listens: {server.addresses}")
            old = await upgraded(first)
            put(second)
            server.process.send_signal(signal.SIGHUP)
            same(await server.error_line(), "certificates: read again", "what it says")
            for _ in range(5):
                reader, writer = await upgraded(second)
                writer.transport.abort()
            with open(files.key, "w") as file:
                file.write("no key")
            server.process.send_signal(signal.SIGHUP)
            said = await server.error_line()
            check(said.startswith(f"certificates: {files.key}: "), f"what it says of a bad file: {said!r}")
            reader, writer = await upgraded(second)     # the old ones stay
            writer.transport.abort()
            reader, writer = old
            writer.write(b"\x89\x80\0\0\0\0")      # a ping
            while await wait(reader.readexactly(1), "a pong on the connection from before") != b"\x8a":
                pass
            writer.transport.abort()
            # Without TLS it says what is wrong.
            status, fields, body = await ask(server.addresses[0], b"GET / HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
            check(status == 400 and b"https://" in body, f"the answer without TLS: {status} {body!r}")
            server.interrupt()
            await server.exit(0)
        missing = self.suite.path()
        for arguments, status, why in ((("--tls-cert", first.cert), 2, "--tls-key"), (("--tls-key", first.key), 2, "--tls-cert"),
                                       (("--tls-cert", first.cert, "--tls-key", missing), 1, missing + ": No such file or directory"),
                                       (("--tls-cert", first.cert, "--tls-key", second.key), 1, "is not the key")):
            ended, output, errors = await call(self.name, "--bind", "127.0.0.1:0", *arguments)
            same((ended, output), (status, ""), f"how it ended for {arguments}")
            check(why in errors, f"errors for {arguments}: {errors!r}")

    # ---- tcp_echo -------------------------------------------------------------------------------------------------

    async def bytes(self):
        path = self.suite.path()
        server = await self.start("--bind", "127.0.0.1:0", "--bind", "unix:" + path, ready=2)
        for where in server.addresses:
            for data in (b"x", b"\0\r\n", bytes(range(256)) * 20_000):
                check(await echoed(where, data) == data, f"{len(data)} bytes came back otherwise from {where}")
            same(await echoed(where, b""), b"", "what came back for nothing")
        several = await asyncio.gather(*(echoed(server.addresses[n % 2], b"%d " % n * 1000) for n in range(30)))
        check(several == [b"%d " % n * 1000 for n in range(30)], "several at once got each other's bytes")
        await server.stop()


async def scenarios(suite):
    for name in SERVERS:
        here = Scenarios(suite, name, given.engine)
        todo = [
            ("--help", here.help),
            ("bad usage", here.bad_usage),
            ("bad addresses", here.bad_address),
            ("a port in use", here.port_in_use),
            ("several addresses", here.several),
            ("the path of a Unix socket", here.unix_path),
            ("two threads", here.threads),
            ("SIGINT and SIGTERM", here.idle_stop),
            ("Ctrl-C with an idle peer", here.stop_with_peer),
        ]
        if name == "tcp_echo":
            todo.append(("bytes over TCP and Unix sockets", here.bytes))
        else:
            todo += [
                ("Ctrl-C with a peer that does not answer", here.mute_peer),
                ("two Ctrl-C in a row", here.two_interrupts),
                ("the page, and requests that are wrong", here.page),
                ("pages of other origins", here.origins),
                ("TLS, SIGHUP, and files that can't be used", here.tls),
            ]
        for what, scenario in todo:
            if given.only in what:
                await suite.run(f"{name}: {what}", scenario)


if __name__ == "__main__":
    given = harness.arguments(__doc__, engine=dict(default="auto"), only=dict(default=""))
    harness.main(scenarios, given.engine)
