#!/usr/bin/env python3
"""Tests of the checks in tools/: what is bad must be told, with its file and line, and nothing else."""
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
failed = False


def tell(good, name, detail=""):
    global failed
    failed = failed or not good
    print(("ok - " if good else "not ok - ") + name, flush=True)
    if not good:
        print(detail, flush=True)


def call(tool, *arguments, cwd=ROOT):
    done = subprocess.run([sys.executable, str(ROOT / "tools" / tool), *map(str, arguments)], cwd=cwd, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True)
    return done.returncode, done.stdout


def expected(folder):
    """file:line -> text, from the "expect: TEXT" marks of the files below a folder."""
    marks = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            for number, line in enumerate(path.read_text().splitlines(), 1):
                match = re.search(r"// expect: (.*)$", line)
                if match:
                    marks[f"{path.relative_to(ROOT)}:{number}"] = match.group(1)
    return marks


def compare(name, folder, status, output):
    marks = expected(folder)
    told = {}
    for line in output.splitlines():
        match = re.match(r"([^:]+:\d+): (.*)$", line)
        if match:
            told[match.group(1)] = match.group(2)
    missed = [f"not told: {place}: {text}" for place, text in marks.items() if text not in told.get(place, "")]
    wrong = [f"told for nothing: {place}: {text}" for place, text in told.items() if place not in marks]
    tell(marks and not missed and not wrong and status == 1, name, "\n".join(missed + wrong) or output)


def rooms():
    compare("check_rooms tells arrows that point up, and only those", HERE / "rooms", *call("check_rooms.py", HERE / "rooms"))


def coroutines():
    bad = HERE / "coroutines" / "bad.cpp"
    status, output = call("check_coroutines.py", bad)
    compare("check_coroutines tells the hazards, and only those", HERE / "coroutines", status, output.replace("[", "").replace("]", ""))


def words(scratch):
    home, registry = "/ho" + "me/somebody", "registry.np" + "mjs.org"
    bad = scratch / "bad.txt"
    bad.write_text("\n".join([
        f"cd {home}/wring",
        "see lib/src/home/x and https://example.org/home/x",
        f'source = "{"/t" + "mp"}/wring-test.sock"',
        f"npm config set registry https://{registry}",
        "unix:/run/app.sock, /usr/include, /etc/os-release, /dev/null",
        f"cd {home}/wring    # check_words: ok",
        "a file:" + "///etc/passwd",
    ]) + "\n")
    status, output = call("check_words.py", bad)
    lines = [int(number) for number in re.findall(r"bad\.txt:(\d+): ", output)]
    tell(status == 1 and lines == [1, 3, 4, 7], "check_words tells machine paths and registry hosts, and only those", output)


def wraps(scratch):
    good = (ROOT / "subprojects" / "fmt.wrap").read_text()

    def told(name, text, what, project="dependency('fmt')\n"):
        (scratch / "subprojects").mkdir(parents=True, exist_ok=True)
        (scratch / "subprojects" / "fmt.wrap").write_text(text)
        (scratch / "meson.build").write_text(project)
        status, output = call("check_wraps.py", scratch)
        tell(status == (1 if what else 0) and len(output.splitlines()) == 1 and (what or "") in output, "check_wraps " + name, output)
    told("accepts a wrap file that is sound", good, None)
    told("tells a file that does not parse", good.replace("[wrap-file]", "wrap-file"), "fmt.wrap:1: does not parse", project="")
    told("tells a wrap file without [provide]", good.split("[provide]")[0], "not wrap-file and provide", project="")
    told("tells a hash that is cut", re.sub(r"(?m)^(source_hash = .{63}).$", r"\1", good), "source_hash is")
    told("tells a missing hash of a patch", re.sub(r"(?m)^patch_hash.*\n", "", good), "patch_hash is missing")
    told("tells an address without TLS", good.replace("source_url = https:", "source_url = http:"), "source_url is http:")
    told("tells a name that nobody provides", good, "meson.build:2: no wrap file provides zlib",
         project="dependency('fmt')\ndependency('zlib', version: '>=1')\ndependency('threads')\n")


def docs(scratch):
    source = "tests/checks/docs/program.cpp"
    page = scratch / "page.md"

    def ends(text, where, what, name):
        page.write_text(text)
        status, output = call("check_docs.py", page)
        tell(status == 1 and f"page.md:{where}: " in output and what in output, name, output)

    good = f"# A page\n\n<!-- from: {source}:sum -->\n```cpp\nint sum = 0;\nfor (int n : numbers)\n    sum += n;\n```\n\n```sh\ntools/demo\n```\n"
    page.write_text(good)
    status, output = call("check_docs.py", page)
    tell(status == 0, "check_docs accepts a block that is its source", output)
    ends("text\n```cpp\nint x;\n```\n", 2, "no <!-- from:", "check_docs tells a block without a source")
    ends("```\nint x;\n```\n", 1, "no <!-- from:", "check_docs tells a block without a language or a source")
    ends(good.replace("sum += n", "sum -= n"), 7, "differs from", "check_docs tells a block that differs, and where")
    ends(good.replace(":sum", ":product"), 3, "has no pair of lines", "check_docs tells a tag that is not there")
    ends(good.replace("program.cpp", "nothing.cpp"), 3, "there is no file", "check_docs tells a source that is not there")
    ends(good.replace("program.cpp", "stray.cpp"), 3, "in no meson.build", "check_docs tells a source that is not compiled")
    ends("```cpp\nint x;\n", 1, "without an end", "check_docs tells a block without an end")
    page.write_text(good.replace("sum += n", "sum -= n"))
    status, output = call("check_docs.py", "--write", page)
    tell(status == 0 and page.read_text() == good, "check_docs --write restores the block", output)


