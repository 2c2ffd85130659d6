"""Reads the sources: statements and their labels, and the tables of src/design.rs."""

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

COMMENTS = re.compile(r"^(?:[ \t]*//(?![/!]).*\n)+", re.M)
LABEL = re.compile(r"[ \t]*// (Release|Acquire|AcqRel|SeqCst|Rule)\b(.*)")
NAMES = re.compile(r"(?P<by>, by [^()]*)? \((?P<names>[\w, -]+)\):")
ORDERING = re.compile(r"\b(?:Acquire|Release|AcqRel|SeqCst)\b")
NOT_CODE = re.compile(
    r"""//[^\n]* | /\*.*?\*/ | \br(\#*)".*?"\1 | "(?:\\.|[^"\\])*" | '(?:\\[^']+|[^'\\])'""",
    re.S | re.X,
)
BLOCKS = ("if", "match", "while", "for", "loop", "unsafe", "{")


class Problem(Exception):
    """What is wrong with a label, a table or a rule."""


@dataclass(frozen=True)
class Label:
    """One name in a label, and the statement below it."""

    source: "Source"
    kind: str
    by_rule: bool
    name: str
    begin: int
    end: int

    def text(self):
        return self.source.text[self.begin : self.end]

    def __str__(self):
        return self.source.place(self.begin)


class Source:
    """One file of src/."""

    def __init__(self, path, text):
        self.path, self.text = path, text
        # The same without comments, strings and characters: blanks stand in their places.
        self.code = NOT_CODE.sub(lambda found: re.sub(r"[^\n]", " ", found[0]), text)

    def place(self, at):
        """A place as a path and a line."""
        return f"{self.path}:{self.text.count(chr(10), 0, at) + 1}"

    def module(self):
        """The path of the file's module."""
        parts = Path(self.path).with_suffix("").parts[1:]
        return "::".join(["crate", *(part for part in parts if part != "mod")])

    @cached_property
    def labels(self):
        """All labels, in order."""
        return [label for block in COMMENTS.finditer(self.text) for label in self._labels(block)]

    def _labels(self, block):
        for line in block[0].splitlines():
            if not (head := LABEL.match(line)):
                continue
            if not (tail := NAMES.match(head[2])):
                raise Problem(f"{self.place(block.start())}: not a label: {line.strip()}")
            begin, end = self._statement(block.end())
            for name in tail["names"].split(", "):
                yield Label(self, head[1], bool(tail["by"]), name, begin, end)

    def _statement(self, start):
        """The next statement: up to its `;`, its closing brace, or that of the block it ends."""
        begin = start + re.match(r"\s*", self.code[start:]).end()
        is_block = re.match(r"\w+|.", self.code[begin:])[0] in BLOCKS
        depth = 0
        for at in range(begin, len(self.code)):
            char = self.code[at]
            depth += (char in "([{") - (char in ")]}")
            if depth < 0:
                return begin, begin + len(self.code[begin:at].rstrip())
            if depth == 0 and char == ";":
                return begin, at + 1
            if depth == 0 and char == "}" and is_block:
                if not re.match(r"\s*(?:else\b|[.?;=])", self.code[at + 1 :]):
                    return begin, at + 1
        raise Problem(f"{self.place(start)}: a label without a statement")

    def function(self, at):
        """The name of the function around a place, and where its body begins."""
        for found in reversed(list(re.finditer(r"\bfn (\w+)", self.code[:at]))):
            body = self.code.index("{", found.end()) + 1
            depth = 1
            for char in self.code[body:at]:
                depth += (char == "{") - (char == "}")
                if depth == 0:
                    break
            else:
                return found[1], body
        raise Problem(f"{self.place(at)}: a label outside of any function")


def read(root):
    """All files of src/, in order."""
    paths = sorted((root / "src").rglob("*.rs"))
    return [Source(str(path.relative_to(root)), path.read_text()) for path in paths]


@dataclass(frozen=True)
class Row:
    """A row of one of the tables: its name, and what is said to fail without it."""

    is_rule: bool
    name: str
    # Pairs of a kind (`loom`, `test`, `tsan`) and the name of a test.
    tests: tuple
    reason: str


def read_rows(sources):
    """The rows of the tables of edges and of rules, by name."""
    found, table = {}, None
    for line in "\n".join(source.text for source in sources).splitlines():
        if not line.startswith("//! |"):
            table = None
            continue
        cells = [cell.strip() for cell in line.removeprefix("//! |").rstrip(" |").split(" | ")]
        if table is None:
            table = cells[0]
        elif table in ("edge", "rule") and not cells[0].startswith("---"):
            if cells[0] in found:
                raise Problem(f"two rows are named {cells[0]}")
            found[cells[0]] = Row(table == "rule", cells[0], *evidence(cells[0], cells[-1]))
    return found


def evidence(name, cell):
    """The tests and the reason in the last cell of a row."""
    tests, reason = [], ""
    for part in cell.split("; "):
        mark, colon, text = part.partition(": ")
        named = re.findall(r"`(\w+)`", text)
        if mark == "A" and colon:
            reason = text
        elif mark == "M" and named:
            tests += [("loom", test) for test in named]
        elif mark == "T" and named:
            tests += [("tsan" if "ThreadSanitizer" in text else "test", test) for test in named]
        else:
            raise Problem(f"{name}: neither a model, nor a test, nor an argument: {part}")
    return tuple(tests), reason
