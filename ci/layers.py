#!/usr/bin/env python3
"""Checks that imports of src/ point one way: api -> shared -> trie -> everything else, without a circle.

The one circle allowed is that of the builder and what it builds. Tests inside the files do not count.

  ci/layers.py           checks
  ci/layers.py --show    prints each file with what it imports
"""

import re
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

SRC = Path(__file__).resolve().parents[1] / "src"
LAYERS = ["api", "shared", "trie", ""]
# The builder makes the cache, and `PrefixCache::builder` makes the builder.
ALLOWED = {("api/cache", "api/builder")}

IMPORT = re.compile(r"^\s*(?:pub )?use ((?:crate|super|self)::[^;]+);", re.M)
INLINE = re.compile(r"(?<![\w:`])((?:crate|super)(?:::\w+)+)")


def files():
    """Yields the name of each module, like `trie/evict/clock`, with its source."""
    for path in sorted(SRC.rglob("*.rs")):
        name = path.relative_to(SRC).with_suffix("").as_posix().removesuffix("/mod")
        if name.split("/")[0] not in ("lib", "design", "guide"):
            code = re.split(r"#\[cfg\((?:all\()?test", path.read_text())[0]
            yield name, re.sub(r"//.*", "", code), path.stem == "mod"


def paths(tree, prefix=""):
    """Yields every path that a `use` tree names."""
    tree = tree.strip()
    head, brace, rest = tree.partition("{")
    if not brace:
        yield prefix + tree.split(" as ")[0]
        return
    depth, start = 0, 0
    inner = rest.rsplit("}", 1)[0]
    for at, letter in enumerate(inner + ","):
        depth += (letter == "{") - (letter == "}")
        if letter == "," and depth == 0:
            if inner[start:at].strip():
                yield from paths(inner[start:at], prefix + head)
            start = at + 1


def resolve(path, name, is_mod, known):
    """Returns the module that a path leads to, as seen from the module `name`; none if it is lib.rs."""
    here = name.split("/")
    parts = path.split("::")
    base = here if is_mod else here[:-1]
    if parts[0] == "crate":
        base = []
    elif parts[0] == "self":
        base = here
    else:
        base = here[:-1]
        while parts[1:2] == ["super"]:
            parts, base = parts[1:], base[:-1]
    full = base + parts[1:]
    candidates = ["/".join(full[:end]) for end in range(len(full), 0, -1)]
    return next((candidate for candidate in candidates if candidate in known), None)


def imports():
    """Returns, for each module, the modules that it imports."""
    sources = list(files())
    known = {name for name, _, _ in sources}
    graph = {}
    for name, code, is_mod in sources:
        named = [path for use in IMPORT.findall(code) for path in paths(use)]
        named += INLINE.findall(IMPORT.sub("", code))
        if is_mod:
            # The root of a folder names its children without a prefix.
            children = re.findall(r"^use (\w+(?:::[^;]+)?);", code, re.M)
            named += [f"self::{path}" for use in children for path in paths(use)]
        found = {resolve(path, name, is_mod, known) for path in named}
        graph[name] = sorted(found - {None, name})
    return graph


def layer(name):
    """Returns how far down a module stands."""
    top = name.split("/")[0]
    return LAYERS.index(top if top in LAYERS else "")


def main():
    graph = imports()
    if "--show" in sys.argv:
        for name, imported in graph.items():
            print(f"{name}: {' '.join(imported)}")
    upward = [
        f"{name} imports {other}, which stands above it"
        for name, imported in graph.items()
        for other in imported
        if layer(other) < layer(name)
    ]
    kept = {
        name: [other for other in imported if (name, other) not in ALLOWED]
        for name, imported in graph.items()
    }
    try:
        TopologicalSorter(kept).prepare()
    except CycleError as circle:
        upward.append(f"a circle: {' <- '.join(circle.args[1])}")
    for line in upward:
        print(f"layers.py: {line}", file=sys.stderr)
    print(f"{len(graph)} modules, {sum(map(len, graph.values()))} imports")
    sys.exit(bool(upward))


if __name__ == "__main__":
    main()
