#!/usr/bin/env python3
"""Checks the arrows between the rooms of lib/ (docs/explanation/rooms.md draws them).

An include may point only downwards: http -> ws; ws and hub -> net -> tls -> engine. proto includes nothing of ours but itself, and no
socket, clock, thread or coroutine header; ws and http may use it. tls includes no socket header. A public header never includes a
private one. No include cycles.

usage: check_rooms.py [LIB]        LIB is the folder that holds include/ and src/; lib/ by default
"""
import pathlib
import re
import sys

import reporting

# room: the rooms whose private headers it may include. Public headers are open to every room but proto.
ARROWS = {
    "proto": {"proto"},
    "core": {"core"},                       # also the files directly in src/
    "engine": {"engine", "core"},
    "net": {"net", "tls", "engine", "core"},
    "tls": {"tls", "engine", "core"},
    "ws": {"ws", "net", "tls", "engine", "core", "proto"},
    "hub": {"hub", "net", "tls", "engine", "core"},
    "http": {"http", "ws", "net", "tls", "engine", "core", "proto"},
}

# What the rooms without I/O may not touch, and why.
SOCKETS = (r"sys/(socket|epoll|select|poll|un|uio|eventfd|timerfd|signalfd|ioctl)\.h|netinet/.*|arpa/.*|netdb\.h|poll\.h"
           r"|net/.*|unistd\.h|fcntl\.h|liburing\.h|liburing/.*|linux/.*|asio\.hpp|asio/.*")
FORBIDDEN = {"tls": [(SOCKETS, "socket")], "proto": [
    (SOCKETS + r"|openssl/ssl\.h|openssl/bio\.h", "socket"),
    (r"chrono|ctime|time\.h|sys/time\.h|sys/timerfd\.h", "clock"),
    (r"thread|mutex|shared_mutex|condition_variable|future|semaphore|latch|barrier|stop_token|pthread\.h|sys/futex\.h"
     r"|threads\.h|csignal|signal\.h", "thread"),
    (r"coroutine|experimental/coroutine|generator", "coroutine"),
]}

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*(?:"([^"\n]+)"|<([^>\n]+)>)', re.M)
COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/|\"(?:\\.|[^\"\\\n])*\"", re.S)


def without_comments(text):
    """The text with comments blanked, line by line, strings kept (an include's name is one)."""
    def blank(match):
        found = match.group(0)
        return found if found.startswith('"') else re.sub(r"[^\n]", " ", found)
    return COMMENT.sub(blank, text)


def includes(path):
    text = without_comments(path.read_text(errors="replace"))
    for match in INCLUDE.finditer(text):
        yield text.count("\n", 0, match.start()) + 1, match.group(1), match.group(2)


class House:
    def __init__(self, lib):
        self.public = (lib / "include").resolve()
        self.private = (lib / "src").resolve()
        self.files = sorted(path.resolve() for folder in (self.public, self.private) if folder.is_dir()
                            for path in folder.rglob("*") if path.suffix in (".hpp", ".h", ".cpp", ".ipp", ".inc"))

    def room(self, path):
        if self.public in path.parents:
            return "public"
        if self.private in path.parents:
            parts = path.relative_to(self.private).parts
            return parts[0] if len(parts) > 1 else "core"
        return None

    def resolve(self, path, quoted, angled):
        """The file of ours that an include means, or None."""
        name = quoted or angled
        places = ([path.parent] if quoted else []) + [self.private, self.public]
        for place in places:
            file = (place / name).resolve()
            if file.is_file() and self.room(file):
                return file
        return None


def check(lib):
    house = House(lib)
    faults = []
    edges = {}

    def fault(path, line, text):
        try:
            shown = path.relative_to(pathlib.Path.cwd())
        except ValueError:
            shown = path
        faults.append(f"{shown}:{line}: {text}")

    for path in house.files:
        room = house.room(path)
        if room not in ARROWS and room != "public":
            fault(path, 1, f"'{room}' is no room: see ARROWS in tools/check_rooms.py")
            continue
        for line, quoted, angled in includes(path):
            name = quoted or angled
            target = house.resolve(path, quoted, angled)
            if target is None:
                for pattern, kind in FORBIDDEN.get(room, []):
                    if re.fullmatch(pattern, name):
                        fault(path, line, f"{room} may include no {kind} header: {name}")
                if room == "proto":
                    if name.startswith("wring/"):
                        fault(path, line, f"proto may include nothing of ours but itself: {name}")
                elif quoted:
                    fault(path, line, f"include of a file that is not there: {name}")
                continue
            told = len(faults)
            there = house.room(target)
            if room == "public":
                if there != "public":
                    fault(path, line, f"a public header may not include a private one: {name} (room {there})")
            elif there == "public":
                if room == "proto":
                    fault(path, line, f"proto may include nothing of ours but itself: {name}")
            elif room == "proto" and there != "proto":
                fault(path, line, f"proto may include nothing of ours but itself: {name} (room {there})")
            elif there not in ARROWS[room]:
                fault(path, line, f"the arrow {room} -> {there} points up: {name}")
            if len(faults) == told:
                edges.setdefault(path, []).append((line, target))

    # cycles, each told once
    state = {}

    def walk(path, trail):
        state[path] = "open"
        for line, target in edges.get(path, []):
            if state.get(target) == "open":
                loop = [step.name for step in trail[trail.index(target):]] if target in trail else [path.name]
                fault(path, line, "include cycle: " + " -> ".join(loop + [target.name]))
            elif target not in state:
                walk(target, trail + [target])
        state[path] = "done"

    for path in house.files:
        if path not in state:
            walk(path, [path])
    return faults, len(house.files)


def main():
    lib = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else pathlib.Path(__file__).resolve().parent.parent / "lib"
    faults, files = check(lib)
    return reporting.told(faults, f"check_rooms: {files} files, every arrow points down")


if __name__ == "__main__":
    sys.exit(main())
