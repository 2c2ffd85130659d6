"""Breaks the sources on purpose, one breakage at a time. See ci/weaken.sh."""

import argparse
import sys
from collections import Counter, defaultdict
from pathlib import Path

import breakages
import source
from source import Problem
from tests import Copy, Tests

ROOT = Path(__file__).resolve().parents[2]


def main():
    parser = argparse.ArgumentParser(prog="ci/weaken.sh", description=__doc__)
    parser.add_argument("word", nargs="?", default="", help="only what has this in its name")
    parser.add_argument("--list", action="store_true", help="list them, and build nothing")
    options = parser.parse_args()
    sources = source.read(ROOT)
    entries = source.read_entries(ROOT)
    breakages.check(sources, entries)
    rules = breakages.read_rules(ROOT / "ci/weaken/rules")
    tests = Tests(ROOT)
    for kind, name in (test for entry in entries.values() for test in entry.tests):
        tests.find(kind, name)
    every = breakages.all_breakages(sources, entries, rules)
    chosen = [breakage for breakage in every if options.word in breakage.name]
    if options.list:
        for breakage in chosen:
            named = ", ".join(name for _, name in breakage.entry.tests)
            print(f"{breakage.name:<44} {breakage.place}: {named or 'harmless'}")
        print(f"{len(chosen)} breakages")
        return 0
    copy = Copy(ROOT, tests)
    check_unbroken(copy, chosen)
    partly = {breakage.entry.name for breakage in every if breakage not in chosen}
    return run_all(copy, chosen, partly)


def check_unbroken(copy, chosen):
    """Runs the tests on the sources as they are: all must pass."""
    names = defaultdict(set)
    for kind, name in (test for breakage in chosen for test in breakage.entry.tests):
        names[kind].add(name)
    for kind in names:
        executables, errors = copy.build(kind, names[kind])
        if executables is None:
            raise Problem(f"{errors}\nthe {kind} tests do not build")
        for name in sorted(names[kind]):
            failure, output = copy.run(kind, executables, name)
            if failure:
                raise Problem(f"{output}\n{name} fails as it is")


def run_all(copy, chosen, partly):
    """Runs the breakages and sums up. Fails if one is not caught, or if a test that an entry names
    catches none of that entry's breakages, unless only a part of those was run."""
    counts, idle = Counter(), {}
    for breakage in chosen:
        tests = breakage.entry.tests
        still_idle = idle.setdefault(breakage.entry.name, set(tests))
        caught = run_one(copy, breakage, tests, still_idle)
        still_idle.difference_update(caught)
        if caught:
            verdict = "caught"
            said = "; ".join(f"{name}: {failure}" for (_, name), failure in caught.items())
        elif not tests:
            verdict, said = "harmless", f"harmless: {breakage.entry.reason}"
        else:
            verdict, said = "NOT CAUGHT", "NOT CAUGHT"
        counts[verdict] += 1
        print(f"{breakage.name:<44} {said}", flush=True)
    idle = [(entry, name) for entry in idle.keys() - partly for _, name in idle[entry]]
    for entry, name in idle:
        print(f"{entry}: {name} is named as evidence, but caught nothing")
    verdicts = ["caught", "harmless", "NOT CAUGHT"]
    print(", ".join(f"{counts[verdict]} {verdict}" for verdict in verdicts))
    return 1 if counts["NOT CAUGHT"] or idle else 0


def run_one(copy, breakage, tests, idle):
    """Breaks the copy and runs tests until one fails: first, and all of them, those that have
    caught nothing so far. Returns how they failed."""
    caught, built = {}, {}
    copy.write(breakage.source.path, breakage.text)
    for kind, name in sorted(tests, key=lambda test: test not in idle):
        if caught and (kind, name) not in idle:
            break
        if kind not in built:
            names = [name for of, name in tests if of == kind]
            built[kind], errors = copy.build(kind, names)
            if built[kind] is None:
                raise Problem(f"{errors}\n{breakage.name} does not build")
        if failure := copy.run(kind, built[kind], name)[0]:
            caught[kind, name] = failure
    copy.write(breakage.source.path, breakage.source.text)
    return caught


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Problem as problem:
        sys.exit(f"ci/weaken: {problem}")
