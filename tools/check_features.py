#!/usr/bin/env python3
"""Checks that each row of the feature matrix names tests that are there.

The last column of its tables is "Test": files below tests/, each with the names of the tests that are meant.

    | Feature | Roles | On | Test |
    |---|---|---|---|
    | close | both | all | `ws/lifecycle.cpp` "several coroutines may close", "a canceled close goes on by itself"; `docs/client.cpp` |

A name is that of a TEST_CASE in a .cpp, the title of a case or session in a .txt, and any whole string in a .py or a meson.build.
A file without names is one test as a whole: no .cpp with test cases.

usage: check_features.py [FILE.md...]    docs/reference/features.md by default
"""
import ast
import functools
import pathlib
import re
import sys

import reporting

ROOT = pathlib.Path(__file__).resolve().parent.parent
TOKEN = re.compile(r'`([^`]*)`|"([^"]*)"|([^\s,;]+)')
LITERAL = r'"(?:[^"\\\n]|\\.)*"'
CASE = re.compile(r"^TEST_CASE\(\s*(" + LITERAL + r"(?:\s*" + LITERAL + r")*)", re.M)
TITLE = re.compile(r"^(?:(?:case|table) \S+|session) (.*)$", re.M)


@functools.lru_cache(None)
def names_of(path):
    """The names of the tests in a file below tests/; None where there is no such file."""
    file = ROOT / "tests" / path
    if not file.is_file():
        return None
    text = file.read_text()
    if file.suffix == ".cpp":
        return {"".join(part[1:-1] for part in re.findall(LITERAL, found)) for found in CASE.findall(text)}
    if file.suffix == ".txt":
        return set(TITLE.findall(text))
    if file.suffix == ".py":
        return {node.value for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    return set(re.findall(r"'([^'\n]*)'", text)) if file.name == "meson.build" else set()


def faults_of(cell):
    """What is wrong with the tests that a row names."""
    faults, file, named = [], None, True

    def whole():
        if file and not named and (file.endswith(".cpp") and names_of(file)):
            faults.append(f"{file} has test cases: which?")
    for path, name, stray in TOKEN.findall(cell):
        if path:
            whole()
            file, named = path, False
            if names_of(path) is None:
                faults.append(f"there is no file tests/{path}")
        elif stray:
            faults.append(f"neither a file nor a name: {stray}")
        elif not file:
            faults.append(f'no file before "{name}"')
        else:
            named = True
            if names_of(file) is not None and name not in names_of(file):
                faults.append(f'tests/{file} has no test "{name}"')
    whole()
    return faults if file or faults else ["names no test"]


def check(document):
    shown = reporting.shown(document)
    faults, rows, inside, begun = [], 0, False, False
    for number, line in enumerate(document.read_text().split("\n"), 1):
        if not line.startswith("|"):
            inside = begun = False
            continue
        cell = line.strip().strip("|").split("|")[-1].strip()
        if not begun:
            begun, inside = True, cell == "Test"
        elif inside and not re.fullmatch(r":?-+:?", cell):
            rows += 1
            faults += [f"{shown}:{number}: {fault}" for fault in faults_of(cell)]
    return faults or ([] if rows else [f"{shown}:1: no table with a column Test"]), rows


def main():
    documents = [pathlib.Path(name) for name in sys.argv[1:]] or [ROOT / "docs" / "reference" / "features.md"]
    faults, rows = [], 0
    for document in documents:
        found, count = check(document)
        faults += found
        rows += count
    return reporting.told(faults, f"check_features: {rows} rows, each with tests that are there")


if __name__ == "__main__":
    sys.exit(main())
