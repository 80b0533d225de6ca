# SPDX-License-Identifier: BSL-1.0
"""From single results to medians and ratios, and the tables of them."""
import statistics

from comparison.servers import BARE

PERCENTILES = ("p50", "p90", "p99", "p99.9", "p99.99")


def value_of(load, result):
    return result["dirty_bytes_per_connection"] if load.idle else result["cpu_ns_per_message"]


def latency_of(load, result):
    return result["latency_us"]["p50"]


def spread(values):
    values = list(values)
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def ratios(values, base):
    """Ratio of each round to the base's same round: what disturbs the machine for a while disturbs both."""
    pairs = [v / base[r] for r, v in values.items() if base.get(r)]
    return spread(pairs) if pairs else None


def better(*bases):
    """The lower value in each round of several servers."""
    return {r: min(b[r] for b in bases if r in b) for r in set().union(*bases)}


def bases_of(load, of, values, against):
    """What to compare with: label -> round -> value. `of` gives the rounds of a server by name."""
    measured = {name: {r: values(load, v) for r, v in of(name).items()} for name in {*BARE, *against}}
    bases = {}
    if not load.idle and not load.only_frames:
        bases[BARE[0]] = measured[BARE[0]]
        bases["better_bare"] = better(*(measured[name] for name in BARE))
    return {name: base for name, base in (bases | {name: measured[name] for name in against}).items() if base}


def median_curve(curves):
    """Of several curves of the same quantiles, as far as all go: the highest latency stays the highest there was."""
    shared = min(len(c) for c in curves) - 1
    curve = [[curves[0][i][0], statistics.median(c[i][1] for c in curves)] for i in range(shared)]
    return curve + [[1, max(c[-1][1] for c in curves)]]


def entry_of(load, server, got, of, against):
    """What is said about a server under a load: `got` are its results by round."""
    values = {r: value_of(load, v) for r, v in got.items()}
    entry = {"parses_frames": server.parses, "rounds": len(got), "value": spread(values.values())}
    for name, base in bases_of(load, of, value_of, against).items():
        entry["ratio_to_" + name] = ratios(values, base)
    if load.idle:
        return entry
    median = lambda f: statistics.median(f(x) for x in got.values())
    entry["messages_per_second"] = median(lambda x: x["messages_per_second"])
    entry["latency_us"] = {p: median(lambda x: x["latency_us"][p]) for p in PERCENTILES}
    entry["latency_curve_us"] = median_curve([x["latency_curve_us"] for x in got.values()])
    if load.timed:
        latencies = {r: latency_of(load, v) for r, v in got.items()}
        for name, base in bases_of(load, of, latency_of, against).items():
            entry["latency_ratio_to_" + name] = ratios(latencies, base)
    return entry


def summarize(servers, loads, results, against):
    """load name -> server name -> entry."""
    summary = {}
    for load in loads:
        of = lambda name: results.get((name, load.name), {})
        summary[load.name] = {s.name: entry_of(load, s, of(s.name), of, against) for s in servers if of(s.name)}
    return summary


def rows_of(load, servers, entries):
    """The table of a load: its head, then a row for each server."""
    ratio_names = sorted({k for e in entries.values() for k in e if k.startswith("ratio_to_")},
                         key=lambda k: list(next(e for e in entries.values() if k in e)).index(k))
    latency_names = ["latency_" + k for k in ratio_names] if load.timed else []
    head = ["server", "frames", "user bytes/connection" if load.idle else "server CPU ns", "min-max"]
    for name in ratio_names:
        head += ["/ " + label(name), "min-max"]
    if not load.idle:
        head += ["per second", "p50 us", "p99 us", "p99.9 us"] + ["p50 / " + label(name) for name in latency_names]
    rows = [head]
    for s in servers:
        if not s.can(load):
            continue
        row = [s.name, "parsed" if s.parses else "not parsed"]
        e = entries.get(s.name)
        if not e:
            rows.append(row + ["failed"] + [""] * (len(head) - 3))
            continue
        row += [f"{e['value']['median']:.0f}", f"{e['value']['min']:.0f}-{e['value']['max']:.0f}"]
        for name in ratio_names:
            q = e.get(name)
            row += [f"{q['median']:.2f}", f"{q['min']:.2f}-{q['max']:.2f}"] if q else ["", ""]
        if not load.idle:
            row += [f"{e['messages_per_second']:.0f}"] + [f"{e['latency_us'][p]:.0f}" for p in ("p50", "p99", "p99.9")]
            row += [f"{e[name]['median']:.2f}" if e.get(name) else "" for name in latency_names]
        rows.append(row)
    return rows


def label(ratio):
    return ratio.removeprefix("latency_").removeprefix("ratio_to_").replace("better_bare", "better bare")


def print_table(title, rows):
    print(f"\n{title}")
    print_rows(rows)


def print_rows(rows):
    """The first is the head."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for n, row in enumerate(rows):
        print("  ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths))).rstrip())
        if n == 0:
            print("  ".join("-" * w for w in widths))
