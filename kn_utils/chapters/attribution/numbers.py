"""What notebook 01 shows of step 1's tables."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from kn_utils.steps import STEP_OF
from kn_utils.store.files import read_provenance, read_table
from kn_utils.store.runs import NothingToShowError


def load_tables(paths: list[Path]) -> dict[str, pd.DataFrame]:
    """Return step 1's tables of several relations joined, by name: attribution, facts, prompts, completeness.

    `paths` are those that `attribute_relation` returned. Raises ValueError if no prompt could be asked at all, and says why.
    """
    tables = {
        name: pd.concat([read_table(path.parent.parent / name / path.name) for path in paths], ignore_index=True)
        for name in STEP_OF["attribution"].tables
    }
    if tables["prompts"].empty:
        reasons = tables["facts"]["left_out_because"].value_counts()
        raise NothingToShowError(
            "the model cannot be asked any of these facts: " + "; ".join(f"{n} x {why}" for why, n in reasons.items())
        )
    return tables


def left_out(facts: pd.DataFrame) -> pd.DataFrame:
    """Count a relation's facts: drawn, asked, and left out by reason; one row per relation."""
    asked = facts["prompts"] > 0
    counts = facts.assign(asked=asked).groupby("relation")["asked"].agg(facts="size", asked="sum")
    reasons = pd.crosstab(facts.loc[~asked, "relation"], facts.loc[~asked, "left_out_because"])
    return counts.join(reasons).fillna(0).astype(int)


def layer_shares(attribution: pd.DataFrame) -> pd.DataFrame:
    """Return per method and layer (from 1) the share of all kept neurons in per cent; columns method, layer, share."""
    shares = attribution.groupby("method")["layer"].value_counts(normalize=True)
    return (100 * shares).rename("share").reset_index().assign(layer=lambda table: table["layer"] + 1)


def top_neurons(attribution: pd.DataFrame, relation: str, fact: int, n: int = 10) -> pd.DataFrame:
    """Return the n neurons with the largest attribution summed over the fact's prompts, with the number of prompts that keep them."""
    own = attribution.query("relation == @relation and fact == @fact and method == 'attribution'")
    table = own.groupby(["layer", "neuron"])["score"].agg(prompts="size", mean_score="mean", total="sum").reset_index()
    table["layer"] += 1
    return table.nlargest(n, "total").drop(columns="total").reset_index(drop=True)


def prompt_agreement(attribution: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return how much the kept neurons of two prompts overlap (Jaccard index), averaged per fact; columns method, kind, overlap.

    Kinds: all pairs of prompts of one fact; and each prompt against the same template filled with another fact of the relation, drawn
    with `seed`. Facts with a single prompt, and relations with a single fact, have no pairs of that kind.
    """
    generator = np.random.default_rng(seed)
    rows = []
    for (method, _), table in attribution.groupby(["method", "relation"]):
        neurons = pd.Series(list(zip(table["layer"], table["neuron"], strict=True)), index=table.index)
        kept = {place: set(neurons[group.index]) for place, group in table.groupby(["fact", "prompt"])}
        for fact in table["fact"].unique():
            own = [prompt for other, prompt in kept if other == fact]
            same = [_jaccard(kept[fact, a], kept[fact, b]) for a, b in combinations(own, 2)]
            others = [_other(kept, fact, prompt, generator) for prompt in own]
            different = [_jaccard(kept[fact, prompt], found) for prompt, found in zip(own, others, strict=True) if found]
            rows += [(method, "same fact,\ntwo templates", np.mean(same))] if same else []
            rows += [(method, "same template,\ntwo facts", np.mean(different))] if different else []
    return pd.DataFrame(rows, columns=["method", "kind", "overlap"])


def _jaccard(a: set, b: set) -> float:
    return len(a & b) / len(a | b)


def _other(kept: dict, fact: int, prompt: int, generator: np.random.Generator) -> set | None:
    candidates = [place for place in kept if place[1] == prompt and place[0] != fact]
    return kept[candidates[generator.integers(len(candidates))]] if candidates else None


def gap_shares(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Return the completeness gaps with layers counted from 1 and `gap_share`, the gap's size as a share of P(object)."""
    place = ["relation", "fact", "prompt"]
    joined = tables["completeness"].merge(tables["prompts"][[*place, "probability"]], on=place)
    return joined.assign(layer=joined["layer"] + 1, gap_share=joined["gap"].abs() / joined["probability"])


def seconds_per_fact(paths: list[Path], facts: pd.DataFrame) -> float:
    """Return the time the runs took, as their provenance says, per fact asked."""
    return sum(read_provenance(path)["seconds"] for path in paths) / max(1, (facts["prompts"] > 0).sum())
