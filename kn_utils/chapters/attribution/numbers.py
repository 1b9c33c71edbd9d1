"""Statistics of step 1's tables, for notebook 01."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import combinations

import numpy as np
import pandas as pd

from kn_utils.data.facts import LeftOut
from kn_utils.model.models import LanguageModel
from kn_utils.model.neurons import METHODS, neuron_list, neuron_name
from kn_utils.model.prompts import NOT_OBJECT_FINAL, encode
from kn_utils.stats.intervals import in_words, interval_of_sums, with_interval
from kn_utils.stats.means import group_means
from kn_utils.store.runs import FACT_KEY, PROMPT_KEY, Run

SAME_FACT, SAME_TEMPLATE = "same fact,\ntwo templates", "same template,\ntwo facts"


def count_facts(facts: pd.DataFrame) -> pd.DataFrame:
    """Count the facts of each relation: all, given again, with prompts, and left out by reason; `facts` is step 1's table."""
    prompted, again = facts["prompts"] > 0, facts.duplicated(["relation", "subject", "object"])
    counted = facts.assign(prompted=prompted, again=again).groupby("relation", sort=False)
    counts = counted.agg(facts=("fact", "size"), given_again=("again", "sum"), prompted=("prompted", "sum"))
    reasons = pd.crosstab(facts.loc[~prompted, "relation"], facts.loc[~prompted, "left_out_because"])
    return counts.join(reasons).fillna(0).astype(int)


def count_lost_prompts(lm: LanguageModel, run: Run, relations: Sequence[str]) -> pd.DataFrame:
    """Count the prompts that are left out: columns relation, template, reason, prompts (left out), facts (of the relation in the run)."""
    rows = []
    for relation in relations:
        facts, templates = run.facts(relation, lm), run.dataset.templates[relation]
        lost = Counter((item.index, item.reason) for item in encode(lm, run.dataset, facts) if isinstance(item, LeftOut))
        for (index, reason), prompts in sorted(lost.items()):
            rows.append((relation, "all" if reason == NOT_OBJECT_FINAL else templates[index], reason, prompts, len(facts)))
    return pd.DataFrame(rows, columns=["relation", "template", "reason", "prompts", "facts"])


def shared_targets(prompts: pd.DataFrame, facts: pd.DataFrame) -> pd.DataFrame:
    """Return the target tokens that several objects of a relation share: columns relation, target, objects.

    `prompts` and `facts` are step 1's tables. If objects are asked for by their first token, the model cannot tell such objects apart.
    """
    pairs = prompts.merge(facts[[*FACT_KEY, "object"]], on=FACT_KEY)[["relation", "target", "object"]].drop_duplicates()
    objects = pairs.groupby(["relation", "target"], sort=False)["object"].agg(list)
    shared = objects[objects.map(len) > 1].map(", ".join).rename("objects")
    return shared.reset_index()


