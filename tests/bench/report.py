#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0
"""tools/bench/run for a moment, and the page that tools/bench/report makes of it: sound, whole, and nothing to load from
elsewhere. What the figures are says nothing. "ok - NAME" for each."""
import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import traceback
import xml.etree.ElementTree
from html.parser import HTMLParser

ROOT = pathlib.Path(__file__).resolve().parents[2]
VOID = {"meta", "br", "hr", "img", "link", "input"}


class Page(HTMLParser):
    """The elements of a page: their nesting is checked, and identifiers, tables and text are kept."""

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.tags, self.text, self.attributes = [], [], [], "", []
        self.feed(text)
        self.close()
        same(self.open, [], "elements that are not closed")

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        self.ids += [value for name, value in attrs if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag):
        same(self.open.pop(), tag, "the element that ends")

    def handle_data(self, data):
        self.text += data


def same(got, wanted, what):
    assert got == wanted, f"{what}: got {got!r}, wanted {wanted!r}"


def check_page(text):
    page = Page(text)
    same(len(page.ids), len(set(page.ids)), "identifiers that are there once")
    assert not {"script", "link", "img", "iframe", "object"} & set(page.tags), "something to run or to load"
    assert not re.search(r"https?:|//|@import|src=", text), "an address"
    same({value for value in re.findall(r"url\(([^)]*)\)", text) if not value.startswith("#")}, set(), "what is loaded by a style")
    same([name for name, _ in page.attributes if name.startswith("on") or name in ("src", "href")], [], "attributes that run or load")
    charts = [c for c in re.findall(r"<svg.*?</svg>", text, re.S) if "aria-hidden" not in c]
    assert charts, "no plots"
    for chart in charts:
        tree = xml.etree.ElementTree.fromstring(chart)
        same([e.tag for e in tree][:2], ["title", "desc"], "what a plot begins with")
        assert all(e.text for e in list(tree)[:2]), "a plot without a description"
        for name in tree.get("aria-labelledby").split():
            assert name in page.ids, f"no element {name}"
        assert "nan" not in chart and "inf" not in chart, "a place that is none"
    return page


def entry(value, **more):
    spread = lambda v: {"median": v, "min": v * 0.9, "max": v * 1.2}
    return {"parses_frames": True, "rounds": 3, "value": spread(value), "ratio_to_better_bare": spread(value / 1000),
            "messages_per_second": 1e6 / value, "latency_us": {p: value for p in ("p50", "p90", "p99", "p99.9", "p99.99")},
            "latency_curve_us": [[0, 1.0], [0.5, 5.0], [0.9, 20.0], [1, 70.0]], **more}


def drawn(summary, loads, folder, *others):
    """`others`: summary and loads of more files."""
    files = []
    for i, (entries, described) in enumerate([(summary, loads), *others]):
        data = {"rounds": 3 + i, "seconds": 1, "kernel": "6", "processor": "a <b>&\"", "cores": 2, "against": [], "summary": entries,
                "loads": described}
        files.append(folder / f"data{i}.json")
        files[-1].write_text(json.dumps(data))
    subprocess.run([sys.executable, str(ROOT / "tools/bench/report"), *map(str, files)], check=True, stdout=subprocess.DEVNULL)
    return (folder / "data0.html").read_text()


def what_is_drawn(folder):
    """Every kind of plot, of data that is made up; a server's name that would be markup is text."""
    sys.path.insert(0, str(ROOT / "tools/bench"))
    from comparison import loads
    names = [n for row in loads.SWEEPS.values() for n in row] + ["churn-64", "chat-64x4", "text-8x1x64"]
    all_loads = [loads.parse(n) for n in dict.fromkeys(names)]
    servers = ["bare_epoll", "wring_uring", "<script>alert(1)</script>"]
    summary = {x.name: {s: entry(1000 + 100 * i + 5000 * (i == 2 and x.kind == "churn")) for i, s in enumerate(servers)} for x in all_loads}
    described = [{"name": x.name, "kind": x.kind, "numbers": x.numbers, "title": x.title} for x in all_loads]
    text = drawn(summary, described, folder)
    page = check_page(text)
    for title in ("At a glance", "Cost by connections", "Cost by messages in flight", "Cost by size", "Fan-out", "Memory by connections",
                  "Latency by rate", "Latency by percentile", "Load by load"):
        assert title in page.text, f"no section {title}"
    assert "alert(1)" in page.text and "<script" not in text, "a server's name as markup"
    same(page.tags.count("table") > len(all_loads), True, "a table for each load")
    assert 'class="torn"' in text, "a bar that is far too long is cut"


