"""Choice of the edits of notebook 16: facts that the model knows, their new objects, and the prompts that choose and judge."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from kn_utils.data.facts import Dataset, Fact
from kn_utils.model.controls import template_halves
from kn_utils.model.models import LanguageModel
from kn_utils.model.prompts import Prompt, usable_prompts
from kn_utils.store.known import known_facts
from kn_utils.store.runs import Run

OTHER_FACTS = 10  # of the relation, with one prompt each


@dataclass(frozen=True)
class Edit:
    """An edit that gives `fact` the object `new_object`.

    `chosen_on` are the fact's prompts with one half of the templates; they choose the neurons. The other half judges: `judged_by` are the
    fact's prompts, and `others` are prompts of other facts, one of each; the target of all these is the new object. `partner` are the
    prompts of another known fact of the relation with the templates of the first half; its object is a third one. They may be missing.
    """

    fact: Fact
    new_object: str
    half: int
    chosen_on: tuple[Prompt, ...]
    judged_by: tuple[Prompt, ...]
    others: tuple[Prompt, ...]
    partner: tuple[Prompt, ...]


@dataclass(frozen=True)
class _Relation:
    """The facts of a relation in the run, those that the model knows, and the half, 0 or 1, of each template."""

    lm: LanguageModel
    dataset: Dataset
    facts: Sequence[Fact]
    known: Sequence[Fact]
    halves: Mapping[int, int]

    def prompts(self, fact: Fact, half: int) -> list[Prompt]:
        """Return the usable prompts of a fact with the templates of a half."""
        return [prompt for prompt in usable_prompts(self.lm, self.dataset, fact) if self.halves[prompt.index] == half]


def plan_edits(lm: LanguageModel, run: Run, relation: str, n_edits: int) -> list[Edit]:
    """Return edits of `n_edits` random known facts of a relation; fewer if there are not so many.

    The two halves of the templates choose in turn. Raises as `Run.read` for step 1's tables.
    """
    facts = run.facts(relation, lm)
    by_answers = set(known_facts(run, relation))
    known = [fact for fact in facts if fact in by_answers]
    about = _Relation(lm, run.dataset, facts, known, template_halves(lm, run.dataset, relation))
    edits: list[Edit] = []
    for fact in random.Random(f"{run.seed}-editing-{relation}").sample(known, len(known)):
        if len(edits) == n_edits:
            break
        draw = random.Random(f"{run.seed}-editing-{relation}-{fact.index}")
        if edit := _plan(about, fact, len(edits) % 2, draw):
            edits.append(edit)
    return edits


def _plan(about: _Relation, fact: Fact, half: int, draw: random.Random) -> Edit | None:
    """Return the edit of a fact; None if a half has no prompt, or if there is no new object or no other fact to ask."""
    chosen_on = about.prompts(fact, half)
    if not chosen_on:
        return None
    new_object, judged_by = _new_object(about, fact, chosen_on[0].target, 1 - half, draw)
    others = _others(about, fact, new_object, 1 - half, draw)
    if not judged_by or not others:
        return None
    partner = _partner(about, fact, new_object, half, draw)
    return Edit(fact, new_object, half, *map(tuple, (chosen_on, judged_by, others, partner)))


def _new_object(about: _Relation, fact: Fact, old: int, half: int, draw: random.Random) -> tuple[str, list[Prompt]]:
    """Return a random other object of the relation, and the fact's prompts of a half with this object.

    The object is one token there, and not the token `old`. There are no prompts if there is no such object.
    """
    objects = sorted({other.object for other in about.dataset.facts[fact.relation]} - {fact.object})
    for new_object in draw.sample(objects, len(objects)):
        prompts = about.prompts(replace(fact, object=new_object), half)
        if prompts and prompts[0].target != old:
            return new_object, prompts
    return "", []


def _others(about: _Relation, fact: Fact, new_object: str, half: int, draw: random.Random) -> list[Prompt]:
    """Return a random prompt of a half, with the new object as target, of each of (up to) ten random facts with other objects."""
    able = [other for other in about.facts if other.subject != fact.subject and other.object != new_object]
    found: list[Prompt] = []
    for other in draw.sample(able, len(able)):
        if len(found) == OTHER_FACTS:
            break
        if prompts := about.prompts(replace(other, object=new_object), half):
            found.append(draw.choice(prompts))
    return found


def _partner(about: _Relation, fact: Fact, new_object: str, half: int, draw: random.Random) -> list[Prompt]:
    """Return the prompts of a half of a random known fact with neither object; none if there is no such fact."""
    able = [other for other in about.known if other.object not in (fact.object, new_object)]
    asked = (about.prompts(other, half) for other in draw.sample(able, len(able)))
    return next(filter(None, asked), [])
