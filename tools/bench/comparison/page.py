# SPDX-License-Identifier: BSL-1.0
"""The page that tools/bench/report writes: what a run of tools/bench/run has measured, drawn. One file, nothing loaded."""
from html import escape
from pathlib import Path

from comparison import charts
from comparison.loads import Load
from comparison.summary import label
from comparison.units import count, microseconds, nanoseconds, ratio, size

STYLE = Path(__file__).with_name("page.css")


def facts(runs):
    """What is said of each run, and of how many loads."""
    for run in runs:
        kernel, processor = run.get("kernel", "?"), run.get("processor") or "an unknown processor"
        n = len(run["summary"])
        loads = f"{n} load{'' if n == 1 else 's'}: " if len(runs) > 1 else ""
        yield (f"{loads}{run['rounds']} interleaved rounds of {run['seconds']:g} s each, medians; whiskers go from the lowest round to "
               f"the highest. Linux {kernel}, {processor}, {run.get('cores', '?')} cores.")


def together(runs):
    """As if it had been one run: a load that several have measured is the first one's."""
    data = {"against": runs[0].get("against"), "loads": [], "summary": {}}
    for run in runs:
        data["loads"] += [x for x in run["loads"] if x["name"] not in data["summary"]]
        data["summary"] = run["summary"] | data["summary"]
    return data


def html_table(caption, head, rows):
    """Rows that are wring's, and columns, are told by their weight."""
    ours = lambda text: " class=ours" if text.startswith("wring") else ""
    heads = "".join(f"<th scope=col{ours(c)}>{escape(c)}</th>" for c in head)
    lines = "".join(f"<tr{ours(row[0])}><th scope=row>{escape(row[0])}</th>"
                    + "".join(f"<td{ours(head[i])}>{escape(c)}</td>" for i, c in enumerate(row) if i) + "</tr>" for row in rows)
    return (f"<div class=scroll><table><caption>{escape(caption)}</caption><thead><tr>{heads}</tr></thead>"
            f"<tbody>{lines}</tbody></table></div>")


def details(summary, body):
    return f"<details><summary>{escape(summary)}</summary>{body}</details>"


def load_table(load, entries):
    """All that is known about a load, as the script prints it."""
    names = list(dict.fromkeys(k for e in entries.values() for k in e if k.startswith(("ratio_to_", "latency_ratio_to_"))))
    head = ["server", "bytes per connection" if load.idle else "CPU", "lowest", "highest"]
    head += [("p50 / " if k.startswith("latency") else "/ ") + label(k) for k in names]
    if not load.idle:
        head += ["per second", "p50", "p90", "p99", "p99.9", "p99.99"]
    text = size if load.idle else nanoseconds
    rows = []
    for name, e in entries.items():
        v = e["value"]
        row = [name, text(v["median"]), text(v["min"]), text(v["max"])] + [ratio(e[k]["median"]) if e.get(k) else "" for k in names]
        if not load.idle:
            row += [count(e["messages_per_second"])] + [microseconds(v) for v in e["latency_us"].values()]
        rows.append(row)
    return html_table(load.title, head, rows)


def glance(loads, summary, servers, base):
    """Every load in one table: the ratios to one server, or to the better bare one."""
    rows = []
    for load in loads:
        entries = summary[load.name]
        key = "ratio_to_" + base
        if any(key in e for e in entries.values()):
            rows.append([load.name] + [ratio(entries[s][key]["median"]) if entries.get(s, {}).get(key) else "" for s in servers])
    if not rows:
        return ""
    return ("<section><h2>At a glance</h2><p>Server CPU time (idle: memory) of each load, divided by that of "
            f"{escape(label(base))} in the same round; medians. Below 1 is cheaper.</p>" + html_table(f"Ratios to {label(base)}", ["load", *servers], rows) + "</section>")


def legend(series):
    items = "".join(f'<li><svg viewBox="-14 -6 28 12" aria-hidden="true"><path class="line {s.style}" d="M-13 0H13"/>'
                    f'{charts.plots.mark(s.mark, 0, 0, s.style)}</svg>{escape(s.name)}</li>' for s in series)
    return f"<ul class=legend>{items}</ul>"


def sections(data, loads, servers):
    """(title, what it says, charts, series of the legend, tables)"""
    summary = data["summary"]
    for section in charts.curves(loads, summary, servers):
        tables = "".join(load_table(x, summary[x.name]) for x in section.loads)
        yield section.title, section.text, section.charts, legend(section.series), tables
    for section in charts.percentiles(loads, summary, servers):
        yield section.title, section.text, section.charts, legend(section.series), ""


def render(runs):
    data = together(runs)
    loads = [Load(x["name"], x["kind"], tuple(x["numbers"]), ()) for x in data["loads"] if data["summary"].get(x["name"])]
    servers = list(dict.fromkeys(s for x in loads for s in data["summary"][x.name]))
    base = data["against"][0] if data.get("against") else "better_bare"
    body = [glance(loads, data["summary"], servers, base)]
    for title, text, figures, below, tables in sections(data, loads, servers):
        panels = "".join(f"<figure><figcaption>{escape(c.title)}</figcaption>{c.svg}</figure>" for c in figures)
        body.append(f"<section><h2>{escape(title)}</h2><p>{escape(text)}</p>{below}<div class=panels>{panels}</div>"
                    + (details("The figures", tables) if tables else "") + "</section>")
    bars = "".join(f"<figure><figcaption>{escape(c.title)}</figcaption>{c.svg}{details('The figures', load_table(x, data['summary'][x.name]))}"
                   "</figure>" for x, c in charts.bars(loads, data["summary"], servers, base))
    body.append("<section><h2>Load by load</h2><p>Server CPU time of a message, delivery or connection; memory of an idle connection. "
                "The number behind a value is its ratio to the lower of the two bare servers, or to the server that was chosen to "
                f"compare with. Bars that are far too long are cut.</p><div class=panels>{bars}</div></section>")
    return (f"<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width,initial-scale=1'>"
            f"<title>wring: benchmark</title><style>{STYLE.read_text()}</style><main><header><h1>What a WebSocket server costs</h1>"
            + "".join(f"<p>{escape(text)}</p>" for text in facts(runs)) + "<p>Every figure is to be read beside the others of this page: nanoseconds of different "
            "machines say little. The bare servers parse no frames: they are what the kernel asks for moving the bytes.</p></header>"
            + "".join(body) + "</main></html>\n")
