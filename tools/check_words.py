#!/usr/bin/env python3
"""Checks that no file of the project names a path of somebody's machine, or the host that a package comes from.

Absolute paths into a home folder, a temporary folder or a work folder mean that a file was written for one machine. Package
managers know their hosts themselves. Wrap files are exempt: naming the sources' addresses is what they are for.

usage: check_words.py [FILE...]    every file under version control by default
A line that needs such a word says so with "check_words: ok".
"""
import pathlib
import re
import subprocess
import sys

import reporting

ROOT = pathlib.Path(__file__).resolve().parent.parent
EXEMPT = re.compile(r"\.wrap$|(^|/)package-lock\.json$")
WORDS = [
    # An absolute path: a slash that nothing but a quote, a blank or a bracket stands before.
    (re.compile(r"(?<![\w.\-~/$}:*)])/(?:home|Users|root|work|mnt|media|workspace|builds)/[\w.\-]+"), "a machine's path"),
    (re.compile(r"(?<![\w.\-~/$}:*)])/root(?![\w/\-])"), "a machine's path"),
    (re.compile(r"(?<![\w.\-~/$}:*)])/(?:tmp|var/tmp)/[\w\-]+"), "a path in a temporary folder: ask mktemp or tempfile"),
    (re.compile(r"\b[A-Z]:\\\\?(?:Users|Windows)\b"), "a machine's path"),
    (re.compile(r"\bfile:///"), "a machine's path"),
    (re.compile(r"\b(?:registry|registry-1|mirror|mirrors|proxy|artifactory|nexus|verdaccio)\.[\w.\-]*\.(?:org|com|net|io|dev)\b"),
     "a package registry's host"),
    (re.compile(r"\b(?:deb|security|archive|ports)\.(?:debian\.org|ubuntu\.com)\b"), "a package registry's host"),
    (re.compile(r"\b(?:files\.pythonhosted\.org|pypi\.org|npmjs\.(?:org|com)|registry\.yarnpkg\.com)\b"), "a package registry's host"),
    (re.compile(r"--(?:index-url|registry)[= ]https?://"), "a package registry's host"),
]


def tracked():
    listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT,
                            stdout=subprocess.PIPE, check=False)
    if listed.returncode == 0:
        return [ROOT / name for name in listed.stdout.decode().split("\0") if name]
    return [path for path in ROOT.rglob("*") if path.is_file() and not {".git", "node_modules", "__pycache__"} & set(path.parts)
            and not path.relative_to(ROOT).parts[0].startswith("build")]


def check(paths):
    faults = []
    for path in paths:
        shown = reporting.shown(path)
        if EXEMPT.search(str(shown)) and path not in map(pathlib.Path, sys.argv[1:]):
            continue
        if not path.is_file() or path.is_symlink() or path.resolve() == pathlib.Path(__file__).resolve():
            continue
        data = path.read_bytes()
        if b"\0" in data[:4096]:
            continue
        for number, line in enumerate(data.decode(errors="replace").splitlines(), 1):
            if "check_words: ok" in line:
                continue
            for pattern, what in WORDS:
                match = pattern.search(line)
                if match:
                    faults.append(f"{shown}:{number}: {what}: {match.group(0)}")
                    break
    return faults


def main():
    paths = [pathlib.Path(name) for name in sys.argv[1:]] or tracked()
    faults = check(paths)
    return reporting.told(faults, f"check_words: {len(paths)} files, none names a machine or a registry")


if __name__ == "__main__":
    sys.exit(main())
