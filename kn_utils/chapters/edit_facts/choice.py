"""Checks of the edit that a reader chooses, before any fact is edited."""

from collections.abc import Sequence
from dataclasses import replace

from kn_utils.data.facts import Fact
from kn_utils.model.models import LanguageModel
from kn_utils.model.prompts import usable_prompts
from kn_utils.parameters import check, did_you_mean
from kn_utils.store.runs import Run

EXAMPLES = 10


def check_choice(lm: LanguageModel, run: Run, relations: Sequence[str], subject: str = "", new_object: str = "") -> None:
    """Raise ValueError, with what to choose, if no fact is about `subject` or if it cannot get the object `new_object`.

    Either may be "", for the default of `kn_utils.chapters.edit_facts.plans.chosen_edit`.
    """
    check(subject=subject, new_object=new_object)
    fact = fact_about(lm, run, relations, subject)
    if new_object:
        _check_object(lm, run, fact, new_object, bool(subject))


def fact_about(lm: LanguageModel, run: Run, relations: Sequence[str], subject: str) -> Fact:
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


def _check_object(lm: LanguageModel, run: Run, fact: Fact, new_object: str, is_chosen: bool) -> None:
    """Raise ValueError if an object is not one token in any prompt of a fact; if the fact is chosen, also if it has this object already."""
    targets = {prompt.index: prompt.target for prompt in usable_prompts(lm, run.dataset, replace(fact, object=new_object))}
    objects = list(dict.fromkeys(other.object for other in run.dataset.facts[fact.relation]))
    if not targets:
        raise ValueError(
            f"new_object {new_object!r} is not one token of {lm.name}{did_you_mean(new_object, objects)}; "
            f"objects of {fact.relation} are: {', '.join(objects[:EXAMPLES])}"
        )
    if is_chosen and any(targets.get(prompt.index) == prompt.target for prompt in usable_prompts(lm, run.dataset, fact)):
        raise ValueError(f"new_object {new_object!r} is the object of {fact.subject!r} already: choose another one")
