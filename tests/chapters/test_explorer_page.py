"""The explorer's text and its tables have the same number of digits."""

import re

from kn_utils.paths import ROOT

WORDS = {"2": "two", "3": "three"}


def test_text_and_tables_have_as_many_digits():
    script = (ROOT / "book/_extra/explorer/explorer.js").read_text(encoding="utf-8")
    [digits] = re.findall(r"const DIGITS = (\d);", script)
    assert f"{WORDS[digits]} significant digits" in (ROOT / "book/explorer.md").read_text(encoding="utf-8")
    assert re.findall(r"SignificantDigits: (\w+)", script) == ["DIGITS", "DIGITS"]
    assert len(re.findall(r"\bpercent\([^,()]+\)", script)) == script.count("percent(") == 4  # no call with its own digits
