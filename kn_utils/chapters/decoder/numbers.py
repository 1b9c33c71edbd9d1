"""Statistics for notebook 10, from our published results of a masked model and of a decoder."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from kn_utils.model.neurons import MAX_NEURONS, MIN_NEURONS, MIN_PROMPTS, RELATION_SHARE
from kn_utils.plots.markup import plain
from kn_utils.steps import STEPS
from kn_utils.store.published import PublishedResults
from kn_utils.store.runs import facts_with_prompts

REACHES = ("half of the relation's facts or more", "a tenth of them or more", "fewer")
SPACES = {
    "objects": "objects",
    "with_space": "% one token with the space",
    "without_space": "% without it",
    "both_ways": "% both ways",
    "prompts_both_ways": "prompts with both",
    "in_token": "% probability, space in the token",
    "in_prompt": "% space in the prompt",
}
WAYS = ["in_token", "in_prompt"]
RULES = {"released": "released sum", "controlled": "error-controlled"}


@dataclass(frozen=True)
class ModelResults:
    """The published tables of one model for some relations.

    Raises ValueError if there are no relations, that is, no chosen relation can have knowledge neurons.
    """

    results: PublishedResults
    relations: Sequence[str]

    def __post_init__(self):
        if not self.relations:
            raise ValueError(f"no fact of these relations has {MIN_PROMPTS} prompts, so none can have knowledge neurons")

    def read(self, table: str) -> pd.DataFrame:
        """Return a table for all relations."""
        return self.results.read(table, self.relations)

    @cached_property
    def facts(self) -> pd.DataFrame:
        """The facts with at least one prompt. Raises NothingToShowError if there is none."""
        return facts_with_prompts(self.read("facts"))

    @cached_property
    def neurons(self) -> pd.DataFrame:
        """The knowledge neurons, by integrated gradients."""
        return self.read("knowledge_neurons").query("method == 'attribution'").reset_index(drop=True)

    @property
    def n_layers(self) -> int:
        """The number of layers."""
        return int(self.read("completeness")["layer"].max()) + 1

    @property
    def about(self) -> str:
        """The name of the model and its number of facts, for titles and tables."""
        return f"{self.results.model}, {len(self.facts):,} facts"


def asked(masked: PublishedResults, decoder: PublishedResults, relations: Sequence[str]) -> pd.DataFrame:
    """Return for each relation the number of templates used by each model, and of the decoder's facts: drawn, used, left out by reason."""
    facts = decoder.read("facts", relations)
    prompted = facts["prompts"] > 0
    counts = {
        f"templates, {name}": results.read("prompts", relations).groupby("relation")["prompt"].nunique()
        for name, results in {"masked": masked, "decoder": decoder}.items()
    }
    counts |= {"facts drawn": facts.groupby("relation").size(), "asked": facts[prompted].groupby("relation").size()}
    reasons = pd.crosstab(facts.loc[~prompted, "relation"], facts.loc[~prompted, "left_out_because"])
    return pd.DataFrame(counts).join(reasons).fillna(0).astype(int).loc[list(relations)]


def named_relations(relations: Sequence[str]) -> str:
    """Return the number of relations, or the only one, for titles."""
    return relations[0] if len(relations) == 1 else f"{len(relations)} relations"


def sample_of(made: Mapping) -> str:
    """Return which facts were measured, from the settings of the measurement."""
    return f"{made['dataset']}, a sample of {made['facts']} facts or fewer of each relation, seed {made['seed']}"


def finding(masked: ModelResults, decoder: ModelResults, signs: pd.DataFrame) -> list[str]:
    """Return sentences on right answers and on negative neurons; `signs` is the table of the function `signs`."""
    answers = [(model.about, model.read("prompts")["correct"]) for model in (masked, decoder)]
    right = [f"{name}: {100 * correct.mean():.1f} % of {len(correct):,} prompts are answered right." for name, correct in answers]
    negative = [f"{row.negative:.1f} % of those of {row.Index} ({row.facts:,} facts)" for row in signs.itertuples()]
    found = f"Of the knowledge neurons in a sample of facts, {' and '.join(negative)} have a negative activation."
    return right + [found] * bool(negative)


def answer(sentences: Sequence[str], verdicts: Sequence[str]) -> str:
    """Return Markdown with a bullet for each sentence; those on `verdicts`, of `compared_verdicts`, are Markdown already."""
    return "\n".join(f"* {text}" for text in [*map(plain, sentences), *verdicts])


def wrong_answers(model: ModelResults, n: int = 12) -> pd.DataFrame:
    """Return the n most frequent wrong answers: columns answer, share (% of all wrong answers)."""
    prompts = model.read("prompts")
    answers = prompts.loc[~prompts["correct"], "top_answer"]
    return (100 * answers.value_counts(normalize=True)).head(n).rename("share").rename_axis("answer").reset_index()


def tuning(model: ModelResults) -> dict[str, float]:
    """Return the result of tuning p: numbers of relations, and means over relations."""
    rounds = model.read("refinement").query("method == 'attribution'").groupby("relation")
    first, last = rounds.first(), rounds.last()
    return {
        "relations": len(last),
        "in the range at once": (last["round"] == 1).sum(),
        "in the range at the end": last["mean_neurons"].between(MIN_NEURONS, MAX_NEURONS).sum(),
        "mean p at the end": last["prompt_share"].mean(),
        "neurons per fact, before": first["mean_neurons"].mean(),
        "neurons per fact, after": last["mean_neurons"].mean(),
    }


