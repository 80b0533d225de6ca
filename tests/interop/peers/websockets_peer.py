# SPDX-License-Identifier: BSL-1.0
"""Peer: python3-websockets."""
import asyncio

import websockets
from python_peer import Wrong, closed_as_wanted, main, messages, say

LIMIT = 4 << 20


async def echo(ws):
    try:
        async for message in ws:
            if message == "close, please":
                await ws.close(4001, "as asked")
            else:
                await ws.send(message)
    except websockets.ConnectionClosedError:
        pass


async def serve():
    server = await websockets.serve(echo, "127.0.0.1", 0, max_size=LIMIT)
    say(f"listening on {server.sockets[0].getsockname()[1]}")
    await asyncio.Event().wait()


async def connect(url, words):
    ws = await websockets.connect(url, compression="deflate" if "deflate" in words else None, max_size=LIMIT)
    for word, message, in_frames in messages(words):
        third = len(message) // 3
        await ws.send([message[:third], message[:0], message[third:2 * third], message[2 * third:]] if in_frames else message)
        if await ws.recv() != message:
            raise Wrong(f"{word} came back different")
    ending = words[-1]
    if ending == "close":
        await ws.close(1000, "bye")
    elif ending == "asked":
        await ws.send("close, please")
    else:
        say("waiting")
    try:
        await ws.recv()
        raise Wrong("a message instead of a close")
    except websockets.ConnectionClosed:
        closed_as_wanted(ending, ws.close_code, ws.close_reason)


main(f"websockets {websockets.version.version}", serve, connect)
