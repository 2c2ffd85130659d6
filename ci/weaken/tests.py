"""Finds the tests, builds them in a copy of the crate, and runs them one by one."""

import json
import os
import re
import signal
import subprocess
import tomllib
from pathlib import Path

from source import Problem

TEST = r"#\[test\]\s*(?:#\[[^\n]*\]\s*)*fn {}\("
# A test that runs for as long as that has caught nothing.
SECONDS = 600
# How often a running test is looked at, and what a test that stands still has for output.
STEP, STILL = 10, "stands still"


class Tests:
    """Which target each test is in, and what it is called there."""

    def __init__(self, root):
        named = tomllib.loads((root / "Cargo.toml").read_text()).get("test", [])
        targets = {root / target["path"]: target["name"] for target in named}
        for path in [*root.glob("tests/*.rs"), *root.glob("tests/*/main.rs")]:
            targets.setdefault(path, path.parent.name if path.stem == "main" else path.stem)
        self.files = []
        for path in [*root.glob("loom-tests/**/*.rs"), *root.glob("tests/**/*.rs")]:
            prefix = "" if path in targets else f"{path.stem}::"
            if target := targets.get(path, targets.get(path.parent / "main.rs")):
                is_model = path.is_relative_to(root / "loom-tests")
                self.files.append((is_model, target, prefix, path.read_text()))

    def find(self, kind, name):
        """The targets that have a test of that name, and its full name in each."""
        test = re.compile(TEST.format(name))
        places = [
            (target, prefix + name)
            for is_model, target, prefix, text in self.files
            if is_model == (kind == "loom") and test.search(text)
        ]
        if not places:
            raise Problem(f"no {'model' if kind == 'loom' else 'test'} is named {name}")
        return places


class Copy:
    """A copy of the crate, in which one file at a time is broken."""

    def __init__(self, root, tests):
        self.tests, self.work = tests, root / "target/weaken"
        # What each kind of build needs: flags for the compiler, and options for cargo.
        self.kinds = {
            "loom": ("--cfg loom --cfg crossbeam_loom", ["--release"]),
            "test": ("", []),
        }
        subprocess.run([root / "ci/bare.sh", self.work / "tree"], check=True)
        for path in (self.work / "tree/src").rglob("*.rs"):
            # As if just written: what cargo built last may come from a broken one.
            path.touch()

    def write(self, path, text):
        """Writes a file of the copy."""
        (self.work / "tree" / path).write_text(text)

    def environment(self, kind):
        """What cargo and the tests of a kind find in their environment."""
        return os.environ | {
            "RUSTFLAGS": self.kinds[kind][0],
            "CARGO_TARGET_DIR": str(self.work / kind),
            "CARGO_INCREMENTAL": "1",
            "RUST_BACKTRACE": "0",
        }

    def build(self, kind, names):
        """Builds tests. Returns each target's executable, or none and the compiler's errors."""
        targets = sorted({target for name in names for target, _ in self.tests.find(kind, name)})
        command = ["cargo", "test", "--no-run", "--message-format=json-render-diagnostics"]
        command += [*self.kinds[kind][1], *(f"--test={target}" for target in targets)]
        done = subprocess.run(
            command,
            cwd=self.work / "tree",
            env=self.environment(kind),
            capture_output=True,
            text=True,
        )
        if done.returncode != 0:
            return None, done.stderr
        messages = [json.loads(line) for line in done.stdout.splitlines()]
        built = [message for message in messages if message.get("executable")]
        return {message["target"]["name"]: message["executable"] for message in built}, ""

    def run(self, kind, executables, name):
        """Runs a test in each target that has it. Returns how it failed, if so, and its output."""
        for target, path in self.tests.find(kind, name):
            process = subprocess.Popen(
                [executables[target], "--exact", path],
                cwd=self.work / "tree",
                env=self.environment(kind),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                encoding="utf-8",
                errors="replace",
            )
            output = finish(process)
            if output is None:
                continue
            if output == STILL:
                return "crashed, and stands still in the handler of that", output
            done = subprocess.CompletedProcess(path, process.returncode, output)
            if done.returncode == 0 and "1 passed" not in done.stdout:
                raise Problem(f"{target} runs no test named {path}")
            # A model that explores less than it should shows nothing.
            if done.returncode != 0 and "too few to mean anything" not in done.stdout:
                return how(done), done.stdout
        return None, ""


def finish(process):
    """Returns the output of a test once it ends; STILL if it uses no processor time, as one does
    that crashed while loom ran it; None if it takes too long."""
    used = None
    for _ in range(SECONDS // STEP):
        try:
            return process.communicate(timeout=STEP)[0]
        except subprocess.TimeoutExpired:
            fields = Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
            before, used = used, fields[11:13]
            if before == used:
                break
    process.kill()
    process.communicate()
    return STILL if before == used else None


def how(done):
    """How a test failed: its first panic, or what else ended it."""
    if panic := re.search(r"panicked at.*\n(.*)", done.stdout):
        return panic[1][:72]
    if done.returncode < 0:
        return signal.Signals(-done.returncode).name
    return f"status {done.returncode}"
