#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0
"""The client example through other people's proxies: tinyproxy, squid, dante and microsocks, each with and without a password."""
import asyncio
import getpass
import os
import pathlib
import shutil
import socket

import harness
from harness import Program, call, check, same

# Daemons may live where users do not look.
PATH = os.environ.get("PATH", "") + os.pathsep + "/usr/sbin" + os.pathsep + "/sbin"


def found(name):
    return shutil.which(name, path=PATH)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Proxy:
    """A proxy under test, for the life of a block; `url` is what the client is given."""
    def __init__(self, suite, password):
        self.folder = pathlib.Path(suite.path() + ".proxy")
        self.folder.mkdir()
        self.password = password
        self.port = free_port()

    @property
    def url(self):
        login = "user:p%61ss@" if self.password else ""
        return f"{self.scheme}://{login}127.0.0.1:{self.port}"

    def file(self, name, text):
        path = self.folder / name
        path.write_text(text)
        return str(path)

    async def __aenter__(self):
        os.chmod(self.folder.parent, 0o755)     # some change their user
        os.chmod(self.folder, 0o777)
        self.output = self.folder / "output"    # no pipe: asyncio waits for its end, and helpers keep it open
        with open(self.output, "wb") as output:
            self.process = await asyncio.create_subprocess_exec(
                found(self.program), *self.arguments(), stdin=asyncio.subprocess.DEVNULL, stdout=output, stderr=output,
                cwd=self.folder)
        for _ in range(400):
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                writer.close()
                return self
            except OSError:
                check(self.process.returncode is None,
                      f"{self.program} ended: {self.output.read_text(errors='replace')[-500:]!r}")
                await asyncio.sleep(0.05)       # nothing tells when it listens
        raise harness.Failure(f"{self.program} does not listen")

    async def __aexit__(self, *exception):
        if self.process.returncode is None:
            self.process.terminate()
            try:
                await asyncio.wait_for(self.process.wait(), 5)
            except asyncio.TimeoutError:
                self.process.kill()
                await self.process.wait()


class Tinyproxy(Proxy):
    program, scheme = "tinyproxy", "http"

    def arguments(self):
        login = "BasicAuth user pass\n" if self.password else ""
        return "-d", "-c", self.file("conf", f"Port {self.port}\nListen 127.0.0.1\nTimeout 60\nMaxClients 20\n{login}")


class Squid(Proxy):
    program, scheme = "squid", "http"

    def arguments(self):
        rules = "http_access allow all\n"
        if self.password:
            helper = self.file("login", "#!/bin/sh\nwhile read -r line; do\n  if [ \"$line\" = 'user pass' ]; then echo OK; "
                                        "else echo ERR; fi\ndone\n")
            os.chmod(helper, 0o755)
            rules = (f"auth_param basic program {helper}\nauth_param basic realm test\nacl known proxy_auth REQUIRED\n"
                     "http_access allow known\nhttp_access deny all\n")
        return "-N", "-f", self.file("conf", f"http_port 127.0.0.1:{self.port}\n{rules}cache deny all\naccess_log none\n"
                                             f"cache_log {self.folder}/log\npid_filename none\ncoredump_dir {self.folder}\n"
                                             "shutdown_lifetime 0 seconds\nvisible_hostname test\npinger_enable off\n")


class Dante(Proxy):
    program, scheme = "danted", "socks5"

    def arguments(self):
        # Its passwords are those of the system's users; none of them is known here.
        method = "username" if self.password else "none"
        return "-f", self.file("conf", f"logoutput: {self.folder}/log\ninternal: 127.0.0.1 port = {self.port}\n"
                                       f"external: 127.0.0.1\nclientmethod: none\nsocksmethod: {method}\n"
                                       f"user.privileged: {getpass.getuser()}\nuser.unprivileged: {getpass.getuser()}\n"
                                       "client pass { from: 0.0.0.0/0 to: 0.0.0.0/0 }\n"
                                       "socks pass { from: 0.0.0.0/0 to: 0.0.0.0/0 }\n"), "-p", f"{self.folder}/pid"


