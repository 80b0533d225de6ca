#!/usr/bin/env python3
"""Builds wring and runs every test and check of it.

FILTER picks: the test programs whose name contains it (proto, net, "net (uring)", check, misuse, interop, nightly ...), and where no
program's name does, the test cases whose name contains it.

The last line is "N passed, N failed", counting single test cases, checks and interop scenarios; ", N skipped" follows where
something could not be run on this machine.
"""
import argparse
import concurrent.futures
import dataclasses
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
SKIPPED = 77            # a test program's exit status for "cannot be run here"
TAP = re.compile(r"^(ok|not ok)\b(?:\s+\d+)?(?:\s+-)?\s*(.*)$", re.M)
OUTPUT_SHOWN = 20_000   # characters of a failed program's output
BUILD_LINES_SHOWN = 120
JOBS = os.cpu_count() or 1


@dataclasses.dataclass
class Variant:
    """One way to build: a compiler, a set of options, a folder, and what of it is run."""
    title: str
    folder: str
    compiler: str
    options: list
    everything: bool = False         # also the checks, the interop and more that is the same for every compiler
    patience: int = 1                # times the usual timeout
    only: list = dataclasses.field(default_factory=list)         # filters, where none are given
    without: list = dataclasses.field(default_factory=list)      # names and suites that are neither built nor run, where none are given
    targets: list = dataclasses.field(default_factory=list)      # build only these and run nothing


@dataclasses.dataclass
class Count:
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    failures: list = dataclasses.field(default_factory=list)

    def add(self, other):
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped
        self.failures += other.failures


def say(*words):
    with say.lock:
        print(*words, flush=True)


say.lock = threading.Lock()


# ---- what to build -------------------------------------------------------------------------------------------------

def plain(compiler):
    clang = "clang" in compiler
    return Variant(f"{compiler}", "build-clang" if clang else "build", compiler, ["-Dbuildtype=debugoptimized"],
                   everything=not clang)


def sanitized(kind, compiler):
    clang = "clang" in compiler
    # Unoptimised: g++ 12 takes four times as long to optimise what UBSan has added, and so these stand for debug builds as well.
    options = ["-Dbuildtype=debug", "-Db_lundef=false", "-Db_sanitize=" + {"address": "address,undefined", "thread": "thread"}[kind]]
    name = {"address": "ASan+UBSan", "thread": "TSan"}[kind]
    folder = {"address": "build-asan", "thread": "build-tsan"}[kind]
    # One compiler for each sanitizer is the usual one: g++ 12 and TSan disagree about fences. clang 19 and ASan do so about
    # promises whose operator new takes an allocator (llvm issue 124612); ours takes none, and the coroutine core runs there too.
    usual = {"address": "g++", "thread": "clang++-19"}[kind]
    if compiler != usual:
        folder += "-clang" if clang else "-gcc"
    # In these no thread has another beside it, or (tiny) none that it has not elsewhere.
    without = {"address": [], "thread": ["proto", "tls", "tiny", "conformance", "fuzz"]}[kind]
    return Variant(f"{compiler}, {name}", folder, compiler, options, patience={"address": 3, "thread": 6}[kind], without=without)


def variants(args):
    if args.sanitize:
        usual = {"address": "g++", "thread": "clang++-19"}[args.sanitize]
        return [sanitized(args.sanitize, args.compiler or usual)]
    if not args.ci:
        return [plain(args.compiler or "g++")]
    library = ["lib/libwring.a", "examples"]
    result = [
        plain("g++"),
        Variant("clang++-19, release", "build-clang-release", "clang++-19", ["-Dbuildtype=release"]),
        Variant("g++, debug (build only)", "build-debug", "g++", ["-Dbuildtype=debug"], targets=library),
        Variant("g++, release (build only)", "build-release", "g++", ["-Dbuildtype=release"], targets=library),
        Variant("clang++-19, debug (build only)", "build-clang-debug", "clang++-19", ["-Dbuildtype=debug"], targets=library),
        sanitized("address", "g++"),
        dataclasses.replace(sanitized("address", "clang++-19"), only=["core"]),
        sanitized("thread", "clang++-19"),
    ]
    for variant in result:
        if not any("sanitize" in option for option in variant.options):      # with sanitizers compilers warn of what is not there
            variant.options.append("-Dwerror=true")
    return result


