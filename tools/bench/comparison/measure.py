# SPDX-License-Identifier: BSL-1.0
"""Rounds: every server under every load, each time fresh, on a core of its own."""
import json
import subprocess
import sys
import time

from comparison.servers import Running, pin


def progress(text):
    """One line that is rewritten on a terminal, a line each time elsewhere."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
    elif text:
        print(text, file=sys.stderr, flush=True)


def measure(server, load, args):
    """One run of one load on a fresh server; returns the generator's results."""
    with Running(server, load, args.server_core) as running:
        command = [str(args.build / "tools/bench/load"), "--url", running.url, "--server-pid", str(running.process.pid),
                   "--json", "-", "--quiet", *load.options]
        command += ["--seconds", "1"] if load.idle else ["--seconds", str(args.seconds), "--warmup", str(args.warmup)]
        limit = 90 + args.seconds + args.warmup
        try:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=limit,
                                  preexec_fn=pin({args.load_core}))
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"the load generator did not end within {limit:.0f} s") from None
        lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
        if done.returncode != 0 or not lines:
            raise RuntimeError((done.stderr.strip() or f"load ended with {done.returncode}") +
                               f"\nthe server said: {running.said()}")
        return json.loads(lines[-1])


def turns(servers, loads, count):
    """Round, load and server of each measurement, in order."""
    for number in range(count):
        for load in loads:
            able = [s for s in servers if s.can(load)]
            # Each round starts with another server, so that none is always the first after a pause.
            first = number % max(1, len(able))
            for s in able[first:] + able[:first]:
                yield number, load, s


def rounds(servers, loads, args):
    """(server, load) -> round -> result, and whether anything failed. An interrupt ends it with what there is."""
    results, failed = {}, {}
    planned, began = list(turns(servers, loads, args.rounds)), time.monotonic()
    for n, (number, load, s) in enumerate(planned, 1):
        left = (time.monotonic() - began) / max(1, n - 1) * (len(planned) - n + 1)
        progress(f"[{n}/{len(planned)}] round {number + 1} {load.name} {s.name}" + (f", about {left:.0f} s left" if n > 1 else ""))
        key = s.name, load.name
        if failed.get(key, 0) >= 2:
            continue
        try:
            results.setdefault(key, {})[number] = measure(s, load, args)
        except (RuntimeError, OSError) as e:
            failed[key] = failed.get(key, 0) + 1
            progress("")
            print(f"{s.name}, {load.name}: {e}", file=sys.stderr)
        except KeyboardInterrupt:
            progress("")
            print(f"interrupted in round {number + 1} of {args.rounds}: what follows is what had been measured", file=sys.stderr)
            return results, True
    progress("")
    return results, bool(failed)
