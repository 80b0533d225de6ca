#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0
"""broadcast_hub behind nginx and HAProxy, configured as docs/howto/deploy.md and proxy-protocol.md say: pages, WebSocket, events, a clean end."""
import asyncio
import os
import pathlib
import shutil

import harness
from harness import Program, check, same, wait

NGINX = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    map $http_upgrade $connection_upgrade {{
        default upgrade;
        ''      close;
    }}
    server {{
        listen unix:{folder}/front;
        location / {{
            proxy_pass http://unix:{folder}/back;
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $remote_addr;
            proxy_read_timeout 75s;
        }}
    }}
}}
"""

HAPROXY = """
defaults
    mode {mode}
    timeout connect 5s
    timeout client 30s
    timeout server 30s
    timeout tunnel 75s

frontend web
    bind unix@{folder}/front
    default_backend hub

backend hub
    server one unix@{folder}/back {send}
"""


class Proxy:
    @classmethod
    async def start(cls, folder, kind):
        self = cls()
        file = folder / "proxy.conf"
        if kind == "nginx":
            file.write_text(NGINX.format(folder=folder))
            command = ["nginx", "-p", str(folder), "-c", str(file)]
        else:
            mode, send = dict(haproxy=("http", ""), haproxy_v1=("tcp", "send-proxy"), haproxy_v2=("tcp", "send-proxy-v2"))[kind]
            file.write_text(HAPROXY.format(folder=folder, mode=mode, send=send))
            command = ["haproxy", "-db", "-f", str(file)]
        environment = dict(os.environ, PATH=os.environ.get("PATH", "") + ":/usr/sbin")
        self.process = await asyncio.create_subprocess_exec(*command, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT)

        async def listens():
            while True:
                try:
                    _, writer = await asyncio.open_unix_connection(str(folder / "front"))
                    writer.close()
                    return
                except (FileNotFoundError, ConnectionRefusedError):
                    if self.process.returncode is not None:
                        check(False, f"{kind} has ended: {(await self.process.stdout.read()).decode()}")
                    await asyncio.sleep(0.02)
        await wait(listens(), f"{kind} to listen")
        return self

    async def stop(self):
        if self.process.returncode is None:
            self.process.terminate()
        await wait(self.process.communicate(), "the end of the proxy")


async def ask(path, request):
    reader, writer = await asyncio.open_unix_connection(str(path))
    writer.write(request)
    answer = await wait(reader.read(), "an answer")
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split(b" ")[1]), head.decode("latin-1").lower(), body


async def through(suite, engine, kind):
    folder = pathlib.Path(suite.path() + "." + kind)
    folder.mkdir()
    trust = ["--trust-proxies", "unix"] if kind in ("haproxy_v1", "haproxy_v2") else []
    server = await Program.start("broadcast_hub", "--bind", f"unix:{folder}/back", "--engine", engine, *trust, ready=1)
    os.chmod(folder / "back", 0o777)        # a proxy that was started by root works as somebody else
    os.chmod(folder, 0o755)
    os.chmod(folder.parent, 0o755)
    proxy = await Proxy.start(folder, kind)
    try:
        status, head, body = await ask(folder / "front", b"GET / HTTP/1.1\r\nHost: hub.example\r\nConnection: close\r\n\r\n")
        same((status, body[:15]), (200, b"<!doctype html>"), "the page")
        status, _, body = await ask(folder / "front", b"POST /send?key=x HTTP/1.1\r\nHost: hub.example\r\nConnection: close\r\n"
                                    b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n")
        same(status, 410, "a request with a body")

        reader, writer = await asyncio.open_unix_connection(str(folder / "front"))
        writer.write(b"GET /events?name=eve HTTP/1.1\r\nHost: hub.example\r\n\r\n")
        head = await wait(reader.readuntil(b"\r\n\r\n"), "the head of a stream")
        check(b" 200 " in head and b"text/event-stream" in head, f"the head of a stream: {head!r}")
        await wait(reader.readuntil(b"* eve 1 joined, 1 here"), "an event, at once")

        connect = lambda name: websockets.unix_connect(
            str(folder / "front"), uri=f"ws://hub.example/hub?name={name}", origin="http://hub.example", max_size=None, compression=None)
        async with connect("ann") as ann, connect("bob") as bob:
            same(await wait(ann.recv(), "a message"), "* ann 2 joined, 2 here", "ann's first message")
            same(await wait(ann.recv(), "a message"), "* bob 3 joined, 3 here", "ann's second")
            same(await wait(bob.recv(), "a message"), "* bob 3 joined, 3 here", "bob's first")
            large = "".join(map(str, range(200_000)))[:1_000_000]
            for text in ("short", large):
                await ann.send(text)
                for member in (ann, bob):
                    same(await wait(member.recv(), "a message"), "ann 2: " + text, "a text")
            await bob.send(bytes(range(256)) * 1000)
            same(await wait(ann.recv(), "a message"), bytes(range(256)) * 1000, "bytes")
            await ann.send(iter(["in ", "three ", "frames"]))
            same(await wait(bob.recv(), "a message"), bytes(range(256)) * 1000, "bytes")
            same(await wait(bob.recv(), "a message"), "ann 2: in three frames", "a text in frames")
            await wait(await ann.ping(), "a pong")
            await ann.close(1000, "bye")
            same(ann.close_code, 1000, "ann's close")
            same(await wait(bob.recv(), "a message"), "* ann 2 left, 2 here", "who has left")
            server.interrupt()
            try:
                await wait(bob.recv(), "the end")
            except websockets.ConnectionClosed:
                pass
            same(bob.close_code, 1001, "bob's close")
        await wait(reader.read(), "the end of the stream")
        writer.close()
        await server.exit(0)
        same(server.errors, "", "errors")
    finally:
        await proxy.stop()


async def scenarios(suite):
    for kind in ("nginx", "haproxy", "haproxy_v1", "haproxy_v2"):
        if shutil.which(kind.partition("_")[0], path=os.environ.get("PATH", "") + ":/usr/sbin"):
            await suite.run(f"broadcast_hub behind {kind.replace('_v', ' with PROXY header ')}", through, suite, given.engine, kind)
        else:
            print(f"ok - behind {kind} # skip it is not installed (tools/setup --nightly)", flush=True)


if __name__ == "__main__":
    given = harness.arguments(__doc__, engine=dict(default="auto"))
    try:
        import websockets
    except ImportError:
        harness.skip("python3-websockets is missing (tools/setup --tests installs it)")
    harness.main(scenarios, given.engine)
