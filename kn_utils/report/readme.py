"""What written pages show of our published results: `python -m kn_utils.report.readme` writes it, and tests check it.

The README has the verdicts and two pictures, the page of results what was run, and the page of deviations the verdicts beside those of
the earlier rule.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from kn_utils.paths import DATA, ROOT
from kn_utils.report.judge import OURS, Judged, judge_all, of_paper
from kn_utils.report.opening import joint_verdict, row_of
from kn_utils.report.pictures import write_pictures
from kn_utils.report.side_by_side import with_enough_prompts
from kn_utils.report.what_follows import DECIDING, thesis_verdict
from kn_utils.stats.rule import CONTRADICTED, OPEN, PARTLY, SUPPORTED, UNTESTED
from kn_utils.store.published import published_results
from kn_utils.store.runs import facts_with_prompts

README, DEVIATIONS, RESULTS = ROOT / "README.md", ROOT / "book" / "deviations.md", ROOT / "book" / "results.md"
EARLIER = DATA / "published" / "earlier_verdicts.csv"  # of the rule of earlier versions, as the README had them
MARKED = re.compile(r"(?<=<!-- computed -->\n).*?(?=<!-- end of computed -->)", re.DOTALL)
CELLS = {SUPPORTED: "● yes", PARTLY: "◐ partly", OPEN: "○ open", CONTRADICTED: "✕ no", UNTESTED: "–"}
THESIS = f"{DECIDING}, {OURS}: they store facts"
SEED = 42  # of the bootstrap; the same as in the report


def judged_results() -> dict[str, list[Judged]]:
    """Return the verdicts for each of our published results, by column name."""
    judged = {}
    for results in published_results():
        relations = with_enough_prompts(results.read, results.relations)
        facts = len(facts_with_prompts(results.read("facts", relations)))
        judged[f"{results.model} on {results.dataset}, {facts:,} facts"] = judge_all(results.read, relations, SEED)
    return judged


def verdict_table(judged: dict[str, Sequence[Judged]]) -> str:
    """Return a Markdown table with a row for each claim of the paper that can be tested, and a column for each result.

    The last row has the verdict of our own experiments on the paper's thesis.
    """
    columns = [_by_claim(of_paper(of_result)) for of_result in judged.values()]
    claims = [claim for claim in columns[0] if any(set(column[claim]) - {UNTESTED} for column in columns)]
    cells = [[_cell(column[claim]) for column in columns] for claim in claims]
    whole = [_count(of_result) for of_result in zip(*cells, strict=True)]
    rows = [
        *([claim, *row] for claim, row in zip(claims, cells, strict=True)),
        ["**yes**", *whole],
        [THESIS, *(CELLS[thesis_verdict(of_result)] for of_result in judged.values())],
    ]
    return _markdown(["claim", *judged], rows)


def earlier_table(judged: dict[str, Sequence[Judged]]) -> str:
    """Return a Markdown table of earlier verdicts → verdicts now: a row for each claim, a column for each result that had earlier ones."""
    earlier = pd.read_csv(EARLIER).pivot(index="claim", columns="run", values="verdict")
    now = {name.partition(",")[0]: {result.claim.text: result.verdict for result in results} for name, results in judged.items()}
    runs = [run for run in earlier.columns if run in now]
    rows = []
    for claim in dict.fromkeys(result.claim.text for result in next(iter(judged.values()))):
        if claim in earlier.index:
            rows.append([claim, *(f"{earlier.loc[claim, run]} → {now[run][claim]}" for run in runs)])
    return _markdown(["claim", *runs], rows)


def published_table() -> str:
    """Return a Markdown table with a row for each of our published results: facts, the erasures of notebook 07, and run list."""
    rows = []
    for results in published_results():
        asked, facts = results.made_with("facts", results.relations[0])["n_facts"], results.read("facts", results.relations)
        drawn = f"{asked} of each relation" if asked else "all"
        counted = f"{len(facts_with_prompts(facts)):,} of {len(results.relations)} relations (drawn: {drawn})"
        erased = results.provenance("erase_relation")
        others = {made["inputs"]["other_facts"] for made in erased.values()}
        evaluated = f"{len(erased)} relations, each evaluated on {', '.join(map(str, others))} of the facts of every other"
        rows.append([results.model, results.dataset, counted, evaluated, f"`{results.model}_{results.dataset}.yml`"])
    return _markdown(
        ["model", "data set", "facts with prompts", "erased in notebook 07", "run list in `data/published/runs/`"], rows
    )


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    return "".join(f"| {' | '.join(row)} |\n" for row in (head, ["---"] * len(head), *rows))


def shown_table(path: Path = README) -> str:
    """Return the table between the marks of a page."""
    return MARKED.search(path.read_text(encoding="utf-8")).group()


def write_table(table: str, path: Path = README) -> None:
    """Put a table between the marks of a page."""
    path.write_text(MARKED.sub(lambda _: table, path.read_text(encoding="utf-8")), encoding="utf-8")


def _by_claim(judged: Sequence[Judged]) -> dict[str, list[str]]:
    """Return the verdicts of each row; claims on single relations share a row."""
    rows: dict[str, list[str]] = {}
    for result in judged:
        rows.setdefault(f"{result.claim.section}: {row_of(result.claim)}", []).append(result.verdict)
    return rows


def _cell(verdicts: Sequence[str]) -> str:
    shown, tested = CELLS[joint_verdict(verdicts)], [verdict for verdict in verdicts if verdict != UNTESTED]
    return f"{shown} ({tested.count(SUPPORTED)} of {len(tested)})" if tested and len(verdicts) > 1 else shown


def _count(cells: Sequence[str]) -> str:
    tested = [cell for cell in cells if not cell.startswith(CELLS[UNTESTED])]
    return f"**{sum(cell.startswith(CELLS[SUPPORTED]) for cell in tested)} of {len(tested)}**"


if __name__ == "__main__":
    found = judged_results()
    write_table(verdict_table(found))
    write_table(earlier_table(found), DEVIATIONS)
    write_table(published_table(), RESULTS)
    write_pictures(SEED)
