# SPDX-License-Identifier: BSL-1.0
"""Reads the files of cases; README.md describes their form."""
import dataclasses
import pathlib
import re

import payloads

FOLDER = pathlib.Path(__file__).resolve().parent / "cases"
DIRECTIVES = {"send", "frame", "fragments", "empties", "begin", "more", "header", "raw", "chop", "expect", "echo",
              "close", "fail", "finish"}
OPCODES = {"text": 0x81, "binary": 0x82, "close": 0x88, "ping": 0x89, "pong": 0x8A}


@dataclasses.dataclass
class Case:
    number: str
    title: str
    where: str
    needs: set = dataclasses.field(default_factory=set)
    roles: tuple = ("server", "client")
    offer: str = None
    agree: dict = None
    steps: list = dataclasses.field(default_factory=list)

    @property
    def name(self):
        return f"{self.number} {self.title}"


def close_payload(words):
    """CODE and a payload, or nothing."""
    code, _, reason = words.partition(" ")
    return int(code).to_bytes(2, "big") + payloads.payload(reason) if code else b""


def read_agreed(words):
    return {name: value or None for name, _, value in (word.partition("=") for word in words.split())}


def read_line(case, line):
    word, _, rest = line.partition(" ")
    if word == "needs":
        case.needs = set(rest.split()) - {"plain"}
    elif word == "role":
        case.roles = (rest,)
    elif word == "offer":
        case.offer = rest
    elif word == "agree":
        case.agree = read_agreed(rest)
    elif word in DIRECTIVES:
        case.steps.append((word, rest))
    else:
        raise ValueError(f"unknown directive {word}")


def fill(text, cells):
    return re.sub(r"\{(\d+)\}", lambda found: cells[int(found[1]) - 1], text)


def read_file(path):
    """Cases stand one by one, or as the rows of a table that share their steps."""
    cases, current, rows = [], [], []
    for number, line in enumerate(path.read_text().split("\n"), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        try:
            word, _, rest = line.partition(" ")
            if word in ("case", "table"):
                where = f"{path.name}:{number}"
                prefix, _, title = rest.partition(" ")
                current, rows = [], []
                if word == "case":
                    current = [Case(prefix, title, where)]
                    cases += current
                else:
                    table = (prefix, title, where)
            elif word == "|":
                cells = [cell.strip() for cell in line[1:].split(" | ")]
                prefix, title, where = table
                rows.append(cells)
                current.append(Case(f"{prefix}.{len(rows)}", fill(title, cells), f"{path.name}:{number}"))
                cases.append(current[-1])
            else:
                for at, case in enumerate(current):
                    read_line(case, fill(line, rows[at]) if rows else line)
        except (ValueError, IndexError, KeyError) as error:
            raise SystemExit(f"{path}:{number}: {error}") from None
    return cases


def key_of(case):
    return [int(part) for part in case.number.split(".")]


def read_all():
    cases = [case for path in sorted(FOLDER.glob("*.txt")) for case in read_file(path)]
    numbers = [case.number for case in cases]
    if twice := {number for number in numbers if numbers.count(number) > 1}:
        raise SystemExit(f"there are two cases {sorted(twice)}")
    return sorted(cases, key=key_of)
