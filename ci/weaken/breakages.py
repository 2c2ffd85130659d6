"""Works out every breakage: each end of each edge, and each rule in the ways that `rules` lists."""

import re
from collections import defaultdict
from dataclasses import dataclass

from source import ORDERING, Entry, Problem, Source

# What is left of an ordering without one of its sides.
WEAKER = {
    ("Acquire", "Acquire"): "Relaxed",
    ("Release", "Release"): "Relaxed",
    ("AcqRel", "Acquire"): "Release",
    ("AcqRel", "Release"): "Acquire",
    ("SeqCst", "SeqCst"): "AcqRel",
}


@dataclass(frozen=True)
class Breakage:
    """One change of one file, and the entry that says what must then fail."""

    name: str
    place: str
    entry: Entry
    source: Source
    text: str


def all_breakages(sources, entries, rules):
    """Every breakage, the orderings first."""
    return [*weakened(sources, entries), *broken(sources, entries, rules)]


def check(sources, entries):
    """Labels and entries must name each other, and every edge must have both ends."""
    ends = defaultdict(set)
    for label in (label for source in sources for label in source.labels):
        entry = entries.get(label.name)
        if entry is None or entry.is_rule != (label.kind == "Rule"):
            raise Problem(f"{label}: {label.name} has no entry in src/design/orderings.rs")
        ends[label.name] |= {"Release", "Acquire"} if label.kind == "SeqCst" else {label.kind}
    for entry in entries.values():
        for end in ["Rule"] if entry.is_rule else ["Release", "Acquire"]:
            if end not in ends[entry.name]:
                raise Problem(f"no statement is labelled {end} ({entry.name})")


def weakened(sources, entries):
    """The breakages of orderings: for each edge of each label, without that side."""
    for source in sources:
        owned = owners(source)
        for label in source.labels:
            if label.kind == "Rule" or label.by_rule:
                continue
            ends = [at for at in owned[label.begin] if (at[0], label.kind) in WEAKER]
            if len(ends) != 1:
                raise Problem(f"{label}: {len(ends)} orderings for {label.kind} ({label.name})")
            at, weaker = ends[0], WEAKER[ends[0][0], label.kind]
            change = (at.start(), at.end(), weaker)
            # There is no relaxed fence.
            if weaker == "Relaxed" and re.search(r"\bfence\([\w:\s]*$", source.code[: at.start()]):
                change = (label.begin, label.end, "")
            name = f"{label.name}: {label.kind} in {source.function(label.begin)[0]}"
            text = replaced(source, [change])
            yield Breakage(name, str(label), entries[label.name], source, text)


def owners(source):
    """The orderings of a file, by where the innermost labelled statement around each begins. Its
    label must name every side."""
    labels = [label for label in source.labels if label.kind != "Rule" and not label.by_rule]
    owned = defaultdict(list)
    for at in ORDERING.finditer(source.code):
        around = [label for label in labels if label.begin <= at.start() < label.end]
        begin = max((label.begin for label in around), default=None)
        sides = {label.kind for label in around if label.begin == begin}
        if {side for word, side in WEAKER if word == at[0]} - sides:
            raise Problem(f"{source.place(at.start())}: {at[0]} without a label")
        owned[begin].append(at)
    return owned


def broken(sources, entries, rules):
    """The breakages that `rules` lists."""
    sites, times = defaultdict(list), defaultdict(int)
    for label in (label for source in sources for label in source.labels):
        if label.kind == "Rule" or label.by_rule:
            sites[label.name].append(label)
    for name, operators in rules:
        if name not in sites:
            raise Problem(f"rules: no statement is labelled {name}")
        entry = entries[name]
        # A rule is kept by all of its statements together, an end of an edge by each.
        for group in [sites[name]] if entry.is_rule else [[site] for site in sites[name]]:
            first = group[0]
            times[name] += 1
            called = f"{name} {times[name]}".removesuffix(" 1")
            if not entry.is_rule:
                called = f"{name}: {first.kind} in {first.source.function(first.begin)[0]}"
            text = operated(group, operators, sites)
            yield Breakage(called, str(first), entry, first.source, text)
    for name in sites.keys() - times.keys():
        raise Problem(f"rules: nothing breaks {name}")


def operated(group, operators, sites):
    """The text of a file after operators have changed the statements of a rule."""
    source = group[0].source
    if any(site.source is not source for site in group):
        raise Problem(f"{group[0].name}: its statements are in two files")
    texts, changes = [site.text() for site in group], []
    for operator in operators:
        word, _, argument = operator.partition(" ")
        if word == "drop":
            texts[0] = ""
        elif word == "after" and len(group) == 2:
            texts = ["", f"{texts[1]} {texts[0]}"]
        elif word == "once":
            body = source.function(group[0].begin)[1]
            changes.append((body, body, " let mut is_first = true;"))
            texts[0] = f"if std::mem::replace(&mut is_first, false) {{ {texts[0]} }}"
        elif word == "under" and argument in sites:
            pin = sites[argument][0]
            path = f"{pin.source.module()}::{pin.source.function(pin.begin)[0]}"
            texts[0] = f"let _outer = {path}(); {texts[0]}"
        else:
            substitute(group, operator, texts)
    changes += [(site.begin, site.end, text) for site, text in zip(group, texts)]
    return replaced(source, changes)


def substitute(group, operator, texts):
    """Applies `s/REGEX/TEXT/` to the one statement in which it matches."""
    form = re.fullmatch(r"s/([^/]+)/([^/]*)/", operator)
    if not form:
        raise Problem(f"rules: {group[0].name}: not an operator: {operator}")
    regex = re.compile(form[1].replace(" ", r"\s*"), re.S)
    found = [(index, match) for index, text in enumerate(texts) for match in regex.finditer(text)]
    if len(found) != 1:
        raise Problem(f"rules: {group[0].name}: matches {len(found)} times: {operator}")
    index, match = found[0]
    new = match.expand(form[2]).replace("@", group[0].text())
    texts[index] = texts[index][: match.start()] + new + texts[index][match.end() :]


def replaced(source, changes):
    """The text of a file with other texts in place of some spans."""
    text = source.text
    for begin, end, new in sorted(changes, reverse=True):
        text = text[:begin] + new + text[end:]
    return text


def read_rules(path):
    """The entries of `rules`: names, and the operators of each."""
    entries = []
    for line in path.read_text().splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        if not line[0].isspace():
            name, line = line.split(maxsplit=1)
            entries.append((name, []))
        entries[-1][1].append(line.strip())
    return entries
