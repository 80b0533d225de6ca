# SPDX-License-Identifier: BSL-1.0
"""The servers that are compared, and one of them running."""
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]
BARE = ("bare_epoll", "bare_uring")     # the kernel's floor: echoes of bytes


@dataclass(frozen=True)
class Server:
    name: str
    command: list = field(hash=False)
    broadcast: list = field(default=None, hash=False)   # another command for it; None: the same with --mode broadcast
    parses: bool = True                                 # frames; else it moves bytes
    deflates: bool = False                              # takes --deflate, --takeover, --tls-cert and --tls-key
    extra: tuple = ()

    def command_for(self, load, port):
        """The command line; `{port}` and `{mode}` in it are replaced, and what is not there is given as an option."""
        command = self.broadcast if self.broadcast and load.mode == "broadcast" else self.command
        text = "\0".join(command)
        words = [w.replace("{port}", str(port)).replace("{mode}", load.mode) for w in command]
        if "{port}" not in text:
            words += ["--bind", "127.0.0.1:0"]
        if "{mode}" not in text and load.mode == "broadcast" and not self.broadcast:
            words += ["--mode", "broadcast"]
        return words + list(self.extra) + ([f"--{load.kind}"] if load.compressed else [])

    @property
    def takes_a_port(self):
        return any("{port}" in w for w in self.command)

    def can(self, load):
        return (self.deflates or not load.compressed) and (self.parses or not load.only_frames)


def built_in(build, npm):
    """Those that are there, and (name, what is missing) of the others."""
    bench, echo = build / "tools/bench", [str(build / "examples/echo_server")]
    hub = [str(bench / "wring_broadcast")]
    servers = [Server(name, [str(bench / name)], parses=False) for name in BARE]
    servers += [Server(f"wring_{engine}", [*echo, "--engine", engine], broadcast=[*hub, "--engine", engine], deflates=True)
                for engine in ("uring", "asio")]
    servers += [Server("beast", [str(bench / "beast_echo")], deflates=True),
                Server("websocketpp", [str(bench / "websocketpp_echo")]),
                Server("libwebsockets", [str(bench / "lws_echo")])]
    missing = [(s.name, s.command[0]) for s in servers if not os.access(s.command[0], os.X_OK)]
    servers = [s for s in servers if os.access(s.command[0], os.X_OK)]
    node = shutil.which("node")
    if node and (npm / "node_modules/ws").is_dir():
        servers.append(Server("ws", [node, str(HERE / "ws_echo.mjs"), str(npm)]))
    else:
        missing.append(("ws", "node" if not node else str(npm / "node_modules/ws")))
    return servers, missing


def with_threads(servers, threads):
    """wring's servers once more, with several loops."""
    return [replace(s, name=f"{s.name}_x{threads}", extra=("--threads", str(threads)))
            for s in servers if s.name.startswith("wring_")]


def with_tls(servers, folder):
    """Those that can once more, with TLS and a certificate of their own."""
    key, cert = f"{folder}/server.key", f"{folder}/server.crt"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc", "-days", "2",
                    "-keyout", key, "-out", cert, "-subj", "/CN=bench"], check=True, stdin=subprocess.DEVNULL, capture_output=True)
    return [replace(s, name=s.name + "_tls", extra=(*s.extra, "--tls-cert", cert, "--tls-key", key)) for s in servers if s.deflates]


def pin(cores):
    def apply():
        try:
            os.sched_setaffinity(0, cores)
        except OSError:
            pass  # said once, by the script

    return apply


class Running:
    """A server that can be connected to."""

    ADDRESS = re.compile(rb"listening.*?(?:\b(wss|ws|tcp|http)://)?(\[[0-9a-f:]+\]|[\w.-]+):(\d+)")

    def __init__(self, server, load, cores):
        self.server = server
        self.log = tempfile.TemporaryFile()  # not a pipe, which would fill up and stop it
        self.port = free_port() if server.takes_a_port else None
        self.process = subprocess.Popen(server.command_for(load, self.port), stdin=subprocess.DEVNULL, stdout=self.log,
                                        stderr=subprocess.STDOUT, preexec_fn=pin(cores))
        try:
            self.url = self.wait_until_ready()
        except BaseException:
            self.stop()
            raise

    def output(self):
        return os.pread(self.log.fileno(), 65536, 0)

    def address(self):
        """Where it serves, once it does."""
        plain = "ws" if self.server.parses else "tcp"
        if self.port:
            return f"{plain}://127.0.0.1:{self.port}/" if accepts(self.port) else None
        for line in self.output().split(b"\n")[:-1]:
            if m := self.ADDRESS.search(line):
                return f"{'wss' if m[1] == b'wss' else plain}://{m[2].decode()}:{m[3].decode()}/"
        return None

    def wait_until_ready(self, seconds=10):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            ended = self.process.poll() is not None
            if url := self.address():
                return url
            if ended:
                raise RuntimeError(f"the server ended with {self.process.returncode}; it said: {self.said()}")
            time.sleep(0.02)
        what = f"accept connections on port {self.port}" if self.port else "say `listening on ws://HOST:PORT`"
        raise RuntimeError(f"the server did not {what} within {seconds} s; it said: {self.said()}")

    def said(self):
        return self.output().decode(errors="replace")[-2000:].strip() or "nothing"

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.log.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def accepts(port):
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0