class Microsocks(Proxy):
    program, scheme = "microsocks", "socks5"

    def arguments(self):
        login = ("-u", "user", "-P", "pass") if self.password else ()
        return "-i", "127.0.0.1", "-p", str(self.port), *login


class Socat(Proxy):
    """TLS in front of another one."""
    program, scheme = "socat", "https"

    def __init__(self, suite, behind, identity):
        super().__init__(suite, behind.password)
        self.behind, self.identity = behind, identity

    def arguments(self):
        return (f"OPENSSL-LISTEN:{self.port},bind=127.0.0.1,fork,cert={self.identity.cert},key={self.identity.key},verify=0",
                f"TCP:127.0.0.1:{self.behind.port}")


class Scenarios:
    def __init__(self, suite, engine):
        self.suite, self.engine = suite, engine

    def call(self, *arguments):
        return call("client", *arguments, "--engine", self.engine, text="hello\n")

    async def serve(self, *options):
        server = await Program.start("echo_server", "--bind", "127.0.0.1:0", "--engine", self.engine, *options, ready=1)
        return server, server.url.rsplit(":", 1)[1]

    async def through(self, kind, password):
        identity = self.suite.identity()
        server, port = await self.serve()
        secure, secure_port = await self.serve(*identity.options)
        async with kind(self.suite, password) as proxy:
            for url in (f"ws://127.0.0.1:{port}", f"ws://localhost:{port}", f"wss://localhost:{secure_port}"):
                if password and kind is Dante:
                    break                       # see there
                same(await self.call("--ca", identity.cert, "--proxy", proxy.url, url + "/echo"), (0, "hello\n", ""),
                     f"how the client ended through {proxy.url} to {url}")
            if password:
                wrong = proxy.url.replace("p%61ss", "wrong")
                status, output, errors = await self.call("--proxy", wrong, f"ws://127.0.0.1:{port}/")
                same((status, output), (1, ""), "how the client ended with a wrong password")
                check("at the proxy" in errors, f"errors of the client: {errors!r}")
            status, output, errors = await self.call("--proxy", proxy.url, f"ws://127.0.0.1:{free_port()}/")
            same((status, output), (1, ""), "how the client ended where the server is not there")
            check("at the proxy" in errors, f"errors of the client: {errors!r}")
        await server.stop()
        await secure.stop()

    async def through_tls(self):
        identity = self.suite.identity()
        server, port = await self.serve()
        secure, secure_port = await self.serve(*identity.options)
        async with Tinyproxy(self.suite, True) as behind, Socat(self.suite, behind, identity) as proxy:
            for url in (f"ws://localhost:{port}", f"wss://localhost:{secure_port}"):
                same(await self.call("--ca", identity.cert, "--proxy", proxy.url, url + "/echo"), (0, "hello\n", ""),
                     f"how the client ended through {proxy.url} to {url}")
            status, output, errors = await self.call("--proxy", proxy.url, f"ws://localhost:{port}/")
            same((status, output), (1, ""), "how the client ended where it does not trust the proxy")
            check("at the proxy" in errors and "self-signed" in errors, f"errors of the client: {errors!r}")
        await server.stop()
        await secure.stop()


async def scenarios(suite):
    here = Scenarios(suite, given.engine)
    for kind in (Tinyproxy, Squid, Dante, Microsocks):
        for password in (False, True):
            name = f"client: through {kind.program}" + (", with a password" if password else "")
            if not found(kind.program):
                print(f"ok - {name} # skip: it is not installed", flush=True)
            else:
                await suite.run(name, here.through, kind, password)
    name = "client: through tinyproxy behind TLS"
    if not (found("tinyproxy") and found("socat")):
        print(f"ok - {name} # skip: tinyproxy or socat is not installed", flush=True)
    else:
        await suite.run(name, here.through_tls)


if __name__ == "__main__":
    given = harness.arguments(__doc__, engine=dict(default="auto"))
    harness.main(scenarios, given.engine)
