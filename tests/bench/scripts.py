#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0
"""The arithmetic of tools/bench/run: names of loads, command lines of servers, medians and ratios. "ok - NAME" for each."""
import pathlib
import runpy
import sys
import traceback
import types
from unittest import mock

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools/bench"))
from comparison import loads, measure, servers, summary                                         # noqa: E402
from comparison.servers import Server                                                           # noqa: E402

FLAT = [[0, 1.0], [0.5, 2.0], [1, 3.0]]


def result(cpu, p50=10.0, dirty=None, curve=FLAT):
    latency = {p: p50 for p in summary.PERCENTILES}
    return {"cpu_ns_per_message": cpu, "messages_per_second": 1000.0, "latency_us": latency, "latency_curve_us": curve,
            "dirty_bytes_per_connection": dirty}


def same(got, wanted):
    assert got == wanted, f"got {got!r}, wanted {wanted!r}"


def names_of_loads():
    same(loads.parse("64x16x1024").options, ("--connections", "64", "--in-flight", "16", "--size", "1024"))
    same(loads.parse("text-8x1x200").options, ("--text", "--connections", "8", "--in-flight", "1", "--size", "200"))
    same(loads.parse("rate-64x5000x64").options, ("--connections", "64", "--rate", "5000", "--size", "64"))
    all_send = loads.parse("all-10x1x64")
    same(all_send.options[:4], ("--mode", "broadcast", "--senders", "all"))
    same((all_send.mode, loads.parse("64x1x64").mode), ("broadcast", "echo"))
    same(loads.parse("churn-64").options, ("--mode", "churn", "--connections", "64"))
    same(loads.parse("handshake").name, "handshake-64")
    same(loads.parse("chat-64x4").options[-1], str(loads.SIZES / "chat.txt"))
    same(loads.parse("takeover-64x1x64").compressed, True)
    same(loads.parse("64x1x0").numbers, (64, 1, 0))
    for name in ("64", "64x1", "0x1x64", "64x1x64x1", "flood-64x1x64", "churn-64x1x64", "chat-64x4x4", "64x1x-1", "", "nothing-64x4"):
        same(loads.parse(name), None)


def every_listed_load_is_one():
    for name in [*loads.DEFAULT, *(n for row in loads.SWEEPS.values() for n in row)]:
        assert loads.parse(name), name
        assert loads.parse(name).title.startswith(name), name


def command_lines():
    echo, hub, deflate = (loads.parse(n) for n in ("1x1x64", "broadcast-2x1x64", "deflate-1x1x64"))
    plain = Server("a", ["serve"])
    same(plain.command_for(echo, None), ["serve", "--bind", "127.0.0.1:0"])
    same(plain.command_for(hub, None), ["serve", "--bind", "127.0.0.1:0", "--mode", "broadcast"])
    placed = Server("b", ["serve", "-p{port}", "{mode}"])
    same(placed.takes_a_port, True)
    same(placed.command_for(hub, 81), ["serve", "-p81", "broadcast"])
    same(Server("c", ["serve"], broadcast=["hub"]).command_for(hub, None), ["hub", "--bind", "127.0.0.1:0"])
    wring = Server("wring_uring", ["serve"], deflates=True)
    same(wring.command_for(deflate, None)[-1], "--deflate")
    same(servers.with_threads([wring, plain], 2)[0].command_for(echo, None)[-2:], ["--threads", "2"])
    same([s.name for s in servers.with_threads([wring, plain], 2)], ["wring_uring_x2"])


def who_can_do_what():
    bare, peer = Server("bare_epoll", ["x"], parses=False), Server("peer", ["x"])
    for name, wanted in (("64x1x64", (True, True)), ("churn-1", (False, True)), ("handshake-1", (False, True)), ("idle-9", (True, True)),
                         ("deflate-1x1x64", (False, False)), ("broadcast-9x1x64", (True, True))):
        same((bare.can(loads.parse(name)), peer.can(loads.parse(name))), wanted)


def ratios_are_taken_round_by_round():
    same(summary.ratios({0: 10, 1: 30, 2: 20}, {0: 10, 1: 10, 2: 10}), {"median": 2, "min": 1, "max": 3})
    # A disturbance of both hardly shows; a round that only one has is left out.
    same(summary.ratios({0: 10, 1: 1000, 2: 5}, {0: 10, 1: 1000}), {"median": 1, "min": 1, "max": 1})
    same(summary.ratios({0: 10}, {}), None)
    same(summary.spread([4, 1, 2, 3]), {"median": 2.5, "min": 1, "max": 4})


def the_better_bare_is_chosen_in_each_round():
    same(summary.better({0: 5, 1: 7}, {0: 6, 1: 4}), {0: 5, 1: 4})
    same(summary.better({0: 5}, {}), {0: 5})
    same(summary.better({0: 5}, {1: 6}), {0: 5, 1: 6})


