"""The same claims for a run and for our published results."""

from collections.abc import Sequence
from functools import cache

from kn_utils.model.neurons import MIN_PROMPTS
from kn_utils.plots.markup import scope
from kn_utils.report.judge import Judged, Read, judge_all, made_for
from kn_utils.store.published import PublishedResults, published_results
from kn_utils.store.runs import Run

Runs = dict[str, tuple[Run | PublishedResults, Sequence[str]]]  # a run and its relations, by the name that tables show


def beside_published(run: Run, relations: Sequence[str]) -> Runs:
    """Return a run, followed by our published results on all their relations; published results of this very run are left out.

    Only relations that can have knowledge neurons are used, see `with_enough_prompts`. If a run has none, all relations with step 1 are
    used, and if there are none of these, all relations.
    """
    counted = with_enough_prompts(run.read, relations) or made_for(run.read, ["facts"], relations) or relations
    runs: Runs = {f"this run: {_named(run, counted)}": (run, counted)}
    for results in published_results():
        published = with_enough_prompts(results.read, results.relations)
        if set(counted) != set(published) or not is_same_run(results, run, counted):
            runs[f"published: {_named(results, published)}"] = (results, published)
    return runs


def _named(results: Run | PublishedResults, relations: Sequence[str]) -> str:
    """Return `scope`, with the number of facts if step 1 has been run."""
    made = made_for(results.read, ["facts"], relations)
    facts = f", {(results.read('facts', made)['prompts'] > 0).sum():,} facts" if made else ""
    return f"{scope(results, relations)}{facts}"


def is_same_run(results: PublishedResults, run: Run, relations: Sequence[str]) -> bool:
    """Return whether the published knowledge neurons of these relations have the same inputs as the run's."""
    if (results.model, results.dataset) != (run.model, run.dataset.name) or not set(relations) <= set(results.relations):
        return False
    if not all(run.path("knowledge_neurons", relation).is_file() for relation in relations):
        return False
    made = results.provenance("knowledge_neurons")
    return all(made[relation]["inputs"] == run.made_with("knowledge_neurons", relation) for relation in relations)


def with_enough_prompts(read: Read, relations: Sequence[str]) -> list[str]:
    """Return the relations in which a fact has at least three prompts; facts of other relations cannot have knowledge neurons.

    Relations without step 1 are left out.
    """
    made = made_for(read, ["facts"], relations)
    if not made:
        return []
    most = read("facts", made).groupby("relation")["prompts"].max()
    return [relation for relation in made if most[relation] >= MIN_PROMPTS]


def judge_runs(runs: Runs, seed: int, section: str = "") -> dict[str, list[Judged]]:
    """Test the claims of a section of the paper, by default all claims, on each run."""
    return {name: _judged(run, tuple(relations), seed, section) for name, (run, relations) in runs.items()}


def _judged(results: Run | PublishedResults, relations: tuple[str, ...], seed: int, section: str) -> list[Judged]:
    if isinstance(results, PublishedResults):
        return _judged_published(results, relations, seed, section)
    return judge_all(results.read, relations, seed, section)


@cache  # published results do not change while a notebook runs
def _judged_published(results: PublishedResults, relations: tuple[str, ...], seed: int, section: str) -> list[Judged]:
    return judge_all(results.read, relations, seed, section)
