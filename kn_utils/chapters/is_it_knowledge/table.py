"""The step of notebook 12: neurons of facts that the model knows, of facts that it never learned, and of what is no fact."""

import random
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path

import numpy as np
import pandas as pd
from torch import Tensor

from kn_utils.data.facts import Dataset, Fact
from kn_utils.data.held_out import held_out_facts
from kn_utils.data.not_facts import grammar_items, invented_subjects
from kn_utils.model.models import LanguageModel
from kn_utils.model.neurons import MIN_PROMPTS, PROMPT_SHARE, SCORE_SHARE, Neuron
from kn_utils.model.trials import SET_SIZE, AttributedFact, attribute_facts, drawn_halves, suppressed_log_odds
from kn_utils.parameters import check
from kn_utils.store.known import KNOWN_SHARE, right_shares
from kn_utils.store.runs import Run

KNOWN, NEVER_RIGHT, LEFT_OUT = "known", "never right", "left out, never right"
INVENTED, WRONG_OBJECT, GRAMMAR = "invented subject", "wrong object", "grammar"
GROUPS = (KNOWN, NEVER_RIGHT, LEFT_OUT, INVENTED, WRONG_OBJECT, GRAMMAR)
WITH_HELD_OUT = "starter"  # the model of which we know what was left out of its training
ITEMS_PER_PART = 8
_COLUMNS = {"relation": str, "fact": "int32", "group": str, "subject": str, "object": str, "prompts": "int32"}
_COLUMNS |= {"neurons": "int32", "agreement": "float32"}
_COLUMNS |= {"log_odds_before": "float32", "log_odds_after": "float32", "log_odds_matched": "float32"}

Item = tuple[str, Fact]  # its group, and the fact or what looks like one


def compare_knowledge(lm: LanguageModel, run: Run, relation: str, n_chosen: int = 10) -> Path:
    """Make the table `is_it_knowledge` of a relation, and return its path.

    It has a row for each item. Of each group at most `n_chosen` items are drawn with the seed:

    * "known": facts that are answered right in at least half of their prompts, and were not left out of the model's training.
    * "never right": facts that are answered right in no prompt, and were not left out.
    * "left out, never right": facts that are answered right in no prompt, and were left out of the training (of `starter` only).
    * "invented subject" and "wrong object": the known facts that were drawn, each with a name of nobody as its subject, or with a random
      other object of the relation that is not right for the subject.
    * "grammar": items of grammar. They are dealt out to the relations of the data set, so that each counts once.

    Of a relation, at most `MAX_TEMPLATES` templates are used; an item that has no prompts in both halves of them is left out. `neurons` is
    the number of neurons that pass step 2's thresholds, before the rounds. For each half, the `SET_SIZE` neurons with the largest mean
    scores are chosen; `agreement` is the share that both halves choose. The log-odds are means over prompts: before, with the neurons
    that the other half chose at zero (`log_odds_after`), and with neurons of the same layers and activation at zero (`log_odds_matched`,
    NaN if there are too few).
    Raises ValueError for a parameter that is not allowed, and as `Run.made_with` for step 1.
    """
    check(n_chosen=n_chosen)
    grammar = grammar_items()
    items = draw_items(run, grammar, relation, n_chosen)
    halves = {relation: drawn_halves(lm, run.dataset, relation, run.seed)}
    halves |= {name: drawn_halves(lm, grammar, name, run.seed) for name in grammar.relations}

    def work(part: Sequence[Item | None]) -> dict[str, pd.DataFrame]:
        found, part = {}, [item for item in part if item]
        for dataset, of_grammar in ((run.dataset, False), (grammar, True)):
            facts = [fact for group, fact in part if (group == GRAMMAR) == of_grammar]
            found |= attribute_facts(lm, dataset, facts, halves) if facts else {}
        rows = [(relation, *_item_row(lm, group, fact, found[fact])) for group, fact in part if fact in found]
        return {"is_it_knowledge": pd.DataFrame(rows, columns=list(_COLUMNS)).astype(_COLUMNS)}

    not_facts = {name: grammar.digest(name) for name in grammar.relations} | {"invented": invented_subjects()}
    inputs = {"n_chosen": n_chosen, "relations": run.dataset.relations, "not_facts": not_facts}
    work_on = items or [None]  # without an item the table is empty
    return run.make("is_it_knowledge", relation, work_on, work, inputs, lm, ITEMS_PER_PART)