def features(scratch):
    page = scratch / "matrix.md"

    def told(row, what, name):
        page.write_text(f"| Feature | Test |\n|---|---|\n| a | {row} |\n\n| Word | Means |\n|---|---|\n| not | looked at |\n")
        status, output = call("check_features.py", page)
        tell(status == (1 if what else 0) and len(output.splitlines()) == 1 and ("matrix.md:3: " + what if what else "1 rows") in output,
             "check_features " + name, output)
    told('`proto/frame.cpp` "a length in a longer form than needed is refused"; `docs/client.cpp`', None, "accepts tests that are there")
    told('`cve/frames.cpp` "cve_2025_10148_predictable_mask: each frame of a client has a mask of its own, of a generator worth the name", '
         '"gorilla_read_limit_bypass: a pong in the middle does not begin the count anew"', None, "accepts several names, on lines of their own")
    told('`conformance/cases/05-fragmentation.txt` "A ping in two fragments"; `interop/client.py` "a proxy"; `meson.build` "install"', None,
         "accepts titles of cases, scenarios and entries of a meson.build")
    told('`proto/frame.cpp` "a length in a longer form"', "tests/proto/frame.cpp has no test", "tells a name that is not there")
    told('`conformance/cases/05-fragmentation.txt` "fragments"', "tests/conformance/cases/05-fragmentation.txt has no test",
         "tells a title that is not there")
    told('`proto/nothing.cpp` "a name"', "there is no file tests/proto/nothing.cpp", "tells a file that is not there")
    told("`proto/frame.cpp`; `docs/client.cpp`", "proto/frame.cpp has test cases: which?", "tells a file whose test is not named")
    told('"a name"', "no file before", "tells a name without a file")
    told('`docs/client.cpp` and', "neither a file nor a name: and", "tells what is neither")
    told("", "names no test", "tells a row without a test")
    page.write_text("| Feature | Means |\n|---|---|\n| a | b |\n")
    status, output = call("check_features.py", page)
    tell(status == 1 and "no table" in output, "check_features tells a page without a matrix", output)


def headers(scratch):
    """A house of public headers: a good one, one that leaks, one that reads a private header, a long one, one left out."""
    public, private = scratch / "lib" / "include" / "wring", scratch / "lib" / "src"
    public.mkdir(parents=True)
    private.mkdir(parents=True)
    (scratch / "fake" / "fmt").mkdir(parents=True)
    (scratch / "fake" / "fmt" / "core.h").write_text("\n")
    (private / "secret.hpp").write_text("\n")
    (public / "good.hpp").write_text("#include <cstddef>\n")
    (public / "leaks.hpp").write_text("#include <fmt/core.h>\n")
    (public / "fmt.hpp").write_text("#include <fmt/core.h>\n")
    (public / "peeks.hpp").write_text('#include "../../src/secret.hpp"\n')
    (public / "long.hpp").write_text("#include <cstddef>\n" + "\n;\n" * 1000)
    (public / "left_out.hpp").write_text("\n")
    macros = subprocess.run(["c++", "-x", "c++", "-E", "-dM", "-include", "cstddef", "/dev/null"], stdout=subprocess.PIPE, text=True, check=True)
    library = "libstdc++ " + re.search(r"_GLIBCXX_RELEASE (\d+)", macros.stdout)[1]
    (scratch / "tests" / "headers").mkdir(parents=True)
    (scratch / "tests" / "headers" / "lines.txt").write_text(
        f"# the bounds\n{library}\n" + "".join(f"{name}.hpp 1000\n" for name in ("good", "leaks", "fmt", "peeks", "long")))
    rules = ["rule cxx", "  command = c++ -std=c++20 -MD -MF $out.d -I lib/include -I fake -c $in -o $out", "  deps = gcc",
             "  depfile = $out.d"]
    for name in ("good", "leaks", "fmt", "peeks", "long"):
        (scratch / f"{name}_alone.cpp").write_text(f"#include <wring/{name}.hpp>\n")
        rules.append(f"build headers_alone.p/{name}_alone.cpp.o: cxx {name}_alone.cpp")
    (scratch / "build.ninja").write_text("\n".join(rules) + "\n")
    subprocess.run(["ninja", "--quiet", "-C", str(scratch)], check=True)
    status, output = call("check_headers", scratch, scratch)
    told = sorted(re.findall(r"wring/(\w+)\.hpp:1: ", output))
    tell(status == 1 and told == ["leaks", "left_out", "long", "peeks"], "check_headers tells leaks and lengths, and only those", output)
    counted = dict(re.findall(r"(?m)^(\w+)\.hpp +(\d+) lines of 1000 allowed$", output))
    tell(int(counted["long"]) - int(counted["good"]) == 1000, "check_headers counts the lines that are not blank", output)
    bounds = scratch / "tests" / "headers" / "lines.txt"
    bounds.write_text(bounds.read_text().replace(library, library + "0"))
    status, output = call("check_headers", scratch, scratch)
    tell("long.hpp:1" not in output and counted["long"] + " lines\n" in output, "check_headers judges no other standard library's lines", output)


