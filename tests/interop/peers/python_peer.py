# SPDX-License-Identifier: BSL-1.0
"""What the peers in Python have in common: messages, and a line of input after the other."""
import asyncio
import functools
import sys


class Wrong(Exception):
    pass


class Cannot(Exception):
    pass


def text_of(size):
    text = "aé世🌍" * (size // 10)
    return text + "x" * (size - len(text.encode()))


@functools.lru_cache(maxsize=None)
def bytes_of(size):
    state, data = 1, bytearray(size)
    for at in range(size):
        state = (state * 1103515245 + 12345) & 0xffffffff
        data[at] = state >> 28
    return bytes(data)


def messages(words):
    """Of each word that stands for a message: the word, the message, whether in several frames."""
    for word in words:
        kind, colon, size = word.partition(":")
        if colon:
            yield word, text_of(int(size)) if kind in "tT" else bytes_of(int(size)), kind.isupper()


def closed_as_wanted(ending, code, reason):
    wanted = {"close": [(1000, "bye"), (1000, "")], "asked": [(4001, "as asked")], "left": [(1001, "")]}[ending]
    if (code, reason) not in wanted:
        raise Wrong(f"closed with {code} {reason!r}")


def say(line):
    print(line, flush=True)


def main(version, serve, connect, stop=None):
    """serve() announces its port and never ends; connect(url, words) returns when all was well; stop() comes after the last."""
    async def lines():
        loop = asyncio.get_running_loop()
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            url, *words = line.split()
            try:
                await connect(url, words)
                say("ok")
            except Cannot as why:
                say(f"cannot: {why}")
            except Exception as problem:       # noqa: BLE001 - the next line shall be tried
                say(f"not ok: {type(problem).__name__}: {problem}".replace("\n", " | "))
        if stop:
            await stop()
    if sys.argv[1:] == ["version"]:
        say(version)
    elif sys.argv[1:] == ["serve"] and serve:
        asyncio.run(serve())
    elif sys.argv[1:] == ["connect"]:
        asyncio.run(lines())
    else:
        sys.exit(f"usage: {sys.argv[0]} version|serve|connect")