def reach(model: ModelResults) -> pd.DataFrame:
    """Return for each relation the mean number of neurons per fact, split by the share of facts with the neuron: columns `REACHES`."""
    size = model.facts.groupby("relation").size()
    facts = model.neurons["relation"].map(size).astype(float)
    share = model.neurons.groupby(["relation", "layer", "neuron"])["fact"].transform("size") / facts
    kind = pd.cut(share, [0, RELATION_SHARE, 0.5, 1.01], right=False, labels=REACHES[::-1])
    counts = pd.crosstab(model.neurons["relation"], kind).reindex(
        index=list(model.relations), columns=list(REACHES), fill_value=0
    )
    return counts.div(size.reindex(counts.index), axis="index")


def nodes_by_layer(model: ModelResults) -> pd.DataFrame:
    """Return the share (%) of prompts for each layer (rows, from 1) and number of nodes (columns)."""
    counts = model.read("completeness").pivot_table(index="layer", columns="nodes", values="prompts", aggfunc="sum", fill_value=0)
    return 100 * counts.div(counts.sum(axis="columns"), axis="index").rename(index=lambda layer: layer + 1)


def agreement(errors: pd.DataFrame) -> pd.DataFrame:
    """Return for each model and rule: prompts, median and largest error (%) over prompts, and `kept by both (%)`.

    The error of a prompt is that of its worst layer. `kept by both (%)` is the Jaccard index of the strong neurons by the rule and by the
    reference.
    """
    place = ["model", "rule", "relation", "fact", "prompt"]
    prompts = errors.groupby(place, sort=False).agg(
        error=("error", "max"), strong=("strong", "first"), both=("both", "first"), true=("strong_reference", "first")
    )
    rules = prompts.groupby(["model", "rule"], sort=False)
    sums = rules[["strong", "both", "true"]].sum()
    either = sums["strong"] + sums["true"] - sums["both"]
    error = rules["error"]
    shares = {"median error (%)": error.median(), "largest error (%)": error.max(), "kept by both (%)": sums["both"] / either}
    table = pd.DataFrame({"prompts": error.size()} | {name: 100 * share for name, share in shares.items()})
    return table.rename(index=RULES, level="rule")


def of_models(measured: pd.DataFrame, dataset: str, models: Iterable[ModelResults]) -> pd.DataFrame:
    """Return the rows of `measured` for these models and their relations; `measured` is of one data set."""
    same_data = [model for model in models if model.results.dataset == dataset]
    wanted = {(model.results.model, relation) for model in same_data for relation in model.relations}
    return measured[[key in wanted for key in zip(measured["model"], measured["relation"], strict=True)]].reset_index(drop=True)


def signs(measured: pd.DataFrame) -> pd.DataFrame:
    """Return for each model the numbers of facts, prompts and knowledge neurons, and the share of negative neurons.

    `measured` has a row per model and relation. `negative` is the share (%) over all relations, `least` and `most` are the extremes of
    single relations.
    """
    models = measured.groupby("model", sort=False)
    table = models[["facts", "prompts", "neurons", "negative"]].sum()
    share = 100 * measured["negative"] / measured["neurons"].where(measured["neurons"] > 0)
    by_model = share.groupby(measured["model"], sort=False)
    return table.assign(negative=100 * table["negative"] / table["neurons"], least=by_model.min(), most=by_model.max())


def spaces(measured: pd.DataFrame) -> pd.DataFrame:
    """Return for each decoder the effect of a leading space: shares (%) of objects that are one token, and mean probabilities (%).

    `measured` has a row per model and relation; rows of masked models have no objects. Distinct objects of each relation are counted.
    Probabilities are means over the prompts that can be tokenised both ways: `in_token` with the space as part of the object's token,
    `in_prompt` with the space at the end of the prompt.
    """
    rows = measured.reindex(columns=["model", *SPACES]).dropna(subset=["objects"]).fillna(0)  # no such prompts, no mean
    rows[WAYS] = rows[WAYS].mul(rows["prompts_both_ways"], axis="index")
    total = rows.groupby("model", sort=False).sum()
    total[WAYS] = 100 * total[WAYS].div(total["prompts_both_ways"], axis="index")
    counted = ["with_space", "without_space", "both_ways"]
    total[counted] = 100 * total[counted].div(total["objects"], axis="index")
    return total.astype({"objects": int, "prompts_both_ways": int})


def named_spaces(found: pd.DataFrame) -> pd.DataFrame:
    """Return the table of `spaces` for display; probabilities are texts with two significant digits, since some are small."""
    texts = {way: [np.format_float_positional(value, 2, fractional=False, trim="-") for value in found[way]] for way in WAYS}
    return found.assign(**texts).rename(columns=SPACES)


def costs(models: Mapping[str, PublishedResults]) -> pd.DataFrame:
    """Return the computing time of the published tables, for each model and notebook.

    Columns model, notebook, relations, core_hours (seconds times threads), core_seconds_per_prompt (notebook 01 only). Notebooks
    without published tables are left out.
    """
    rows = []
    for name, results in models.items():
        for step in STEPS:
            if runs := _runs(results, step.tables):
                seconds = sum(run["seconds"] * run["threads"] for run in runs.values())
                prompts = len(results.read("prompts", list(runs))) if "prompts" in step.tables else None
                rows.append((name, step.notebook, len(runs), seconds / 3600, seconds / prompts if prompts else None))
    return pd.DataFrame(rows, columns=["model", "notebook", "relations", "core_hours", "core_seconds_per_prompt"])


def _runs(results: PublishedResults, tables: Sequence[str]) -> dict[str, dict]:
    """Return the provenance of a step's first published table, by relation; all tables of a step are made together."""
    for table in tables:
        try:
            return results.provenance(table)
        except FileNotFoundError:
            continue
    return {}
