# SPDX-License-Identifier: BSL-1.0
"""Sessions of a client with mistakes in them, and what an endpoint must make of one: a reference for frames, on top of
which stand the known ways in which other implementations are more lenient."""
import codecs
import dataclasses
import os
import pathlib
import random
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "conformance"))
from wire import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, header, mask                    # noqa: E402

MOST_MESSAGE = 16 << 20
SIZES = [0, 0, 1, 2, 5, 5, 20, 20, 60, 124, 125, 126, 127, 130, 300, 1000, 65535, 65536, 70000]
CODES = [0, 999, 1000, 1000, 1001, 1002, 1003, 1004, 1005, 1006, 1007, 1011, 1012, 1013, 1014, 1015, 1016, 2999, 3000,
         4000, 4999, 5000, 65535]
CHARACTERS = ["a", "z", " ", "é", "\u07ff", "€", "\ud7ff", "\uffff", "🌍", "\U0010ffff"]
BAD_TEXT = [b"\xff", b"\x80", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90", b"\xe2\x82", b"\xf0\x9f\x8c", b"\xf8"]
# No session ends in the middle of a header or of a control frame: how early that is refused is nobody's mistake.
TAIL = 20 * bytes.fromhex("88820000000003e8")


# ---- what is sent ----------------------------------------------------------------------------------------------------

class Session:
    """The number-th session of a seed: the bytes behind the client's handshake, and how they came to be."""

    def __init__(self, seed, number):
        self.random = random.Random(f"{seed} {number}")
        self.frames, self.done = [], []
        for _ in range(self.random.randrange(1, 6)):
            self.random.choice([self._message, self._message, self._control])()
        if self.random.random() < 0.6:
            self._close()
        for _ in range(self.random.choice([0, 1, 1, 1, 1, 2, 2, 3, 5])):
            self._mutate()
        self.data = b"".join(self.frames) + TAIL

    def _frame(self, first, payload):
        key = self.random.choice([self.random.randbytes(4), bytes(4)])
        self.frames.append(header(first, len(payload), True) + key + mask(payload, key))

    def _payload(self, kind):
        size = self.random.choice(SIZES)
        if kind == BINARY:
            return self.random.randbytes(size)
        return "".join(self.random.choice(CHARACTERS) for _ in range(size)).encode(errors="surrogatepass")[:size] \
            .decode(errors="ignore").encode()

    def _message(self):
        kind = self.random.choice([TEXT, BINARY])
        payload = self._payload(kind)
        cuts = sorted(self.random.randrange(len(payload) + 1) for _ in range(self.random.choice([0, 0, 1, 2, 4])))
        edges = [0] + cuts + [len(payload)]
        for at, (begin, end) in enumerate(zip(edges, edges[1:])):
            last = at == len(edges) - 2
            self._frame((kind if at == 0 else CONTINUATION) | (0x80 if last else 0), payload[begin:end])
            if not last and self.random.random() < 0.3:
                self._control()

    def _control(self):
        self._frame(0x80 | self.random.choice([PING, PONG]), self.random.randbytes(self.random.choice([0, 4, 125])))

    def _close(self):
        size = self.random.choice([0, 0, 3, 123])
        payload = self.random.choice(CODES).to_bytes(2, "big") + b"r" * size
        self._frame(0x80 | CLOSE, payload if self.random.random() < 0.9 else b"")

    def _mutate(self):
        pick = self.random
        at = pick.randrange(len(self.frames))
        frame = bytearray(self.frames[at])
        names = [name for name in dir(self) if name.startswith("_change_")]
        name = pick.choice(names)
        self.done.append(f"{name[8:]} {at}")
        changed = getattr(self, name)(frame, at)
        if changed is not None:
            self.frames[at] = bytes(changed)

    def _change_opcode(self, frame, at):
        frame[:1] = bytes([frame[0] & 0xF0 | self.random.randrange(16)]) if frame else b""
        return frame

    def _change_first_byte(self, frame, at):
        frame[:1] = bytes([frame[0] ^ 1 << self.random.randrange(8)]) if frame else b""
        return frame

    def _change_mask_bit(self, frame, at):
        frame[1:2] = bytes([frame[1] ^ 0x80]) if len(frame) > 1 else b""
        return frame

    def _change_length(self, frame, at):
        if len(frame) > 1:
            frame[1] = frame[1] & 0x80 | self.random.choice([0, 1, 2, 3, 125, 126, 127, frame[1] & 0x7F ^ 1])
        return frame

    def _change_length_form(self, frame, at):
        if len(frame) < 2 or frame[1] & 0x7F > 126:
            return frame
        length, rest = frame[1] & 0x7F, 2
        if length == 126:
            length, rest = int.from_bytes(frame[2:4], "big"), 4
        digits = self.random.choice([2, 8]) if rest == 2 else 8
        return frame[:1] + bytes([frame[1] & 0x80 | (126 if digits == 2 else 127)]) + length.to_bytes(digits, "big") \
            + frame[rest:]

    def _change_length_to_huge(self, frame, at):
        length = self.random.choice([1 << 63, (1 << 64) - 1, (1 << 64) - 4, (1 << 63) - 1, 1 << 53, 1 << 32,
                                     MOST_MESSAGE + 1, MOST_MESSAGE, 1 << 20])
        return frame[:1] + bytes([frame[1] & 0x80 | 127 if len(frame) > 1 else 0xFF]) + length.to_bytes(8, "big") \
            + frame[2:]

    def _change_payload(self, frame, at):
        """One byte, or a few that are no text."""
        if len(frame) > 6:
            where = self.random.randrange(6, len(frame))
            bad = self.random.choice(BAD_TEXT)
            if self.random.random() < 0.5:
                frame[where] = self.random.randrange(256)
            else:
                frame[where:where + len(bad)] = bad[:len(frame) - where]
        return frame

    def _change_last_byte_of_text(self, frame, at):
        """A message that ends in the middle of a character."""
        if len(frame) > 6:
            frame[2:6] = bytes(4)
            frame[-1] = self.random.choice([0xC3, 0xE2, 0xF0, 0xFF])
        return frame

    def _change_bit(self, frame, at):
        if frame:
            where = self.random.randrange(min(len(frame), 16))
            frame[where] ^= 1 << self.random.randrange(8)
        return frame

    def _change_cut(self, frame, at):
        return frame[:self.random.randrange(len(frame) + 1)]

    def _change_insert(self, frame, at):
        where = self.random.randrange(len(frame) + 1)
        return frame[:where] + self.random.randbytes(self.random.randrange(1, 9)) + frame[where:]

    def _change_drop(self, frame, at):
        if len(self.frames) > 1:
            del self.frames[at]

    def _change_repeat(self, frame, at):
        self.frames.insert(at, bytes(frame))

    def _change_swap(self, frame, at):
        other = self.random.randrange(len(self.frames))
        self.frames[at], self.frames[other] = self.frames[other], self.frames[at]


# ---- what must come of it --------------------------------------------------------------------------------------------

@dataclasses.dataclass(frozen=True)
class Verdict:
    """What an echo answers: its whole messages, the last pong, and the code of its close frame (1005: one without a
    code; None: there is no close frame)."""
    messages: tuple
    pong: bytes
    close: int

    def __str__(self):
        shown = [f"{'text' if kind == TEXT else 'binary'} of {len(payload)}" for kind, payload in self.messages]
        return f"{', '.join(shown) or 'no message'}; pong {self.pong!r}; close {self.close}"


# Where other implementations differ from the rules, or from what wring makes of a freedom that they leave.
QUIRKS = {
    "any length form": "RFC 6455, 5.2: the minimal number of bytes MUST be used; longer ones are let pass",
    "length sign": "RFC 6455, 5.2: the most significant bit MUST be 0; it is taken for a large length: 1009, not 1002",
    "text judged late": "RFC 6455, 8.1: text is judged at the end of its message only, not at the byte; the RFC sets no "
                        "time",
    "open end": "RFC 6455, 8.1: text that ends in the middle of a character passes where its last frame is empty, and "
                "what follows is taken for its continuation",
    "no code becomes 1000": "RFC 6455, 5.5.1: a close frame without a code is answered with 1000",
    "reason is 1002": "RFC 6455, 8.1: a reason that is no text is answered with 1002, not 1007",
    "reset": "RFC 6455, 7.1.1: a connection is closed cleanly; it is reset while the client still sends, so that the client "
             "may lose the close frame. Such a session is not compared",
    "no 1014": "RFC 6455, 7.4.2 and IANA's registry: 1014 (Bad Gateway) is registered, and refused",
    "any high code": "RFC 6455, 7.4.2: codes from 5000 are of no range, and are accepted",
}


def may_be_sent(code, quirks):
    if code == 1014 and "no 1014" in quirks:
        return False
    if code > 4999:
        return "any high code" in quirks
    return 1000 <= code <= 1003 or 1007 <= code <= 1014 or code >= 3000


def judge(data, quirks=frozenset()):
    """What a server must answer to these bytes."""
    messages, pong = [], b""
    message, parts = None, []
    new_decoder = codecs.getincrementaldecoder("utf-8")
    decoder = new_decoder()
    at = 0

    def ended(code):
        return Verdict(tuple(messages), pong, code)

    while len(data) - at >= 2:
        first, length = data[at], data[at + 1] & 0x7F
        opcode, fin, control = first & 15, first >= 0x80, first & 8
        if first & 0x70 or 3 <= opcode <= 7 or opcode > 10 or data[at + 1] < 0x80:
            return ended(1002)
        if control and (not fin or length > 125):
            return ended(1002)
        if not control and (opcode == CONTINUATION) != (message is not None):
            return ended(1002)
        at += 2
        if length > 125:
            digits = 2 if length == 126 else 8
            if len(data) - at < digits:
                break
            length = int.from_bytes(data[at:at + digits], "big")
            at += digits
            if length >= 1 << 63 and "length sign" not in quirks:
                return ended(1002)
            if length < (126 if digits == 2 else 1 << 16) and "any length form" not in quirks:
                return ended(1002)
        if not control:
            if opcode != CONTINUATION:
                message, parts = opcode, []
            if length > MOST_MESSAGE - sum(map(len, parts)):
                return ended(1009)
        key = data[at:at + 4]
        at += 4
        payload = mask(data[at:at + length], key)
        whole = len(data) - at >= length
        at += length
        if control:
            if not whole:
                break
            if opcode == PING:
                pong = payload
            if opcode == CLOSE:
                return ended(judge_close(payload, quirks))
            continue
        parts.append(payload)
        try:
            if message == TEXT and "text judged late" in quirks:
                if fin and whole:
                    b"".join(parts).decode()
            elif message == TEXT and not ("open end" in quirks and length == 0):
                decoder.decode(payload, fin and whole)
                if fin and whole:
                    decoder = new_decoder()
        except UnicodeDecodeError:
            return ended(1007)
        if not whole:
            break
        if fin:
            messages.append((message, b"".join(parts)))
            message = None
    return ended(None)


def judge_close(payload, quirks):
    if not payload:
        return 1000 if "no code becomes 1000" in quirks else 1005
    if len(payload) == 1 or not may_be_sent(int.from_bytes(payload[:2], "big"), quirks):
        return 1002
    try:
        payload[2:].decode()
    except UnicodeDecodeError:
        return 1002 if "reason is 1002" in quirks else 1007
    return int.from_bytes(payload[:2], "big")
