"""The book's API pages show every module once."""

import re
from collections import Counter

from kn_utils.paths import ROOT


def test_every_module_stands_on_one_api_page():
    shown = [name for page in (ROOT / "book/api").glob("*.md") for name in re.findall(r"automodule:: ([\w.]+)", page.read_text())]
    files = [path.relative_to(ROOT) for path in (ROOT / "kn_utils").rglob("*.py") if path.name != "__init__.py"]
    assert Counter(shown) == Counter(".".join(path.with_suffix("").parts) for path in files)
