"""What notebook 10 shows: our published results of a masked model and of a decoder, side by side."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from kn_utils.claims.judge import Judged, judge_all
from kn_utils.neurons import RELATION_SHARE
from kn_utils.published import PublishedResults
from kn_utils.summaries.knowledge_neurons import layer_shares, load_facts

REACHES = ("half of the relation's facts or more", "a tenth of them or more", "fewer")


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
