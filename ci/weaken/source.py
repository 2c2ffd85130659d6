"""Reads the sources: statements and their labels, and the edges and rules of src/design/orderings.rs."""

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
# An item of a list, and what one says of an edge or a rule.
ITEM = re.compile(r"^\* .*\n(?:  .*\n)*", re.M)
ENTRY = re.compile(r"\* \*\*(?P<name>[\w-]+)\*\*.*?\. \((?P<evidence>[MTA]: .*)\)")
BLOCKS = ("if", "match", "while", "for", "loop", "unsafe", "{")


class Problem(Exception):
    """What is wrong with a label, an entry or a rule."""


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
class Entry:
    """An edge or a rule of src/design/orderings.rs: its name, and what is said to fail without it."""

    is_rule: bool
    name: str
    # Pairs of a kind (`loom`, `test`) and the name of a test.
    tests: tuple
    reason: str


def read_entries(root):
    """The edges and the rules that src/design/orderings.rs lists, by name."""
    lines = (root / "src/design/orderings.rs").read_text().splitlines()
    text = "".join(line.removeprefix("//!").removeprefix(" ") + "\n" for line in lines)
    found = {}
    for heading in ["Edges", "Rules"]:
        section = re.search(rf"^# {heading}$(.*?)(?=^# |\Z)", text, re.M | re.S)[1]
        for item in ITEM.findall(section):
            if not (entry := ENTRY.fullmatch(" ".join(item.split()))):
                raise Problem(f"src/design/orderings.rs: neither a name nor evidence: {item}")
            if entry["name"] in found:
                raise Problem(f"two entries are named {entry['name']}")
            tests, reason = evidence(entry["name"], entry["evidence"])
            found[entry["name"]] = Entry(heading == "Rules", entry["name"], tests, reason)
    return found


def evidence(name, said):
    """The tests and the reason at the end of an entry."""
    tests, reason = [], ""
    for part in said.split("; "):
        mark, colon, text = part.partition(": ")
        named = re.findall(r"`(\w+)`", text)
        if mark == "A" and colon:
            reason = text
        elif mark == "M" and named:
            tests += [("loom", test) for test in named]
        elif mark == "T" and named:
            tests += [("test", test) for test in named]
        else:
            raise Problem(f"{name}: neither a model, nor a test, nor an argument: {part}")
    return tuple(tests), reason
