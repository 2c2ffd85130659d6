#!/usr/bin/env bash
# The Python package: builds the wheel as `pip install ./kvtrie-py` does, installs it into an empty
# environment, and tests it there. Needs Python 3.11 or newer and a package index.
#
#   ci/python.sh [ARGUMENT OF PYTEST ...]
set -euo pipefail
cd "$(dirname "$0")/.."

folder=$PWD/target/python
rm -rf "$folder"
mkdir -p "$folder"
export PIP_DISABLE_PIP_VERSION_CHECK=1

python3 -m venv "$folder/build"
"$folder/build/bin/pip" wheel --quiet --no-deps --wheel-dir "$folder/wheels" ./kvtrie-py
wheel=$(echo "$folder"/wheels/kvtrie-*.whl)

# The environment of a user: nothing in it but the wheel and what tests it.
python3 -m venv "$folder/user"
"$folder/user/bin/pip" install --quiet "$wheel" pytest pyzmq msgpack 'mypy>=1.18' abi3audit
python=$folder/user/bin/python

"$python" ci/python_wheel.py "$wheel"
"$folder/user/bin/abi3audit" --strict "$wheel"
"$python" -m mypy --strict --cache-dir "$folder/mypy" examples/python kvtrie-py/bench kvtrie-py/python
"$python" -m mypy.stubtest --mypy-config-file kvtrie-py/pyproject.toml kvtrie
"$python" examples/python/quickstart.py
"$python" kvtrie-py/bench/table.py --check
"$python" -m pytest -q -p no:cacheprovider kvtrie-py/tests "$@"
