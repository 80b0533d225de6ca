#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0
"""The interop matrix: one list of scenarios for all of other people's libraries in peers/, in both roles where they have both.

A relay stands between the two sides, so that what is on the wire is seen and not only what an API tells of it: who masks, what
went in several frames or compressed, which close frames there were, and that nothing came after them.
"""
import asyncio
import collections
import contextlib
import fcntl
import importlib.util
import os
import pathlib
import re
import shutil
import struct
import subprocess
import sys

import harness
from harness import Failure, Program, Skipped, check, same, wait

HERE = pathlib.Path(__file__).parent
PEERS = HERE / "peers"
SETUP = "(tools/setup --nightly installs it)"

Scenario = collections.namedtuple("Scenario", "name words")         # peers/README.md says what the words mean
SCENARIOS = [
    Scenario("text", "t:0 t:1 t:125 t:126 t:65535 t:65536 close"),
    Scenario("binary", "b:0 b:1 b:125 b:126 b:65535 b:65536 close"),
    Scenario("1 MiB", "t:1048576 b:1048576 close"),
    Scenario("fragmented", "T:3000 T:70000 B:200000 close"),
    Scenario("compressed", "deflate t:5000 t:5000 b:100000 t:1048576 close"),
    Scenario("compressed or empty", "deflate t:5000 t:0 b:0 t:5000 close"),
    Scenario("compressed and fragmented", "deflate T:3000 T:70000 B:200000 close"),
]
COMPRESSED = SCENARIOS[-3:]


# ---- the wire ----------------------------------------------------------------------------------------------------------

Frame = collections.namedtuple("Frame", "fin compressed opcode masked payload")     # the payload of control frames only
CONTINUATION, TEXT, BINARY, CLOSE = 0, 1, 2, 8


def frames_of(data):
    """The frames in what one side has sent after its head."""
    at = 0
    while at < len(data):
        first, second = data[at], data[at + 1]
        at += 2
        size = second & 127
        if size == 126:
            size, = struct.unpack_from("!H", data, at)
            at += 2
        elif size == 127:
            size, = struct.unpack_from("!Q", data, at)
            at += 8
        masked = bool(second & 128)
        mask = data[at:at + 4] if masked else bytes(4)
        at += 4 if masked else 0
        check(at + size <= len(data), f"the last frame on the wire is cut off: {len(data) - at} of {size} bytes")
        payload = data[at:at + size] if first & 8 else b""
        yield Frame(bool(first & 128), bool(first & 64), first & 15, masked, bytes(b ^ mask[i % 4] for i, b in enumerate(payload)))
        at += size


class Wire:
    """What went over one connection."""

    def __init__(self):
        self.sent = {"client": bytearray(), "server": bytearray()}
        self.broken = None
        self.over = asyncio.Event()

    def head(self, side):
        head, end, _ = self.sent[side].partition(b"\r\n\r\n")
        check(end, f"no complete head from the {side}: {bytes(self.sent[side][:500])!r}")
        return head.decode()

    def extensions(self, side):
        return " ".join(re.findall(r"^sec-websocket-extensions:\s*(.*?)\s*$", self.head(side), re.I | re.M))

    def frames(self, side):
        return list(frames_of(bytes(self.sent[side].partition(b"\r\n\r\n")[2])))


class Relay:
    """Listens, and hands all on to the port given."""

    async def start(self, port):
        self.port, self.wires = port, []
        self.server = await asyncio.start_server(self._relay, "127.0.0.1", 0)
        self.url = "ws://127.0.0.1:%d" % self.server.sockets[0].getsockname()[1]
        return self

    async def _relay(self, reader, writer):
        wire = Wire()
        self.wires.append(wire)
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self.port)

        async def pump(side, source, target):
            try:
                while chunk := await source.read(1 << 16):
                    wire.sent[side] += chunk
                    target.write(chunk)
                    await target.drain()
                target.write_eof()
            except OSError as error:
                wire.broken = wire.broken or f"{side}: {error}"
                target.transport.abort()
        await asyncio.gather(pump("client", reader, there_writer), pump("server", there_reader, writer))
        for end in (writer, there_writer):
            end.close()
        wire.over.set()

    def stop(self):
        self.server.close()