def configure(variant):
    """Sets the build folder up, or brings its options up to date. Does nothing where they are."""
    folder = ROOT / variant.folder
    options = ["-Dtests=enabled", "-Dexamples=enabled"] + ([] if variant.everything else ["-Dbench=disabled"]) + variant.options
    note = folder / "options.txt"
    wanted = "\n".join([variant.compiler] + options) + "\n"
    built = (folder / "build.ninja").exists()
    if built and note.exists() and note.read_text() == wanted:
        return True
    say(f"   configuring {variant.folder}/")
    folder.mkdir(exist_ok=True)
    command = ["meson", "setup", variant.folder] + (["--reconfigure"] if built else []) + options
    done = subprocess.run(command, cwd=ROOT, env=dict(os.environ, CXX=variant.compiler), stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    if done.returncode != 0:
        say(done.stdout)
        return False
    note.write_text(wanted)
    return True


def build(variant, targets):
    say(f"   building {variant.folder}/" + (f" ({' '.join(targets)})" if targets else ""))
    started = time.monotonic()
    done = subprocess.run(["ninja", "--quiet", "-k", "5", "-C", variant.folder] + targets, cwd=ROOT,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          errors="replace")
    output = re.sub(r"^(ninja: no work to do\.|Cleaning\.\.\. \d+ files\.)$", "", done.stdout, flags=re.M).strip()
    if done.returncode == 0:
        output = re.sub(r"\A.*^Found ninja-[^\n]*\n?", "", output, flags=re.S | re.M).strip()    # what Meson says when it configures anew
    if output:
        # The diagnostics without the command lines, and not every repetition of what one header causes.
        lines = [line for line, above in zip(output.splitlines(), [""] + output.splitlines()) if not above.startswith("FAILED: ")]
        say("\n".join(lines[:BUILD_LINES_SHOWN]))
        if len(lines) > BUILD_LINES_SHOWN:
            say(f"   ... and {len(lines) - BUILD_LINES_SHOWN} lines more: ninja -C {variant.folder}")
    took = time.monotonic() - started
    if took > 2:
        say(f"   built in {took:.0f} s")
    return done.returncode == 0


# ---- what to run ---------------------------------------------------------------------------------------------------

def registered(variant):
    tests = json.loads((ROOT / variant.folder / "meson-info" / "intro-tests.json").read_text())
    for test in tests:
        test["suites"] = [suite.split(":")[-1] for suite in test["suite"]]
    return tests


def choose(tests, variant, filters):
    """The tests to run and, where no test but their cases are named, what is to be in the cases' names."""
    if not variant.everything and not filters:
        left_out = {"check", "interop", "project", "refused", *variant.without}
        tests = [test for test in tests if not left_out & {test["name"], *test["suites"]}]
    if not filters:
        return [test for test in tests if "nightly" not in test["suites"]], []
    def named(test):
        words = [test["name"]] + test["suites"]
        return any(text.lower() in word.lower() for text in filters for word in words)
    chosen = [test for test in tests if named(test)]
    if chosen:
        return chosen, []
    return [test for test in tests if "unit" in test["suites"]], filters


def narrowed(command, texts):
    """A Catch program's command line for the cases whose names contain one of the texts. What it leaves out (~[tag]) it still does."""
    without = [word for word in command if word.startswith("~[")]
    return [word for word in command if word not in without] + [",".join("".join(without) + f"*{text}*" for text in texts)]


def kill_group(process):
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def run(test, variant, texts):
    """Runs one program; returns its Count. Says how it went, with its output where it failed."""
    env = dict(os.environ, **test["env"])
    symbolizers = "/usr/lib/llvm-19/bin"
    if os.path.isdir(symbolizers):
        env["PATH"] = env.get("PATH", "") + os.pathsep + symbolizers
    log = pathlib.Path(test["env"]["WRING_TEST_LOG"]) if "WRING_TEST_LOG" in test["env"] else None
    if log:
        log.parent.mkdir(parents=True, exist_ok=True)
        log.unlink(missing_ok=True)
    limit = (test["timeout"] or 30) * variant.patience
    started = time.monotonic()
    process = subprocess.Popen(narrowed(test["cmd"], texts) if texts and "unit" in test["suites"] else test["cmd"], env=env,
                               cwd=test["workdir"] or ROOT / variant.folder, stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
                               start_new_session=True)
    trouble = None
    try:
        output, _ = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        kill_group(process)
        output, _ = process.communicate()
        trouble = f"still running after {limit} s, killed"
    kill_group(process)              # whatever it started and left behind
    took = time.monotonic() - started
    status = process.returncode
    if trouble is None and status < 0:
        trouble = f"ended by {signal.Signals(-status).name}"

    count = Count()
    where = f"{variant.title}: {test['name']}"
    if log:
        running = None
        for line in log.read_text(errors="replace").splitlines() if log.exists() else []:
            what, _, name = (line.split("\t", 2) + ["", ""])[:3]
            if what == "start":
                running = name
                continue
            running = None
            if what == "pass":
                count.passed += 1
            elif what == "skip":
                count.skipped += 1
            else:
                count.failed += 1
                count.failures.append(f"{where}: {name}")
        if running is not None:
            count.failed += 1
            count.failures.append(f"{where}: {running}: {trouble or 'ended in the middle'}")
        elif (trouble or status != 0) and count.failed == 0:
            count.failed += 1
            count.failures.append(f"{where}: {trouble or f'exit status {status}'}")
        if count.passed + count.failed + count.skipped == 0 and not texts:
            count.failed += 1
            count.failures.append(f"{where}: ran no test case")
    else:
        for verdict, name in TAP.findall(output):
            if verdict == "ok" and re.search(r"# skip\b", name, re.I):
                count.skipped += 1
            elif verdict == "ok":
                count.passed += 1
            else:
                count.failed += 1
                count.failures.append(f"{where}: {name}")
        if status == SKIPPED and count.failed == 0:
            count.skipped += 1
        elif (trouble or status != 0) and count.failed == 0:
            count.failed += 1
            count.failures.append(f"{where}: {trouble or f'exit status {status}'}")
        elif count.passed + count.failed + count.skipped == 0:
            count.passed += 1

    verdict = "FAIL" if count.failed else "skip" if count.skipped and not count.passed else "pass"
    numbers = f"{count.passed} passed" + (f", {count.failed} failed" if count.failed else "") \
        + (f", {count.skipped} skipped" if count.skipped else "")
    text = f"   {verdict}  {test['name']}: {numbers} in {took:.1f} s"
    if count.failed or verdict == "skip":
        shown = output if len(output) <= OUTPUT_SHOWN else "[...]\n" + output[-OUTPUT_SHOWN:]
        text += "\n" + "\n".join("   | " + line for line in shown.rstrip().splitlines())
        if trouble:
            text += f"\n   | {trouble}"
    if not (texts and verdict == "pass" and count.passed == 0):
        say(text)
    return count


def run_all(tests, variant, texts):
    total = Count()
    beside = [test for test in tests if test["is_parallel"]]
    alone = [test for test in tests if not test["is_parallel"]]
    with concurrent.futures.ThreadPoolExecutor(JOBS) as pool:
        for count in pool.map(lambda test: run(test, variant, texts), beside):
            total.add(count)
    for test in alone:
        total.add(run(test, variant, texts))
    return total


def run_variant(variant, filters):
    filters = filters or variant.only
    say(f"== {variant.title}" + (f" ({', '.join(filters)} only)" if filters else ""))
    broken = Count(failed=1, failures=[f"{variant.title}: does not configure"])
    if not configure(variant):
        return broken
    if variant.targets:
        names = variant.targets
        if "examples" in names:
            known = json.loads((ROOT / variant.folder / "meson-info" / "intro-targets.json").read_text())
            made = [os.path.relpath(target["filename"][0], ROOT / variant.folder) for target in known]
            names = [name for name in names if name != "examples"] + [name for name in made if name.startswith("examples/")]
        if build(variant, names):
            return Count(passed=1)
        return Count(failed=1, failures=[f"{variant.title}: does not build"])
    tests, texts = choose(registered(variant), variant, filters)
    targets = []
    folder = str(ROOT / variant.folder) + os.sep
    programs = {"unit", "misuse", "interop", "conformance", "docs", "fuzz", "nightly"}      # suites that say what they need
    if (filters or variant.without) and all(programs & set(test["suites"]) for test in tests):
        known = json.loads((ROOT / variant.folder / "meson-info" / "intro-targets.json").read_text())
        files = {target["id"]: target["filename"][0] for target in known}
        needed = {file for test in tests for file in [test["cmd"][0]] + [files[target] for target in test["depends"]]}
        targets = sorted(file[len(folder):] for file in needed if file.startswith(folder))
    built = build(variant, targets)
    count = Count()
    if not built:
        count.add(Count(failed=1, failures=[f"{variant.title}: does not build"]))
        tests = [test for test in tests if "check" in test["suites"]]       # these need no program
    elif not targets:
        tests, texts = choose(registered(variant), variant, filters)        # ninja may have configured anew
    count.add(run_all(tests, variant, texts))
    return count


def main():
    parser = argparse.ArgumentParser(prog="tools/test", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ci", action="store_true", help="every compiler and sanitizer in turn; warnings are errors")
    parser.add_argument("--sanitize", choices=["address", "thread"], help="build with ASan and UBSan, or with TSan")
    parser.add_argument("--compiler", help="g++ or clang++-19")
    parser.add_argument("filters", metavar="FILTER", nargs="*", help="run only what contains this in its name")
    args = parser.parse_args()

    started = time.monotonic()
    total = Count()
    for variant in variants(args):
        total.add(run_variant(variant, args.filters))
    say(f"== done in {time.monotonic() - started:.0f} s")
    if args.filters and total.passed + total.failed + total.skipped == 0:
        total.failed += 1
        total.failures.append(f"nothing is called {' '.join(args.filters)}")
    for failure in total.failures:
        say(f"failed: {failure}")
    say(f"{total.passed} passed, {total.failed} failed" + (f", {total.skipped} skipped" if total.skipped else ""))
    return 1 if total.failed or total.passed == 0 else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
