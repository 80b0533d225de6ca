#!/usr/bin/env python3
"""Checks the wrap files in subprojects/, which build what a machine has no package of, without fetching anything.

Each must parse as Meson parses it, name a release by address and SHA-256 hash (and the patch that gives it a meson.build, if it
needs one), and provide dependencies; together they must provide every dependency that meson.build asks for.

usage: check_wraps.py [ROOT]        the project's folder, this one by default
"""
import configparser
import pathlib
import re
import sys

import reporting

ROOT = pathlib.Path(__file__).resolve().parent.parent
WITHOUT_WRAP = {"threads"}              # the system's own
HASH = re.compile(r"[0-9a-f]{64}")
ADDRESS = re.compile(r"https://[\w.\-]+/\S+")
DEPENDENCY = re.compile(r"\bdependency\('([^']+)'")


def check_wrap(path):
    """The faults of a wrap file, and the names of what it provides."""
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(path.read_text())
    except (configparser.Error, UnicodeDecodeError) as error:
        return [f"does not parse: {str(error).splitlines()[0]}"], set()
    if parser.sections() != ["wrap-file", "provide"]:
        return [f"has sections {parser.sections()}, not wrap-file and provide"], set()
    wrap, faults = parser["wrap-file"], []

    def demand(key, pattern, what):
        if not pattern.fullmatch(wrap.get(key, "")):
            faults.append(f"{key} is {wrap.get(key) or 'missing'}: not {what}")
    demand("directory", re.compile(r"[\w.\-]+"), "the name of a folder")
    for kind in ("source", "patch"):
        if kind == "source" or any(key.startswith("patch_") for key in wrap):
            demand(kind + "_url", ADDRESS, "an address with https")
            demand(kind + "_filename", re.compile(r"[\w.\-]+\.(?:tar\.(?:gz|xz|bz2)|tgz|zip)"), "the name of an archive")
            demand(kind + "_hash", HASH, "a SHA-256 hash in hexadecimal digits")
        if kind + "_fallback_url" in wrap:
            demand(kind + "_fallback_url", ADDRESS, "an address with https")
    provide = dict(parser["provide"])
    provided = {name.strip() for name in provide.pop("dependency_names", "").split(",")} - {""}
    for name, variable in provide.items():
        if not re.fullmatch(r"\w+", variable):
            faults.append(f"{name} is provided by {variable or 'nothing'}: not the name of a variable")
    provided |= set(provide)
    if not provided:
        faults.append("provides nothing")
    return faults, provided


def main():
    root = pathlib.Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else ROOT
    faults, providers = [], {}
    wraps = sorted((root / "subprojects").glob("*.wrap"))
    for path in wraps:
        found, provided = check_wrap(path)
        shown = path.relative_to(root)
        faults += [f"{shown}:1: {fault}" for fault in found]
        for name in provided:
            if name in providers:
                faults.append(f"{shown}:1: {name} is provided by {providers[name]} already")
            providers[name] = shown
    for number, line in enumerate((root / "meson.build").read_text().splitlines(), 1):
        for name in DEPENDENCY.findall(line):
            if name not in providers and name not in WITHOUT_WRAP:
                faults.append(f"meson.build:{number}: no wrap file provides {name}")
    return reporting.told(faults, f"check_wraps: {len(wraps)} wrap files, every dependency provided for")


if __name__ == "__main__":
    sys.exit(main())
