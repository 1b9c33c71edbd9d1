"""What notebook 10 shows: our published results of a masked model and of a decoder, side by side."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from kn_utils.model.neurons import MAX_NEURONS, MIN_NEURONS, MIN_PROMPTS, RELATION_SHARE
from kn_utils.steps import STEPS
from kn_utils.store.published import PublishedResults
from kn_utils.store.runs import asked_facts

REACHES = ("half of the relation's facts or more", "a tenth of them or more", "fewer")
SPACES = {
    "objects": "objects",
    "with_space": "% one token with the space",
    "without_space": "% without it",
    "both_ways": "% both ways",
    "prompts_both_ways": "prompts asked both ways",
    "in_token": "% probability, space in the token",
    "in_prompt": "% space in the prompt",
}


@dataclass(frozen=True)
class ModelResults:
    """The published tables of one model's facts of some relations, read when they are needed.

    Raises ValueError if there are no relations: none of those chosen can have knowledge neurons.
    """

    results: PublishedResults
    relations: Sequence[str]

    def __post_init__(self):
        if not self.relations:
            raise ValueError(
                f"no fact of these relations was asked with {MIN_PROMPTS} templates, so none can have knowledge neurons"
            )

    def read(self, table: str) -> pd.DataFrame:
        """Return a table of all the relations."""
        return self.results.read(table, self.relations)

    @cached_property
    def facts(self) -> pd.DataFrame:
        """The facts that were asked. Raises NothingToShowError if there is none."""
        return asked_facts(self.read("facts"))

    @cached_property
    def neurons(self) -> pd.DataFrame:
        """The facts' knowledge neurons by integrated gradients."""
        return self.read("knowledge_neurons").query("method == 'attribution'").reset_index(drop=True)

    @property
    def n_layers(self) -> int:
        """The number of the model's layers."""
        return int(self.read("completeness")["layer"].max()) + 1

    @property
    def about(self) -> str:
        """The model and how many facts it was asked, for titles and tables."""
        return f"{self.results.model}, {len(self.facts):,} facts"


def asked(masked: PublishedResults, decoder: PublishedResults, relations: Sequence[str]) -> pd.DataFrame:
    """Return, by relation, in how many templates either model was asked, and the decoder's facts: drawn, asked and left out by reason."""
    facts = decoder.read("facts", relations)
    reached = facts["prompts"] > 0
    counts = {
        f"templates, {name}": results.read("prompts", relations).groupby("relation")["prompt"].nunique()
        for name, results in {"masked": masked, "decoder": decoder}.items()
    }
    counts |= {"facts drawn": facts.groupby("relation").size(), "asked": facts[reached].groupby("relation").size()}
    reasons = pd.crosstab(facts.loc[~reached, "relation"], facts.loc[~reached, "left_out_because"])
    return pd.DataFrame(counts).join(reasons).fillna(0).astype(int).loc[list(relations)]


def finding(masked: ModelResults, decoder: ModelResults, signs: pd.DataFrame) -> str:
    """Return how many of its prompts each model answered right and, where measured, how many neurons are negative; as of `signs`."""
    answers = [(model.about, model.read("prompts")["correct"]) for model in (masked, decoder)]
    right = [f"{name}, {correct.mean():.1%} of {len(correct):,} prompts answered right" for name, correct in answers]
    negative = [f"{row.negative:.1f} % of those of {row.Index}" for row in signs.itertuples()]
    return f"{'; '.join(right)}." + f" Of the knowledge neurons {' and '.join(negative)} are negative." * bool(negative)


def wrong_answers(model: ModelResults, n: int = 12) -> pd.DataFrame:
    """Return the n most frequent wrong top answers and their share (%) of all wrong ones; columns answer, share."""
    prompts = model.read("prompts")
    answers = prompts.loc[~prompts["correct"], "top_answer"]
    return (100 * answers.value_counts(normalize=True)).head(n).rename("share").rename_axis("answer").reset_index()


def tuning(model: ModelResults) -> dict[str, float]:
    """Return how tuning p ended: numbers of relations, and means over them."""
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
    """Return, by relation, how many of a fact's neurons reach how far: the columns are `REACHES`, a fact's mean in each.

    The relation's facts are those that were asked.
    """
    size = model.facts.groupby("relation").size()
    facts = model.neurons["relation"].map(size).astype(float)
    share = model.neurons.groupby(["relation", "layer", "neuron"])["fact"].transform("size") / facts
    kind = pd.cut(share, [0, RELATION_SHARE, 0.5, 1.01], right=False, labels=REACHES[::-1])
    counts = pd.crosstab(model.neurons["relation"], kind).reindex(
        index=list(model.relations), columns=list(REACHES), fill_value=0
    )
    return counts.div(size.reindex(counts.index), axis="index")


