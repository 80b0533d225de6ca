#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0
"""Sends the same mutated sessions to our echo server, to one of the npm package ws and to one on Beast. Ours must answer
as the reference says (sessions.py), and the others alike but for the deviations listed there. A line "ok - ..." or
"not ok - ..." for each server; see README.md."""
import argparse
import asyncio
import collections
import pathlib
import shutil
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "interop"))
from sessions import MOST_MESSAGE, QUIRKS, Session, Verdict, judge                              # noqa: E402
from harness import SKIPPED, Failure, Program                                                   # noqa: E402
from wire import CLOSE, CONTINUATION, PING, PONG, Broken, Peer                                  # noqa: E402

HERE = pathlib.Path(__file__).resolve().parent
AT_ONCE = 16
PATIENCE = 20           # seconds for the end of a stream
SHOWN = 10              # failures per server
WS = frozenset({"any length form", "length sign", "text judged late"})
BEAST = frozenset({"reset", "length sign", "open end", "no code becomes 1000", "reason is 1002", "no 1014", "any high code"})


def read_answer(data):
    """What a server sent, to the end of its stream."""
    messages, pong, message, at = [], b"", None, 0
    while at < len(data):
        first, length = data[at], data[at + 1]
        at += 2
        if length > 125:
            digits = 2 if length == 126 else 8
            length = int.from_bytes(data[at:at + digits], "big")
            at += digits
        payload = data[at:at + length]
        at += length
        if at > len(data):
            raise Broken("the stream ends inside a frame")
        opcode = first & 15
        if opcode == CLOSE:
            if at < len(data):
                raise Broken(f"{data[at:at + 20]!r} comes behind the close frame")
            return Verdict(tuple(messages), pong, int.from_bytes(payload[:2], "big") if payload else 1005)
        if opcode == PONG:
            pong = payload
        elif opcode != PING:
            message = (opcode, [payload]) if opcode != CONTINUATION else (message[0], message[1] + [payload])
            if first >= 0x80:
                messages.append((message[0], b"".join(message[1])))
    return Verdict(tuple(messages), pong, None)


async def talk(where, data, pause):
    """Opens a connection, sends `data`, ends the stream after `pause` seconds if the server has not, reads all."""
    host, _, port = where.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=1 << 20)
    reading = None
    try:
        peer = Peer(reader, writer, client=True)
        await peer.request(where, "/")
        answer = bytearray()

        async def read():
            while part := await reader.read(1 << 18):
                answer.extend(part)

        reading = asyncio.ensure_future(read())
        writer.write(data)
        done, _ = await asyncio.wait({reading}, timeout=pause)
        if not done:
            peer.end()
        await asyncio.wait_for(reading, PATIENCE)
        return read_answer(bytes(answer))
    except ConnectionResetError:
        return "reset"
    finally:
        if reading:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
        writer.transport.abort()


class Server:
    def __init__(self, name, program, quirks):
        self.name, self.where, self.quirks = name, program.url.split("//")[1], quirks
        self.same, self.failed, self.deviations = 0, 0, collections.Counter()

    async def play(self, session, number):
        wanted = judge(session.data, self.quirks)
        strict = judge(session.data)
        for pause in (0.05, 0.5, 2):        # a busy machine may take longer than the first of them
            try:
                got = await talk(self.where, session.data, pause)
            except (Broken, OSError, asyncio.TimeoutError) as error:
                got = f"{type(error).__name__} {error}"
            if got == wanted:
                break
        if got == "reset" and "reset" in self.quirks:
            self.deviations["reset"] += 1
        elif got != wanted:
            self.failed += 1
            if self.failed <= SHOWN:
                print(f"  {self.name}, session {number} ({', '.join(session.done)}): {got}\n    and not {wanted}")
        elif wanted == strict:
            self.same += 1
        else:
            for quirk in self.quirks:
                if judge(session.data, self.quirks - {quirk}) != wanted:
                    self.deviations[quirk] += 1

    def tell(self, count):
        deviating = count - self.same - self.failed
        print(f"{'not ok' if self.failed else 'ok'} - differential {self.name}: of {count} sessions {self.same} as the "
              f"RFC says, {deviating} with listed deviations, {self.failed} otherwise", flush=True)
        for quirk, times in self.deviations.most_common():
            print(f"  {times} times {quirk} ({QUIRKS[quirk]})")


async def run(given):
    Program.running.set(set())
    try:
        ours = await Program.start("echo_server", "--bind", "127.0.0.1:0", "--engine", given.engine, "--max-message",
                                   str(MOST_MESSAGE), ready=1)
        servers = [Server(f"wring ({given.engine})", ours, frozenset())]
        node = shutil.which("node")
        if node and (given.npm / "node_modules" / "ws").is_dir():
            program = await Program.start(node, str(HERE / "ws_echo.cjs"), str(given.npm), ready=1)
            servers.append(Server("ws", program, WS))
        if given.beast and given.beast.is_file():
            program = await Program.start(str(given.beast.resolve()), "--bind", "127.0.0.1:0", ready=1)
            servers.append(Server("Beast", program, BEAST))
        if len(servers) == 1:
            print("skipped: neither the npm package ws nor Beast is here")
            return SKIPPED
        numbers = iter(range(given.first, given.first + given.count))

        async def work():
            for number in numbers:
                session = Session(given.seed, number)
                for server in servers:
                    await server.play(session, number)

        await asyncio.gather(*[work() for _ in range(AT_ONCE)])
        for server in servers:
            server.tell(given.count)
        return 1 if any(server.failed for server in servers) else 0
    except Failure as failure:
        print(f"not ok - differential: {failure}")
        return 1
    finally:
        for program in set(Program.running.get()):
            await program.kill()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=pathlib.Path, required=True, help="folder with the built examples")
    parser.add_argument("--npm", type=pathlib.Path, required=True, help="folder with node_modules/ws")
    parser.add_argument("--beast", type=pathlib.Path, help="the program beast_echo of tools/bench")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--count", type=int, default=20_000, help="sessions (default 20000)")
    parser.add_argument("--first", type=int, default=0, metavar="NUMBER", help="of the first one (default 0)")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    Program.examples = given.examples.resolve()
    sys.exit(asyncio.run(run(given)))


if __name__ == "__main__":
    main()
