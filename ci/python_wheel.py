#!/usr/bin/env python3
"""Inspects a wheel of the Python package: its name, size, files and exported symbols.

ci/python_wheel.py WHEEL
"""

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

# What one line of code should not double without notice. The wheel has 0.4 MB.
MOST_BYTES = 1_000_000
NEEDED = [
    "kvtrie/__init__.py",
    "kvtrie/_kvtrie.abi3.so",
    "kvtrie/_kvtrie.pyi",
    "kvtrie/compat/mlx_manager.py",
    "kvtrie/py.typed",
]


def main(wheel: Path) -> None:
    size = wheel.stat().st_size
    assert "-cp311-abi3-" in wheel.name, f"{wheel.name} is not for every Python from 3.11 on"
    assert size < MOST_BYTES, f"{wheel.name} has {size} bytes"
    with zipfile.ZipFile(wheel) as archive, tempfile.TemporaryDirectory() as folder:
        names = archive.namelist()
        missing = [name for name in NEEDED if name not in names]
        assert not missing, f"{wheel.name} lacks {missing}"
        strangers = [name for name in names if name.startswith(("tests", "kvtrie/tests"))]
        assert not strangers, f"{wheel.name} has {strangers}"
        module = archive.extract("kvtrie/_kvtrie.abi3.so", folder)
        exported = symbols(module, "--defined-only")
        assert exported == ["PyInit__kvtrie"], f"the module exports {exported}"
        used = [name for name in symbols(module, "--undefined-only") if name.startswith("Py")]
    print(f"{wheel.name}: {size} bytes, {len(names)} files, {len(used)} functions of Python")


def symbols(module: str, which: str) -> list[str]:
    """Returns the dynamic symbols of a shared library."""
    listing = subprocess.run(["nm", "-D", which, module], capture_output=True, text=True, check=True)
    return [line.split()[-1] for line in listing.stdout.splitlines()]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
