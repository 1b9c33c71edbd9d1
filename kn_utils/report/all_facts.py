"""Steps 1 to 3 for all facts of a data set: what is kept of them, and the claims that they test, beside a sample of the same relations.

Step 3's table has rows for every prompt, and would be too large for the repository. Its claims need means and sums of each fact only, so
these are kept, in the table `CHANGES`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from kn_utils.paths import DATA
from kn_utils.report.judge import CLAIMS, Judged, judge, read_once
from kn_utils.stats.intervals import with_interval
from kn_utils.stats.log_odds import fact_changes
from kn_utils.stats.rule import SHOWN, SIGNS, UNTESTED
from kn_utils.store.files import read_provenance, read_table
from kn_utils.store.publish import check_commit, quadrature_by_layer, write_small
from kn_utils.store.published import PublishedResults
from kn_utils.store.runs import FACT_KEY, Run

FOLDER = DATA / "published" / "all_facts"
CHANGES = "changes"
MADE_FROM = {name: name for name in ("facts", "knowledge_neurons", "refinement", "completeness")} | {CHANGES: "modify_activation"}
SECTIONS = ("4.2", "4.3")  # whose claims need no other table
WAY = ["operation", "target", "method"]
PROBABILITIES = ["before", "suppress", "amplify"]
TEXT = ["claim", "contrast", "a sample", "all facts"]


def changes_of_facts(table: pd.DataFrame) -> pd.DataFrame:
    """Return a row per fact of step 3's table: what the claims of section 4.3 need.

    Columns relation, fact; right (whether a prompt was answered right before); before, suppress and amplify (sums of P(object) over the
    own prompts, unchanged and with the fact's neurons changed); and for each operation, target and method the mean change of log-odds.
    """
    changes = fact_changes(table, WAY)
    changes.columns = [" ".join(way) for way in changes.columns]
    own = table[(table["target"] == "own") & (table["method"] == "attribution")]
    after = own.groupby([*FACT_KEY, "operation"])["probability_after"].sum().unstack()
    once = own[own["operation"] == "suppress"].groupby(FACT_KEY)
    first = pd.DataFrame({"right": once["correct_before"].any(), "before": once["probability_before"].sum()}).join(after)
    joined = first.join(changes)
    return joined.astype({name: "float32" for name in joined.columns[1:]}).reset_index()


def as_prompts(changes: pd.DataFrame) -> pd.DataFrame:
    """Return rows of step 3's table with the facts' means and sums of `changes_of_facts`, as if each fact had one prompt."""
    kept = [*FACT_KEY, "right", *PROBABILITIES]
    long = changes.melt(kept, var_name="way", value_name="log_odds_after").dropna(subset="log_odds_after", ignore_index=True)
    names = changes.columns.drop(kept)
    long = long.join(pd.DataFrame([name.split(" ", 2) for name in names], names, WAY), on="way")
    own = (long["target"] == "own") & (long["method"] == "attribution")
    after = np.where(long["operation"] == "suppress", long["suppress"], long["amplify"])
    probabilities = {"probability_before": long["before"].where(own), "probability_after": pd.Series(after).where(own)}
    added = {"prompt": 0, "log_odds_before": 0.0, "correct_before": long["right"]} | probabilities
    return long.assign(**added).drop(columns=["way", "right", *PROBABILITIES])


_REDUCED = {CHANGES: changes_of_facts, "completeness": quadrature_by_layer}  # what is kept of a table instead of all its rows


def keep(run: Run, relation: str, folder: Path = FOLDER) -> None:
    """Add the tables of a relation of a finished run to those that are kept, or replace them.

    Raises ValueError if a table was made outside a commit or with uncommitted changes, and as `Run.made_with`.
    """
    place = folder / run.model / run.dataset.name
    place.mkdir(parents=True, exist_ok=True)
    for name, source in MADE_FROM.items():
        made = {relation: read_provenance(run.path(source, relation))}
        check_commit(f"{source} of {relation}", made[relation]["commit"])
        rows = run.read(source, [relation])
        rows = _REDUCED[name](rows) if name in _REDUCED else rows
        path = place / f"{name}.parquet"
        if path.is_file():
            others = read_table(path)
            rows = pd.concat([others[others["relation"] != relation], rows], ignore_index=True)
            made = read_provenance(path) | made
        write_small(pa.Table.from_pandas(rows, preserve_index=False), made, path)


@dataclass(frozen=True)
class AllFacts:
    """What is kept of all facts of a data set."""

    model: str
    dataset: str
    folder: Path = FOLDER

    @property
    def kept(self) -> PublishedResults:
        """The tables of `MADE_FROM`."""
        return PublishedResults(self.model, self.dataset, self.folder)

    @property
    def relations(self) -> list[str]:
        """The relations that have been run."""
        return self.kept.relations

    def read(self, table: str, relations: Sequence[str]) -> pd.DataFrame:
        """Return a table of several relations, as `Run.read`; that of step 3 has the rows of `as_prompts`."""
        if table == MADE_FROM[CHANGES]:
            return as_prompts(self.kept.read(CHANGES, relations))
        return self.kept.read(table, relations)


def beside_sample(every: AllFacts, sample: PublishedResults, seed: int) -> pd.DataFrame:
    """Return a row per condition of the claims of `SECTIONS` that was tested: its state and value on a sample of facts and on all of them.

    The sample is that of the same relations. Columns are `TEXT`, and same: whether both states are the same; what is only shown has none.
    """
    claims = [claim for claim in CLAIMS if claim.section.startswith(SECTIONS)]
    reads = [read_once(results.read) for results in (sample, every)]
    pairs = [[judge(claim, read, every.relations, seed) for read in reads] for claim in claims]
    return pd.DataFrame([row for pair in pairs for row in _rows(*pair)], columns=[*TEXT, "same"])


def _rows(sample: Judged, every: Judged) -> list[tuple]:
    rows = []
    for conditions in zip(sample.conditions, every.conditions, strict=False):  # a claim that is not tested has none
        if UNTESTED not in (condition.state for condition in conditions):
            texts = [with_interval(condition.value, condition.low, condition.high) for condition in conditions]
            same = None
            if conditions[0].role != SHOWN:
                texts = [f"{SIGNS[condition.state]} {text}" for condition, text in zip(conditions, texts, strict=True)]
                same = conditions[0].state == conditions[1].state
            rows.append((sample.claim.title, conditions[0].contrast, *texts, same))
    return rows


def sentence(every: AllFacts, sample: PublishedResults, table: pd.DataFrame) -> str:
    """Return in Markdown what was run, and how many states of `beside_sample` are the same."""
    facts, drawn = (results.read("facts", every.relations) for results in (every, sample))
    decided = table["same"].dropna()
    return (
        f"`{every.model}` on all {len(facts):,} facts ({facts['prompts'].sum():,} prompts) of {len(every.relations)} of the "
        f"{len(sample.relations)} relations of {every.dataset}, beside a sample of {len(drawn):,} facts of the same relations: "
        f"{int(decided.sum())} of {len(decided)} conditions have the same state."
    )
