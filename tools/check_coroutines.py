#!/usr/bin/env python3
"""Finds coroutine code that g++ 12 compiles wrongly, and lambdas whose captures die before their coroutine.

  no-local     a coroutine with no variable in its body and a co_await in a condition (g++ 12 never runs the body)
  aggregate    an owning aggregate, or one with an owning value in it, written inside a co_await expression (destroyed twice)
  lambda       a lambda that captures by value, written inside a co_await expression (an owning capture is destroyed twice)
  choice       a ?: between what calls make, written inside a co_await expression (what was not chosen is destroyed, too)
  spawn        a capturing lambda called or passed inside spawn(...): its captures die with it while the coroutine goes on
  options      a public *_options struct without static_assert(std::is_trivially_destructible_v<...>)

It reads text, not a syntax tree: where it is wrong, say so on the line or the line before: "// check_coroutines: ok, REASON".
A file whose first lines say "check_coroutines: off" is left out.

usage: check_coroutines.py [FILE...]    every C++ file of lib/, examples/, tests/, tools/ by default
"""
import bisect
import pathlib
import re
import sys

import reporting

ROOT = pathlib.Path(__file__).resolve().parent.parent
FOLDERS = ["lib", "examples", "tests", "tools"]
SUFFIXES = {".cpp", ".hpp", ".h", ".ipp", ".inc"}

TOKEN = re.compile(r'R"([^()\\ ]{0,16})\((?:.|\n)*?\)\1"|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|//[^\n]*|/\*(?:.|\n)*?\*/')
OPEN, CLOSE = "([{", ")]}"
COROUTINE = re.compile(r"\bco_(?:await|return|yield)\b")
NOT_A_TYPE = {"return", "co_return", "co_await", "co_yield", "throw", "delete", "goto", "else", "case", "default", "if", "while",
              "for", "do", "switch", "break", "continue", "new", "public", "private", "protected", "template", "namespace",
              "operator", "try", "catch"}
OWNING = re.compile(r"\b(?:std::)?(?:string|vector|deque|list|map|set|unordered_map|unordered_set|unique_ptr|shared_ptr|function|any"
                    r"|move_only_function|filesystem::path|shared_message|message)\b(?!_view)")
MAKES_OWNER = re.compile(r"\bstd::(?:move|string|vector|make_unique|make_shared|to_string|function)\b|\bto_string\s*\(|\"s\b|\bfmt::format\b")
DECLARATION = re.compile(
    r"""^\s*(?:\[\[[^\]]*\]\]\s*)*
        (?:(?:const|constexpr|static|thread_local|volatile|typename|struct|class|enum|unsigned|signed|long|short)\s+)*
        (?:using\s+\w+\s*=|using\s+namespace\b|using\s+enum\b|typedef\b
          |(?:unsigned|signed|long|short|int|char|bool|double|float|auto|[A-Za-z_][\w:]*)
           (?:\s*<[^;={}]*>)?(?:::\w+)*
           (?:\s+(?:const)?\s*|\s*(?:const\s*)?[&*]+\s*(?:const\s*)?)
           (?:[A-Za-z_]\w*\s*(?:$|=|;|\{|\(|\[|,|:(?!:))|\[[\w\s,]+\]\s*[={(])
        )""", re.X)


