"""The README's verdict table, from our published results: `python -m kn_utils.report.readme` writes it, and a test compares it."""

import re
from collections.abc import Sequence
from pathlib import Path

from kn_utils.paths import ROOT
from kn_utils.report.judge import Judged, judge_all
from kn_utils.report.side_by_side import with_enough_prompts
from kn_utils.stats.rule import NOT_REPLICATED, PARTLY, REPLICATED, UNTESTED
from kn_utils.store.published import PublishedResults, published_results
from kn_utils.store.runs import asked_facts

README = ROOT / "README.md"
MARKED = re.compile(r"(?<=<!-- verdicts -->\n).*?(?=<!-- end of verdicts -->)", re.DOTALL)
CELLS = {REPLICATED: "● yes", PARTLY: "◐ partly", NOT_REPLICATED: "○ no", UNTESTED: "–"}
ERASURES = "erasing a relation harms it more than all others"  # a claim for each relation, in one row
SEED = 42  # of the bootstrap, as in the report


def judged_results() -> dict[str, list[Judged]]:
    """Return the verdicts on each of our published results, by its name as a column of the table."""
    return {_heading(results, counted): judge_all(results.read, counted, SEED) for results, counted in _published()}


def verdict_table(judged: dict[str, Sequence[Judged]]) -> str:
    """Return a Markdown table: a row for each claim that some result can test, a column for each result."""
    columns = [_by_claim(of_result) for of_result in judged.values()]
    claims = [claim for claim in columns[0] if any(set(column[claim]) - {UNTESTED} for column in columns)]
    cells = [[_cell(column[claim]) for column in columns] for claim in claims]
    whole = [_count(of_result) for of_result in zip(*cells, strict=True)]
    rows = [
        ["claim", *judged],
        ["---"] * (1 + len(columns)),
        *([claim, *row] for claim, row in zip(claims, cells, strict=True)),
        ["**yes**", *whole],
    ]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def shown_table(path: Path = README) -> str:
    """Return the table that a README shows between its marks."""
    return MARKED.search(path.read_text(encoding="utf-8")).group()


def write_table(table: str, path: Path = README) -> None:
    """Put a table between the marks of a README."""
    path.write_text(MARKED.sub(lambda _: table, path.read_text(encoding="utf-8")), encoding="utf-8")


def _published() -> list[tuple[PublishedResults, list[str]]]:
    """Our published results, each with its relations that can have knowledge neurons."""
    return [(results, with_enough_prompts(results.read, results.relations)) for results in published_results()]


def _heading(results: PublishedResults, relations: Sequence[str]) -> str:
    facts = len(asked_facts(results.read("facts", relations)))
    return f"{results.model} on {results.dataset}, {facts:,} facts"


def _by_claim(judged: Sequence[Judged]) -> dict[str, list[str]]:
    """The verdicts of each row: of one claim, or of the same claim about several relations."""
    rows: dict[str, list[str]] = {}
    for one in judged:
        text = ERASURES if one.claim.relation else one.claim.text
        rows.setdefault(f"{one.claim.section}: {text}", []).append(one.verdict)
    return rows


def _cell(verdicts: Sequence[str]) -> str:
    tested = [verdict for verdict in verdicts if verdict != UNTESTED]
    if not tested:
        return CELLS[UNTESTED]
    shown = CELLS[tested[0] if len(set(tested)) == 1 else PARTLY]
    return shown if len(verdicts) == 1 else f"{shown} ({tested.count(REPLICATED)} of {len(tested)})"


def _count(cells: Sequence[str]) -> str:
    tested = [cell for cell in cells if not cell.startswith(CELLS[UNTESTED])]
    return f"**{sum(cell.startswith(CELLS[REPLICATED]) for cell in tested)} of {len(tested)}**"


if __name__ == "__main__":
    write_table(verdict_table(judged_results()))
