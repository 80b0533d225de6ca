# SPDX-License-Identifier: BSL-1.0
"""Other people's WebSocket libraries behind one interface, so that every scenario is written once.

A peer connects and serves; a connection sends, pings, receives and closes. Text is str, binary is bytes; a list is a message
in fragments. The end of a connection is received as a Closed.

`deflate` of a connection or server: the parameters of permessage-deflate that the peer is to ask for, False for no compression,
None for what the library does by itself. A connection's `deflates` tells whether it was agreed on.
"""
import asyncio
import base64
import collections
import http
import json
import logging

from harness import Failure, wait

Closed = collections.namedtuple("Closed", "code reason")


class Refused(Exception):
    """The server answered the request with this HTTP status."""

    def __init__(self, status):
        super().__init__(f"refused with {status}")
        self.status = status


def split_unix(url):
    """ws+unix:SOCKET:/path -> SOCKET, /path; None for any other URL."""
    if not url.startswith("ws+unix:"):
        return None
    socket, _, path = url.removeprefix("ws+unix:").partition(":")
    return socket, path or "/"


# ---- python3-websockets --------------------------------------------------------------------------------------------------

class PythonConnection:
    def __init__(self, ws):
        self.ws = ws
        self.protocol = ws.subprotocol
        self.deflates = any(extension.name == "permessage-deflate" for extension in ws.extensions)
        self.finished = asyncio.Event()

    async def send(self, message, ping=False):
        if not isinstance(message, list):
            return await wait(self.ws.send(message), "websockets to send")

        pongs = []

        async def parts():
            for at, part in enumerate(message):
                if at and ping:
                    pongs.append(await self.ws.ping())
                yield part
        await wait(self.ws.send(parts()), "websockets to send fragments")
        for pong in pongs:
            await wait(pong, "a pong to websockets")

    async def receive(self, limit=None):
        import websockets
        try:
            return await wait(self.ws.recv(), "a message to websockets", limit)
        except websockets.ConnectionClosed:
            return self.end()

    def end(self):
        self.finished.set()
        return Closed(self.ws.close_code, self.ws.close_reason)

    async def ping(self, data):
        await wait(await self.ws.ping(data), "a pong to websockets")

    async def pinged(self, limit=None):
        return await wait(self.ws.pings_seen.get(), "a ping to websockets", limit)

    async def close(self, code=1000, reason=""):
        await wait(self.ws.close(code, reason), "the close handshake of websockets")
        return self.end()

    async def terminate(self):
        self.ws.transport.abort()
        self.ws.transfer_data_task.cancel()     # it may wait until somebody takes what came
        self.finished.set()


def python_deflate(deflate, factory):
    """The arguments for websockets: it takes a factory, for which False stands for a parameter that is not asked for."""
    if deflate is None:
        return {}
    return dict(compression=None, extensions=None if deflate is False else [factory(**deflate)])


class PythonServer:
    async def start(self, unix, pick, refuse, deflate, identity):
        import websockets

        class Protocol(seeing_pings(websockets.WebSocketServerProtocol)):
            def process_subprotocol(self, headers, available):
                return pick

            async def process_request(self, path, headers):
                if refuse:
                    return http.HTTPStatus(refuse), [], b"refused\n"

        self.accepted = asyncio.Queue()

        async def handle(ws):
            connection = PythonConnection(ws)
            connection.path, connection.headers = ws.path, {k.lower(): v for k, v in ws.request_headers.raw_items()}
            self.accepted.put_nowait(connection)
            closed = asyncio.ensure_future(ws.wait_closed())
            closed.add_done_callback(lambda _: connection.finished.set())
            await connection.finished.wait()

        from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
        more = dict(create_protocol=Protocol, max_size=None, ping_interval=None,
                    **python_deflate(deflate, ServerPerMessageDeflateFactory))
        if unix:
            self.server = await websockets.unix_serve(handle, unix, **more)
            self.url = f"ws+unix:{unix}:"
        else:
            self.server = await websockets.serve(handle, "127.0.0.1", 0, ssl=identity.serving() if identity else None, **more)
            self.url = "%s://127.0.0.1:%d" % ("wss" if identity else "ws", self.server.sockets[0].getsockname()[1])
        return self

    async def accept(self):
        return await wait(self.accepted.get(), "a client to come to websockets")

    async def stop(self):
        self.server.close()
        await wait(self.server.wait_closed(), "the server of websockets to end")


def seeing_pings(base):
    """A protocol class that also tells which pings came."""
    class Seeing(base):
        def __init__(self, *arguments, **more):
            super().__init__(*arguments, **more)
            self.pings_seen = asyncio.Queue()

        async def pong(self, data=b""):         # what the library calls for each ping that it received
            self.pings_seen.put_nowait(bytes(data))
            await super().pong(data)
    return Seeing


class PythonPeer:
    """python3-websockets, in this process."""
    name = "websockets"

    async def start(self):
        logging.getLogger("websockets").addHandler(logging.NullHandler())
        return self

    async def stop(self):
        pass

    async def connect(self, url, protocols=(), headers=None, origin=None, slow=False, deflate=None, identity=None):
        import websockets
        from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
        more = dict(create_protocol=seeing_pings(websockets.WebSocketClientProtocol), max_size=None, ping_interval=None,
                    subprotocols=list(protocols) or None, extra_headers=headers or {}, origin=origin,
                    **python_deflate(deflate, ClientPerMessageDeflateFactory))
        if slow:
            more.update(max_queue=1, read_limit=4096)
        if identity:
            more.update(ssl=identity.trusting())
        unix = split_unix(url)
        connecting = websockets.unix_connect(unix[0], "ws://localhost" + unix[1], **more) if unix else websockets.connect(url, **more)
        try:
            return PythonConnection(await wait(connecting, "websockets to connect"))
        except websockets.InvalidStatusCode as refusal:
            raise Refused(refusal.status_code) from None

    async def serve(self, unix=None, pick=None, refuse=None, deflate=None, identity=None):
        return await PythonServer().start(unix, pick, refuse, deflate, identity)


