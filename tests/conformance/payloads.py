# SPDX-License-Identifier: BSL-1.0
"""The payloads that cases name: texts, bytes, and what compresses well or badly. All are the same at every run."""
import functools
import random
import re

ESCAPE = re.compile(r'\\(x[0-9a-f]{2}|.)')
WORDS = ("the of and a to in is you that it he was for on are as with his they I at be this have from or one had by "
         "word but not what all were we when your can said there use an each which she do how their if will up other "
         "about out many then them these so some her would make like him into time has look two more write go see "
         "number no way could people").split()


def unescaped(text):
    r"""Text in quotes: UTF-8, with the escapes \xhh (a byte), \n, \" and \\."""
    parts, at = [], 0
    for found in ESCAPE.finditer(text):
        parts.append(text[at:found.start()].encode())
        name, at = found[1], found.end()
        byte = name[0] == "x" and len(name) > 1
        parts.append(bytes([int(name[1:], 16)]) if byte else {"n": b"\n"}.get(name, name.encode()))
    return b"".join(parts + [text[at:].encode()])


def cut_text(data, size):
    """The first bytes of a text, ended at a character and filled up."""
    return data[:size].decode(errors="ignore").encode().ljust(size, b".")


@functools.lru_cache(maxsize=4)
def letters(size):
    """Characters of all four lengths; what repeats does so at no round distance."""
    block = "".join(f"{n} é世🌍, " for n in range(1009)).encode()
    return cut_text(block * (size // len(block) + 1), size)


@functools.lru_cache(maxsize=4)
def noise(size):
    return random.Random(size).randbytes(size)


@functools.lru_cache(maxsize=None)
def corpus(name):
    """Some 200 KiB of what people send."""
    pick = random.Random(name)
    if name == "json":
        rows = [f'{{"id": {n}, "name": "{pick.choice(WORDS)}", "tags": ["{pick.choice(WORDS)}", "Grüße"], '
                f'"score": {pick.random():.6f}}}' for n in range(2400)]
        return ("[" + ",\n ".join(rows) + "]").encode()
    if name == "image":         # grey levels: smooth, with a little noise
        return bytes((x * x // 512 + y // 3 + pick.randrange(3)) & 0xFF for y in range(512) for x in range(512))
    if name == "prose":
        marks = ["", "", "", "", ",", ".\n", " -", "?"]
        return " ".join(pick.choice(WORDS) + pick.choice(marks) for _ in range(42000)).encode()
    if name == "html":
        rows = [f'<tr class="{"odd" if n % 2 else "even"}"><td><a href="/room/{n}">{pick.choice(WORDS)} ä</a></td>'
                f'<td>{pick.random():.3f}</td></tr>' for n in range(2600)]
        return ("<!doctype html><table>\n" + "\n".join(rows) + "</table>").encode()
    if name == "packed":        # compressed already
        return noise(200_000)
    raise ValueError(f"there is no corpus {name}")


def slice_of(name, size, number):
    """The number-th message of this size out of a corpus, and whether it is text."""
    text = name in ("json", "prose", "html", "letters")
    whole = letters(200_000) if name == "letters" else corpus(name)
    whole = whole + whole[:size]
    at = number * 7919 % 200_000
    part = whole[at:at + size]
    return (cut_text(part.decode(errors="ignore").encode(), size) if text else part), text


def payload(words):
    """What a case writes: "text", hex 00 ff, 100 x "text", letters 100, noise 100."""
    words = words.strip()
    if not words:
        return b""
    if words.startswith('"') and words.endswith('"') and len(words) > 1:
        return unescaped(words[1:-1])
    if words.startswith("hex "):
        return bytes.fromhex(words[4:])
    if found := re.fullmatch(r'(\d+) x "(.*)"', words):
        return unescaped(found[2]) * int(found[1])
    if found := re.fullmatch(r"(letters|noise) (\d+)", words):
        return {"letters": letters, "noise": noise}[found[1]](int(found[2]))
    raise ValueError(f"no payload: {words}")
