#!/usr/bin/env python3
"""Checks that every code block in README.md and docs/ is taken from a file that the test suite compiles and runs.

Before a block of C++ or Meson code stands a comment that names its source:

    <!-- from: tests/docs/first_server.cpp:serve -->
    ```cpp
    ...
    ```

The part after the colon is a tag: the block is what stands between the lines "// [serve]" and "// [/serve]" of that file
("#" in a meson.build); without a tag it is the whole file. Common indentation is removed. Blocks of sh, console, text and
output need no source. --write copies the sources into the blocks.

usage: check_docs.py [--write] [FILE.md...]
"""
import pathlib
import re
import sys

import reporting

ROOT = pathlib.Path(__file__).resolve().parent.parent
FREE = {"sh", "bash", "shell", "console", "text", "txt", "output", "http", "mermaid"}
FENCE = re.compile(r"^(\s*)(`{3,}|~{3,})\s*([\w+#-]*)\s*(.*)$")
FROM = re.compile(r"^\s*<!--\s*from:\s*([^\s:]+)(?::([\w-]+))?\s*-->\s*$")
MARK = re.compile(r"^\s*(?://|#)\s*\[/?[\w-]+\]\s*$")


def excerpt(path, tag):
    """The lines of a source between its marks, without common indentation. Raises ValueError with the fault's text."""
    file = ROOT / path
    if not file.is_file():
        raise ValueError(f"there is no file {path}")
    lines = file.read_text().split("\n")
    if tag:
        begin = [n for n, line in enumerate(lines) if re.match(r"^\s*(?://|#)\s*\[" + re.escape(tag) + r"\]\s*$", line)]
        end = [n for n, line in enumerate(lines) if re.match(r"^\s*(?://|#)\s*\[/" + re.escape(tag) + r"\]\s*$", line)]
        if len(begin) != 1 or len(end) != 1 or end[0] < begin[0]:
            raise ValueError(f"{path} has no pair of lines [{tag}] and [/{tag}]")
        lines = lines[begin[0] + 1:end[0]]
    lines = [line.rstrip() for line in lines if not MARK.match(line)]
    while lines and not lines[0]:
        lines.pop(0)
    while lines and not lines[-1]:
        lines.pop()
    margin = min((len(line) - len(line.lstrip()) for line in lines if line), default=0)
    return [line[margin:] for line in lines]


def built(path):
    """Whether a build file of the project names this source, so that it is compiled."""
    name = pathlib.PurePosixPath(path)
    if name.name == "meson.build":
        return True
    folder = (ROOT / path).parent
    while True:
        file = folder / "meson.build"
        if file.is_file() and re.search(r"(?<![\w])" + re.escape(name.stem) + r"(?![\w])", file.read_text()):
            return True
        if folder == ROOT or folder == folder.parent:
            return False
        folder = folder.parent


def check(document, write):
    shown = reporting.shown(document)
    lines = document.read_text().split("\n")
    out, faults, blocks, changed = [], [], 0, False
    index = 0
    while index < len(lines):
        match = FENCE.match(lines[index])
        if not match:
            out.append(lines[index])
            index += 1
            continue
        indent, fence, language = match.group(1), match.group(2), match.group(3).lower()
        end = index + 1
        while end < len(lines) and not re.match(r"^\s*" + re.escape(fence[0]) + "{" + str(len(fence)) + r",}\s*$", lines[end]):
            end += 1
        body = lines[index + 1:end]
        fence_line = index + 1
        if end == len(lines):
            faults.append(f"{shown}:{fence_line}: a code block without an end")
        before = index - 1
        while before >= 0 and not lines[before].strip():
            before -= 1
        source = FROM.match(lines[before]) if before >= 0 else None
        if not source and language not in FREE:
            faults.append(f"{shown}:{fence_line}: a code block ({language or 'no language'}) with no <!-- from: FILE:TAG --> before it")
        elif source:
            blocks += 1
            try:
                wanted = [indent + line if line else "" for line in excerpt(source.group(1), source.group(2))]
                if not built(source.group(1)):
                    raise ValueError(f"{source.group(1)} is in no meson.build: the test suite does not compile it")
                have = [line.rstrip() for line in body]
                if have != wanted:
                    if write:
                        body, changed = wanted, True
                    else:
                        first = next((n for n, pair in enumerate(zip(have, wanted)) if pair[0] != pair[1]),
                                     min(len(have), len(wanted)))
                        faults.append(f"{shown}:{fence_line + 1 + first}: differs from {source.group(1)}"
                                      f"{':' + source.group(2) if source.group(2) else ''} (tools/check_docs.py --write copies it)")
            except ValueError as fault:
                faults.append(f"{shown}:{before + 1}: {fault}")
        out.append(lines[index])
        out += body
        if end < len(lines):
            out.append(lines[end])
        index = end + 1
    if changed:
        document.write_text("\n".join(out))
        print(f"check_docs: {shown} written")
    return faults, blocks


def main():
    arguments = sys.argv[1:]
    write = "--write" in arguments
    documents = [pathlib.Path(name) for name in arguments if name != "--write"]
    if not documents:
        documents = [path for path in [ROOT / "README.md"] if path.exists()] + sorted((ROOT / "docs").rglob("*.md"))
    faults, blocks = [], 0
    for document in documents:
        found, count = check(document, write)
        faults += found
        blocks += count
    return reporting.told(faults, f"check_docs: {len(documents)} documents, {blocks} code blocks, each taken from a compiled file")


if __name__ == "__main__":
    sys.exit(main())
