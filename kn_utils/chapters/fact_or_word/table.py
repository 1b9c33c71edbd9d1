"""The step of notebook 13: a fact's prompts with the neurons of other facts suppressed, and its neurons in the prompts of others."""

import random
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from kn_utils.data.facts import Fact
from kn_utils.model.forward import predict
from kn_utils.model.models import LanguageModel
from kn_utils.model.neurons import Neuron
from kn_utils.model.prompts import Prompt, usable_prompts
from kn_utils.model.trials import AttributedFact, attribute_facts, drawn_halves, suppressed_log_odds
from kn_utils.parameters import check
from kn_utils.store.known import KNOWN_SHARE, known_facts
from kn_utils.store.runs import Run

OWN, MATCHED, NOT_OWN = "own", "matched", "same object, none of its own"
SAME_SAME, SAME_OTHER = "same object, same relation", "same object, other relation"
OTHER_SAME, OTHER_OTHER = "other object, same relation", "other object, other relation"
DONORS = (SAME_SAME, SAME_OTHER, OTHER_SAME, OTHER_OTHER)  # the facts whose neurons are taken, by what they have in common
ITSELF, THIS_OBJECT, THEIR_OBJECT = "itself", "its object of another subject", "another fact"  # what is asked
CANDIDATES = 10  # random facts of other relations that are tried until the model knows one
FACTS_PER_PART = 2
_COLUMNS = {"relation": str, "fact": "int32", "neurons": str, "asked": str, "other_relation": str, "other_fact": "int32"}
_COLUMNS |= {"prompts": "int32", "log_odds_before": "float32", "log_odds_after": "float32"}

Trial = tuple[
    str, str, Prompt, list[Neuron]
]  # the columns neurons and asked, and one prompt with the neurons that are suppressed


def swap_neurons(lm: LanguageModel, run: Run, relation: str, n_chosen: int = 10) -> Path:
    """Make the table `fact_or_word` of a relation, and return its path.

    At most `n_chosen` facts are drawn with the seed among the known facts whose object another known fact of the relation has; a known fact
    is answered right in at least half of its prompts. The table has a row for each fact, set of neurons and question. All sets have
    `SET_SIZE` neurons, chosen on one half of the templates (at most `MAX_TEMPLATES` of a relation) and suppressed in the other half:

    * "own": those of the fact, also in prompts for "its object of another subject" and for "another fact", that of "other object, same
      relation".
    * "same object, same relation" and so on: those of another known fact, which `other_relation` and `other_fact` name. It has another
      subject. No rows if none was found.
    * "same object, none of its own": the strongest neurons of the fact in "same object, same relation" that are not the fact's own.
    * "matched": of the same layers and activation, see `matched_neurons`.

    The log-odds of the object are means over prompts.
    Raises ValueError for a parameter that is not allowed, and as `Run.made_with` for steps 1 and 2.
    """
    check(n_chosen=n_chosen)
    known = known_facts(run, relation)
    facts = draw_facts_with_partner(known, n_chosen, f"{run.seed}-word-{relation}")

    def work(part: Sequence[Fact | None]) -> dict[str, pd.DataFrame]:
        donors = {fact: draw_donors(lm, run, fact, known) for fact in part if fact}
        return {"fact_or_word": _rows(lm, run, donors)}

    inputs = {"n_chosen": n_chosen, "other_relations": run.dataset.digest_of_others(relation)}
    work_on = facts or [None]  # without a fact the table is empty
    return run.make("fact_or_word", relation, work_on, work, inputs, lm, FACTS_PER_PART)


def draw_facts_with_partner(known: Sequence[Fact], count: int, seed: str) -> list[Fact]:
    """Return random facts whose object another of these facts has, with another subject."""
    paired = [fact for fact in known if any(_is_partner(other, fact) for other in known)]
    drawn = random.Random(seed).sample(paired, min(count, len(paired)))
    return sorted(drawn, key=lambda fact: fact.index)


def _is_partner(other: Fact, fact: Fact) -> bool:
    return other.object == fact.object and other.subject != fact.subject


