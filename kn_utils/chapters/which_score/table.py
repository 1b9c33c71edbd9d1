"""The step of notebook 14: every neuron of some prompts ablated alone, and how well each score names those that matter."""

import random
import warnings
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import torch
from scipy.stats import ConstantInputWarning, spearmanr
from torch import Tensor

from kn_utils.data.facts import Dataset, Fact
from kn_utils.model.ablation import joint_ablations, single_ablations
from kn_utils.model.forward import activations_of
from kn_utils.model.models import LanguageModel
from kn_utils.model.prefix import prompt_suffix
from kn_utils.model.prompts import Prompt, stack, usable_prompts
from kn_utils.model.scores import largest, scores_of
from kn_utils.parameters import check
from kn_utils.store.runs import Run

EXACT = "exact"  # the effects themselves, in the place of a score: the best set by single effects
ABLATIONS = ("zero", "mean")
SIZES = (1, 2, 4, 8, 16, 20, 32, 64, 128, 256, 512)  # of the sets that are ablated together
RECALL_SIZES = (4, 20)
MEAN_FACTS = 25  # the mean activations are over all prompts of so many facts of the relation
PROMPTS_PER_PART = 2
_PLACE = {"relation": str, "fact": "int32", "prompt": "int32", "score": str, "ablation": str}
_RANKS = _PLACE | {"rank_correlation": "float32", **{f"recall_{size}": "float32" for size in RECALL_SIZES}}
_SETS = _PLACE | {"size": "int32", "log_odds_before": "float32", "log_odds_after": "float32"}


def compare_scores(
    lm: LanguageModel, run: Run, relation: str, n_prompts: int = 10, min_probability: float = 0.1, max_probability: float = 0.9
) -> Path:
    """Make the tables `which_score` and `score_sets` of a relation, and return the path of the first.

    `n_prompts` facts are drawn, and one prompt of each, among the prompts to which the model gives the object a probability from
    `min_probability` to `max_probability`. Both tables have rows for each score and ablation: "zero" sets the activation to zero, "mean" to
    its mean over prompts of the relation.

    * `which_score`: Spearman's rank correlation of score and exact effect over all neurons, and the share of the 4 (20) neurons with the
      largest effects that are among the 4 (20) with the largest scores.
    * `score_sets`: the log-odds of the object before and after the neurons with the largest scores are ablated together, for several sizes
      of the set. The score `EXACT` stands for the effects.

    The exact effect of a neuron is the decrease of the object's log-odds if this neuron alone is ablated. Its probability gives the same
    order, since it grows with the log-odds.
    Raises ValueError for a parameter that is not allowed, and as `Run.made_with` for step 1.
    """
    check(n_prompts=n_prompts, min_probability=min_probability, max_probability=max_probability)
    drawn = draw_prompts(lm, run, relation, n_prompts, min_probability, max_probability)
    asked = sorted(set(run.read("prompts", [relation])["fact"]))
    chosen = random.Random(f"{run.seed}-mean-{relation}").sample(asked, min(MEAN_FACTS, len(asked)))
    facts = [run.dataset.facts[relation][fact] for fact in chosen]

    def work(part: Sequence[Prompt | None]) -> dict[str, pd.DataFrame]:
        prompts = [prompt for prompt in part if prompt]
        return compared(lm, prompts, mean_activation(lm, run.dataset, facts) if prompts else None)

    inputs = {"n_prompts": n_prompts, "min_probability": min_probability, "max_probability": max_probability}
    work_on = drawn or [None]  # without a prompt the tables are empty
    return run.make("which_score", relation, work_on, work, inputs, lm, PROMPTS_PER_PART)


def draw_prompts(lm: LanguageModel, run: Run, relation: str, n_prompts: int, low: float, high: float) -> list[Prompt]:
    """Return one random prompt of each of `n_prompts` random facts, of those in step 1 with a probability from `low` to `high`.

    There are fewer if fewer facts have such a prompt.
    """
    made = run.read("prompts", [relation])
    between = made[made["probability"].between(low, high)].groupby("fact")["prompt"].agg(list)
    draw = random.Random(f"{run.seed}-which-score-{relation}")
    facts = sorted(draw.sample(list(between.index), min(n_prompts, len(between))))
    chosen = {fact: draw.choice(between[fact]) for fact in facts}
    prompts = [prompt for fact in facts for prompt in usable_prompts(lm, run.dataset, run.dataset.facts[relation][fact])]
    return [prompt for prompt in prompts if prompt.index == chosen[prompt.fact.index]]


def mean_activation(lm: LanguageModel, dataset: Dataset, facts: Sequence[Fact]) -> Tensor:
    """Return the mean activations at the prediction position over all prompts of some facts, [layers, neurons]."""
    prompts = [prompt for fact in facts for prompt in usable_prompts(lm, dataset, fact)]
    total = sum(activation.double() for _, activation in activations_of(lm, prompts))
    return total / len(prompts)


def compared(lm: LanguageModel, prompts: Sequence[Prompt], mean: Tensor | None) -> dict[str, pd.DataFrame]:
    """Return the rows of both tables for some prompts, by name of the table; `mean` are the relation's mean activations."""
    rows: dict[str, list[tuple]] = {"which_score": [], "score_sets": []}
    for prompt in prompts:
        for name, found in _prompt_rows(lm, prompt, mean).items():
            rows[name] += [(prompt.fact.relation, prompt.fact.index, prompt.index, *row) for row in found]
    columns = {"which_score": _RANKS, "score_sets": _SETS}
    return {name: pd.DataFrame(rows[name], columns=list(kinds)).astype(kinds) for name, kinds in columns.items()}


def _prompt_rows(lm: LanguageModel, prompt: Prompt, mean: Tensor) -> dict[str, list[tuple]]:
    batch = stack([prompt], lm.device)
    scores = {name: score(lm, batch) for name, score in scores_of(lm).items()}
    suffix = prompt_suffix(lm, batch)
    ranks, sets = [], []
    for ablation, values in zip(ABLATIONS, (torch.zeros_like(mean), mean), strict=True):
        none = torch.zeros(1, *values.shape, dtype=torch.bool)
        before = joint_ablations(lm, suffix, none, values)[0]
        effect = before - single_ablations(lm, suffix, values)
        ranks += [(name, ablation, *agreement(score, effect)) for name, score in scores.items()]
        for name, score in (scores | {EXACT: effect}).items():
            sizes = [size for size in SIZES if size <= score.numel()]
            after = joint_ablations(lm, suffix, torch.stack([strongest(score, size) for size in sizes]), values)
            sets += [(name, ablation, size, float(before), float(odds)) for size, odds in zip(sizes, after, strict=True)]
    return {"which_score": ranks, "score_sets": sets}


def agreement(score: Tensor, effect: Tensor) -> tuple[float, ...]:
    """Return Spearman's rank correlation of scores and effects, and for each of `RECALL_SIZES` the share of the strongest in common.

    The correlation is NaN if all scores or all effects are equal.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConstantInputWarning)
        correlation = spearmanr(score.flatten(), effect.flatten()).statistic
    common = [int((strongest(score, size) & strongest(effect, size)).sum()) / size for size in RECALL_SIZES]
    return float(correlation), *common


def strongest(score: Tensor, size: int) -> Tensor:
    """Return whether each neuron is among the `size` with the largest scores, [layers, neurons]; ties go by layer and index."""
    chosen = torch.zeros(score.numel(), dtype=torch.bool)
    chosen[largest(score, size)] = True
    return chosen.view(score.shape)
