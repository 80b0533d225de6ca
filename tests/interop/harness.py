# SPDX-License-Identifier: BSL-1.0
"""What the interop tests have in common: running the examples, waiting with a limit, telling how each scenario went.

Nothing here sleeps: every wait is for a line, an event or the end of a program, and says what it waited for if in vain.
"""
import argparse
import asyncio
import contextvars
import os
import pathlib
import re
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import traceback

PATIENCE = float(os.environ.get("WRING_INTEROP_PATIENCE", "40"))    # seconds for any one wait
SKIPPED = 77


class Failure(Exception):
    pass


class Skipped(Exception):
    """A scenario that cannot be run, and why."""


def check(good, what):
    if not good:
        raise Failure(what)


def same(got, wanted, what):
    if got != wanted:
        def short(value):
            text = repr(value)
            return text if len(text) <= 300 else f"{text[:140]} ... {text[-140:]} ({len(value)} long)"
        raise Failure(f"{what}: got {short(got)}, wanted {short(wanted)}")


async def wait(awaitable, what, limit=None):
    """Awaits, for a limited time."""
    limit = limit or PATIENCE
    try:
        return await asyncio.wait_for(awaitable, limit)
    except asyncio.TimeoutError:
        raise Failure(f"waited {limit:g} s in vain for {what}") from None


class Identity:
    """A self-signed certificate and its key, made by the openssl command: who trusts the certificate trusts the server."""

    def __init__(self, folder, name, *names):
        self.cert, self.key = str(pathlib.Path(folder) / f"{name}.crt"), str(pathlib.Path(folder) / f"{name}.key")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc", "-days", "2",
                        "-keyout", self.key, "-out", self.cert, "-subj", f"/CN={name}", "-addext",
                        "subjectAltName=" + ",".join(names or ("DNS:localhost", "IP:127.0.0.1", "IP:::1"))],
                       check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        self.options = ["--tls-cert", self.cert, "--tls-key", self.key]

    def trusting(self):
        """A client's context that trusts it."""
        return ssl.create_default_context(cafile=self.cert)

    def serving(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.cert, self.key)
        return context


class Program:
    """A program under test: its lines of output as they come, its input, its end."""
    examples = None         # the folder; set by main()
    running = contextvars.ContextVar("programs that the scenario has started and not awaited")

    def __init__(self, name, process):
        self.name, self.process = name, process
        self.errors = ""
        self.log = []
        self._error_lines_told = 0
        self._more_errors = asyncio.Event()
        self._lines = asyncio.Queue()
        self._readers = [asyncio.ensure_future(self._read_lines()), asyncio.ensure_future(self._read_errors())]
        Program.running.get().add(self)

    @classmethod
    async def start(cls, name, *arguments, ready=None, env=None):
        """Starts an example; with `ready` waits for that many `listening on` lines and keeps their addresses. `env` is added to
        the environment."""
        process = await asyncio.create_subprocess_exec(
            str(cls.examples / name), *arguments, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE, limit=8 << 20, env={**os.environ, **(env or {})})
        self = cls(name, process)
        self.addresses = []
        for _ in range(ready or 0):
            line = await self.line()
            match = re.fullmatch(r"listening on (\S+)", line or "")
            check(match, f"{name} said {line!r} and not where it listens (its errors: {self.errors!r})")
            self.addresses.append(match.group(1))
        return self

    async def _read_lines(self):
        while True:
            line = await self.process.stdout.readline()
            if not line:
                break
            self.log.append(line)
            self._lines.put_nowait(line)
        self._lines.put_nowait(None)

    async def _read_errors(self):
        while True:
            chunk = await self.process.stderr.read(65536)
            if not chunk:
                break
            self.errors += chunk.decode(errors="replace")
            self._more_errors.set()

    @property
    def url(self):
        """Where it serves, to be followed by a path: ws://HOST:PORT or ws+unix:SOCKET: (with the colon)."""
        where = self.addresses[0]
        return f"ws+{where}:" if where.startswith("unix:") else where

    async def line(self):
        """The next line of its output, without the line feed; None at the end."""
        line = await wait(self._lines.get(), f"a line of {self.name} (its errors: {self.errors!r})")
        if line is None:
            self._lines.put_nowait(None)
            return None
        return line.removesuffix(b"\n").decode(errors="surrogateescape")

    async def error_line(self):
        """The next whole line of its standard error."""
        while self.errors.count("\n") <= self._error_lines_told:
            self._more_errors.clear()
            await wait(self._more_errors.wait(), f"a line of errors of {self.name}")
        self._error_lines_told += 1
        return self.errors.split("\n")[self._error_lines_told - 1]

    async def expect(self, *lines):
        for wanted in lines:
            same(await self.line(), wanted, f"a line of {self.name} (its errors: {self.errors!r})")

    async def complains(self, text, times=1):
        """Waits until its errors have this text so often."""
        while self.errors.count(text) < times:
            self._more_errors.clear()
            await wait(self._more_errors.wait(), f"{text!r} among the errors of {self.name}: {self.errors!r}")

    async def write(self, text):
        self.process.stdin.write(text.encode(errors="surrogateescape"))
        await wait(self.process.stdin.drain(), f"{self.name} to take its input")

    def end_input(self):
        self.process.stdin.close()

    def interrupt(self):
        self.process.send_signal(signal.SIGINT)

    async def exit(self, status=None):
        """Waits for the end; checks the exit status if one is given. Returns it."""
        await wait(self.process.wait(), f"the end of {self.name} (its errors: {self.errors!r})")
        await wait(asyncio.gather(*self._readers), f"the end of the output of {self.name}")
        Program.running.get().discard(self)
        if status is not None:
            same(self.process.returncode, status, f"exit status of {self.name} (its errors: {self.errors!r})")
        return self.process.returncode

    async def stop(self):
        """Ctrl-C, then a clean end."""
        self.interrupt()
        await self.exit(0)
        same(self.errors, "", f"errors of {self.name}")

    async def kill(self):
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()
        await asyncio.gather(*self._readers, return_exceptions=True)
        Program.running.get().discard(self)