class Source:
    def __init__(self, path):
        self.path = path
        self.raw = path.read_text(errors="replace")
        self.lines = self.raw.split("\n")
        self.off = "check_coroutines: off" in "\n".join(self.lines[:5])
        self.text = TOKEN.sub(self.blank, self.raw)
        self.text = re.sub(r"\boperator\s+co_await\b", lambda found: " " * len(found.group(0)), self.text)
        self.starts = [0]
        for line in self.lines:
            self.starts.append(self.starts[-1] + len(line) + 1)
        self.pair = self.pairs()

    @staticmethod
    def blank(match):
        found = match.group(0)
        if found.startswith("/"):
            return re.sub(r"[^\n]", " ", found)
        quote = "'" if found.startswith("'") else '"'
        first = found.index(quote)
        return found[:first] + quote + re.sub(r"[^\n]", "_", found[first + 1:-1]) + quote

    def pairs(self):
        pair, stack = {}, []
        for index, letter in enumerate(self.text):
            if letter in OPEN:
                stack.append(index)
            elif letter in CLOSE:
                while stack:
                    start = stack.pop()
                    if OPEN.index(self.text[start]) == CLOSE.index(letter):
                        pair[start] = index
                        pair[index] = start
                        break
        return pair

    def line(self, index):
        return bisect.bisect_right(self.starts, index)

    def excused(self, line):
        return any("check_coroutines: ok" in self.lines[number - 1] for number in (line, line - 1) if 0 < number <= len(self.lines))

    def before(self, index):
        """The index of the last letter before index that is no blank, or -1."""
        index -= 1
        while index >= 0 and self.text[index].isspace():
            index -= 1
        return index

    # ---- functions and lambdas -------------------------------------------------------------------------------------

    def bodies(self):
        """(start, end) of the braces of every function and lambda body."""
        for start, letter in enumerate(self.text):
            if letter == "{" and start in self.pair and self.is_body(start):
                yield start, self.pair[start]

    def is_body(self, start):
        # Walk back over what may stand between a parameter list and the body: const noexcept override -> type requires ...
        index = self.before(start)
        head = self.text[max(0, index - 300):index + 1]
        arrow = re.search(r"\)\s*(?:(?:const|mutable|noexcept|override|final|&&?)\s*)*(?:noexcept\s*\([^()]*\)\s*)?"
                          r"(?:->\s*[\w:<>,&*\s()]+?)?(?:\s*(?:requires|override|final)\b[^;{}]*)?\s*$", head)
        if index >= 0 and self.text[index] == "]":                       # [captures] { ... }
            return self.is_lambda_intro(index)
        if not arrow:
            return False
        close = max(0, index - 300) + arrow.start()
        open_ = self.pair.get(close)
        if open_ is None:
            return False
        word = self.word_before(open_)
        if word in ("if", "while", "for", "switch", "catch", "constexpr"):
            return False
        return True

    def word_before(self, index):
        index = self.before(index)
        match = re.search(r"(\w+)$", self.text[max(0, index - 40):index + 1])
        return match.group(1) if match else ""

    def is_lambda_intro(self, close):
        """Whether the ] at close ends a lambda's captures, not a subscript or an attribute."""
        open_ = self.pair.get(close)
        if open_ is None or self.text[open_:open_ + 2] == "[[" or self.text[open_ - 1:open_ + 1] == "[[":
            return False
        index = self.before(open_)
        return index < 0 or not (self.text[index].isalnum() or self.text[index] in "_)]\"") or \
            self.word_before(open_) in ("return", "co_return", "co_await", "co_yield", "case", "else")

    def own(self, start, end):
        """The text of a body, with nested functions, lambdas and local classes blanked."""
        text = list(self.text[start + 1:end])
        for inner, stop in self.all_bodies:
            if start < inner and stop < end:
                for index in range(inner - start, stop - start - 1):
                    if text[index] != "\n":
                        text[index] = " "
        return "".join(text)

    # ---- the rules --------------------------------------------------------------------------------------------------

    def check(self, owners):
        if self.off:
            return
        self.all_bodies = list(self.bodies())
        for start, end in self.all_bodies:
            if not COROUTINE.search(self.text, start, end):
                continue
            own = self.own(start, end)
            if COROUTINE.search(own):
                yield from self.no_local(start, own)
        for match in re.finditer(r"\bco_await\b", self.text):
            yield from self.expression(match.start(), owners)
        for match in re.finditer(r"\bspawn\s*\(", self.text):
            yield from self.spawn(match.end() - 1)
        if "include/wring" in self.path.as_posix() or "checks/coroutines" in self.path.as_posix():
            yield from self.options()

    def no_local(self, start, own):
        hazard = None
        for match in re.finditer(r"\b(if|while|switch|for)\s*\(", own):
            open_ = start + 1 + match.end() - 1
            close = self.pair.get(open_, open_)
            if re.search(r"\bco_await\b", self.text[open_:close]):
                hazard = hazard or open_
        if hazard is None:
            return
        # Statements, and the first part of conditions: is any a declaration?
        for piece in re.split(r"[;{}]|\b(?:if|while|for|switch)\s*(?:constexpr\s*)?\(|\belse\b|\bdo\b|\bcase\b[^:;]*:|\bdefault\s*:", own):
            words = re.findall(r"\w+", piece[:80])
            lead = re.sub(r"^(?:\s*\[\[[^\]]*\]\])*\s*", "", piece)
            if words and re.match(r"\w+", lead) and re.match(r"\w+", lead).group(0) in NOT_A_TYPE:
                continue
            if DECLARATION.match(piece.strip() + ";") and not re.match(r"\s*[\w:]+\s*\(", piece):
                return
        yield self.line(hazard), "no-local", "co_await in a condition of a coroutine that declares no variable: declare one"

    def expression(self, start, owners):
        """The operand of one co_await, to the end of its postfix expression."""
        index = start + len("co_await")
        end = index
        while end < len(self.text):
            letter = self.text[end]
            if letter in OPEN and end in self.pair:
                end = self.pair[end] + 1
                continue
            if letter in CLOSE or letter in ";,?" or (letter in "=<>|+!&" and not re.match(r"<[\w:, <>]*>\s*[({]|>|&&?\s*[)\w]|=|!", self.text[end:end + 80])):
                break
            end += 1
        operand = self.text[index:end]
        for match in re.finditer(r"\{", operand):
            brace = index + match.start()
            close = self.pair.get(brace)
            if close is None or close > end or self.inside_body(brace, index):
                continue
            inner = self.text[brace + 1:close]
            name = self.word_before(brace) if re.match(r"[\w>]", self.text[self.before(brace)]) else ""
            if name in owners:
                yield self.line(brace), "aggregate", f"{name}{{...}} owns something and is written inside a co_await expression: name it"
            elif (not name or re.search(r"^\s*\.\w+\s*=", inner)) and MAKES_OWNER.search(self.raw[brace + 1:close]):
                yield self.line(brace), "aggregate", "an owning value in braces inside a co_await expression: name the aggregate first"
        for match in re.finditer(r"\?", operand):
            mark = index + match.start()
            made = set(re.findall(r"(\w+|>)\s*[({]", self.branches(mark))) - {"string_view", "span"}
            if made and not self.inside_body(mark, index):
                yield self.line(mark), "choice", "?: between what calls make inside a co_await expression: name what is chosen"
        for open_, captures in self.lambdas(index, end):
            if any(self.by_value(capture) for capture in captures):
                yield self.line(open_), "lambda", "a lambda that captures by value inside a co_await expression: name it first"

    def branches(self, mark):
        """What stands behind a ?, to the end of its argument."""
        end = mark + 1
        while end < len(self.text) and self.text[end] not in CLOSE + ",;":
            end = self.pair.get(end, end) + 1
        return self.text[mark + 1:end]

    def inside_body(self, position, from_):
        return any(start <= position <= end and start >= from_ for start, end in self.all_bodies)

    def lambdas(self, start, end):
        """(index of [, captures) of each lambda directly inside a range."""
        for index in range(start, end):
            if self.text[index] == "[" and index in self.pair and self.is_lambda_intro(self.pair[index]) \
                    and not self.inside_body(index, start) \
                    and re.match(r"\s*[({<]|\s*mutable\b|\s*->|\s*noexcept\b", self.text[self.pair[index] + 1:self.pair[index] + 40]):
                inner = self.text[index + 1:self.pair[index]]
                yield index, [part.strip() for part in re.split(r",(?![^({]*[)}])", inner) if part.strip()]

    @staticmethod
    def by_value(capture):
        return not capture.startswith("&") and capture not in ("this",)

    def spawn(self, open_):
        close = self.pair.get(open_)
        if close is None:
            return
        for index, captures in self.lambdas(open_ + 1, close):
            if captures:
                yield self.line(index), "spawn", "a capturing lambda in spawn(...): its captures die with it; use a function with arguments"

    def options(self):
        for match in re.finditer(r"\bstruct\s+(\w*_options|options)\s*(?:final\s*)?\{", self.text):
            name = match.group(1)
            if not re.search(r"static_assert\s*\(\s*std::is_trivially_destructible_v<\s*(?:\w+::)*" + name + r"\s*>", self.text):
                yield self.line(match.start()), "options", f"no static_assert that {name} is trivially destructible"


