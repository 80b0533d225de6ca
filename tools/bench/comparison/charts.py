# SPDX-License-Identifier: BSL-1.0
"""Which plots a run has the data for, and what they show."""
from dataclasses import dataclass, field

from comparison import plots
from comparison.plots import Axis, Series
from comparison.units import count, microseconds, nanoseconds, percent, ratio, size

LONGEST_BAR = 3.5       # of the shortest one; what is longer is cut
HIGHEST_RATIO = 2.0     # of a line that is drawn whole

# Those that are there in most runs look the same in all.
COLOURS = ("bare_epoll", "bare_uring", "wring_uring", "wring_asio", "beast", "websocketpp", "libwebsockets", "ws")
MOST_COLOURS = 10       # in page.css


@dataclass
class Chart:
    title: str
    svg: str


@dataclass
class Section:
    title: str
    text: str
    loads: list
    charts: list = field(default_factory=list)
    series: list = field(default_factory=list)


def style_of(server, servers):
    """A colour and a mark for each server; wring's are the heavy lines, the bare ones dashed."""
    others = [s for s in servers if s not in COLOURS]
    number = COLOURS.index(server) if server in COLOURS else len(COLOURS) + others.index(server)
    kind = " ours" if server.startswith("wring") else " bare" if server.startswith("bare") else ""
    return f"c{number % MOST_COLOURS}{kind}", number


def series_of(servers, points):
    """`points`: server -> list; those without any are left out."""
    return [Series(s, *style_of(s, servers), points[s]) for s in servers if points.get(s)]


# kind, which of its numbers varies: the section's title, what it says, the axis' title, how its numbers are written
SWEEPS = {
    ("echo", 0): ("Cost by connections", "One message in flight on each connection.", "connections", count),
    ("echo", 1): ("Cost by messages in flight", "Messages that come together can be answered together.", "messages in flight", count),
    ("echo", 2): ("Cost by size", "One message in flight on each of the connections.", "bytes of a message", size),
    ("broadcast", 0): ("Fan-out", "One member sends, all receive: what a single delivery costs.", "members", count),
    ("idle", 0): ("Memory by connections", "User memory of one idle connection, by how many there are.", "idle connections", count),
    ("rate", 1): ("Latency by rate", "Messages are due at a constant rate, and latency counts from when one was due: the time that a late "
                  "one had to wait is in it.", "messages per second", count),
}


def rows(loads, kind, varies):
    """The loads of a kind that differ in one number only: the longest such row."""
    groups = {}
    for load in loads:
        if load.kind == kind:
            groups.setdefault(load.numbers[:varies] + load.numbers[varies + 1:], []).append(load)
    best = max(groups.values(), key=len, default=[])
    return sorted(best, key=lambda x: x.numbers[varies]) if len(best) >= 3 else []


def points_of(row, varies, summary, servers, value):
    """server -> [(x, median, lowest, highest)]; `value` gives a spread, a number or None for an entry."""
    points = {}
    for s in servers:
        for load in row:
            v = value(summary[load.name].get(s))
            if v is not None:
                v = (v["median"], v["min"], v["max"]) if isinstance(v, dict) else (v,)
                points.setdefault(s, []).append((load.numbers[varies], *v))
    return points


def line_chart(ident, title, series, x, y, marks=True):
    said = "; ".join(f"{s.name}: {y.text(s.points[0][1])} to {y.text(s.points[-1][1])}" for s in series)
    return Chart(title, plots.line_chart(ident, title, f"{y.title} over {x.title}. {said}.", series, x, y, marks))


def curves(loads, summary, servers):
    for (kind, varies), (title, text, axis, write) in SWEEPS.items():
        row = rows(loads, kind, varies)
        if not row:
            continue
        ident = f"{kind}{varies}"
        others = " x ".join("N" if i == varies else str(n) for i, n in enumerate(row[0].numbers))
        x = lambda: Axis(axis, write, log=True, ticks=plots.thinned([load.numbers[varies] for load in row]))
        section = Section(title, f"{text} Loads {others}." if len(row[0].numbers) > 1 else text, row)
        if kind == "rate":
            for p in ("p50", "p99", "p99.9"):
                series = series_of(servers, points_of(row, varies, summary, servers, lambda e: e and e["latency_us"][p]))
                section.charts.append(line_chart(f"{ident}{p.replace('.', '')}", f"latency, {p}", series, x(),
                                                 Axis("latency", microseconds, log=True)))
            section.series = series
            yield section
            continue
        idle = kind == "idle"
        series = series_of(servers, points_of(row, varies, summary, servers, lambda e: e and e["value"]))
        unit = "user memory per connection" if idle else "server CPU time per " + ("delivery" if kind == "broadcast" else "message")
        y = Axis(unit, size, unit=1024) if idle else Axis(unit, nanoseconds, log=True)
        section.charts.append(line_chart(ident, unit, series, x(), y))
        compared = series_of(servers, points_of(row, varies, summary, servers, lambda e: e and e.get("ratio_to_better_bare")))
        if compared and not idle:
            highest = max(p[1] for s in compared for p in s.points)
            y = Axis("ratio to the better bare server", ratio, low=0.6, high=min(HIGHEST_RATIO, max(1.2, highest * 1.05)))
            section.charts.append(line_chart(ident + "r", "the same, divided by the better bare server's", compared, x(), y))
        section.series = series
        yield section


def percentiles(loads, summary, servers):
    """How latency rises towards the rarest messages, for each constant rate."""
    rated = [x for x in loads if x.kind == "rate"]
    if not rated:
        return
    section = Section("Latency by percentile", "The time that a share of the messages did not exceed, on a scale that spreads the rarest "
                      "ones: pauses show at the right. Open loop: latency counts from when a message was due.", rated)
    ticks = [0, 0.9, 0.99, 0.999, 0.9999, 0.99999]
    for load in rated:
        entries = summary[load.name]
        points = {s: [(1 / (1 - q), us) for q, us in entries[s]["latency_curve_us"] if q < 1 and us > 0] for s in servers if s in entries}
        series = series_of(servers, points)
        last = max((p[0] for s in series for p in s.points), default=10)
        x = Axis("share of the messages", lambda v: percent(1 - 1 / v), log=True, low=1, high=last,
                 ticks=[1 / (1 - q) for q in ticks if 1 / (1 - q) <= last * 1.01])
        title = f"{count(load.numbers[1])} messages/s on {load.numbers[0]} connections, {size(load.numbers[2])}"
        section.charts.append(line_chart(f"p{load.numbers[1]}x{load.numbers[0]}x{load.numbers[2]}", title, series, x,
                                         Axis("latency", microseconds, log=True), marks=False))
        section.series = section.series if len(section.series) > len(series) else series
    yield section


def bars(loads, summary, servers, base):
    """(load, chart) for each load: the cheapest server first."""
    for load in loads:
        entries, text = summary[load.name], size if load.idle else nanoseconds
        out = []
        for s in sorted((s for s in servers if s in entries), key=lambda s: entries[s]["value"]["median"]):
            v = entries[s]["value"]
            q = entries[s].get("ratio_to_" + base) or entries[s].get("ratio_to_better_bare")
            out.append((s, style_of(s, servers)[0], v["median"], v["min"], v["max"], "× " + ratio(q["median"]) if q else ""))
        lowest = min((b[2] for b in out if not load.idle), default=0)
        said = "; ".join(f"{name}: {text(median)}" for name, _, median, *_ in out)
        ident = "bar-" + load.name
        yield load, Chart(load.title, plots.bar_chart(ident, load.title, said + ".", out, text, most=lowest * LONGEST_BAR or None))
