"""Step 6: facts edited one at a time, through the value vectors of their knowledge neurons (section 5.1)."""

import math
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
from torch import Tensor

from kn_utils.chapters.edit_facts.plans import EDITS, Edit, plan_edits
from kn_utils.data.facts import Dataset, Fact, LeftOut
from kn_utils.model.changed_answers import edited_answers
from kn_utils.model.controls import matched_neurons, mean_activations
from kn_utils.model.forward import Answers, log_probability
from kn_utils.model.interventions import RULES, check_editable, new_vectors, target_embedding
from kn_utils.model.models import LanguageModel
from kn_utils.model.neurons import COMMON_SHARE, Neuron, neuron_name, random_neurons
from kn_utils.model.prompts import Prompt, usable_prompts
from kn_utils.parameters import check
from kn_utils.store.runs import Run

EDITED = ("attribution", "random", "matched")  # methods that choose the neurons
STRENGTHS = (0.0, 2.0, 4.0, 8.0, 16.0)  # of lambda2
OTHER_FACTS = 5  # facts of the relation, and as many of other relations, for the perplexities
SETTINGS = {"edits": EDITS, "strengths": STRENGTHS, "other_facts": OTHER_FACTS}
_PERPLEXITIES = [f"perplexity_{facts}_{when}" for facts in ("same", "other") for when in ("before", "after")]
_COLUMNS = {
    "edit_facts": {"relation": str, "fact": "int32", "subject": str, "old_object": str, "new_object": str, "prompt": "int32"}
    | {"rule": str, "control": bool, "method": str, "neurons": "int32", "neuron_names": str}
    | {"answer_before": str, "answer_after": str}
    | dict.fromkeys(["changed", "success", "success_top5"], bool)
    | dict.fromkeys(["rank_before", "rank_after"], "int32")
    | dict.fromkeys(["probability_before", "probability_after", "old_probability_before", "old_probability_after"], "float64")
    | dict.fromkeys(["log_odds_before", "log_odds_after"], "float64")
    | dict.fromkeys(["templates", "templates_changed", "templates_success"], "int32")
    | dict.fromkeys(_PERPLEXITIES, "float64"),
    "edit_strength": {"relation": str, "fact": "int32", "lambda2": "float64", "changed": bool, "success": bool}
    | dict.fromkeys(_PERPLEXITIES, "float64"),
    "edit_candidates": {"relation": str, "fact": "int32", "edited": bool, "reason": str},
}


@dataclass(frozen=True)
class Variant:
    """A variant of an edit: the rule, lambda2, and the method that chose the neurons."""

    rule: str
    lambda2: float
    method: str = "attribution"


def edit_facts(
    lm: LanguageModel,
    run: Run,
    relation: str,
    lambda1: float = 1,
    lambda2: float = 8,
    common_share: float = COMMON_SHARE,
) -> Path:
    """Make the tables `edit_facts`, `edit_strength` and `edit_candidates` of a relation, and return the path of the first.

    Up to ten facts are edited, one at a time. Each edit is judged by one prompt that the model answered right.

    * `edit_facts` has a row per edit, rule and method. The rule "scaled" is the paper's, "fixed" that of later toolkits. The method
      "attribution" edits the fact's knowledge neurons, "random" as many random neurons of the same layers. "matched" edits neurons of the
      same layers and nearly the same mean activation that attribution names in no prompt of the fact (see `matched_neurons`); it has no
      rows if a layer has too few. `control` is true for the last two. Ranks, probabilities and log-odds are those of the new object,
      unless named old. `templates` and the columns that begin with it include the prompt that judges the edit, so the rate on the other
      templates is (templates_success - success) / (templates - 1), and the same for changed.
    * `edit_strength` has the same edits by the paper's rule with other values of lambda2.
    * `edit_candidates` has the facts in the order in which they were tried, and why some are not edited.

    For `common_share` see `uncommon_neurons`. Raises as `Run.made_with` for steps 1 and 2, and ValueError if a parameter is out of range or
    the model's value vectors cannot be edited.
    """
    check(lambda1=lambda1, lambda2=lambda2)
    check_editable(lm)
    strengths = {"lambda1": float(lambda1), "lambda2": float(lambda2)}
    inputs = strengths | SETTINGS | {"common_share": common_share, "other_relations": run.dataset.digest_of_others(relation)}
    planned = plan_edits(lm, run, relation, common_share)
    return run.make("edit_facts", relation, planned, lambda part: _tables(lm, run, part, **strengths), inputs, lm)


