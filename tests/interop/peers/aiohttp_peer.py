# SPDX-License-Identifier: BSL-1.0
"""Peer: python3-aiohttp."""
import asyncio

import aiohttp
from aiohttp import web
from python_peer import Cannot, Wrong, closed_as_wanted, main, messages, say

LIMIT = 4 << 20


async def echo(request):
    ws = web.WebSocketResponse(max_msg_size=LIMIT)
    await ws.prepare(request)
    async for message in ws:
        if message.data == "close, please":
            await ws.close(code=4001, message=b"as asked")
        elif message.type == aiohttp.WSMsgType.TEXT:
            await ws.send_str(message.data)
        elif message.type == aiohttp.WSMsgType.BINARY:
            await ws.send_bytes(message.data)
    return ws


async def serve():
    app = web.Application()
    app.router.add_get("/{any:.*}", echo)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    say(f"listening on {runner.addresses[0][1]}")
    await asyncio.Event().wait()


async def connect(url, words):
    async with aiohttp.ClientSession() as session:
        async with session.ws_connect(url, compress=15 if "deflate" in words else 0, max_msg_size=LIMIT) as ws:
            for word, message, in_frames in messages(words):
                if in_frames:
                    raise Cannot("there is no way to send a message in frames")
                await (ws.send_str if isinstance(message, str) else ws.send_bytes)(message)
                got = await ws.receive()
                if got.data != message or got.type != (aiohttp.WSMsgType.TEXT if isinstance(message, str) else aiohttp.WSMsgType.BINARY):
                    raise Wrong(f"{word} came back different: {got.type!r} {got.extra!r}")
            ending = words[-1]
            if ending == "close":
                await ws.close(code=1000, message=b"bye")
                return closed_as_wanted(ending, ws.close_code, "bye")
            if ending == "asked":
                await ws.send_str("close, please")
            else:
                say("waiting")
            got = await ws.receive()
            closed_as_wanted(ending, got.data, got.extra)


main(f"aiohttp {aiohttp.__version__}", serve, connect)
