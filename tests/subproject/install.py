#!/usr/bin/env python3
"""Installs a built wring into a folder of its own, looks at what is there, and builds a program with it by pkg-config.

usage: install.py BUILD SCRATCH SANITIZERS COMPILER...     BUILD is the built folder; SCRATCH is emptied first
"""
import os
import pathlib
import re
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
failed = False


def tell(good, name, detail=""):
    global failed
    failed = failed or not good
    print(("ok - " if good else "not ok - ") + name, flush=True)
    if not good and detail:
        print(detail, flush=True)
    return good


def call(command, **more):
    return subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          errors="replace", **more)


def main():
    build, scratch = (pathlib.Path(name).resolve() for name in sys.argv[1:3])
    sanitizers, compiler = sys.argv[3], sys.argv[4:]
    shutil.rmtree(scratch, ignore_errors=True)
    done = call(["meson", "install", "-C", str(build), "--no-rebuild", "--destdir", str(scratch)])
    if not tell(done.returncode == 0, "meson install", done.stdout):
        return

    files = sorted(path.relative_to(scratch) for path in scratch.rglob("*") if path.is_file())
    headers = {path.name for path in files if path.parent.name == "wring" and path.parent.parent.name == "include"}
    wanted = {path.name for path in (ROOT / "lib" / "include" / "wring").glob("*.hpp")}
    tell(headers == wanted, "every public header is installed, and nothing else beside them", " ".join(sorted(headers ^ wanted)))
    others = sorted(path.name for path in files if path.name not in headers)
    tell(others == ["libwring.a", "wring.pc"] and len(files) == len(wanted) + 2,
         "but for the headers, the library and its wring.pc are installed, and nothing else", " ".join(map(str, files)))

    config = next(scratch.rglob("wring.pc"), None)
    if not config:
        return
    text = config.read_text()
    version = re.search(r"^\s*version: '([\d.]+)'", (ROOT / "meson.build").read_text(), re.M).group(1)
    tell(re.search(rf"^Version: {re.escape(version)}$", text, re.M) and "Requires" not in text,
         "wring.pc has the version, and hands no dependency's flags on", text)
    prefix = scratch / re.search(r"^prefix=/?(.*)$", text, re.M).group(1)
    env = dict(os.environ, PKG_CONFIG_PATH=str(config.parent))

    def flags(*options):
        found = subprocess.run(["pkg-config", f"--define-variable=prefix={prefix}", *options, "wring"], env=env, stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, text=True, check=True)
        return found.stdout.split()
    cflags = flags("--cflags")
    tell([flag for flag in cflags if flag.startswith("-I")] in ([], [f"-I{prefix}/include"]) and not any("-D" in flag for flag in cflags),
         "its flags name wring's own headers and no more", " ".join(cflags))
    if sanitizers != "none":
        compiler = compiler + ["-fsanitize=" + sanitizers]
    for options in (["--libs"], ["--static", "--libs"]):
        title = "pkg-config " + " ".join(options)
        program = scratch / "echo_once"
        done = call([*compiler, "-std=c++20", "-Wall", "-Wextra", str(HERE / "main.cpp"), "-o", str(program), *cflags, *flags(*options)])
        if not tell(done.returncode == 0 and not done.stdout, f"a program builds by {title}, without a warning", done.stdout):
            continue
        done = call([str(program)], timeout=60)
        tell(done.returncode == 0 and "echo: hello from the parent" in done.stdout, f"and echoes one frame ({title})",
             f"exit status {done.returncode}\n{done.stdout}")
        program.unlink()


main()
sys.exit(1 if failed else 0)
