#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0
"""Other people's WebSocket libraries as clients of our servers, and as servers of our client."""
import asyncio
import contextlib
import pathlib

import harness
from harness import Program, call, check, same
from peers import Closed, NodePeer, PythonPeer, Refused

MEBIBYTE = 1 << 20
WORDS = "Grüße, 世界, שלום, 🌍🏳️‍🌈"


def text_of(size):
    """Text of so many bytes, with characters of every length of UTF-8."""
    text = "aé世🌍" * (size // 10)
    return text + "x" * (size - len(text.encode()))


def bytes_of(size):
    return (bytes(range(256)) * (size // 256 + 1))[:size]


class Scenarios:
    def __init__(self, suite, peer, engine, unix, identity=None):
        self.suite, self.peer, self.engine, self.unix, self.identity = suite, peer, engine, unix, identity

    async def server(self, name, *options):
        where = "unix:" + self.suite.path() if self.unix else "127.0.0.1:0"
        tls = self.identity.options if self.identity else []
        return await Program.start(name, "--bind", where, "--engine", self.engine, *tls, *options, ready=1)

    async def connect(self, url, **more):
        return await self.peer.connect(url, identity=self.identity, **more)

    @contextlib.asynccontextmanager
    async def echo(self):
        """A connection to an echo server of its own; both end cleanly."""
        server = await self.server("echo_server")
        connection = await self.connect(server.url + "/echo")
        yield connection
        same(await connection.close(1000), Closed(1000, ""), "the close handshake")
        await server.stop()

    async def all_back(self, *messages, **more):
        async with self.echo() as connection:
            for message in messages:
                await connection.send(message, **more)
                whole = message
                if isinstance(message, list):
                    whole = type(message[0])().join(message)
                same(await connection.receive(), whole, "what came back")

    # ---- the peer connects to the echo server --------------------------------------------------------------------

    async def text(self):
        await self.all_back("hello", WORDS, "with a NUL \0 inside", "two\nlines\r\n")

    async def binary(self):
        await self.all_back(b"\0\1\2\xff\xfe", bytes_of(70_000), *[bytes_of(n) for n in (1, 125, 126, 127, 65535, 65536)])

    async def empty(self):
        await self.all_back("", b"", "")

    async def large_text(self):
        await self.all_back(text_of(MEBIBYTE))

    async def large_binary(self):
        await self.all_back(bytes_of(MEBIBYTE), b"and on")

    async def fragments(self):
        parts = [WORDS[:9], "", WORDS[9:], text_of(30_000), "end"]
        await self.all_back(parts, [part.encode() for part in parts], ["", "", ""], [b"", b""])

    async def pings_between_fragments(self):
        await self.all_back(["one ", "two ", "three"], [bytes_of(40_000), b"more"], ping=True)

    async def many_at_once(self):
        async with self.echo() as connection:
            messages = [f"{n} " + "x" * (n * 37 % 3000) for n in range(500)]

            async def send():
                for message in messages:
                    await connection.send(message)
            sending = asyncio.ensure_future(send())
            for message in messages:
                same(await connection.receive(), message, "what came back")
            await sending

    async def ping(self):
        async with self.echo() as connection:
            for data in (b"are you there", b"", bytes_of(125)):
                await connection.ping(data)

    async def close_codes(self):
        server = await self.server("echo_server")
        for code, reason in ((1000, ""), (1000, "done"), (1001, "leaving"), (1003, ""), (1011, ""), (3000, "r" * 123),
                             (4000, WORDS), (4999, "the last one")):
            connection = await self.connect(server.url + "/echo")
            answer = await connection.close(code, reason)
            same(answer.code, code, "the code that the echo server answers with")
            check(answer.reason in ("", reason), f"the echo server answers {code} {reason!r} with {answer!r}")
        await server.stop()

    async def too_large(self):
        server = await self.server("echo_server")
        connection = await self.connect(server.url + "/echo")
        await connection.send(bytes_of(MEBIBYTE + 1))
        end = await connection.receive()
        while isinstance(end, bytes):
            end = await connection.receive()
        same(end.code, 1009, "the code for a message above the limit")
        await server.stop()

    async def invalid_text(self):
        server = await self.server("echo_server")
        connection = await self.connect(server.url + "/echo")
        await connection.send(b"good so far \xc0\xaf", as_text=True)
        same((await connection.receive()).code, 1007, "the code for text that is no UTF-8")
        await server.stop()

    async def lost_peer(self):
        server = await self.server("echo_server")
        lost = await self.connect(server.url + "/echo")
        await lost.send("a word")
        await lost.receive()
        await lost.terminate()
        connection = await self.connect(server.url + "/echo")
        await connection.send("still there?")
        same(await connection.receive(), "still there?", "what came back")
        same((await connection.close()).code, 1000, "the close code")
        await server.stop()

    async def other_upgrades(self):
        """Subprotocols that nobody picks, extensions that are declined, headers, origins: none stops the echo server."""
        server = await self.server("echo_server")
        protocols = [] if self.peer.name == "ws" else ["chat.v2", "chat.v1"]     # ws gives up where none is picked
        connection = await self.connect(server.url + "/any/path?and=query", protocols=protocols,
                                             headers={"X-Test": "one two", "Cookie": "a=b"}, origin="https://example.org")
        same(connection.protocol, None, "the subprotocol")
        await connection.send("hello")
        same(await connection.receive(), "hello", "what came back")
        await connection.close()
        await server.stop()

    async def subprotocol(self):
        """The first of the server's that the client offers."""
        server = await self.server("echo_server", "--subprotocol", "chat.v2", "--subprotocol", "chat.v1")
        for offered, picked in ((["chat.v1", "chat.v2"], "chat.v2"), (["chat.v3", "chat.v1"], "chat.v1"), ([], None)):
            connection = await self.connect(server.url + "/echo", protocols=offered)
            same(connection.protocol, picked, f"what was picked of {offered}")
            await connection.send("hello")
            same(await connection.receive(), "hello", "what came back")
            await connection.close()
        await server.stop()

    async def going_away(self):
        server = await self.server("echo_server")
        connections = [await self.connect(server.url + "/echo") for _ in range(5)]
        await connections[0].send(["some", "thing"])
        await connections[0].receive()
        server.interrupt()
        for connection in connections:
            same((await connection.receive()).code, 1001, "the code of the close")
        await server.exit(0)
        same(server.errors, "", "errors of the server")

    async def kept_alive(self):
        """The server pings by itself, and a peer that answers stays."""
        async with self.echo() as connection:
            await connection.pinged(60)
            await connection.send("awake")
            same(await connection.receive(), "awake", "what came back")

    # ---- compressed ------------------------------------------------------------------------------------------------

    # What a peer may ask for; the last column: whether it is agreed on.
    OFFERS = [({}, True), (dict(client_max_window_bits=True), True),
              (dict(server_no_context_takeover=True), True), (dict(client_no_context_takeover=True), True),
              (dict(server_no_context_takeover=True, client_no_context_takeover=True), True),
              *[(dict(server_max_window_bits=bits, client_max_window_bits=bits), bits > 8) for bits in range(8, 16)],
              (dict(client_max_window_bits=8), True),
              (dict(server_no_context_takeover=True, server_max_window_bits=9, client_max_window_bits=True), True)]
    MIXED = ["hello", "hello", WORDS, "", text_of(200), text_of(20_000), bytes_of(70_000), b"", "x" * 300_000, bytes_of(300),
             [WORDS, "", text_of(3_000), "end"], [b"one", bytes_of(50_000), b""], "hello"]

    async def both_ways(self, connection, messages=MIXED):
        for message in messages:
            await connection.send(message)
            whole = type(message[0])().join(message) if isinstance(message, list) else message
            same(await connection.receive(), whole, "what came back")

    async def deflate(self):
        for option in ("--deflate", "--takeover"):
            server = await self.server("echo_server", option)
            for offer, agreed in self.OFFERS:
                if self.peer.name == "websockets" and offer.get("client_max_window_bits") == 8:
                    continue        # it has no such compressor, and does not even ask for one
                connection = await self.connect(server.url + "/echo", deflate=offer)
                same(connection.deflates, agreed, f"whether {offer} was agreed on with {option}")
                await self.both_ways(connection)
                same((await connection.close()).code, 1000, "the close code")
            await server.stop()

    async def deflate_off(self):
        for option, deflate in (((), {}), (("--deflate",), False)):
            server = await self.server("echo_server", *option)
            connection = await self.connect(server.url + "/echo", deflate=deflate)
            same(connection.deflates, False, "whether compression was agreed on")
            await self.both_ways(connection, ["hello", text_of(1000)])
            await connection.close()
            await server.stop()

    async def deflate_bomb(self):
        """More than the limit, though it is little when it comes."""
        server = await self.server("echo_server", "--deflate", "--max-message", "100000")
        connection = await self.connect(server.url + "/echo", deflate={})
        await self.both_ways(connection, ["x" * 100_000, b"y" * 100_000])
        await connection.send("z" * 100_001)
        end = await connection.receive()
        while isinstance(end, str):
            end = await connection.receive()
        same(end.code, 1009, "the code for a message above the limit")
        await server.stop()

    async def limits(self):
        """The limits of the command line: larger messages, more frames."""
        server = await self.server("echo_server", "--max-message", str(3 * MEBIBYTE), "--max-fragments", "4")
        connection = await self.connect(server.url + "/echo", deflate=False)
        await self.both_ways(connection, [bytes_of(3 * MEBIBYTE), ["one", "two", "three"]])
        await connection.send(["one", "two", "three", "four", "five"])   # python's has an empty frame at the end as well
        end = await connection.receive()
        while isinstance(end, str):
            end = await connection.receive()
        same(end.code, 1008, "the code for too many frames")
        await server.stop()

    async def deflate_hub(self):
        """Each member by its own parameters; what is shared among them and what is their own in one window."""
        for option in ("--deflate", "--takeover"):
            server = await self.server("broadcast_hub", option)
            offers = [{}, dict(server_no_context_takeover=True), dict(server_max_window_bits=10, client_max_window_bits=10),
                      False]
            members = []
            for at, offer in enumerate(offers):
                members.append(await self.connect(server.url + "/hub?name=ada", deflate=offer))
                same(members[-1].deflates, offer is not False, f"whether {offer} was agreed on")
                for member in members:
                    same(await member.receive(), f"* ada {at + 1} joined, {at + 1} here", "the notice")
            for round in range(3):
                for at, sender in enumerate(members):
                    for message in (text_of(3000), "short", bytes_of(5000), bytes_of(MEBIBYTE // 2)):
                        await sender.send(message)
                        for member in members:
                            same(await member.receive(), f"ada {at + 1}: {message}" if isinstance(message, str) else message,
                                 "what the hub sent")
            server.interrupt()
            for member in members:
                end = await member.receive()
                while isinstance(end, str):     # that another has left, whose session ended before
                    end = await member.receive()
                same(end.code, 1001, "the code of the close")
            await server.exit(0)

    async def client_deflate(self):
        for options in ((), ("--takeover",)):
            for accepts, _ in self.OFFERS:
                if accepts.get("client_max_window_bits") is True:
                    accepts = dict(accepts, client_max_window_bits=12)      # what a server says is a number
                if self.peer.name == "websockets" and 8 in accepts.values():
                    continue
                async with self.client(*options, deflate=accepts) as (client, connection):
                    same(connection.deflates, True, f"whether {accepts} was agreed on with {options}")
                    for line in ("hello", "hello", "", WORDS, text_of(200), text_of(30_000), "x" * 300_000, "hello"):
                        await client.write(line + "\n")
                        same(await connection.receive(), line, "what the server got")
                        await connection.send(line)
                        await client.expect(line)
                    await connection.send([WORDS, text_of(5000), "", "end"])
                    await client.expect(WORDS + text_of(5000) + "end")
                    client.end_input()
                    same((await connection.receive()).code, 1000, "how the client closed")
                    await client.exit(0)
                    same(client.errors, "", "errors of the client")

    async def client_no_deflate(self):
        async with self.client("--no-deflate", deflate={}) as (client, connection):
            same(connection.deflates, False, "whether compression was agreed on")
            check("sec-websocket-extensions" not in connection.headers, f"the fields of the request: {connection.headers!r}")
            await client.write(WORDS + "\n")
            same(await connection.receive(), WORDS, "what the server got")
            client.end_input()
            await client.exit(0)

    async def client_deflate_bomb(self):
        async with self.client(deflate={}) as (client, connection):
            await connection.send("x" * MEBIBYTE)
            await client.expect("x" * MEBIBYTE)
            await connection.send("x" * (MEBIBYTE + 1))
            same((await connection.receive()).code, 1009, "the code for a message above the limit")
            await client.exit(1)
            same(client.errors, "wring: lost the connection: message is larger than the limit\n", "errors of the client")

    # ---- the peer connects to the hub -----------------------------------------------------------------------------

    async def hub(self):
        server = await self.server("broadcast_hub")
        ada = await self.connect(server.url + "/hub?name=ada")
        same(await ada.receive(), "* ada 1 joined, 1 here", "the first notice")
        bob = await self.connect(server.url + "/hub?name=bob")
        for member in (ada, bob):
            same(await member.receive(), "* bob 2 joined, 2 here", "the second notice")
        for sender, who, message in ((ada, "ada 1", "hello"), (bob, "bob 2", WORDS), (ada, "ada 1", ""),
                                     (ada, "ada 1", ["in ", "three ", "parts"]), (bob, "bob 2", text_of(MEBIBYTE))):
            await sender.send(message)
            for member in (ada, bob):
                same(await member.receive(), f"{who}: {''.join(message)}", "what the hub sent")
        for message in (b"\0\1\2", b"", [b"two ", b"parts"], bytes_of(MEBIBYTE)):
            await bob.send(message)
            for member in (ada, bob):
                same(await member.receive(), b"".join(message) if isinstance(message, list) else message, "what the hub sent")
        odd = await self.connect(server.url + "/hub?name=%3Cb%3E")
        for member in (ada, bob, odd):
            same(await member.receive(), "* guest 3 joined, 3 here", "the notice for a name that is not plain")
        await odd.terminate()
        for member in (ada, bob):
            same(await member.receive(), "* guest 3 left, 2 here", "the notice of one that was lost")
        same((await bob.close(4001, "bye")).code, 4001, "the close code")
        same(await ada.receive(), "* bob 2 left, 1 here", "the notice of one that left")
        server.interrupt()
        same((await ada.receive()).code, 1001, "the code of the close")
        await server.exit(0)

    async def hub_on_two_loops(self):
        """Whichever loops they are on, members get what each publisher sends in its order, and none of it twice."""
        publishers, each = 8, 40
        server = await self.server("broadcast_hub", "--threads", "2")
        members = [await self.connect(server.url + "/hub?name=m") for _ in range(publishers)]

        async def publish(member):
            for n in range(each):
                await member.send(str(n))

        async def follow(member):
            seen = {}
            while sum(seen.values()) < publishers * each:
                who, _, n = (await member.receive()).partition(": ")
                if not who.startswith("* "):        # a notice
                    same(int(n), seen.get(who, 0), f"the next message of {who}")
                    seen[who] = int(n) + 1

        await asyncio.gather(*map(publish, members), *map(follow, members))
        for member in members:
            await member.close()
        await server.stop()

    async def slow_member(self):
        """One that does not read is dropped; the others go on."""
        server = await self.server("broadcast_hub")
        fast = await self.connect(server.url + "/hub?name=fast")
        await fast.receive()
        slow = await self.connect(server.url + "/hub?name=slow", slow=True)
        same(await fast.receive(), "* slow 2 joined, 2 here", "the notice")
        message = bytes_of(MEBIBYTE // 2)
        for sent in range(200):
            await fast.send(message)
            got = await fast.receive()
            if got == "* slow 2 left, 1 here":
                got = await fast.receive()
                break
            same(got, message, "what the hub sent")
        else:
            raise harness.Failure("a member that does not read was not dropped after 100 MiB")
        await fast.send("still here")
        while (got := await fast.receive()) == message:
            pass
        same(got, "fast 1: still here", "what the hub sent")
        await slow.terminate()
        await fast.close()
        await server.stop()

    # ---- our client connects to the peer ----------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def client(self, *options, path="/chat", **serving):
        """Our client, connected to a server of the peer's."""
        server = await self.serve(**serving)
        client = await Program.start("client", server.url + path, "--engine", self.engine, *self.trust(), *options)
        connection = await server.accept()
        yield client, connection
        await server.stop()

    async def serve(self, **serving):
        return await self.peer.serve(unix=self.suite.path() if self.unix else None, identity=self.identity, **serving)

    def trust(self):
        return ["--ca", self.identity.cert] if self.identity else []

    async def client_text(self):
        async with self.client() as (client, connection):
            for line in ("hello", WORDS, "", text_of(MEBIBYTE)):
                await client.write(line + "\n")
                same(await connection.receive(), line, "what the server got")
                await connection.send(line)
                await client.expect(line)
            await client.write("a last line without a line feed")
            client.end_input()
            same(await connection.receive(), "a last line without a line feed", "what the server got")
            same(await connection.receive(), Closed(1000, ""), "how the client closed")
            await client.exit(0)
            same(client.errors, "", "errors of the client")

    async def client_binary(self):
        async with self.client() as (client, connection):
            await connection.send(b"some bytes")
            await client.expect("some bytes")
            await connection.send(b"with \0 inside")
            await connection.send("with \0 inside")
            await client.expect("with \0 inside", "with \0 inside")
            await connection.send(b"x" * MEBIBYTE)
            await client.expect("x" * MEBIBYTE)
            await connection.send(b"")
            await client.expect("")
            client.end_input()
            same((await connection.receive()).code, 1000, "how the client closed")
            await client.exit(0)

    async def client_fragments(self):
        async with self.client() as (client, connection):
            await connection.send(["one ", "", "two ", WORDS])
            await connection.send(["three ", "four"], ping=True)
            await connection.send([b"five ", b"x" * 100_000], ping=True)
            await client.expect("one two " + WORDS, "three four", "five " + "x" * 100_000)
            client.end_input()
            same((await connection.receive()).code, 1000, "how the client closed")
            await client.exit(0)

    async def client_ping(self):
        async with self.client() as (client, connection):
            for data in (b"are you there", b"", bytes_of(125)):
                await connection.ping(data)
            client.end_input()
            same((await connection.receive()).code, 1000, "how the client closed")
            await client.exit(0)

    async def client_kept_alive(self):
        async with self.client() as (client, connection):
            await connection.pinged(60)
            await client.write("awake\n")
            same(await connection.receive(), "awake", "what the server got")
            client.end_input()
            same((await connection.receive()).code, 1000, "how the client closed")
            await client.exit(0)

    async def client_closed(self):
        for code, reason in ((1000, ""), (1001, "see you"), (1011, "my mistake"), (3000, ""), (4000, WORDS), (4999, "r" * 123)):
            async with self.client() as (client, connection):
                await connection.send("before")
                answer = await connection.close(code, reason)
                same(answer.code, code, "the code that the client answers with")
                await client.expect("before", None)
                await client.exit(0)
                same(client.errors, f"client: closed by the server: {code}{' ' + reason if reason else ''}\n", "errors of the client")

    async def client_too_large(self):
        async with self.client("--no-deflate") as (client, connection):
            await connection.send(bytes_of(MEBIBYTE + 1))
            same((await connection.receive()).code, 1009, "the code for a message above the limit")
            await client.exit(1)
            same(client.errors, "wring: lost the connection: frame is larger than the limit\n", "errors of the client")

    async def client_interrupted(self):
        async with self.client() as (client, connection):
            await connection.send("hello")
            await client.expect("hello")
            client.interrupt()
            same((await connection.receive()).code, 1001, "how the client closed")
            await client.exit(0)
            same(client.errors, "", "errors of the client")

    async def client_subprotocol(self):
        async with self.client("--subprotocol", "chat.v3", "--subprotocol", "chat.v2", pick="chat.v2") as (client, connection):
            same(connection.protocol, "chat.v2", "the subprotocol that was picked")
            same([name.strip() for name in connection.headers["sec-websocket-protocol"].split(",")], ["chat.v3", "chat.v2"],
                 "the subprotocols offered")
            client.end_input()
            same((await connection.receive()).code, 1000, "how the client closed")
            await client.exit(0)

    async def client_no_subprotocol(self):
        """A server that picks none: the connection goes on without."""
        async with self.client("--subprotocol", "chat.v3", pick=None) as (client, connection):
            same(connection.protocol, None, "the subprotocol that was picked")
            await client.write("hello\n")
            same(await connection.receive(), "hello", "what the server got")
            client.end_input()
            same((await connection.receive()).code, 1000, "how the client closed")
            await client.exit(0)

    async def client_wrong_subprotocol(self):
        server = await self.serve(pick="chat.v9")
        status, output, errors = await call("client", server.url + "/", "--engine", self.engine, *self.trust(), "--subprotocol", "chat.v3")
        same((status, output), (1, ""), "how the client ended")
        check("can't connect" in errors and "subprotocol" in errors and errors.count("\n") == 1, f"errors of the client: {errors!r}")
        await server.stop()

    async def client_headers(self):
        async with self.client("--origin", "https://example.org", "--header", "X-Test: one two", "--header", "Authorization:Bearer t",
                               "--header", "X-Empty:", path="/a/path?with=query") as (client, connection):
            same(connection.path, "/a/path?with=query", "the request's target")
            for name, value in (("origin", "https://example.org"), ("x-test", "one two"), ("authorization", "Bearer t"), ("x-empty", "")):
                same(connection.headers.get(name), value, f"the field {name}")
            client.end_input()
            same((await connection.receive()).code, 1000, "how the client closed")
            await client.exit(0)

    async def client_refused(self):
        for refusal in (400, 403, 404, 503):
            server = await self.serve(refuse=refusal)
            status, output, errors = await call("client", server.url + "/", "--engine", self.engine, *self.trust(), text="a line\n")
            same((status, output), (1, ""), "how the client ended")
            first = errors.split("\n")[0]      # what the server says follows
            check("can't connect to " + server.url in first and str(refusal) in first and errors.endswith("\n"),
                  f"errors of the client for {refusal}: {errors!r}")
            await server.stop()

    async def client_server_gone(self):
        async with self.client() as (client, connection):
            await connection.send("hello")
            await client.expect("hello")
            await connection.terminate()
            await client.exit(1)
            check(client.errors.startswith("wring: lost the connection: ") and client.errors.count("\n") == 1,
                  f"errors of the client: {client.errors!r}")


IN_TURN = [
    ("echo_server: text", Scenarios.text),
    ("echo_server: binary of every length form", Scenarios.binary),
    ("echo_server: empty messages", Scenarios.empty),
    ("echo_server: 1 MiB of text", Scenarios.large_text),
    ("echo_server: 1 MiB of bytes", Scenarios.large_binary),
    ("echo_server: fragmented messages", Scenarios.fragments),
    ("echo_server: pings between fragments", Scenarios.pings_between_fragments),
    ("echo_server: many messages under way", Scenarios.many_at_once),
    ("echo_server: pings are answered", Scenarios.ping),
    ("echo_server: close codes and reasons are answered", Scenarios.close_codes),
    ("echo_server: more than 1 MiB is answered with 1009", Scenarios.too_large),
    ("echo_server: invalid text is answered with 1007", Scenarios.invalid_text),
    ("echo_server: a lost peer leaves the others alone", Scenarios.lost_peer),
    ("echo_server: path, subprotocols, headers and origin do not matter", Scenarios.other_upgrades),
    ("echo_server: agrees on the first of its subprotocols that is offered", Scenarios.subprotocol),
    ("echo_server: Ctrl-C closes with 1001", Scenarios.going_away),
    ("broadcast_hub: names, notices, text, binary, leaving, Ctrl-C", Scenarios.hub),
    ("broadcast_hub: on two loops, each publisher's messages in order", Scenarios.hub_on_two_loops),
    ("broadcast_hub: a member that does not read is dropped", Scenarios.slow_member),
    ("echo_server: compressed, with all parameters", Scenarios.deflate),
    ("echo_server: compressed only where both want it", Scenarios.deflate_off),
    ("echo_server: what becomes too large is answered with 1009", Scenarios.deflate_bomb),
    ("echo_server: limits of the command line", Scenarios.limits),
    ("broadcast_hub: compressed once for members of each kind", Scenarios.deflate_hub),
    ("client: compressed, with all parameters", Scenarios.client_deflate),
    ("client: not compressed where told so", Scenarios.client_no_deflate),
    ("client: what becomes too large is answered with 1009", Scenarios.client_deflate_bomb),
    ("client: text both ways, close at the end of input", Scenarios.client_text),
    ("client: binary messages", Scenarios.client_binary),
    ("client: fragmented messages", Scenarios.client_fragments),
    ("client: pings are answered", Scenarios.client_ping),
    ("client: closed by the server", Scenarios.client_closed),
    ("client: more than 1 MiB is answered with 1009", Scenarios.client_too_large),
    ("client: Ctrl-C closes with 1001", Scenarios.client_interrupted),
    ("client: a subprotocol is agreed on", Scenarios.client_subprotocol),
    ("client: a server that picks no subprotocol", Scenarios.client_no_subprotocol),
    ("client: a server that picks a subprotocol nobody offered", Scenarios.client_wrong_subprotocol),
    ("client: origin, headers and target arrive", Scenarios.client_headers),
    ("client: a refused upgrade", Scenarios.client_refused),
    ("client: the server is gone in mid-session", Scenarios.client_server_gone),
]
NODE_ONLY = [Scenarios.invalid_text]        # websockets encodes what it sends as text


async def scenarios(suite):
    peer = await (NodePeer(given.node, pathlib.Path(__file__).with_name("peer.cjs"), given.npm) if given.peer == "ws" else PythonPeer()).start()
    try:
        title = suite.title
        # Keep-alive pings come after 20 s: the wait for them goes on beside the rest.
        here = Scenarios(suite, peer, given.engine, False)
        slow = [asyncio.ensure_future(suite.run("echo_server: keep-alive pings", here.kept_alive)),
                asyncio.ensure_future(suite.run("client: keep-alive pings", here.client_kept_alive))]
        await asyncio.sleep(0)      # they have taken their title
        for transport, unix, identity in (("TCP", False, None), ("Unix socket", True, None), ("TLS", False, suite.identity())):
            suite.title = f"{title}, {transport}"
            here = Scenarios(suite, peer, given.engine, unix, identity)
            for name, scenario in IN_TURN:
                if scenario in NODE_ONLY and given.peer != "ws":
                    continue
                if given.only and given.only not in name:
                    continue
                await suite.run(name, scenario, here)
        await asyncio.gather(*slow)
    finally:
        await peer.stop()


if __name__ == "__main__":
    given = harness.arguments(__doc__, peer=dict(choices=["websockets", "ws"], required=True), engine=dict(default="auto"),
                              node=dict(default="node"), npm=dict(default="", help="folder with node_modules/ws"),
                              only=dict(default="", help="only the scenarios whose name contains this"))
    if given.peer == "websockets":
        try:
            import websockets  # noqa: F401
        except ImportError:
            harness.skip("python3-websockets is missing (tools/setup --tests installs it)")
    elif not (pathlib.Path(given.npm) / "node_modules" / "ws").is_dir():
        harness.skip("the npm package ws is missing (tools/setup --tests installs it)")
    harness.main(scenarios, f"{given.peer}, {given.engine}")