def kept_per_prompt(scores: pd.DataFrame, prompts: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return the mean number of neurons that are kept per prompt: rows attribution, activation, difference; columns mean, low, high.

    `scores` and `prompts` are step 1's tables `attribution` and `prompts`. The difference is attribution minus activation.
    """
    index = pd.MultiIndex.from_frame(prompts[PROMPT_KEY])
    kept = scores.groupby([*PROMPT_KEY, "method"]).size().unstack(fill_value=0).reindex(index, columns=METHODS, fill_value=0)
    facts = kept.groupby(FACT_KEY)
    counts = facts.sum().assign(prompts=facts.size())

    def means(sums: np.ndarray) -> np.ndarray:
        ours, baseline = np.moveaxis(sums[..., :2] / sums[..., 2:], -1, 0)
        return np.stack([ours, baseline, ours - baseline], axis=-1)

    found = interval_of_sums(means, counts, counts.index.get_level_values("relation"), seed)
    return pd.DataFrame(np.transpose(found), index=[*METHODS, "difference"], columns=["mean", "low", "high"])


def top_neurons(scores: pd.DataFrame, relation: str, fact: int, n: int = 10) -> pd.DataFrame:
    """Return the n neurons with the largest sum of attribution scores over the prompts of a fact.

    Columns neuron (its name), prompts (in which it is kept), mean_score (over these prompts) and total.
    """
    rows = scores.query("relation == @relation and fact == @fact and method == 'attribution'")
    table = rows.groupby(["layer", "neuron"])["score"].agg(prompts="size", mean_score="mean", total="sum").reset_index()
    table.insert(0, "name", [neuron_name(*neuron) for neuron in neuron_list(table)])
    top = table.nlargest(n, "total").reset_index(drop=True)
    return top.drop(columns=["layer", "neuron"]).rename(columns={"name": "neuron"})


def prompt_agreement(scores: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return how much the kept neurons of two prompts overlap (Jaccard index), averaged per fact: method, relation, kind, overlap.

    There are two kinds of pairs: two prompts of the same fact, and a prompt with the same template of a random other fact of the relation.
    A fact without pairs of a kind has no row for it.
    """
    generator = np.random.default_rng(seed)
    rows = []
    for place, table in scores.groupby(["method", "relation"]):
        kept = _kept_neurons(table)
        by_fact, by_prompt = _grouped(kept), _grouped((prompt, fact) for fact, prompt in kept)
        for fact in table["fact"].unique():
            prompts = by_fact[fact]
            same = [_jaccard(kept[fact, a], kept[fact, b]) for a, b in combinations(prompts, 2)]
            others = [(prompt, _other(by_prompt[prompt], fact, generator)) for prompt in prompts]
            different = [_jaccard(kept[fact, prompt], kept[other, prompt]) for prompt, other in others if other is not None]
            rows += [(*place, kind, np.mean(found)) for kind, found in ((SAME_FACT, same), (SAME_TEMPLATE, different)) if found]
    return pd.DataFrame(rows, columns=["method", "relation", "kind", "overlap"])


def _kept_neurons(table: pd.DataFrame) -> dict[tuple[int, int], set]:
    """Return the kept neurons of each prompt, by (fact, prompt), in this order."""
    neurons = pd.Series(list(zip(table["layer"], table["neuron"], strict=True)))
    return {place: set(group) for place, group in neurons.groupby([table["fact"].to_numpy(), table["prompt"].to_numpy()])}


def _grouped(pairs: Iterable[tuple[int, int]]) -> dict[int, list[int]]:
    groups: dict[int, list[int]] = {}
    for key, value in pairs:
        groups.setdefault(key, []).append(value)
    return groups


def _other(facts: Sequence[int], fact: int, generator: np.random.Generator) -> int | None:
    """Return a random other fact, if there is one."""
    if len(facts) < 2:
        return None
    drawn = generator.integers(len(facts) - 1)
    return facts[drawn + (drawn >= bisect_left(facts, fact))]


def _jaccard(a: set, b: set) -> float:
    return len(a & b) / len(a | b)


def mean_agreement(agreement: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return the mean of `prompt_agreement` over facts, with its interval; columns method, kind, mean, low, high, facts."""
    return group_means(agreement, ["method", "kind"], "overlap", seed)


def finding(kept: pd.DataFrame, agreement: pd.DataFrame, n_neurons: int) -> str:
    """Return two sentences on how selective attribution is, from the tables of `kept_per_prompt` and `mean_agreement`."""
    ours, baseline, difference = (with_interval(*row) for row in kept.itertuples(index=False))
    _, low, high = kept.loc["difference"]
    selective = in_words(
        low, high, "are more selective", "are less selective", "are neither clearly more nor clearly less selective"
    )
    text = agreement[agreement["method"] == "attribution"].set_index("kind")[["mean", "low", "high"]]
    overlaps = {kind: with_interval(*row) for kind, *row in text.itertuples()}
    return (
        f"Of the model's {n_neurons:,} neurons, {ours} per prompt reach a tenth of the largest attribution, and {baseline} a tenth of the "
        f"largest activation: integrated gradients {selective} (difference {difference}). The kept neurons of two prompts of one fact "
        f"overlap by {overlaps.get(SAME_FACT, '–')} (Jaccard index), those of one template with two facts by "
        f"{overlaps.get(SAME_TEMPLATE, '–')}."
    )


def gap_shares(completeness: pd.DataFrame, prompts: pd.DataFrame) -> pd.DataFrame:
    """Return step 1's table `completeness` with layers from 1 and `gap_share`, the absolute gap as a share of P(object)."""
    joined = completeness.merge(prompts[[*PROMPT_KEY, "probability"]], on=PROMPT_KEY)
    return joined.assign(layer=joined["layer"] + 1, gap_share=joined["gap"].abs() / joined["probability"])