def draw_items(run: Run, grammar: Dataset, relation: str, n_chosen: int) -> list[Item]:
    """Return the items of all groups; a group has fewer than `n_chosen` if there are fewer, and may have none."""
    facts = _facts_by_group(run, relation)
    drawn = {group: _sample(run, group, relation, some, n_chosen) for group, some in facts.items()}
    drawn[INVENTED] = _with_invented_subjects(run, drawn[KNOWN], relation)
    drawn[WRONG_OBJECT] = _with_wrong_objects(run, drawn[KNOWN], relation)
    drawn[GRAMMAR] = _dealt(run, grammar, relation)[:n_chosen]
    return [(group, fact) for group in GROUPS for fact in drawn[group]]


def _facts_by_group(run: Run, relation: str) -> dict[str, list[Fact]]:
    """Return step 1's facts of the groups that have real facts."""
    left_out = {fact for _, fact in held_out_facts(run.read("facts", [relation]))} if run.model == WITH_HELD_OUT else set()
    groups: dict[str, list[Fact]] = {KNOWN: [], NEVER_RIGHT: [], LEFT_OUT: []}
    for index, right in right_shares(run, relation).items():
        fact = run.dataset.facts[relation][index]
        if right == 0:
            groups[LEFT_OUT if index in left_out else NEVER_RIGHT].append(fact)
        elif right >= KNOWN_SHARE and index not in left_out:
            groups[KNOWN].append(fact)
    return groups


def _random(run: Run, what: str, relation: str) -> random.Random:
    return random.Random(f"{run.seed}-knowledge-{what}-{relation}")


def _sample(run: Run, group: str, relation: str, facts: Sequence[Fact], count: int) -> list[Fact]:
    drawn = _random(run, group, relation).sample(facts, min(count, len(facts)))
    return sorted(drawn, key=lambda fact: fact.index)


def _with_invented_subjects(run: Run, known: Sequence[Fact], relation: str) -> list[Fact]:
    """Return the facts with other subjects: names that are no subject and no object of the data set."""
    real = {text.casefold() for facts in run.dataset.facts.values() for fact in facts for text in (fact.subject, fact.object)}
    names = [name for name in invented_subjects() if name.casefold() not in real]
    _random(run, INVENTED, relation).shuffle(names)
    return [Fact(relation, fact.index, name, fact.object) for fact, name in zip(known, cycle(names), strict=False)]


def _with_wrong_objects(run: Run, known: Sequence[Fact], relation: str) -> list[Fact]:
    """Return the facts with other objects of step 1's facts; a fact for whose subject all of them are right has none."""
    asked = run.read("facts", [relation])
    objects = sorted({run.dataset.facts[relation][fact].object for fact in asked.loc[asked["prompts"] > 0, "fact"]})
    draw, found = _random(run, WRONG_OBJECT, relation), []
    for fact in known:
        right = {other.object for other in run.dataset.facts[relation] if other.subject == fact.subject}
        if wrong := [name for name in objects if name not in right]:
            found.append(Fact(relation, fact.index, fact.subject, draw.choice(wrong)))
    return found


def _dealt(run: Run, grammar: Dataset, relation: str) -> list[Fact]:
    """Return the items of grammar that this relation gets: all are shuffled with the seed and dealt out in turn."""
    items = [fact for name in grammar.relations for fact in grammar.facts[name]]
    random.Random(f"{run.seed}-grammar").shuffle(items)
    relations = run.dataset.relations
    return items[relations.index(relation) :: len(relations)]


def _item_row(lm: LanguageModel, group: str, fact: Fact, found: AttributedFact) -> tuple:
    own, matched = [found.chosen(half) for half in (0, 1)], [found.matched(half) for half in (0, 1)]
    agreement = len(set(own[0]) & set(own[1])) / SET_SIZE
    about = (fact.index, group, fact.subject, fact.object, len(found.prompts), int(passing(found.scores).sum()), agreement)
    return *about, *_mean_log_odds(lm, found, own, matched)


def passing(scores: Tensor) -> Tensor:
    """Return whether each neuron passes step 2's thresholds, [layers, neurons], given shares of the largest scores [prompts, ...]."""
    return (scores >= SCORE_SHARE).sum(0) >= max(PROMPT_SHARE * len(scores), MIN_PROMPTS)


def _mean_log_odds(
    lm: LanguageModel, found: AttributedFact, own: Sequence[list[Neuron]], matched: Sequence[list[Neuron] | None]
) -> tuple[float, float, float]:
    """Return the mean log-odds over prompts: before, with the neurons that the other half chose at zero, and with the matched ones."""
    prompts, sets = [], []
    for half in (0, 1):
        judged = found.judged_by(half)
        prompts += judged
        sets += [[[], own[half], matched[half] or []]] * len(judged)
    before, after, without_matched = np.mean(suppressed_log_odds(lm, prompts, sets), axis=0)
    return before, after, np.nan if None in matched else without_matched