async def call(name, *arguments, text="", env=None):
    """Runs an example to its end with this input. Returns status, output, errors."""
    program = await Program.start(name, *arguments, env=env)
    try:
        await program.write(text)
        program.end_input()
    except (BrokenPipeError, ConnectionResetError):
        pass
    status = await program.exit()
    return status, b"".join(program.log).decode(errors="surrogateescape"), program.errors


class Suite:
    """Runs scenarios in turn and prints a line for each."""

    def __init__(self, scratch, title):
        self.scratch, self.title = pathlib.Path(scratch), title
        self.failed = 0
        self._paths = 0

    def identity(self, name="server", *names):
        """A certificate for what is served on this machine, or for these subjectAltNames."""
        return Identity(self.scratch, name, *names)

    def path(self):
        """A new path for a Unix socket."""
        self._paths += 1
        return str(self.scratch / f"{self._paths}.sock")

    async def run(self, name, scenario, *arguments):
        name = f"{name}, {self.title}"
        running = set()
        Program.running.set(running)
        problem = skipped = None
        try:
            await wait(scenario(*arguments), "the whole scenario", 3 * PATIENCE)
        except Skipped as why:
            skipped = why
        except Failure as failure:
            problem = str(failure)
        except Exception:       # noqa: BLE001 - the next scenarios shall run
            problem = traceback.format_exc(limit=-4)
        for program in set(running):
            if problem:
                problem += f"\n{program.name} (left running) said: {program.log!r} {program.errors!r}"
            await program.kill()
        self.tell(f"{name} # skip {skipped}" if skipped and not problem else name, problem)

    def tell(self, name, problem):
        if problem is None:
            print(f"ok - {name}", flush=True)
        else:
            self.failed += 1
            print(f"not ok - {name}\n  " + problem.strip().replace("\n", "\n  "), flush=True)


def arguments(description, **options):
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--examples", type=pathlib.Path, required=True, help="folder with the built examples")
    for name, details in options.items():
        parser.add_argument("--" + name, **details)
    given = parser.parse_args()
    Program.examples = given.examples.resolve()
    return given


def main(scenarios, title):
    """Runs `scenarios(suite)` and ends the program with the status that says how it went."""
    async def all_of_them():
        scratch = tempfile.mkdtemp(prefix="wring-")
        suite = Suite(scratch, title)
        try:
            await scenarios(suite)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        return suite.failed
    sys.exit(1 if asyncio.run(all_of_them()) else 0)


def skip(why):
    print(f"skipped: {why}")
    sys.exit(SKIPPED)