# ---- npm ws --------------------------------------------------------------------------------------------------------------

class NodeConnection:
    def __init__(self, peer, key, protocol, extensions):
        self.peer, self.key, self.protocol = peer, key, protocol
        self.deflates = "permessage-deflate" in extensions

    async def _call(self, operation, limit=None, **details):
        return await self.peer.call(operation, limit, connection=self.key, **details)

    @staticmethod
    def _event(answer):
        if "closed" in answer:
            return Closed(answer["closed"]["code"], answer["closed"]["reason"])
        return answer["text"] if "text" in answer else base64.b64decode(answer["binary"])

    async def send(self, message, ping=False, as_text=False):
        def encoded(part):
            if isinstance(part, str):
                return {"text": part}
            return {"binary": base64.b64encode(part).decode(), "as_text": as_text}
        await self._call("send", parts=[encoded(part) for part in (message if isinstance(message, list) else [message])], ping=ping)

    async def receive(self, limit=None):
        return self._event(await self._call("receive", limit))

    async def ping(self, data):
        answer = await self._call("ping", data=base64.b64encode(data).decode())
        if "closed" in answer or base64.b64decode(answer["data"]) != data:
            raise Failure(f"ws pinged with {data!r} and got {answer!r}")

    async def pinged(self, limit=None):
        answer = await self._call("pinged", limit)
        if "closed" in answer:
            raise Failure(f"ws waited for a ping and got {answer!r}")
        return base64.b64decode(answer["data"])

    async def close(self, code=1000, reason=""):
        return self._event(await self._call("close", code=code, reason=reason))

    async def terminate(self):
        await self._call("terminate")

    async def pause(self):
        await self._call("pause")


class NodeServer:
    def __init__(self, peer, key, url):
        self.peer, self.key, self.url = peer, key, url

    async def accept(self):
        answer = await self.peer.call("accept", server=self.key)
        connection = NodeConnection(self.peer, answer["connection"], answer["protocol"] or None, answer["extensions"])
        connection.path, connection.headers = answer["path"], answer["headers"]
        return connection

    async def stop(self):
        await self.peer.call("stop", server=self.key)


class NodePeer:
    """The npm package ws, in a process of its own that peer.cjs runs."""
    name = "ws"

    def __init__(self, node, script, folder):
        self.command = [node, str(script), str(folder)]

    async def start(self):
        self.process = await asyncio.create_subprocess_exec(*self.command, stdin=asyncio.subprocess.PIPE,
                                                            stdout=asyncio.subprocess.PIPE, limit=32 << 20)
        self.waiting, self.last = {}, 0
        self.reader = asyncio.ensure_future(self._read())
        return self

    async def _read(self):
        while line := await self.process.stdout.readline():
            answer = json.loads(line)
            waiting = self.waiting.pop(answer["id"], None)
            if waiting and not waiting.done():
                waiting.set_result(answer)
        for waiting in self.waiting.values():
            if not waiting.done():
                waiting.set_exception(Failure("node has ended"))

    async def call(self, operation, limit=None, **details):
        self.last += 1
        answered = self.waiting[self.last] = asyncio.get_running_loop().create_future()
        self.process.stdin.write(json.dumps({"id": self.last, "operation": operation, **details}).encode() + b"\n")
        await self.process.stdin.drain()
        answer = await wait(answered, f"ws to answer to {operation}", limit)
        if "error" in answer:
            raise Failure(f"ws, {operation}: {answer['error']}")
        return answer

    async def stop(self):
        self.process.stdin.close()
        try:
            await wait(self.process.wait(), "the end of node", 10)
        except Failure:
            self.process.kill()
        await self.reader

    @staticmethod
    def _deflate(deflate):
        """As ws calls them; all messages are compressed, however small."""
        if not deflate:
            return deflate
        def camel(name):
            first, *others = name.split("_")
            return first + "".join(part.capitalize() for part in others)
        return {"threshold": 0, **{camel(name): value for name, value in deflate.items()}}

    async def connect(self, url, protocols=(), headers=None, origin=None, slow=False, deflate=None, identity=None):
        unix = split_unix(url)
        if unix:
            url = f"ws+unix:{unix[0]}:{unix[1]}"
        answer = await self.call("connect", url=url, protocols=list(protocols), headers=headers or {}, origin=origin,
                                 deflate=self._deflate(deflate), ca=identity.cert if identity else None)
        if "refused" in answer:
            raise Refused(answer["refused"])
        connection = NodeConnection(self, answer["connection"], answer["protocol"] or None, answer["extensions"])
        if slow:
            await connection.pause()
        return connection

    async def serve(self, unix=None, pick=None, refuse=None, deflate=None, identity=None):
        tls = {"cert": identity.cert, "key": identity.key} if identity else None
        answer = await self.call("serve", unix=unix, pick=pick, refuse=refuse, deflate=self._deflate(deflate), tls=tls)
        scheme = "wss" if identity else "ws"
        return NodeServer(self, answer["server"], f"ws+unix:{unix}:" if unix else f"{scheme}://127.0.0.1:{answer['port']}")
