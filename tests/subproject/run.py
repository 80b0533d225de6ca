#!/usr/bin/env python3
"""Builds the parent project beside this file with wring as its subproject, looks at how it was compiled, and runs it.

usage: run.py SCRATCH COMPILER...  SCRATCH is a folder for the parent and its build; it is kept, so that the next run is quick
"""
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PRIVATE = ["fmt", "liburing", "libssl", "libcrypto", "zlib"]       # dependencies that a .pc file describes
ASIO = """project('asio', 'cpp')
asio_dep = declare_dependency(include_directories: include_directories('include'), version: '1.22.0')
"""
failed = False


def tell(good, name, detail=""):
    global failed
    failed = failed or not good
    print(("ok - " if good else "not ok - ") + name, flush=True)
    if not good and detail:
        print(detail, flush=True)


def call(command, **more):
    if "input" not in more:
        more["stdin"] = subprocess.DEVNULL
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          errors="replace", **more)


def asio_overlay(parent, compiler):
    """Debian's Asio has no .pc file: here it is a subproject of the parent's, whose headers are links to the installed ones.
    Gives its include folder."""
    done = call([*compiler, "-M", "-x", "c++", "-DASIO_STANDALONE", "-"], input="#include <asio/version.hpp>\n")
    headers = pathlib.Path(re.search(r"\S+(?=/asio/version\.hpp)", done.stdout).group(0))
    wrap = parent / "subprojects" / "asio.wrap"
    folder = parent / "subprojects" / "asio"
    (folder / "include").mkdir(parents=True, exist_ok=True)
    for name in ("asio", "asio.hpp"):
        link = folder / "include" / name
        if not link.is_symlink():
            link.symlink_to(headers / name)
    (folder / "meson.build").write_text(ASIO)
    wrap.write_text("[wrap-file]\ndirectory = asio\n\n[provide]\nasio = asio_dep\n")
    return folder / "include"


def main():
    scratch = pathlib.Path(sys.argv[1]).resolve()
    parent, build, leak = scratch / "parent", scratch / "built", scratch / "leak"
    (parent / "subprojects").mkdir(parents=True, exist_ok=True)
    for name in ("meson.build", "main.cpp"):
        if not (parent / name).exists() or (parent / name).read_bytes() != (HERE / name).read_bytes():
            shutil.copy(HERE / name, parent / name)
    link = parent / "subprojects" / "wring"
    if not link.is_symlink() or link.resolve() != ROOT:
        link.unlink(missing_ok=True)
        link.symlink_to(ROOT)

    # Distributions keep every header in one folder, where nothing can be seen to leak. So each dependency gets an include
    # folder of its own here: wring's files must be compiled with it and the parent's must not.
    env = dict(os.environ, CXX=shlex.join(sys.argv[2:]))
    asio = asio_overlay(parent, sys.argv[2:])
    for name in PRIVATE:
        found = call(["pkg-config", "--variable=pcfiledir", name]).stdout.strip()
        original = pathlib.Path(found) / f"{name}.pc"
        if not found or not original.is_file():
            continue
        (leak / name).mkdir(parents=True, exist_ok=True)
        lines = original.read_text().splitlines()
        flags = f"-I{leak / name}"
        if any(line.startswith("Cflags:") for line in lines):
            lines = [line + " " + flags if line.startswith("Cflags:") else line for line in lines]
        else:
            lines.append("Cflags: " + flags)
        (leak / f"{name}.pc").write_text("\n".join(lines) + "\n")
    env["PKG_CONFIG_PATH"] = os.pathsep.join(filter(None, [str(leak), env.get("PKG_CONFIG_PATH")]))

    if not (build / "build.ninja").exists():
        done = call(["meson", "setup", str(build), str(parent), "-Dbuildtype=debug", "--force-fallback-for=asio"], env=env)
        if done.returncode != 0:
            shutil.rmtree(build, ignore_errors=True)
            tell(False, "a parent project finds wring by its name alone", done.stdout)
            return
    tell(True, "a parent project finds wring by its name alone")

    done = call(["ninja", "--quiet", "-C", str(build)], env=env)
    tell(done.returncode == 0, "the parent and wring in it build", done.stdout)
    if done.returncode != 0:
        return

    commands = json.loads((build / "compile_commands.json").read_text())
    ours = [entry for entry in commands if "wring" in entry["output"]]
    theirs = [entry for entry in commands if "echo_once" in entry["output"]]
    tell(len(theirs) == 1 and len(ours) > 1, "wring's sources and the parent's are told apart", str(len(ours)))
    tell(not any(entry["output"].startswith(("subprojects/wring/tests", "subprojects/wring/examples", "subprojects/wring/tools"))
                 for entry in commands), "as a subproject wring builds its library and nothing else")

    words = shlex.split(theirs[0]["command"])

    def ours_to_see(word):
        place = (pathlib.Path(theirs[0]["directory"]) / word).resolve()
        return place == ROOT / "lib" / "include" or place == build / "subprojects" / "wring" / "lib" / "include" \
            or (place.is_relative_to(scratch) and not any(place.is_relative_to(other) for other in (leak, asio)))
    folders = [word[2:] for word in words if word.startswith("-I")] \
        + [words[at + 1] for at, word in enumerate(words) if word in ("-isystem", "-I", "-idirafter", "-iquote")] \
        + [word[8:] for word in words if word.startswith("-isystem") and len(word) > 8]
    strange = [folder for folder in folders if not ours_to_see(folder)]
    tell(not strange, "no dependency's include folder reaches the parent", " ".join(strange))
    own = " ".join(entry["command"] for entry in ours)
    tell(all(str(leak / name) in own for name in PRIVATE if (leak / f"{name}.pc").exists())
         and str(asio.relative_to(scratch)) in own, "wring itself sees its dependencies' include folders", own)
    strange = [word for word in words if word.startswith("-D") or word in ("-Wshadow", "-Wnon-virtual-dtor", "-Wcast-qual")
               or word.startswith(("-fstack", "-ftrivial", "-fcf"))]
    strange = [word for word in strange if not word.startswith(("-D_FILE_OFFSET_BITS", "-D_GLIBCXX_ASSERTIONS=1"))]
    tell(not strange, "none of wring's flags reaches the parent", " ".join(strange))

    installed = scratch / "installed"
    shutil.rmtree(installed, ignore_errors=True)
    done = call(["meson", "install", "-C", str(build), "--no-rebuild", "--destdir", str(installed)], env=env)
    strange = [str(path.relative_to(installed)) for path in installed.rglob("*") if path.is_file()]
    tell(done.returncode == 0 and not strange, "an installation of the parent installs nothing of wring", done.stdout + " ".join(strange))

    done = call([str(build / "echo_once")], env=env, timeout=60)
    tell(done.returncode == 0 and "echo: hello from the parent" in done.stdout, "the parent echoes one frame",
         f"exit status {done.returncode}\n{done.stdout}")


main()
sys.exit(1 if failed else 0)