def little_data(folder):
    """A single load has bars and no curve; a load that failed on all servers, or on one, is no trouble."""
    described = [{"name": n, "kind": "echo", "numbers": [int(x) for x in n.split("x")], "title": n} for n in ("1x1x64", "64x1x64")]
    text = drawn({"1x1x64": {"a": entry(5)}, "64x1x64": {}}, described, folder)
    page = check_page(text)
    assert "Cost by connections" not in page.text and "Load by load" in page.text


def several_files(folder):
    """What runs have measured is on one page; a load that both have is the first one's, and each says its rounds."""
    described = [{"name": n, "kind": "echo", "numbers": [int(x) for x in n.split("x")], "title": n} for n in ("1x1x64", "64x1x64")]
    text = drawn({"1x1x64": {"a": entry(5)}}, described[:1], folder, ({"1x1x64": {"a": entry(777)}, "64x1x64": {"a": entry(9)}}, described))
    page = check_page(text)
    assert "1 load: 3 interleaved rounds" in page.text and "2 loads: 4 interleaved rounds" in page.text, page.text[:500]
    assert "777" not in page.text and "64x1x64" in page.text


def no_results(folder):
    bad = folder / "bad.json"
    bad.write_text('{"rounds": 3}')
    done = subprocess.run([sys.executable, str(ROOT / "tools/bench/report"), str(bad)], capture_output=True, text=True)
    same(done.returncode, 1, "exit status")
    assert "is no result of run --json" in done.stderr, done.stderr


def a_real_run(folder):
    """Both scripts with the real generator and servers."""
    file, page = folder / "run.json", folder / "page.html"
    echo = given.build / "examples/echo_server"
    only = [w for name in ("bare_epoll", "wring_uring", "wring_asio", "placed", "1x1x16", "2x1x16", "3x1x16", "rate-2x200x16",
                           "broadcast-3x1x16", "all-3x1x16", "churn-2", "chat-2x2", "text-2x1x50", "idle-20", "deflate-2x1x300")
            for w in ("--only", name)]
    for seconds in ("0.05", "1", "10"):         # a machine that stands still for as long gets another chance
        done = subprocess.run(
            [sys.executable, str(ROOT / "tools/bench/run"), "--build", str(given.build), "--rounds", "2", "--seconds", seconds, "--warmup",
             "0.02", *only, "--server", f"placed={echo} --bind 127.0.0.1:{{port}}", "--against", "wring_asio", "--json", str(file)],
            capture_output=True, text=True, env={**os.environ, "WRING_ENGINE": ""})
        if "no message arrived in the measured time" not in done.stderr:
            break
    # The echo server is no hub, so those two loads fail on it, and only there.
    broken = [line for line in done.stderr.splitlines() if re.match(r"[\w-]+, [\w-]+: ", line)]
    assert broken and all(re.match(r"placed, (broadcast|all)-3x1x16: ", line) for line in broken), done.stderr
    same(done.returncode, 1, "exit status where something has failed")
    data = json.loads(file.read_text())
    same(sorted(data["summary"]["1x1x16"]), ["bare_epoll", "placed", "wring_asio", "wring_uring"], "servers of an echo")
    same(sorted(data["summary"]["churn-2"]), ["placed", "wring_asio", "wring_uring"], "those that parse frames")
    same(sorted(data["summary"]["deflate-2x1x300"]), ["wring_asio", "wring_uring"], "those that compress")
    same(sorted(data["summary"]["broadcast-3x1x16"]), ["bare_epoll", "wring_asio", "wring_uring"], "those that broadcast")
    same({(r["round"]) for r in data["results"]}, {0, 1}, "rounds")
    for name, entries in data["summary"].items():
        for e in entries.values():
            assert e["rounds"] == 2 and "ratio_to_wring_asio" in e and e["value"]["min"] <= e["value"]["median"] <= e["value"]["max"], e
        assert ("ratio_to_bare_epoll" in next(iter(entries.values()))) == (name[:3] not in ("chu", "idl", "def")), name
    assert "1x1x16 (connections x in flight x bytes)" in done.stdout and "/ better bare" in done.stdout, done.stdout
    subprocess.run([sys.executable, str(ROOT / "tools/bench/report"), str(file), "-o", str(page)], check=True, stdout=subprocess.DEVNULL)
    assert "Cost by connections" in check_page(page.read_text()).text


def main():
    failed = False
    for test in (what_is_drawn, little_data, several_files, no_results, a_real_run):
        with tempfile.TemporaryDirectory() as folder:
            try:
                test(pathlib.Path(folder))
                print("ok - report: " + test.__name__.replace("_", " "), flush=True)
            except (AssertionError, OSError, subprocess.CalledProcessError, ValueError, KeyError):
                failed = True
                print(f"not ok - report: {test.__name__.replace('_', ' ')}\n{traceback.format_exc(limit=-3)}", flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", type=lambda p: pathlib.Path(p).resolve(), required=True)
    given = parser.parse_args()
    main()