def owning_structs(sources):
    """Names of structs without a constructor that have an owning member."""
    names, found = set(), []
    for source in sources:
        for match in re.finditer(r"\b(?:struct|class)\s+(\w+)\s*(?:final\s*)?(?::[^{;]*)?\{", source.text):
            close = source.pair.get(match.end() - 1)
            if close is None:
                continue
            name, inner = match.group(1), source.text[match.end():close]
            if re.search(r"(?<![~\w])" + name + r"\s*\([^)]*\)\s*(?:noexcept\s*)?(?::|\{|;|=)", inner):
                continue                         # has a constructor of its own
            members = re.sub(r"\{[^{}]*\}", ";", inner)
            found.append((name, [part for part in members.split(";") if "(" not in part]))
    changed = True
    while changed:
        changed = False
        for name, members in found:
            if name in names:
                continue
            for member in members:
                if re.search(r"[&*]\s*\w+\s*(?:=|$)", member) or re.search(r"\b(?:static|using|typedef|friend)\b", member):
                    continue
                if OWNING.search(member) or any(re.match(r"\s*(?:const\s+)?(?:\w+::)*" + other + r"\s+\w+", member) for other in names):
                    names.add(name)
                    changed = True
                    break
    return names


def main():
    given = [pathlib.Path(name) for name in sys.argv[1:]]
    paths = given or sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*")
                            if path.suffix in SUFFIXES and "checks" not in path.relative_to(ROOT).parts)
    sources = [Source(path) for path in paths]
    owners = owning_structs(sources)
    faults = []
    for source in sources:
        shown = reporting.shown(source.path)
        for line, rule, text in source.check(owners):
            if not source.excused(line):
                faults.append(f"{shown}:{line}: [{rule}] {text}")
    return reporting.told(faults, f"check_coroutines: {len(sources)} files, no hazard found")


if __name__ == "__main__":
    sys.exit(main())