def draw_donors(lm: LanguageModel, run: Run, fact: Fact, known: Sequence[Fact]) -> dict[str, Fact]:
    """Return a random known fact for each of `DONORS`; one of them may be missing. `known` are those of the fact's relation."""
    draw = random.Random(f"{run.seed}-donors-{fact.relation}-{fact.index}")
    right = {other.object for other in run.dataset.facts[fact.relation] if other.subject == fact.subject}
    elsewhere = [other for name in run.dataset.relations if name != fact.relation for other in run.dataset.facts[name]]
    candidates = {
        SAME_SAME: [other for other in known if _is_partner(other, fact)],
        OTHER_SAME: [other for other in known if other.subject != fact.subject and other.object not in right],
        SAME_OTHER: [other for other in elsewhere if _is_partner(other, fact)],
        OTHER_OTHER: [other for other in elsewhere if other.subject != fact.subject and other.object != fact.object],
    }
    found = {}
    for kind, facts in candidates.items():
        tried = draw.sample(facts, min(CANDIDATES, len(facts)))
        checked = (other for other in tried if other.relation == fact.relation or is_known(lm, run, other))
        if other := next(checked, None):
            found[kind] = other
    return found


def is_known(lm: LanguageModel, run: Run, fact: Fact) -> bool:
    """Return whether the model answers a fact right in at least `KNOWN_SHARE` of its prompts."""
    prompts = usable_prompts(lm, run.dataset, fact)
    if not prompts:
        return False
    targets = [prompt.target for prompt in prompts]
    return bool(np.mean(predict(lm, prompts, [[target] for target in targets]).top == targets) >= KNOWN_SHARE)


def _rows(lm: LanguageModel, run: Run, donors: dict[Fact, dict[str, Fact]]) -> pd.DataFrame:
    """Return the rows of some facts with their donors; a fact without prompts in both halves of the templates has none."""
    every = dict.fromkeys([*donors, *(other for of_fact in donors.values() for other in of_fact.values())])
    halves = {name: drawn_halves(lm, run.dataset, name, run.seed) for name in {fact.relation for fact in every}}
    found = attribute_facts(lm, run.dataset, list(every), halves)
    rows = []
    for fact in (fact for fact in donors if fact in found):
        others = {kind: other for kind, other in donors[fact].items() if other in found}
        trials = list(_trials(lm, run, found, fact, others))
        odds = suppressed_log_odds(lm, [prompt for *_, prompt, _ in trials], [[[], neurons] for *_, neurons in trials])
        table = pd.DataFrame(odds, columns=["before", "after"]).assign(
            neurons=[trial[0] for trial in trials], asked=[trial[1] for trial in trials]
        )
        for (neurons, asked), group in table.groupby(["neurons", "asked"], sort=False):
            other = others.get(_donor_of(neurons, asked))
            about = (other.relation, other.index) if other else ("", -1)
            rows.append((fact.relation, fact.index, neurons, asked, *about, len(group), *group[["before", "after"]].mean()))
    return pd.DataFrame(rows, columns=list(_COLUMNS)).astype(_COLUMNS)


def _donor_of(neurons: str, asked: str) -> str:
    """Return which of `DONORS` a row is about."""
    return OTHER_SAME if asked != ITSELF else SAME_SAME if neurons == NOT_OWN else neurons


def _trials(
    lm: LanguageModel, run: Run, found: dict[Fact, AttributedFact], fact: Fact, others: dict[str, Fact]
) -> Iterator[Trial]:
    """Yield the trials of a fact: neurons chosen on one half of the templates, prompts of the other half."""
    own = found[fact]
    for half in (0, 1):
        chosen, matched = own.chosen(half), own.matched(half)
        sets = {OWN: chosen} | {kind: found[other].chosen(half) for kind, other in others.items()}
        sets |= {MATCHED: matched} if matched else {}
        sets |= {NOT_OWN: found[others[SAME_SAME]].chosen(half, without=chosen)} if SAME_SAME in others else {}
        for neurons, some in sets.items():
            yield from ((neurons, ITSELF, prompt, some) for prompt in own.judged_by(half))
        if OTHER_SAME in others:
            other = found[others[OTHER_SAME]]
            judged = other.judged_by(half)
            yield from ((OWN, THEIR_OBJECT, prompt, chosen) for prompt in judged)
            yield from ((OWN, THIS_OBJECT, prompt, chosen) for prompt in _with_object(lm, run, judged, fact.object))


def _with_object(lm: LanguageModel, run: Run, prompts: Sequence[Prompt], answer: str) -> Iterable[Prompt]:
    """Return prompts of one fact with another object as their target."""
    fact, wanted = prompts[0].fact, {prompt.index for prompt in prompts}
    same = usable_prompts(lm, run.dataset, Fact(fact.relation, fact.index, fact.subject, answer))
    return [prompt for prompt in same if prompt.index in wanted]