def nodes_by_layer(model: ModelResults) -> pd.DataFrame:
    """Return the share (%) of prompts by layer (rows, from 1) and number of nodes (columns)."""
    counts = model.read("completeness").pivot_table(index="layer", columns="nodes", values="prompts", aggfunc="sum", fill_value=0)
    return 100 * counts.div(counts.sum(axis="columns"), axis="index").rename(index=lambda layer: layer + 1)


def agreement(errors: pd.DataFrame) -> pd.DataFrame:
    """Return, by model and rule: prompts, the median and largest error (%) of a prompt, that of its worst layer, and `kept by both`.

    The latter is the share (%) of strong neurons that the rule and the reference have in common, of those that either has.
    """
    place = ["model", "rule", "relation", "fact", "prompt"]
    prompts = errors.groupby(place, sort=False).agg(
        error=("error", "max"), strong=("strong", "first"), both=("both", "first"), true=("strong_reference", "first")
    )
    rules = prompts.groupby(["model", "rule"], sort=False)
    sums = rules[["strong", "both", "true"]].sum()
    either = sums["strong"] + sums["true"] - sums["both"]
    table = rules["error"].agg(prompts="size", median="median", largest="max")
    table[["median", "largest"]] *= 100
    return table.assign(**{"kept by both": 100 * sums["both"] / either})


def of_models(measured: pd.DataFrame, dataset: str, models: Iterable[ModelResults]) -> pd.DataFrame:
    """Return those rows of `measured`, all of one data set, that are of these models' results and their relations."""
    wanted = {
        (model.results.model, relation) for model in models if model.results.dataset == dataset for relation in model.relations
    }
    return measured[[place in wanted for place in zip(measured["model"], measured["relation"], strict=True)]].reset_index(
        drop=True
    )


def signs(measured: pd.DataFrame) -> pd.DataFrame:
    """Return, by model, how many facts, prompts and knowledge neurons were looked at, and how many of the neurons were negative.

    `measured` has a row per model and relation. *Negative* is the share (%) of all neurons, *least* and *most* that of a relation.
    """
    models = measured.groupby("model", sort=False)
    table = models[["facts", "prompts", "neurons", "negative"]].sum()
    share = 100 * measured["negative"] / measured["neurons"].where(measured["neurons"] > 0)
    by_model = share.groupby(measured["model"], sort=False)
    return table.assign(negative=100 * table["negative"] / table["neurons"], least=by_model.min(), most=by_model.max())


def spaces(measured: pd.DataFrame) -> pd.DataFrame:
    """Return, by decoder, what a leading space changes: the share (%) of objects that are one token, and an object's mean probability (%).

    `measured` has a row per model and relation; those of masked models have no objects. Objects are counted once in each relation.
    Probabilities are means over the prompts that can be asked both ways, `in_token` with the space as part of the object's token and
    `in_prompt` with it at the end of the prompt.
    """
    ways = ["in_token", "in_prompt"]
    rows = measured.reindex(columns=["model", *SPACES]).dropna(subset=["objects"]).fillna(0)  # no such prompts, no mean
    rows[ways] = rows[ways].mul(rows["prompts_both_ways"], axis="index")
    total = rows.groupby("model", sort=False).sum()
    total[ways] = 100 * total[ways].div(total["prompts_both_ways"], axis="index")
    counted = ["with_space", "without_space", "both_ways"]
    total[counted] = 100 * total[counted].div(total["objects"], axis="index")
    return total.astype({"objects": int, "prompts_both_ways": int})


def costs(models: Mapping[str, PublishedResults]) -> pd.DataFrame:
    """Return what the published tables of each model took, by step; `models` are named as the column model names them.

    Columns model, step, relations, core_hours (the runs' seconds times their threads) and core_seconds_per_prompt, which is only of
    step 1. Steps without published tables are left out.
    """
    rows = []
    for name, results in models.items():
        for step in STEPS:
            if runs := _runs(results, step.tables):
                seconds = sum(run["seconds"] * run["threads"] for run in runs.values())
                prompts = len(results.read("prompts", list(runs))) if "prompts" in step.tables else None
                rows.append((name, step.notebook, len(runs), seconds / 3600, seconds / prompts if prompts else None))
    return pd.DataFrame(rows, columns=["model", "step", "relations", "core_hours", "core_seconds_per_prompt"])


def _runs(results: PublishedResults, tables: Sequence[str]) -> dict[str, dict]:
    """The provenance of a step's runs, by relation: of the first of its tables that is published, since they are made together."""
    for table in tables:
        try:
            return results.provenance(table)
        except FileNotFoundError:
            continue
    return {}
