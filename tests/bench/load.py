#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0
"""The load generator against the examples and a bare server: every mode for a moment. What it reports must have the form
that the scripts rely on; how large the figures are says nothing."""
import json
import pathlib
import runpy
import shutil
import socket
import sys

BENCH = pathlib.Path(__file__).resolve().parents[2] / "tools/bench"
sys.path[:0] = [str(BENCH.parents[1] / "tests/interop"), str(BENCH)]
import harness                                                                                  # noqa: E402
from harness import Program, call, check, same                                                  # noqa: E402

PERCENTILES = ["p50", "p90", "p99", "p99.9", "p99.99", "max"]
SECONDS = ["0.1", "1", "10"]        # a machine that stands still for as long gets another chance
STOOD_STILL = "no message arrived in the measured time"


class Scenarios:
    def __init__(self, suite, given):
        self.suite, self.engine, self.bench, self.npm = suite, given.engine, given.bench.resolve(), given.npm

    async def load(self, *arguments, status=0):
        """Runs the generator; gives its results, or what it complained about."""
        for seconds in SECONDS:
            got, output, errors = await call(str(self.bench / "load"), "--seconds", seconds, "--warmup", "0.05", "--quiet", "--json", "-",
                                             "--engine", self.engine, *arguments)
            if STOOD_STILL not in errors:
                break
        same(got, status, f"exit status of load {' '.join(arguments)} ({errors!r})")
        if status:
            return errors
        same(errors, "", "errors of load")
        return json.loads(output.splitlines()[-1])

    async def server(self, name, *arguments):
        own = [] if name.startswith("bare") else ["--engine", self.engine]
        where = self.bench / name if name.startswith("bare") else Program.examples / name
        return await Program.start(str(where), "--bind", "127.0.0.1:0", *own, *arguments, ready=1)

    async def run(self, server, *arguments, **wanted):
        """A run against a server, and what its results must say."""
        r = await self.load("--url", server.addresses[0], "--server-pid", str(server.process.pid), *arguments)
        for key, value in wanted.items():
            same(r[key], value, key)
        same(r["errors"], 0, "errors")
        check(r["server_cpu_ns"] >= 0 and r["generator_share"] > 0 and r["seconds"] >= 0.1, f"no figures: {r}")
        if r["mode"] != "idle":
            check(r["messages"] > 0 and r["messages_per_second"] > 0, f"no messages: {r}")
            self.check_latency(r)
        return r

    def check_latency(self, r):
        values = [r["latency_us"][p] for p in PERCENTILES]
        same(values, sorted(values), "percentiles rise")
        curve = r["latency_curve_us"]
        same([curve[0][0], curve[-1][0]], [0, 1], "the curve's ends")
        same(curve, sorted(curve), "the curve rises")
        same(curve[-1][1], r["latency_us"]["max"], "the curve's highest")

    async def echo(self):
        server = await self.server("echo_server")
        await self.run(server, mode="echo", raw=False, connections=64, in_flight=1, size=64, text=False, deflate="none")
        await self.run(server, "--connections", "3", "--in-flight", "70", "--size", "0", in_flight=70, size=0)
        await self.run(server, "--connections", "8", "--size", "200", "--text", text=True)
        await self.run(server, "--connections", "2", "--size", "300000", size=300000)
        sizes = BENCH / "sizes/chat.txt"
        r = await self.run(server, "--sizes", str(sizes), "--in-flight", "3", sizes=str(sizes))
        check(330 < r["size"] < 350, f"a mean size of {r['size']}")
        await server.stop()

    async def open_loop(self):
        server = await self.server("echo_server")
        r = await self.run(server, "--rate", "2000", "--connections", "10", rate=2000)
        same(sorted(r["sent_late_us"]), sorted(["mean", *PERCENTILES]), "how late it was itself")
        await self.run(server, "--rate", "500", "--connections", "7", "--sizes", str(BENCH / "sizes/market.txt"))
        await server.stop()

    async def raw(self):
        server = await self.server("bare_epoll")
        await self.run(server, raw=True, mode="echo")
        await self.run(server, "--in-flight", "100", "--connections", "5", "--size", "1000")
        await self.run(server, "--connections", "2", "--size", "1048576")
        await self.run(server, "--rate", "1000", rate=1000)
        await self.run(server, "--mode", "idle", "--connections", "5", "--touch", mode="idle")
        await server.kill()

    async def compressed(self):
        for how, option in (("fresh", "--deflate"), ("takeover", "--takeover")):
            server = await self.server("echo_server", option)
            await self.run(server, "--deflate", how, "--size", "1000", "--text", deflate=how)
            await self.run(server, "--deflate", how, "--connections", "5", "--in-flight", "3", "--rate", "1000")
            await server.stop()
        server = await self.server("echo_server", "--deflate")
        errors = await self.load("--url", server.addresses[0], "--deflate", "takeover", status=1)
        same(errors, "load: the server does not keep its window: this would measure --deflate fresh\n", "what it says")
        await server.stop()
        server = await self.server("echo_server")
        errors = await self.load("--url", server.addresses[0], "--deflate", "fresh", status=1)
        check("the server declines permessage-deflate" in errors, f"it says {errors!r}")
        await server.stop()

    async def tls(self):
        server = await self.server("echo_server", "--takeover", *self.suite.identity().options)
        await self.run(server, "--size", "2000", tls=True)
        await self.run(server, "--deflate", "takeover", "--connections", "5")
        await self.run(server, "--mode", "handshake", "--connections", "2", mode="handshake")
        await self.run(server, "--mode", "churn", "--connections", "2", mode="churn")
        await server.stop()

    async def comes_and_goes(self):
        server = await self.server("echo_server")
        await self.run(server, "--mode", "churn", "--connections", "20", mode="churn")
        await self.run(server, "--mode", "handshake", "--connections", "20", mode="handshake")
        await server.stop()

    async def idle(self):
        server = await self.server("echo_server")
        for more in ([], ["--touch"]):
            r = await self.run(server, "--mode", "idle", "--connections", "40", *more, mode="idle", connections=40)
            check("dirty_bytes_per_connection" in r and "rss_bytes_per_connection" in r, f"no memory: {r}")
        await server.stop()

    async def broadcast(self):
        """The hub greets each newcomer, and puts a name in front of a text."""
        hub = await self.server("broadcast_hub")
        for more in ([], ["--in-flight", "4", "--size", "20"], ["--text"], ["--senders", "all"], ["--rate", "200"],
                     ["--senders", "3", "--in-flight", "2", "--text"], ["--senders", "all", "--rate", "100"],
                     ["--sizes", str(BENCH / "sizes/chat.txt"), "--senders", "2"]):
            await self.run(hub, "--mode", "broadcast", "--connections", "10", *more, mode="broadcast")
        await hub.stop()
        bare = await self.server("bare_epoll", "--mode", "broadcast")
        for senders in ("1", "all"):
            await self.run(bare, "--mode", "broadcast", "--connections", "6", "--senders", senders, raw=True)
        await bare.kill()
        echo = await self.server("echo_server")
        errors = await self.load("--url", echo.addresses[0], "--mode", "broadcast", "--connections", "9", status=1)
        same(errors, "load: a broadcast reached only 1 of 9 members: is this a broadcasting server?\n", "what it says")
        await echo.stop()

    async def peers(self):
        """Every server of the bench that was built echoes and broadcasts, and ends on SIGTERM."""
        commands = [[str(self.bench / name)] for name in ("bare_epoll", "bare_uring", "wring_broadcast", "beast_echo", "websocketpp_echo",
                                                          "lws_echo") if (self.bench / name).is_file()]
        if shutil.which("node") and (self.npm / "node_modules/ws").is_dir():
            commands.append([shutil.which("node"), str(BENCH / "ws_echo.mjs"), str(self.npm)])
        for command in commands:
            for mode in ("echo", "broadcast"):
                own = "wring" in command[0]
                if own and mode == "echo":
                    continue
                server = await Program.start(*command, "--bind", "127.0.0.1:0", *([] if own else ["--mode", mode]), ready=1)
                await self.run(server, "--mode", mode, "--connections", "5", "--in-flight", "3", "--size", "300", mode=mode)
                if mode == "echo" and not server.addresses[0].startswith("tcp"):
                    await self.run(server, "--text", "--size", "70000", "--connections", "2")
                    await self.run(server, "--mode", "churn", "--connections", "3")
                server.process.terminate()
                await server.exit(0)

    async def ablation(self):
        """Whichever feature is left out, what is sent arrives."""
        for feature in ["", *runpy.run_path(str(BENCH / "ablate"))["FEATURES"]]:
            server = await Program.start(str(given.ablated.resolve()), "--bind", "127.0.0.1:0", "--engine", "uring", env={"WRING_WITHOUT": feature},
                                         ready=1)
            await self.run(server, "--mode", "broadcast", "--connections", "10", "--in-flight", "4")
            await self.run(server, "--mode", "broadcast", "--connections", "2", "--size", "800000", "--text")
            await self.run(server, "--mode", "churn", "--connections", "3")
            await server.stop()

    async def shown(self):
        """Without --quiet and --json: lines of progress, then the table."""
        server = await self.server("echo_server")
        status, output, errors = await call(str(self.bench / "load"), "--url", server.addresses[0], "--seconds", "2.5", "--warmup", "0")
        same(status, 0, "exit status")
        check("messages/s, 0 errors\n" in errors, f"no progress: {errors!r}")
        for part in ("messages/s", "p50", "p99.99", "errors"):
            check(part in output, f"no {part} in {output!r}")
        await server.stop()

    async def complaints(self):
        server = await self.server("echo_server", "--max-message", "100")
        errors = await self.load("--url", server.addresses[0], "--connections", "1", "--size", "101", status=1)
        check("the server closes with code 1009" in errors and "every connection has ended" in errors, f"it says {errors!r}")
        await server.stop()
        with socket.socket() as taken:          # nobody listens there, nor can anybody
            taken.bind(("127.0.0.1", 0))
            where = "127.0.0.1:%d" % taken.getsockname()[1]
            errors = await self.load("--url", f"ws://{where}/", status=1)
        same(errors, f"load: gave up after 0 connections: cannot connect to {where}: Connection refused\n", "what it says")
        check("--size: 'x' is not" in await self.load("--size", "x", status=2), "a bad number")
        check("unknown option --nothing" in await self.load("--nothing", status=2), "an unknown option")
        check("cannot read nowhere.txt" in await self.load("--sizes", "nowhere.txt", status=1), "a file that is not there")
        status, output, _ = await call(str(self.bench / "load"), "--help")
        check(status == 0 and "--rate N" in output, "--help")


async def scenarios(suite):
    here = Scenarios(suite, given)
    for name, scenario in (("echo", here.echo), ("a constant rate", here.open_loop), ("plain TCP", here.raw),
                           ("compressed messages", here.compressed), ("TLS", here.tls), ("connections come and go", here.comes_and_goes),
                           ("idle connections", here.idle), ("broadcast", here.broadcast), ("the servers of the bench", here.peers),
                           ("progress and the table", here.shown), ("what goes wrong is told", here.complaints)):
        await suite.run(f"load: {name}", scenario)
    if given.engine == "uring":         # whose features they are
        await suite.run("load: wring without each of its features", here.ablation)


if __name__ == "__main__":
    given = harness.arguments(__doc__, engine=dict(default="auto"), bench=dict(type=pathlib.Path, required=True),
                              ablated=dict(type=pathlib.Path, required=True),
                              npm=dict(type=pathlib.Path, default="", help="folder with node_modules/ws"))
    harness.main(scenarios, given.engine)
