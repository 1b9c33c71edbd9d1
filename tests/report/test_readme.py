"""The README's verdict table: it is the one that the published tables give, and a row says what its verdicts say."""

from dataclasses import dataclass, field

import pandas as pd
import pytest
from PIL import Image

from kn_utils.report import pictures, readme
from kn_utils.report.judge import CLAIMS
from kn_utils.stats.rule import CONTRADICTED, PARTLY, SUPPORTED, UNTESTED, Claim

ERASURES = "erasures harm it"


@dataclass
class Verdict:
    """A judged claim, of which the table needs the claim and the verdict alone."""

    claim: Claim
    verdict: str
    conditions: list = field(default_factory=list)


def verdicts(*of_claims):
    """Verdicts on two claims of their own and on the erasure of two relations."""
    claims = [Claim("4.2", "they lie high"), Claim("3.2", "it is fast")]
    claims += [Claim("5.2", f"erasing {name} ...", relation=name, row=ERASURES) for name in ("P19", "P27")]
    return [Verdict(*pair) for pair in zip(claims, of_claims, strict=True)]


def test_a_row_for_each_claim_that_can_be_tested_and_one_for_all_erasures():
    table = readme.verdict_table({
        "one": verdicts(SUPPORTED, UNTESTED, SUPPORTED, PARTLY),
        "two": verdicts(PARTLY, UNTESTED, SUPPORTED, UNTESTED),
        "three": verdicts(CONTRADICTED, UNTESTED, UNTESTED, UNTESTED),
    })  # fmt: skip
    assert table.splitlines() == [
        "| claim | one | two | three |",
        "| --- | --- | --- | --- |",
        "| 4.2: they lie high | ● yes | ◐ partly | ✕ no |",
        f"| 5.2: {ERASURES} | ◐ partly (1 of 2) | ● yes (1 of 1) | – |",
        "| **yes** | **1 of 2** | **1 of 2** | **0 of 1** |",
        "| 12, 13, 15, 17, beyond the paper: they store facts | – | – | – |",
    ]


def test_the_table_is_put_between_its_marks(tmp_path):
    page = tmp_path / "README.md"
    page.write_text("before\n<!-- computed -->\n| old |\n<!-- end of computed -->\nafter", encoding="utf-8")
    readme.write_table("| \\1 |\n", page)
    assert readme.shown_table(page) == "| \\1 |\n"
    assert page.read_text(encoding="utf-8") == "before\n<!-- computed -->\n| \\1 |\n<!-- end of computed -->\nafter"


def test_earlier_verdicts_stand_beside_those_of_now(tmp_path, monkeypatch):
    path = tmp_path / "earlier.csv"
    path.write_text("run,claim,verdict\none,they lie high,replicated\ngone,they lie high,partly\n", encoding="utf-8")
    monkeypatch.setattr(readme, "EARLIER", path)
    found = {"one, 10 facts": verdicts(PARTLY, UNTESTED, SUPPORTED, PARTLY), "new": verdicts(*[UNTESTED] * 4)}
    assert readme.earlier_table(found).splitlines() == [
        "| claim | one |",
        "| --- | --- |",
        "| they lie high | replicated → partly |",
    ]


def test_every_claim_with_an_earlier_verdict_is_still_a_claim():
    earlier = pd.read_csv(readme.EARLIER)
    assert set(earlier["claim"]) < {claim.text for claim in CLAIMS} and len(earlier) == 3 * 15


@pytest.mark.slow
def test_the_pages_show_the_verdicts_on_the_published_tables():
    judged = readme.judged_results()
    again = "run `python -m kn_utils.report.readme`"
    assert readme.shown_table() == readme.verdict_table(judged), again
    assert readme.shown_table(readme.DEVIATIONS) == readme.earlier_table(judged), again


def test_the_page_of_results_says_what_was_run():
    assert readme.shown_table(readme.RESULTS) == readme.published_table(), "run `python -m kn_utils.report.readme`"


@pytest.mark.parametrize("name", pictures.PICTURES)
def test_the_pictures_show_what_is_published(name):
    with Image.open(pictures.FOLDER / f"{name}.png") as picture:
        assert picture.info["Source"] == pictures.source(name), "run `python -m kn_utils.report.readme`"
