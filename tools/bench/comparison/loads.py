# SPDX-License-Identifier: BSL-1.0
"""Loads, by names that say what they are: see HELP."""
import re
from dataclasses import dataclass, field
from pathlib import Path

SIZES = Path(__file__).resolve().parents[1] / "sizes"

HELP = """Loads, C connections, F messages in flight of each sender, S bytes:
  CxFxS               echo; text-CxFxS with text of characters of 1 to 4 bytes
  chat-CxF            echo of mixed sizes (sizes/chat.txt; so each file there)
  rate-CxNxS          echo at N messages/s of all connections together, whatever the server does
  broadcast-CxFxS     one member sends, C receive; all-CxFxS: all members send
  churn-C             C connections at a time (just churn: 64) are opened, closed by both sides, and opened again
  handshake-C         the same, reset as soon as they are open
  idle-N              memory of N connections
  deflate-CxFxS       compressed; takeover-CxFxS with windows that are kept: on servers that can"""

DEFAULT = ["1x1x64", "64x1x64", "64x16x64", "1000x1x64", "64x1x1024", "64x1x16384", "8x1x1048576", "text-64x1x200",
           "chat-64x4", "market-64x4", "rate-64x20000x64", "rate-64x100000x64", "broadcast-1000x1x64", "broadcast-1000x16x64",
           "churn-64"]

SHORT = {"churn": "churn-64", "handshake": "handshake-64"}

SWEEPS = {
    "connections": [f"{n}x1x64" for n in (1, 4, 16, 64, 256, 1000, 4000)],
    "in-flight": [f"64x{n}x64" for n in (1, 2, 4, 8, 16, 32, 64)],
    "size": [f"64x1x{n}" for n in (16, 64, 256, 1024, 4096, 16384, 65536, 262144)],
    "rate": [f"rate-64x{n}x64" for n in (1000, 5000, 10000, 20000, 50000, 100000, 150000, 200000)],
    "members": [f"broadcast-{n}x1x64" for n in (10, 30, 100, 300, 1000, 3000)],
    "idle": [f"idle-{n}" for n in (500, 1000, 2000, 5000, 10000)],
}


@dataclass(frozen=True)
class Load:
    name: str
    kind: str                       # the word in front; "echo" where there is none
    numbers: tuple                  # the numbers behind it
    options: tuple = field(repr=False)      # of the generator
    mode: str = "echo"              # what the server does: echo or broadcast

    @property
    def idle(self):
        return self.kind == "idle"

    @property
    def compressed(self):
        return self.kind in ("deflate", "takeover")

    @property
    def only_frames(self):
        """Whether a server that parses nothing cannot do it."""
        return self.compressed or self.kind in ("churn", "handshake")

    @property
    def timed(self):
        """Whether its latencies are what it is for: the server is not kept busy."""
        return self.kind == "rate" or (self.kind == "echo" and self.numbers[0] == 1)

    @property
    def title(self):
        counted = {"idle": "connections", "churn": "connections at a time", "handshake": "connections at a time",
                   "rate": "connections x messages/s x bytes", "broadcast": "members x in flight x bytes",
                   "all": "members that all send x in flight x bytes"}
        of_file = "connections x in flight, sizes of a file"
        return f"{self.name} ({counted.get(self.kind) or (of_file if len(self.numbers) == 2 else 'connections x in flight x bytes')})"


def parse(name):
    """The load of this name; None where it names none."""
    name = SHORT.get(name, name)
    match = re.fullmatch(r"(?:([a-z]+)-)?(\d+)(?:x(\d+))?(?:x(\d+))?", name)
    if not match:
        return None
    kind = match[1] or "echo"
    numbers = tuple(int(n) for n in match.groups()[1:] if n is not None)
    if not all(numbers[:2]):
        return None
    connections = ("--connections", str(numbers[0]))
    if kind in ("churn", "handshake", "idle") and len(numbers) == 1:
        return Load(name, kind, numbers, ("--mode", kind, *connections))
    if len(numbers) == 2 and (SIZES / f"{kind}.txt").is_file():
        return Load(name, kind, numbers, (*connections, "--in-flight", str(numbers[1]), "--sizes", str(SIZES / f"{kind}.txt")))
    if len(numbers) != 3:
        return None
    options = {"echo": (), "text": ("--text",), "deflate": ("--deflate", "fresh"), "takeover": ("--deflate", "takeover"), "rate": (),
               "broadcast": ("--mode", "broadcast"), "all": ("--mode", "broadcast", "--senders", "all")}.get(kind)
    if options is None:
        return None
    middle = "--rate" if kind == "rate" else "--in-flight"
    mode = "broadcast" if kind in ("broadcast", "all") else "echo"
    return Load(name, kind, numbers, (*options, *connections, middle, str(numbers[1]), "--size", str(numbers[2])), mode)
