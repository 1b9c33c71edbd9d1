"""Choice of the facts to edit (section 5.1), each with new object, prompt and neurons, or the reason why it is left out."""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from kn_utils.data.facts import Dataset, Fact, LeftOut
from kn_utils.model.controls import named_neurons
from kn_utils.model.models import LanguageModel
from kn_utils.model.neurons import COMMON_SHARE, Neuron, neurons_by_fact
from kn_utils.model.prompts import Prompt, usable_prompts
from kn_utils.parameters import check, did_you_mean
from kn_utils.store.known import knowledge_neurons
from kn_utils.store.runs import Run

EDITS = 10  # per relation
EXAMPLES = 10  # subjects or objects that an error names
NO_PROMPT = "the fact cannot be asked"
NO_NEURON = "it has no knowledge neuron"
COMMON = "all its neurons are common in the relation"
WRONG = "the model's answer is not the object"
NO_OBJECT = "no other object is one token of the model's vocabulary in the prompt"


@dataclass(frozen=True)
class Edit:
    """An edit of the value vectors of `neurons` that gives `fact` the object `new_object`.

    `named` are all neurons that attribution names in any prompt of the fact. `prompts` are those in which both objects are one token;
    `new_targets` are the new object's tokens in them. The edit is judged by `prompts[drawn]`.
    """

    fact: Fact
    new_object: str
    prompts: tuple[Prompt, ...]
    new_targets: tuple[int, ...]
    drawn: int
    neurons: tuple[Neuron, ...]
    named: frozenset[Neuron]

    @property
    def tokens(self) -> list[tuple[int, int]]:
        """The tokens of the old and the new object for each prompt."""
        return [(prompt.target, new) for prompt, new in zip(self.prompts, self.new_targets, strict=True)]


class _Known(NamedTuple):
    """What is known of each fact of a relation.

    `right`: the prompts answered right; `neurons`; `uncommon`: those of them that are not common in the relation; `named`: all neurons that
    attribution names in any prompt.
    """

    right: dict[int, set[int]]
    neurons: dict[int, list[Neuron]]
    uncommon: dict[int, list[Neuron]]
    named: dict[int, frozenset[Neuron]]


def plan_edits(lm: LanguageModel, run: Run, relation: str, common_share: float = COMMON_SHARE) -> list[Edit | LeftOut]:
    """Return the facts of a relation in random order, until ten can be edited; the others are `LeftOut`.

    Raises as `Run.read` for the tables of steps 1 and 2.
    """
    known = _known(run, relation, common_share)
    facts = run.facts(relation, lm)
    tried: list[Edit | LeftOut] = []
    for fact in random.Random(f"{run.seed}-edits-{relation}").sample(facts, len(facts)):
        tried.append(_plan(lm, run, fact, known, known.right.get(fact.index, set())))
        if sum(isinstance(item, Edit) for item in tried) == EDITS:
            break
    return tried


def check_choice(lm: LanguageModel, run: Run, relations: Sequence[str], subject: str = "", new_object: str = "") -> None:
    """Raise ValueError, with what to choose, before any fact is edited, if the edit that a reader chooses cannot be made.

    That is if no fact is about `subject`, if `new_object` is not one token in any prompt of the fact, or if the chosen fact has it already.
    Either may be "", for the default of `chosen_edit`.
    """
    check(subject=subject, new_object=new_object)
    fact = _fact_about(lm, run, relations, subject)
    if not new_object:
        return
    targets = _targets(lm, run.dataset, fact, new_object)
    if not targets:
        objects = list(dict.fromkeys(other.object for other in run.dataset.facts[fact.relation]))
        raise ValueError(
            f"new_object {new_object!r} is not one token of {lm.name}{did_you_mean(new_object, objects)}; "
            f"objects of {fact.relation} are: {', '.join(objects[:EXAMPLES])}"
        )
    if subject and any(targets.get(prompt.index) == prompt.target for prompt in usable_prompts(lm, run.dataset, fact)):
        raise ValueError(f"new_object {new_object!r} is the object of {fact.subject!r} already: choose another one")


def _targets(lm: LanguageModel, dataset: Dataset, fact: Fact, new_object: str) -> dict[int, int]:
    """Return the token of another object in each template of a fact in which it is one token."""
    return {prompt.index: prompt.target for prompt in usable_prompts(lm, dataset, replace(fact, object=new_object))}


def _fact_about(lm: LanguageModel, run: Run, relations: Sequence[str], subject: str) -> Fact:
    """Return the run's first fact about `subject`, or its first fact if this is "". Raises ValueError, with what to choose."""
    facts = [fact for relation in relations for fact in run.facts(relation, lm)]
    chosen = [fact for fact in facts if subject in ("", fact.subject)]
    if not chosen:
        subjects = list(dict.fromkeys(fact.subject for fact in facts))
        raise ValueError(
            f"no fact of this run is about {subject!r}{did_you_mean(subject, subjects)}; "
            f"among its {len(subjects)} subjects are: {', '.join(subjects[:EXAMPLES])}"
        )
    return chosen[0]


