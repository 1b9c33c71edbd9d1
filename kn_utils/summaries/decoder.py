"""What notebook 10 shows: our published results of a masked model and of a decoder, side by side."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from kn_utils.claims.judge import Judged, judge_all
from kn_utils.claims.rule import with_interval
from kn_utils.claims.tables import condition_table
from kn_utils.neurons import RELATION_SHARE
from kn_utils.paths import MADE_BY
from kn_utils.published import PublishedResults
from kn_utils.summaries.distant_prompts import differences, fact_means
from kn_utils.summaries.knowledge_neurons import layer_shares, load_facts

LATER_SECTIONS = ("4.4", "5.1", "5.2")  # of the paper: web sentences, edits of facts, erasure of relations
REACHES = ("half of the relation's facts or more", "a tenth of them or more", "fewer")
_COUNTS = ["objects", "with_space", "without_space", "both_ways", "prompts_both_ways"]
_WAYS = ["in_token", "in_prompt"]
_SIGNS = ["activation", "aligned"]


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
        return load_facts(self.results, self.relations)

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

    def judged(self, seed: int) -> list[Judged]:
        """Return the paper's claims, tested on these tables."""
        return judge_all(self.results.read, self.relations, seed)


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


def layers(one: ModelResults) -> pd.DataFrame:
    """Return where the facts' neurons lie: columns method, layer (from 1), share (%)."""
    return layer_shares(one.read("knowledge_neurons"), one.n_layers)


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


def sentence_contrasts(measured: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return by how much head-and-tail sentences activate a fact's neurons more than others: the mean over facts, with its 95 % interval.

    `measured` has a row per model, relation, fact and kind of sentence, with the mean `activation`, and the same `aligned` with the signs
    of the neurons in the fact's own prompts. A row per model and kind; columns activation and aligned, as text, and facts.
    """
    rows = []
    for model, own in measured.groupby("model", sort=False):
        ways = [differences(fact_means(own.assign(method="attribution", activation=own[way])), seed) for way in _SIGNS]
        for plain, aligned in zip(*(way.itertuples() for way in ways), strict=True):
            shown = [with_interval(one.difference, one.low, one.high) for one in (plain, aligned)]
            rows.append((model, plain.kind, *shown, plain.facts))
    return pd.DataFrame(rows, columns=["model", "kind", *_SIGNS, "facts"])


def later_steps(judged: Sequence[Judged]) -> pd.DataFrame:
    """Return the conditions of the claims about web sentences, edits and erasure, as `condition_table` does, with the paper's section.

    A claim of theirs that cannot be tested has one row, with the reason in place of the contrast; one that the paper gives no number for
    has none.
    """
    own = [one for one in judged if one.claim.section in LATER_SECTIONS and one.claim.conditions]
    rows = [_conditions(one).assign(claim=f"{one.claim.section}: {one.claim.says}") for one in own]
    return pd.concat(rows, ignore_index=True).fillna("")


def _conditions(one: Judged) -> pd.DataFrame:
    return condition_table([one]) if one.conditions else pd.DataFrame([{"claim": "", "contrast": one.why}])


def costs(models: Mapping[str, PublishedResults]) -> pd.DataFrame:
    """Return what the published tables of each model took, by step; `models` are named as the column model names them.

    Columns model, step, relations, core_hours (the runs' seconds times their threads) and core_seconds_per_prompt, which is only of
    step 1. Steps without published tables are left out.
    """
    rows = []
    for name, results in models.items():
        for step, tables in MADE_BY.items():
            if runs := _runs(results, tables):
                seconds = sum(run["seconds"] * run["threads"] for run in runs.values())
                prompts = len(results.read("prompts", list(runs))) if "prompts" in tables else None
                rows.append((name, step, len(runs), seconds / 3600, seconds / prompts if prompts else None))
    return pd.DataFrame(rows, columns=["model", "step", "relations", "core_hours", "core_seconds_per_prompt"])


def _runs(results: PublishedResults, tables: Sequence[str]) -> dict[str, dict]:
    """The provenance of a step's runs, by relation; its tables were made together, so that one that is published tells of all."""
    for table in tables:
        try:
            return results.provenance(table)
        except FileNotFoundError:
            continue
    return {}