def look(wire, words, peer):
    """Checks what was on the wire; `peer` is the side of the other library."""
    ending, compressed = words[-1], bool({"deflate", "takeover"} & set(words))
    check(wire.head("server").startswith("HTTP/1.1 101 "), f"the answer was {wire.head('server')!r}")
    agreed = wire.extensions("server")
    if compressed:
        check(agreed.startswith("permessage-deflate"), f"no compression was agreed on: {wire.extensions('client')!r}, {agreed!r}")
    data, closes = {}, {}
    for side in ("client", "server"):
        frames = wire.frames(side)
        same({frame.masked for frame in frames}, {side == "client"}, f"whether the {side} masks")
        same([frame.opcode for frame in frames].count(CLOSE), 1, f"close frames of the {side}")
        same(frames[-1].opcode, CLOSE, f"the last frame of the {side}")
        closes[side] = struct.unpack("!H", frames[-1].payload[:2])[0] if frames[-1].payload else 1005
        data[side] = [frame for frame in frames if frame.opcode < CLOSE]
        check(agreed or not any(frame.compressed for frame in data[side]), f"the {side} compresses without an agreement")
        if compressed and (side != peer or given.peer not in NEVER_COMPRESS):
            check(any(frame.compressed for frame in data[side]), f"nothing that the {side} sent was compressed")
    if any(re.match("[TB]:", word) for word in words):
        check(not all(frame.fin for frame in data["client"]), "the client sent nothing in several frames")
    code = {"close": 1000, "asked": 4001, "left": 1001}[ending]
    same(closes["client" if ending == "close" else "server"], code, "the code of the close frame that came first")
    if given.peer in ANSWERS_1000 and peer != ("client" if ending == "close" else "server"):
        code = 1000
    same(closes["server" if ending == "close" else "client"], code, "the code of the close frame that answered")
    check(not wire.broken, f"the connection did not end cleanly: {wire.broken}")
    return data


# ---- peers -------------------------------------------------------------------------------------------------------------

def node(name, folder=""):
    def command():
        where = pathlib.Path(given.npm) / folder
        if not (where / "node_modules" / name).is_dir():
            harness.skip(f"the npm package {name} is missing {SETUP}")
        program = shutil.which(given.node)
        if not program:
            harness.skip(f"there is no {given.node} (tools/setup --tests installs it)")
        return [program, str(PEERS / f"{name}.cjs"), str(where)]
    return command


def python(name, package):
    def command():
        if not importlib.util.find_spec(name):
            harness.skip(f"{package} is missing {SETUP}")
        return [sys.executable, str(PEERS / f"{name}_peer.py")]
    return command


def chromium():
    if not any(map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))):
        harness.skip("there is no Chromium (tools/setup --tests installs it)")
    return [sys.executable, str(PEERS / "chromium_peer.py")]


def compiled(name, header, package, *libraries):
    def command():
        compiler = ["g++", "-std=c++17"]
        there = subprocess.run([*compiler, "-E", "-x", "c++", "-"], input=f"#include <{header}>\n", text=True, capture_output=True)
        if there.returncode:
            harness.skip(f"{package} is missing {SETUP}")
        source = PEERS / f"{name}.cpp"
        return built(name, [source, PEERS / "peer.hpp"], [*compiler, str(source), *libraries])
    return command


def gorilla():
    library = pathlib.Path("/usr/share/gocode/src/github.com/gorilla/websocket")
    if not library.is_dir() or not shutil.which("go"):
        harness.skip(f"golang-go or golang-github-gorilla-websocket-dev is missing {SETUP}")
    os.environ.update(GO111MODULE="off", GOPATH="/usr/share/gocode", GOCACHE=str(given.work.resolve() / "gocache"))
    source = PEERS / "gorilla.go"
    return built("gorilla", [source], ["go", "build"], str(source))


