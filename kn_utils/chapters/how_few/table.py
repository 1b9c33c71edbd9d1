"""The step of notebook 17: how many neurons must be set to zero until a right answer is lost."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from kn_utils.model.controls import template_halves
from kn_utils.model.greedy import greedy_order, logits_without
from kn_utils.model.models import LanguageModel
from kn_utils.model.prompts import Prompt, usable_prompts
from kn_utils.parameters import check
from kn_utils.store.known import known_facts
from kn_utils.store.runs import Run

RESCORED = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)  # sizes at which the other neurons are scored again
SIZES = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 40, 48, 64, 80, 96, 128, 160, 192, 256, 320, 384, 512)
RANDOM_SHARE = 0.1  # of all neurons, the random candidates
FIRST, SECOND, RANDOM, WRONG, KEPT = "first", "second", "random", "wrong object", "kept"
FACTS_PER_PART = 2
_COLUMNS = {"relation": str, "fact": "int32", "chosen_on": "int32", "prompt": "int32", "template": str}
_COLUMNS |= {"set": str, "size": "int32", "correct": bool}


@dataclass(frozen=True)
class Question:
    """A known fact: a prompt that chooses neurons, one that judges them by a template of the other half, and a wrong object's token.

    Both prompts are answered right. `wrong` is None if the relation has no other object.
    """

    chooser: Prompt
    judge: Prompt
    wrong: int | None


def shrink_sets(lm: LanguageModel, run: Run, relation: str, n_chosen: int = 10) -> Path:
    """Make the table `how_few` of a relation, and return its path.

    Up to `n_chosen` known facts are drawn, and two right prompts of each: see `draw_questions`. There is a row for each fact, `set`, `size`
    of the set and `template`: "other" is the prompt that did not choose the neurons, "own", for `FIRST` only, the one that did. `correct`
    says whether the answer is still right while these neurons are zero at the prediction position. The sets are the first neurons of a
    `greedy_order`:

    * `FIRST`: of all neurons.
    * `SECOND`: of all but the smallest first set that changes the other prompt's answer. No rows if none does.
    * `RANDOM`: of a random tenth of all neurons.
    * `WRONG`: of all neurons, for another object of the relation in place of the right one. No rows if there is none.
    * `KEPT`: as `FIRST`, but all neurons except these are zero.

    Raises ValueError for a parameter that is not allowed, and as `Run.made_with` for step 1.
    """
    check(n_chosen=n_chosen)
    questions = draw_questions(lm, run, relation, n_chosen)

    def work(part: Sequence[Question | None]) -> dict[str, pd.DataFrame]:
        rows = [row for question in part if question for row in _rows(lm, question, run.seed)]
        return {"how_few": pd.DataFrame(rows, columns=list(_COLUMNS)).astype(_COLUMNS)}

    work_on = questions or [None]  # without a fact the table is empty
    return run.make("how_few", relation, work_on, work, {"n_chosen": n_chosen}, lm, FACTS_PER_PART)


def draw_questions(lm: LanguageModel, run: Run, relation: str, n_chosen: int) -> list[Question]:
    """Return up to `n_chosen` known facts, drawn with the seed among those with a right prompt in both halves of the templates.

    A fact is known if it is answered right in at least half of its prompts.
    """
    made, halves = run.read("prompts", [relation]), template_halves(lm, run.dataset, relation)
    known = made["fact"].isin([fact.index for fact in known_facts(run, relation)])
    right = made[made["correct"] & known].groupby("fact")["prompt"].agg(list)
    draw = random.Random(f"{run.seed}-how-few-{relation}")
    both = [fact for fact, prompts in right.items() if len({halves[prompt] for prompt in prompts}) == 2]
    questions = []
    for fact in sorted(draw.sample(both, min(n_chosen, len(both)))):
        prompts = {prompt.index: prompt for prompt in usable_prompts(lm, run.dataset, run.dataset.facts[relation][fact])}
        chooser = prompts[draw.choice(right[fact])]
        judge = prompts[draw.choice([index for index in right[fact] if halves[index] != halves[chooser.index]])]
        questions.append((chooser, judge))
    targets = sorted({chooser.target for chooser, _ in questions})
    wrong = {target: [other for other in targets if other != target] for target in targets}
    return [Question(one, two, draw.choice(wrong[one.target]) if wrong[one.target] else None) for one, two in questions]


def _rows(lm: LanguageModel, question: Question, seed: int) -> list[tuple]:
    chooser, judge, fact = question.chooser, question.judge, question.chooser.fact
    every = torch.ones(lm.n_layers, lm.n_neurons, dtype=torch.bool)
    sets = {FIRST: _sets(lm, chooser, every)}
    flipped = (~_correct(lm, judge, sets[FIRST])).nonzero()[:, 0]
    if len(flipped):
        sets[SECOND] = _sets(lm, chooser, ~sets[FIRST][flipped[0]])
    draw = torch.Generator().manual_seed(random.Random(f"{seed}-candidates-{fact.relation}-{fact.index}").getrandbits(32))
    sets[RANDOM] = _sets(lm, chooser, torch.rand(every.shape, generator=draw) < RANDOM_SHARE)
    if question.wrong is not None:
        sets[WRONG] = _sets(lm, replace(chooser, target=question.wrong), every)
    sets[KEPT] = ~sets[FIRST]
    rows = []
    for name, of_sizes in sets.items():
        asked = {"other": judge, "own": chooser} if name == FIRST else {"other": judge}
        for template, prompt in asked.items():
            place = (fact.relation, fact.index, chooser.index, prompt.index, template, name)
            right = _correct(lm, prompt, of_sizes).tolist()
            rows += [(*place, size, correct) for size, correct in zip(SIZES, right, strict=False)]
    return rows


def _sets(lm: LanguageModel, prompt: Prompt, candidates: Tensor) -> Tensor:
    """Return the first neurons of the greedy order for each of the `SIZES` that the candidates suffice for, [sizes, layers, neurons]."""
    count = int(candidates.sum())
    order = greedy_order(lm, prompt, candidates, [size for size in RESCORED if size <= count])
    sizes = [size for size in SIZES if size <= len(order)]
    sets = torch.zeros(len(sizes), candidates.numel(), dtype=torch.bool)
    for row, size in zip(sets, sizes, strict=True):
        row[order[:size]] = True
    return sets.view(len(sizes), *candidates.shape)


def _correct(lm: LanguageModel, prompt: Prompt, off: Tensor) -> Tensor:
    """Return whether a prompt is answered right while the neurons of each set are zero, [sets]."""
    return logits_without(lm, prompt, off).argmax(1).cpu() == prompt.target