def show_edit(
    lm: LanguageModel, run: Run, edit: Edit, lambda1: float = 1, lambda2: float = 8
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Make an edit by the paper's rule, and return the answers before and after, for the fact's prompts and for other facts.

    The first table has a row per prompt of the fact. The second has a row per other fact of the relation, with the same
    template; there `probability` is that of the fact's object, and `changed` is whether the answer is different.
    """
    other_facts = [fact for fact in run.facts(edit.fact.relation, lm) if fact != edit.fact]
    index = edit.prompts[edit.drawn].index
    elsewhere = [prompt for fact in other_facts for prompt in usable_prompts(lm, run.dataset, fact) if prompt.index == index]
    prompts, tokens = [*edit.prompts, *elsewhere], [*edit.tokens, *_object_tokens(elsewhere)]
    vectors = _vectors(lm, edit, edit.neurons, Variant("scaled", lambda2), lambda1)
    before, after = edited_answers(lm, prompts, tokens, [{}, vectors])
    rows = pd.DataFrame({"prompt": [prompt.text for prompt in prompts], "object": [prompt.fact.object for prompt in prompts]})
    rows = rows.assign(answer_before=lm.words(before.top.tolist()), answer_after=lm.words(after.top.tolist()))
    rows = rows.assign(probability_before=before.probability[:, 0], probability_after=after.probability[:, 0])
    others = rows.assign(changed=before.top != after.top)[len(edit.prompts) :].reset_index(drop=True)
    rows = rows.assign(new_object_before=before.probability[:, 1], new_object_after=after.probability[:, 1])
    return rows[: len(edit.prompts)], others


def _tables(
    lm: LanguageModel, run: Run, part: Sequence[Edit | LeftOut], lambda1: float, lambda2: float
) -> dict[str, pd.DataFrame]:
    compared = [Variant(rule, lambda2, method) for rule in RULES for method in EDITED]
    strengths = [Variant("scaled", strength) for strength in STRENGTHS]
    rows: dict[str, list[dict]] = {name: [] for name in _COLUMNS}
    for item in part:
        place = {"relation": item.fact.relation, "fact": item.fact.index}
        reason = item.reason if isinstance(item, LeftOut) else ""
        rows["edit_candidates"].append(place | {"edited": not reason, "reason": reason})
        if not reason:
            neurons = _neurons(lm, run, item)
            found = _outcomes(lm, run, item, neurons, dict.fromkeys([*compared, *strengths]), lambda1)
            rows["edit_facts"] += [
                place | _described(item, neurons[variant.method], variant) | found[variant]
                for variant in compared
                if variant in found
            ]
            rows["edit_strength"] += [place | {"lambda2": variant.lambda2} | found[variant] for variant in strengths]
    return {name: pd.DataFrame(rows[name], columns=list(columns)).astype(columns) for name, columns in _COLUMNS.items()}


def _neurons(lm: LanguageModel, run: Run, edit: Edit) -> dict[str, Sequence[Neuron]]:
    """Return the neurons of each method of `EDITED`; "matched" is left out if a layer has too few."""
    fact = edit.fact
    seed = f"{run.seed}-edit-random-{fact.relation}-{fact.index}"
    neurons = {"attribution": edit.neurons, "random": random_neurons(edit.neurons, lm.n_neurons, seed)}
    activation = mean_activations(lm, usable_prompts(lm, run.dataset, fact))[fact]
    matched = matched_neurons(edit.neurons, activation, edit.named)
    return neurons | ({"matched": matched} if matched is not None else {})


def _described(edit: Edit, neurons: Sequence[Neuron], variant: Variant) -> dict:
    return {
        "subject": edit.fact.subject,
        "old_object": edit.fact.object,
        "new_object": edit.new_object,
        "prompt": edit.prompts[edit.drawn].index,
        "rule": variant.rule,
        "control": variant.method != "attribution",
        "method": variant.method,
        "neurons": len(neurons),
        "neuron_names": " ".join(neuron_name(*neuron) for neuron in neurons),
    }


def _outcomes(
    lm: LanguageModel, run: Run, edit: Edit, neurons: dict[str, Sequence[Neuron]], variants: Iterable[Variant], lambda1: float
) -> dict[Variant, dict]:
    """Return the outcomes of each variant of an edit whose method has neurons, as columns of the tables."""
    same, other = _bystanders(lm, run, edit.fact)
    prompts, tokens = [*edit.prompts, *same, *other], [*edit.tokens, *_object_tokens([*same, *other])]
    starts = [len(edit.prompts), len(edit.prompts) + len(same)]
    made = {
        variant: _vectors(lm, edit, neurons[variant.method], variant, lambda1)
        for variant in variants
        if variant.method in neurons
    }
    before, *after = edited_answers(lm, prompts, tokens, [{}, *made.values()])
    measured_before = _measured(lm, edit, before, "before", starts)
    return {
        variant: measured_before | _measured(lm, edit, answers, "after", starts) | _judged(edit, before, answers)
        for variant, answers in zip(made, after, strict=True)
    }


def _bystanders(lm: LanguageModel, run: Run, fact: Fact) -> tuple[list[Prompt], list[Prompt]]:
    """Return all prompts of (up to) five random other facts of the relation, and of five facts of other relations."""
    draw = random.Random(f"{run.seed}-bystanders-{fact.relation}-{fact.index}")
    facts = run.dataset.facts
    same = [other for other in facts[fact.relation] if other != fact]
    other = [other for relation in run.dataset.relations if relation != fact.relation for other in facts[relation]]
    return _some_prompts(lm, run.dataset, same, draw), _some_prompts(lm, run.dataset, other, draw)


def _some_prompts(lm: LanguageModel, dataset: Dataset, facts: list[Fact], draw: random.Random) -> list[Prompt]:
    of_facts = (usable_prompts(lm, dataset, fact) for fact in draw.sample(facts, len(facts)))
    return [prompt for prompts in islice(filter(None, of_facts), OTHER_FACTS) for prompt in prompts]


def _object_tokens(prompts: Sequence[Prompt]) -> list[tuple[int, int]]:
    """Return tokens for `predict` for prompts of other facts, which have no new object: their object's token, twice."""
    return [(prompt.target, prompt.target) for prompt in prompts]


def _vectors(lm: LanguageModel, edit: Edit, neurons: Sequence[Neuron], variant: Variant, lambda1: float) -> dict[Neuron, Tensor]:
    """Return the new value vectors of these neurons."""
    old, new = (target_embedding(lm, token) for token in edit.tokens[edit.drawn])
    lambdas = {"lambda1": lambda1, "lambda2": variant.lambda2} if variant.rule == "scaled" else {}
    return new_vectors(lm, neurons, partial(RULES[variant.rule], old=old, new=new, **lambdas))


def _judged(edit: Edit, before: Answers, after: Answers) -> dict:
    """Return the changes of the answers to the fact's own prompts."""
    at, count = edit.drawn, len(edit.prompts)
    old, new = edit.tokens[at]
    return {
        "changed": after.top[at] != old,
        "success": after.top[at] == new,
        "success_top5": after.rank[at, 1] <= 5,
        "templates": count,
        "templates_changed": (after.top != before.top)[:count].sum(),
        "templates_success": (after.top[:count] == edit.new_targets).sum(),
    }


def _measured(lm: LanguageModel, edit: Edit, answers: Answers, when: str, starts: Sequence[int]) -> dict:
    """Return what is measured both before and after an edit, in the prompt that judges it and on two groups of other facts.

    The perplexity of a group is exp(mean(-ln P(object))), NaN for an empty one; the prompts of the groups begin at `starts`.
    """
    at = edit.drawn
    found = {
        "answer": lm.words([int(answers.top[at])])[0],
        "rank": answers.rank[at, 1],
        "probability": answers.probability[at, 1],
        "old_probability": answers.probability[at, 0],
        "log_odds": answers.log_odds[at, 1],
    }
    for kind, part in zip(("same", "other"), np.split(answers.probability[:, 0], starts)[1:], strict=True):
        found[f"perplexity_{kind}"] = float(np.exp(-log_probability(part).mean())) if len(part) else math.nan
    return {f"{name}_{when}": value for name, value in found.items()}