def built(name, sources, command, *more):
    """Compiles a peer unless it is younger than its sources. The other engine's run may want the same: one of them does it."""
    program = given.work.resolve() / name
    with open(program.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not program.exists() or program.stat().st_mtime < max(source.stat().st_mtime for source in sources):
            part = program.with_suffix(".part")
            done = subprocess.run([*command, "-o", str(part), *more], text=True, capture_output=True)
            if done.returncode:
                print(f"not ok - {name} compiles\n{done.stdout}{done.stderr}")
                sys.exit(1)
            part.rename(program)
    return [str(program)]


COMMANDS = {
    "ws": node("ws"),
    "undici": node("undici", "nightly"),
    "websocket": node("websocket", "nightly"),
    "websockets": python("websockets", "python3-websockets"),
    "aiohttp": python("aiohttp", "python3-aiohttp"),
    "tornado": python("tornado", "python3-tornado"),
    "gorilla": gorilla,
    "beast": compiled("beast", "boost/beast/websocket.hpp", "libboost-dev", "-lpthread"),
    "websocketpp": compiled("websocketpp", "websocketpp/server.hpp", "libwebsocketpp-dev", "-lpthread", "-lz"),
    "libwebsockets": compiled("libwebsockets", "libwebsockets.h", "libwebsockets-dev", "-lwebsockets"),
    "chromium": chromium,
}
CLIENTS_ONLY = {"undici", "chromium"}
# What they do otherwise than others; docs/reference/interop.md says more.
NEVER_COMPRESS = {"undici"}             # agrees to it, and sends as it is
ANSWERS_1000 = {"aiohttp", "websocket"} # a close frame is answered with 1000, whatever its code


# What fails, in which way, and why that is the peer's doing.
Known = collections.namedtuple("Known", "scenarios failure why")
TORNADO = "it overlooks parameters without a value, so that it keeps its window where that was ruled out"
KNOWN = {
    "websocket": [Known("serves: compressed", "no compression was agreed on", "it has no permessage-deflate")],
    "tornado": [Known("connects: compressed(?!.*windows kept)", "closed with 1007", TORNADO),
                Known("serves: ", "server chose parameters of an extension that are bad", TORNADO)],
    "websocketpp": [Known("connects: compressed and fragmented", "closed with 1002 'frame has a reserved bit set",
                          "it marks each frame of a compressed message as compressed")],
    "libwebsockets": [Known("serves: compressed or empty, windows kept", "the stream ended without a close frame",
                            "it aborts when it compresses an empty message after another")],
}


# ---- the two sides -----------------------------------------------------------------------------------------------------

class Client:
    """A program in its role `connect`, started when it is needed; it stays for many lines, and is given up where one fails."""

    def __init__(self, command):
        self.command, self.program = command, None

    async def connect(self, relay, words, leave=None):
        """One connection through the relay, and what its wire has seen. `leave` is what makes the server go."""
        if not self.program:
            self.program = await Program.start(self.command[0], *self.command[1:], "connect")
            Program.running.get().discard(self.program)     # it outlives the scenario
        try:
            await self.program.write(f"{relay.url}/echo {' '.join(words)}\n")
            verdict = await self.program.line()
            if leave and verdict == "waiting":
                leave()
                verdict = await self.program.line()
            if (verdict or "").startswith("cannot: "):
                raise Skipped(verdict.removeprefix("cannot: "))
            same(verdict, "ok", "the verdict of the client")
        except (Failure, OSError):
            await self.program.kill()
            self.program = None
            raise
        wire = relay.wires[-1]
        await wait(wire.over.wait(), "the end of the connection")
        return wire

    async def stop(self):
        if self.program:
            self.program.end_input()
            await self.program.exit(0)


@contextlib.asynccontextmanager
async def relayed(command, *options):
    """A server and the relay before it."""
    server = await Program.start(command[0], *command[1:], *options, ready=1)
    relay = await Relay().start(int(server.addresses[0].rpartition(":")[2]))
    yield server, relay
    relay.stop()


class Matrix:
    def __init__(self, suite, command):
        self.suite, self.peer = suite, command
        self.theirs, self.ours = Client(command), Client([str(given.wring.resolve())])
        self.echo_server = [str(Program.examples / "echo_server"), "--bind", "127.0.0.1:0", "--engine", given.engine, "--deflate"]
        self.fragmenting = [str(given.wring.resolve()), "serve"]

    async def run(self, name, scenario, *arguments):
        """As the suite does; where it fails in the way that is known of the peer, that is told and counted as skipped."""
        async def tried():
            try:
                await scenario(*arguments)
            except Failure as failure:
                for known in KNOWN.get(given.peer, []):
                    if re.match(known.scenarios, name) and known.failure in str(failure):
                        raise Skipped(known.why) from None
                raise
        await self.suite.run(name, tried)

    async def all_of_it(self):
        for name, words in SCENARIOS:
            await self.run(f"connects: {name}", self.connects, self.echo_server, words)
        for name, words in COMPRESSED:
            await self.run(f"connects: {name}, windows kept", self.connects, self.echo_server + ["--takeover"], words)
        await self.run("connects: the server leaves", self.connects_and_server_leaves)
        for name, words in SCENARIOS:
            if "fragmented" not in name:
                await self.run(f"connects: {name}, answered in fragments", self.connects, self.fragmenting, words, True)
        await self.run("connects: the server closes", self.connects, self.fragmenting, "t:5 asked")
        if given.peer in CLIENTS_ONLY:
            return
        for name, words in SCENARIOS:
            await self.run(f"serves: {name}", self.serves, words)
        for name, words in COMPRESSED:
            await self.run(f"serves: {name}, windows kept", self.serves, "takeover " + words)
        await self.run("serves: the server closes", self.serves, "t:5 asked")
        await self.run("serves: lines of the example client", self.serves_example)

    async def stop(self):
        await self.theirs.stop()
        await self.ours.stop()

    async def connects(self, server, words, in_fragments=False):
        """The peer as a client of a server of ours."""
        words = words.split()
        async with relayed(server) as (ours, relay):
            data = look(await self.theirs.connect(relay, words), words, "client")
            if in_fragments:
                check(not all(frame.fin for frame in data["server"]), "our server sent nothing in several frames")
            await ours.stop()

    async def connects_and_server_leaves(self):
        words = ["t:5", "left"]
        async with relayed(self.echo_server) as (ours, relay):
            look(await self.theirs.connect(relay, words, ours.interrupt), words, "client")
            await ours.exit(0)
            same(ours.errors, "", "errors of the echo server")

    async def serves(self, words):
        """The peer as a server of a client of ours."""
        words = words.split()
        async with relayed(self.peer, "serve") as (peer, relay):
            look(await self.ours.connect(relay, words), words, "server")
            await peer.kill()

    async def serves_example(self):
        async with relayed(self.peer, "serve") as (peer, relay):
            client = await Program.start("client", relay.url + "/echo", "--engine", given.engine)
            for line in ("hello", "Grüße, 世界 🌍", "", "x" * 100_000):
                await client.write(line + "\n")
                await client.expect(line)
            client.end_input()
            await client.exit(0)
            same(client.errors, "", "errors of the client")
            await wait(relay.wires[-1].over.wait(), "the end of the connection")
            look(relay.wires[-1], ["close"], "server")
            await peer.kill()


async def scenarios(suite):
    matrix = Matrix(suite, command)
    await matrix.all_of_it()
    await suite.run("the clients end", matrix.stop)


if __name__ == "__main__":
    given = harness.arguments(__doc__, peer=dict(choices=sorted(COMMANDS), required=True), engine=dict(default="auto"),
                              wring=dict(type=pathlib.Path, required=True, help="the program made of peers/wring_peer.cpp"),
                              work=dict(type=pathlib.Path, required=True, help="folder that keeps compiled peers"),
                              node=dict(default="node"), npm=dict(default="", help="folder with node_modules and nightly/node_modules"))
    os.environ["WRING_ENGINE"] = given.engine       # for wring_peer
    given.work.mkdir(parents=True, exist_ok=True)
    command = COMMANDS[given.peer]()
    version = subprocess.run([*command, "version"], text=True, capture_output=True, check=True).stdout.strip()
    harness.main(scenarios, f"{version}, {given.engine}")
