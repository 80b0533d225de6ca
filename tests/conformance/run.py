#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0
"""Runs the conformance cases against the examples: the echo server as it is driven by a client that breaks rules, and
the client as it is driven by a server that does, in one run of `client --autobahn`. A line "ok - ..." or "not ok - ..."
for each case; what this build lacks is told as "# skip not in this build"."""
import argparse
import asyncio
import os
import pathlib
import random
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "interop"))
import cases as suite                                                                           # noqa: E402
import payloads                                                                                 # noqa: E402
from certificates import Certificates                                                           # noqa: E402
from harness import SKIPPED, Failure, Program                                                   # noqa: E402
from wire import CONTINUATION, Broken, Peer, check_answer                                       # noqa: E402

PATIENCE = float(os.environ.get("WRING_CONFORMANCE_PATIENCE", "30"))    # seconds for a case
MOST_MESSAGE = 16 << 20
MOST_FRAGMENTS = 262_144        # what the client takes as well (examples/autobahn.hpp)
QUICK_BYTES = 128 << 10         # of a case's many messages, without --full
MOST_CUT = 4096         # bytes that --cut cuts: what is larger is sent as the case says
BUFFER = 1 << 20


class Play:
    """One case on one connection."""

    def __init__(self, case, peer, given):
        self.case, self.peer, self.given = case, peer, given
        self.chop, self.together = 0, []
        self.cuts = random.Random(f"{given.cut} {case.number}")
        self.outgoing = asyncio.Queue()

    async def run(self):
        sender = asyncio.ensure_future(self._sender())
        try:
            for word, rest in self.case.steps:
                await getattr(self, "_" + word)(rest)
        finally:
            sender.cancel()
            await asyncio.gather(sender, return_exceptions=True)

    # What is sent between two expectations goes out together, or chopped, while the answers are being read.

    async def _sender(self):
        while True:
            data, chop = await self.outgoing.get()
            try:
                await self.peer.send(data, chop)
            except ConnectionError:
                return          # the other side has closed

    def _put(self, data):
        if self.chop == 0:
            self.together.append(data)
        else:
            self._leave(data, 0 if self.chop == "frames" else self.chop)

    def _flush(self):
        if self.together:
            self._leave(b"".join(self.together), 0)
            self.together = []

    def _leave(self, data, chop):
        if self.given.cut is None or len(data) > MOST_CUT:
            self.outgoing.put_nowait((data, chop))
        elif self.given.cut == "bytes":
            self.outgoing.put_nowait((data, 1))
        else:
            while data:
                size = self.cuts.choice([1, 2, 3, 7, 50, 500])
                self.outgoing.put_nowait((data[:size], 1 << 20))     # a send of its own
                data = data[size:]

    async def _event(self, what):
        self._flush()
        while True:
            event = await self.peer.receive()
            if event[0] != "ping":          # a keep-alive ping
                return event

    async def _expect_event(self, wanted):
        event = await self._event(wanted)
        if event[:len(wanted)] != wanted:
            raise Broken(f"expected {shown(wanted)}, got {shown(event)}")

    # ---- the directives ---------------------------------------------------------------------------------------------

    async def _chop(self, rest):
        self._flush()
        self.chop = rest if rest == "frames" else int(rest)

    async def _send(self, rest):
        kind, _, words = rest.partition(" ")
        data = suite.close_payload(words) if kind == "close" else payloads.payload(words)
        self._put(self.peer.frame(suite.OPCODES[kind], data))

    async def _frame(self, rest):
        first, _, words = rest.partition(" ")
        self._put(self.peer.frame(int(first, 16), payloads.payload(words)))

    async def _fragments(self, rest):
        size, kind, words = rest.split(" ", 2)
        self._put(self.peer.fragments(suite.OPCODES[kind], payloads.payload(words), int(size)))

    async def _empties(self, rest):
        count, kind = rest.split()
        first, other = self.peer.frame(suite.OPCODES[kind] & 0x7F), self.peer.frame(CONTINUATION)
        self._put(first + other * (int(count) - 1))

    async def _begin(self, rest):
        kind, size, *words = rest.split(" ", 2)
        first = 0x80 if kind == "continuation" else suite.OPCODES[kind]
        self._put(self.peer.begin(first, int(size)) + payloads.payload("".join(words)))

    async def _more(self, rest):
        self._put(payloads.payload(rest))

    async def _header(self, rest):
        first, length, digits = rest.split()
        bit = 0x80 if self.peer.client else 0
        self._put(bytes([int(first, 16), bit | int(length, 16)]) + bytes.fromhex(digits) + bytes(4 if bit else 0))

    async def _raw(self, rest):
        self._put(payloads.payload(rest))

    async def _expect(self, rest):
        kind, _, words = rest.partition(" ")
        if kind == "close":
            await self._expect_event(("close", None if words == "none" else int(words)))
        else:
            await self._expect_event((kind, payloads.payload(words)))

    async def _echo(self, rest):
        count, name, size, how, *fragments = rest.split()
        count, size, fragment = int(count), int(size), int(fragments[0]) if fragments else 0
        if not self.given.full and self.case.needs:
            count = max(4, min(count, QUICK_BYTES // size))
        for number in range(count):
            message, text = payloads.slice_of(name, size, number)
            first = 0x81 if text else 0x82
            data = message
            if self.peer.deflate:
                data, first = self.peer.deflate.pack(message), first | 0x40
            self._put(self.peer.fragments(first, data, fragment) if fragment else self.peer.frame(first, data))
            if how == "alone":
                await self._expect_event(("text" if text else "binary", message))
            else:
                self._flush()
        if how != "alone":
            for number in range(count):
                message, text = payloads.slice_of(name, size, number)
                await self._expect_event(("text" if text else "binary", message))

    async def _finish(self, rest):
        """Both close frames are exchanged: the server ends the stream first (RFC 6455 section 7.1.1)."""
        if not self.peer.client:
            self.peer.end()
        await self._expect_event(("end",))

    async def _close(self, rest):
        await self._send("close 1000")
        await self._expect("close 1000")
        await self._finish("")

    async def _fail(self, rest):
        """The connection is failed: a close frame with this code, and the end of the stream; nothing else before."""
        await self._expect_event(("close", int(rest)))
        await self._expect_event(("end",))


def shown(event):
    text = " ".join(repr(part) for part in event)
    return text if len(text) < 160 else f"{text[:100]} ... {text[-40:]}"


class Report:
    def __init__(self, given):
        self.title = given.role + (f" over {given.over}" if given.over != "plain" else "")
        if given.cut is not None:
            self.title += " byte by byte" if given.cut == "bytes" else f" cut by {given.cut}"
        self.failed = 0

    def tell(self, case, problem, took=0.0):
        if problem is None:
            print(f"ok - {self.title} {case.name}" + (f" # {took:.1f} s" if took > 1 else ""), flush=True)
        else:
            self.failed += 1
            print(f"not ok - {self.title} {case.name}\n  {case.where}: {problem}", flush=True)

    def skip(self, case, lacking):
        print(f"ok - {self.title} {case.name} # skip not in this build: {', '.join(sorted(lacking))}", flush=True)


async def judged(playing):
    """How a case ended: None, or what was wrong."""
    try:
        await asyncio.wait_for(playing, PATIENCE)
    except asyncio.TimeoutError:
        return f"nothing more within {PATIENCE:g} s"
    except (Broken, Failure, ValueError, ConnectionError, asyncio.IncompleteReadError) as error:
        return f"{type(error).__name__}: {error}"
    return None


# ---- our server, driven by a client ----------------------------------------------------------------------------------

async def drive_server(chosen, report, given):
    options = ["--bind", "127.0.0.1:0", "--engine", given.engine, "--max-message", str(MOST_MESSAGE),
               "--max-fragments", str(MOST_FRAGMENTS)]
    if "deflate" in given.have:
        options.append("--takeover")        # a client may ask for less
    if given.tls:
        options += given.tls.server_options
    server = await Program.start("echo_server", *options, ready=1)
    where = server.url.split("//")[1]
    host, _, port = where.rpartition(":")

    async def play(case):
        security = given.tls and given.tls.client
        reader, writer = await asyncio.open_connection(host, int(port), limit=BUFFER, ssl=security)
        try:
            peer = Peer(reader, writer, client=True)
            agreed = await peer.request(where, "/", case.offer)
            if case.offer:
                check_answer(case.offer, case.agree, agreed)
            await Play(case, peer, given).run()
        finally:
            writer.transport.abort()

    for case in chosen:
        started = time.monotonic()
        report.tell(case, await judged(play(case)), time.monotonic() - started)
        if server.process.returncode is not None:
            raise Failure(f"the server ended with {server.process.returncode}: {server.errors}")
    await server.stop()


# ---- our client, driven by a fuzzing server --------------------------------------------------------------------------

async def drive_client(chosen, report, given):
    done = asyncio.get_running_loop().create_future()
    told = set()

    async def serve(reader, writer):
        peer = Peer(reader, writer, client=False)
        try:
            target = await peer.read_request()
            if target == "/getCaseCount":
                peer.accept()
                await peer.send(peer.frame(suite.OPCODES["text"], str(len(chosen)).encode()))
                await peer.send(peer.frame(suite.OPCODES["close"], b"\x03\xe8"))
                if (await peer.receive())[0] == "close":
                    peer.end()
            elif target == "/updateReports?agent=wring":
                peer.accept()
                await peer.send(peer.frame(suite.OPCODES["close"], b"\x03\xe8"))
                if (await peer.receive())[0] == "close":
                    peer.end()
            else:
                number = int(target.removeprefix("/runCase?case=").removesuffix("&agent=wring"))
                case = chosen[number - 1]
                started = time.monotonic()
                problem = await judged(play(case, peer))
                told.add(number)
                report.tell(case, problem, time.monotonic() - started)
        except Exception as error:      # noqa: BLE001 - else the client waits in vain
            if not done.done():
                done.set_exception(error)
        finally:
            writer.transport.abort()

    async def play(case, peer):
        if case.offer is None:
            peer.accept()
        else:
            peer.accept(check_answer(peer.fields.get("sec-websocket-extensions", ""), case.agree, case.agree or {}))
        await Play(case, peer, given).run()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=BUFFER, ssl=given.tls and given.tls.server)
    scheme = "wss://localhost" if given.tls else "ws://127.0.0.1"
    url = f"{scheme}:{server.sockets[0].getsockname()[1]}"
    options = given.tls.client_options if given.tls else []
    client = await Program.start("client", "--autobahn", url, "--engine", given.engine, *options)
    ended = asyncio.ensure_future(client.process.wait())
    await asyncio.wait({ended, done}, return_when=asyncio.FIRST_COMPLETED,
                       timeout=PATIENCE * max(10, len(chosen) / 20))
    server.close()
    for number, case in enumerate(chosen, 1):
        if number not in told:
            how = f"{client.process.returncode}: {client.errors[-300:]!r}"
            report.tell(case, f"was not run; the client ended with {how}")
    if not done.done() and not ended.done():
        raise Failure(f"the client did not end; it said {client.log[-1:]!r}")
    if done.done():
        done.result()
    await client.exit(0)


# ---- what there is ---------------------------------------------------------------------------------------------------

async def abilities():
    """What this build's examples can do beyond plain WebSocket."""
    have = {"plain"}
    program = await Program.start("echo_server", "--help")
    await program.exit(0)
    text = b"".join(program.log).decode()
    options = {"--deflate": "deflate", "--tls-cert": "tls"}
    return have | {ability for option, ability in options.items() if option in text}


async def run(given):
    Program.running.set(set())
    given.have = await abilities()
    given.tls = None
    report = Report(given)
    matching = [case for case in suite.read_all()
                if given.role in case.roles and any(case.number.startswith(one) for one in given.only.split(","))]
    if given.over == "tls":
        if "tls" not in given.have:
            print("skipped: TLS is not in this build")
            return SKIPPED
        given.tls = Certificates(given.scratch)
    runnable = [case for case in matching if case.needs <= given.have]
    for case in matching:
        if case not in runnable:
            report.skip(case, case.needs - given.have)
    try:
        await {"server": drive_server, "client": drive_client}[given.role](runnable, report, given)
    except Failure as failure:
        report.failed += 1
        print(f"not ok - {report.title}: {failure}")
    finally:
        for program in set(Program.running.get()):
            await program.kill()
    return 1 if report.failed else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=pathlib.Path, required=True, help="folder with the built examples")
    parser.add_argument("--role", choices=["server", "client"], default="server", help="which of ours is under test")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--over", choices=["plain", "tls"], default="plain")
    parser.add_argument("--cut", metavar="bytes|SEED",
                        help="send what is not large byte by byte, or in pieces of any size")
    parser.add_argument("--only", metavar="NUMBER,...", default="",
                        help="cases whose numbers begin so: 6.4, or 9.1.,10.")
    parser.add_argument("--full", action="store_true", help="1,000 messages a case of sections 12 and 13")
    given = parser.parse_args()
    Program.examples = given.examples.resolve()
    with tempfile.TemporaryDirectory(prefix="wring-") as given.scratch:
        sys.exit(asyncio.run(run(given)))


if __name__ == "__main__":
    main()
