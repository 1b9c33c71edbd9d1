"""The step of notebook 15: states of one fact's prompt put into another fact's prompt, and how much of the answer passes through them."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from kn_utils.data.facts import Fact
from kn_utils.model.controls import matched_neurons, template_halves
from kn_utils.model.half_neurons import other_half, scores_by_half, strongest_neurons
from kn_utils.model.interchange import ATTENTION, FEED_FORWARD, Patch, interchanged_logits, states
from kn_utils.model.models import LanguageModel
from kn_utils.model.neurons import Neuron, neurons_by_fact
from kn_utils.model.prompts import Prompt, usable_prompts
from kn_utils.parameters import check
from kn_utils.store.known import known_facts
from kn_utils.store.runs import Run

SIZES = (4, 20, 100)  # of a fact's neurons with the largest scores
NAMED_SHARE = 0.05  # attribution names a neuron if its mean score is at least this share of a prompt's largest
PAIRS_PER_PART = 2
OWN, OTHERS, MATCHED = "knowledge neurons", "other facts' neurons", "matched neurons"
STRONGEST = {size: f"{size} strongest neurons" for size in SIZES}
NOTHING = "nothing"
ALL_NEURONS, AT_SUBJECT = "all neurons", "all neurons at the subject"  # from a layer up
ALL_ATTENTION, ONE_ATTENTION = "all attention", "attention of one layer"
_COLUMNS = {"relation": str, "fact": "int32", "prompt": "int32", "source": "int32", "pair": "int32"}
_COLUMNS |= {"states": str, "layer": "int32", "neurons": "int32"}
_COLUMNS |= {"log_odds_before": "float32", "log_odds_after": "float32", "log_odds_source": "float32", "answer": str}

Site = tuple[str, int]  # what is interchanged, and the first layer of it


@dataclass(frozen=True)
class Pair:
    """Two facts of a relation in one template: prompts of equal length that are both answered right, with other objects.

    `others` are two more facts of the relation, with other objects still; None if there are none.
    """

    number: int
    first: Prompt
    second: Prompt
    others: tuple[int, int] | None


def exchange_states(lm: LanguageModel, run: Run, relation: str, n_pairs: int = 10) -> Path:
    """Make the table `how_much_passes` of a relation, and return its path.

    Up to `n_pairs` pairs of known facts are drawn, each fact once: see `draw_pairs`. In each pair, either prompt takes over states of the
    other one, the source. There is a row for each pair, order and kind of `states`:

    * `OWN`: the activations of both facts' knowledge neurons.
    * `STRONGEST`: of so many neurons of each fact with the largest mean scores on the half of the templates without this prompt.
    * `OTHERS`: of the knowledge neurons of two facts of the relation with other objects.
    * `MATCHED`: of a neuron for each of `OWN`, of the same layer, whose activation differs as much between the two prompts, and that
      attribution does not name.
    * `ALL_NEURONS`, `AT_SUBJECT`: all activations, from each `layer` up. The subject is the tokens from the first to the last that differs.
    * `ALL_ATTENTION`: all outputs of attention heads, from each `layer` up; `ONE_ATTENTION`: of one layer alone.
    * `NOTHING`.

    All but `AT_SUBJECT` are at the prediction position. `fact` is the fact of the prompt. `log_odds_before`, `log_odds_after` and
    `log_odds_source` are ln(P(source's object) / P(fact's object)) in this prompt, with the states taken over, and in the source's prompt.
    `answer` is "source", "fact" or "other". `neurons` is the number of activations that are taken over, 0 for outputs of attention.
    Raises ValueError for a parameter that is not allowed, and as `Run.made_with` for steps 1 and 2.
    """
    check(n_pairs=n_pairs)
    table = run.read("knowledge_neurons", [relation])
    neurons = neurons_by_fact(table[table["method"] == "attribution"])
    pairs = draw_pairs(lm, run, relation, n_pairs, sorted(neurons))
    halves = template_halves(lm, run.dataset, relation)

    def work(part: Sequence[Pair | None]) -> dict[str, pd.DataFrame]:
        rows = [row for pair in part if pair for row in _pair_rows(lm, run, pair, neurons, halves)]
        return {"how_much_passes": pd.DataFrame(rows, columns=list(_COLUMNS)).astype(_COLUMNS)}

    work_on = pairs or [None]  # without a pair the table is empty
    return run.make("how_much_passes", relation, work_on, work, {"n_pairs": n_pairs}, lm, PAIRS_PER_PART)


def draw_pairs(lm: LanguageModel, run: Run, relation: str, n_pairs: int, with_neurons: Sequence[int]) -> list[Pair]:
    """Return up to `n_pairs` pairs, drawn with the seed, in which no known fact is twice; `with_neurons` are facts with knowledge neurons.

    A fact is known if it is answered right in at least half of its prompts. One whose subject contains its object is left out: its answer
    can be copied.
    """
    made = run.read("prompts", [relation])
    right = set(made.loc[made["correct"], ["fact", "prompt"]].itertuples(index=False, name=None))
    facts = [fact for fact in known_facts(run, relation) if fact.object.lower() not in fact.subject.lower()]
    prompts = {
        fact.index: [prompt for prompt in usable_prompts(lm, run.dataset, fact) if (fact.index, prompt.index) in right]
        for fact in facts
    }
    draw = random.Random(f"{run.seed}-how-much-passes-{relation}")
    left, pairs = draw.sample(facts, len(facts)), []
    while left and len(pairs) < n_pairs:
        first = left.pop()
        partners = [(one, two) for one in prompts[first.index] for fact in left for two in prompts[fact.index] if _fit(one, two)]
        if partners:
            one, two = draw.choice(partners)
            left.remove(two.fact)
            pairs.append(Pair(len(pairs), one, two, _others(run, one, two, with_neurons, draw)))
    return pairs


def _fit(one: Prompt, two: Prompt) -> bool:
    """Return whether two prompts have the same template, length and prediction position, and other objects."""
    same = (one.index, one.position, len(one.ids)) == (two.index, two.position, len(two.ids))
    return same and one.target != two.target and one.ids != two.ids


def _others(run: Run, one: Prompt, two: Prompt, with_neurons: Sequence[int], draw: random.Random) -> tuple[int, int] | None:
    facts = [run.dataset.facts[one.fact.relation][fact] for fact in with_neurons]
    others = [fact.index for fact in facts if fact.object not in (one.fact.object, two.fact.object)]
    return tuple(draw.sample(others, 2)) if len(others) > 1 else None


def _pair_rows(lm: LanguageModel, run: Run, pair: Pair, neurons: dict[int, list[Neuron]], halves: dict[int, int]) -> list[tuple]:
    """Return the rows of both orders of a pair."""
    kept = {prompt.fact: states(lm, prompt) for prompt in (pair.first, pair.second)}
    patches = site_patches(lm, pair, sets_of_pair(lm, run, pair, neurons, halves, kept))
    rows = []
    for prompt, source in ((pair.first, pair.second), (pair.second, pair.first)):
        place = (prompt.fact.relation, prompt.fact.index, prompt.index, source.fact.index, pair.number)
        logits = interchanged_logits(lm, prompt, kept[source.fact], list(patches.values()))
        at_source = interchanged_logits(lm, source, kept[source.fact], [patches[NOTHING, 0]])
        odds = (logits[:, source.target] - logits[:, prompt.target]).tolist()  # the first is of NOTHING
        goal = float(at_source[0, source.target] - at_source[0, prompt.target])
        names = {source.target: "source", prompt.target: "fact"}
        answers = [names.get(top, "other") for top in logits.argmax(1).tolist()]
        rows += [
            (*place, *site, _count(lm, patch), odds[0], after, goal, answer)
            for (site, patch), after, answer in zip(patches.items(), odds, answers, strict=True)
        ]
    return rows


def _count(lm: LanguageModel, patch: Patch) -> int:
    """Return the number of activations that a patch takes over; outputs of attention are none."""
    every = len(patch.layers) * len(patch.positions) * lm.n_neurons
    return len(patch.neurons) + (every if patch.part == FEED_FORWARD else 0)


def sets_of_pair(
    lm: LanguageModel, run: Run, pair: Pair, neurons: dict[int, list[Neuron]], halves: dict[int, int], kept: dict[Fact, dict]
) -> dict[str, list[Neuron]]:
    """Return the sets of neurons that are interchanged in a pair, of both facts together; `kept` are the `states` of both prompts.

    Sets that are not defined are left out: `OTHERS` without two other facts, the others without a template in the other half.
    """
    facts = (pair.first.fact, pair.second.fact)
    sets = {OWN: _union(neurons.get(fact.index, []) for fact in facts)}
    if pair.others:
        sets[OTHERS] = _union(neurons[fact] for fact in pair.others)
    unseen = [
        prompt for fact in facts for prompt in other_half(usable_prompts(lm, run.dataset, fact), halves, halves[pair.first.index])
    ]
    scores = list(scores_by_half(lm, unseen, halves).values())
    if len(scores) < 2:
        return sets
    sets |= {name: _union(strongest_neurons(score, size) for score in scores) for size, name in STRONGEST.items()}
    first, second = (kept[fact][FEED_FORWARD][:, pair.first.position].double().cpu().numpy() for fact in facts)
    named = np.argwhere(torch.stack(scores).amax(0).numpy() >= NAMED_SHARE)
    matched = matched_neurons(sets[OWN], first - second, map(tuple, named.tolist()))
    return sets if matched is None else sets | {MATCHED: matched}


def _union(sets) -> list[Neuron]:
    return sorted({neuron for neurons in sets for neuron in neurons})


def site_patches(lm: LanguageModel, pair: Pair, sets: dict[str, list[Neuron]]) -> dict[Site, Patch]:
    """Return the patch of everything that is interchanged in a pair, by name and first layer."""
    here, every = (pair.first.position,), tuple(range(lm.n_layers))
    differ = [at for at, (one, two) in enumerate(zip(pair.first.ids, pair.second.ids, strict=True)) if one != two]
    patches = {(NOTHING, 0): Patch(FEED_FORWARD, here)}
    patches |= {(name, 0): Patch(FEED_FORWARD, here, neurons=tuple(neurons)) for name, neurons in sets.items()}
    subject = tuple(range(differ[0], differ[-1] + 1))
    for layer in every:
        patches[AT_SUBJECT, layer] = Patch(FEED_FORWARD, subject, layers=every[layer:])
        patches[ALL_NEURONS, layer] = Patch(FEED_FORWARD, here, layers=every[layer:])
        patches[ALL_ATTENTION, layer] = Patch(ATTENTION, here, layers=every[layer:])
        patches[ONE_ATTENTION, layer] = Patch(ATTENTION, here, layers=(layer,))
    return patches
