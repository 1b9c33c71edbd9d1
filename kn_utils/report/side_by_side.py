"""The same claims on a run and on our published results."""

from collections.abc import Collection, Sequence

import pandas as pd

from kn_utils.model.neurons import MIN_PROMPTS
from kn_utils.report.judge import Judged, Read, judge_all, made_for
from kn_utils.store.published import PublishedResults, is_same_run, published_results
from kn_utils.store.runs import FACT_KEY, Run

Runs = dict[str, tuple[Run | PublishedResults, Sequence[str]]]  # by their names for readers: a run and its relations


def beside_published(run: Run, relations: Sequence[str]) -> Runs:
    """Return a run and, after it, our published results of the same relations, but for results that are the run itself.

    Only relations that can have knowledge neurons count, see `with_enough_prompts`; if a run has none of these, all of which step 1 was
    run; if it was run for none, all.
    """
    counted = with_enough_prompts(run.read, relations) or made_for(run.read, ["facts"], relations) or relations
    runs: Runs = {f"this run: {run.scope(counted)}": (run, counted)}
    for results in published_results():
        published = set(results.relations)
        common = with_enough_prompts(results.read, [relation for relation in relations if relation in published])
        if common and not is_same_run(results, run, counted):
            runs[f"published: {results.scope(common)}"] = (results, common)
    return runs


def with_enough_prompts(read: Read, relations: Sequence[str]) -> list[str]:
    """Return the relations of which some fact was asked with three templates or more; no fact of the others can have knowledge neurons.

    Relations of which step 1 was not run are left out.
    """
    made = made_for(read, ["facts"], relations)
    if not made:
        return []
    most = read("facts", made).groupby("relation")["prompts"].max()
    return [relation for relation in made if most[relation] >= MIN_PROMPTS]


def judge_runs(runs: Runs, seed: int, section: str = "") -> dict[str, list[Judged]]:
    """Test the claims of a section of the paper, by default of all, on each run."""
    return {name: judge_all(run.read, relations, seed, section) for name, (run, relations) in runs.items()}


def only(read: Read, facts: Collection[tuple[str, int]]) -> Read:
    """Return a reader of the rows of some facts, given as (relation, fact); tables that are not by fact stay whole."""
    wanted = pd.MultiIndex.from_tuples(sorted(facts), names=FACT_KEY)

    def read_only(table: str, relations: Sequence[str]) -> pd.DataFrame:
        rows = read(table, relations)
        if "fact" not in rows:
            return rows
        return rows[pd.MultiIndex.from_frame(rows[FACT_KEY]).isin(wanted)].reset_index(drop=True)

    return read_only