def setup(scratch):
    """tools/setup with package tools of ours, which only write down how they were called."""
    (scratch / "tools").mkdir(parents=True)
    shutil.copy(ROOT / "tools" / "setup", scratch / "tools" / "setup")
    log = scratch / "log"

    def world(name, missing=(), tools=("dpkg-query", "apt-get", "npm", "node", "chromium"), uid=0):
        """A folder to be the whole PATH."""
        path = scratch / name
        path.mkdir()
        for tool in ("sh", "sed", "tr", "mkdir", "rm", "dirname", "cat", "tail", "grep", "env"):
            (path / tool).symlink_to(shutil.which(tool))
        stubs = {
            "dpkg-query": 'shift 3; for p in "$@"; do case " %s " in *" $p "*) echo "un |$p";; *) echo "ii |$p";; esac; done' % " ".join(missing),
            "apt-get": 'echo "apt-get $*" >>%s' % log,
            "sudo": 'echo "sudo" >>%s; exec "$@"' % log,
            "npm": 'echo "npm $*" >>%s' % log,
            "id": "echo %d" % uid,
        }
        for tool in tuple(tools) + ("id",):
            (path / tool).write_text("#!/bin/sh\n" + stubs.get(tool, "exit 0") + "\n")
            (path / tool).chmod(0o755)
        return path

    def go(path, *arguments):
        log.write_text("")
        shutil.rmtree(scratch / "build", ignore_errors=True)
        done = subprocess.run(["/bin/sh", str(scratch / "tools" / "setup"), *arguments], env={"PATH": str(path)}, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        return done.returncode, done.stdout, log.read_text()

    status, output, calls = go(world("complete"))
    tell(status == 0 and not output and not calls, "setup does and says nothing where nothing is missing", output + calls)
    status, output, calls = go(world("incomplete", missing=["meson", "libfmt-dev"]))
    tell(status == 0 and "installing meson libfmt-dev" in output and re.search(r"install -y .*meson libfmt-dev$", calls, re.M)
         and " update" in calls and "sudo" not in calls, "setup installs what is missing, as root", output + calls)
    status, output, calls = go(world("sudo", missing=["meson"], tools=("dpkg-query", "apt-get", "sudo"), uid=1000))
    tell(status == 0 and calls.startswith("sudo") and "meson" in calls, "setup uses sudo where it is not root", output + calls)
    status, output, calls = go(world("nobody", missing=["meson"], tools=("dpkg-query", "apt-get"), uid=1000))
    tell(status == 1 and "meson" in output and not calls, "setup names the packages where it may not install", output + calls)
    status, output, calls = go(world("elsewhere", tools=()))
    tell(status == 1 and "liburing-dev" in output and "no apt" in output and not calls, "setup names the packages on other systems",
         output + calls)
    status, output, calls = go(world("tests", missing=["chromium"], tools=("dpkg-query", "apt-get", "npm", "node")), "--tests")
    tell(status == 0 and "NO BROWSER" in output and "install -y --no-install-recommends chromium" in calls and "npm install" in calls,
         "setup goes on without a browser, loudly", output + calls)
    status, output, calls = go(world("nodeless", missing=["nodejs", "npm"], tools=("dpkg-query", "apt-get", "chromium")), "--tests")
    tell(re.search(r"install .* nodejs npm$", calls, re.M), "setup installs Node.js and npm where the commands are missing", output + calls)


with tempfile.TemporaryDirectory() as folder:
    (pathlib.Path(folder) / "setup").mkdir()
    setup(pathlib.Path(folder) / "setup")
    rooms()
    coroutines()
    words(pathlib.Path(folder))
    (pathlib.Path(folder) / "wraps").mkdir()
    wraps(pathlib.Path(folder) / "wraps")
    docs(pathlib.Path(folder))
    features(pathlib.Path(folder))
    (pathlib.Path(folder) / "house").mkdir()
    headers(pathlib.Path(folder) / "house")
sys.exit(1 if failed else 0)
