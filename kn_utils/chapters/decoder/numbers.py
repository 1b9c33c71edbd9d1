"""What notebook 10 shows: our published results of a masked model and of a decoder, side by side."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from kn_utils.model.neurons import RELATION_SHARE
from kn_utils.steps import STEPS
from kn_utils.store.published import PublishedResults
from kn_utils.store.runs import asked_facts

REACHES = ("half of the relation's facts or more", "a tenth of them or more", "fewer")
_COUNTS = ["objects", "with_space", "without_space", "both_ways", "prompts_both_ways"]
_WAYS = ["in_token", "in_prompt"]


@dataclass(frozen=True)
class ModelResults:
    """The published tables of one model's facts of some relations, read when they are needed; only what integrated gradients found."""

    results: PublishedResults
    relations: Sequence[str]

    def read(self, table: str) -> pd.DataFrame:
        """Return a table of all the relations."""
        return self.results.read(table, self.relations)

    @cached_property
    def facts(self) -> pd.DataFrame:
        """The facts that were asked. Raises ValueError if there is none."""
        return asked_facts(self.read("facts"))

    @cached_property
    def neurons(self) -> pd.DataFrame:
        """The facts' knowledge neurons."""
        return self.read("knowledge_neurons").query("method == 'attribution'").reset_index(drop=True)

    @property
    def n_layers(self) -> int:
        """The number of the model's layers."""
        return int(self.read("completeness")["layer"].max()) + 1

    @property
    def about(self) -> str:
        """What the tables are of, for titles and tables."""
        return f"{self.results.model}, {len(self.facts):,} facts"


def asked(masked: ModelResults, decoder: ModelResults) -> pd.DataFrame:
    """Return, by relation, in how many templates either model was asked, and the decoder's facts: drawn, asked and left out by reason."""
    facts = decoder.read("facts")
    own = facts["prompts"] > 0
    counts = pd.DataFrame(
        {
            "templates, masked": masked.read("prompts").groupby("relation")["prompt"].nunique(),
            "templates, decoder": decoder.read("prompts").groupby("relation")["prompt"].nunique(),
            "facts drawn": facts.groupby("relation").size(),
            "asked": facts[own].groupby("relation").size(),
        }
    )
    reasons = pd.crosstab(facts.loc[~own, "relation"], facts.loc[~own, "left_out_because"])
    return counts.join(reasons).fillna(0).astype(int).loc[list(decoder.relations)]


def wrong_answers(one: ModelResults, n: int = 12) -> pd.DataFrame:
    """Return the n most frequent wrong top answers and their share (%) of all wrong ones; columns answer, share."""
    prompts = one.read("prompts")
    answers = prompts.loc[~prompts["correct"], "top_answer"]
    return (100 * answers.value_counts(normalize=True)).head(n).rename("share").rename_axis("answer").reset_index()


def in_first_layer(shares: pd.DataFrame) -> float:
    """Return which share (%) of the neurons of integrated gradients lies in the first layer; `shares` as of `layers`."""
    return float(shares.query("method == 'attribution' and layer == 1")["share"].sum())


def rounds(one: ModelResults) -> pd.DataFrame:
    """Return, by relation, how tuning p ended: neurons per fact `before` and `after`, `rounds` and p (`prompt_share`) of the last one."""
    table = one.read("refinement").query("method == 'attribution'").groupby("relation")
    first, last = table.first(), table.last()
    return pd.DataFrame(
        {"before": first["mean_neurons"], "after": last["mean_neurons"], "rounds": last["round"], "p": last["prompt_share"]}
    ).loc[list(one.relations)]


def reach(one: ModelResults) -> pd.DataFrame:
    """Return, by relation, how many of a fact's neurons reach how far: the columns are `REACHES`, a fact's mean in each.

    The relation's facts are those that were asked.
    """
    size = one.facts.groupby("relation").size()
    asked = one.neurons["relation"].map(size).astype(float)
    share = one.neurons.groupby(["relation", "layer", "neuron"])["fact"].transform("size") / asked
    kind = pd.cut(share, [0, RELATION_SHARE, 0.5, 1.01], right=False, labels=REACHES[::-1])
    counts = pd.crosstab(one.neurons["relation"], kind).reindex(index=list(one.relations), columns=list(REACHES), fill_value=0)
    return counts.div(size.reindex(counts.index), axis="index")


def nodes_by_layer(one: ModelResults) -> pd.DataFrame:
    """Return the share (%) of prompts by layer (rows, from 1) and number of nodes (columns)."""
    counts = one.read("completeness").pivot_table(index="layer", columns="nodes", values="prompts", aggfunc="sum", fill_value=0)
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
    own = {(one.results.model, relation) for one in models if one.results.dataset == dataset for relation in one.relations}
    return measured[[place in own for place in zip(measured["model"], measured["relation"], strict=True)]].reset_index(drop=True)


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
    Probabilities are means over the prompts that can be asked both ways, `in token` with the space as part of the object's token and
    `in prompt` with it at the end of the prompt.
    """
    rows = measured.reindex(columns=["model", *_COUNTS, *_WAYS]).dropna(subset=["objects"]).fillna(0)  # no such prompts, no mean
    sums = rows[_WAYS].mul(rows["prompts_both_ways"], axis="index")
    total = rows[["model", *_COUNTS]].join(sums).groupby("model", sort=False).sum()
    shares = 100 * total[_COUNTS[1:4]].div(total["objects"], axis="index")
    means = 100 * total[_WAYS].div(total["prompts_both_ways"], axis="index")
    return pd.concat([total["objects"], shares, total["prompts_both_ways"], means], axis="columns")


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
    """The provenance of a step's runs, by relation; its tables were made together, so that one that is published tells of all."""
    for table in tables:
        try:
            return results.provenance(table)
        except FileNotFoundError:
            continue
    return {}