def a_summary():
    bare, uring, ours, peer = (Server(n, ["x"], parses=n[0] != "b") for n in ("bare_epoll", "bare_uring", "wring_uring", "peer"))
    all_servers, load, idle = [bare, uring, ours, peer], loads.parse("64x1x64"), loads.parse("idle-100")
    results = {("bare_epoll", load.name): {0: result(100), 1: result(200)}, ("bare_uring", load.name): {0: result(80), 1: result(400)},
               ("wring_uring", load.name): {0: result(120), 1: result(300)}, ("peer", load.name): {0: result(240), 1: result(300)},
               ("wring_uring", idle.name): {0: result(0, dirty=500)}, ("peer", idle.name): {0: result(0, dirty=1000)}}
    got = summary.summarize(all_servers, [load, idle], results, ["peer"])
    entry = got[load.name]["wring_uring"]
    same(entry["value"], {"median": 210, "min": 120, "max": 300})
    same(entry["ratio_to_bare_epoll"], {"median": 1.35, "min": 1.2, "max": 1.5})
    same(entry["ratio_to_better_bare"], {"median": 1.5, "min": 1.5, "max": 1.5})
    same(entry["ratio_to_peer"], {"median": 0.75, "min": 0.5, "max": 1})
    same(entry["latency_curve_us"], FLAT)
    same([k for k in entry if k.startswith("latency_ratio")], [])
    same(got[idle.name]["wring_uring"], {"parses_frames": True, "rounds": 1, "value": summary.spread([500]),
                                         "ratio_to_peer": summary.spread([0.5])})
    same(sorted(got[idle.name]), ["peer", "wring_uring"])


def latencies_have_ratios_where_they_matter():
    load, bare, ours = loads.parse("rate-64x1000x64"), Server("bare_epoll", ["x"], parses=False), Server("wring_uring", ["x"])
    results = {("bare_epoll", load.name): {0: result(1, p50=50)}, ("wring_uring", load.name): {0: result(1, p50=55)}}
    entry = summary.summarize([bare, ours], [load], results, [])[load.name]["wring_uring"]
    same(entry["latency_ratio_to_bare_epoll"]["median"], 1.1)
    same(loads.parse("1x1x64").timed, True)
    same(loads.parse("64x1x64").timed, False)


def curves_of_different_length():
    got = summary.median_curve([[[0, 1], [0.5, 2], [0.75, 9], [1, 9]], [[0, 3], [0.5, 4], [1, 7]], [[0, 2], [0.5, 8], [1, 8]]])
    same(got, [[0, 2], [0.5, 4], [1, 9]])


def tables():
    load, bare, ours, peer = loads.parse("64x1x64"), Server("bare_epoll", ["x"], parses=False), Server("a", ["x"]), Server("b", ["x"])
    results = {("bare_epoll", load.name): {0: result(100)}, ("a", load.name): {0: result(150)}}
    rows = summary.rows_of(load, [bare, ours, peer], summary.summarize([bare, ours, peer], [load], results, [])[load.name])
    same(len({len(row) for row in rows}), 1)
    same(rows[0][:6], ["server", "frames", "server CPU ns", "min-max", "/ bare_epoll", "min-max"])
    same(rows[2][:6], ["a", "parsed", "150", "150-150", "1.50", "1.50-1.50"])
    same(rows[3][:3], ["b", "parsed", "failed"])


def the_ablation_table_has_a_row_for_each_feature():
    ablate, load = runpy.run_path(str(ROOT / "tools/bench/ablate")), loads.parse("64x1x64")
    rows = ablate["rows_of"]([load], {load.name: {"simd": {"ratio_to_all": {"median": 1.254}}}})
    same(rows[0], ["without", "64x1x64"])
    same(rows[-1], ["simd", "1.25"])
    same([row[0] for row in rows[1:]], ablate["FEATURES"])
    same({row[1] for row in rows[1:-1]}, {"failed"})


def each_feature_of_an_ablation_is_asked_for():
    code = "".join(path.read_text() for path in (ROOT / "lib/src").rglob("*.cpp"))
    same([f for f in runpy.run_path(str(ROOT / "tools/bench/ablate"))["FEATURES"] if f != "simd" and f"with::{f}" not in code], [])


def an_interrupt_keeps_what_had_been_measured():
    pair, load = [Server("a", ["x"]), Server("b", ["x"])], loads.parse("64x1x64")
    with mock.patch.object(measure, "measure", side_effect=[result(100), result(200), result(300), KeyboardInterrupt]):
        results, failed = measure.rounds(pair, [load], types.SimpleNamespace(rounds=5))
    same(failed, True)
    medians = summary.summarize(pair, [load], results, ["a"])[load.name]
    same((medians["a"]["rounds"], medians["b"]["rounds"], medians["b"]["ratio_to_a"]["median"]), (1, 2, 2.0))


def main():
    failed = False
    tests = [f for f in globals().values() if callable(f) and getattr(f, "__module__", "") == "__main__" and not f.__code__.co_argcount]
    for test in (t for t in tests if t is not main):
        try:
            test()
            print("ok - bench: " + test.__name__.replace("_", " "))
        except Exception:       # noqa: BLE001 - the next ones shall run
            failed = True
            print("not ok - bench: " + test.__name__.replace("_", " ") + "\n" + traceback.format_exc(limit=-3))
    sys.exit(failed)


if __name__ == "__main__":
    main()
