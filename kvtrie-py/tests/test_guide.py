"""The code of the guide's page and of the README runs."""

import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1]
GUIDE = PACKAGE.parent / "src/guide"
PAGES = [PACKAGE / "README.md", GUIDE / "python.md", GUIDE / "from_vllm.md"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_code_runs(page: Path) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", page.read_text(), re.M | re.S)
    assert blocks
    for block in blocks:
        exec(compile(block, str(page), "exec"), {})