def chosen_edit(
    lm: LanguageModel,
    run: Run,
    relations: Sequence[str],
    subject: str = "",
    new_object: str = "",
    common_share: float = COMMON_SHARE,
) -> Edit:
    """Return the edit that gives the fact about `subject` the object `new_object`; the model need not answer the fact right.

    The default subject is that of the first edit in `plan_edits`; the default object is a random other object of the relation.
    Raises as `Run.made_with` for steps 1 and 2; also ValueError if an argument is not text, no fact has this subject, the fact cannot
    be edited, or the object is not one token or is the same token as the old one.
    """
    check(subject=subject, new_object=new_object)
    fact = _chosen_fact(lm, run, relations, subject, common_share)
    run.made_with("knowledge_neurons", fact.relation, lm)  # of this model: `run.read` does not know it
    known = _known(run, fact.relation, common_share)
    every_prompt = set(range(len(run.dataset.templates[fact.relation])))
    planned = _plan(lm, run, fact, known, every_prompt, [new_object] if new_object else None)
    if isinstance(planned, LeftOut):
        able = ", ".join(other.subject for other in run.facts(fact.relation, lm) if other.index in known.uncommon)
        to = f" to {new_object!r}" if new_object else ""
        raise ValueError(
            f"{fact.subject!r} of {fact.relation} cannot be edited{to}: {planned.reason}. Subjects with neurons to edit: {able or 'none'}"
        )
    return planned


def _chosen_fact(lm: LanguageModel, run: Run, relations: Sequence[str], subject: str, common_share: float) -> Fact:
    if not subject:
        planned = (item for relation in relations for item in plan_edits(lm, run, relation, common_share))
        if first := next((item.fact for item in planned if isinstance(item, Edit)), None):
            return first
        raise ValueError(f"no fact of {', '.join(relations)} can be edited; the table edit_candidates says why")
    return _fact_about(lm, run, relations, subject)


def _known(run: Run, relation: str, common_share: float) -> _Known:
    neurons, uncommon = knowledge_neurons(run, relation, common_share)
    prompts, scores = (run.read(table, [relation]) for table in ("prompts", "attribution"))
    right = prompts[prompts["correct"]].groupby("fact")["prompt"].agg(set).to_dict()
    named = named_neurons(scores[scores["fact"].isin(uncommon["fact"])])
    return _Known(right, neurons_by_fact(neurons), neurons_by_fact(uncommon), named)


def _plan(
    lm: LanguageModel, run: Run, fact: Fact, known: _Known, prompts: set[int], objects: Iterable[str] | None = None
) -> Edit | LeftOut:
    """Return the edit of a fact, judged by a random prompt. The fact is left out if this prompt is not among `prompts`.

    The new object is the first of `objects` that is one token there; by default, these are the relation's other objects in random order.
    """
    draw = random.Random(f"{run.seed}-edit-{fact.relation}-{fact.index}")
    usable = usable_prompts(lm, run.dataset, fact)
    if not usable:
        return LeftOut(fact, NO_PROMPT)
    if fact.index not in known.uncommon:
        return LeftOut(fact, COMMON if fact.index in known.neurons else NO_NEURON)
    drawn = draw.choice(usable).index
    if drawn not in prompts:
        return LeftOut(fact, WRONG)
    facts = run.dataset.facts[fact.relation]
    if objects is None:
        objects = dict.fromkeys(other.object for other in draw.sample(facts, len(facts)) if other.object != fact.object)
    edits = (_edit(lm, run.dataset, fact, new_object, drawn, known) for new_object in objects)
    return next(filter(None, edits), LeftOut(fact, NO_OBJECT))


def _edit(lm: LanguageModel, dataset: Dataset, fact: Fact, new_object: str, drawn: int, known: _Known) -> Edit | None:
    """Return the edit judged by the template `drawn`; None if there the two objects are not different single tokens."""
    targets = _targets(lm, dataset, fact, new_object)
    prompts = [
        prompt for prompt in usable_prompts(lm, dataset, fact) if targets.get(prompt.index, prompt.target) != prompt.target
    ]
    templates = [prompt.index for prompt in prompts]
    if drawn not in templates:
        return None
    new_targets, neurons = tuple(map(targets.get, templates)), tuple(known.uncommon[fact.index])
    return Edit(fact, new_object, tuple(prompts), new_targets, templates.index(drawn), neurons, known.named[fact.index])
