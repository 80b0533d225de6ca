# SPDX-License-Identifier: BSL-1.0
"""Peer: python3-tornado."""
import asyncio

import tornado
from python_peer import Cannot, Wrong, closed_as_wanted, main, messages, say
from tornado import httpserver, netutil, web, websocket

LIMIT = 4 << 20


class Echo(websocket.WebSocketHandler):
    def check_origin(self, origin):
        return True

    def get_compression_options(self):
        return {}

    def on_message(self, message):
        if message == "close, please":
            self.close(4001, "as asked")
        else:
            self.write_message(message, binary=isinstance(message, bytes))


async def serve():
    app = web.Application([("/.*", Echo)], websocket_max_message_size=LIMIT)
    sockets = netutil.bind_sockets(0, "127.0.0.1")
    httpserver.HTTPServer(app).add_sockets(sockets)
    say(f"listening on {sockets[0].getsockname()[1]}")
    await asyncio.Event().wait()


async def connect(url, words):
    ws = await websocket.websocket_connect(url, compression_options={} if "deflate" in words else None, max_message_size=LIMIT)
    for word, message, in_frames in messages(words):
        if in_frames:
            raise Cannot("there is no way to send a message in frames")
        await ws.write_message(message, binary=isinstance(message, bytes))
        got = await ws.read_message()
        if got != message:
            raise Wrong(f"{word} came back different, closed with {ws.close_code}")
    ending = words[-1]
    if ending == "close":
        ws.close(1000, "bye")
    elif ending == "asked":
        await ws.write_message("close, please")
    else:
        say("waiting")
    if await ws.read_message() is not None:
        raise Wrong("a message instead of a close")
    closed_as_wanted(ending, ws.close_code, ws.close_reason or "")


main(f"tornado {tornado.version}", serve, connect)
