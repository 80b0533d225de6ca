# SPDX-License-Identifier: BSL-1.0
"""A peer that speaks WebSocket in bytes, written for the conformance cases: it can break every rule, and sees when the
other side does. It shares nothing with the library."""
import asyncio
import base64
import hashlib
import os
import re
import zlib

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
TAIL = b"\x00\x00\xff\xff"


class Broken(Exception):
    """What the other side did is against the protocol, or not what the case expects."""


def mask(payload, key):
    """XOR with the repeated key; as one large number, which is quick."""
    if not payload or not any(key):
        return bytes(payload)
    size = len(payload)
    pattern = key * (size // 4 + 1)
    return (int.from_bytes(payload, "little") ^ int.from_bytes(pattern[:size], "little")).to_bytes(size, "little")


def header(first, size, masked):
    bit = 0x80 if masked else 0
    if size < 126:
        return bytes([first, bit | size])
    if size < 1 << 16:
        return bytes([first, bit | 126]) + size.to_bytes(2, "big")
    return bytes([first, bit | 127]) + size.to_bytes(8, "big")


class Deflate:
    """permessage-deflate for one connection (RFC 7692), with the parameters that were agreed on."""

    def __init__(self, agreed, client):
        """`agreed`: the parameters of the answer. `client`: whether this side is the client."""
        mine, other = ("client", "server") if client else ("server", "client")
        self.bits = int(agreed.get(f"{mine}_max_window_bits") or 15)
        self.other_bits = int(agreed.get(f"{other}_max_window_bits") or 15)
        self.takeover = f"{mine}_no_context_takeover" not in agreed
        self.other_takeover = f"{other}_no_context_takeover" not in agreed
        self.packer = self.unpacker = None

    def pack(self, message):
        if self.packer is None or not self.takeover:
            self.packer = zlib.compressobj(6, zlib.DEFLATED, -max(self.bits, 9))    # zlib has no raw window of 8 bits
        packed = self.packer.compress(message) + self.packer.flush(zlib.Z_SYNC_FLUSH)
        return packed[:-4] if packed.endswith(TAIL) else packed

    def unpack(self, packed):
        if self.unpacker is None or not self.other_takeover:
            self.unpacker = zlib.decompressobj(-self.other_bits)
        try:
            return self.unpacker.decompress(packed + TAIL)
        except zlib.error as error:
            raise Broken(f"it can't be decompressed with a window of {self.other_bits} bits: {error}") from None


def parameters(element):
    """The parameters of an extension's element, or None where the element is malformed or another extension's."""
    name, *rest = [part.strip() for part in element.split(";")]
    found = {}
    for part in rest:
        match = re.fullmatch(r'([a-z_]+)(?:\s*=\s*"?(\d+)"?)?', part)
        if not match or match[1] in found:
            return None
        found[match[1]] = match[2]
    return found if name == "permessage-deflate" else None


def offers(value):
    """The offers of permessage-deflate in a list, in order."""
    return [found for found in (parameters(element) for element in value.split(",")) if found is not None]


def check_answer(offer, wanted, answer):
    """Checks that an answer's parameters are such as an offer allows (RFC 7692 section 7.1), and what is wanted."""
    if wanted is None:
        if answer is not None:
            raise Broken(f"to {offer!r} the answer is {answer!r} and not a refusal")
        return None
    if answer is None:
        raise Broken(f"{offer!r} was declined")
    for name, value in answer.items():
        if value is not None and not (name.endswith("_max_window_bits") and value in map(str, range(8, 16))):
            raise Broken(f"{name} has the value {value}")
    for name, value in wanted.items():
        if answer.get(name, "") != value:
            raise Broken(f"the answer {answer!r} lacks {name}")

    def allows(asked):
        if "server_no_context_takeover" in asked and "server_no_context_takeover" not in answer:
            return False
        if int(answer.get("server_max_window_bits") or 15) > int(asked.get("server_max_window_bits") or 15):
            return False
        if "client_max_window_bits" in answer:
            return "client_max_window_bits" in asked and \
                int(answer["client_max_window_bits"]) <= int(asked["client_max_window_bits"] or 15)
        return True
    if not any(allows(asked) for asked in offers(offer)):
        raise Broken(f"{offer!r} does not allow {answer!r}")
    return answer


class Peer:
    """One end of a connection. What it receives comes as events: ("text", bytes), ("binary", bytes), ("ping", bytes),
    ("pong", bytes), ("close", code, reason), ("end",). An unfinished message gives no event."""

    def __init__(self, reader, writer, client):
        self.reader, self.writer, self.client = reader, writer, client
        self.deflate = None
        self.buffer = bytearray()
        self.at = 0
        self.message = None             # opcode, compressed, parts
        self.keys = set()

    # ---- the opening handshake --------------------------------------------------------------------------------------

    async def request(self, host, path, offer=None):
        """As a client; keeps the answer's fields. `offer`: Sec-WebSocket-Extensions."""
        key = base64.b64encode(os.urandom(16))
        extensions = f"Sec-WebSocket-Extensions: {offer}\r\n" if offer else ""
        self.writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                          f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key.decode()}\r\n{extensions}\r\n".encode())
        first, self.fields = await self._head()
        if not first.startswith("HTTP/1.1 101 "):
            raise Broken(f"the upgrade was refused: {first}")
        accept = base64.b64encode(hashlib.sha1(key + GUID).digest()).decode()
        if self.fields.get("sec-websocket-accept") != accept:
            raise Broken(f"the accept key is {self.fields.get('sec-websocket-accept')}, not {accept}")
        answer = self.fields.get("sec-websocket-extensions")
        if answer is None:
            return None
        agreed = parameters(answer)
        if not offer or agreed is None:
            raise Broken(f"to {offer!r} the server answered {answer!r}")
        self.deflate = Deflate(agreed, client=True)
        return agreed

    async def read_request(self):
        """As a server: the target of a client's request, once it has come."""
        first, self.fields = await self._head()
        match = re.fullmatch(r"GET (\S+) HTTP/1\.1", first)
        if not match or self.fields.get("sec-websocket-version") != "13" or "sec-websocket-key" not in self.fields:
            raise Broken(f"the client's request is {first!r} with {self.fields!r}")
        return match[1]

    def accept(self, agreed=None):
        """... and the 101. `agreed`: the parameters of permessage-deflate."""
        accept = base64.b64encode(hashlib.sha1(self.fields["sec-websocket-key"].encode() + GUID).digest()).decode()
        lines = [f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                 f"Sec-WebSocket-Accept: {accept}\r\n"]
        if agreed is not None:
            words = [name if value is None else f"{name}={value}" for name, value in agreed.items()]
            lines.append(f"Sec-WebSocket-Extensions: {'; '.join(['permessage-deflate'] + words)}\r\n")
            self.deflate = Deflate(agreed, client=False)
        self.writer.write("".join(lines + ["\r\n"]).encode())

    async def _head(self):
        text = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = text[:-4].split("\r\n")
        return first, {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}

    # ---- sending ----------------------------------------------------------------------------------------------------

    def frame(self, first, payload=b""):
        """The bytes of a frame, masked if this is a client."""
        if not self.client:
            return header(first, len(payload), False) + payload
        key = os.urandom(4)
        return header(first, len(payload), True) + key + mask(payload, key)

    def begin(self, first, size):
        """The header of a frame alone. Its payload is masked with zeros, so that it can be sent in any parts."""
        return header(first, size, self.client) + (bytes(4) if self.client else b"")

    def fragments(self, first, payload, size):
        """A message in frames of `size` bytes, without anything between; `first`: of the first frame, FIN set."""
        parts = range(0, len(payload), size)
        if not parts:
            return self.frame(first)
        key = os.urandom(4) if self.client else b""
        if self.client and size % 4 == 0:
            payload = mask(payload, key)        # once for all: each frame begins with the key's first byte
        last = parts[-1]
        frames = []
        for at in parts:
            byte = (first & 0x7F if at == 0 else 0) | (0x80 if at == last else 0)
            part = payload[at:at + size]
            frames.append(header(byte, len(part), self.client) + key)
            frames.append(mask(part, key) if self.client and size % 4 else part)
        return b"".join(frames)

    async def send(self, data, chop=0):
        """`chop`: so many bytes at a time."""
        if not chop:
            self.writer.write(data)
            await self.writer.drain()
            return
        for at in range(0, len(data), chop):
            self.writer.write(data[at:at + chop])
            await self.writer.drain()
            await asyncio.sleep(0)          # so that each part is a send of its own

    def end(self):
        if self.writer.can_write_eof():
            self.writer.write_eof()
        else:
            self.writer.close()     # TLS: its own end, and the stream's

    # ---- receiving --------------------------------------------------------------------------------------------------

    async def receive(self):
        while True:
            while (event := self._next()) is None:
                try:
                    data = await self.reader.read(1 << 18)
                except ConnectionResetError:
                    return ("reset",)
                if not data:
                    if len(self.buffer) > self.at:
                        raise Broken(f"the stream ends inside a frame: {bytes(self.buffer[self.at:self.at + 40])!r}")
                    return ("end",)
                if self.at:
                    del self.buffer[:self.at]
                    self.at = 0
                self.buffer += data
            if event != ():
                return event

    def _next(self):
        """The event at the front of the buffer; () where a frame gave none, None where there is no whole frame."""
        buffer, at = self.buffer, self.at
        if len(buffer) - at < 2:
            return None
        first, size = buffer[at], buffer[at + 1] & 0x7F
        masked = buffer[at + 1] >= 0x80
        at += 2
        if size > 125:
            digits = 2 if size == 126 else 8
            if len(buffer) - at < digits:
                return None
            size = int.from_bytes(buffer[at:at + digits], "big")
            at += digits
            if size < (126 if digits == 2 else 1 << 16):
                raise Broken(f"a length of {size} is not in its shortest form")
        key = bytes(buffer[at:at + 4]) if masked else b""
        at += len(key)
        if len(buffer) - at < size or (masked and len(key) < 4):
            return None
        payload = bytes(buffer[at:at + size])
        self.at = at + size
        return self._take(first, mask(payload, key) if masked else payload, masked, key)

    def _take(self, first, payload, masked, key):
        opcode, fin, reserved = first & 15, first >= 0x80, first >> 4 & 7
        if masked == self.client:
            raise Broken(f"a frame {first:02x} is {'masked' if masked else 'not masked'}")
        if masked and len(payload) > 0:
            if key in self.keys and len(self.keys) < 1000:      # of 2^32: a thousand hardly ever have two alike
                raise Broken(f"two frames are masked with {key.hex()}")
            self.keys.add(key)
        if reserved not in (0, 4) or (reserved and (self.deflate is None or opcode not in (TEXT, BINARY))):
            raise Broken(f"a frame {first:02x} has reserved bits")
        if opcode >= 8:
            if not fin or len(payload) > 125:
                raise Broken(f"a control frame {first:02x} has {len(payload)} bytes")
            if opcode == CLOSE:
                if len(payload) == 1:
                    raise Broken("a close frame has one byte")
                code = int.from_bytes(payload[:2], "big") if payload else None
                return ("close", code, payload[2:].decode())
            if opcode not in (PING, PONG):
                raise Broken(f"a frame {first:02x} has no known opcode")
            return ("ping" if opcode == PING else "pong", payload)
        if (opcode == CONTINUATION) != (self.message is not None) or opcode > BINARY:
            raise Broken(f"a frame {first:02x} comes {'in' if self.message else 'outside'} a message")
        if opcode != CONTINUATION:
            self.message = (opcode, bool(reserved), [])
        kind, compressed, parts = self.message
        parts.append(payload)
        if not fin:
            return ()
        self.message = None
        message = b"".join(parts)
        if compressed:
            message = self.deflate.unpack(message)
        if kind == TEXT:
            message.decode()            # it must be UTF-8
        self.frames, self.compressed = len(parts), compressed
        return ("text" if kind == TEXT else "binary", message)
